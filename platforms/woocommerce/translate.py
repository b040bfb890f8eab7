"""Translation of WooCommerce's orders, checkouts and customers into events.

Bodies: https://woocommerce.github.io/woocommerce-rest-api-docs/ (orders, customers; API v3)
"""

import html
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

from msgspec.structs import replace

from connector.plugin import (
    Address,
    Customer,
    CustomerType,
    Event,
    InvalidPayload,
    Item,
    Json,
    OrderKind,
    Skipped,
    Store,
    TotalBreakdown,
    Webhook,
    identifier,
    json_object,
    json_objects,
    money,
    numeric_id,
    parse_time,
    present,
    query_parameter,
    safe_to_quote,
    scalar_text,
    text,
    whole_quantity,
)
from platforms.woocommerce.addresses import read_address
from platforms.woocommerce.rest_errors import read_delivered_error

ORDER_TOPICS = frozenset({"order.created", "order.updated"})
CHECKOUT_TOPIC = "action.wc_tiktok_initiate_checkout"
TOPICS = ORDER_TOPICS | {CHECKOUT_TOPIC, "customer.created"}

DRAFTS = frozenset({"checkout-draft", "auto-draft", "draft", "new"})
TIPS = frozenset({"tip", "tips", "gratuity", "trinkgeld", "pourboire", "propina"})
GONE = frozenset({"trash", "failed", "cancelled", "refunded"})
MAX_META = 255  # characters of a value for event_id
MAX_DRAFT_AGE = timedelta(hours=24)  # of a block checkout, where nothing else tells an old draft from an old order
PLACED_AT = "_tiktok_placed_at"  # written by the plugin: Unix seconds
CUSTOMER_TYPE = "_tiktok_customer_type"  # written by the plugin: new, returning
CUSTOMER_TYPES: Mapping[str, CustomerType] = {"new": "new", "returning": "returning"}
TTCLID_KEYS = ("_tiktok_ttclid", "tiktok_ttclid", "_ttclid", "ttclid")
TTP_KEYS = ("_tiktok_ttp", "tiktok_ttp", "_ttp", "ttp")
SESSION_ENTRY = "_wc_order_attribution_session_entry"
SESSION_START = "_wc_order_attribution_session_start_time"
KINDS: Mapping[str, OrderKind] = {
    "checkout": "web",
    "store-api": "web",
    "admin": "staff",
    "rest-api": "api",
    "pos-rest-api": "pos",
}
RENEWAL_KEYS = ("_subscription_renewal", "subscription_renewal")

_TAG = re.compile(r"<[^>]{0,500}>")
_UNIX_SECONDS = re.compile(r"[1-6][0-9]{9}")


def translate(webhook: Webhook, store: Store) -> Iterable[Event | Skipped]:
    """Translate a body by its topic; an order's body is its state at delivery. Raises InvalidPayload."""
    body = webhook.data
    if not isinstance(body, dict):
        raise InvalidPayload("the body is not a JSON object")
    if "code" in body and "id" not in body:
        return [read_delivered_error(text(body["code"])[:80], webhook.topic)]
    if webhook.topic in ORDER_TOPICS:
        return _order(webhook.topic, body, store)
    if webhook.topic == CHECKOUT_TOPIC:
        return _checkout(body, webhook.received_at, store)
    return _registration(body, store)


def _order(topic: str, body: Json, store: Store) -> Iterator[Event | Skipped]:
    order_id = numeric_id(body.get("id"))
    status = text(body.get("status")).lower().removeprefix("wc-")
    if not order_id or not status or "line_items" not in body:
        raise InvalidPayload(f"expected an order body for topic {topic}")
    created = parse_time(body.get("date_created_gmt"))
    if created is None:
        raise InvalidPayload("the order has no date_created_gmt")
    if status in DRAFTS:
        return  # a cart that WooCommerce stores as an order: no milestone yet
    paid_at, meta = parse_time(body.get("date_paid_gmt")), meta_of(body)
    placed = _placed(body, order_id, placed_at(topic, body, meta, created, paid_at), meta, store)
    if reason := _why_not_placed(status, paid_at, store):
        yield Skipped("order_placed", reason, placed.ids)
        return
    yield placed
    if _is_paid(status, paid_at, placed.gateways, store):
        # Without a time of payment, use the order's: the time of an update would make an old order a sale of today.
        yield replace(placed, milestone="order_paid", occurred_at=paid_at or placed.occurred_at)


def _why_not_placed(status: str, paid: datetime | None, store: Store) -> str:
    """Return why the order does not count as placed, or "".

    A status in paid_statuses always counts. With placed_statuses, these count, too, and (without paid_statuses) a paid
    order that is not GONE. Otherwise every order counts, except one that is GONE, or pending and unpaid.
    """
    if store.orders.placed_statuses:
        if status in {*store.orders.placed_statuses, *store.orders.paid_statuses}:
            return ""
        if paid is None or store.orders.paid_statuses or status in GONE:
            return f"status {safe_to_quote(status)} does not count as placed (placed_statuses)"
    if status in store.orders.paid_statuses:
        return ""
    if status in GONE:
        return f"the order was already {status} when first seen"
    if status == "pending" and paid is None:
        return "sent to the payment page and not paid yet (status pending)"
    return ""


def _is_paid(status: str, paid: datetime | None, gateways: tuple[str, ...], store: Store) -> bool:
    if store.orders.counts_as_paid(gateways):
        return True
    return status in store.orders.paid_statuses if store.orders.paid_statuses else paid is not None


def placed_at(topic: str, body: Json, meta: Json, created: datetime, paid: datetime | None) -> datetime:
    """Return the time the order was placed; a block checkout creates its order as a draft, days earlier at times.

    The plugin writes the time. Without it, it is the payment or the last change, of which `order.created` has the
    first: that webhook is sent once, when the order is no draft any more. In an `order.updated` an old draft that was
    just placed looks like an old order that was just changed, so the time is sought in the day after the visit began
    (WooCommerce's order attribution) or the draft was made.
    """
    if text(body.get("created_via")) != "store-api":
        return created
    changed = parse_time(body.get("date_modified_gmt"))
    marked, visited = _unix_time(meta.get(PLACED_AT)), parse_time(meta.get(SESSION_START))
    if marked and created <= marked <= (changed or marked) + timedelta(minutes=1):
        return marked
    since = visited if visited and changed and created <= visited <= changed else created
    latest = None if topic == "order.created" else since + MAX_DRAFT_AGE
    stated = (at for at in (paid, changed) if at and since <= at)
    return min((at for at in stated if latest is None or at <= latest), default=since)


def _placed(body: Json, order_id: str, placed_at: datetime, meta: Json, store: Store) -> Event:
    kind = _order_kind(body, meta)
    landing = text(meta.get(SESSION_ENTRY))
    billing, shipping = read_address(body.get("billing")), read_address(body.get("shipping"))
    # On orders entered by staff or made by a program, ip and user agent are not the shopper's.
    by_shopper = kind in ("web", "app")
    customer = Customer(
        id=numeric_id(body.get("customer_id")),
        emails=_unique(text(json_object(body.get("billing")).get("email"))),
        phones=_phones(billing, shipping),
        first_name=billing.first_name or shipping.first_name,
        last_name=billing.last_name or shipping.last_name,
        address=billing if billing.country or billing.city else shipping,
        destination=shipping if shipping.country else billing,
        ip=text(body.get("customer_ip_address")) if by_shopper else "",
        user_agent=text(body.get("customer_user_agent")) if by_shopper else "",
        ttclid=_first(meta, TTCLID_KEYS) or query_parameter(landing, "ttclid"),
        ttp=_first(meta, TTP_KEYS),
    )
    number, with_tax = identifier(body.get("number")), body.get("prices_include_tax") is True
    return Event(
        milestone="order_placed",
        occurred_at=placed_at,
        ids=present(
            order_id=order_id,
            order_number=number,
            order_name=number,
            customer_id=customer.id,
            **_placeholder_values(meta, store),
        ),
        customer=customer,
        kind=kind,
        currency=text(body.get("currency")).upper(),
        total=money(body.get("total")),
        breakdown=breakdown(body) if store.mapping.needs_breakdown else None,
        gateways=_unique(text(body.get("payment_method")), text(body.get("payment_method_title"))),
        items=tuple(_order_item(row, with_tax) for row in json_objects(body.get("line_items")) if not _in_bundle(row)),
        page_url=landing,
        referrer=text(meta.get("_wc_order_attribution_referrer")),
        customer_type=CUSTOMER_TYPES.get(text(meta.get(CUSTOMER_TYPE)), ""),
    )


def _order_kind(body: Json, meta: Json) -> OrderKind:
    """Return the order's kind, by created_via (set by core and extensions), or by who placed it if unknown."""
    via = text(body.get("created_via")).lower()
    if via == "subscription" or meta.keys() & RENEWAL_KEYS:
        return "renewal"
    if via in KINDS:
        return KINDS[via]
    shopper = bool(text(body.get("customer_ip_address")) and text(body.get("customer_user_agent")))
    return "web" if shopper else "api"


def breakdown(body: Json) -> TotalBreakdown:
    """Return the amounts that make up a WooCommerce total. Core has no duties; tips are fees named as in TIPS."""
    lines, fees = json_objects(body.get("line_items")), json_objects(body.get("fee_lines"))
    tips = [fee for fee in fees if text(fee.get("name")).casefold() in TIPS]
    others = [fee for fee in fees if fee not in tips]
    return TotalBreakdown(
        goods=_sum(lines, "total"),
        gift_cards=Decimal(0),  # not in core; those of extensions count as goods
        goods_tax=_sum(lines, "total_tax"),
        shipping=money(body.get("shipping_total")),
        shipping_tax=money(body.get("shipping_tax")),
        fees=_sum(others, "total"),
        fees_tax=_sum(fees, "total_tax"),
        tips=_sum(tips, "total"),
        duties=Decimal(0),
        priced_with_tax=body.get("prices_include_tax") is True,
    )


def _sum(rows: list[Json], name: str) -> Decimal | None:
    amounts = [money(row.get(name)) for row in rows]
    return None if None in amounts else sum((amount for amount in amounts if amount is not None), Decimal(0))


def _in_bundle(row: Json) -> bool:
    """Return True for a part of another line (Product Bundles, Composite Products): its parent's line counts."""
    return bool(row.get("bundled_by") or row.get("composite_parent"))


def _order_item(row: Json, with_tax: bool) -> Item:
    quantity = whole_quantity(row.get("quantity"))
    total = money(row.get("total"))
    if with_tax and total is not None and (tax := money(row.get("total_tax"))) is not None:
        total += tax  # the price shown to the shopper
    return Item(
        product_id=numeric_id(row.get("product_id")),
        variant_id=numeric_id(row.get("variation_id")),
        sku=text(row.get("sku")),
        name=plain(text(row.get("name"))),
        quantity=quantity,
        # The line's own `price` is an unrounded float (13.950000000000001); its total is exact.
        price=None if total is None else _per_unit(total, quantity),
    )


def _per_unit(total: Decimal, quantity: int) -> Decimal:
    return total if quantity == 1 else (total / quantity).quantize(total, ROUND_HALF_UP)


def _checkout(body: Json, received_at: datetime, store: Store) -> Iterator[Event | Skipped]:
    """Translate the body of `do_action('wc_tiktok_initiate_checkout', $data)`; core has no checkout webhook."""
    if text(body.get("action")) != "wc_tiktok_initiate_checkout":
        raise InvalidPayload(f"expected a checkout body for topic {CHECKOUT_TOPIC}")
    data = json_object(body.get("arg"))
    token = identifier(data.get("token")) or identifier(data.get("event_id"))
    if not token:
        yield Skipped("checkout_started", "no checkout token")
        return
    url = text(data.get("url"))
    yield Event(
        milestone="checkout_started",
        occurred_at=_unix_time(data.get("event_time")) or received_at,
        ids=present(
            checkout_token=token,
            customer_id=numeric_id(data.get("customer_id")),
            **_placeholder_values(data, store),
        ),
        customer=Customer(
            id=numeric_id(data.get("customer_id")),
            emails=_unique(text(data.get("email"))),
            phones=_phones(Address(phone=text(data.get("phone")), country=text(data.get("country")))),
            destination=Address(country=text(data.get("country"))),
            ip=text(data.get("ip")),
            user_agent=text(data.get("user_agent")),
            locale=text(data.get("locale")),
            ttclid=text(data.get("ttclid")) or query_parameter(url, "ttclid"),
            ttp=text(data.get("ttp")),
        ),
        currency=text(data.get("currency")).upper(),
        total=money(data.get("total")),
        breakdown=TotalBreakdown(goods=_goods(data), gift_cards=Decimal(0)) if store.mapping.needs_breakdown else None,
        items=tuple(
            Item(
                product_id=numeric_id(row.get("product_id")),
                variant_id=numeric_id(row.get("variation_id")),
                sku=text(row.get("sku")),
                name=plain(text(row.get("name"))),
                category=plain(text(row.get("category"))),
                quantity=whole_quantity(row.get("quantity")),
                price=money(row.get("price")),
            )
            for row in json_objects(data.get("line_items"))
        ),
        page_url=url,
        referrer=text(data.get("referrer")),
    )


def _goods(data: Json) -> Decimal | None:
    """Return the sum of a cart's items at the prices of the snippet; it does not itemise the rest of the total."""
    prices = [
        (money(row.get("price")), whole_quantity(row.get("quantity"))) for row in json_objects(data.get("line_items"))
    ]
    if any(price is None for price, _ in prices):
        return None
    return sum((price * quantity for price, quantity in prices if price is not None), Decimal(0))


def _registration(body: Json, store: Store) -> Iterator[Event | Skipped]:
    customer_id = numeric_id(body.get("id"))
    if not customer_id or "role" not in body:
        raise InvalidPayload("expected a customer body for topic customer.created")
    created = parse_time(body.get("date_created_gmt"))
    if created is None:
        raise InvalidPayload("the customer has no date_created_gmt")
    if (role := text(body.get("role"))) != "customer":
        why = f"the new user is not a customer (role {safe_to_quote(role) or 'missing'})"
        yield Skipped("customer_registered", why, {"customer_id": customer_id})
        return
    billing, shipping, meta = read_address(body.get("billing")), read_address(body.get("shipping")), meta_of(body)
    yield Event(
        milestone="customer_registered",
        occurred_at=created,
        ids={"customer_id": customer_id, **_placeholder_values(meta, store)},
        customer=Customer(
            id=customer_id,
            emails=_unique(text(body.get("email")), text(json_object(body.get("billing")).get("email"))),
            phones=_phones(billing, shipping),
            first_name=text(body.get("first_name")) or billing.first_name,
            last_name=text(body.get("last_name")) or billing.last_name,
            address=billing if billing.country or billing.city else shipping,
            destination=shipping if shipping.country else billing,
            ip=text(meta.get("tiktok_ip")),
            user_agent=text(meta.get("tiktok_user_agent")),
            ttclid=_first(meta, TTCLID_KEYS),
            ttp=_first(meta, TTP_KEYS),
        ),
    )


# --- parts of a body ---------------------------------------------------------------------------------


def plain(name: str) -> str:
    """Return a product name as plain text, without the tags and entities that WordPress allows."""
    return html.unescape(_TAG.sub("", name)).strip()


def _unix_time(value: object) -> datetime | None:
    """Return Unix seconds, as a number or as digits, as a time; None for anything else."""
    written = str(value) if isinstance(value, int | str) else ""
    return datetime.fromtimestamp(int(written), UTC) if _UNIX_SECONDS.fullmatch(written) else None


def meta_of(body: Json) -> Json:
    """Return the meta of an order or customer by key; the last value of a repeated key, as in WordPress."""
    return {
        key: row.get("value") for row in json_objects(body.get("meta_data")) if isinstance(key := row.get("key"), str)
    }


def _placeholder_values(meta: Json, store: Store) -> dict[str, str]:
    """Return the values that the templates need.

    `meta`: the order's or customer's meta, or a checkout's `data`.
    """

    def value(key: str) -> str:
        found = scalar_text(meta.get(key))
        return found if len(found) <= MAX_META else ""

    return store.placeholder_values("meta", value)


def _first(meta: Json, keys: tuple[str, ...]) -> str:
    for key in keys:
        if found := text(meta.get(key)):
            return found
    return ""


def _phones(*addresses: Address) -> tuple[tuple[str, str], ...]:
    return tuple(dict.fromkeys((a.phone, a.country) for a in addresses if a.phone))


def _unique(*values: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(None, values)))
