"""Bounds of the amounts that a browser reports: what the store's own orders show.

Anybody can post a browser's event, with any amount. Orders are signed by the shop, so their greatest value, price and
quantity of the last days, by currency, and the form of their content_ids, are what a page is believed up to.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any

import msgspec
import sqlalchemy as sa
from msgspec import Struct

from connector.core.currencies import MAX_STORED, STORED_DECIMALS, exact_amount
from connector.core.units import DAY
from connector.storage.database import Database
from connector.storage.tables import events, funnel_bounds

KEPT_DAYS = 90
BATCH = 500  # orders that are read at once
REFRESH = 10.0  # seconds between two looks of a web process
_AMOUNTS = ("value", "price", "quantity", "id_length")


class Bounds(Struct, frozen=True):
    """The greatest amounts in the orders of one currency, in major units, and the form of their content_ids."""

    value: Decimal = Decimal(0)
    price: Decimal = Decimal(0)
    quantity: int = 0
    id_length: int = 0
    id_digits: bool = False


class _Content(Struct, frozen=True):
    content_id: str = ""
    price: Decimal | None = None
    quantity: int | None = None


class _Properties(Struct, frozen=True):
    currency: str = ""
    value: Decimal | None = None
    contents: tuple[_Content, ...] = ()


class _Item(Struct, frozen=True):
    properties: _Properties = _Properties()


_decode = msgspec.json.Decoder(_Item).decode


class BoundsStore:
    """Reads the bounds from the orders' events, and stores them by day. Raises CannotStore."""

    def __init__(self, database: Database) -> None:
        self._database = database
        insert = database.insert(funnel_bounds)
        new, old = insert.excluded, funnel_bounds.c
        greatest = sa.func.greatest if database.is_postgresql else sa.func.max
        least = sa.func.least if database.is_postgresql else sa.func.min
        merged: dict[str, Any] = {name: greatest(old[name], new[name]) for name in (*_AMOUNTS, "upto")}
        merged["id_digits"] = least(old.id_digits, new.id_digits)
        self._upsert = insert.on_conflict_do_update(index_elements=["store", "currency", "day"], set_=merged)

    def update(self, stores: Iterable[str], now: float) -> int:
        """Read the orders of these stores that are new since the last call; return the number of events read."""
        names, read = sorted(stores), 0
        if not names:
            return 0
        upto, last, day = self._upto(names), self._last(), int(now) // DAY * DAY
        while rows := self._orders(names, upto):
            upto = rows[-1].id
            read += len(rows)
            self._write(names, rows, upto, day)
        if last > upto:  # other events only: they are not read again
            self._write(names, [], last, day)
        return read

    def read(self, now: float) -> dict[str, dict[str, Bounds]]:
        """Return the bounds of each store by currency."""
        found = funnel_bounds.c
        columns: list[sa.ColumnElement[Any]] = [sa.func.max(found[name]) for name in _AMOUNTS]
        columns.append(sa.func.min(found.id_digits))
        recent = (found.day > now - (KEPT_DAYS + 1) * DAY, found.currency != "")
        query = sa.select(found.store, found.currency, *columns).where(*recent).group_by(found.store, found.currency)
        bounds: dict[str, dict[str, Bounds]] = {}
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        for store, currency, value, price, quantity, length, digits in rows:
            bounds.setdefault(store, {})[currency] = Bounds(
                exact_amount(value), exact_amount(price), int(quantity), int(length), bool(digits)
            )
        return bounds

    def forget(self, now: float) -> int:
        """Delete the bounds of days that no longer count."""
        old = (funnel_bounds.c.day < now - (KEPT_DAYS + 1) * DAY, funnel_bounds.c.currency != "")
        with self._database.write() as connection:
            return len(connection.execute(sa.delete(funnel_bounds).where(*old).returning(funnel_bounds.c.day)).all())

    def _upto(self, names: list[str]) -> int:
        """Return the last event up to which all these stores have been read; 0 for a new one."""
        query = sa.select(funnel_bounds.c.store, sa.func.max(funnel_bounds.c.upto))
        query = query.where(funnel_bounds.c.store.in_(names)).group_by(funnel_bounds.c.store)
        with self._database.read() as connection:
            known: dict[str, int] = {row[0]: row[1] for row in connection.execute(query)}
        return min(known.get(name, 0) for name in names)

    def _last(self) -> int:
        with self._database.read() as connection:
            return connection.execute(sa.select(sa.func.max(events.c.id))).scalar() or 0

    def _orders(self, names: list[str], upto: int) -> list[sa.Row[Any]]:
        columns = (events.c.id, events.c.store, events.c.payload)
        is_order = (events.c.object_key.like("order:%"), events.c.payload.is_not(None))
        query = sa.select(*columns).where(events.c.id > upto, events.c.store.in_(names), *is_order)
        with self._database.read() as connection:
            return list(connection.execute(query.order_by(events.c.id).limit(BATCH)))

    def _write(self, names: list[str], rows: list[sa.Row[Any]], upto: int, day: int) -> None:
        empty = dict.fromkeys(_AMOUNTS, 0) | {"id_digits": 1, "upto": upto}
        found: dict[tuple[str, str, int], dict[str, int]] = {(name, "", 0): dict(empty) for name in names}
        for row in rows:
            properties = _properties(row.payload)
            if properties.currency:
                _raise(found.setdefault((row.store, properties.currency, day), dict(empty)), properties)
        keys = ("store", "currency", "day")
        with self._database.write() as connection:
            written = [dict(zip(keys, key, strict=True)) | found[key] for key in sorted(found)]
            connection.execute(self._upsert, written)


class KnownBounds:
    """The bounds as a web process knows them. `clock` returns Unix seconds."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._store = BoundsStore(database)
        self._clock = clock
        self._known: Mapping[str, Mapping[str, Bounds]] = {}

    def refresh(self) -> None:
        """Read the bounds again. Raises CannotStore."""
        self._known = self._store.read(self._clock())

    def of(self, store: str) -> Mapping[str, Bounds]:
        """Return a store's bounds by currency; empty as long as it has no order."""
        return self._known.get(store, {})


def _properties(payload: bytes) -> _Properties:
    try:
        return _decode(payload).properties
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # such an event has no amounts to learn from
        return _Properties()


def _raise(row: dict[str, int], properties: _Properties) -> None:
    """Raise the bounds of a row to the amounts of an order."""
    row["value"] = max(row["value"], _bounded(properties.value))
    for content in properties.contents:
        row["price"] = max(row["price"], _bounded(content.price))
        row["quantity"] = max(row["quantity"], min(content.quantity or 1, 1_000_000))
        row["id_length"] = max(row["id_length"], len(content.content_id))
        row["id_digits"] &= content.content_id.isdecimal()


def _bounded(amount: Decimal | None) -> int:
    """Return an amount in ten-thousandths, at most MAX_STORED; 0 if it is unknown or negative."""
    if amount is None or not amount.is_finite() or amount.adjusted() > 15:
        return 0
    return max(0, min(round(amount.scaleb(STORED_DECIMALS)), MAX_STORED))
