"""Retention: old data is erased in small batches while the relay runs, by one process at a time.

    payloads   of finished events, with the hashes of persons, after keep_payloads; remembered clicks in them are moved
    keys       (pixel, event, event_id) 35 days later: longer than TikTok accepts old events, so that no late or
               replayed webhook is sent twice
    ledger     with counters, tallies and books, after keep_ledger
    parked     bodies after keep_parked; their ledger line says so
    arrivals   hourly numbers of webhooks, after 400 days
    notices    that nobody fetches, after two days; what one names is fetched, or given up, within a day
    signals    of browsers, a day after the last one; at most the latest MOST_SIGNALS, because anybody can send them
    orders     signals of a checkout that became an order: the browser's keys with the last payload of the order, the
               answer with the last event of the order, and not before the order's webhooks ended as long ago
    clicks     remembered for later events, after remember_clicks, or at the next round if that was switched off
    overdue    events of a suspended lane that have become too old to be sent, end as expired

Events that wait to be sent are never erased, even if their store is no longer configured.
"""

import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from threading import Event
from typing import Any

import sqlalchemy as sa

from connector.config.settings import Config
from connector.core.store import Store
from connector.core.units import HOUR
from connector.monitoring import event_stats
from connector.outbox.identity_hashes import delete_hashes as forget_identities
from connector.outbox.queue import unleased
from connector.signals.click_memory import ClickMemory
from connector.storage import tables
from connector.storage.database import Database
from connector.storage.lease import Lease
from connector.storage.periodic import run_periodically
from connector.storage.tables import arrivals, clicks, counters, events, lanes, ledger, parked, signals

log = logging.getLogger(__name__)

BATCH = 500  # rows per transaction
PAUSE = 0.2  # seconds between transactions, so that webhooks get the write lock
EVERY = 600.0  # seconds between rounds
LEASE_SECONDS = 300.0  # renewed before every batch
KEY_OUTLIVES = 35 * 24 * 3600.0  # seconds
NOTICES_KEPT = 2 * 24 * 3600.0  # seconds
ARRIVALS_KEPT = 400 * 24 * 3600.0  # seconds
LONGEST_MEMORY = 29 * 24 * 3600.0  # seconds; remember_clicks is at most 28 days
SIGNALS_KEPT = 24 * 3600.0  # seconds
# Limits a flood to about 2 GB, if all signals are of the largest size. Events wait for minutes at most, and in minutes
# the limits of `connector.signals.collector` admit a tenth of this number.
MOST_SIGNALS = 250_000
TOO_OLD = "older than max_event_age while this pixel was suspended"
BODY_DELETED = " (its body is no longer kept)"
NO_SIGNAL = dict.fromkeys(("ttclid", "ttp", "ip", "user_agent", "url", "referrer"), "") | {"seen_at": 0.0}


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """Retention periods in seconds."""

    payloads: float
    ledger: float
    parked: float

    @classmethod
    def of(cls, config: Config) -> "RetentionPolicy":
        """Read the policy from the configuration."""
        kept = (config.keep_payloads, config.keep_ledger, config.keep_parked)
        return cls(*(duration.total_seconds() for duration in kept))


class RetentionStore:
    """Erases old data: each method erases at most BATCH rows in one short transaction, and returns their number."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._clicks = ClickMemory(database)
        self.lease = Lease(database, "housekeeping", LEASE_SECONDS)

    def erase_payloads(self, before: float, now: float) -> int:
        """Erase the payloads and hashes of finished events; their keys stay. Remembered clicks are moved."""
        old = (events.c.settled_at < before, events.c.settled_at.is_not(None), events.c.payload.is_not(None))
        empty = dict.fromkeys(("payload", "email", "phone", "external_id"))
        with self._database.write() as connection:
            ids = self._select_batch(connection, events, *old, order=events.c.settled_at)
            # Checked again, because a replay may have made it due meanwhile.
            still = (events.c.id.in_(ids), events.c.settled_at < before)
            remembered = sa.select(events).where(*still, events.c.clicked_at > 0)
            self._clicks.move(connection, connection.execute(remembered).all(), now)
            connection.execute(sa.update(events).where(*still).values(empty))
            forget_identities(connection, ids)
        return len(ids)

    def forget_keys(self, before: float) -> int:
        """Delete finished events whose payload is erased already."""
        old = (events.c.settled_at < before, events.c.settled_at.is_not(None), events.c.payload.is_(None))
        with self._database.write() as connection:
            ids = self._select_batch(connection, events, *old, order=events.c.settled_at)
            connection.execute(sa.delete(events).where(events.c.id.in_(ids)))
        return len(ids)

    def forget_lines(self, before: float) -> int:
        """Delete ledger lines."""
        with self._database.write() as connection:
            ids = self._select_batch(connection, ledger, ledger.c.received_at < before, order=ledger.c.received_at)
            connection.execute(sa.delete(ledger).where(ledger.c.id.in_(ids)))
        return len(ids)

    def forget_parked(self, before: float) -> int:
        """Delete parked bodies, and say so in their ledger lines."""
        with self._database.write() as connection:
            ids = self._select_batch(connection, parked, parked.c.parked_at < before, order=parked.c.parked_at)
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

    def forget_books(self, before: float) -> int:
        """Delete what was sold, the orders that no webhook named since, and the accuracy of days, `before` then."""
        number = 0
        with self._database.write() as connection:
            for at in (tables.sold.c.occurred_at, tables.orders.c.seen_at, tables.accuracy.c.day):
                number = max(number, self._delete_batch(connection, at.table, at < int(before), order=at))
        return number

    def forget_snippets(self, before: float) -> int:
        """Delete versions of snippets that no page reports any more."""
        old = tables.snippet_reports.c.seen_at < before
        with self._database.write() as connection:
            return connection.execute(sa.delete(tables.snippet_reports).where(old)).rowcount

    def forget_notices(self, before: float) -> int:
        """Delete notices that nobody fetches, of stores that were removed; the others end after a day."""
        at = tables.notices.c.noted_at
        with self._database.write() as connection:
            return self._delete_batch(connection, tables.notices, at < before, order=at)

    def forget_arrivals(self, before: float) -> int:
        """Delete hourly numbers of webhooks."""
        return self._forget_hours(arrivals, before)

    def forget_signals(self, before: float, after: float = 0) -> int:
        """Delete signals last seen in this period (Unix seconds), unless their checkout became an order."""
        old = sa.and_(signals.c.seen_at < before, signals.c.seen_at > after, signals.c.order_key.is_(None))
        with self._database.write() as connection:
            return self._delete_batch(connection, signals, old, order=signals.c.seen_at)

    def forget_signals_beyond(self, most: int) -> int:
        """Delete all signals but the latest `most`; those of orders do not count."""
        query = sa.select(signals.c.seen_at).where(signals.c.order_key.is_(None)).order_by(signals.c.seen_at.desc())
        with self._database.read() as connection:
            first = connection.execute(query.offset(most).limit(1)).scalar()
        return 0 if first is None else self.forget_signals(math.nextafter(first, math.inf))

    def erase_order_signals(self, before: float, future: float) -> int:
        """Erase the browser's keys of orders, last seen before or in the `future`, whose payloads are all erased."""
        seen = sa.or_(signals.c.seen_at < before, signals.c.seen_at > future)
        old = sa.and_(signals.c.order_key.is_not(None), signals.c.seen_at > 0, seen, ~_has_event(with_payload=True))
        batch = self._database.first_rows(signals, old, limit=BATCH, order=signals.c.seen_at)
        with self._database.write() as connection:
            return connection.execute(sa.update(signals).where(batch).values(NO_SIGNAL)).rowcount

    def forget_orders(self, before: float, future: float) -> int:
        """Delete the answers of orders that have no event left and no webhook since `before`."""
        seen = sa.or_(signals.c.order_seen_at < before, signals.c.order_seen_at > future)
        old = sa.and_(signals.c.order_key.is_not(None), seen, ~_has_event(with_payload=False))
        with self._database.write() as connection:
            return self._delete_batch(connection, signals, old, order=signals.c.order_seen_at)

    def forget_clicks(self, now: float) -> int:
        """Delete remembered clicks whose time is over, or ends later than any clock that was right has written."""
        over = sa.or_(clicks.c.until < now, clicks.c.until > now + LONGEST_MEMORY)
        return self._delete_clicks(over, clicks.c.until)

    def forget_clicks_of(self, store: str) -> int:
        """Delete the remembered clicks of a store that no longer remembers any."""
        return self._delete_clicks(clicks.c.store == store, clicks.c.object_key)

    def _delete_clicks(self, which: sa.ColumnElement[bool], order: sa.Column[Any]) -> int:
        with self._database.write() as connection:
            ids = self._select_batch(connection, clicks, which, order=order)
            connection.execute(sa.delete(clicks).where(clicks.c.id.in_(ids)))
        return len(ids)

    def _delete_batch(
        self, connection: sa.Connection, table: Any, old: sa.ColumnElement[bool], order: sa.Column[Any]
    ) -> int:
        batch = self._database.first_rows(table, old, limit=BATCH, order=order)
        return connection.execute(sa.delete(table).where(batch)).rowcount

    def _forget_hours(self, table: sa.Table, before: float) -> int:
        with self._database.write() as connection:
            hours = sa.select(table.c.hour).where(table.c.hour < before).order_by(table.c.hour)
            found = connection.execute(hours.limit(BATCH)).scalars().all()
            # All rows of these hours, more than BATCH: a store has few topics.
            connection.execute(sa.delete(table).where(table.c.hour.in_(set(found))))
        return len(found)

    def expire_suspended(self, store: Store, now: float) -> int:
        """Expire events of a suspended lane that have become too old. Test events have no age limit."""
        age = store.max_event_age.total_seconds()
        suspended = sa.select(lanes.c.pixel).where(lanes.c.store == store.name, lanes.c.denied_since.is_not(None))
        old = (events.c.state == "due", events.c.due_at < now, unleased(events, now), events.c.occurred_at < now - age)
        of_lanes = (events.c.store == store.name, events.c.pixel.in_(suspended), events.c.test_code == "")
        with self._database.write() as connection:
            ids = self._select_batch(connection, events, *of_lanes, *old, order=events.c.due_at)
            ended = {"state": "expired", "settled_at": now, "lease_owner": None, "message": TOO_OLD}
            expired = sa.update(events).where(events.c.id.in_(ids), *old).values(ended)
            gone = connection.execute(expired.returning(events.c.pixel, events.c.event)).all()
            number = Counter((store.name, row.pixel, "sent", row.event, "expired") for row in gone)
            event_stats.add_counts(connection, int(now) // HOUR * HOUR, number)
        return len(ids)

    def _select_batch(
        self, connection: sa.Connection, table: sa.Table, *where: sa.ColumnElement[bool], order: sa.Column[Any]
    ) -> list[int]:
        query = sa.select(table.c.id).where(*where).order_by(order).limit(BATCH)
        if self._database.is_postgresql:  # rows locked by a relay or a webhook are left for the next batch
            query = query.with_for_update(skip_locked=True)
        return list(connection.execute(query).scalars())


def _has_event(*, with_payload: bool) -> sa.Exists:
    """Return the condition that a checkout has an event, of the checkout or of its order, in the outbox."""
    same = (events.c.store == signals.c.store, events.c.checkout == signals.c.token)
    kept = (events.c.payload.is_not(None),) if with_payload else ()
    return sa.select(events.c.id).where(*same, *kept).exists()


class RetentionJob:
    """Erases old data every `EVERY` seconds while the relay runs. `clock` returns Unix seconds."""

    def __init__(
        self,
        retention: RetentionStore,
        policy: RetentionPolicy,
        stores: Mapping[str, Store],
        owner: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._retention = retention
        self._policy = policy
        self._stores = stores
        self._owner = owner
        self._clock = clock

    def run(self, stop: Event, first: float = 30.0) -> None:
        """Run until `stop` is set; the first round begins after `first` seconds."""

        def work() -> None:
            if done := {name: number for name, number in self.round(stop).items() if number}:
                log.info("housekeeping: %s", ", ".join(f"{name}: {number}" for name, number in done.items()))

        run_periodically(work, stop, name="housekeeping", interval=EVERY, first=first, release=self._release)

    def _release(self) -> None:
        self._retention.lease.release(self._owner)

    def round(self, stop: Event) -> dict[str, int]:
        """Erase all old data; return the number of rows by step. Does nothing while another process holds the lease."""
        done: dict[str, int] = {}
        for name, erase_batch in self._steps():
            done[name] = 0
            while not stop.is_set() and self._retention.lease.take(self._owner, self._clock()):
                number = erase_batch()
                done[name] += number
                if number < BATCH:
                    break
                stop.wait(PAUSE)
        return done

    def _steps(self) -> Iterator[tuple[str, Callable[[], int]]]:
        now, policy, retention = self._clock(), self._policy, self._retention
        for store in self._stores.values():
            yield f"events of {store.name} expired", partial(retention.expire_suspended, store, now)
        yield "payloads erased", partial(retention.erase_payloads, now - policy.payloads, now)
        yield "keys forgotten", partial(retention.forget_keys, now - policy.payloads - KEY_OUTLIVES)
        yield "parked webhooks dropped", partial(retention.forget_parked, now - policy.parked)
        yield "ledger lines dropped", partial(retention.forget_lines, now - policy.ledger)
        yield "counts dropped", partial(retention.forget_counts, now - policy.ledger)
        yield "tallies dropped", partial(retention.forget_tallies, now - policy.ledger)
        yield "books dropped", partial(retention.forget_books, now - policy.ledger)
        yield "snippets forgotten", partial(retention.forget_snippets, now - policy.ledger)
        yield "notices dropped", partial(retention.forget_notices, now - NOTICES_KEPT)
        yield "hourly numbers dropped", partial(retention.forget_arrivals, now - ARRIVALS_KEPT)
        yield "signals dropped", partial(retention.forget_signals, now - SIGNALS_KEPT)
        # Written by a clock that had jumped; without this they would be kept for ever.
        yield "signals of the future dropped", partial(retention.forget_signals, math.inf, now + SIGNALS_KEPT)
        yield "signals of a flood dropped", partial(retention.forget_signals_beyond, MOST_SIGNALS)
        future = now + SIGNALS_KEPT
        yield "signals of orders erased", partial(retention.erase_order_signals, now - policy.payloads, future)
        yield "clicks forgotten", partial(retention.forget_clicks, now)
        for store in self._stores.values():
            if store.matching.remember_clicks is None:
                yield f"clicks of {store.name} forgotten", partial(retention.forget_clicks_of, store.name)
        forgotten = now - policy.payloads - KEY_OUTLIVES
        yield "answers of orders forgotten", partial(retention.forget_orders, forgotten, future)
