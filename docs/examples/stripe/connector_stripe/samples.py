"""Sample events of invented shoppers: a session that is completed unpaid, and its payment."""

import json
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from connector.plugin import Store, minor_digits
from connector.plugin.testing.samples import DemoShop, RequiredFields
from connector.plugin.testing.shoppers import Journey
from connector_stripe.translate import COMPLETED, PAID_LATER


def sample(topic: str, journey: Journey, store: Store) -> dict[str, Any]:
    """Return the event of this type."""
    paid = topic == PAID_LATER
    at = journey.paid_at if paid else journey.order_at
    return {
        "id": f"evt_{journey.code(topic, 24)}",
        "object": "event",
        "api_version": "2026-10-28.endive",
        "created": _seconds(at),
        "data": {"object": _session(journey, paid=paid)},
        "livemode": True,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "type": topic,
    }


def encode(body: dict[str, Any]) -> bytes:
    """Serialise an event as Stripe does: with two spaces, in lines."""
    return json.dumps(body, indent=2).encode()


def headers(topic: str, journey: Journey, store: Store) -> dict[str, str]:
    """Return Stripe's headers without the signature."""
    return {
        "Content-Type": "application/json; charset=utf-8",
        "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
    }


def _session(journey: Journey, *, paid: bool) -> dict[str, Any]:
    basket, person = journey.basket(journey.currency), journey.person

    def minor(amount: Decimal) -> int:
        return int(amount.scaleb(minor_digits(basket.currency)))

    address = {
        "city": person.place.city,
        "country": person.country.code,
        "line1": person.street,
        "line2": None,
        "postal_code": person.place.zip,
        "state": person.place.state,
    }
    return {
        "id": f"cs_live_{journey.order_id}",
        "object": "checkout.session",
        "created": _seconds(journey.checkout_at),
        "livemode": True,
        "mode": "payment",
        "status": "complete",
        "payment_status": "paid" if paid else "unpaid",
        "payment_method_types": ["sepa_debit"],
        "origin_context": "web",
        "currency": basket.currency.lower(),
        "amount_subtotal": minor(basket.subtotal),
        "amount_total": minor(basket.total),
        "total_details": {
            "amount_discount": 0,
            "amount_shipping": minor(basket.shipping),
            "amount_tax": minor(basket.tax),
        },
        "shipping_cost": {
            "amount_subtotal": minor(basket.shipping),
            "amount_tax": 0,
            "amount_total": minor(basket.shipping),
        },
        "customer": f"cus_{journey.customer_id}",
        "customer_details": {
            "email": person.email,
            "name": f"{person.first_name} {person.last_name}",
            "phone": None,
            "address": address,
        },
        "client_reference_id": journey.checkout_token,
        "metadata": {
            "ttclid": journey.ttclid,
            "ttp": journey.ttp,
            "ip": journey.ip,
            "user_agent": journey.user_agent,
        },
    }


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())


TOPICS: tuple[str, ...] = (COMPLETED, PAID_LATER)
FUNNEL: tuple[str, ...] = TOPICS  # no registration and no checkout: Stripe has no webhook of them
DEMO_SHOP = DemoShop("site", "https://site.example", "acct_1example")

TOPIC_HEADER = SHOP_HEADER = ""
TOPIC_PATH: tuple[str, ...] = ("type",)
SHOP_PATH: tuple[str, ...] = ("account",)
HANDSHAKE = b""
_SESSION: RequiredFields = frozenset(
    {("type",), ("created",), ("data",), ("data", "object"), ("data", "object", "id"), ("data", "object", "object")}
)
REQUIRED: Mapping[str, RequiredFields] = {COMPLETED: _SESSION, PAID_LATER: _SESSION}
DECISIVE = frozenset({"mode", "payment_status", "payment_method_types", "livemode", "origin_context", "amount_total"})
