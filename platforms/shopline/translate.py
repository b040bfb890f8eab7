"""Translation of SHOPLINE's orders, checkouts and customers into events.

Bodies: https://developer.shopline.com/docs/webhooks/webhook-topics (version v20260301). Nothing was recorded from a
running shop: all of it follows the documents and the vendor's SDK.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from msgspec.structs import replace

from connector.plugin import (
    Address,
    Customer,
    DataRequest,
    Event,
    InvalidPayload,
    Json,
    OrderKind,
    Skipped,
    Store,
    TimeSource,
    Webhook,
    identifier,
    json_object,
    json_objects,
    parse_time,
    present,
    query_parameter,
    safe_to_quote,
    scalar_text,
    text,
    texts,
)
from platforms.shopline import contact
from platforms.shopline.data_requests import DATA_REQUEST_TOPICS, data_requests
from platforms.shopline.money import checkout_money, order_money

ORDER_TOPICS = frozenset({"orders/create", "orders/paid", "orders/updated"})
CHECKOUT_TOPICS = frozenset({"checkouts/create", "checkouts/update"})
CUSTOMER_TOPICS = frozenset({"customers/create", "customers/enable"})
TOPICS = ORDER_TOPICS | CHECKOUT_TOPICS | CUSTOMER_TOPICS
RECORDED = DATA_REQUEST_TOPICS

PAID = frozenset({"paid", "partially_refunded"})
GONE = frozenset({"refunded", "voided"})
WITHOUT_ACCOUNT = frozenset({"0", "1", "2"})  # of a customer's `state`: disabled, not invited, invited; 3 has one
TEST_GATEWAY = "bogus"
PAID_AT_ONCE = timedelta(minutes=1)  # at most, from an order to a payment whose time is that of the order


def translate(webhook: Webhook, store: Store) -> Iterable[Event | Skipped | DataRequest]:
    """Translate a body by its topic. Raises InvalidPayload.

    All order topics are read the same way: they arrive in any sequence, with the order in any state.
    """
    body = webhook.data
    if not isinstance(body, dict):
        raise InvalidPayload("the body is not a JSON object")
    if webhook.topic in ORDER_TOPICS:
        return _order(webhook, body, store)
    if webhook.topic in CHECKOUT_TOPICS:
        return _checkout(body, store)
    if webhook.topic in CUSTOMER_TOPICS:
        return _registration(webhook, body)
    return data_requests(webhook, body, store)


def _order(webhook: Webhook, body: Json, store: Store) -> Iterator[Event | Skipped]:
    order_id, placed_at = identifier(body.get("id")), order_time(body)
    if not order_id or placed_at is None or not {"line_items", "financial_status"} <= body.keys():
        raise InvalidPayload(f"expected an order body for topic {webhook.topic}")
    status, gateways = text(body.get("financial_status")).lower(), texts(body.get("payment_gateway_names"))
    ids = _order_ids(body, order_id, store)
    if reason := _why_not_placed(body, status, store):
        yield Skipped("order_placed", reason, ids)
        return
    kind = _order_kind(body)
    placed = Event(
        milestone="order_placed",
        occurred_at=placed_at,
        ids=ids,
        customer=_customer(body, by_shopper=kind in ("web", "app", "b2b")),
        kind=kind,
        tags=tuple(tag.strip() for tag in text(body.get("tags")).split(",") if tag.strip()),
        gateways=gateways,
        test=TEST_GATEWAY in map(str.lower, gateways),  # SHOPLINE has no flag of test orders
        page_url=text(body.get("landing_site")),
        referrer=text(body.get("referring_site")),
        **order_money(body, store.mapping),
    )
    yield placed
    if status in (store.orders.paid_statuses or PAID):
        paid_at, source = _paid_at(webhook, body, placed_at)
        yield replace(placed, milestone="order_paid", occurred_at=paid_at, time_source=source)
    elif store.orders.counts_as_paid(gateways):
        yield replace(placed, milestone="order_paid")


def order_time(body: Json) -> datetime | None:
    """Return when an order was placed, or None."""
    return parse_time(body.get("order_at")) or parse_time(body.get("created_at"))


def _paid_at(webhook: Webhook, body: Json, placed_at: datetime) -> tuple[datetime, TimeSource]:
    """Return the time of payment, and how well it is known: the payments have it, but not in every topic."""
    changed, paid = parse_time(body.get("updated_at")), _payment_time(body)
    if webhook.topic == "orders/paid":
        paid = paid or parse_time(body.get("processed_at")) or changed
    if paid:
        return (paid, "stated") if paid - placed_at > PAID_AT_ONCE else (placed_at, "")
    return placed_at, "assumed" if webhook.delivery and changed and changed - placed_at > PAID_AT_ONCE else ""


def _payment_time(body: Json) -> datetime | None:
    """Return when the last payment that succeeded was made, if one states it."""
    payments = [row for row in json_objects(body.get("payment_details")) if text(row.get("pay_status")) == "paid"]
    return max(filter(None, (parse_time(row.get("processed_at")) for row in payments)), default=None)


def _why_not_placed(body: Json, status: str, store: Store) -> str:
    if text(body.get("cancelled_at")) or text(body.get("status")).lower() == "cancelled":
        return "the order was already cancelled when first seen"
    if store.orders.placed_statuses:
        counted = {*store.orders.placed_statuses, *(store.orders.paid_statuses or PAID)}
        shown = safe_to_quote(status) or "missing"
        return "" if status in counted else f"status {shown} does not count as placed (placed_statuses)"
    return f"the order was already {status} when first seen" if status in GONE else ""


def _order_kind(body: Json) -> OrderKind:
    """Return the kind of an order. The values of order_source are not published, but for pos."""
    if identifier(body.get("pos_location_id")) or text(body.get("order_source")).lower() == "pos":
        return "pos"
    if identifier(body.get("draft_order_seq")):
        return "draft"
    browser = bool(text(json_object(body.get("client_details")).get("user_agent")))
    if identifier(body.get("contract_seq")) and not browser:
        return "renewal"  # a subscription's first order has the shopper's browser
    if identifier(json_object(body.get("company")).get("id")) or text(body.get("po_number")):
        return "b2b"
    return "web"


def _order_ids(body: Json, order_id: str, store: Store) -> dict[str, str]:
    return present(
        order_id=order_id,
        order_number=text(body.get("name")),
        order_name=text(body.get("name")),
        checkout_token=identifier(body.get("checkout_token")),
        cart_token=identifier(body.get("cart_token")),
        customer_id=identifier(json_object(body.get("customer")).get("id")) or identifier(body.get("user_id")),
        **_placeholder_values(body, store),
    )


def _checkout(body: Json, store: Store) -> Iterator[Event]:
    token, created = identifier(body.get("token")), parse_time(body.get("created_at"))
    if not token or created is None or "line_items" not in body or "financial_status" in body:
        raise InvalidPayload("expected a checkout body: token, created_at or line_items is missing")
    yield Event(
        milestone="checkout_started",
        occurred_at=created,
        ids=present(
            checkout_token=token,
            cart_token=identifier(body.get("cart_token")),
            customer_id=identifier(json_object(body.get("customer")).get("id")) or identifier(body.get("user_id")),
            **_placeholder_values(body, store),
        ),
        customer=_customer(body, by_shopper=True),
        **checkout_money(body, store.mapping),
    )


def _registration(webhook: Webhook, body: Json) -> Iterator[Event | Skipped]:
    customer_id, created = identifier(body.get("id")), parse_time(body.get("created_at"))
    if not customer_id or created is None or "line_items" in body or "state" not in body:
        raise InvalidPayload(f"expected a customer body for topic {webhook.topic}")
    ids = {"customer_id": customer_id}
    if str(body.get("state")) in WITHOUT_ACCOUNT:  # a text in webhooks, a number in the API's answers
        yield Skipped("customer_registered", "the customer has no account (a guest or a newsletter sign-up)", ids)
        return
    person = {"customer": body, "email": body.get("email"), "billing_address": body.get("default_address")}
    yield Event("customer_registered", created, ids, _customer(person, by_shopper=False))


# --- parts of a body ----------------------------------------------------------------------------------------------


def _customer(body: Json, *, by_shopper: bool) -> Customer:
    person, details = json_object(body.get("customer")), json_object(body.get("client_details"))
    billing, shipping = _address(body.get("billing_address")), _address(body.get("shipping_address"))
    home = _address(person.get("addresses"))  # an object, not a list
    address = next((one for one in (billing, shipping, home) if one != Address()), Address())
    attributes, landing = _attributes(body), text(body.get("landing_site"))
    own_code, code = person.get("area_code"), body.get("phone_area_code")
    country = shipping.country or billing.country
    emails = contact.email(body.get("email")), contact.email(person.get("email"))
    phones = (
        (contact.phone(person.get("phone"), own_code or code), home.country or country),
        (contact.phone(body.get("phone"), code or own_code), country),
        (billing.phone, billing.country),
        (shipping.phone, shipping.country),
    )
    return Customer(
        id=identifier(person.get("id")) or identifier(body.get("user_id")),
        emails=tuple(dict.fromkeys(filter(None, emails))),
        phones=tuple(dict.fromkeys(phone for phone in phones if phone[0])),
        first_name=text(person.get("first_name")) or address.first_name,
        last_name=text(person.get("last_name")) or address.last_name,
        address=address,
        destination=next((one for one in (shipping, billing, home) if one.country), Address()),
        ip=(text(details.get("browser_ip")) or text(body.get("browser_ip"))) if by_shopper else "",
        user_agent=text(details.get("user_agent")) if by_shopper else "",
        locale=_locale(body.get("customer_locale")),
        ttclid=query_parameter(landing, "ttclid") or attributes.get("ttclid") or attributes.get("_ttclid", ""),
        ttp=attributes.get("_ttp") or attributes.get("ttp", ""),
    )


def _locale(value: object) -> str:
    """Return enSG as en-SG; another text as it is."""
    found = text(value)
    return f"{found[:2]}-{found[2:]}" if len(found) == 4 and found[2:].isupper() else found


def _address(value: object) -> Address:
    fields = json_object(value)
    code, name = text(fields.get("province_code")), text(fields.get("province"))
    return Address(
        first_name=text(fields.get("first_name")),
        last_name=text(fields.get("last_name")),
        city=text(fields.get("city")),
        state=name if not code or code.isdigit() else code,  # some codes are SHOPLINE's own numbers
        postcode=text(fields.get("zip")),
        country=text(fields.get("country_code")),
        phone=contact.phone(fields.get("phone")),
    )


def _attributes(body: Json) -> dict[str, str]:
    """Return the cart attributes (note_attributes) by name: values that a theme passes to the server."""
    return {
        name: value
        for row in json_objects(body.get("note_attributes"))
        if (name := text(row.get("name"))) and (value := scalar_text(row.get("value")))
    }


def _placeholder_values(body: Json, store: Store) -> dict[str, str]:
    attributes = _attributes(body)
    return store.placeholder_values("attribute", lambda name: attributes.get(name, ""))
