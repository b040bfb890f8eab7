"""Translation of Saleor's orders, checkouts and customers into events.

A body is what `subscription.graphql` asks for. Types: https://docs.saleor.io/api-reference/orders/objects/order
"""

import base64
import binascii
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from msgspec.structs import replace

from connector.plugin import (
    Address,
    Customer,
    Event,
    InvalidPayload,
    Item,
    Json,
    OrderKind,
    Skipped,
    Store,
    TimeSource,
    TotalBreakdown,
    Webhook,
    identifier,
    json_object,
    json_objects,
    minor_digits,
    money,
    parse_time,
    present,
    query_parameter,
    safe_to_quote,
    scalar_text,
    text,
    whole_quantity,
)

ORDER_TYPES: Mapping[str, str] = {
    "order_created": "OrderCreated",
    "order_confirmed": "OrderConfirmed",
    "order_paid": "OrderPaid",
    "order_fully_paid": "OrderFullyPaid",
    "order_updated": "OrderUpdated",
}
CHECKOUT_TYPES: Mapping[str, str] = {"checkout_created": "CheckoutCreated", "checkout_updated": "CheckoutUpdated"}
CUSTOMER_TYPES: Mapping[str, str] = {"customer_created": "CustomerCreated"}
TYPES = {**ORDER_TYPES, **CHECKOUT_TYPES, **CUSTOMER_TYPES}
TOPICS = frozenset(TYPES)

KINDS: Mapping[str, OrderKind] = {
    "CHECKOUT": "web",
    "DRAFT": "draft",
    "REISSUE": "exchange",
    "BULK_CREATE": "api",
}
GONE = frozenset({"CANCELED", "EXPIRED", "RETURNED"})
CHARGED = frozenset({"FULL", "OVERCHARGED"})
PAID_AT_ONCE = timedelta(minutes=1)  # at most, from an order to a payment whose time is that of the order
# What a storefront writes into the checkout's metadata, which Saleor copies to the order.
TTCLID_KEYS, TTP_KEYS = ("ttclid", "_ttclid"), ("ttp", "_ttp")
IP_KEYS, AGENT_KEYS, PAGE_KEYS = ("client_ip", "ip"), ("client_user_agent", "user_agent"), ("landing_page", "url")
WITHOUT_QUERY = (
    "the webhook has no subscription query, so its body lacks what events need; register it with `connector webhooks "
    "register`, or paste platforms/saleor/subscription.graphql into it"
)

_LOCAL_ID = re.compile(rb"[A-Za-z]{1,40}:([A-Za-z0-9-]{1,64})")


def translate(webhook: Webhook, store: Store) -> Iterable[Event | Skipped]:
    """Translate a body by its topic. Raises InvalidPayload.

    All order topics are read the same way: they arrive in any sequence, with the order in any state.
    """
    body = webhook.data
    if isinstance(body, list):
        raise InvalidPayload(WITHOUT_QUERY)
    if json_object(body).get("__typename") != TYPES[webhook.topic]:
        raise InvalidPayload(f"expected a body of __typename {TYPES[webhook.topic]} for topic {webhook.topic}")
    if webhook.topic in ORDER_TYPES:
        return _order(webhook, json_object(body.get("order")), store)
    if webhook.topic in CHECKOUT_TYPES:
        return _checkout(json_object(body.get("checkout")), store)
    return _registration(body, store)


# --- orders -------------------------------------------------------------------------------------------------------


def _order(webhook: Webhook, order: Json, store: Store) -> Iterator[Event | Skipped]:
    order_id, created = local_id(order.get("id")), parse_time(order.get("created"))
    if not order_id or created is None or "lines" not in order:
        raise InvalidPayload(f"expected an order in the body of topic {webhook.topic}: id, created or lines is missing")
    status = text(order.get("status")).upper()
    if status == "DRAFT":
        return  # staff still work on it
    number, meta = identifier(order.get("number")), _metadata(order)
    customer = _customer(order, meta)
    ids = present(
        order_id=order_id,
        order_number=number,
        order_name=number,
        checkout_token=local_id(order.get("checkoutId")),
        customer_id=customer.id,
        **store.placeholder_values("meta", lambda key: meta.get(key, "")),
    )
    is_paid, placed_statuses = _was_paid(webhook, order, status, store), store.orders.placed_statuses
    if status in GONE and not _is_one_of(status, placed_statuses):
        yield Skipped("order_placed", f"the order was already {status.lower()} when first seen", ids)
        return
    if placed_statuses and not is_paid and not _is_one_of(status, placed_statuses):
        shown = safe_to_quote(status.lower()) or "missing"
        yield Skipped("order_placed", f"status {shown} does not count as placed (placed_statuses)", ids)
        return
    gateways = _gateways(order)
    placed = Event(
        milestone="order_placed",
        occurred_at=created,
        ids=ids,
        customer=customer,
        kind=KINDS.get(text(order.get("origin")).upper(), "web"),
        gateways=gateways,
        **amounts(order, "total", store),
        page_url=_first(meta, PAGE_KEYS),
    )
    yield placed
    if is_paid:
        paid_at, source = _paid_at(webhook, created)
        yield replace(placed, milestone="order_paid", occurred_at=paid_at, time_source=source)
    elif store.orders.counts_as_paid(gateways):
        yield replace(placed, milestone="order_paid")


def _is_one_of(status: str, chosen: Sequence[str]) -> bool:
    """Return True if the merchant chose this status, as the API writes it or with spaces."""
    return status.lower() in {one.replace(" ", "_").lower() for one in chosen}


def _was_paid(webhook: Webhook, order: Json, status: str, store: Store) -> bool:
    """Return True for an order that was paid in full once: `isPaid` becomes false with a partial refund.

    With paid_statuses, its status decides alone.
    """
    if store.orders.paid_statuses:
        return _is_one_of(status, store.orders.paid_statuses)
    if webhook.topic == "order_fully_paid" or order.get("isPaid") is True:
        return True
    if text(order.get("chargeStatus")).upper() in CHARGED:
        return True
    parts = [money(json_object(order.get(name)).get("amount")) for name in ("totalCharged", "totalRefunded")]
    total = _gross(order.get("total"))
    return total is not None and total > 0 and sum((part for part in parts if part), Decimal(0)) >= total


def _paid_at(webhook: Webhook, created: datetime) -> tuple[datetime, TimeSource]:
    """Return the time of payment, and how well it is known: only order_fully_paid has it, as the time of its event.

    The history has no such time, and no webhook about to follow it.
    """
    issued = webhook.triggered_at
    if issued is None or issued - created <= PAID_AT_ONCE:
        return created, ""
    return (issued, "stated") if webhook.topic == "order_fully_paid" else (created, "assumed")


def _gateways(order: Json) -> tuple[str, ...]:
    named = [text(row.get("gateway")) for row in json_objects(order.get("payments"))]
    named += [text(row.get("name")) for row in json_objects(order.get("transactions"))]
    return tuple(dict.fromkeys(filter(None, named)))


# --- checkouts and customers --------------------------------------------------------------------------------------


def _checkout(checkout: Json, store: Store) -> Iterator[Event]:
    token = identifier(checkout.get("token"))
    changed = parse_time(checkout.get("updatedAt")) or parse_time(checkout.get("created"))
    if not token or changed is None or "lines" not in checkout:
        raise InvalidPayload("expected a checkout in the body: token, created or lines is missing")
    meta = _metadata(checkout)
    customer = _customer(checkout, meta)
    if not customer.emails:
        return  # a cart: most storefronts make a checkout with the first product
    yield Event(
        milestone="checkout_started",
        occurred_at=changed,
        ids=present(
            checkout_token=token,
            customer_id=customer.id,
            **store.placeholder_values("meta", lambda key: meta.get(key, "")),
        ),
        customer=customer,
        **amounts(checkout, "totalPrice", store),
        page_url=_first(meta, PAGE_KEYS),
    )


def _registration(body: Json, store: Store) -> Iterator[Event | Skipped]:
    user, by = json_object(body.get("user")), json_object(body.get("issuingPrincipal"))
    customer_id, joined = local_id(user.get("id")), parse_time(user.get("dateJoined"))
    if not customer_id or joined is None:
        raise InvalidPayload("expected a customer in the body: id or dateJoined is missing")
    meta = _metadata(user)
    ids = {"customer_id": customer_id, **store.placeholder_values("meta", lambda key: meta.get(key, ""))}
    if user.get("isStaff") is True:
        yield Skipped("customer_registered", "an account of staff", ids)
    elif by.get("__typename") == "User" and local_id(by.get("id")) != customer_id:
        yield Skipped("customer_registered", "staff made the account", ids)
    else:
        yield Event("customer_registered", joined, ids, _customer({"user": user}, meta))


# --- parts of a body ----------------------------------------------------------------------------------------------


def local_id(value: object) -> str:
    """Return the id inside Saleor's global id: "Order:7168…" in base64 is 7168…; another text as it is."""
    found = identifier(value)
    try:
        inner = _LOCAL_ID.fullmatch(base64.b64decode(found.encode("ascii"), validate=True))
    except (binascii.Error, UnicodeEncodeError, ValueError):
        return found
    return inner[1].decode() if inner else found


def _metadata(part: Json) -> dict[str, str]:
    """Return the public metadata by key. Whoever has the checkout's id may write it, so it is as true as a cookie."""
    return {
        key: value
        for row in json_objects(part.get("metadata"))
        if (key := text(row.get("key"))) and (value := scalar_text(row.get("value")))
    }


def _first(meta: Mapping[str, str], keys: Iterable[str]) -> str:
    return next((meta[key] for key in keys if key in meta), "")


def _customer(part: Json, meta: Mapping[str, str]) -> Customer:
    user = json_object(part.get("user"))
    billing, shipping = _address(part.get("billingAddress")), _address(part.get("shippingAddress"))
    emails = (text(part.get("userEmail")), text(part.get("email")), text(user.get("email")))
    address = billing if billing != Address() else shipping
    return Customer(
        id=local_id(user.get("id")),
        emails=tuple(dict.fromkeys(filter(None, emails))),
        phones=tuple(dict.fromkeys((one.phone, one.country) for one in (billing, shipping) if one.phone)),
        first_name=text(user.get("firstName")) or address.first_name,
        last_name=text(user.get("lastName")) or address.last_name,
        address=address,
        destination=shipping if shipping.country else billing,
        ip=_first(meta, IP_KEYS),
        user_agent=_first(meta, AGENT_KEYS),
        locale=_locale(part.get("languageCodeEnum") or part.get("languageCode") or user.get("languageCode")),
        ttclid=_first(meta, TTCLID_KEYS) or query_parameter(_first(meta, PAGE_KEYS), "ttclid"),
        ttp=_first(meta, TTP_KEYS),
    )


def _locale(value: object) -> str:
    """Return EN_US as en-US."""
    language, _, region = text(value).partition("_")
    return f"{language.lower()}-{region}" if region else language.lower()


def _address(value: object) -> Address:
    fields = json_object(value)
    return Address(
        first_name=text(fields.get("firstName")),
        last_name=text(fields.get("lastName")),
        city=text(fields.get("city")),
        state=text(fields.get("countryArea")),
        postcode=text(fields.get("postalCode")),
        country=text(json_object(fields.get("country")).get("code")),
        phone=text(fields.get("phone")),
    )


def amounts(part: Json, total: str, store: Store) -> dict[str, Any]:
    """Return currency, total, items and breakdown of an order or checkout."""
    with_tax = part.get("displayGrossPrices") is True
    rows = json_objects(part.get("lines"))
    return {
        "currency": text(json_object(part.get(total)).get("currency")).upper(),
        "total": _gross(part.get(total)),
        "items": tuple(_item(row, with_tax) for row in rows),
        "breakdown": _breakdown(part, rows, with_tax) if store.mapping.needs_breakdown else None,
    }


def _gross(value: object) -> Decimal | None:
    return _amount(value, "gross")


def _amount(value: object, part: str) -> Decimal | None:
    """Return a part ("gross", "net", "tax") of a TaxedMoney."""
    return money(json_object(json_object(value).get(part)).get("amount"))


def _item(row: Json, with_tax: bool) -> Item:
    variant = json_object(row.get("variant"))
    product = json_object(variant.get("product"))
    quantity, part = whole_quantity(row.get("quantity")), "gross" if with_tax else "net"
    price, paid = _amount(row.get("unitPrice"), part), _amount(row.get("totalPrice"), part)
    if price is None and paid is not None:  # a checkout's lines state what is paid only in total
        digits = minor_digits(text(json_object(row.get("totalPrice")).get("currency")))
        price = (paid / quantity).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)
    return Item(
        product_id=identifier(product.get("id")),
        variant_id=identifier(row.get("productVariantId")) or identifier(variant.get("id")),
        sku=text(row.get("productSku")) or text(variant.get("sku")),
        name=text(row.get("productName")) or text(product.get("name")),
        category=text(json_object(product.get("category")).get("name")),
        quantity=quantity,
        price=price,
    )


def _breakdown(part: Json, rows: list[Json], with_tax: bool) -> TotalBreakdown:
    return TotalBreakdown(
        goods=_sum(rows, "net"),
        goods_tax=_sum(rows, "tax"),
        gift_cards=Decimal(0),  # a product like any other
        shipping=_amount(part.get("shippingPrice"), "net"),
        shipping_tax=_amount(part.get("shippingPrice"), "tax"),
        fees=Decimal(0),
        fees_tax=Decimal(0),
        tips=Decimal(0),
        duties=Decimal(0),
        priced_with_tax=with_tax,
    )


def _sum(rows: list[Json], part: str) -> Decimal | None:
    amounts = [_amount(row.get("totalPrice"), part) for row in rows]
    return None if None in amounts else sum((amount for amount in amounts if amount is not None), Decimal(0))
