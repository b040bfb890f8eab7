"""Rounds of reconciliation that are overdue. Times are Unix seconds. Raises CannotStore."""

from collections.abc import Mapping

import sqlalchemy as sa

from connector.core.store import Store
from connector.storage.database import Database
from connector.storage.tables import leases, reconciled, stores

MISSED = 3  # intervals by which a round is overdue before it is a problem


class RoundWatch:
    """Finds the stores whose round of reconciliation (`connector.sync.reconcile`) is overdue."""

    def __init__(self, database: Database, configured: Mapping[str, Store]) -> None:
        self._database = database
        self._intervals = {
            store.name: store.reconcile.total_seconds() for store in configured.values() if store.reconcile
        }

    def overdue(self, now: float) -> dict[str, float]:
        """Return by store the end of its last round, if the next one is overdue by MISSED intervals.

        Without a round so far, the first start of the store counts. A round that a living process is doing is not
        overdue, however long it takes.
        """
        if not self._intervals:
            return {}
        since = sa.func.coalesce(reconciled.c.done_at, stores.c.started_at)
        query = sa.select(stores.c.name, since.label("since"), leases.c.until).select_from(
            stores.outerjoin(reconciled, reconciled.c.store == stores.c.name).outerjoin(
                leases, leases.c.name == sa.literal("reconcile:") + stores.c.name
            )
        )
        with self._database.read() as connection:
            rows = connection.execute(query.where(stores.c.name.in_(self._intervals)).order_by(stores.c.name)).all()
        return {
            row.name: row.since
            for row in rows
            if now - row.since > (1 + MISSED) * self._intervals[row.name] and (row.until is None or row.until < now)
        }
