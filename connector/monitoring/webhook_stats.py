"""Numbers of webhooks received, by store, hour and outcome, counted from the ledger and from intake's counters.

Each run counts only what was received since the last one, so its cost does not grow with the ledger; the first run
goes back as far as there are lines and `detect_inactivity` needs them, one day per query. Times are Unix seconds.
Raises CannotStore.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import sqlalchemy as sa

from connector.core.units import HOUR, WEEK
from connector.monitoring.inactivity import WEEKS
from connector.outbox.ledger import NO_ARRIVAL
from connector.storage.database import Database
from connector.storage.tables import arrivals, counters, ledger, tallies

LATE = 300  # seconds after its end during which an hour is still counted: ledger and counters are written with a delay
STEP = 24 * HOUR  # seconds counted by one query
LOOK_BACK = WEEKS * WEEK + 2 * HOUR


@dataclass(frozen=True, slots=True)
class LastWebhook:
    """The hour and the latest possible time of a store's last webhook: some webhooks are counted only by the hour."""

    hour: int
    at: float


class WebhookStats:
    """Counts webhooks, in one process at a time, and returns the numbers."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def count_up(self, now: float) -> None:
        """Count the webhooks received since the last call."""
        for start in self._steps(now):
            counts = self._count(start, min(start + STEP, int(now) + 1))
            if not counts:
                continue
            received: Counter[tuple[str, int]] = Counter()
            for (store, hour, outcome), number in counts.items():
                received[store, hour] += 0 if outcome == "refused" else number
            rows = [
                # The counters do not store the exact time of a webhook.
                {"store": store, "hour": hour, "count": number, "last_at": min(now, hour + HOUR)}
                for (store, hour), number in sorted(received.items())
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
                self._write_tallies(connection, counts)

    def last(self, store: str, now: float) -> LastWebhook | None:
        """Return the store's last webhook, or None."""
        # An integer, because PostgreSQL does not use the index for a comparison with a fraction.
        of_store = (arrivals.c.store == store, arrivals.c.hour <= int(now))
        query = sa.select(arrivals.c.hour, arrivals.c.last_at).where(*of_store)
        with self._database.read() as connection:
            row = connection.execute(query.order_by(arrivals.c.hour.desc()).limit(1)).first()
        return LastWebhook(*row) if row else None

    def hours(self, store: str, last: LastWebhook) -> tuple[list[int], int]:
        """Return the numbers of webhooks in each hour up to that of `last`, and the beginning of the first hour."""
        query = sa.select(arrivals.c.hour, arrivals.c.count).where(
            arrivals.c.store == store, arrivals.c.hour.between(last.hour - LOOK_BACK, last.hour)
        )
        with self._database.read() as connection:
            found = {row[0]: row[1] for row in connection.execute(query)}
        first = min(found)
        return [found.get(hour, 0) for hour in range(first, last.hour + 1, HOUR)], first

    def _steps(self, now: float) -> Iterator[int]:
        start = int(now - LATE) // HOUR * HOUR
        with self._database.read() as connection:
            latest = connection.execute(sa.select(sa.func.max(arrivals.c.hour))).scalar()
            if latest is None or latest < start:
                start = self._oldest(connection, max(latest or 0, int(now - LOOK_BACK) // HOUR * HOUR), start)
        yield from range(start, int(now) + 1, STEP)

    @staticmethod
    def _oldest(connection: sa.Connection, start: int, end: int) -> int:
        """Return the hour of the oldest line or counter in [start, end), or `end`."""
        for moment in (ledger.c.received_at, counters.c.hour):
            found = connection.execute(sa.select(sa.func.min(moment)).where(moment >= start, moment < end)).scalar()
            end = end if found is None else int(found) // HOUR * HOUR
        return end

    def _write_tallies(self, connection: sa.Connection, counts: dict[tuple[str, int, str], int]) -> None:
        """Write the numbers by outcome. An hour is counted again while it lasts, so its number is replaced."""
        new = self._database.insert(tallies)
        key = [column.name for column in tallies.primary_key]
        rows = [
            {"store": store, "what": "received", "hour": hour, "pixel": "", "event": "", "detail": outcome, "count": n}
            for (store, hour, outcome), n in sorted(counts.items())
        ]
        connection.execute(new.on_conflict_do_update(index_elements=key, set_={"count": new.excluded["count"]}), rows)

    def _count(self, start: int, end: int) -> dict[tuple[str, int, str], int]:
        """Count webhooks by store, hour and outcome in [start, end)."""
        hour = sa.cast(sa.func.floor(ledger.c.received_at / HOUR), sa.BigInteger)
        if not self._database.is_postgresql:  # not every SQLite has floor; its cast truncates, PostgreSQL's rounds
            hour = sa.cast(ledger.c.received_at / HOUR, sa.BigInteger)
        lines = sa.select(ledger.c.store, hour * HOUR, ledger.c.outcome, sa.func.count()).where(
            ledger.c.received_at >= start, ledger.c.received_at < end, ledger.c.delivery.not_in(NO_ARRIVAL)
        )
        key = (counters.c.store, counters.c.hour, counters.c.what)
        counted = sa.select(*key, sa.func.sum(counters.c.count)).where(counters.c.hour >= start, counters.c.hour < end)
        counts: Counter[tuple[str, int, str]] = Counter()
        with self._database.read() as connection:
            for query, by in ((lines, (ledger.c.store, hour, ledger.c.outcome)), (counted, key)):
                for store, at, outcome, number in connection.execute(query.group_by(*by)):
                    counts[store, at, outcome] += int(number)
        return counts
