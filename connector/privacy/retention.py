"""Retention: what is old is erased in small batches while the relay runs, by one process at a time on any host.

    payloads   of finished events, with the hashes of persons, after keep_payloads
    keys       (pixel, event, event_id) 35 days later: longer than TikTok takes old events, so that no late or replayed
               webhook is ever sent twice
    ledger     and counters and tallies after keep_ledger
    parked     bodies after keep_parked; their line in the ledger says so
    arrivals   hourly numbers after 400 days
    signals    of browsers, a day after the last one; anybody may send some, so only the latest MOST_SIGNALS
    overdue    events of a suspended lane that have become too old to be sent end as expired

What waits to be sent is never erased, nor are the rows of a store that is no longer configured before they are sent.
"""

import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from threading import Event

import sqlalchemy as sa

from connector.config.settings import Config
from connector.core.store import Store
from connector.core.units import HOUR
from connector.monitoring import event_stats
from connector.outbox.identity_hashes import delete_hashes as forget_identities
from connector.outbox.outbox import unleased
from connector.storage import tables
from connector.storage.database import Database
from connector.storage.lease import Lease
from connector.storage.periodic import run_periodically
from connector.storage.tables import arrivals, counters, events, lanes, ledger, parked, signals

log = logging.getLogger("connector.privacy.retention")

BATCH = 500  # rows a transaction
PAUSE = 0.2  # seconds between transactions, so that webhooks always find a gap
EVERY = 600.0  # seconds between rounds
LEASE_SECONDS = 300.0  # renewed before every batch
KEY_OUTLIVES = 35 * 24 * 3600.0
ARRIVALS_KEPT = 400 * 24 * 3600.0
SIGNALS_KEPT = 24 * 3600.0
# A flood fills no disk then: some 2 GB if all are as large as they can be. No event waits longer than minutes, in which
# the limits of `connector.signals.collector` let a tenth of it through.
MOST_SIGNALS = 250_000
TOO_OLD = "older than max_event_age while TikTok refused this pixel"
BODY_DELETED = " (its body is no longer kept)"


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """How long data is kept, in seconds."""

    payloads: float
    ledger: float
    parked: float

    @classmethod
    def of(cls, config: Config) -> "RetentionPolicy":
        """Read the policy from the configuration."""
        kept = (config.keep_payloads, config.keep_ledger, config.keep_parked)
        return cls(*(duration.total_seconds() for duration in kept))


class RetentionStore:
    """Erases what is old: each method at most BATCH rows in one short transaction, and returns their number."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.lease = Lease(database, "housekeeping", LEASE_SECONDS)

    def erase_payloads(self, before: float) -> int:
        """Erase the payloads and hashes of finished events; their keys stay."""
        old = (events.c.settled_at < before, events.c.settled_at.is_not(None), events.c.payload.is_not(None))
        empty = dict.fromkeys(("payload", "email", "phone", "external_id"))
        with self._database.write() as connection:
            ids = self._some(connection, events, *old, order=events.c.settled_at)
            # Asked again: meanwhile a replay may have made it due.
            still = (events.c.id.in_(ids), events.c.settled_at < before)
            connection.execute(sa.update(events).where(*still).values(empty))
            forget_identities(connection, ids)
        return len(ids)

    def forget_keys(self, before: float) -> int:
        """Delete finished events whose payload is erased already."""
        old = (events.c.settled_at < before, events.c.settled_at.is_not(None), events.c.payload.is_(None))
        with self._database.write() as connection:
            ids = self._some(connection, events, *old, order=events.c.settled_at)
            connection.execute(sa.delete(events).where(events.c.id.in_(ids)))
        return len(ids)

    def forget_lines(self, before: float) -> int:
        """Delete ledger lines."""
        with self._database.write() as connection:
            ids = self._some(connection, ledger, ledger.c.received_at < before, order=ledger.c.received_at)
            connection.execute(sa.delete(ledger).where(ledger.c.id.in_(ids)))
        return len(ids)

    def forget_parked(self, before: float) -> int:
        """Delete parked bodies, and note it in their ledger lines."""
        with self._database.write() as connection:
            ids = self._some(connection, parked, parked.c.parked_at < before, order=parked.c.parked_at)
            gone = sa.select(parked.c.id).where(
                parked.c.id.in_(ids),
                *(ledger.c[name] == parked.c[name] for name in ("store", "topic", "body_sha256")),
            )
            line = (gone.exists(), ledger.c.outcome == "parked", ledger.c.reason.not_like(f"%{BODY_DELETED}"))
            connection.execute(sa.update(ledger).where(*line).values(reason=ledger.c.reason + BODY_DELETED))
            connection.execute(sa.delete(parked).where(parked.c.id.in_(ids)))
        return len(ids)

    def forget_counts(self, before: float) -> int:
        """Delete counters of past hours."""
        return self._forget_hours(counters, before)

    def forget_tallies(self, before: float) -> int:
        """Delete the statistics of past hours; the totals stay."""
        return self._forget_hours(tables.tallies, before)

    def forget_arrivals(self, before: float) -> int:
        """Delete the hourly numbers of webhooks."""
        return self._forget_hours(arrivals, before)

    def forget_signals(self, before: float, after: float = 0) -> int:
        """Delete signals that were last seen between these two moments."""
        key = sa.tuple_(signals.c.store, signals.c.token)
        old = sa.and_(signals.c.seen_at < before, signals.c.seen_at > after)
        with self._database.write() as connection:
            query = sa.select(signals.c.store, signals.c.token).where(old)
            found = connection.execute(query.order_by(signals.c.seen_at).limit(BATCH)).all()
            # Asked again: meanwhile another beacon may have come.
            still = (key.in_([tuple(row) for row in found]), old)
            connection.execute(sa.delete(signals).where(*still))
        return len(found)

    def forget_signals_beyond(self, most: int) -> int:
        """Delete all signals but the latest `most`."""
        query = sa.select(signals.c.seen_at).order_by(signals.c.seen_at.desc())
        with self._database.read() as connection:
            first = connection.execute(query.offset(most).limit(1)).scalar()
        return 0 if first is None else self.forget_signals(math.nextafter(first, math.inf))

    def _forget_hours(self, table: sa.Table, before: float) -> int:
        with self._database.write() as connection:
            hours = sa.select(table.c.hour).where(table.c.hour < before).order_by(table.c.hour)
            found = connection.execute(hours.limit(BATCH)).scalars().all()
            # Whole hours: a store has few topics.
            connection.execute(sa.delete(table).where(table.c.hour.in_(set(found))))
        return len(found)

    def expire_refused(self, store: Store, now: float) -> int:
        """Expire events of a suspended lane that have become too old. Test events have no age limit."""
        age = store.max_event_age.total_seconds()
        refused = sa.select(lanes.c.pixel).where(lanes.c.store == store.name, lanes.c.denied_since.is_not(None))
        old = (events.c.state == "due", events.c.due_at < now, unleased(now), events.c.occurred_at < now - age)
        mine = (events.c.store == store.name, events.c.pixel.in_(refused), events.c.test_code == "")
        with self._database.write() as connection:
            ids = self._some(connection, events, *mine, *old, order=events.c.due_at)
            ended = {"state": "expired", "settled_at": now, "lease_owner": None, "message": TOO_OLD}
            expired = sa.update(events).where(events.c.id.in_(ids), *old).values(ended)
            gone = connection.execute(expired.returning(events.c.pixel, events.c.event)).all()
            number = Counter((store.name, row.pixel, "sent", row.event, "expired") for row in gone)
            event_stats.add_counts(connection, int(now) // HOUR * HOUR, number)
        return len(ids)

    def _some(
        self, connection: sa.Connection, table: sa.Table, *where: sa.ColumnElement[bool], order: sa.Column[float]
    ) -> list[int]:
        query = sa.select(table.c.id).where(*where).order_by(order).limit(BATCH)
        if self._database.is_postgresql:  # what a relay or a webhook holds just now is left for the next batch
            query = query.with_for_update(skip_locked=True)
        return list(connection.execute(query).scalars())


class RetentionJob:
    """Erases what is old every `EVERY` seconds while the relay runs. `clock` gives Unix seconds."""

    def __init__(
        self,
        retention: RetentionStore,
        kept: RetentionPolicy,
        stores: Mapping[str, Store],
        owner: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._retention = retention
        self._kept = kept
        self._stores = stores
        self._owner = owner
        self._clock = clock

    def run(self, stop: Event, first: float = 30.0) -> None:
        """Work until `stop` is set; the first round comes after `first` seconds."""

        def work() -> None:
            if done := {name: number for name, number in self.round(stop).items() if number}:
                log.info("housekeeping: %s", ", ".join(f"{name}: {number}" for name, number in done.items()))

        run_periodically(work, stop, name="housekeeping", interval=EVERY, first=first, release=self._release)

    def _release(self) -> None:
        self._retention.lease.release(self._owner)

    def round(self, stop: Event) -> dict[str, int]:
        """Erase all that is old now; return how many rows of what. Does nothing while another holds the lease."""
        done: dict[str, int] = {}
        for name, some in self._chores():
            done[name] = 0
            while not stop.is_set() and self._retention.lease.take(self._owner, self._clock()):
                number = some()
                done[name] += number
                if number < BATCH:
                    break
                stop.wait(PAUSE)
        return done

    def _chores(self) -> Iterator[tuple[str, Callable[[], int]]]:
        now, kept, retention = self._clock(), self._kept, self._retention
        for store in self._stores.values():
            yield f"events of {store.name} expired", partial(retention.expire_refused, store, now)
        yield "payloads erased", partial(retention.erase_payloads, now - kept.payloads)
        yield "keys forgotten", partial(retention.forget_keys, now - kept.payloads - KEY_OUTLIVES)
        yield "parked webhooks dropped", partial(retention.forget_parked, now - kept.parked)
        yield "ledger lines dropped", partial(retention.forget_lines, now - kept.ledger)
        yield "counts dropped", partial(retention.forget_counts, now - kept.ledger)
        yield "tallies dropped", partial(retention.forget_tallies, now - kept.ledger)
        yield "hourly numbers dropped", partial(retention.forget_arrivals, now - ARRIVALS_KEPT)
        yield "signals dropped", partial(retention.forget_signals, now - SIGNALS_KEPT)
        # Of a clock that had jumped: it would be personal data without an end.
        yield "signals of the future dropped", partial(retention.forget_signals, math.inf, now + SIGNALS_KEPT)
        yield "signals of a flood dropped", partial(retention.forget_signals_beyond, MOST_SIGNALS)
