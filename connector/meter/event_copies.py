"""The browser's copies of events, as pages reported them, for the page of their order."""

from collections.abc import Iterable
from dataclasses import dataclass

import sqlalchemy as sa

from connector.storage.database import Database
from connector.storage.tables import browser_copies

EventKey = tuple[str, str, str]  # pixel, event, event_id
_COLUMNS = [browser_copies.c[name] for name in ("pixel", "event", "event_id", "sent_at", "loaded", "sender")]


@dataclass(frozen=True, slots=True)
class EventCopy:
    """A browser's copy: when it was sent (Unix seconds), by the snippet or other code, and False if it was blocked."""

    sent_at: float
    sender: str
    was_sent: bool


def event_copies(database: Database, store: str, keys: Iterable[EventKey]) -> dict[EventKey, EventCopy]:
    """Return the copies of a store's events that a page has reported; kept for three days. Raises CannotStore."""
    wanted = set(keys)
    if not wanted:
        return {}
    # Column by column: SQLite would read the whole table for a list of triples.
    columns = [browser_copies.c[name] for name in ("pixel", "event", "event_id")]
    named = zip(columns, zip(*wanted, strict=True), strict=True)
    query = sa.select(*_COLUMNS).where(*(column.in_(sorted(set(values))) for column, values in named))
    with database.read() as connection:
        rows = connection.execute(query.where(browser_copies.c.store == store)).all()
    found = {(row.pixel, row.event, row.event_id): EventCopy(row.sent_at, row.sender, bool(row.loaded)) for row in rows}
    return {key: copy for key, copy in found.items() if key in wanted}
