"""The snippets in a shop's pages, by the reports of those pages. Times are Unix seconds. Raises CannotStore."""

from collections.abc import Iterable
from dataclasses import dataclass

import sqlalchemy as sa

from connector.core.store import Store
from connector.pixel.version import current_versions
from connector.storage.database import Database
from connector.storage.tables import snippet_reports


@dataclass(frozen=True, slots=True)
class SnippetState:
    """The last report of a store's pages: its time, the snippet's version, and whether that is today's.

    `loaded_at` is when TikTok's script last ran in a page, None if it never did. `outdated_at` is when a page last
    reported a version that would not be printed any more, None if none did: beside a current one, a page cache has it.
    `others_at` is when other code last used the store's pixels in a page.
    """

    reported_at: float
    version: str
    is_current: bool
    loaded_at: float | None
    outdated_at: float | None
    others_at: float | None


def snippet_state(database: Database, store: Store) -> SnippetState | None:
    """Return what is known of a store's snippet; None if no page has reported yet (`meter` must be on, too)."""
    query = sa.select(snippet_reports).where(snippet_reports.c.store == store.name)
    with database.read() as connection:
        rows = connection.execute(query.order_by(snippet_reports.c.seen_at.desc())).all()
    if not rows:
        return None
    current = current_versions(store)
    last = rows[0]
    return SnippetState(
        reported_at=last.seen_at,
        version=last.version,
        is_current=last.version in current,
        loaded_at=_latest(row.loaded_at for row in rows),
        outdated_at=_latest(row.seen_at for row in rows if row.version not in current),
        others_at=_latest(row.others_at for row in rows),
    )


def last_report(database: Database, store: str) -> float | None:
    """Return when a page of a store last reported, of whatever version; None before the first."""
    query = sa.select(sa.func.max(snippet_reports.c.seen_at)).where(snippet_reports.c.store == store)
    with database.read() as connection:
        return connection.execute(query).scalar()


def _latest(times: Iterable[float | None]) -> float | None:
    return max((at for at in times if at is not None), default=None)
