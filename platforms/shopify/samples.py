"""Sample webhooks of invented shoppers in the shape of Shopify's API version 2026-04.

That version has no checkout id, and its customers have no tags, order counts and marketing consent.
"""

import json
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from connector.plugin import Store
from connector.plugin.testing.samples import DemoShop, RequiredFields
from connector.plugin.testing.shoppers import Journey, Line, shop_currency
from platforms.shopify.sample_parts import (
    GID,
    Body,
    CurrencyPair,
    address,
    amount_text,
    customer,
    note_attributes,
    origin,
    price_basket,
    product_fields,
    saved_address,
    shop,
    shop_id,
    shop_time,
    tax_lines,
    zero,
)

API_VERSION = "2026-04"


_NOT_IN_THIS_ORDER = (
    *("cancel_reason", "cancelled_at", "closed_at", "device_id", "fulfillment_status", "landing_site_ref"),
    *("location_id", "merchant_of_record_app_id", "note", "original_total_additional_fees_set"),
    *("original_total_duties_set", "payment_terms", "po_number", "reference", "source_identifier"),
    *("source_url", "user_id"),
)
_NOT_IN_THIS_CHECKOUT = (
    *("gateway", "note", "completed_at", "closed_at", "user_id", "location_id", "source_identifier"),
    *("source_url", "device_id", "source", "sms_marketing_phone", "total_duties", "reservation_token"),
)
_EMPTY_LISTS = (*("discount_applications", "discount_codes", "fulfillments", "refunds", "returns", "line_item_groups"),)


def sample(topic: str, journey: Journey, store: Store) -> dict[str, object]:
    """Return the body that Shopify would send for this topic. Raises ValueError for a topic not in TOPICS."""
    if topic not in _BODIES:
        raise ValueError(f"no Shopify sample of {topic!r}; there are {', '.join(TOPICS)}")
    return _BODIES[topic](journey, store)


def encode(body: dict[str, object]) -> bytes:
    """Encode a body as Shopify does: compact UTF-8."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def headers(topic: str, journey: Journey, store: Store) -> dict[str, str]:
    """Return Shopify's headers without the signature, which depends on the final bytes.

    A journey and a topic always have the same Webhook-Id, so that sending them twice looks like a retry of Shopify's.
    """
    # Deliveries caused by one action share their Event-Id, such as an order's create, paid and updated.
    action = "orders" if topic.startswith("orders/") else topic
    return {
        "Content-Type": "application/json",
        "User-Agent": "Shopify-Captain-Hook",
        "X-Shopify-Topic": topic,
        "X-Shopify-Shop-Domain": store.shops[0],
        "X-Shopify-API-Version": API_VERSION,
        "X-Shopify-Webhook-Id": _uuid(journey, f"webhook {topic}"),
        "X-Shopify-Event-Id": _uuid(journey, f"event {action}"),
        "X-Shopify-Triggered-At": f"{_triggered(topic, journey).astimezone(UTC):%Y-%m-%dT%H:%M:%S}"
        f".{journey.number(topic) % 1_000_000_000:09d}Z",
    }


def _triggered(topic: str, journey: Journey) -> datetime:
    moments = {
        "checkouts/create": journey.checkout_at,
        "orders/create": journey.order_at,
        "orders/paid": journey.paid_at,
    }
    # `headers` adds up to a second, and no time may be in the future.
    return moments.get(topic, journey.now - timedelta(seconds=1))


def _order(journey: Journey, store: Store, *, updated_at: datetime, paid: bool) -> Body:
    baskets = price_basket(journey, store)
    return {
        "id": journey.order_id,
        "admin_graphql_api_id": f"{GID}/Order/{journey.order_id}",
        **_origin_ids(journey, store),
        "created_at": shop_time(journey.order_at),
        "processed_at": shop_time(journey.order_at),
        "updated_at": shop_time(updated_at),
        "currency": baskets.shop.currency,
        "presentment_currency": baskets.shown.currency,
        "financial_status": "paid" if paid else "pending",
        "payment_gateway_names": ["shopify_payments"],
        **_order_contact(journey, store),
        **_current_amounts(baskets),
        **baskets.both("subtotal_price", lambda basket: basket.subtotal),
        **_total_amounts(baskets, paid=paid),
        "tax_lines": tax_lines(journey, baskets, lambda basket: basket.tax),
        "taxes_included": False,
        "tax_exempt": False,
        "duties_included": False,
        "estimated_taxes": False,
        "note_attributes": note_attributes(journey, store),
        **dict.fromkeys(_NOT_IN_THIS_ORDER),
        "tags": "",
        "test": False,
        "billing_address": address(journey),
        "shipping_address": address(journey),
        "customer": customer(journey, store),
        "line_items": [_line_item(journey, baskets, index) for index in range(len(baskets.shop.lines))],
        "shipping_lines": [_shipping_line(journey, baskets)],
        **{name: [] for name in _EMPTY_LISTS},
    }


def _origin_ids(journey: Journey, store: Store) -> Body:
    """Return the browser, cart and checkout of the order."""
    return {
        "app_id": 580111,
        "browser_ip": journey.ip,
        "cart_token": journey.cart_token,
        "checkout_token": journey.checkout_token,
        "client_details": {
            "accept_language": journey.person.country.locale,
            "browser_height": None,
            "browser_ip": journey.ip,
            "browser_width": None,
            "session_hash": None,
            "user_agent": journey.user_agent,
        },
        "customer_locale": journey.person.country.locale,
        **origin(journey),
        "source_name": "web",
        "merchant_business_entity_id": "MTA5OTUxMTYyNzc3",
    }


def _order_contact(journey: Journey, store: Store) -> Body:
    """Return the order's numbers and the shopper's contact data."""
    token = journey.code("order token")
    return {
        "name": f"#{journey.order_number}",
        "number": journey.order_number - 1000,
        "order_number": journey.order_number,
        "token": token,
        "confirmation_number": journey.code("confirmation", 9).upper(),
        "confirmed": True,
        "order_status_url": f"{store.url.rstrip('/')}/{shop_id(store)}/orders/{token}/authenticate"
        f"?key={journey.code('order key')}",
        "email": journey.person.email,
        "contact_email": journey.person.email,
        "phone": journey.person.phone,
        "buyer_accepts_marketing": False,
    }


def _current_amounts(baskets: CurrencyPair) -> Body:
    """Return the amounts after edits and refunds; this order has neither."""
    return {
        "current_shipping_price_set": baskets.money(lambda basket: basket.shipping),
        **baskets.both("current_subtotal_price", lambda basket: basket.subtotal),
        "current_total_additional_fees_set": None,
        **baskets.both("current_total_discounts", zero),
        "current_total_duties_set": None,
        **baskets.both("current_total_price", lambda basket: basket.total),
        **baskets.both("current_total_tax", lambda basket: basket.tax),
    }


def _total_amounts(baskets: CurrencyPair, *, paid: bool) -> Body:
    return {
        "total_cash_rounding_payment_adjustment_set": baskets.money(zero),
        "total_cash_rounding_refund_adjustment_set": baskets.money(zero),
        **baskets.both("total_discounts", zero),
        **baskets.both("total_line_items_price", lambda basket: basket.subtotal),
        "total_outstanding": baskets.text(zero if paid else lambda basket: basket.total),
        **baskets.both("total_price", lambda basket: basket.total),
        "total_shipping_price_set": baskets.money(lambda basket: basket.shipping),
        **baskets.both("total_tax", lambda basket: basket.tax),
        "total_tip_received": baskets.text(zero),
        "total_weight": baskets.shop.grams,
    }


def _line_item(journey: Journey, baskets: CurrencyPair, index: int) -> Body:
    line = baskets.shop.lines[index]
    line_id = journey.number(f"line {index}")
    return {
        "id": line_id,
        "admin_graphql_api_id": f"{GID}/LineItem/{line_id}",
        "attributed_staffs": [],
        "current_quantity": line.quantity,
        "fulfillable_quantity": line.quantity,
        "fulfillment_service": "manual",
        "fulfillment_status": None,
        "gift_card": False,
        "grams": line.product.grams,
        "name": " - ".join(filter(None, (line.product.title, line.product.option))),
        **baskets.both("price", lambda basket: basket.lines[index].price),
        "product_exists": True,
        **product_fields(line),
        "properties": [],
        "quantity": line.quantity,
        "requires_shipping": True,
        "sales_line_item_group_id": None,
        "taxable": True,
        **baskets.both("total_discount", zero),
        "variant_inventory_management": "shopify",
        "tax_lines": tax_lines(journey, baskets, lambda basket: basket.lines[index].tax),
        "duties": [],
        "discount_allocations": [],
    }


def _shipping_line(journey: Journey, baskets: CurrencyPair) -> Body:
    return {
        "id": journey.number("shipping"),
        "carrier_identifier": None,
        "code": "Standard",
        "current_discounted_price_set": baskets.money(lambda basket: basket.shipping),
        **baskets.both("discounted_price", lambda basket: basket.shipping),
        "is_removed": False,
        "phone": None,
        **baskets.both("price", lambda basket: basket.shipping),
        "requested_fulfillment_service_id": None,
        "source": "shopify",
        "title": "Standard",
        "tax_lines": [],
        "discount_allocations": [],
    }


def _checkout(journey: Journey, store: Store, *, updated_at: datetime) -> Body:
    # Checkouts have no `_set`. Shopify does not document the currency of their amounts; an older reference says the
    # one that the shopper sees.
    basket = journey.basket(journey.currency)

    def text(amount: Decimal) -> str:
        return amount_text(amount, basket.currency)

    return {
        "token": journey.checkout_token,
        "cart_token": journey.cart_token,
        "name": f"#{journey.number('checkout')}",
        "abandoned_checkout_url": f"{store.url.rstrip('/')}/{shop_id(store)}/checkouts/"
        f"{journey.checkout_token}/recover?key={journey.code('recovery')}",
        "created_at": shop_time(journey.checkout_at),
        "updated_at": shop_time(updated_at),
        **origin(journey),
        "source_name": "web",
        "customer_locale": journey.person.country.locale,
        "note_attributes": note_attributes(journey, store),
        **dict.fromkeys(_NOT_IN_THIS_CHECKOUT),
        "email": journey.person.email,
        "phone": journey.person.phone,
        "buyer_accepts_marketing": False,
        "buyer_accepts_sms_marketing": False,
        "currency": shop_currency(store.country),
        "presentment_currency": basket.currency,
        "total_discounts": text(Decimal(0)),
        "total_line_items_price": text(basket.subtotal),
        "total_price": text(basket.total),
        "total_tax": text(basket.tax),
        "subtotal_price": text(basket.subtotal),
        "total_weight": basket.grams,
        "taxes_included": False,
        "discount_codes": [],
        "tax_lines": _checkout_tax(journey, text(basket.tax)),
        "line_items": [_checkout_line(journey, line, text) for line in basket.lines],
        "shipping_lines": [{"code": "Standard", "price": text(basket.shipping), "title": "Standard"}],
        "billing_address": address(journey),
        "shipping_address": address(journey),
        "customer": customer(journey, store),
    }


def _checkout_tax(journey: Journey, price: str) -> list[Body]:
    country = journey.person.country
    if not country.tax_rate:
        return []
    rate = float(country.tax_rate)
    return [{"price": price, "rate": rate, "title": country.tax_name, "channel_liable": False}]


def _checkout_line(journey: Journey, line: Line, text: Callable[[Decimal], str]) -> Body:
    measures = ("measured_type", "quantity_value", "quantity_unit", "reference_value", "reference_unit")
    return {
        "applied_discounts": [],
        "discount_allocations": [],
        "key": journey.code(f"key {line.product.sku}"),
        "destination_location_id": None,
        "fulfillment_service": "manual",
        "gift_card": False,
        "grams": line.product.grams,
        "origin_location_id": None,
        "presentment_title": line.product.title,
        "presentment_variant_title": line.product.option,
        **product_fields(line),
        "properties": None,
        "quantity": line.quantity,
        "requires_shipping": True,
        "tax_lines": [],
        "taxable": True,
        "variant_price": text(line.price),
        "user_id": None,
        "unit_price_measurement": dict.fromkeys(measures),
        "rank": None,
        "compare_at_price": None,
        "line_price": text(line.total),
        "price": text(line.price),
    }


def _account(journey: Journey, store: Store) -> Body:
    return {**customer(journey, store), "addresses": [saved_address(journey)]}


def _privacy_request(journey: Journey, store: Store) -> Body:
    """Return the fields that the three privacy topics have in common."""
    return {"shop_id": shop_id(store), "shop_domain": store.shops[0]}


def _requester(journey: Journey) -> Body:
    return {"id": journey.customer_id, "email": journey.person.email, "phone": journey.person.phone}


def _data_request(journey: Journey, store: Store) -> Body:
    return {
        **_privacy_request(journey, store),
        "orders_requested": [journey.order_id],
        "customer": _requester(journey),
        "data_request": {"id": journey.number("data request")},
    }


def _customer_redact(journey: Journey, store: Store) -> Body:
    return {
        **_privacy_request(journey, store),
        "customer": _requester(journey),
        "orders_to_redact": [journey.order_id],
    }


def _uuid(journey: Journey, label: str) -> str:
    return str(uuid.UUID(journey.code(label), version=4))


_BODIES: dict[str, Callable[[Journey, Store], Body]] = {
    "orders/create": lambda journey, store: _order(journey, store, updated_at=journey.order_at, paid=False),
    "orders/paid": lambda journey, store: _order(journey, store, updated_at=journey.paid_at, paid=True),
    "orders/updated": lambda journey, store: _order(journey, store, updated_at=journey.now, paid=True),
    "checkouts/create": lambda journey, store: _checkout(journey, store, updated_at=journey.checkout_at),
    "checkouts/update": lambda journey, store: _checkout(journey, store, updated_at=journey.now),
    "customers/create": _account,
    "customers/enable": _account,
    "app/uninstalled": shop,
    "customers/data_request": _data_request,
    "customers/redact": _customer_redact,
    "shop/redact": _privacy_request,
}
TOPICS: tuple[str, ...] = tuple(_BODIES)
FUNNEL: tuple[str, ...] = ("customers/create", "checkouts/create", "orders/create", "orders/paid")
DEMO_SHOP = DemoShop("acme", "https://acme.example", "acme-demo.myshopify.com")

TOPIC_HEADER = "x-shopify-topic"
SHOP_HEADER = "x-shopify-shop-domain"
TOPIC_PATH: tuple[str, ...] = ()
SHOP_PATH: tuple[str, ...] = ()
HANDSHAKE = b""
_ORDER: RequiredFields = frozenset({("id",), ("line_items",), ("created_at",)})
_CHECKOUT: RequiredFields = frozenset({("token",), ("line_items",), ("created_at",)})
_CUSTOMER: RequiredFields = frozenset({("id",), ("created_at",)})
REQUIRED: Mapping[str, RequiredFields] = {
    "orders/create": _ORDER,
    "orders/paid": _ORDER,
    "orders/updated": _ORDER,
    "checkouts/create": _CHECKOUT,
    "checkouts/update": _CHECKOUT,
    "customers/create": _CUSTOMER,
    "customers/enable": _CUSTOMER,
}
DECISIVE = frozenset({"source_name", "financial_status", "user_id", "cancelled_at", "test", "state"})
