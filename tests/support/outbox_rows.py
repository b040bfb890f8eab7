"""Rows of the outbox and the ledger, and what is claimed of them: for the tests of all that reads or settles them."""

import hashlib
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Engine

from connector.core.store import Pixel
from connector.mapping.tiktok_event import OutboundEvent
from connector.outbox.lanes import Lane
from connector.outbox.ledger import Decision
from connector.outbox.outbox import Outbox
from connector.outbox.settlement import LeasedEvent
from connector.storage.tables import events

NOW = 1_780_000_000.0
PIXEL = Pixel("CTESTPIXEL0000000001", "token-one")
OTHER_PIXEL = Pixel("CTESTPIXEL0000000002", "token-two", "TEST9")
LANE = Lane("acme", PIXEL.code)


def mapped(number: object, event: str = "Purchase", pixel: Pixel = PIXEL, **changes: Any) -> OutboundEvent:
    event_id = f"acme-order-{number}"
    values: dict[str, Any] = {
        "pixel": pixel,
        "milestone": "order_paid",
        "event": event,
        "event_id": event_id,
        "occurred_at": datetime.fromtimestamp(NOW - 60, UTC),
        "object_key": f"order:{number}",
        "payload": b'{"event_id":"%s"}' % event_id.encode(errors="replace"),
    }
    return OutboundEvent(**(values | changes))


def decision(body: str, *items: OutboundEvent, at: float = NOW, **changes: Any) -> Decision:
    values: dict[str, Any] = {
        "store": "acme",
        "topic": "orders/paid",
        "body_sha256": sha(body),
        "received_at": at,
        "object_key": items[0].object_key if items else "",
        "order_number": "#1",
        "events": items,
    }
    return Decision(**(values | changes))


def sha(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def fill(outbox: Outbox, *numbers: int, pixel: Pixel = PIXEL, store: str = "acme") -> None:
    outbox.add_lanes([Lane(store, pixel.code)])
    for number in numbers:
        outbox.record(decision(f"{store} {number}", mapped(number, pixel=pixel), at=NOW + number, store=store))


def rows(engine: Engine, table: sa.Table = events) -> list[Any]:
    with engine.connect().execution_options(reading=True) as connection:
        return list(connection.execute(sa.select(table).order_by(*table.primary_key.columns)).all())


def claim(
    outbox: Outbox, owner: str = "one", at: float = NOW + 100, limit: int = 100, lane: Lane = LANE
) -> list[LeasedEvent]:
    return outbox.claim(lane, limit, owner, at, 60)


def ids(claimed: list[LeasedEvent]) -> list[str]:
    return [item.event_id for item in claimed]
