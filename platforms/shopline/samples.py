"""Sample webhooks of invented shoppers in the shape of SHOPLINE's version v20260301."""

import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

from connector.plugin import Store
from connector.plugin.testing.samples import DemoShop, RequiredFields
from connector.plugin.testing.shoppers import Basket, Journey, Line

_VERSION = "v20260301"
_SHOP_TIME = timezone(timedelta(hours=8))  # times have the shop's own offset
Body = dict[str, Any]


def sample(topic: str, journey: Journey, store: Store) -> Body:
    """Return the body that SHOPLINE would send for this topic. Raises ValueError for a topic not in TOPICS."""
    if topic not in _BODIES:
        raise ValueError(f"no SHOPLINE sample of {topic!r}; there are {', '.join(TOPICS)}")
    return _BODIES[topic](journey, store)


def encode(body: Body) -> bytes:
    """Encode a body as compact UTF-8."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def headers(topic: str, journey: Journey, store: Store) -> dict[str, str]:
    """Return SHOPLINE's headers without the signature."""
    return {
        "Content-Type": "application/json; charset=utf-8",
        "X-Shopline-Topic": topic,
        "X-Shopline-Shop-Domain": store.shops[0],
        "X-Shopline-Shop-Id": "1644828244663",
        "X-Shopline-Merchant-Id": "2000125463",
        "X-Shopline-API-Version": _VERSION,
        "X-Shopline-Webhook-Id": journey.code(f"delivery {topic}"),
    }


def _order(journey: Journey, store: Store, *, paid: bool, clicks: bool = True) -> Body:
    basket = journey.basket(journey.currency)
    nothing = Decimal(0)
    changed = journey.paid_at if paid else journey.order_at
    body: Body = {
        "id": str(journey.order_id),
        "name": f"D{journey.order_number}",
        "store_id": "1644828244663",
        "created_at": _time(journey.order_at),
        "order_at": _time(journey.order_at),
        "updated_at": _time(changed),
        "processed_at": _time(changed) if paid else "",
        "cancelled_at": "",
        "status": "open",
        "financial_status": "paid" if paid else "unpaid",
        "fulfillment_status": "unshipped",
        "currency": basket.currency,
        "presentment_currency": basket.currency,
        "taxes_included": False,
        **_both("current_total_price", basket.total, basket),
        **_both("current_subtotal_price", basket.subtotal, basket),
        **_both("current_total_tax", basket.tax, basket),
        **_both("total_tip_received", nothing, basket),
        **_both("current_total_duties", nothing, basket),
        **_both("total_shipping_price", basket.shipping, basket),
        "line_items": [_line_item(journey, basket, line) for line in basket.lines],
        "payment_gateway_names": ["SLpayments"],
        "payment_details": [{"pay_amount": float(basket.total), "gateway": "SLpayments"}],
        "tags": "",
        "note": "",
        "discount_codes": [],
        "refunds": [],
        "order_source": "web",
        "pos_location_id": "",
        "draft_order_seq": "",
        "contract_seq": "",
        "po_number": "",
        "checkout_token": journey.checkout_token,
        "cart_token": journey.code("cart"),
        "email": journey.person.email,
        "phone": "",
        "user_id": str(journey.customer_id),
        "customer": _person(journey),
        "customer_locale": journey.person.country.locale.replace("-", ""),
        "billing_address": _address(journey),
        "shipping_address": _address(journey),
        "browser_ip": journey.ip,
        "client_details": {"browser_ip": journey.ip, "user_agent": journey.user_agent, "session_hash": ""},
        "note_attributes": _note_attributes(journey, store),
    }
    if clicks:  # orders/updated has none of them
        body["landing_site"] = f"{store.url}/?{journey.landing_query}" if journey.ttclid else f"{store.url}/"
        body["referring_site"] = "https://www.tiktok.com/" if journey.ttclid else ""
        body["utm_parameters"] = ""
    return body


def _checkout(journey: Journey, store: Store) -> Body:
    basket = journey.basket(journey.currency)
    return {
        "id": str(journey.number("checkout")),
        "token": journey.checkout_token,
        "cart_token": journey.code("cart"),
        "created_at": _time(journey.checkout_at),
        "update_at": _time(journey.checkout_at),
        "completed_at": "",
        "closed_at": "",
        "currency": basket.currency,
        "presentment_currency": basket.currency,
        "taxes_included": False,
        "total_price": float(basket.total),
        "sub_total_price": float(basket.subtotal),
        "total_tax": float(basket.tax),
        "total_discount": 0.0,
        "total_duties": "0.00",
        "line_items": [_line_item(journey, basket, line) for line in basket.lines],
        "email": journey.person.email,
        "phone": "",
        "phone_area_code": "",
        "user_id": str(journey.customer_id),
        "customer": _person(journey),
        "billing_address": _address(journey),
        "shipping_address": _address(journey),
        "buyer_accepts_marketing": False,
        "note": "",
        "note_attributes": _note_attributes(journey, store),
        "abandoned_checkout_url": f"{store.url}/checkout/{journey.checkout_token}",
    }


def _customer(journey: Journey, store: Store) -> Body:
    return {
        **{key: value for key, value in _person(journey).items() if key != "addresses"},
        "state": "3",
        "verified_email": False,
        "orders_count": 0,
        "tags": "",
        "created_at": _time(journey.now),
        "updated_at": _time(journey.now),
        "accepts_marketing": False,
        "language": "en",
        "addresses": [],
        "default_address": _address(journey),
    }


def _line_item(journey: Journey, basket: Basket, line: Line) -> Body:
    product = line.product
    return {
        "id": str(journey.number(f"line {product.sku}")),
        "product_id": str(product.number),
        "variant_id": str(product.number + 1),
        "sku": product.sku,
        "title": product.title,
        "variant_title": product.option,
        "name": product.title,
        "vendor": "Nordlys",
        "quantity": line.quantity,
        **_both("price", line.price, basket),
        "discount_allocations": [],
        "tax_lines": [{**_both("price", line.tax, basket), "title": "Tax", "rate": 0.1}] if line.tax else [],
        "giftCard": False,
        "is_bundle": False,
        "is_bundle_component": False,
        "bundle_parent_variant_id": "",
        "taxable": True,
    }


def _person(journey: Journey) -> Body:
    person = journey.person
    return {
        "id": str(journey.customer_id),
        "email": person.email,
        "phone": person.phone,
        "area_code": "",
        "first_name": person.first_name,
        "last_name": person.last_name,
        "currency": person.country.currency,
        "created_at": _time(journey.checkout_at),
        "addresses": _address(journey),
    }


def _address(journey: Journey) -> Body:
    person, place = journey.person, journey.person.place
    return {
        "first_name": person.first_name,
        "last_name": person.last_name,
        "name": f"{person.first_name} {person.last_name}",
        "phone": person.phone,
        "address1": person.street,
        "address2": "",
        "city": place.city,
        "zip": place.zip,
        "country": person.country.name,
        "country_code": person.country.code,
        "province": place.region,
        "province_code": place.region_code,
        "company": "",
    }


def _note_attributes(journey: Journey, store: Store) -> list[Body]:
    source = store.consent_source
    values = {"_ttp": journey.ttp, "ttclid": journey.ttclid}
    values |= dict.fromkeys([source.key], source.granted[0]) if source.key and source.granted else {}
    return [{"name": name, "value": value, "create_time": ""} for name, value in values.items() if value]


def _both(name: str, amount: Decimal, basket: Basket) -> Body:
    """Return an amount as text, and in both currencies, which are one here."""
    money = {"amount": str(amount), "currency_code": basket.currency}
    return {name: str(amount), f"{name}_set": {"shop_money": money, "presentment_money": money}}


def _time(moment: datetime) -> str:
    return moment.astimezone(_SHOP_TIME).isoformat(timespec="seconds")


_BODIES: dict[str, Callable[[Journey, Store], Body]] = {
    "orders/create": lambda journey, store: _order(journey, store, paid=False),
    "orders/paid": lambda journey, store: _order(journey, store, paid=True),
    "orders/updated": lambda journey, store: _order(journey, store, paid=True, clicks=False),
    "checkouts/create": _checkout,
    "checkouts/update": _checkout,
    "customers/create": _customer,
    "customers/enable": _customer,
}
TOPICS: tuple[str, ...] = tuple(_BODIES)
FUNNEL: tuple[str, ...] = ("customers/create", "checkouts/create", "orders/create", "orders/paid")
DEMO_SHOP = DemoShop("teas", "https://teas.example", "teas.myshopline.com")

TOPIC_HEADER = "x-shopline-topic"
SHOP_HEADER = "x-shopline-shop-domain"
TOPIC_PATH: tuple[str, ...] = ()
SHOP_PATH: tuple[str, ...] = ()
HANDSHAKE = b""
_ORDER: RequiredFields = frozenset(
    {("id",), ("order_at",), ("created_at",), ("line_items",), ("financial_status",)},
)
_CHECKOUT: RequiredFields = frozenset({("token",), ("created_at",), ("line_items",)})
REQUIRED: Mapping[str, RequiredFields] = {
    **dict.fromkeys(("orders/create", "orders/paid", "orders/updated"), _ORDER),
    **dict.fromkeys(("checkouts/create", "checkouts/update"), _CHECKOUT),
    **dict.fromkeys(("customers/create", "customers/enable"), frozenset({("id",), ("created_at",), ("state",)})),
}
# They decide whether there is an event, and of which kind.
DECISIVE = frozenset(
    {"status", "cancelled_at", "order_source", "pos_location_id", "draft_order_seq", "contract_seq", "client_details"}
    | {"payment_gateway_names"}
)
