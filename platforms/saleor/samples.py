"""Sample webhooks of invented shoppers in the shape of Saleor 3.23, for `subscription.graphql`."""

import base64
import json
import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from connector.plugin import Store
from connector.plugin.testing.samples import DemoShop, RequiredFields
from connector.plugin.testing.shoppers import Basket, Journey, Line, rounded
from platforms.saleor.translate import CHECKOUT_TYPES, CUSTOMER_TYPES, ORDER_TYPES, TYPES

_VERSION = "3.23.28"
_PAID = ("order_paid", "order_fully_paid", "order_updated")
Body = dict[str, Any]


def sample(topic: str, journey: Journey, store: Store) -> Body:
    """Return the body that Saleor would send for this topic. Raises ValueError for a topic not in TOPICS."""
    if topic not in TYPES:
        raise ValueError(f"no Saleor sample of {topic!r}; there are {', '.join(TOPICS)}")
    issued = journey.paid_at if topic in _PAID else journey.order_at
    found: Body = {"__typename": TYPES[topic], "issuedAt": _time(issued), "version": _VERSION, "issuingPrincipal": None}
    if topic in ORDER_TYPES:
        found["order"] = _order(journey, store, paid=topic in _PAID)
    elif topic in CHECKOUT_TYPES:
        found["checkout"] = _checkout(journey, store)
    else:
        found["user"] = _customer(journey, store)
    return found


def encode(body: Body) -> bytes:
    """Encode a body as Saleor does: ASCII, with a space after each comma and colon."""
    return json.dumps(body).encode("ascii")


def headers(topic: str, journey: Journey, store: Store) -> dict[str, str]:
    """Return Saleor's headers without the signature."""
    return {
        "User-Agent": "Saleor/3.23",
        "Content-Type": "application/json",
        "X-Saleor-Event": topic,
        "X-Saleor-Domain": store.shops[0],
        "Saleor-Event": topic,
        "Saleor-Domain": store.shops[0],
        "Saleor-Api-Url": f"https://{store.shops[0]}/graphql/",
    }


def _order(journey: Journey, store: Store, *, paid: bool) -> Body:
    basket = journey.basket(journey.currency)
    nothing = Decimal(0)
    return {
        "id": _global_id("Order", str(journey.order_id)),
        "number": str(journey.order_number),
        "created": _time(journey.order_at),
        "updatedAt": _time(journey.paid_at if paid else journey.order_at),
        "status": "UNFULFILLED" if paid else "UNCONFIRMED",
        "origin": "CHECKOUT",
        "isPaid": paid,
        "paymentStatus": "FULLY_CHARGED" if paid else "NOT_CHARGED",
        "chargeStatus": "FULL" if paid else "NONE",
        "authorizeStatus": "FULL" if paid else "NONE",
        "channel": _channel(basket),
        "externalReference": None,
        "checkoutId": _global_id("Checkout", journey.checkout_token),
        "trackingClientId": "",
        "userEmail": journey.person.email,
        "languageCodeEnum": journey.person.country.locale.upper().replace("-", "_"),
        "redirectUrl": None,
        "displayGrossPrices": False,
        "voucherCode": None,
        "shippingMethodName": "Default",
        "collectionPointName": None,
        "user": {
            "id": _global_id("User", str(journey.customer_id)),
            "email": journey.person.email,
            "firstName": journey.person.first_name,
            "lastName": journey.person.last_name,
            "dateJoined": _time(journey.checkout_at),
        },
        "total": _taxed(basket, basket.subtotal + basket.shipping, basket.tax),
        "subtotal": _taxed(basket, basket.subtotal, basket.tax),
        "shippingPrice": _taxed(basket, basket.shipping, nothing),
        "undiscountedTotal": _taxed(basket, basket.subtotal + basket.shipping, basket.tax),
        "totalCharged": _money(basket, basket.total if paid else nothing),
        "totalAuthorized": _money(basket, nothing),
        "totalRefunded": _money(basket, nothing),
        "discounts": [],
        "giftCards": [],
        "billingAddress": _address(journey),
        "shippingAddress": _address(journey),
        "lines": [_order_line(journey, basket, line) for line in basket.lines],
        "transactions": [
            {
                "id": _global_id("TransactionItem", _uuid(journey, "transaction")),
                "name": "Credit card",
                "pspReference": f"psp_{journey.code('payment', 10)}",
                "chargedAmount": _money(basket, basket.total if paid else nothing),
                "authorizedAmount": _money(basket, nothing),
            }
        ],
        "payments": [],
        "metadata": _metadata(journey, store),
    }


def _checkout(journey: Journey, store: Store) -> Body:
    basket = journey.basket(journey.currency)
    token = journey.checkout_token
    return {
        "id": _global_id("Checkout", token),
        "token": token,
        "created": _time(journey.checkout_at - timedelta(seconds=6)),
        "updatedAt": _time(journey.checkout_at),
        "email": journey.person.email,
        "languageCode": journey.person.country.locale.upper().replace("-", "_"),
        "channel": _channel(basket),
        "voucherCode": None,
        "displayGrossPrices": False,
        "user": {"id": _global_id("User", str(journey.customer_id)), "email": journey.person.email},
        "totalPrice": _taxed(basket, basket.subtotal + basket.shipping, basket.tax),
        "subtotalPrice": _taxed(basket, basket.subtotal, basket.tax),
        "shippingPrice": _taxed(basket, basket.shipping, Decimal(0)),
        "billingAddress": _address(journey),
        "shippingAddress": _address(journey),
        "lines": [
            {
                "id": _global_id("CheckoutLine", _uuid(journey, line.product.sku)),
                "quantity": line.quantity,
                "undiscountedUnitPrice": _money(basket, line.price),
                "totalPrice": _taxed(basket, line.total, line.tax),
                "variant": _variant(line),
            }
            for line in basket.lines
        ],
        "metadata": _metadata(journey, store),
    }


def _customer(journey: Journey, store: Store) -> Body:
    return {
        "id": _global_id("User", str(journey.customer_id)),
        "email": journey.person.email,
        "firstName": journey.person.first_name,
        "lastName": journey.person.last_name,
        "dateJoined": _time(journey.now),
        "isConfirmed": False,
        "isActive": True,
        "isStaff": False,
        "languageCode": "EN",
        "defaultBillingAddress": None,
        "defaultShippingAddress": None,
        "metadata": _metadata(journey, store),
    }


def _order_line(journey: Journey, basket: Basket, line: Line) -> Body:
    tax = rounded(line.tax / line.quantity, basket.currency)
    return {
        "id": _global_id("OrderLine", _uuid(journey, line.product.sku)),
        "productName": line.product.title,
        "variantName": line.product.option,
        "productSku": line.product.sku,
        "productVariantId": _variant(line)["id"],
        "quantity": line.quantity,
        "isGift": False,
        "unitPrice": _taxed(basket, line.price, tax),
        "totalPrice": _taxed(basket, line.total, line.tax),
        "variant": _variant(line),
    }


def _variant(line: Line) -> Body:
    product = line.product
    return {
        "id": _global_id("ProductVariant", str(product.number + 1)),
        "sku": product.sku,
        "name": product.option,
        "product": {
            "id": _global_id("Product", str(product.number)),
            "slug": product.handle,
            "name": product.title,
            "category": {"name": "Home"},
            "metadata": [],
        },
    }


def _metadata(journey: Journey, store: Store) -> list[Body]:
    """Return what a storefront writes into the checkout."""
    page = f"{store.url}/?{journey.landing_query}" if journey.ttclid else f"{store.url}/"
    values = {
        "client_ip": journey.ip,
        "client_user_agent": journey.user_agent,
        "landing_page": page,
        "ttclid": journey.ttclid,
        "ttp": journey.ttp,
    }
    source = store.consent_source
    values |= dict.fromkeys([source.key], source.granted[0]) if source.key and source.granted else {}
    return [{"key": key, "value": value} for key, value in values.items() if value]


def _address(journey: Journey) -> Body:
    person, place = journey.person, journey.person.place
    return {
        "firstName": person.first_name,
        "lastName": person.last_name,
        "companyName": "",
        "city": place.city.upper(),
        "countryArea": place.state,
        "postalCode": place.zip,
        "country": {"code": person.country.code},
        "phone": person.phone,
    }


def _channel(basket: Basket) -> Body:
    return {"id": _global_id("Channel", "1"), "slug": "default-channel", "currencyCode": basket.currency}


def _taxed(basket: Basket, net: Decimal, tax: Decimal) -> Body:
    parts = {"gross": net + tax, "net": net, "tax": tax}
    return {"currency": basket.currency, **{name: _money(basket, amount) for name, amount in parts.items()}}


def _money(basket: Basket, amount: Decimal) -> Body:
    return {"amount": float(amount), "currency": basket.currency}


def _global_id(kind: str, number: str) -> str:
    return base64.b64encode(f"{kind}:{number}".encode()).decode()


def _uuid(journey: Journey, label: str) -> str:
    return str(uuid.UUID(journey.code(label)))


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds")


TOPICS: tuple[str, ...] = (*ORDER_TYPES, *CHECKOUT_TYPES, *CUSTOMER_TYPES)
FUNNEL: tuple[str, ...] = ("customer_created", "checkout_updated", "order_created", "order_fully_paid")
DEMO_SHOP = DemoShop("juices", "https://juices.example", "api.juices.example")

TOPIC_HEADER = "saleor-event"
SHOP_HEADER = "saleor-domain"
TOPIC_PATH: tuple[str, ...] = ()
SHOP_PATH: tuple[str, ...] = ()
HANDSHAKE = b""
_ORDER: RequiredFields = frozenset(
    {("__typename",), ("order",), ("order", "id"), ("order", "created"), ("order", "lines")}
)
_CHECKOUT: RequiredFields = frozenset(
    {("__typename",), ("checkout",), ("checkout", "token"), ("checkout", "created"), ("checkout", "lines")}
)
_CUSTOMER: RequiredFields = frozenset({("__typename",), ("user",), ("user", "id"), ("user", "dateJoined")})
REQUIRED: Mapping[str, RequiredFields] = {
    **dict.fromkeys(ORDER_TYPES, _ORDER),
    **dict.fromkeys(CHECKOUT_TYPES, _CHECKOUT),
    **dict.fromkeys(CUSTOMER_TYPES, _CUSTOMER),
}
# isPaid, chargeStatus and the amounts decide whether an order was paid, issuedAt when, the e-mail whether a cart is a
# checkout; issuingPrincipal and isStaff whether a customer registered.
DECISIVE = frozenset(
    {"status", "origin", "isPaid", "chargeStatus", "totalCharged", "totalRefunded", "total", "email", "user", "isStaff"}
    | {"issuingPrincipal"}
)
