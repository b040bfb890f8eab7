"""The end of a wait, beside the relay: an event that still lacks a yes, or anything to match on, is skipped.

Its payload is erased with the hashes of the person, and the ledger says why. Any number of processes may do it, one at
a time.
"""

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from threading import Event
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from connector.outbox.identity_hashes import delete_hashes as forget_identities
from connector.signals.merge import why_not_sendable
from connector.storage.database import Database
from connector.storage.periodic import run_periodically
from connector.storage.tables import events, ledger

log = logging.getLogger("connector.outbox.held_events")

EVERY = 1.0  # seconds between two looks
SELDOM = 60.0  # where no store expects signals: some may wait from the time when one did
BATCH = 500  # events a transaction
TOO_FAR = 900.0  # seconds; no wait is that long: a clock that jumped wrote it
ONE_AT_A_TIME = 7_316_920_115  # any number that is only ours
# In these words SQLite finds the index.
_HELD = sa.text("events.state = 'held'")


class HeldEvents:
    """The verbs. Times are Unix seconds. Raises CannotStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def end(self, now: float) -> int:
        """Skip held events whose wait is over; how many there were, BATCH at most. Costs one index look-up if none."""
        over = sa.or_(events.c.due_at <= now, events.c.due_at > now + TOO_FAR)
        with self._database.read() as connection:
            if connection.execute(sa.select(events.c.id).where(_HELD, over).limit(1)).first() is None:
                return 0
        names = ("id", "store", "event", "object_key", "payload", "consent")
        query = sa.select(*(events.c[name] for name in names)).where(_HELD, over).order_by(events.c.due_at).limit(BATCH)
        if self._database.is_postgresql:  # what a beacon or a webhook holds just now may go another way
            query = query.with_for_update(skip_locked=True)
        with self._database.write() as connection:
            # Two that each skip one event of an order would otherwise each see the other's event left.
            if self._database.is_postgresql:
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(ONE_AT_A_TIME)))
            rows = connection.execute(query).all()
            skipped = self._skip(connection, rows, now)
        for (store, reason), number in sorted(skipped.items()):
            log.info(
                "skipped: what was waited for did not come", extra={"store": store, "events": number, "reason": reason}
            )
        return len(rows)

    def _skip(self, connection: Connection, rows: Sequence[sa.Row[Any]], now: float) -> Counter[tuple[str, str]]:
        """By store and reason, how many."""
        why: dict[str, list[int]] = defaultdict(list)
        told: dict[tuple[str, str], list[str]] = defaultdict(list)
        skipped: Counter[tuple[str, str]] = Counter()
        for row in rows:
            reason = why_not_sendable(row.payload or b"{}", row.consent)
            why[reason].append(row.id)
            skipped[row.store, reason] += bool(reason)
            if reason and row.object_key:
                told[row.store, row.object_key].append(f"{row.event}: {reason}")
        gone = dict.fromkeys(("payload", "email", "phone", "external_id"))
        for reason, ids in why.items():
            ended = {"state": "skipped", "settled_at": now, "message": reason, **gone}
            values = ended if reason else {"state": "due", "due_at": now}  # an update of ours may ask for less
            connection.execute(sa.update(events).where(events.c.id.in_(ids)).values(values))
            forget_identities(connection, ids)
        for (store, object_key), reasons in sorted(told.items()):
            self._retell(connection, store, object_key, "; ".join(dict.fromkeys(reasons))[:500])
        return +skipped

    def _retell(self, connection: Connection, store: str, object_key: str, reasons: str) -> None:
        """The webhooks' lines said "relayed", for that was the plan."""
        left = sa.select(events.c.id).where(
            events.c.store == store, events.c.object_key == object_key, events.c.state != "skipped"
        )
        line = (ledger.c.store == store, ledger.c.object_key == object_key, ledger.c.outcome == "relayed")
        before = sa.case((ledger.c.reason == "", ""), else_=ledger.c.reason + "; ")
        values: dict[str, Any] = {"reason": before + reasons}
        if connection.execute(left.limit(1)).first() is None:
            values["outcome"] = "skipped"
        connection.execute(sa.update(ledger).where(*line).values(values))


class HeldEventsJob:
    """Ends waits as they run out, every `interval` seconds. `clock` gives Unix seconds."""

    def __init__(self, held: HeldEvents, interval: float = EVERY, clock: Callable[[], float] = time.time) -> None:
        self._held = held
        self._interval = interval
        self._clock = clock

    def run(self, stop: Event) -> None:
        """Work until `stop` is set."""
        run_periodically(lambda: self._end_all(stop), stop, name="ending of waits", interval=self._interval)

    def _end_all(self, stop: Event) -> None:
        while self._held.end(self._clock()) and not stop.is_set():
            pass
