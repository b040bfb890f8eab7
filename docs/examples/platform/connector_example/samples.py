"""Sample webhooks of invented shoppers, in the shape that Example sends."""

import json
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from connector.plugin import Store, minor_digits
from connector.plugin.testing.samples import DemoShop, RequiredFields
from connector.plugin.testing.shoppers import Journey


def sample(topic: str, journey: Journey, store: Store) -> dict[str, Any]:
    """Return the body of one of TOPICS for this step of the journey."""
    if topic == "customer.registered":
        data = _customer(journey) | {"registered_at": _time(journey.now)}
    elif topic == "checkout.started":
        data = _cart(journey) | {"token": journey.checkout_token, "began_at": _time(journey.checkout_at)}
    else:
        data = _cart(journey) | {
            "id": journey.order_id,
            "number": f"E-{journey.order_number}",
            "checkout": journey.checkout_token,
            "placed_at": _time(journey.order_at),
            "paid_at": _time(journey.paid_at) if topic == "order.paid" else None,
            "payment_method": "card",
            "by_staff": False,
            "cancelled": False,
        }
    return {"event": topic, "shop": store.shops[0], "data": data}


def encode(body: dict[str, Any]) -> bytes:
    """Serialise a body as the vendor does: spaces, order and escapes count, for the signature covers each byte."""
    return json.dumps(body, separators=(",", ":")).encode()


def headers(topic: str, journey: Journey, store: Store) -> dict[str, str]:
    """Return the vendor's headers without that of the signature."""
    return {"Content-Type": "application/json", "User-Agent": "Example-Webhooks/1.0"}


def _cart(journey: Journey) -> dict[str, Any]:
    basket = journey.basket(journey.currency)

    def minor(amount: Decimal) -> int:
        return int(amount.scaleb(minor_digits(basket.currency)))

    return {
        "currency": basket.currency,
        "total": minor(basket.total),
        "lines": [
            {
                "sku": line.product.sku,
                "title": line.product.title,
                "count": line.quantity,
                "unit_price": minor(line.price),
            }
            for line in basket.lines
        ],
        "customer": _customer(journey),
        "browser": {
            "ip": journey.ip,
            "user_agent": journey.user_agent,
            "ttclid": journey.ttclid,
            "ttp": journey.ttp,
        },
    }


def _customer(journey: Journey) -> dict[str, Any]:
    person = journey.person
    return {
        "id": journey.customer_id,
        "email": person.email,
        "phone_code": "",
        "phone": person.phone,
        "first_name": person.first_name,
        "last_name": person.last_name,
        "address": {"city": person.place.city, "zip": person.place.zip, "country": person.country.code},
    }


def _time(moment: datetime) -> str:
    return moment.isoformat()


TOPICS: tuple[str, ...] = ("order.placed", "order.paid", "checkout.started", "customer.registered")
FUNNEL: tuple[str, ...] = (
    "customer.registered",
    "checkout.started",
    "order.placed",
    "order.paid",
)  # all four milestones
DEMO_SHOP = DemoShop("plates", "https://plates.example", "plates.example")

TOPIC_HEADER = SHOP_HEADER = ""  # the body names both
TOPIC_PATH: tuple[str, ...] = ("event",)
SHOP_PATH: tuple[str, ...] = ("shop",)
HANDSHAKE = b""
# Without these a body is parked; any other field may have any value, which costs only that field.
_ALWAYS: RequiredFields = frozenset({("event",), ("shop",), ("data",)})
_ORDER = _ALWAYS | {("data", "id"), ("data", "placed_at")}
REQUIRED: Mapping[str, RequiredFields] = {
    "order.placed": _ORDER,
    "order.paid": _ORDER,
    "checkout.started": _ALWAYS | {("data", "token"), ("data", "began_at")},
    "customer.registered": _ALWAYS | {("data", "id"), ("data", "registered_at")},
}
# These decide whether there is an event, and of which kind.
DECISIVE = frozenset({"paid_at", "by_staff", "cancelled"})
