"""Numbers of webhooks received, by store, hour and outcome, counted from the ledger and from intake's counters.

Each run counts only what was received since the last one, so its cost does not grow with the ledger; the first run
goes back as far as there are lines and `detect_inactivity` needs them, one day per query. Times are Unix seconds.
Raises CannotStore.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from connector.core.units import DAY, HOUR, WEEK
from connector.monitoring.inactivity import WEEKS
from connector.monitoring.skips import KINDS, MOST_REASONS, OTHER, RELAYED, SKIPPED, first_reason
from connector.outbox.ledger import NO_ARRIVAL
from connector.storage.database import Database
from connector.storage.tables import arrivals, counters, ledger, tallies

LATE = 300  # seconds after its end during which an hour is still counted: ledger and counters are written with a delay
STEP = 24 * HOUR  # seconds counted by one query
LOOK_BACK = WEEKS * WEEK + 2 * HOUR
NEWEST_LINES = 500  # of all stores: no index begins with store and time
RECEIVED = "received"
_Key = tuple[str, int, str, str, str]  # store, hour, what, kind, detail: as in `tallies`


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
            end = min(start + STEP, int(now) + 1)
            counts = self._count(start, end)
            if not counts:
                continue
            received: Counter[tuple[str, int]] = Counter()
            for (store, hour, what, _, outcome), number in counts.items():
                if what == RECEIVED:
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
                self._write_tallies(connection, counts, start, end)

    def last(self, store: str, now: float) -> LastWebhook | None:
        """Return the store's last webhook, or None."""
        # An integer, because PostgreSQL does not use the index for a comparison with a fraction.
        of_store = (arrivals.c.store == store, arrivals.c.hour <= int(now))
        query = sa.select(arrivals.c.hour, arrivals.c.last_at).where(*of_store)
        with self._database.read() as connection:
            row = connection.execute(query.order_by(arrivals.c.hour.desc()).limit(1)).first()
        return LastWebhook(*row) if row else None

    def newest(self, stores: Collection[str], now: float) -> dict[str, float]:
        """Return the times of the stores' last webhooks that the day's newest lines show, counted yet or not."""
        lines = sa.select(ledger.c.store, ledger.c.received_at, ledger.c.delivery)
        of_today = lines.where(ledger.c.received_at > now - DAY)
        newest = of_today.order_by(ledger.c.received_at.desc()).limit(NEWEST_LINES).subquery()
        query = sa.select(newest.c.store, sa.func.max(newest.c.received_at)).where(
            newest.c.store.in_(stores), newest.c.delivery.not_in(NO_ARRIVAL)
        )
        with self._database.read() as connection:
            return {row[0]: row[1] for row in connection.execute(query.group_by(newest.c.store))}

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

    def _write_tallies(self, connection: sa.Connection, counts: Mapping[_Key, int], start: int, end: int) -> None:
        """Replace the numbers of these hours: an outcome can change, for example when a wait for consent ends."""
        hours = (tallies.c.hour >= start // HOUR * HOUR, tallies.c.hour < end)
        connection.execute(sa.delete(tallies).where(tallies.c.what.in_((RECEIVED, SKIPPED, RELAYED)), *hours))
        rows = [
            {"store": store, "what": what, "hour": hour, "pixel": "", "event": kind, "detail": detail, "count": number}
            for (store, hour, what, kind, detail), number in sorted(counts.items())
        ]
        connection.execute(sa.insert(tallies), rows)

    def _count(self, start: int, end: int) -> Counter[_Key]:
        """Count the webhooks in [start, end): all by outcome, the skipped ones by reason, the relayed ones by kind."""
        counts: Counter[_Key] = Counter()
        reasons: dict[tuple[str, int, str], Counter[str]] = defaultdict(Counter)
        key = (counters.c.store, counters.c.hour, counters.c.what)
        counted = sa.select(*key, sa.func.sum(counters.c.count)).where(counters.c.hour >= start, counters.c.hour < end)
        with self._database.read() as connection:
            for store, hour, outcome, number in connection.execute(counted.group_by(*key)):
                counts[store, hour, RECEIVED, "", outcome] += int(number)
            for store, hour, outcome, kind, reason, number in connection.execute(self._lines(start, end)):
                counts[store, hour, RECEIVED, "", outcome] += number
                if outcome == "relayed":
                    counts[store, hour, RELAYED, kind, ""] += number
                elif outcome == "skipped":
                    reasons[store, hour, kind][first_reason(reason)] += number
        for (store, hour, kind), found in reasons.items():
            for place, (reason, number) in enumerate(found.most_common()):
                counts[store, hour, SKIPPED, kind, reason if place < MOST_REASONS else OTHER] += number
        return counts

    def _lines(self, start: int, end: int) -> sa.Select[Any]:
        """Return the query that counts the ledger's lines by store, hour, outcome, kind and reason of a skip."""
        hour = sa.cast(sa.func.floor(ledger.c.received_at / HOUR), sa.BigInteger)
        if not self._database.is_postgresql:  # not every SQLite has floor; its cast truncates, PostgreSQL's rounds
            hour = sa.cast(ledger.c.received_at / HOUR, sa.BigInteger)
        kind = sa.case(*((ledger.c.object_key.startswith(f"{name}:"), name) for name in KINDS), else_="")
        lines = (
            sa.select(
                ledger.c.store,
                (hour * HOUR).label("hour"),
                ledger.c.outcome,
                kind.label("kind"),
                sa.case((ledger.c.outcome == "skipped", ledger.c.reason), else_="").label("reason"),
            )
            .where(ledger.c.received_at >= start, ledger.c.received_at < end, ledger.c.delivery.not_in(NO_ARRIVAL))
            .subquery()
        )
        return sa.select(*lines.c, sa.func.count()).group_by(*lines.c)
