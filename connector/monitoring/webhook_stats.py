"""How many webhooks came, per store and hour, and what became of them: counted from the ledger and the counters, which
intake writes anyway.

Only what came since the last time is counted, so a million old lines cost nothing; the first time goes back as far as
`silence` looks, a day at a time. Times are Unix seconds. Raises CannotStore.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import sqlalchemy as sa

from connector.core.units import HOUR, WEEK
from connector.monitoring.inactivity import WEEKS
from connector.storage.database import Database
from connector.storage.tables import arrivals, counters, ledger, tallies

NO_ARRIVAL = ("backfill", "reconcile", "guardian")  # a ledger line's delivery where no webhook came: we went and looked
LATE = 300  # seconds after which an hour is closed: webhooks are stored, and counters written, a little later
STEP = 24 * HOUR  # counted in one query
LOOK_BACK = WEEKS * WEEK + 2 * HOUR


@dataclass(frozen=True, slots=True)
class LastWebhook:
    """When a store's last webhook came: at the latest, for some are counted only by the hour."""

    hour: int
    at: float


class WebhookStats:
    """The verbs. One process at a time counts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def count_up(self, now: float) -> None:
        """Count what has come since the last time."""
        for start in self._steps(now):
            found = self._found(start, min(start + STEP, int(now) + 1))
            if not found:
                continue
            came: Counter[tuple[str, int]] = Counter()
            for (store, hour, outcome), number in found.items():
                came[store, hour] += 0 if outcome == "refused" else number
            rows = [
                # Another webhook in this hour came since the last look: when exactly the counters do not say.
                {"store": store, "hour": hour, "count": number, "last_at": min(now, hour + HOUR)}
                for (store, hour), number in sorted(came.items())
                if number
            ]
            insert = self._database.insert(arrivals)
            more = {name: insert.excluded[name] for name in ("count", "last_at")}
            upsert = insert.on_conflict_do_update(
                index_elements=["store", "hour"], set_=more, where=insert.excluded["count"] > arrivals.c.count
            )
            with self._database.write() as connection:
                if rows:
                    connection.execute(upsert, rows)
                self._tally(connection, found)

    def last(self, store: str, now: float) -> LastWebhook | None:
        """When the store's last webhook came."""
        # Compared with a fraction PostgreSQL would not use the index.
        mine = (arrivals.c.store == store, arrivals.c.hour <= int(now))
        query = sa.select(arrivals.c.hour, arrivals.c.last_at).where(*mine)
        with self._database.read() as connection:
            row = connection.execute(query.order_by(arrivals.c.hour.desc()).limit(1)).first()
        return LastWebhook(*row) if row else None

    def hours(self, store: str, last: LastWebhook) -> tuple[list[int], int]:
        """How many came in each of the hours up to that of the last one, and when the first of these hours begins."""
        query = sa.select(arrivals.c.hour, arrivals.c.count).where(
            arrivals.c.store == store, arrivals.c.hour.between(last.hour - LOOK_BACK, last.hour)
        )
        with self._database.read() as connection:
            found = {row[0]: row[1] for row in connection.execute(query)}
        first = min(found)
        return [found.get(hour, 0) for hour in range(first, last.hour + 1, HOUR)], first

    def _steps(self, now: float) -> Iterator[int]:
        with self._database.read() as connection:
            latest = connection.execute(sa.select(sa.func.max(arrivals.c.hour))).scalar()
        oldest = int(now - LOOK_BACK) // HOUR * HOUR
        start = int(now - LATE) // HOUR * HOUR
        if latest is None or latest < start:
            start = max(latest or oldest, oldest)
        yield from range(start, int(now) + 1, STEP)

    def _tally(self, connection: sa.Connection, found: dict[tuple[str, int, str], int]) -> None:
        """For pages: by outcome. An hour is counted anew as long as it goes on, so the number is set, not added."""
        new = self._database.insert(tallies)
        key = [column.name for column in tallies.primary_key]
        rows = [
            {"store": store, "what": "received", "hour": hour, "pixel": "", "event": "", "detail": outcome, "count": n}
            for (store, hour, outcome), n in sorted(found.items())
        ]
        connection.execute(new.on_conflict_do_update(index_elements=key, set_={"count": new.excluded["count"]}), rows)

    def _found(self, start: int, end: int) -> dict[tuple[str, int, str], int]:
        """By store, hour and outcome, in [start, end)."""
        hour = sa.cast(sa.func.floor(ledger.c.received_at / HOUR), sa.BigInteger)
        if not self._database.is_postgresql:  # floor is not part of every SQLite; there a cast cuts off, here it rounds
            hour = sa.cast(ledger.c.received_at / HOUR, sa.BigInteger)
        lines = sa.select(ledger.c.store, hour * HOUR, ledger.c.outcome, sa.func.count()).where(
            ledger.c.received_at >= start, ledger.c.received_at < end, ledger.c.delivery.not_in(NO_ARRIVAL)
        )
        key = (counters.c.store, counters.c.hour, counters.c.what)
        counted = sa.select(*key, sa.func.sum(counters.c.count)).where(counters.c.hour >= start, counters.c.hour < end)
        found: Counter[tuple[str, int, str]] = Counter()
        with self._database.read() as connection:
            for query, by in ((lines, (ledger.c.store, hour, ledger.c.outcome)), (counted, key)):
                for store, at, outcome, number in connection.execute(query.group_by(*by)):
                    found[store, at, outcome] += int(number)
        return found
