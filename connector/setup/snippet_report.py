"""What the code in the shop's pages last told this server.

The one place where the checklist learns of the snippet.
"""

from dataclasses import dataclass

import sqlalchemy as sa

from connector.core.store import Store
from connector.funnel.buffer import TAKEN
from connector.storage.tables import signals, tallies


@dataclass(frozen=True, slots=True)
class SnippetReport:
    """The last report of a store's pages: its time in Unix seconds, or None if there is none.

    `out_of_date` is True if the code was printed from other settings than the present ones.
    """

    at: float | None = None
    out_of_date: bool = False  # reports do not say yet of which settings they are


def last_report(connection: sa.Connection, store: Store) -> SnippetReport:
    """Return a store's last report: a beacon of a checkout, or a step before an order."""
    beacons = sa.select(sa.func.max(signals.c.seen_at)).where(signals.c.store == store.name)
    steps = sa.select(sa.func.max(tallies.c.hour)).where(
        tallies.c.store == store.name, tallies.c.what == "funnel", tallies.c.detail == TAKEN
    )
    found = [connection.execute(query).scalar() for query in (beacons, steps)]
    return SnippetReport(max((float(moment) for moment in found if moment), default=None))
