"""The outbox and the ledger: where the two halves of the way meet. Verbs over an SQLAlchemy engine.

Every verb is one transaction. Times are Unix seconds. Raises CannotStore when the database does not answer in time.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy import Connection

from connector.core.units import HOUR
from connector.mapping.tiktok_event import OutboundEvent
from connector.outbox.identity_hashes import store_hashes
from connector.outbox.ledger import Decision, Ledger
from connector.signals.matching import HeldEvent, SignalMatcher
from connector.storage.bulk_insert import BulkInsert
from connector.storage.database import CannotStore, Database, caused_by_one_row
from connector.storage.group_commit import GroupCommit, WaitTimeout
from connector.storage.tables import events, lanes, parked, relays, storable, stores

State = Literal["held", "due", "accepted", "rejected", "expired", "skipped"]
STATES: tuple[State, ...] = ("held", "due", "accepted", "rejected", "expired", "skipped")
MAX_AHEAD = 900.0  # seconds, longer than any lease or pause: what lies further ahead was written by a wrong clock


@dataclass(frozen=True, slots=True)
class ParkedWebhook:
    """A signed body we could not handle, with what its headers said, sealed with the store's own secrets."""

    store: str
    topic: str
    body_sha256: bytes
    reason: str
    parked_at: float
    sealed: bytes = field(repr=False)
    id: int = 0


@dataclass(frozen=True, slots=True)
class Lane:
    """The queue of one store and pixel."""

    store: str
    pixel: str


@dataclass(frozen=True, slots=True)
class LaneState:
    """Whether TikTok refuses a lane's token, since when, and until when nobody asks again."""

    lane: Lane
    denied_until: float | None = None
    denied_since: float | None = None
    denied_token: str = ""
    denials: int = 0
    reason: str = ""


class LeasedEvent(Struct, frozen=True):
    """An event leased to one relay until `lease_until`."""

    id: int
    event: str
    event_id: str
    test_code: str
    payload: bytes
    attempts: int
    tried_at: float
    sent_at: float
    occurred_at: float
    lease_until: float

    def __repr__(self) -> str:
        """Without the payload, which is personal."""
        return f"<Claimed {self.event} {self.event_id}>"


_KEY = (events.c.pixel, events.c.event, events.c.event_id)
_ROW = (
    "store", "pixel", "event", "event_id", "object_key", "test_code", "state", "due_at", "attempts", "occurred_at",
    "created_at", "payload", "email", "phone", "external_id",
)  # fmt: skip
_CLAIMED = LeasedEvent.__struct_fields__


class Outbox:
    """The tables' verbs, the same on SQLite and PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._group_commit: GroupCommit[Decision, int] = GroupCommit(
            self._record_all, database.timeout, caused_by_one_row
        )
        self.under_way = self._group_commit.under_way
        self._matcher = SignalMatcher(database)
        known = f"ON CONFLICT DO NOTHING RETURNING {', '.join(column.name for column in _KEY)}"
        self._new_events = BulkInsert(events, _ROW, known, database.engine.dialect)
        self._ledger = Ledger(database)

    # --- intake ---------------------------------------------------------------------------------------------

    def record(self, decision: Decision) -> int:
        """Store a decision's new events and its ledger line; the number of events that are new.

        An event whose (pixel, event, event_id) is known already changes nothing. A webhook that brings nothing
        new is only counted, and a body that was recorded before adds no second line.
        """
        try:
            return self._group_commit.add(decision)
        except WaitTimeout:
            raise CannotStore("others have been writing for too long") from None

    def _record_all(self, decisions: Sequence[Decision]) -> list[int]:
        """Several webhooks' decisions in one transaction; for each the number of its events that are new."""
        with self.database.write() as connection:
            waiting = [
                HeldEvent(n, _row(m, d), m.beacon_wait)
                for n, d in enumerate(decisions)
                for m in d.events
                if m.beacon_wait
            ]
            admitted = self._matcher.admit(connection, waiting) if waiting else {}
            new = self._insert_events(connection, decisions)
            for number, more in admitted.items():
                new[number] += more
            further = [(d.store, m.object_key, digest) for d in decisions for m in d.events for digest in m.more_hashes]
            store_hashes(connection, self.database.insert, further)
            self._ledger.note(connection, decisions, new)
        return new

    def _insert_events(self, connection: Connection, decisions: Sequence[Decision]) -> list[int]:
        rows = [(_row(mapped, d), n) for n, d in enumerate(decisions) for mapped in d.events if not mapped.beacon_wait]
        if not rows:
            return [0] * len(decisions)
        # In one order whoever inserts: two webhooks of one order at the same time must not lock each other out.
        rows.sort(key=lambda pair: (pair[0]["pixel"], pair[0]["event"], pair[0]["event_id"]))
        added = {tuple(row) for row in self._new_events.run(connection, [row for row, _ in rows])}
        new = [0] * len(decisions)
        for row, number in rows:
            stored = tuple(storable(row[column.name]) for column in _KEY)
            if stored in added:
                added.discard(stored)
                new[number] += 1
        return new

    def park(self, item: ParkedWebhook, delivery: str = "") -> None:
        """Keep a sealed body for a later replay, and its ledger line; the same body again changes nothing."""
        line = Decision(
            item.store, item.topic, item.body_sha256, item.parked_at, delivery, outcome="parked", reason=item.reason
        )
        row = {name: getattr(item, name) for name in ("store", "topic", "body_sha256", "reason", "parked_at", "sealed")}
        with self.database.write() as connection:
            connection.execute(self.database.insert(parked).values(row).on_conflict_do_nothing())
            self._ledger.write(connection, [line])

    def unpark(self, item: ParkedWebhook) -> None:
        """Forget a parked body that has been handled."""
        with self.database.write() as connection:
            connection.execute(sa.delete(parked).where(parked.c.id == item.id))

    def count(self, tallies: Mapping[tuple[str, str, str, int], int]) -> None:
        """Add to the counters: (store, topic, what, hour) → how many."""
        with self.database.write() as connection:
            self._ledger.count(connection, tallies)

    def ping(self) -> None:
        """Raise CannotStore unless a write would succeed: takes the write lock, writes and takes it back."""
        with self.database.write() as connection:
            connection.execute(self.database.insert(relays).values(name="-", seen_at=0).on_conflict_do_nothing())
            connection.rollback()

    def start_stores(self, names: Iterable[str], now: float) -> dict[str, float]:
        """When each store was first started; those not known yet start now."""
        with self.database.write() as connection:
            for name in sorted(names):
                row = {"name": name, "started_at": now}
                connection.execute(self.database.insert(stores).values(row).on_conflict_do_nothing())
            found = connection.execute(sa.select(stores.c.name, stores.c.started_at)).all()
        return {row.name: row.started_at for row in found}

    # --- relay ----------------------------------------------------------------------------------------------

    def add_lanes(self, wanted: Iterable[Lane]) -> None:
        """Make sure that each lane has its row."""
        with self.database.write() as connection:
            for lane in sorted(wanted, key=lambda lane: (lane.store, lane.pixel)):
                row = {"store": lane.store, "pixel": lane.pixel, "denials": 0, "reason": ""}
                connection.execute(self.database.insert(lanes).values(row).on_conflict_do_nothing())

    def lanes_due(self, now: float) -> list[LaneState]:
        """The lanes that have an event due, whether denied or not. Costs one index look-up a lane."""
        with self.database.read() as connection:
            rows = connection.execute(sa.select(lanes).where(_has_due(now))).all()
        return [lane_state(row) for row in rows]

    def claim(self, lane: Lane, limit: int, owner: str, now: float, lease: float) -> list[LeasedEvent]:
        """Lease up to `limit` due events of a lane to `owner` for `lease` seconds, the longest due first.

        From here on an event may have reached TikTok, so its first possibly-sent time is written now. No index has
        any of what is written here: PostgreSQL then leaves all indexes alone.
        https://www.postgresql.org/docs/current/storage-hot.html
        """
        ours = (events.c.store == lane.store, events.c.pixel == lane.pixel, events.c.state == "due")
        free = (events.c.due_at <= now, unleased(now))
        due = sa.select(events.c.id).where(*ours, *free).order_by(events.c.due_at).limit(limit)
        if self.database.is_postgresql:
            due = due.with_for_update(skip_locked=True)
        chosen = due.cte("chosen")  # chosen once: as a plain subquery it may run again and lock more than `limit`
        update = (
            sa.update(events)
            .where(events.c.id.in_(sa.select(chosen.c.id)))
            .values(
                lease_owner=owner,
                lease_until=now + lease,
                attempts=events.c.attempts + 1,
                **{
                    name: sa.func.coalesce(_believable(events.c[name], now + MAX_AHEAD), now)  # hosts differ a little
                    for name in ("tried_at", "sent_at")
                },
            )
            .returning(*(events.c[name] for name in _CLAIMED))
        )
        with self.database.write() as connection:
            rows = connection.execute(update).all()
        return sorted((LeasedEvent(*row) for row in rows), key=lambda item: item.id)

    def settle(
        self,
        owner: str,
        lease_until: float,
        results: Sequence[Mapping[str, Any]],
        count: Callable[[Connection, Sequence[int]], None] = lambda _connection, _rows: None,
    ) -> int:
        """Write what became of claimed events, as `settled` and `again` describe it; how many were still ours.

        A row whose lease ran out and went to another relay is not touched. Rows that fared alike, as those of one
        request do, are written by one statement. `count` is given the rows that were written, in the same transaction.
        """
        attempts = events.c.attempts - sa.bindparam("uncounted")
        kept = sa.bindparam("kept", type_=sa.Integer) == 1
        statement = (
            sa.update(events)
            .where(
                events.c.id.in_(sa.bindparam("rows", expanding=True)),
                events.c.lease_owner == owner,
                events.c.lease_until == lease_until,
            )
            .values(
                lease_owner=None,
                lease_until=None,
                state=sa.bindparam("new_state"),
                due_at=sa.bindparam("new_due_at"),
                sent_at=sa.bindparam("new_sent_at"),
                attempts=attempts,
                tried_at=sa.case((attempts == 0, sa.null()), else_=events.c.tried_at),
                settled_at=sa.bindparam("new_settled_at"),
                **{
                    name: sa.case((kept, events.c[name]), else_=sa.bindparam(f"new_{name}", type_=events.c[name].type))
                    for name in ("code", "message", "request_id")
                },
            )
            .returning(events.c.id)
        )
        alike: dict[tuple[tuple[str, Any], ...], list[int]] = {}
        for result in results:
            values = tuple((name, value) for name, value in result.items() if name != "row")
            alike.setdefault(values, []).append(result["row"])
        if not alike:
            return 0
        written: list[int] = []
        with self.database.write() as connection:
            for values, rows in alike.items():
                written += connection.execute(statement, {**dict(values), "rows": rows}).scalars()
            count(connection, written)
        return len(written)

    def pull_back(self, now: float, bound: float) -> int:
        """Make due whatever is due beyond `bound` only; how many there were, a thousand at most.

        A clock that jumped wrote it. When such an event may have reached TikTok is unknown too.
        """
        mine = (events.c.store == lanes.c.store, events.c.pixel == lanes.c.pixel)
        ahead = (
            sa.select(events.c.id).join(lanes, sa.and_(*mine)).where(events.c.state == "due", events.c.due_at > bound)
        )
        values: dict[str, Any] = {"due_at": now, "lease_owner": None, "lease_until": None}
        values |= {name: _believable(events.c[name], now) for name in ("tried_at", "sent_at")}
        with self.database.write() as connection:
            ids = connection.execute(ahead.limit(1000)).scalars().all()
            if not ids:
                return 0
            wrong = (events.c.id.in_(ids), events.c.state == "due", events.c.due_at > bound)
            return connection.execute(sa.update(events).where(*wrong).values(values)).rowcount

    def deny(self, lane: Lane, until: float, now: float, token: str, reason: str) -> None:
        """Close a lane until then; `token` is the fingerprint of the token that was refused."""
        values = {
            "denied_until": until,
            "denied_since": sa.func.coalesce(lanes.c.denied_since, now),
            "denied_token": token,
            "denials": lanes.c.denials + 1,
            "reason": reason,
        }
        with self.database.write() as connection:
            connection.execute(sa.update(lanes).where(*_is(lane)).values(values))

    def lane(self, lane: Lane) -> LaneState:
        """What TikTok last said about a lane."""
        with self.database.read() as connection:
            row = connection.execute(sa.select(lanes).where(*_is(lane))).first()
        return lane_state(row) if row else LaneState(lane)

    def open(self, lane: Lane) -> None:
        """TikTok takes this lane's events (again)."""
        values = {"denied_until": None, "denied_since": None, "denied_token": None, "denials": 0, "reason": ""}
        with self.database.write() as connection:
            connection.execute(sa.update(lanes).where(*_is(lane)).values(values))

    def beat(self, relay: str, now: float) -> None:
        """A relay says that it is alive; those silent for a day are forgotten."""
        insert = self.database.insert(relays).values(name=relay, seen_at=now)
        with self.database.write() as connection:
            connection.execute(insert.on_conflict_do_update(index_elements=["name"], set_={"seen_at": now}))
            gone = sa.or_(
                relays.c.seen_at < now - 24 * HOUR, relays.c.seen_at > now + HOUR
            )  # or of a clock that jumped
            connection.execute(sa.delete(relays).where(gone))

    def leave(self, relay: str) -> None:
        """A relay ends in good order."""
        with self.database.write() as connection:
            connection.execute(sa.delete(relays).where(relays.c.name == relay))


def settled(
    claimed: LeasedEvent, state: State, now: float, code: int | None, message: str, request_id: str
) -> dict[str, Any]:
    """A final state for `Outbox.settle`."""
    return _result(claimed, state, claimed.sent_at, now, code, message, request_id) | {"new_settled_at": now}


def again(
    claimed: LeasedEvent, due_at: float, sent_at: float | None, code: int | None, message: str, counts: bool = True
) -> dict[str, Any]:
    """Another attempt at `due_at`. `sent_at` is None when TikTok certainly has not got the event.

    Without code and message the row keeps those of the attempt before.
    """
    result = _result(claimed, "due", sent_at, due_at, code, message, "")
    return result | {"uncounted": 0 if counts else 1}


def _result(
    claimed: LeasedEvent,
    state: State,
    sent_at: float | None,
    due_at: float,
    code: int | None,
    message: str,
    request_id: str,
) -> dict[str, Any]:
    return {
        "row": claimed.id,
        "new_state": state,
        "new_due_at": due_at,
        "new_sent_at": sent_at,
        "uncounted": 0,
        "kept": int(code is None and not message),
        "new_settled_at": None,
        "new_code": code,
        "new_message": message or None,
        "new_request_id": request_id or None,
    }


def _row(mapped: OutboundEvent, decision: Decision) -> dict[str, Any]:
    return {
        "store": decision.store,
        "pixel": mapped.pixel.code,
        "event": mapped.event,
        "event_id": mapped.event_id,
        "object_key": mapped.object_key,
        "test_code": mapped.pixel.test_event_code,
        "state": "due",
        "due_at": decision.received_at,
        "attempts": 0,
        "occurred_at": mapped.occurred_at.timestamp(),
        "created_at": decision.received_at,
        "payload": mapped.payload,
        "email": bytes.fromhex(mapped.email) or None,
        "phone": bytes.fromhex(mapped.phone) or None,
        "external_id": bytes.fromhex(mapped.external_id) or None,
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
    """Whether no relay has the event in hand: no lease, an ended one, or one by a clock that was wrong."""
    until = events.c.lease_until
    return sa.or_(until.is_(None), until <= now, until > now + MAX_AHEAD)


def _believable(column: sa.Column[Any], bound: float) -> sa.ColumnElement[Any]:
    """A time not beyond `bound`. Of another the earliest possible moment is taken: that the event was stored."""
    return sa.case((column > bound, events.c.created_at), else_=column)


def _is(lane: Lane) -> tuple[sa.ColumnElement[bool], ...]:
    return lanes.c.store == lane.store, lanes.c.pixel == lane.pixel


def lane_state(row: sa.Row[Any]) -> LaneState:
    """A row of `lanes`."""
    lane = Lane(row.store, row.pixel)
    return LaneState(lane, row.denied_until, row.denied_since, row.denied_token or "", row.denials, row.reason)
