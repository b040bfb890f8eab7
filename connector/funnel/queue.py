"""The queue of events that browsers report: like the outbox's, with lanes of its own, and kept for a day.

So neither their number nor a refusal of TikTok's delays an order. Times are Unix seconds. Raises CannotStore.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy import Connection

from connector.core.store import Pixel
from connector.core.units import DAY, HOUR
from connector.outbox.queue import EventQueue
from connector.storage.bulk_insert import BulkInsert
from connector.storage.database import Database
from connector.storage.tables import funnel_events, funnel_lanes

MAX_ROWS = 1000  # rows in a transaction
HASH_BITS = 44
FIRST_HOUR = 1_577_836_800 // HOUR  # 2020-01-01: the hours until 2079 fit into the 19 bits above the hash
_ROW = (
    "id", "store", "pixel", "event", "event_id", "test_code", "state", "due_at", "attempts", "occurred_at",
    "created_at", "payload",
)  # fmt: skip


class FunnelEvent(Struct, frozen=True):
    """An event for one pixel, ready to send. Times are Unix seconds."""

    store: str
    pixel: Pixel
    event: str
    event_id: str
    occurred_at: float
    received_at: float
    payload: bytes

    def __repr__(self) -> str:
        """Leave out personal data."""
        return f"<FunnelEvent {self.event} {self.event_id}>"


class FunnelQueue(EventQueue):
    """Records, leases and settles the events of browsers, on SQLite and PostgreSQL alike."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, funnel_events, funnel_lanes)
        ending = "ON CONFLICT DO NOTHING RETURNING id"
        self._new_events = BulkInsert(funnel_events, _ROW, ending, database.engine.dialect)

    def write(self, connection: Connection, events: Sequence[FunnelEvent]) -> int:
        """Store at most MAX_ROWS events, in the caller's transaction; return the number of new ones.

        An event whose pixel, name and event_id are known from the same hour is not new. TikTok drops later copies.
        """
        rows = {row["id"]: row for row in map(_row, events)}
        return len(self._new_events.run(connection, [rows[number] for number in sorted(rows)])) if rows else 0

    def payload(self, store: str, pixel: str, event: str, event_id: str, now: float) -> bytes | None:
        """Return what was or will be sent for an event; None if it is not stored, or no longer."""
        hours = range(int(now) // HOUR * HOUR - DAY, int(now) + HOUR, HOUR)
        keys = [_key(pixel, event, event_id, hour) for hour in hours]
        named = (self._events.c.id.in_(keys), self._events.c.store == store, self._events.c.event_id == event_id)
        with self.database.read() as connection:
            return connection.execute(sa.select(self._events.c.payload).where(*named).limit(1)).scalar()

    def heartbeat(self, relay: str, now: float) -> None:
        """Do nothing: the relay of the orders says that it is alive."""

    def leave(self, relay: str) -> None:
        """Do nothing, like `heartbeat`."""


def row_id(event: FunnelEvent) -> int:
    """Return the key of an event's row: the hour of receipt, then 44 bits of a hash of pixel, name and event_id.

    One integer keeps copies apart, finds a row, and cuts the table into hours. Of ten million events a day, one in
    eighty million gets the key of another event of the same hour, and is lost as its copy.
    """
    return _key(event.pixel.code, event.event, event.event_id, event.received_at)


def first_id(at: float) -> int:
    """Return the lowest key of the hour of `at` (Unix seconds)."""
    return max(0, int(at) // HOUR - FIRST_HOUR) << HASH_BITS


def _key(pixel: str, event: str, event_id: str, at: float) -> int:
    name = f"{pixel} {event} {event_id}"
    digest = int.from_bytes(hashlib.sha256(name.encode(errors="replace")).digest()[:8])
    return first_id(at) | digest >> (64 - HASH_BITS)


def _row(event: FunnelEvent) -> dict[str, Any]:
    return {
        "id": row_id(event),
        "store": event.store,
        "pixel": event.pixel.code,
        "event": event.event,
        "event_id": event.event_id,
        "test_code": event.pixel.test_event_code,
        "state": "due",
        "due_at": event.received_at,
        "attempts": 0,
        "occurred_at": event.occurred_at,
        "created_at": event.received_at,
        "payload": event.payload,
    }
