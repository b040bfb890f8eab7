"""The desk: what people and pages ask of the outbox, and what they set going again.

Neither half of the way waits for anything here. Times are Unix seconds. Raises CannotStore like the outbox.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from connector.outbox import HOUR, Lane, LaneState, Parked, lane_state
from connector.tables import alerts, counters, events, lanes, ledger, parked, relays
from connector.transactions import Transactions


@dataclass(frozen=True, slots=True)
class OpenProblem:
    """A problem that there is now: since when, and when somebody was told by an alert, or None."""

    key: str
    sentence: str
    since: float
    told_at: float | None


@dataclass(frozen=True, slots=True)
class Choice:
    """Which events a command is about: every word given must fit. Times are Unix seconds of `created_at`."""

    ids: tuple[str, ...] = ()  # event_ids or row ids
    store: str = ""
    state: str = ""
    event: str = ""
    since: float | None = None
    until: float | None = None

    def conditions(self) -> list[sa.ColumnElement[bool]]:
        """The same as SQL."""
        found: list[sa.ColumnElement[bool]] = []
        if self.ids:
            numbers = [int(text) for text in self.ids if text.isdecimal() and len(text) < 19]
            found.append(sa.or_(events.c.event_id.in_(self.ids), events.c.id.in_(numbers)))
        if self.store:
            found.append(events.c.store == self.store)
        if self.state:
            found.append(events.c.state == self.state)
        if self.event:
            found.append(events.c.event == self.event)
        if self.since is not None:
            found.append(events.c.created_at >= self.since)
        if self.until is not None:
            found.append(events.c.created_at <= self.until)
        return found


class Desk(Transactions):
    """The tables as people look at them, the same on SQLite and PostgreSQL."""

    def find(self, chosen: Choice, limit: int) -> list[sa.Row[Any]]:
        """Events that fit, newest first, without their payloads: `kept` says whether there is one."""
        columns = [column for column in events.c if column.name not in ("payload", "email", "phone", "external_id")]
        kept = events.c.payload.is_not(None).label("kept")
        query = (
            sa.select(*columns, kept)
            .where(*chosen.conditions())
            .order_by(events.c.created_at.desc(), events.c.id.desc())
        )
        with self._read() as connection:
            return [*connection.execute(query.limit(limit))]

    def show(self, key: str) -> tuple[list[sa.Row[Any]], list[sa.Row[Any]]]:
        """Everything known of an event_id, event row id, order number or object key: (ledger lines, events)."""
        names = [key, f"order:{key}"]
        words = sa.or_(ledger.c.order_number.in_([key, f"#{key}"]), ledger.c.object_key.in_(names))
        with self._read() as connection:
            lines = list(connection.execute(sa.select(ledger).where(words).order_by(ledger.c.id).limit(100)).all())
            wanted = [events.c.event_id == key, events.c.object_key.in_(names)]
            wanted += [sa.and_(events.c.store == line.store, events.c.object_key == line.object_key) for line in lines]
            found = list(connection.execute(sa.select(events).where(sa.or_(*wanted)).order_by(events.c.id).limit(100)))
            if not found and key.isdecimal() and len(key) < 19:  # no order of this number: a row then
                found = list(connection.execute(sa.select(events).where(events.c.id == int(key))))
            for store, object_key in {(row.store, row.object_key) for row in found} - {
                (line.store, line.object_key) for line in lines
            }:
                more = sa.select(ledger).where(ledger.c.store == store, ledger.c.object_key == object_key)
                lines += connection.execute(more.order_by(ledger.c.id).limit(100)).all()
        return lines, found

    def replay(self, ids: Sequence[int], now: float, forget_sent: bool = False) -> int:
        """Make finished events due again, with the same event_id and bytes; how many there were.

        `forget_sent` also forgets when they may have reached TikTok, so that the relay does not hold them back.
        """
        again = {
            "state": "due",
            "due_at": now,
            "tried_at": None,
            "attempts": 0,
            "lease_owner": None,
            "settled_at": None,
        }
        again |= {"sent_at": None} if forget_sent else {}
        with self._write() as connection:
            ready = (events.c.id.in_(ids), events.c.state.not_in(("due", "held")), events.c.payload.is_not(None))
            return connection.execute(sa.update(events).where(*ready).values(again)).rowcount

    def parked(self, store: str = "", limit: int = 1000, after: int = 0) -> list[Parked]:
        """Parked bodies, oldest first, from the one after id `after` on."""
        query = sa.select(parked).where(parked.c.id > after).order_by(parked.c.id).limit(limit)
        if store:
            query = query.where(parked.c.store == store)
        with self._read() as connection:
            return [Parked(**row._mapping) for row in connection.execute(query).all()]

    def parked_number(self, store: str = "") -> int:
        """How many bodies are parked."""
        query = sa.select(sa.func.count()).select_from(parked)
        if store:
            query = query.where(parked.c.store == store)
        with self._read() as connection:
            return int(connection.execute(query).scalar() or 0)

    def counted(self, since: float = 0) -> list[sa.Row[Any]]:
        """The counters summed per store, topic and what, from `since` on."""
        key = (counters.c.store, counters.c.topic, counters.c.what)
        total = sa.func.sum(counters.c.count).label("count")
        query = sa.select(*key, total).where(counters.c.hour >= int(since) // HOUR * HOUR)
        with self._read() as connection:
            return [*connection.execute(query.group_by(*key).order_by(*key))]

    def skipped(self, reason: str) -> dict[str, int]:
        """How many orders, checkouts and customers of each store were skipped for a reason that begins so."""
        number = sa.func.count(sa.distinct(ledger.c.object_key))
        query = sa.select(ledger.c.store, number).where(ledger.c.reason.contains(f": {reason}", autoescape=True))
        with self._read() as connection:
            return {row[0]: row[1] for row in connection.execute(query.group_by(ledger.c.store))}

    def last_orders(self, store: str, number: int) -> list[str]:
        """The reasons and notes of the last orders that were relayed, the newest first."""
        orders = (ledger.c.object_key.startswith("order:"), ledger.c.outcome == "relayed")
        query = sa.select(ledger.c.reason).where(ledger.c.store == store, *orders).order_by(ledger.c.id.desc())
        with self._read() as connection:
            return list(connection.execute(query.limit(number)).scalars())

    def lane_states(self) -> list[LaneState]:
        """Every lane that has ever been configured."""
        with self._read() as connection:
            return [lane_state(row) for row in connection.execute(sa.select(lanes)).all()]

    def waiting(self) -> dict[Lane, int]:
        """How many events wait to be sent, by lane; those of stores that are no longer configured too."""
        key = (events.c.store, events.c.pixel)
        query = sa.select(*key, sa.func.count().label("number")).where(events.c.state == "due").group_by(*key)
        with self._read() as connection:
            return {Lane(row.store, row.pixel): row.number for row in connection.execute(query.order_by(*key))}

    def denied(self) -> int:
        """How many lanes TikTok refuses just now."""
        query = sa.select(sa.func.count()).select_from(lanes).where(lanes.c.denied_since.is_not(None))
        with self._read() as connection:
            return int(connection.execute(query).scalar() or 0)

    def oldest_due(self, now: float) -> float | None:
        """Since when the longest waiting event of the open lanes is due, or None."""
        open_lanes = sa.or_(lanes.c.denied_until.is_(None), lanes.c.denied_until < now)
        first = (
            sa.select(sa.func.min(events.c.due_at))
            .where(events.c.store == lanes.c.store, events.c.pixel == lanes.c.pixel, events.c.state == "due")
            .correlate(lanes)
            .scalar_subquery()
        )
        with self._read() as connection:
            return connection.execute(sa.select(sa.func.min(first)).select_from(lanes).where(open_lanes)).scalar()

    def relay_seen(self) -> float | None:
        """When a relay was last known to be alive."""
        with self._read() as connection:
            return connection.execute(sa.select(sa.func.max(relays.c.seen_at))).scalar()

    def open_problems(self) -> list[OpenProblem]:
        """What the watcher found and still finds, the longest lasting first."""
        query = sa.select(*(alerts.c[name] for name in OpenProblem.__dataclass_fields__))
        query = query.where(alerts.c.noted_at.is_not(None), alerts.c.over_at.is_(None))
        with self._read() as connection:
            return [OpenProblem(*row) for row in connection.execute(query.order_by(alerts.c.since, alerts.c.key))]
