"""Expiry of holds: a held event whose wait is over becomes due if it can now be sent, and is skipped otherwise.

A skipped event still lacks consent, or anything to match on. Its payload is erased with the hashes of the person, and
the ledger records the reason. Any number of processes can run this; they take turns.
"""

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from threading import Event
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from connector.outbox.identity_hashes import delete_hashes
from connector.outbox.queue import MAX_AHEAD
from connector.signals.merge import why_not_sendable
from connector.storage.database import Database
from connector.storage.periodic import run_periodically
from connector.storage.tables import events, ledger

log = logging.getLogger(__name__)

EVERY = 1.0  # seconds between two runs
SELDOM = 60.0  # seconds; if no store expects signals: events can still wait from before a change of settings
BATCH = 500  # events in a transaction
ADVISORY_LOCK = 7_316_920_115  # any number that no other application uses
# SQLite uses a partial index only if the query repeats its condition literally.
_HELD = sa.text("events.state = 'held'")


class HoldExpiry:
    """Settles holds that are over: due if now sendable, else skipped. Times are Unix seconds. Raises CannotStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def end(self, now: float) -> int:
        """Settle the holds that are over; return their number, at most BATCH. Costs one index look-up if none is."""
        over = sa.or_(events.c.due_at <= now, events.c.due_at > now + MAX_AHEAD)
        with self._database.read() as connection:
            if connection.execute(sa.select(events.c.id).where(_HELD, over).limit(1)).first() is None:
                return 0
        names = ("id", "store", "event", "object_key", "payload", "consent")
        query = sa.select(*(events.c[name] for name in names)).where(_HELD, over).order_by(events.c.due_at).limit(BATCH)
        if self._database.is_postgresql:  # a beacon or webhook that holds a row may change its end
            query = query.with_for_update(skip_locked=True)
        with self._database.write() as connection:
            # Two processes that each skip one event of an order would each see the other's event as not skipped.
            if self._database.is_postgresql:
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(ADVISORY_LOCK)))
            rows = connection.execute(query).all()
            skipped = self._end_waits(connection, rows, now)
        for (store, reason), number in sorted(skipped.items()):
            log.info(
                "skipped: the browser's signals did not arrive in time",
                extra={"store": store, "events": number, "reason": reason},
            )
        return len(rows)

    def _end_waits(self, connection: Connection, rows: Sequence[sa.Row[Any]], now: float) -> Counter[tuple[str, str]]:
        """Settle the holds of `rows`; return the numbers of skipped events by store and reason."""
        ids_by_reason: dict[str, list[int]] = defaultdict(list)
        ledger_reasons: dict[tuple[str, str], list[str]] = defaultdict(list)
        skipped: Counter[tuple[str, str]] = Counter()
        for row in rows:
            reason = why_not_sendable(row.payload or b"{}", row.consent)
            ids_by_reason[reason].append(row.id)
            skipped[row.store, reason] += bool(reason)
            if reason and row.object_key:
                ledger_reasons[row.store, row.object_key].append(f"{row.event}: {reason}")
        erased = dict.fromkeys(("payload", "email", "phone", "external_id"))
        for reason, ids in ids_by_reason.items():
            ended = {"state": "skipped", "settled_at": now, "message": reason, **erased}
            # Held without a reason: by an older version, whose conditions were stricter.
            values = ended if reason else {"state": "due", "due_at": now}
            connection.execute(sa.update(events).where(events.c.id.in_(ids)).values(values))
            delete_hashes(connection, ids)
        for (store, object_key), reasons in sorted(ledger_reasons.items()):
            self._update_ledger(connection, store, object_key, "; ".join(dict.fromkeys(reasons))[:500])
        return +skipped

    def _update_ledger(self, connection: Connection, store: str, object_key: str, reasons: str) -> None:
        """Add the reasons to the webhooks' ledger lines, which were stored as "relayed"."""
        left = sa.select(events.c.id).where(
            events.c.store == store, events.c.object_key == object_key, events.c.state != "skipped"
        )
        is_line = (ledger.c.store == store, ledger.c.object_key == object_key, ledger.c.outcome == "relayed")
        prefix = sa.case((ledger.c.reason == "", ""), else_=ledger.c.reason + "; ")
        values: dict[str, Any] = {"reason": prefix + reasons}
        if connection.execute(left.limit(1)).first() is None:
            values["outcome"] = "skipped"
        connection.execute(sa.update(ledger).where(*is_line).values(values))


class HeldEventsJob:
    """Ends expired waits every `interval` seconds. `clock` returns Unix seconds."""

    def __init__(self, held: HoldExpiry, interval: float = EVERY, clock: Callable[[], float] = time.time) -> None:
        self._held = held
        self._interval = interval
        self._clock = clock

    def run(self, stop: Event) -> None:
        """Run until `stop` is set."""
        run_periodically(lambda: self._end_all(stop), stop, name="ending of waits", interval=self._interval)

    def _end_all(self, stop: Event) -> None:
        while self._held.end(self._clock()) and not stop.is_set():
            pass
