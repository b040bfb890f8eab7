"""Sample webhooks of invented shoppers in the shape of WooCommerce's REST API v3."""

import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

from connector.plugin import Store
from connector.plugin.testing.samples import DemoShop, RequiredFields
from connector.plugin.testing.shoppers import Basket, Journey, Line

_VERSION = "10.0.4"
_WORDPRESS = "6.8.2"

# Each time has a `*_gmt` and a local variant, both without an offset; this shop is in New York, in winter.
_SHOP_TIME = timezone(timedelta(hours=-5))

Body = dict[str, object]


def sample(topic: str, journey: Journey, store: Store) -> dict[str, object]:
    """Return the body that WooCommerce would send for this topic. Raises ValueError for a topic not in TOPICS."""
    if topic not in _BODIES:
        raise ValueError(f"no WooCommerce sample of {topic!r}; there are {', '.join(TOPICS)}")
    return _BODIES[topic](journey, store)


def encode(body: dict[str, object]) -> bytes:
    r"""Encode a body as PHP does: compact, ASCII, with `\u00e9` for "é" and `\/` for a slash."""
    # A slash occurs in JSON only within strings, so it can be replaced in the encoded text.
    return json.dumps(body, separators=(",", ":")).replace("/", "\\/").encode("ascii")


def headers(topic: str, journey: Journey, store: Store) -> dict[str, str]:
    """Return WooCommerce's headers without the signature, which depends on the final bytes."""
    resource, event = topic.split(".", maxsplit=1)
    webhook = TOPICS.index(topic) + 1
    # As in a real shop, a webhook has one Delivery-ID per second, shared by two journeys of the same second.
    delivery = f"{store.shops[0]} {webhook} {int(journey.now.timestamp())}"
    return {
        "Content-Type": "application/json",
        "User-Agent": f"WooCommerce/{_VERSION} Hookshot (WordPress/{_WORDPRESS})",
        "X-WC-Webhook-Source": f"{_home(store)}/",
        "X-WC-Webhook-Topic": topic,
        "X-WC-Webhook-Resource": resource,
        "X-WC-Webhook-Event": event,
        "X-WC-Webhook-ID": str(webhook),
        "X-WC-Webhook-Delivery-ID": hashlib.sha256(delivery.encode()).hexdigest()[:32],
    }


def _order(journey: Journey, store: Store, *, paid: bool) -> Body:
    basket = journey.basket(journey.currency)
    modified = journey.paid_at if paid else journey.order_at
    return {
        "id": journey.order_id,
        "parent_id": 0,
        "status": "processing" if paid else "on-hold",
        "currency": basket.currency,
        "version": _VERSION,
        "prices_include_tax": False,
        **_dates("created", journey.order_at),
        **_dates("modified", modified),
        **_dates("completed", None),
        **_dates("paid", modified if paid else None),
        **_totals(basket),
        "customer_id": journey.customer_id,
        "order_key": _order_key(journey),
        "billing": {**_address(journey), "email": journey.person.email, "phone": journey.person.phone},
        "shipping": {**_address(journey), "phone": ""},
        "payment_method": "bacs",
        "payment_method_title": "Direct bank transfer",
        "transaction_id": "",
        "customer_ip_address": journey.ip,
        "customer_user_agent": journey.user_agent,
        "created_via": "checkout",
        "customer_note": "",
        "cart_hash": journey.code("cart hash"),
        "number": str(journey.order_id),
        "meta_data": _meta_data(journey, store),
        "line_items": [_line_item(journey, store, line) for line in basket.lines],
        "tax_lines": _tax_lines(journey, basket),
        "shipping_lines": [_shipping_line(journey, basket)],
        "fee_lines": [],
        "coupon_lines": [],
        "refunds": [],
        "payment_url": f"{_home(store)}/checkout/order-pay/{journey.order_id}/"
        f"?pay_for_order=true&key={_order_key(journey)}",
        "is_editable": not paid,
        "needs_payment": False,
        "needs_processing": True,
        "currency_symbol": journey.person.country.symbol,
        "_links": _order_links(journey, store),
    }


def _totals(basket: Basket) -> Body:
    """Return the amounts of the whole order; this shop taxes products, not shipping."""
    return {
        "discount_total": _text(Decimal(0)),
        "discount_tax": _text(Decimal(0)),
        "shipping_total": _text(basket.shipping),
        "shipping_tax": _text(Decimal(0)),
        "cart_tax": _text(basket.tax),
        "total": _text(basket.total),
        "total_tax": _text(basket.tax),
    }


def _line_item(journey: Journey, store: Store, line: Line) -> Body:
    product = line.product
    meta_id = journey.number(f"option {product.sku}")
    option = {"id": meta_id, "key": "option", "value": product.option}
    taxes = [{"id": 1, "total": _text(line.tax), "subtotal": _text(line.tax)}]
    return {
        "id": journey.number(f"line {product.sku}"),
        "name": _name(line),
        "product_id": product.number,
        "variation_id": product.number + 1 if product.option else 0,
        "quantity": line.quantity,
        "tax_class": "",
        "subtotal": _text(line.total),
        "subtotal_tax": _text(line.tax),
        "total": _text(line.total),
        "total_tax": _text(line.tax),
        "taxes": taxes if line.tax else [],
        "meta_data": [{**option, "display_key": "Option", "display_value": product.option}] if product.option else [],
        "sku": product.sku,
        "price": _number(line.price),
        "image": {
            "id": str(product.number + 5),
            "src": f"{_home(store)}/wp-content/uploads/{product.handle}.jpg",
        },
        "parent_name": product.title if product.option else None,
    }


def _tax_lines(journey: Journey, basket: Basket) -> list[Body]:
    country = journey.person.country
    if not country.tax_rate:
        return []
    return [
        {
            "id": journey.number("tax"),
            "rate_code": f"{country.code}-{country.tax_name.upper()}-1",
            "rate_id": 1,
            "label": country.tax_name,
            "compound": False,
            "tax_total": _text(basket.tax),
            "shipping_tax_total": _text(Decimal(0)),
            "rate_percent": _number(country.tax_rate * 100),
            "meta_data": [],
        }
    ]


def _shipping_line(journey: Journey, basket: Basket) -> Body:
    items = ", ".join(f"{_name(line)} &times; {line.quantity}" for line in basket.lines)
    label = {"id": journey.number("items"), "key": "Items", "value": items}
    return {
        "id": journey.number("shipping"),
        "method_title": "Flat rate",
        "method_id": "flat_rate",
        "instance_id": "1",
        "total": _text(basket.shipping),
        "total_tax": _text(Decimal(0)),
        "taxes": [],
        "tax_status": "none",
        "meta_data": [{**label, "display_key": "Items", "display_value": items}],
    }


def _meta_data(journey: Journey, store: Store) -> list[Body]:
    """Return WooCommerce's order attribution, and what the plugin copies from the shopper's cookies."""
    start = journey.checkout_at - timedelta(minutes=4)
    attribution = {
        "source_type": "utm" if journey.ttclid else "typein",
        "referrer": "https://www.tiktok.com/" if journey.ttclid else "",
        "utm_campaign": "autumn_looks" if journey.ttclid else "",
        "utm_source": "tiktok" if journey.ttclid else "(direct)",
        "utm_medium": "paid" if journey.ttclid else "",
        "session_entry": _landing_page(journey, store),
        "session_start_time": f"{start.astimezone(UTC):%Y-%m-%d %H:%M:%S}",
        "session_pages": "4",
        "session_count": "1",
        "user_agent": journey.user_agent,
        "device_type": "Mobile" if "Mobile" in journey.user_agent else "Desktop",
    }
    meta = {"is_vat_exempt": "no", "_tiktok_ttclid": journey.ttclid, "_tiktok_ttp": journey.ttp}
    meta |= {f"_wc_order_attribution_{key}": value for key, value in attribution.items()}
    return _meta(journey, {**meta, **_consent(store)})


def _customer(journey: Journey, store: Store) -> Body:
    person = journey.person
    link = f"{_home(store)}/wp-json/wc/v3/customers"
    billing = {**_address(journey), "email": person.email, "phone": person.phone}
    avatar = hashlib.sha256(person.email.encode()).hexdigest()
    return {
        "id": journey.customer_id,
        **_dates("created", journey.now),
        **_dates("modified", journey.now),
        "email": person.email,
        "first_name": person.first_name,
        "last_name": person.last_name,
        "role": "customer",
        "username": person.email.split("@", maxsplit=1)[0],
        "billing": billing,
        "shipping": {**_address(journey), "phone": person.phone},
        "is_paying_customer": False,
        "avatar_url": f"https://secure.gravatar.com/avatar/{avatar}?s=96&d=mm&r=g",
        "meta_data": _meta(journey, _consent(store)),
        "_links": {
            "self": [_writable(f"{link}/{journey.customer_id}")],
            "collection": [{"href": link}],
        },
    }


def _checkout_opened(journey: Journey, store: Store) -> Body:
    """Return the body of the action that the plugin fires on the checkout page; core has no webhook for it."""
    basket = journey.basket(journey.currency)
    cart_hash = journey.code("cart hash")
    arg: Body = {
        "event_id": f"ic_{cart_hash}",
        "event_time": int(journey.checkout_at.timestamp()),
        "url": f"{_home(store)}/checkout/",
        "referrer": _landing_page(journey, store),
        "currency": basket.currency,
        "total": _text(basket.total),
        "cart_hash": cart_hash,
        "customer_id": journey.customer_id,
        "email": journey.person.email,
        "phone": journey.person.phone,
        "ip": journey.ip,
        "user_agent": journey.user_agent,
        "ttclid": journey.ttclid,
        "ttp": journey.ttp,
        "line_items": [
            {
                "product_id": line.product.number,
                "variation_id": line.product.number + 1 if line.product.option else 0,
                "quantity": line.quantity,
                "price": _text(line.price),
                "sku": line.product.sku,
                "name": _name(line),
            }
            for line in basket.lines
        ],
        "token": journey.checkout_token,
    }
    return {"action": "wc_tiktok_initiate_checkout", "arg": arg}


def _address(journey: Journey) -> Body:
    person, place = journey.person, journey.person.place
    return {
        "first_name": person.first_name,
        "last_name": person.last_name,
        "company": "",
        "address_1": person.street,
        "address_2": "",
        "city": place.city,
        "state": place.state,
        "postcode": place.zip,
        "country": person.country.code,
    }


def _dates(name: str, moment: datetime | None) -> dict[str, str | None]:
    """Return `date_…` in the shop's time and `date_…_gmt`; null if it has not happened yet."""
    if moment is None:
        return {f"date_{name}": None, f"date_{name}_gmt": None}
    return {
        f"date_{name}": f"{moment.astimezone(_SHOP_TIME):%Y-%m-%dT%H:%M:%S}",
        f"date_{name}_gmt": f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S}",
    }


def _meta(journey: Journey, values: dict[str, str]) -> list[Body]:
    return [
        {"id": journey.number("meta") + index, "key": key, "value": value}
        for index, (key, value) in enumerate(values.items())
        if value
    ]


def _consent(store: Store) -> dict[str, str]:
    """Return the shopper's consent, if this store reads it from meta data."""
    source = store.consent_source
    return dict.fromkeys([source.key], source.granted[0]) if source.key and source.granted else {}


def _order_links(journey: Journey, store: Store) -> Body:
    api = f"{_home(store)}/wp-json/wc/v3"
    order = f"{api}/orders/{journey.order_id}"
    return {
        "self": [_writable(order)],
        "collection": [{"href": f"{api}/orders"}],
        "email_templates": [{"embeddable": True, "href": f"{order}/actions/email_templates"}],
        "customer": [{"href": f"{api}/customers/{journey.customer_id}"}],
    }


def _writable(href: str) -> Body:
    return {"href": href, "targetHints": {"allow": ["GET", "POST", "PUT", "PATCH", "DELETE"]}}


def _home(store: Store) -> str:
    return f"https://{store.shops[0]}"


def _landing_page(journey: Journey, store: Store) -> str:
    page = f"{_home(store)}/product/{journey.picks[0][0].handle}/"
    return f"{page}?{journey.landing_query}" if journey.ttclid else page


def _order_key(journey: Journey) -> str:
    return f"wc_order_{journey.code('order key', 13)}"


def _name(line: Line) -> str:
    return " - ".join(filter(None, (line.product.title, line.product.option)))


def _text(amount: Decimal) -> str:
    """Format an amount with the decimals of the shop's settings: two in any currency."""
    return f"{amount:.2f}"


def _number(amount: Decimal) -> int | float:
    """Return a JSON number as PHP writes it: an integer if the amount has no decimals."""
    return int(amount) if amount == amount.to_integral_value() else float(amount)


_BODIES: dict[str, Callable[[Journey, Store], Body]] = {
    "order.created": lambda journey, store: _order(journey, store, paid=False),
    "order.updated": lambda journey, store: _order(journey, store, paid=True),
    "customer.created": _customer,
    "action.wc_tiktok_initiate_checkout": _checkout_opened,
}
TOPICS: tuple[str, ...] = tuple(_BODIES)
FUNNEL: tuple[str, ...] = ("customer.created", "action.wc_tiktok_initiate_checkout", "order.created", "order.updated")
DEMO_SHOP = DemoShop("beans", "https://beans.example", "https://beans.example")

TOPIC_HEADER = "x-wc-webhook-topic"
SHOP_HEADER = "x-wc-webhook-source"
TOPIC_PATH: tuple[str, ...] = ()
SHOP_PATH: tuple[str, ...] = ()
HANDSHAKE = b"webhook_id=7"
_ORDER: RequiredFields = frozenset({("id",), ("status",), ("line_items",), ("date_created_gmt",)})
REQUIRED: Mapping[str, RequiredFields] = {
    "order.created": _ORDER,
    "order.updated": _ORDER,
    "customer.created": frozenset({("id",), ("date_created_gmt",)}),
    "action.wc_tiktok_initiate_checkout": frozenset({("action",), ("arg",), ("arg", "token")}),
}
DECISIVE = frozenset({"status", "created_via", "role", "date_paid_gmt"})
