"""Translation of BigCommerce's orders, customers and carts, as its API returns them, into events.

Orders: https://developer.bigcommerce.com/docs/rest-management/orders (v2), their statuses:
https://developer.bigcommerce.com/docs/rest-management/orders/order-status
Customers: https://developer.bigcommerce.com/docs/rest-management/customers (v3)
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
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
    TotalBreakdown,
    Webhook,
    identifier,
    json_object,
    json_objects,
    mail_time,
    minor_digits,
    money,
    numeric_id,
    parse_time,
    present,
    safe_to_quote,
    text,
    whole_quantity,
)
from platforms.bigcommerce.carts import checkout

ORDER, CUSTOMER, CART = "order", "customer", "cart"  # topics of what the API returns; no webhook has them
TOPICS = frozenset({ORDER, CUSTOMER, CART})

INCOMPLETE = frozenset({0, 1})  # the payment page was reached, or the checkout begun, and no more
GONE: Mapping[int, str] = {5: "cancelled", 6: "declined"}
PAID_STATUSES = frozenset({2, 3, 8, 9, 10, 11})  # shipped, partially shipped, awaiting …, completed
PAID = frozenset({"captured", "paid", "partially refunded", "refunded"})
KINDS: Mapping[str, OrderKind] = {
    "www": "web",
    "checkout_api": "web",
    "iphone": "app",
    "ipad": "app",
    "android": "app",
    "mobile": "app",
    "manual": "staff",
}
MARKETPLACES = ("amazon", "ebay", "walmart", "facebook", "google")
TEST_GATEWAY = "test payment gateway"


def translate(webhook: Webhook, store: Store) -> Iterator[Event | Skipped]:
    """Translate an order, a customer or a cart. Raises InvalidPayload."""
    body = json_object(webhook.data)
    if webhook.topic == CART:
        return checkout(body)
    return _order(body, store) if webhook.topic == ORDER else _registration(body)


# --- orders -------------------------------------------------------------------------------------------------------


def _order(order: Json, store: Store) -> Iterator[Event | Skipped]:
    order_id, created, status = what_it_is(order)
    if status in INCOMPLETE or order.get("is_deleted") is True:
        return
    ids = present(
        order_id=order_id,
        order_number=order_id,
        order_name=order_id,
        checkout_token=identifier(order.get("cart_id")),
        customer_id=numeric_id(order.get("customer_id")),
    )
    names = [text(order.get("status")), text(order.get("custom_status"))]
    if status in GONE and not _chosen(names, store.orders.placed_statuses):
        yield Skipped("order_placed", f"the order was already {GONE[status]} when first seen", ids)
        return
    gateways = tuple(filter(None, (text(order.get("payment_method")), text(order.get("payment_provider_id")))))
    placed = Event(
        milestone="order_placed",
        occurred_at=created,
        ids=ids,
        customer=_customer(order),
        kind=_kind(order),
        gateways=tuple(dict.fromkeys(gateways)),
        test=TEST_GATEWAY in (gateway.casefold() for gateway in gateways),
        **amounts(order, store),
    )
    is_paid, placed_statuses = _was_paid(order, status, names, store), store.orders.placed_statuses
    if placed_statuses and not is_paid and not _chosen(names, placed_statuses):
        shown = " ".join(map(safe_to_quote, names[0].lower().split())) or "missing"
        yield Skipped("order_placed", f"status {shown} does not count as placed (placed_statuses)", ids)
        return
    yield placed
    # The API has no time of payment. That of the order is the same whether a webhook or the history brought it, so an
    # order that was paid before the store went live does not count anew when it is shipped.
    if is_paid or store.orders.counts_as_paid(gateways):
        yield replace(placed, milestone="order_paid")


def what_it_is(order: Json) -> tuple[str, datetime, int]:
    """Return id, time and status of an order. Raises InvalidPayload if it is none."""
    order_id, created, status = (
        numeric_id(order.get("id")),
        mail_time(order.get("date_created")),
        order.get("status_id"),
    )
    if not order_id or created is None or not isinstance(status, int) or isinstance(status, bool):
        raise InvalidPayload("expected an order: id, date_created or status_id is missing")
    return order_id, created, status


def _was_paid(order: Json, status: int, names: Sequence[str], store: Store) -> bool:
    if store.orders.paid_statuses:
        return _chosen(names, store.orders.paid_statuses)
    return status in PAID_STATUSES or text(order.get("payment_status")).casefold() in PAID


def _chosen(names: Sequence[str], chosen: Sequence[str]) -> bool:
    wanted = {one.casefold() for one in chosen}
    return any(name.casefold() in wanted for name in names if name)


def _kind(order: Json) -> OrderKind:
    source, external = text(order.get("order_source")).casefold(), text(order.get("external_source")).casefold()
    if external.startswith("pos"):
        return "pos"
    if any(name in part for name in MARKETPLACES for part in (source, external)):
        return "marketplace"
    return KINDS.get(source, "api" if source else "web")


def _customer(order: Json) -> Customer:
    billing, shipping = json_object(order.get("billing_address")), _shipping(order)
    address, destination = _address(billing), _address(shipping)
    emails = (text(billing.get("email")), text(shipping.get("email")))
    return Customer(
        id=numeric_id(order.get("customer_id")),
        emails=tuple(dict.fromkeys(filter(None, emails))),
        phones=tuple(dict.fromkeys((one.phone, one.country) for one in (address, destination) if one.phone)),
        first_name=address.first_name or destination.first_name,
        last_name=address.last_name or destination.last_name,
        address=address if address != Address() else destination,
        destination=destination if destination.country else address,
        ip=text(order.get("ip_address")) or text(order.get("ip_address_v6")),
        locale=text(order.get("customer_locale")),
    )


def _shipping(order: Json) -> Json:
    return next(iter(json_objects(json_object(order.get("consignments")).get("shipping"))), {})


def _address(fields: Json) -> Address:
    return Address(
        first_name=text(fields.get("first_name")),
        last_name=text(fields.get("last_name")),
        city=text(fields.get("city")) or text(fields.get("city_name")),
        state=text(fields.get("state")) or text(fields.get("state_or_province")),
        postcode=text(fields.get("zip")) or text(fields.get("postal_code")),
        country=text(fields.get("country_iso2")) or text(fields.get("country_code")),
        phone=text(fields.get("phone")),
    )


# --- amounts ------------------------------------------------------------------------------------------------------


def amounts(order: Json, store: Store) -> dict[str, Any]:
    """Return currency, total, items and breakdown; amounts have four decimals, of which the currency's are kept.

    Amounts are in the currency that the shopper pays in, `default_currency_code`; `currency_code` is that of the
    storefront's display. https://developer.bigcommerce.com/docs/rest-management/orders
    """
    currency = (text(order.get("default_currency_code")) or text(order.get("currency_code"))).upper()
    with_tax = order.get("is_tax_inclusive_pricing") is True
    rows = _products(order)
    return {
        "currency": currency,
        "total": _amount(order.get("total_inc_tax"), currency),
        # A part of a bundle has no price of its own: the bundle's line counts.
        "items": tuple(_item(row, currency, with_tax) for row in rows if not row.get("parent_order_product_id")),
        "breakdown": _breakdown(order, rows, currency, with_tax) if store.mapping.needs_breakdown else None,
    }


def _amount(value: object, currency: str) -> Decimal | None:
    return rounded(money(value), currency)


def _products(order: Json) -> list[Json]:
    """Return the lines of all consignments, or of `products`; a line that is only a link has no product."""
    parts = json_object(order.get("consignments"))
    consignments = [row for name in ("pickups", "shipping", "downloads") for row in json_objects(parts.get(name))]
    consignments += json_objects(json_object(parts.get("email")).get("gift_certificates"))
    rows = [row for one in consignments for row in json_objects(one.get("line_items"))]
    rows = rows or json_objects(order.get("products"))
    return [row for row in rows if "product_id" in row or "name" in row]


def _item(row: Json, currency: str, with_tax: bool) -> Item:
    return Item(
        product_id=numeric_id(row.get("product_id")),
        variant_id=numeric_id(row.get("variant_id")),
        sku=text(row.get("sku")),
        name=text(row.get("name")),
        brand=text(row.get("brand")),
        quantity=whole_quantity(row.get("quantity")),
        price=_paid_price(row, currency, with_tax),
    )


def _line_total(row: Json, with_tax: bool) -> Decimal | None:
    """Return what is paid for a line after its discounts; only the total with tax is stated after them."""
    gross, discounted = money(row.get("total_inc_tax")), money(row.get("discounted_total_inc_tax"))
    if with_tax:
        return gross if discounted is None else discounted
    net = money(row.get("total_ex_tax"))
    if net is None or not gross or discounted is None:
        return net
    return net * discounted / gross


def _paid_price(row: Json, currency: str, with_tax: bool) -> Decimal | None:
    total = _line_total(row, with_tax)
    if total is None:
        return _amount(row.get("price_inc_tax" if with_tax else "price_ex_tax"), currency)
    return rounded(total / whole_quantity(row.get("quantity")), currency)


def _line_tax(row: Json, currency: str) -> Decimal | None:
    with_tax, without = (rounded(_line_total(row, taxed), currency) for taxed in (True, False))
    return None if with_tax is None or without is None else with_tax - without


def _breakdown(order: Json, rows: list[Json], currency: str, with_tax: bool) -> TotalBreakdown:
    def amount(name: str) -> Decimal | None:
        return _amount(order.get(name), currency)

    gift = [row for row in rows if text(row.get("type")) == "giftcertificate"]
    goods = [row for row in rows if row not in gift]
    fees = [amount(name) for name in ("handling_cost_ex_tax", "wrapping_cost_ex_tax")]
    fees_tax = [amount(name) for name in ("handling_cost_tax", "wrapping_cost_tax")]
    return TotalBreakdown(
        goods=_sum([rounded(_line_total(row, False), currency) for row in goods]),
        gift_cards=_sum([rounded(_line_total(row, False), currency) for row in gift]),
        goods_tax=_sum([_line_tax(row, currency) for row in goods]) if with_tax else None,  # of prices as shown
        shipping=amount("shipping_cost_ex_tax"),
        shipping_tax=amount("shipping_cost_tax"),
        fees=_sum(fees),
        fees_tax=_sum(fees_tax),
        tips=Decimal(0),
        duties=Decimal(0),
        tax=amount("total_tax"),
        items=_sum([rounded(_line_total(row, with_tax), currency) for row in rows]),
        priced_with_tax=with_tax,
    )


def rounded(value: Decimal | None, currency: str) -> Decimal | None:
    """Return the amount with the decimals of its currency."""
    return None if value is None else value.quantize(Decimal(1).scaleb(-minor_digits(currency)), ROUND_HALF_UP)


def _sum(amounts: list[Decimal | None]) -> Decimal | None:
    return None if None in amounts else sum((amount for amount in amounts if amount is not None), Decimal(0))


# --- customers ----------------------------------------------------------------------------------------------------


def _registration(body: Json) -> Iterator[Event | Skipped]:
    customer_id, created = numeric_id(body.get("id")), parse_time(body.get("date_created"))
    if not customer_id or created is None:
        raise InvalidPayload("expected a customer: id or date_created is missing")
    ip = text(body.get("registration_ip_address"))
    if not ip:
        yield Skipped(
            "customer_registered", "staff, an import or an app made the account", {"customer_id": customer_id}
        )
        return
    address = _address(next(iter(json_objects(body.get("addresses"))), {}))
    phones = {text(body.get("phone")): address.country, address.phone: address.country}
    yield Event(
        "customer_registered",
        created,
        {"customer_id": customer_id},
        Customer(
            id=customer_id,
            emails=tuple(filter(None, [text(body.get("email"))])),
            phones=tuple((phone, country) for phone, country in phones.items() if phone),
            first_name=text(body.get("first_name")),
            last_name=text(body.get("last_name")),
            address=address,
            destination=address,
            ip=ip,
        ),
    )
