"""Sample events of invented shoppers, with every field of `event.py`."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from connector.plugin import Store
from connector.plugin.testing.samples import DemoShop, RequiredFields
from connector.plugin.testing.shoppers import Basket, Journey
from platforms.signed.translate import TOPICS as MILESTONES


def sample(topic: str, journey: Journey, store: Store) -> dict[str, Any]:
    """Return the event of this type. Raises ValueError for a type not in TOPICS."""
    if topic not in TOPICS:
        raise ValueError(f"no sample of {topic!r}; there are {', '.join(TOPICS)}")
    basket = journey.basket(journey.currency)
    found: dict[str, Any] = {
        "type": topic,
        "occurred_at": _time(_moments(journey)[topic]),
        "shop": store.shops[0],
        "customer": _customer(journey),
        "browser": _browser(journey, store),
    }
    if topic == "customer_registered":
        return found
    found["checkout"] = {"token": journey.checkout_token}
    if topic != "checkout_started":
        found["order"] = {
            "id": str(journey.order_id),
            "number": f"A-{journey.order_number}",
            "kind": "web",
            "test": False,
            "tags": ["autumn"],
            "payment_methods": ["card"],
        }
    return found | _money(basket)


def encode(body: dict[str, Any]) -> bytes:
    """Serialise an event as any sender may: compact UTF-8."""
    return msgspec.json.encode(body)


def headers(topic: str, journey: Journey, store: Store) -> dict[str, str]:
    """Return the headers without those of the signature."""
    return {"Content-Type": "application/json"}


def _moments(journey: Journey) -> dict[str, datetime]:
    return {
        "customer_registered": journey.now,
        "checkout_started": journey.checkout_at,
        "order_placed": journey.order_at,
        "order_paid": journey.paid_at,
    }


def _money(basket: Basket) -> dict[str, Any]:
    return {
        "currency": basket.currency,
        "total": str(basket.total),
        "breakdown": {
            "goods": str(basket.subtotal),
            "goods_tax": str(basket.tax),
            "gift_cards": "0",
            "shipping": str(basket.shipping),
            "shipping_tax": "0",
            "fees": "0",
            "fees_tax": "0",
            "tips": "0",
            "duties": "0",
            "priced_with_tax": False,
        },
        "items": [
            {
                "product_id": str(line.product.number),
                "variant_id": str(line.product.number + 1),
                "sku": line.product.sku,
                "name": line.product.title,
                "brand": "Nordlys",
                "category": "Home",
                "quantity": line.quantity,
                "price": str(line.price),
            }
            for line in basket.lines
        ],
    }


def _customer(journey: Journey) -> dict[str, Any]:
    person, place = journey.person, journey.person.place
    address = {
        "first_name": person.first_name,
        "last_name": person.last_name,
        "city": place.city,
        "state": place.state,
        "postcode": place.zip,
        "country": person.country.code,
    }
    return {
        "id": str(journey.customer_id),
        "email": person.email,
        "phone": person.phone,
        "first_name": person.first_name,
        "last_name": person.last_name,
        "locale": person.country.locale,
        "address": address,
        "shipping_address": address,
    }


def _browser(journey: Journey, store: Store) -> dict[str, Any]:
    return {
        "ip": journey.ip,
        "user_agent": journey.user_agent,
        "ttclid": journey.ttclid,
        "ttp": journey.ttp,
        "url": f"{store.url}/products/{journey.picks[0][0].handle}",
        "referrer": "https://www.tiktok.com/" if journey.ttclid else "",
        "consent": True,
    }


def _time(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


TOPICS: tuple[str, ...] = MILESTONES
FUNNEL: tuple[str, ...] = ("customer_registered", "checkout_started", "order_placed", "order_paid")
DEMO_SHOP = DemoShop("mugs", "https://mugs.example", "mugs.example")

TOPIC_HEADER = ""
SHOP_HEADER = ""
TOPIC_PATH: tuple[str, ...] = ("type",)
SHOP_PATH: tuple[str, ...] = ("shop",)
HANDSHAKE = b""
_EVENT: RequiredFields = frozenset({("type",), ("occurred_at",), ("shop",)})
_ORDER = _EVENT | {("order",), ("order", "id")}
REQUIRED: Mapping[str, RequiredFields] = {
    "order_placed": _ORDER,
    "order_paid": _ORDER,
    "checkout_started": _EVENT | {("checkout",), ("checkout", "token")},
    "customer_registered": _EVENT | {("customer",), ("customer", "id")},
}
DECISIVE = frozenset({"type", "shop", "kind", "test"})
