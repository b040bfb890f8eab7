"""Accuracy: how many of the orders in a shop were sent or deliberately skipped, by store and day of the order (UTC).

Reconciliation sees every order of a shop and notes it in `orders`. At the end of each round the last days are counted
again: an order is missing if TikTok rejected one of its events, if one expired, or if its body could not be processed;
it waits while one of its events is to be sent. A day is known when reconciliation has passed its end and nothing of it
waits. Times are Unix seconds. Raises CannotStore.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import msgspec
import sqlalchemy as sa

from connector.core.units import DAY
from connector.storage.database import Database
from connector.storage.tables import accuracy, events, orders, parked, reconciled

DAYS = 9  # days that are counted again, the present one included: longer than events are retried
LOW = 0.99  # a day below this share is a problem
PARKED_KEY = "parked:"  # with the SHA-256 of a body that does not say which order it is


@dataclass(frozen=True, slots=True)
class FoundOrder:
    """One order of a day, as it is now. `kind` is sent, skipped, waiting or missing; `reason` says why."""

    object_key: str
    order_number: str
    placed_at: float
    kind: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class DayAccuracy:
    """The orders of one store that were placed on one day: sent, waiting, and skipped or missing by reason."""

    store: str
    day: int
    orders: int
    sent: int
    waiting: int
    skipped: dict[str, int] = field(default_factory=dict)
    missing: dict[str, int] = field(default_factory=dict)
    complete: bool = False

    @property
    def share(self) -> float | None:
        """(sent + skipped) ÷ orders; None if it is not known yet, or there was no order."""
        if not self.complete or self.waiting or not self.orders:
            return None
        return self.reached / self.orders

    @property
    def reached(self) -> int:
        """The orders that were sent or deliberately skipped."""
        return self.sent + sum(self.skipped.values())

    @property
    def low(self) -> bool:
        """True if the day is known and too much is missing."""
        return self.share is not None and self.share < LOW


def _has(*states: str) -> sa.ColumnElement[int]:
    return sa.func.max(sa.case((events.c.state.in_(states), 1), else_=0))


def _compared() -> sa.Select[Any]:
    """Select the compared orders, each with the states of its events."""
    same = sa.and_(events.c.store == orders.c.store, events.c.object_key == orders.c.object_key)
    failed = sa.case((events.c.state.in_(("rejected", "expired")), events.c.state), else_=None)
    return (
        sa.select(
            orders.c.object_key,
            sa.func.max(orders.c.order_number).label("order_number"),
            orders.c.placed_at,
            orders.c.outcome,
            orders.c.reason,
            _has("due", "held").label("waiting"),
            _has("accepted").label("accepted"),
            sa.func.max(sa.case((events.c.state == "skipped", events.c.message), else_=None)).label("skipped"),
            sa.func.max(failed).label("failed"),
            sa.func.max(sa.case((failed.is_not(None), events.c.code), else_=None)).label("code"),
        )
        .select_from(orders.outerjoin(events, same))
        .where(orders.c.outcome != "")
        .group_by(orders.c.object_key, orders.c.placed_at, orders.c.outcome, orders.c.reason)
    )


_COMPARED = _compared()  # built once, which takes longer than to run it for a small shop's day


class Accuracy:
    """Counts and reads the table `accuracy`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def count(self, store: str, now: float) -> None:
        """Count the last days of a store again, from what reconciliation has seen."""
        first = int(now) // DAY * DAY - (DAYS - 1) * DAY
        since, upto = self._covered(store)
        found = {day: _DayCount() for day in range(first, int(now) + 1, DAY)}
        for start, day in found.items():  # one by one, so that a large shop's do not exceed the database's time limit
            for row in self._orders(store, start, start + DAY):
                day.add(row)
        rows = [
            {
                "store": store,
                "day": start,
                "orders": day.orders,
                "sent": day.sent,
                "waiting": day.waiting,
                "skipped": msgspec.json.encode(dict(day.skipped)).decode(),
                "missing": msgspec.json.encode(dict(day.missing)).decode(),
                "complete": int(since is not None and since <= start and start + DAY <= upto),
                "counted_at": now,
            }
            for start, day in found.items()
        ]
        insert = self._database.insert(accuracy)
        names = ("orders", "sent", "waiting", "skipped", "missing", "complete", "counted_at")
        with self._database.write() as connection:
            updated = {name: insert.excluded[name] for name in names}
            connection.execute(insert.on_conflict_do_update(index_elements=["store", "day"], set_=updated), rows)

    def days(self, store: str, since: float) -> list[DayAccuracy]:
        """Return a store's days from that of `since` on, the latest first; empty without reconciliation."""
        start = int(since) // DAY * DAY
        query = sa.select(accuracy).where(accuracy.c.store == store, accuracy.c.day >= start)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(accuracy.c.day.desc())).all()
        read = msgspec.json.Decoder(dict[str, int]).decode
        return [
            DayAccuracy(
                row.store, row.day, row.orders, row.sent, row.waiting, read(row.skipped), read(row.missing),
                bool(row.complete),
            )
            for row in rows
        ]  # fmt: skip

    def latest(self, store: str, now: float) -> DayAccuracy | None:
        """Return the latest day that is known, of the last three; None if none is."""
        return next((day for day in self.days(store, now - 3 * DAY) if day.share is not None), None)

    def orders(self, store: str, day: int, kind: str = "") -> list[FoundOrder]:
        """Return the orders placed on a day (Unix seconds of its start), of one kind if it is given, the latest first.

        They are compared now; the numbers of `days` are those of the last round.
        """
        rows = (row for row in self._orders(store, day, day + DAY))
        found = [FoundOrder(row.object_key, row.order_number, row.placed_at, *_kind_of(row)) for row in rows]
        return sorted((one for one in found if kind in ("", one.kind)), key=lambda one: -one.placed_at)

    def _covered(self, store: str) -> tuple[float | None, float]:
        """Return since when and up to when every order has been compared."""
        query = sa.select(reconciled.c.covered_since, reconciled.c.upto).where(reconciled.c.store == store)
        with self._database.read() as connection:
            row = connection.execute(query).first()
        return (row.covered_since, row.upto) if row else (None, 0.0)

    def _orders(self, store: str, since: int, until: int) -> list[sa.Row[Any]]:
        """Return the compared orders placed in [since, until), each with the states of its events."""

        placed = (orders.c.store == store, orders.c.placed_at >= since, orders.c.placed_at < until)
        query = _COMPARED.where(*placed)
        bodies = sa.select(parked.c.body_sha256).where(parked.c.store == store)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
            still = {f"{PARKED_KEY}{digest.hex()}" for digest in connection.execute(bodies).scalars()}
        return [row for row in rows if not row.object_key.startswith(PARKED_KEY) or row.object_key in still]


class _DayCount:
    """The numbers of one day, while they are counted."""

    def __init__(self) -> None:
        self.orders = self.sent = self.waiting = 0
        self.skipped: Counter[str] = Counter()
        self.missing: Counter[str] = Counter()

    def add(self, row: sa.Row[Any]) -> None:
        """Count one order."""
        self.orders += 1
        kind, reason = _kind_of(row)
        match kind:
            case "sent":
                self.sent += 1
            case "waiting":
                self.waiting += 1
            case "skipped":
                self.skipped[reason] += 1
            case "missing":
                self.missing[reason] += 1


def _kind_of(row: sa.Row[Any]) -> tuple[str, str]:
    """Return what became of an order, and why."""
    if row.failed:
        code = f" (code {row.code})" if row.code else ""
        return "missing", f"{'TikTok rejected it' if row.failed == 'rejected' else 'not accepted in time'}{code}"
    if row.waiting:
        return "waiting", ""
    if row.accepted:
        return "sent", ""
    if row.skipped or row.outcome == "skipped":
        return "skipped", row.skipped or row.reason
    return "missing", "its webhook could not be processed" if row.outcome == "parked" else "not in the outbox"
