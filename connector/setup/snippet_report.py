"""What the code in the shop's pages last told this server: the one place where the checklist learns of the snippet.

Pages of a store with `meter` report by themselves, and which version of the code they have. Without it, a beacon of a
checkout or a step before an order shows that some of the connector's code is there. Times are Unix seconds.
"""

from dataclasses import dataclass

import sqlalchemy as sa

from connector.core.store import Store
from connector.funnel.buffer import TAKEN
from connector.monitoring.snippets import snippet_state
from connector.storage.database import Database
from connector.storage.tables import signals, tallies


@dataclass(frozen=True, slots=True)
class SnippetReport:
    """The last report of a store's pages; `at` is None if there is none.

    `out_of_date`: the code that reported last is not what would be printed now. `older_at`: when a page last reported
    such code beside the present one, as from a page cache. `blocked`: TikTok's script has never run in a page.
    """

    at: float | None = None
    out_of_date: bool = False
    older_at: float | None = None
    blocked: bool = False


def read_snippet_report(database: Database, store: Store) -> SnippetReport:
    """Return a store's last report. Raises CannotStore."""
    if store.meter and (state := snippet_state(database, store)):
        outdated = not state.is_current
        older = None if outdated else state.outdated_at
        return SnippetReport(state.reported_at, outdated, older, blocked=state.loaded_at is None)
    beacons = sa.select(sa.func.max(signals.c.seen_at)).where(signals.c.store == store.name)
    steps = sa.select(sa.func.max(tallies.c.hour)).where(
        tallies.c.store == store.name, tallies.c.what == "funnel", tallies.c.detail == TAKEN
    )
    with database.read() as connection:
        found = [connection.execute(query).scalar() for query in (beacons, steps)]
    return SnippetReport(max((float(moment) for moment in found if moment), default=None))
