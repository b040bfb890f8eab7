"""The beacons of one order, for its page in the dashboard: when the last one came, and what it named."""

from collections.abc import Iterable
from dataclasses import dataclass

import sqlalchemy as sa

from connector.storage.database import Database
from connector.storage.tables import signals

_NAMED = {"ttclid": "ttclid", "ttp": "ttp", "ip": "ip", "user_agent": "user agent", "url": "page"}


@dataclass(frozen=True, slots=True)
class SeenBeacon:
    """The last beacon of a checkout: its time in Unix seconds, the names of what browsers told, and the consent."""

    at: float
    named: tuple[str, ...]
    consent: str


def seen_beacons(database: Database, store: str, object_key: str, tokens: Iterable[str]) -> list[SeenBeacon]:
    """Return the beacons of an order, by its key or the tokens of its checkouts, the oldest first.

    They are kept for a day, or as long as the events of the order. Raises CannotStore.
    """
    is_of_order = signals.c.order_key == object_key
    either = sa.or_(is_of_order, signals.c.token.in_(sorted(tokens)))
    query = sa.select(signals).where(signals.c.store == store, either, signals.c.seen_at > 0)
    with database.read() as connection:
        rows = connection.execute(query.order_by(signals.c.seen_at)).all()
    return [
        SeenBeacon(row.seen_at, tuple(name for column, name in _NAMED.items() if row._mapping[column]), row.consent)
        for row in rows
    ]
