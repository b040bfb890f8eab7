"""Browsers' events: the bodies that a page sends, and the rows that they become."""

import json
import secrets
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec
import sqlalchemy as sa

from connector.core.store import FunnelSettings, Pixel, Store
from connector.funnel.beacon import Sender
from connector.funnel.bounds import Bounds
from connector.funnel.queue import FunnelEvent
from connector.storage.database import Database
from connector.storage.tables import funnel_events
from tests.support.factories import a_store

NOW = 1_790_000_000.0
IP = "93.184.216.7"  # public; addresses for documentation are not
AGENT = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 Version/18.1 Mobile Safari/604.1"
CLICK = "E.C.P.abcdefghijklmnop"
KNOWN = {"USD": Bounds(Decimal(500), Decimal(100), 5, 14, id_digits=True)}


def funnel_store(**changes: Any) -> Store:
    """A store whose browsers report all four steps."""
    return a_store(**({"funnel": FunnelSettings()} | changes))


def sender(**changes: Any) -> Sender:
    """A shopper's browser, in a shop whose orders are known."""
    return Sender(**({"ip": IP, "user_agent": AGENT, "bounds": KNOWN} | changes))


def viewed(**changes: Any) -> dict[str, Any]:
    """A page's event: a shirt is looked at."""
    event = {
        "milestone": "product_viewed",
        "event_id": secrets.token_hex(16),
        "time": NOW,
        "url": "https://acme.example/products/shirt?ttclid=E.C.P.page&secret=1",
        "properties": {
            "contents": [{"content_id": "40012345678901", "content_name": "Shirt", "quantity": 1, "price": 25}],
            "content_type": "product",
            "currency": "USD",
            "value": 25,
            "num_items": 1,
        },
    }
    return event | changes


def beacon(*events: Mapping[str, Any], **members: Any) -> bytes:
    """A beacon's body."""
    return json.dumps(members | {"events": [*events]}).encode()


def queued(at: float = NOW, event_id: str = "", **changes: Any) -> FunnelEvent:
    """An event ready for the queue."""
    event_id = event_id or secrets.token_hex(16)
    name = changes.get("event", "ViewContent")
    item = {"event": name, "event_time": int(at), "event_id": event_id, "user": {"ttclid": CLICK}}
    payload = msgspec.json.encode(item | {"page": {"url": "https://acme.example/"}})
    values = {
        "store": "acme",
        "pixel": Pixel("CABCDEFGHIJKLMNOPQR0", "token"),
        "event": "ViewContent",
        "event_id": event_id,
        "occurred_at": at,
        "received_at": at,
        "payload": payload,
    }
    return FunnelEvent(**(values | changes))


def rows(database: Database) -> list[sa.Row[Any]]:
    """The stored events, oldest hour first."""
    with database.read() as connection:
        return list(connection.execute(sa.select(funnel_events).order_by(funnel_events.c.id)))


def partitions(database: Database) -> list[str]:
    """The names of the table's partitions; none on SQLite."""
    with database.read() as connection:
        names = sa.inspect(connection).get_table_names()
    return sorted(name for name in names if name.startswith("funnel_events_"))


def drop_partitions(database: Database) -> None:
    """Leave the default partition only, as a migration does."""
    for name in partitions(database):
        if name != "funnel_events_default":
            with database.write() as connection:
                connection.exec_driver_sql(f"DROP TABLE {name}")
