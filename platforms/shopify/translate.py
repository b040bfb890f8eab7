"""Translation of Shopify's orders, checkouts and customers into events.

Bodies: https://shopify.dev/docs/api/admin-rest/latest/resources/order (checkout, customer alike)
"""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from msgspec.structs import replace

from connector.plugin import (
    PERSONAL_DATA_WITHHELD,
    Address,
    Customer,
    CustomerType,
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
    numeric_id,
    parse_time,
    present,
    query_parameter,
    safe_to_quote,
    scalar_text,
    text,
    texts,
)
from platforms.shopify.data_requests import DATA_REQUEST_TOPICS, data_request
from platforms.shopify.money import MoneyReader, order_money, read_money
from platforms.shopify.order_kind import checkout_kind, order_kind

ORDER_TOPICS = frozenset({"orders/create", "orders/paid", "orders/updated"})
CHECKOUT_TOPICS = frozenset({"checkouts/create", "checkouts/update"})
CUSTOMER_TOPICS = frozenset({"customers/create", "customers/enable"})
TOPICS = ORDER_TOPICS | CHECKOUT_TOPICS | CUSTOMER_TOPICS
RECORDED = DATA_REQUEST_TOPICS

TEST_GATEWAY = "bogus"  # of development shops; its orders are marked as tests, too
PAID = frozenset({"paid", "partially_refunded"})
GONE = frozenset({"voided", "refunded"})
PAID_WEBHOOK_DELAY = timedelta(hours=1)  # at most, from an order's last change to its orders/paid webhook
PAID_AT_ONCE = timedelta(minutes=1)  # at most, from an order to a payment whose time is that of the order
IMPORT_TIME = timedelta(hours=1)  # at most, from an import to the webhooks that it causes
NO_PAGES = ("wallets/", "api/", "admin/", "password/", "cart/c/")
NO_PAGE_ENDINGS = (".json", ".js", ".xml")
ENABLE_WINDOW = timedelta(hours=24)  # since 2026-10 the first sign-in of an old customer sends customers/enable, too


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
    return (data_request(webhook, body, store),)


def _order(webhook: Webhook, body: Json, store: Store) -> Iterator[Event | Skipped]:
    order_id = numeric_id(body.get("id"))
    if not order_id or "line_items" not in body or not ("financial_status" in body or "order_number" in body):
        raise InvalidPayload(f"expected an order body for topic {webhook.topic}")
    created = placed_at(body)
    if created is None:
        raise InvalidPayload("the order has no created_at")
    status = text(body.get("financial_status")).lower()
    gateways = texts(body.get("payment_gateway_names"))
    test = body.get("test") is True or TEST_GATEWAY in map(str.lower, gateways)
    ids = _order_ids(body, order_id, store)
    # Shopify's samples are cancelled and voided; test orders reach Test Events only.
    reason = "" if test else _why_not_placed(body, status, store)
    if reason:
        yield Skipped("order_placed", reason, ids)
        return
    tags = tuple(tag.strip() for tag in text(body.get("tags")).split(",") if tag.strip())
    kind = order_kind(body, tags)
    customer = _order_customer(body, kind)
    identified = customer.emails or customer.phones or customer.first_name or customer.last_name
    placed = Event(
        milestone="order_placed",
        occurred_at=created,
        ids=ids,
        customer=customer,
        kind=kind,
        test=test,
        tags=tags,
        gateways=gateways,
        **order_money(body, store.mapping),
        page_url=_landing_page(body),
        referrer=text(body.get("referring_site")),
        changed_at=parse_time(body.get("updated_at")) if store.signals else None,
        notes=() if identified or not withholds(body) else (PERSONAL_DATA_WITHHELD,),
        customer_type=_customer_type(body, order_id),
    )
    yield placed
    # Shopify's own sample of orders/paid is voided; a merchant who sends it expects a payment.
    sample = test and webhook.topic == "orders/paid"
    if sample or status in (store.orders.paid_statuses or PAID):
        paid_at, source = _paid_at(webhook, body, created)
        yield replace(placed, milestone="order_paid", occurred_at=paid_at, time_source=source)
    elif store.orders.counts_as_paid(gateways):
        yield replace(placed, milestone="order_paid")


def placed_at(body: Json) -> datetime | None:
    """Return the time of an order: an imported one was processed before it was created in this shop."""
    stated = (parse_time(body.get(name)) for name in ("created_at", "processed_at"))
    return min(filter(None, stated), default=None)


def _paid_at(webhook: Webhook, body: Json, placed_at: datetime) -> tuple[datetime, TimeSource]:
    """Return the time of payment, and how well it is known.

    Only an orders/paid webhook tells it, or the completed schedules of net terms. Any other topic can arrive first; the
    order's own time stands in then, because that of an update would make an old order a sale of today.
    """
    created = parse_time(body.get("created_at")) or placed_at
    changed = parse_time(body.get("updated_at"))
    stated = _paid_webhook_at(webhook, changed)
    if stated and created - placed_at > IMPORT_TIME and stated - created <= IMPORT_TIME:
        stated = placed_at  # imported as paid
    stated = _terms_completed_at(body) or stated
    if stated:
        return stated, "stated" if stated - placed_at > PAID_AT_ONCE else ""
    # The shop's history has no headers, and no other webhook about to follow it.
    delivered = webhook.triggered_at is not None
    return placed_at, "assumed" if delivered and changed and changed - created > PAID_AT_ONCE else ""


def _paid_webhook_at(webhook: Webhook, changed: datetime | None) -> datetime | None:
    """Return the time in the headers of an orders/paid webhook; `changed` is the time of the order's last change.

    Topic and time are unsigned headers, so they are trusted only up to an hour after that change: an old body that is
    sent again must not become a sale of today.
    """
    if webhook.topic != "orders/paid" or webhook.triggered_at is None:
        return None
    return min(webhook.triggered_at, changed + PAID_WEBHOOK_DELAY) if changed else webhook.triggered_at


def _terms_completed_at(body: Json) -> datetime | None:
    """Return when the last payment of an order with payment terms was made, or None while one is open."""
    schedules = json_objects(json_object(body.get("payment_terms")).get("payment_schedules"))
    completed = [parse_time(schedule.get("completed_at")) for schedule in schedules]
    return None if None in completed else max((at for at in completed if at), default=None)


def _why_not_placed(body: Json, status: str, store: Store) -> str:
    if body.get("cancelled_at"):
        return "the order was already cancelled when first seen"
    if store.orders.placed_statuses:
        counted = {*store.orders.placed_statuses, *(store.orders.paid_statuses or PAID)}
        shown = safe_to_quote(status) or "missing"
        return "" if status in counted else f"status {shown} does not count as placed (placed_statuses)"
    return f"the order was already {status} when first seen" if status in GONE else ""


def withholds(body: Json) -> bool:
    """Return True if Shopify has removed every personal field from an order that has a shopper.

    The fields are null or absent; ip, user agent and country remain. Shopify does this to apps without access to
    protected customer data: https://shopify.dev/docs/apps/launch/protected-customer-data
    """
    customer, shipping = json_object(body.get("customer")), json_object(body.get("shipping_address"))
    if not customer and not shipping:
        return False  # an order without a customer, as at a point of sale
    addresses = (shipping, json_object(body.get("billing_address")), json_object(customer.get("default_address")))
    personal = ("email", "contact_email", "phone", "first_name", "last_name")
    in_address = (*personal, "name", "address1", "address2", "city", "zip")
    values = [part.get(name) for part in (body, customer) for name in personal]
    values += [address.get(name) for address in addresses for name in in_address]
    return not any(text(value) for value in values)


def _order_ids(body: Json, order_id: str, store: Store) -> dict[str, str]:
    return present(
        order_id=order_id,
        order_number=identifier(body.get("order_number")),
        order_name=text(body.get("name")),
        checkout_token=identifier(body.get("checkout_token")),
        cart_token=identifier(body.get("cart_token")),
        customer_id=numeric_id(json_object(body.get("customer")).get("id")),
        **_placeholder_values(body, store),
    )


def _order_customer(body: Json, kind: OrderKind) -> Customer:
    details = json_object(body.get("client_details"))
    # On orders entered by staff, ip and user agent are the staff member's.
    by_shopper = kind in ("web", "app", "b2b", "marketplace")
    return _customer(
        body,
        ip=(text(body.get("browser_ip")) or text(details.get("browser_ip"))) if by_shopper else "",
        user_agent=text(details.get("user_agent")) if by_shopper else "",
    )


def _customer(body: Json, ip: str = "", user_agent: str = "") -> Customer:
    person = json_object(body.get("customer"))
    billing, shipping = _address(body.get("billing_address")), _address(body.get("shipping_address"))
    home = _address(person.get("default_address"))
    address = next((a for a in (billing, shipping, home) if a != Address()), Address())
    attributes = _attributes(body)
    return Customer(
        id=numeric_id(person.get("id")),
        emails=_unique(body.get("email"), body.get("contact_email"), person.get("email")),
        phones=_phones(
            (text(body.get("phone")), shipping.country or billing.country),
            (billing.phone, billing.country),
            (shipping.phone, shipping.country),
            (text(person.get("phone")), home.country or billing.country),
        ),
        first_name=text(person.get("first_name")) or address.first_name,
        last_name=text(person.get("last_name")) or address.last_name,
        address=address,
        destination=next((a for a in (shipping, billing, home) if a.country), Address()),
        ip=ip,
        user_agent=user_agent,
        locale=text(body.get("customer_locale")),
        ttclid=query_parameter(text(body.get("landing_site")), "ttclid")
        or attributes.get("ttclid")
        or attributes.get("_ttclid", ""),
        ttp=attributes.get("_ttp") or attributes.get("ttp", ""),
    )


def _customer_type(body: Json, order_id: str) -> CustomerType:
    """Return "new" or "returning" by the customer's number of orders, in bodies of API versions before 2025-01.

    The number may or may not count this order already, and a later body counts later orders, too. `last_order_id` tells
    which; ids of orders grow. Without it nothing is certain, except that there was no order.
    """
    person = json_object(body.get("customer"))
    number, last = person.get("orders_count"), numeric_id(person.get("last_order_id"))
    if not isinstance(number, int) or isinstance(number, bool) or number < 0:
        return ""
    if not last:
        return "new" if number == 0 else ""
    if last == order_id:
        return "returning" if number > 1 else "new" if number == 1 else ""
    return "returning" if number > 0 and int(last) < int(order_id) else ""


def _checkout(body: Json, store: Store) -> Iterator[Event | Skipped]:
    token = identifier(body.get("token"))
    if not token or "line_items" not in body:
        raise InvalidPayload("expected a checkout body: token or line_items is missing")
    if "financial_status" in body or "order_number" in body:
        raise InvalidPayload("expected a checkout body, received an order")
    created = parse_time(body.get("created_at"))
    if created is None:
        raise InvalidPayload("the checkout has no created_at")
    kind: OrderKind = "staff" if identifier(body.get("user_id")) else checkout_kind(body)
    currency, shown = text(body.get("currency")).upper(), text(body.get("presentment_currency")).upper()
    # Checkout amounts have no _set, and their currency is not documented where the two differ.
    certain = not shown or shown == currency
    reader = MoneyReader("shop", currency if certain else "", plain=certain)
    yield Event(
        milestone="checkout_started",
        occurred_at=created,
        ids=present(
            checkout_token=token,
            cart_token=identifier(body.get("cart_token")),
            customer_id=numeric_id(json_object(body.get("customer")).get("id")),
            **_placeholder_values(body, store),
        ),
        customer=_customer(body),
        kind=kind,
        gateways=_unique(body.get("gateway")),
        **read_money(body, store.mapping, reader),
        notes=() if certain else ("value left out: the checkout's currency is uncertain",),
        page_url=_landing_page(body),
        referrer=text(body.get("referring_site")),
        changed_at=parse_time(body.get("updated_at")) if store.signals else None,
    )


def _registration(webhook: Webhook, body: Json) -> Iterator[Event | Skipped]:
    customer_id = numeric_id(body.get("id"))
    created = parse_time(body.get("created_at"))
    if not customer_id or "line_items" in body or not ("state" in body or "verified_email" in body):
        raise InvalidPayload(f"expected a customer body for topic {webhook.topic}")
    if created is None:
        raise InvalidPayload("the customer has no created_at")
    ids = {"customer_id": customer_id}
    if text(body.get("state")).lower() != "enabled":
        yield Skipped("customer_registered", "the customer has no account (a guest or a newsletter sign-up)", ids)
        return
    enabled = webhook.triggered_at or parse_time(body.get("updated_at"))
    if webhook.topic == "customers/enable" and (enabled is None or enabled - created > ENABLE_WINDOW):
        yield Skipped("customer_registered", "an existing customer's first sign-in is not a registration", ids)
        return
    yield Event(
        milestone="customer_registered",
        occurred_at=created,
        ids=ids,
        customer=_customer({"customer": body, "email": body.get("email")}),
    )


# --- parts of a body --------------------------------------------------------------------------------------


def _address(value: object) -> Address:
    fields = json_object(value)
    return Address(
        first_name=text(fields.get("first_name")),
        last_name=text(fields.get("last_name")),
        city=text(fields.get("city")),
        state=text(fields.get("province_code")) or text(fields.get("province")),
        postcode=text(fields.get("zip")),
        country=text(fields.get("country_code")),
        phone=text(fields.get("phone")),
    )


def _landing_page(body: Json) -> str:
    """Return the page on which the visit began, or "" if Shopify names an endpoint in its place.

    Buy-it-now buttons, headless shops, cart links and staff make an order from an address that no shopper saw.
    """
    landing = text(body.get("landing_site"))
    path = landing.partition("?")[0].partition("#")[0].lower()
    if "//" in path:
        path = path.partition("//")[2].partition("/")[2]
    path = f"{path.lstrip('/')}/"
    language, _, rest = path.partition("/")
    if len(language) == 2 or language[2:3] == "-":  # "en-ca", before any path
        path = rest
    is_page = not path.startswith(NO_PAGES) and not path.rstrip("/").endswith(NO_PAGE_ENDINGS)
    return landing if is_page else ""


def _attributes(body: Json) -> dict[str, str]:
    """Return the cart attributes (note_attributes) by name: values that a theme passes to the server."""
    return {
        name: value
        for row in json_objects(body.get("note_attributes"))
        if isinstance(name := row.get("name"), str) and (value := scalar_text(row.get("value")))
    }


def _placeholder_values(body: Json, store: Store) -> dict[str, str]:
    """Return the values of the cart attributes that the store's templates need."""
    return store.placeholder_values("attribute", lambda name: _attributes(body).get(name, ""))


def _phones(*candidates: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(dict.fromkeys(phone for phone in candidates if phone[0]))


def _unique(*values: object) -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(None, map(text, values))))
