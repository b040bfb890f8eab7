"""The outbox: events that wait to be sent to TikTok, from intake to the relay.

Every method is one transaction, except `write`, which runs in the caller's. Times are Unix seconds. Raises CannotStore
when the database does not answer in time.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from connector.core.units import HOUR
from connector.core.webhook import BrokenWebhook
from connector.mapping.tiktok_event import OutboundEvent
from connector.outbox.event_times import ASSUMED_TIME_WAIT, state_times
from connector.outbox.identity_hashes import store_hashes
from connector.outbox.lanes import Lane, LaneState, is_lane, read_lane_state
from connector.outbox.ledger import Decision, Ledger, ParkedWebhook, park_decision
from connector.outbox.settlement import LeasedEvent, Settlement, settlement_parameters, settlement_update
from connector.signals.matching import KnownOrder, SignalMatcher, WaitingEvent
from connector.storage.bulk_insert import BulkInsert
from connector.storage.database import Database
from connector.storage.tables import events, lanes, parked, relays, storable, stores

MAX_AHEAD = 900.0  # seconds, longer than any lease, pause or hold: a wrong clock wrote a time further ahead


_KEY = ("pixel", "event", "event_id")
_key_of = itemgetter(*_KEY)
_ROW = (
    "store", "pixel", "event", "event_id", "object_key", "test_code", "state", "due_at", "attempts", "occurred_at",
    "created_at", "payload", "email", "phone", "external_id",
)  # fmt: skip
_LEASED = [events.c["sent_at" if name == "maybe_sent_at" else name] for name in LeasedEvent.__struct_fields__]
_PARKED = ("store", "topic", "body_sha256", "reason", "parked_at", "sealed")
_NewRow = tuple[int, dict[str, Any]]  # the index of an event's decision, and its row


class Outbox:
    """Records, leases and settles events, on SQLite and PostgreSQL alike. Safe to share between threads."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._matcher = SignalMatcher(database)
        ending = f"ON CONFLICT DO NOTHING RETURNING {', '.join(_KEY)}"
        self._new_events = BulkInsert(events, _ROW, ending, database.engine.dialect)
        self._ledger = Ledger(database)

    # --- intake ---------------------------------------------------------------------------------------------

    def record(self, decision: Decision) -> int:
        """Store one webhook's decision; return the number of its new events. See `write`."""
        return self.record_all([decision])[0]

    def record_all(self, decisions: Sequence[Decision]) -> list[int]:
        """Store several webhooks' decisions in one transaction; return the number of new events of each."""
        with self.database.write() as connection:
            return self.write(connection, decisions)

    def write(self, connection: Connection, decisions: Sequence[Decision]) -> list[int]:
        """Store the decisions' new events, parked bodies and ledger lines, in the caller's transaction.

        Returns the number of new events of each. An event whose (pixel, event, event_id) is known changes nothing,
        except that it may state the time of an unsent one. A webhook that brings nothing new is only counted, and a
        body that was recorded before adds no second line.
        """
        rows: list[_NewRow] = []
        waiting: list[WaitingEvent] = []
        more_hashes: list[tuple[str, str, str]] = []
        stated: list[dict[str, Any]] = []
        orders = [
            KnownOrder(decision.store, decision.checkout_token, decision.object_key, decision.received_at)
            for decision in decisions
            if decision.checkout_token
        ]
        for number, decision in enumerate(decisions):
            for event in decision.events:
                row = _row(event, decision)
                if event.beacon_wait:
                    waiting.append(WaitingEvent(number, row, event.beacon_wait))
                else:
                    rows.append((number, row))
                if event.time_source == "stated":
                    stated.append(row)
                more_hashes += [(decision.store, event.object_key, digest) for digest in event.more_hashes]
        new = [0] * len(decisions)
        if waiting or orders:
            for number, added in self._matcher.store_waiting(connection, waiting, orders).items():
                new[number] += added
        inserted = self._insert_events(connection, rows) if rows else []
        for number, _ in inserted:
            new[number] += 1
        fresh = {id(row) for _, row in inserted}
        state_times(connection, [row for row in stated if id(row) not in fresh])
        store_hashes(connection, self.database.insert, more_hashes)
        self._park(connection, [decision.parked for decision in decisions if decision.parked])
        self._ledger.note(connection, decisions, new)
        return new

    def _insert_events(self, connection: Connection, rows: list[_NewRow]) -> list[_NewRow]:
        """Insert the rows; return those that are new."""
        # Always in the same order, so that two simultaneous webhooks of one order do not deadlock.
        rows.sort(key=lambda numbered: _key_of(numbered[1]))
        added = {tuple(row) for row in self._new_events.run(connection, [row for _, row in rows])}
        new = []
        for number, row in rows:
            key = tuple(map(storable, _key_of(row)))
            if key in added:
                added.discard(key)  # a second row with the same key is not new
                new.append((number, row))
        return new

    def park(self, item: ParkedWebhook, delivery: str = "") -> None:
        """Store an encrypted body for a replay, with its ledger line.

        The same body again changes nothing, except for the time of an error that a broken webhook repeats.
        """
        self.record(park_decision(item, delivery))

    def _park(self, connection: Connection, items: Sequence[ParkedWebhook]) -> None:
        for item in items:
            insert = self.database.insert(parked).values({name: getattr(item, name) for name in _PARKED})
            if item.reason.startswith(BrokenWebhook.PREFIX):
                latest = {"reason": item.reason, "parked_at": item.parked_at}
                insert = insert.on_conflict_do_update(index_elements=["store", "topic", "body_sha256"], set_=latest)
            else:
                insert = insert.on_conflict_do_nothing()
            connection.execute(insert)

    def unpark(self, item: ParkedWebhook) -> None:
        """Delete a parked body that has been handled."""
        with self.database.write() as connection:
            connection.execute(sa.delete(parked).where(parked.c.id == item.id))

    def count(self, counts: Mapping[tuple[str, str, str, int], int]) -> None:
        """Add to the counters, by (store, topic, what, hour)."""
        with self.database.write() as connection:
            self._ledger.count(connection, counts)

    def ping(self) -> None:
        """Raise CannotStore unless a write would succeed: takes the write lock, writes, and rolls back."""
        with self.database.write() as connection:
            connection.execute(self.database.insert(relays).values(name="-", seen_at=0).on_conflict_do_nothing())
            connection.rollback()

    def start_stores(self, names: Iterable[str], now: float) -> dict[str, float]:
        """Return the first start of each store; a new store starts now."""
        with self.database.write() as connection:
            for name in sorted(names):
                row = {"name": name, "started_at": now}
                connection.execute(self.database.insert(stores).values(row).on_conflict_do_nothing())
            found = connection.execute(sa.select(stores.c.name, stores.c.started_at)).all()
        return {row.name: row.started_at for row in found}

    # --- relay ----------------------------------------------------------------------------------------------

    def add_lanes(self, wanted: Iterable[Lane]) -> None:
        """Add a row for each lane that has none."""
        with self.database.write() as connection:
            for lane in sorted(wanted, key=lambda lane: (lane.store, lane.pixel)):
                row = {"store": lane.store, "pixel": lane.pixel, "denials": 0, "reason": ""}
                connection.execute(self.database.insert(lanes).values(row).on_conflict_do_nothing())

    def lanes_due(self, now: float) -> list[LaneState]:
        """Return the lanes that have an event due, suspended ones too. Costs one index look-up a lane."""
        with self.database.read() as connection:
            rows = connection.execute(sa.select(lanes).where(_has_due(now))).all()
        return [read_lane_state(row) for row in rows]

    def claim(self, lane: Lane, limit: int, owner: str, now: float, lease: float) -> list[LeasedEvent]:
        """Lease up to `limit` due events of a lane to `owner` for `lease` seconds, the longest due first.

        An event may reach TikTok from now on, so `sent_at` is set here, before the request. None of the written columns
        is indexed, so PostgreSQL updates the row in place.
        https://www.postgresql.org/docs/current/storage-hot.html
        """
        in_lane = (events.c.store == lane.store, events.c.pixel == lane.pixel, events.c.state == "due")
        free = (events.c.due_at <= now, unleased(now))
        due = sa.select(events.c.id).where(*in_lane, *free).order_by(events.c.due_at).limit(limit)
        if self.database.is_postgresql:
            due = due.with_for_update(skip_locked=True)
        chosen = due.cte("chosen")  # evaluated once; a plain subquery may run again and lock more than `limit`
        update = (
            sa.update(events)
            .where(events.c.id.in_(sa.select(chosen.c.id)))
            .values(
                lease_owner=owner,
                lease_until=now + lease,
                attempts=events.c.attempts + 1,
                # the first attempt's time stays, unless a clock that had jumped wrote it;
                # clocks of hosts may differ a little
                **{
                    name: sa.func.coalesce(_corrected(events.c[name], now + MAX_AHEAD), now)
                    for name in ("tried_at", "sent_at")
                },
            )
            .returning(*_LEASED)
        )
        with self.database.write() as connection:
            rows = connection.execute(update).all()
        return sorted((LeasedEvent(*row) for row in rows), key=lambda item: item.id)

    def settle(
        self,
        owner: str,
        lease_until: float,
        settlements: Sequence[Settlement],
        in_same_transaction: Callable[[Connection, Sequence[int]], None] = lambda _connection, _rows: None,
    ) -> int:
        """Write the results of leased events; return the number of rows written: those whose lease is still this one.

        A row whose lease has expired and that another relay has leased is left alone. `in_same_transaction` is
        called with the ids of the written rows.
        """
        if not settlements:
            return 0
        update = settlement_update(owner, lease_until)
        written: list[int] = []
        with self.database.write() as connection:
            for parameters in settlement_parameters(settlements):
                written += connection.execute(update, parameters).scalars()
            in_same_transaction(connection, written)
        return len(written)

    def correct_clock_jumps(self, now: float, bound: float) -> int:
        """Make events due whose due time is beyond `bound`; return their number, at most 1,000.

        A wrong clock wrote such a time. The time when such an event may have reached TikTok is corrected, too.
        """
        in_lane = (events.c.store == lanes.c.store, events.c.pixel == lanes.c.pixel)
        ahead = (
            sa.select(events.c.id)
            .join(lanes, sa.and_(*in_lane))
            .where(events.c.state == "due", events.c.due_at > bound)
        )
        values: dict[str, Any] = {"due_at": now, "lease_owner": None, "lease_until": None}
        values |= {name: _corrected(events.c[name], now) for name in ("tried_at", "sent_at")}
        with self.database.write() as connection:
            ids = connection.execute(ahead.limit(1000)).scalars().all()
            if not ids:
                return 0
            wrong = (events.c.id.in_(ids), events.c.state == "due", events.c.due_at > bound)
            return connection.execute(sa.update(events).where(*wrong).values(values)).rowcount

    def suspend(self, lane: Lane, until: float, now: float, token: str, reason: str) -> None:
        """Suspend a lane until its next probe; `token` is the fingerprint of the token that TikTok denies."""
        values = {
            "denied_until": until,
            "denied_since": sa.func.coalesce(lanes.c.denied_since, now),
            "denied_token": token,
            "denials": lanes.c.denials + 1,
            "reason": reason,
        }
        with self.database.write() as connection:
            connection.execute(sa.update(lanes).where(*is_lane(lane)).values(values))

    def lane_state(self, lane: Lane) -> LaneState:
        """Return the state of a lane: its suspension, if any, and the reason."""
        with self.database.read() as connection:
            row = connection.execute(sa.select(lanes).where(*is_lane(lane))).first()
        return read_lane_state(row) if row else LaneState(lane)

    def resume(self, lane: Lane, now: float) -> None:
        """End a lane's suspension: TikTok accepts its token."""
        values = {"denied_until": now, "denied_since": None, "denied_token": None, "denials": 0, "reason": ""}
        with self.database.write() as connection:
            connection.execute(sa.update(lanes).where(*is_lane(lane)).values(values))

    def heartbeat(self, relay: str, now: float) -> None:
        """Store that a relay is alive, and delete relays without a heartbeat for a day."""
        insert = self.database.insert(relays).values(name=relay, seen_at=now)
        with self.database.write() as connection:
            connection.execute(insert.on_conflict_do_update(index_elements=["name"], set_={"seen_at": now}))
            # A wrong clock wrote a heartbeat in the future.
            gone = sa.or_(relays.c.seen_at < now - 24 * HOUR, relays.c.seen_at > now + HOUR)
            connection.execute(sa.delete(relays).where(gone))

    def leave(self, relay: str) -> None:
        """Delete a relay that has ended normally."""
        with self.database.write() as connection:
            connection.execute(sa.delete(relays).where(relays.c.name == relay))


def _row(event: OutboundEvent, decision: Decision) -> dict[str, Any]:
    return {
        "store": decision.store,
        "pixel": event.pixel.code,
        "event": event.event,
        "event_id": event.event_id,
        "object_key": event.object_key,
        "test_code": event.pixel.test_event_code,
        "state": "due",
        "due_at": decision.received_at + (ASSUMED_TIME_WAIT if event.time_source == "assumed" else 0),
        "attempts": 0,
        "occurred_at": event.occurred_at.timestamp(),
        "created_at": decision.received_at,
        "payload": event.payload,
        "email": bytes.fromhex(event.email_hash) or None,
        "phone": bytes.fromhex(event.phone_hash) or None,
        "external_id": bytes.fromhex(event.external_id_hash) or None,
    }


def _has_due(now: float) -> sa.ColumnElement[bool]:
    return (
        sa.select(events.c.id)
        .where(
            events.c.store == lanes.c.store,
            events.c.pixel == lanes.c.pixel,
            events.c.state == "due",
            events.c.due_at <= now,
            unleased(now),
        )
        .exists()
    )


def unleased(now: float) -> sa.ColumnElement[bool]:
    """Return the condition that an event has no lease, an expired one, or one that a wrong clock wrote."""
    until = events.c.lease_until
    return sa.or_(until.is_(None), until <= now, until > now + MAX_AHEAD)


def _corrected(column: sa.Column[Any], bound: float) -> sa.ColumnElement[Any]:
    """Return the column's time. A time beyond `bound` comes from a wrong clock: `created_at` replaces it."""
    return sa.case((column > bound, events.c.created_at), else_=column)
