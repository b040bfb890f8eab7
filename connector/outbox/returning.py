"""Returning customers: an order whose person has an earlier order in the outbox, for stores that recognize them so.

The outbox knows persons by their hashes, as long as it keeps payloads. That somebody is new can never be seen here.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from connector.signals.merge import fill_properties
from connector.storage.tables import events

HASHES = ("email", "phone", "external_id")


def _first_orders(name: str) -> sa.Select[Any]:
    """Select the time of each order of persons by one of their hashes."""
    key = (events.c.store, events.c.test_code, events.c[name].label("digest"), events.c.object_key)
    first = sa.func.min(events.c.occurred_at).label("occurred_at")
    theirs = (events.c[name].in_(sa.bindparam(name, expanding=True)), events.c.object_key.like("order:%"))
    return sa.select(sa.literal_column(f"'{name}'").label("name"), *key, first).where(*theirs).group_by(*key)


_EARLIER = sa.union_all(*map(_first_orders, HASHES))  # built once, which takes longer than to run it

Row = dict[str, Any]  # an event's columns
Person = tuple[str, str, str, bytes]  # store, test code, column, hash


def mark_returning(connection: Connection, unknown: Sequence[Row], rows: Iterable[Row]) -> None:
    """Set customer_type to "returning" in those of the `unknown` new events whose person ordered before.

    `rows` are all events that are stored together. Runs in the caller's transaction.
    """
    earlier: dict[Person, dict[str, float]] = {}
    for row in (*rows, *_stored_orders(connection, unknown)):
        if row["object_key"].startswith("order:"):
            for person in _people(row):
                orders = earlier.setdefault(person, {})
                orders[row["object_key"]] = min(row["occurred_at"], orders.get(row["object_key"], row["occurred_at"]))
    for row in unknown:
        orders = {key: at for person in _people(row) for key, at in earlier.get(person, {}).items()}
        if any(at < row["occurred_at"] for key, at in orders.items() if key != row["object_key"]):
            row["payload"] = fill_properties(row["payload"], {"customer_type": "returning"})


def _stored_orders(connection: Connection, unknown: Sequence[Row]) -> Iterable[Row]:
    digests = {name: sorted({row[name] for row in unknown if row[name]}) for name in HASHES}
    for row in connection.execute(_EARLIER, digests):
        yield dict.fromkeys(HASHES) | row._asdict() | {row.name: row.digest}


def _people(row: Row) -> list[Person]:
    return [(row["store"], row["test_code"], name, row[name]) for name in HASHES if row[name]]
