"""The relay's half of the outbox: events are leased per lane, and settled.

Two tables hold such events: `events`, of which webhooks are the source, and `funnel_events`, of which browsers are.
Every method is one transaction. Times are Unix seconds. Raises CannotStore when the database does not answer in time.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from connector.core.units import HOUR
from connector.outbox.lanes import Lane, LaneState, read_lane_state
from connector.outbox.settlement import LeasedEvent, Settlement, settlement_parameters, settlement_update
from connector.storage.database import Database
from connector.storage.tables import events, lanes, relays

MAX_AHEAD = 900.0  # seconds, longer than any lease, pause or hold: a wrong clock wrote a time further ahead


class EventQueue:
    """Leases and settles the events of `table`, whose lanes are in `lane_table`. Safe to share between threads."""

    def __init__(self, database: Database, table: sa.Table = events, lane_table: sa.Table = lanes) -> None:
        self.database = database
        self._events = table
        self._lanes = lane_table

    def add_lanes(self, wanted: Iterable[Lane]) -> None:
        """Add a row for each lane that has none."""
        with self.database.write() as connection:
            for lane in sorted(wanted, key=lambda lane: (lane.store, lane.pixel)):
                row = {"store": lane.store, "pixel": lane.pixel, "denials": 0, "reason": ""}
                connection.execute(self.database.insert(self._lanes).values(row).on_conflict_do_nothing())

    def lanes_due(self, now: float) -> list[LaneState]:
        """Return the lanes that have an event due, suspended ones too. Costs one index look-up a lane."""
        with self.database.read() as connection:
            rows = connection.execute(sa.select(self._lanes).where(self._has_due(now))).all()
        return [read_lane_state(row) for row in rows]

    def claim(
        self, lane: Lane, limit: int, owner: str, now: float, lease: float, in_backlog: bool = False
    ) -> list[LeasedEvent]:
        """Lease up to `limit` due events of a lane to `owner` for `lease` seconds, the longest due first.

        While a backlog is drained, the database is left to webhooks for a moment afterwards, if they are frequent.

        An event may reach TikTok from now on, so `sent_at` is set here, before the request. None of the written columns
        is indexed, so PostgreSQL updates the row in place.
        https://www.postgresql.org/docs/current/storage-hot.html
        """
        in_lane = (
            self._events.c.store == lane.store,
            self._events.c.pixel == lane.pixel,
            self._events.c.state == "due",
        )
        free = (self._events.c.due_at <= now, unleased(self._events, now))
        due = sa.select(self._events.c.id).where(*in_lane, *free).order_by(self._events.c.due_at).limit(limit)
        if self.database.is_postgresql:
            due = due.with_for_update(skip_locked=True)
        chosen = due.cte("chosen")  # evaluated once; a plain subquery may run again and lock more than `limit`
        update = (
            sa.update(self._events)
            .where(self._events.c.id.in_(sa.select(chosen.c.id)))
            .values(
                lease_owner=owner,
                lease_until=now + lease,
                attempts=self._events.c.attempts + 1,
                # the first attempt's time stays, unless a clock that had jumped wrote it;
                # clocks of hosts may differ a little
                **{
                    name: sa.func.coalesce(self._corrected(name, now + MAX_AHEAD), now)
                    for name in ("tried_at", "sent_at")
                },
            )
            .returning(*self._leased())
        )
        with self.database.write(may_yield=in_backlog) as connection:
            rows = connection.execute(update).all()
        return sorted((LeasedEvent(*row) for row in rows), key=lambda item: item.id)

    def settle(
        self,
        owner: str,
        lease_until: float,
        settlements: Sequence[Settlement],
        *in_same_transaction: Callable[[Connection, Sequence[int]], None],
        in_backlog: bool = False,
    ) -> int:
        """Write the results of leased events; return the number of rows written: those whose lease is still this one.

        A row whose lease has expired and that another relay has leased is left alone. Each of `in_same_transaction` is
        called with the ids of the written rows. `in_backlog`: see `claim`.
        """
        if not settlements:
            return 0
        update = settlement_update(self._events, owner, lease_until)
        written: list[int] = []
        with self.database.write(may_yield=in_backlog) as connection:
            for parameters in settlement_parameters(settlements):
                written += connection.execute(update, parameters).scalars()
            for work in in_same_transaction:
                work(connection, written)
        return len(written)

    def correct_clock_jumps(self, now: float, bound: float) -> int:
        """Make events due whose due time is beyond `bound`; return their number, at most 1,000.

        A wrong clock wrote such a time. The time when such an event may have reached TikTok is corrected, too.
        """
        in_lane = (self._events.c.store == self._lanes.c.store, self._events.c.pixel == self._lanes.c.pixel)
        ahead = (
            sa.select(self._events.c.id)
            .join(self._lanes, sa.and_(*in_lane))
            .where(self._events.c.state == "due", self._events.c.due_at > bound)
        )
        values: dict[str, Any] = {"due_at": now, "lease_owner": None, "lease_until": None}
        values |= {name: self._corrected(name, now) for name in ("tried_at", "sent_at")}
        with self.database.write() as connection:
            ids = connection.execute(ahead.limit(1000)).scalars().all()
            if not ids:
                return 0
            wrong = (self._events.c.id.in_(ids), self._events.c.state == "due", self._events.c.due_at > bound)
            return connection.execute(sa.update(self._events).where(*wrong).values(values)).rowcount

    def suspend(self, lane: Lane, until: float, now: float, token: str, reason: str) -> None:
        """Suspend a lane until its next probe; `token` is the fingerprint of the token that TikTok denies."""
        values = {
            "denied_until": until,
            "denied_since": sa.func.coalesce(self._lanes.c.denied_since, now),
            "denied_token": token,
            "denials": self._lanes.c.denials + 1,
            "reason": reason,
        }
        with self.database.write() as connection:
            connection.execute(sa.update(self._lanes).where(*self._is_lane(lane)).values(values))

    def lane_state(self, lane: Lane) -> LaneState:
        """Return the state of a lane: its suspension, if any, and the reason."""
        with self.database.read() as connection:
            row = connection.execute(sa.select(self._lanes).where(*self._is_lane(lane))).first()
        return read_lane_state(row) if row else LaneState(lane)

    def resume(self, lane: Lane, now: float) -> None:
        """End a lane's suspension: TikTok accepts its token."""
        values = {"denied_until": now, "denied_since": None, "denied_token": None, "denials": 0, "reason": ""}
        with self.database.write() as connection:
            connection.execute(sa.update(self._lanes).where(*self._is_lane(lane)).values(values))

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

    # --- conditions -----------------------------------------------------------------------------------------

    def _is_lane(self, lane: Lane) -> tuple[sa.ColumnElement[bool], ...]:
        return self._lanes.c.store == lane.store, self._lanes.c.pixel == lane.pixel

    def _has_due(self, now: float) -> sa.ColumnElement[bool]:
        found = self._events.c
        return (
            sa.select(found.id)
            .where(
                found.store == self._lanes.c.store,
                found.pixel == self._lanes.c.pixel,
                found.state == "due",
                found.due_at <= now,
                unleased(self._events, now),
            )
            .exists()
        )

    def _leased(self) -> list[sa.Column[Any]]:
        """Return the columns of a LeasedEvent."""
        columns = self._events.c
        replaced = {"maybe_sent_at": columns.sent_at, "object_key": columns.get("object_key", columns.event_id)}
        return [replaced[name] if name in replaced else columns[name] for name in LeasedEvent.__struct_fields__]

    def _corrected(self, name: str, bound: float) -> sa.ColumnElement[Any]:
        """Return the column's time. A time beyond `bound` comes from a wrong clock: `created_at` replaces it."""
        column = self._events.c[name]
        return sa.case((column > bound, self._events.c.created_at), else_=column)


def unleased(table: sa.Table, now: float) -> sa.ColumnElement[bool]:
    """Return the condition that an event has no lease, an expired one, or one that a wrong clock wrote."""
    until = table.c.lease_until
    return sa.or_(until.is_(None), until <= now, until > now + MAX_AHEAD)
