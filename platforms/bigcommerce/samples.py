"""Sample webhooks of invented shoppers, and what BigCommerce's API answers them with, in the shape of its documents."""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from email.utils import format_datetime
from typing import Any

from connector.plugin import Store
from connector.plugin.testing.fake_api import FakeApi
from connector.plugin.testing.samples import DemoShop, RequiredFields
from connector.plugin.testing.shoppers import Basket, Journey, Line
from platforms.bigcommerce.fake_api import FakeBigCommerce
from platforms.bigcommerce.translate import CART, CUSTOMER, ORDER

CREATED, STATUS, REGISTERED = "store/order/created", "store/order/statusUpdated", "store/customer/created"
CART_CHANGED = "store/cart/updated"
AWAITING_PAYMENT, AWAITING_FULFILLMENT = 7, 11
Body = dict[str, Any]


def sample(topic: str, journey: Journey, store: Store) -> Body:
    """Return the body that BigCommerce would send for this scope. Raises ValueError for one not in TOPICS."""
    if topic not in TOPICS:
        raise ValueError(f"no BigCommerce sample of {topic!r}; there are {', '.join(TOPICS)}")
    data: Body = {"type": CUSTOMER, "id": journey.customer_id}
    if topic == CART_CHANGED:
        data = {"type": CART, "id": journey.checkout_token}
    elif topic != REGISTERED:
        data = {"type": ORDER, "id": journey.order_id}
    if topic == STATUS:
        data["status"] = {"previous_status_id": AWAITING_PAYMENT, "new_status_id": AWAITING_FULFILLMENT}
    times = {STATUS: journey.paid_at, CART_CHANGED: journey.checkout_at}
    at = int(times.get(topic, journey.order_at).timestamp())
    found = {"producer": f"stores/{store.shops[0]}", "created_at": at, "store_id": "1025646", "scope": topic}
    return found | {"hash": hashlib.sha1(json.dumps(data).encode(), usedforsecurity=False).hexdigest(), "data": data}


def fetched(topic: str, journey: Journey, store: Store) -> tuple[str, Body]:
    """Return what the API answers after a notice: a customer, a guest's cart, or an order, later a paid one."""
    if topic == CART_CHANGED:
        return CART, _cart(journey)
    if topic == REGISTERED:
        return CUSTOMER, _customer(journey)
    return ORDER, _order(journey, paid=topic == STATUS)


def fake_api() -> FakeApi:
    """Return a new fake of the API."""
    return FakeBigCommerce()


def encode(body: Body) -> bytes:
    """Encode a body as compact ASCII."""
    return json.dumps(body, separators=(",", ":")).encode()


def headers(topic: str, journey: Journey, store: Store) -> dict[str, str]:
    """Return BigCommerce's headers without the signature."""
    return {"Content-Type": "application/json"}


def _order(journey: Journey, *, paid: bool) -> Body:
    basket = journey.basket(journey.currency)
    nothing = _amount(Decimal(0))
    billing = _address(journey) | {"email": journey.person.email}
    return {
        "id": journey.order_id,
        "customer_id": journey.customer_id,
        "date_created": format_datetime(journey.order_at.replace(microsecond=0)),
        "date_modified": format_datetime((journey.paid_at if paid else journey.order_at).replace(microsecond=0)),
        "date_shipped": "",
        "status_id": AWAITING_FULFILLMENT if paid else AWAITING_PAYMENT,
        "status": "Awaiting Fulfillment" if paid else "Awaiting Payment",
        "custom_status": "Awaiting Fulfillment" if paid else "Awaiting Payment",
        "subtotal_ex_tax": _amount(basket.subtotal),
        "subtotal_inc_tax": _amount(basket.subtotal + basket.tax),
        "total_ex_tax": _amount(basket.subtotal + basket.shipping),
        "total_inc_tax": _amount(basket.total),
        "total_tax": _amount(basket.tax),
        "shipping_cost_ex_tax": _amount(basket.shipping),
        "shipping_cost_inc_tax": _amount(basket.shipping),
        "shipping_cost_tax": nothing,
        "handling_cost_ex_tax": nothing,
        "handling_cost_tax": nothing,
        "wrapping_cost_ex_tax": nothing,
        "wrapping_cost_tax": nothing,
        "is_tax_inclusive_pricing": False,
        "items_total": sum(line.quantity for line in basket.lines),
        "items_shipped": 0,
        "payment_method": "Credit Card",
        "payment_provider_id": "authorizenet",
        "payment_status": "captured" if paid else "",
        "refunded_amount": nothing,
        "store_credit_amount": nothing,
        "gift_certificate_amount": nothing,
        "ip_address": journey.ip,
        "ip_address_v6": "",
        "currency_code": basket.currency,
        "default_currency_code": basket.currency,
        "cart_id": journey.checkout_token,
        "billing_address": billing,
        "is_email_opt_in": False,
        "order_source": "www",
        "channel_id": 1,
        "external_source": None,
        "external_id": None,
        "customer_locale": journey.person.country.locale,
        "is_deleted": False,
        "consignments": {
            "pickups": [],
            "shipping": [
                {"id": journey.number("consignment"), **billing, "line_items": _lines(journey, basket)},
            ],
            "downloads": [],
            "email": {"gift_certificates": []},
        },
    }


def _cart(journey: Journey) -> Body:
    basket = journey.basket(journey.currency)
    items = [
        {
            "id": journey.code(f"line {line.product.sku}"),
            "parent_id": None,
            "variant_id": line.product.number + 1,
            "product_id": line.product.number,
            "sku": line.product.sku,
            "name": line.product.title,
            "quantity": line.quantity,
            "discount_amount": 0,
            "list_price": float(line.price),
            "sale_price": float(line.price),
            "extended_list_price": float(line.total),
            "extended_sale_price": float(line.total),
        }
        for line in basket.lines
    ]
    return {
        "id": journey.checkout_token,
        "customer_id": 0,
        "channel_id": 1,
        "email": journey.person.email,
        "currency": {"code": basket.currency},
        "tax_included": False,
        "base_amount": float(basket.subtotal),
        "discount_amount": 0,
        "cart_amount": float(basket.subtotal),
        "line_items": {"physical_items": items, "digital_items": [], "gift_certificates": [], "custom_items": []},
        "created_time": _v3_time(journey.checkout_at),
        "updated_time": _v3_time(journey.checkout_at),
        "locale": journey.person.country.locale,
    }


def _lines(journey: Journey, basket: Basket) -> list[Body]:
    return [_line(journey, line) for line in basket.lines]


def _line(journey: Journey, line: Line) -> Body:
    unit_tax = line.tax / line.quantity
    return {
        "id": journey.number(f"line {line.product.sku}"),
        "order_id": journey.order_id,
        "product_id": line.product.number,
        "variant_id": line.product.number + 1,
        "name": line.product.title,
        "sku": line.product.sku,
        "type": "physical",
        "quantity": line.quantity,
        "price_ex_tax": _amount(line.price),
        "price_inc_tax": _amount(line.price + unit_tax),
        "total_ex_tax": _amount(line.total),
        "total_inc_tax": _amount(line.total + line.tax),
        "total_tax": _amount(line.tax),
        "discounted_total_inc_tax": _amount(line.total + line.tax),
        "applied_discounts": [],
        "parent_order_product_id": None,
        "is_refunded": False,
        "brand": "",
    }


def _address(journey: Journey) -> Body:
    person = journey.person
    return {
        "first_name": person.first_name,
        "last_name": person.last_name,
        "company": "",
        "street_1": person.street,
        "street_2": "",
        "city": person.place.city,
        "state": person.place.region,
        "zip": person.place.zip,
        "country": person.country.name,
        "country_iso2": person.country.code,
        "phone": person.phone,
    }


def _customer(journey: Journey) -> Body:
    person = journey.person
    return {
        "id": journey.customer_id,
        "email": person.email,
        "first_name": person.first_name,
        "last_name": person.last_name,
        "company": "",
        "phone": person.phone,
        "registration_ip_address": journey.ip,
        "date_created": _v3_time(journey.checkout_at),
        "date_modified": _v3_time(journey.checkout_at),
        "origin_channel_id": 1,
        "channel_ids": [1],
        "addresses": [
            {
                "first_name": person.first_name,
                "last_name": person.last_name,
                "address1": person.street,
                "city": person.place.city,
                "state_or_province": person.place.region,
                "postal_code": person.place.zip,
                "country_code": person.country.code,
                "phone": person.phone,
                "address_type": "residential",
            }
        ],
    }


def _amount(value: Decimal) -> str:
    return f"{value:.4f}"


def _v3_time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


TOPICS: tuple[str, ...] = (CREATED, STATUS, REGISTERED, CART_CHANGED)
FUNNEL: tuple[str, ...] = (REGISTERED, CART_CHANGED, CREATED, STATUS)
DEMO_SHOP = DemoShop("towels", "https://towels.example", "towels1")
TOPIC_HEADER = SHOP_HEADER = ""
TOPIC_PATH: tuple[str, ...] = ("scope",)
SHOP_PATH: tuple[str, ...] = ("producer",)
HANDSHAKE = b""
_ORDER: RequiredFields = frozenset({("id",), ("date_created",), ("status_id",)})
REQUIRED: Mapping[str, RequiredFields] = {
    CREATED: _ORDER,
    STATUS: _ORDER,
    REGISTERED: frozenset({("id",), ("date_created",)}),
    CART_CHANGED: frozenset({("id",), ("updated_time",)}),
}
DECISIVE = frozenset(
    {"status_id", "status", "custom_status", "payment_status", "order_source", "external_source", "is_deleted"}
    | {"registration_ip_address", "payment_method", "payment_provider_id", "email", "customer_id"}
)
