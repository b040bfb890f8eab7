"""Translation of the event of `event.py`, which is near the connector's own."""

from collections.abc import Iterator
from datetime import datetime
from typing import get_args

from msgspec.structs import replace

from connector.plugin import (
    Address,
    Customer,
    Event,
    InvalidPayload,
    Item,
    Json,
    Milestone,
    OrderKind,
    Store,
    TotalBreakdown,
    Webhook,
    identifier,
    json_object,
    json_objects,
    money,
    parse_time,
    present,
    quantity_of_text,
    scalar_text,
    text,
    texts,
)

TOPICS: tuple[Milestone, ...] = get_args(Milestone)
UPDATED = "order_updated"  # says what is left of an order; for the books only
UNKNOWN = "unknown"  # the topic of a body that does not say which it is
CONSENT = "consent"  # consent_source.key, unless the store names another key of `meta`
KINDS: tuple[OrderKind, ...] = get_args(OrderKind)
_AMOUNTS = ("goods", "goods_tax", "gift_cards", "shipping", "shipping_tax", "fees", "fees_tax", "tips", "duties")
_OBJECT: dict[Milestone, tuple[str, str]] = {
    "order_placed": ("order", "id"),
    "order_paid": ("order", "id"),
    "checkout_started": ("checkout", "token"),
    "customer_registered": ("customer", "id"),
}


def translate(webhook: Webhook, store: Store) -> Iterator[Event]:
    """Translate an event. Raises InvalidPayload if it lacks what its type requires."""
    body = json_object(webhook.data)
    milestone = next((topic for topic in TOPICS if topic == body.get("type")), None)
    if milestone is None:
        raise InvalidPayload(f"type must be one of {', '.join((*TOPICS, UPDATED))}")
    occurred_at = required_time(body)
    required_id(body, milestone, *_OBJECT[milestone])
    order = json_object(body.get("order"))
    event = Event(
        milestone=milestone,
        occurred_at=occurred_at,
        ids=_ids(body, store),
        customer=_customer(body),
        kind=next((kind for kind in KINDS if kind == order.get("kind")), "web"),
        currency=text(body.get("currency")).upper(),
        total=money(body.get("total")),
        breakdown=breakdown(body) if store.mapping.needs_breakdown else None,
        items=tuple(_item(row) for row in json_objects(body.get("items"))),
        page_url=text(_browser(body).get("url")),
        referrer=text(_browser(body).get("referrer")),
        tags=texts(order.get("tags")),
        gateways=texts(order.get("payment_methods")),
        test=order.get("test") is True,
    )
    yield event
    if milestone == "order_placed" and store.orders.counts_as_paid(event.gateways):
        yield replace(event, milestone="order_paid")


def required_time(body: Json) -> datetime:
    """Return the time of an event. Raises InvalidPayload."""
    occurred_at = parse_time(body.get("occurred_at"))
    if occurred_at is None:
        raise InvalidPayload("occurred_at is missing or is no time such as 2026-11-24T10:00:00Z")
    return occurred_at


def required_id(body: Json, kind: str, part: str, field: str) -> str:
    """Return the id that an event of this type needs. Raises InvalidPayload."""
    found = identifier(json_object(body.get(part)).get(field))
    if not found:
        raise InvalidPayload(f"an event of type {kind} needs {part}.{field}")
    return found


def _ids(body: Json, store: Store) -> dict[str, str]:
    order, meta = json_object(body.get("order")), json_object(body.get("meta"))
    number = identifier(order.get("number"))
    answer = _browser(body).get("consent")
    consent = "yes" if answer is True else "no" if answer is False else ""

    def value(key: str) -> str:
        return scalar_text(meta.get(key)) or (consent if key == CONSENT else "")

    return present(
        order_id=identifier(order.get("id")),
        order_number=number,
        order_name=number,
        checkout_token=identifier(json_object(body.get("checkout")).get("token")),
        customer_id=identifier(json_object(body.get("customer")).get("id")),
        **store.placeholder_values("meta", value),
    )


def _browser(body: Json) -> Json:
    return json_object(body.get("browser"))


def _customer(body: Json) -> Customer:
    person, browser = json_object(body.get("customer")), _browser(body)
    billing, shipping = _address(person.get("address")), _address(person.get("shipping_address"))
    email, phone = text(person.get("email")), text(person.get("phone"))
    address = billing if billing != Address() else shipping
    return Customer(
        id=identifier(person.get("id")),
        emails=(email,) if email else (),
        phones=((phone, address.country or shipping.country),) if phone else (),
        first_name=text(person.get("first_name")) or address.first_name,
        last_name=text(person.get("last_name")) or address.last_name,
        address=address,
        destination=shipping if shipping.country else billing,
        ip=text(browser.get("ip")),
        user_agent=text(browser.get("user_agent")),
        locale=text(person.get("locale")),
        ttclid=text(browser.get("ttclid")),
        ttp=text(browser.get("ttp")),
    )


def _address(value: object) -> Address:
    fields = json_object(value)
    return Address(
        first_name=text(fields.get("first_name")),
        last_name=text(fields.get("last_name")),
        city=text(fields.get("city")),
        state=text(fields.get("state")),
        postcode=text(fields.get("postcode")),
        country=text(fields.get("country")),
    )


def _item(row: Json) -> Item:
    return Item(
        product_id=identifier(row.get("product_id")),
        variant_id=identifier(row.get("variant_id")),
        sku=text(row.get("sku")),
        name=text(row.get("name")),
        brand=text(row.get("brand")),
        category=text(row.get("category")),
        quantity=quantity_of_text(row.get("quantity")),
        price=money(row.get("price")),
    )


def breakdown(body: Json) -> TotalBreakdown:
    """Return the parts of the total, each None if the event does not say."""
    parts = json_object(body.get("breakdown"))
    amounts = {name: money(parts.get(name)) for name in _AMOUNTS}
    return TotalBreakdown(**amounts, priced_with_tax=parts.get("priced_with_tax") is True)
