"""Returning customers: an order whose person has an earlier order in the outbox, for stores that recognize them so.

The outbox knows persons by their hashes, as long as it keeps payloads. That somebody is new can never be seen here.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from heapq import nsmallest
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from connector.signals.merge import fill_properties
from connector.storage.tables import storable

HASHES = ("email", "phone", "external_id")
# Events with one hash that are read, in the order in which an index has them: a till may use one e-mail for all its
# customers. An earlier order beyond them is not seen; customer_type is then absent.
MOST_FOUND = 1_000
_COLUMNS = ("store", "test_code", "object_key", "occurred_at")  # of an event, in whose order it is compared
_SIZES = (1, 4, 16, 64)  # of the queries that are kept: numbers of events; a smaller number is filled up

Row = dict[str, Any]  # an event's columns
Person = tuple[str, str, str, bytes]  # store, test code, column, hash


def mark_returning(connection: Connection, unknown: Sequence[Row], rows: Iterable[Row]) -> None:
    """Set customer_type to "returning" in those of the `unknown` new events whose person ordered before.

    `rows` are all events that are stored together. Runs in the caller's transaction.
    """
    together = _first_orders(rows)
    stored = {at for name in HASHES for at in _with_stored_orders(connection, unknown, name)}
    for at, row in enumerate(unknown):
        others = (first for person in _people(row) for first in together.get(person, ()))
        if at in stored or any(key != row["object_key"] and then < row["occurred_at"] for key, then in others):
            row["payload"] = fill_properties(row["payload"], {"customer_type": "returning"})


def _first_orders(rows: Iterable[Row]) -> dict[Person, list[tuple[str, float]]]:
    """Return key and time of each person's first two orders: one of them can be the order that is compared."""
    found: dict[Person, dict[str, float]] = {}
    for row in rows:
        if row["object_key"].startswith("order:"):
            for person in _people(row):
                orders = found.setdefault(person, {})
                orders[row["object_key"]] = min(row["occurred_at"], orders.get(row["object_key"], row["occurred_at"]))
    return {person: nsmallest(2, orders.items(), key=lambda order: order[1]) for person, orders in found.items()}


def _with_stored_orders(connection: Connection, unknown: Sequence[Row], name: str) -> Iterable[int]:
    """Yield the positions of the events whose hash of this name is in an earlier stored order."""
    known = [(at, row) for at, row in enumerate(unknown) if row[name]]
    for start in range(0, len(known), _SIZES[-1]):
        chunk = known[start : start + _SIZES[-1]]
        chunk += [chunk[-1]] * (next(size for size in _SIZES if size >= len(chunk)) - len(chunk))
        values = {
            f"{column}_{n}": _bound(row[column]) for n, (_, row) in enumerate(chunk) for column in (name, *_COLUMNS)
        }
        yield from (chunk[n][0] for n in connection.execute(_earlier(name, len(chunk)), values).scalars())


@lru_cache
def _earlier(name: str, number: int) -> sa.TextClause:
    """Return the query for the positions of those of so many events whose person has an earlier order.

    Written as text and kept: SQLAlchemy takes longer to build it than a database to answer it. It ends with the first
    earlier order of each.
    """
    event = (
        "({0}, :{name}_{0}, :store_{0}, :test_code_{0}, :object_key_{0}, CAST(:occurred_at_{0} AS DOUBLE PRECISION))"
    )
    new = ", ".join(event.format(n, name=name) for n in range(number))
    return sa.text(
        f"WITH new (n, digest, {', '.join(_COLUMNS)}) AS (VALUES {new}) SELECT n FROM new WHERE EXISTS ("  # noqa: S608 # own names
        f"SELECT 1 FROM (SELECT {', '.join(_COLUMNS)} FROM events WHERE {name} = new.digest LIMIT {MOST_FOUND}) AS old "
        "WHERE old.store = new.store AND old.test_code = new.test_code AND old.object_key LIKE 'order:%' "
        "AND old.object_key <> new.object_key AND old.occurred_at < new.occurred_at)"
    )


def _bound(value: Any) -> Any:
    return storable(value) if isinstance(value, str) else value


def _people(row: Row) -> list[Person]:
    return [(row["store"], row["test_code"], name, row[name]) for name in HASHES if row[name]]
