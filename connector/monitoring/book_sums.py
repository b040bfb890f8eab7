"""Sums of the books: what was sent, cancelled and refunded since, and what is left, by day, pixel, event and currency.

The day (UTC) is that of the event's time. An order that is cancelled leaves nothing; otherwise, what it leaves is the
value that its latest body gives, less the refunds that came after that body. Raises CannotStore.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from connector.core.units import DAY
from connector.monitoring.event_stats import major_units
from connector.storage.database import Database
from connector.storage.tables import orders, sold


@dataclass(frozen=True, slots=True)
class BookLine:
    """One day, pixel, event and currency. `day` is in Unix seconds; amounts are in ten-thousandths of `currency`.

    `refunded` is what is neither left nor cancelled: refunds, returns and edits; negative for orders edited upwards.
    """

    store: str
    day: int
    pixel: str
    event: str
    currency: str
    orders: int
    sent: int
    cancelled: int
    net: int
    cancelled_orders: int

    @property
    def refunded(self) -> int:
        """The amount that was refunded: sent, no longer left, and not cancelled."""
        return self.sent - self.cancelled - self.net

    @property
    def share(self) -> float | None:
        """The share of the sent value that stayed; None if nothing was sent."""
        return self.net / self.sent if self.sent else None


@dataclass(frozen=True, slots=True)
class BookOrder:
    """One accepted event of an order, and what is left of it; amounts in ten-thousandths."""

    order: str
    event: str
    pixel: str
    currency: str
    sent: int
    net: int
    cancelled: bool
    occurred_at: float
    object_key: str


class Books:
    """Reads the books of the stores that keep them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def lines(self, store: str, since: float, until: float) -> list[BookLine]:
        """Return the sums of the events that happened in [since, until), the latest day first."""
        at = sa.cast(sa.func.floor(sold.c.occurred_at / DAY), sa.BigInteger)
        if not self._database.is_postgresql:  # not every SQLite has floor; its cast truncates, PostgreSQL's rounds
            at = sa.cast(sold.c.occurred_at / DAY, sa.BigInteger)
        day = (at * DAY).label("day")
        cancelled = sa.case((orders.c.cancelled == 1, 1), else_=0)
        key = (day, sold.c.pixel, sold.c.event, sold.c.currency)
        query = (
            sa.select(
                *key,
                sa.func.count(),
                sa.func.sum(sold.c.value),
                sa.func.sum(cancelled * sold.c.value),
                sa.func.sum(_net()),
                sa.func.sum(cancelled),
            )
            .select_from(_joined())
            .where(sold.c.store == store, sold.c.occurred_at >= since, sold.c.occurred_at < until)
            .group_by(*key)
        )
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        lines = [BookLine(store, int(row[0]), *row[1:4], *map(int, row[4:])) for row in rows]
        return sorted(lines, key=lambda line: (-line.day, line.pixel, line.event, line.currency))

    def orders(self, store: str, day: int, event: str, pixel: str, currency: str) -> list[BookOrder]:
        """Return the events of one line of `lines`, the latest first."""
        query = _events_of(store, day, day + DAY).where(
            sold.c.event == event, sold.c.pixel == pixel, sold.c.currency == currency
        )
        with self._database.read() as connection:
            return [BookOrder(*row) for row in connection.execute(query)]

    def changed(self, store: str, since: float, until: float) -> list[BookOrder]:
        """Return the events of which not all is left, the latest first."""
        query = _events_of(store, since, until).where(_net() != sold.c.value)
        with self._database.read() as connection:
            return [BookOrder(*row) for row in connection.execute(query)]


def _events_of(store: str, since: float, until: float) -> sa.Select[Any]:
    number = sa.func.coalesce(sa.func.nullif(orders.c.order_number, ""), sold.c.object_key)
    return (
        sa.select(
            number, sold.c.event, sold.c.pixel, sold.c.currency, sold.c.value, _net(), orders.c.cancelled == 1,
            sold.c.occurred_at, sold.c.object_key,
        )
        .select_from(_joined())
        .where(sold.c.store == store, sold.c.occurred_at >= since, sold.c.occurred_at < until)
        .order_by(sold.c.occurred_at.desc(), sold.c.event_id)
    )  # fmt: skip


def totals(lines: Iterable[BookLine]) -> list[BookLine]:
    """Return the sums of a store's lines by pixel, event and currency; `day` is the first."""
    sums: dict[tuple[str, str, str], BookLine] = {}
    for line in lines:
        key = (line.pixel, line.event, line.currency)
        before = sums.get(key)
        sums[key] = line if before is None else replace(
            line,
            day=min(line.day, before.day),
            orders=line.orders + before.orders,
            sent=line.sent + before.sent,
            cancelled=line.cancelled + before.cancelled,
            net=line.net + before.net,
            cancelled_orders=line.cancelled_orders + before.cancelled_orders,
        )  # fmt: skip
    return [sums[key] for key in sorted(sums)]


def net_values(books: Books, store: str, since: float, until: float) -> list[dict[str, Any]]:
    """Return what of the period's events was sent, cancelled and refunded, and is left, by pixel, event, currency."""
    return [
        {"pixel": line.pixel, "event": line.event, "currency": line.currency}
        | {name: major_units(getattr(line, name), line.currency) for name in ("sent", "cancelled", "refunded", "net")}
        | {"stayed": None if line.share is None else round(line.share, 4)}
        for line in totals(books.lines(store, since, until))
    ]


def _joined() -> sa.FromClause:
    same = sa.and_(orders.c.store == sold.c.store, orders.c.object_key == sold.c.object_key)
    return sold.outerjoin(orders, same)


def _net() -> sa.ColumnElement[int]:
    """Return what is left of an event's value: all of it where the shop has not said anything else in its currency."""
    unknown = sa.or_(orders.c.remaining.is_(None), orders.c.currency != sold.c.currency)
    return sa.case((orders.c.cancelled == 1, 0), (unknown, sold.c.value), else_=orders.c.remaining - orders.c.later)
