"""Translation of BigCommerce's carts: a guest's cart has an e-mail address once the checkout is begun.

A cart changes when an item is added, and when a shopper enters an e-mail address in the guest checkout, its first step.
The cart of a customer who is signed in has an address from the beginning, so it does not tell.
https://developer.bigcommerce.com/docs/integrations/webhooks/events, https://developer.bigcommerce.com/docs/rest-management/carts
"""

from collections.abc import Iterator
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from connector.plugin import (
    Customer,
    Event,
    InvalidPayload,
    Item,
    Json,
    TotalBreakdown,
    identifier,
    json_object,
    json_objects,
    minor_digits,
    money,
    numeric_id,
    parse_time,
    text,
    whole_quantity,
)

LISTS = ("physical_items", "digital_items", "custom_items")


def checkout(cart: Json) -> Iterator[Event]:
    """Yield the checkout that a guest has begun with this cart; nothing for other carts. Raises InvalidPayload."""
    token, changed = identifier(cart.get("id")), parse_time(cart.get("updated_time"))
    if not token or changed is None:
        raise InvalidPayload("expected a cart: id or updated_time is missing")
    email = text(cart.get("email"))
    if not email or numeric_id(cart.get("customer_id")):
        return
    yield Event(
        "checkout_started",
        changed,
        {"checkout_token": token},
        Customer(emails=(email,), locale=text(cart.get("locale"))),
        **_amounts(cart),
    )


def _amounts(cart: Json) -> dict[str, Any]:
    """Return currency, total, items and breakdown. Shipping, and in some shops tax, are not known yet."""
    currency = text(json_object(cart.get("currency")).get("code")).upper()
    lists = json_object(cart.get("line_items"))
    rows = [row for name in LISTS for row in json_objects(lists.get(name))]
    with_tax = cart.get("tax_included") is True
    items = _sum([_line(row, currency) for row in rows])
    total = _amount(cart.get("cart_amount"), currency)
    gifts = _sum([_amount(row.get("amount"), currency) for row in json_objects(lists.get("gift_certificates"))])
    return {
        "currency": currency,
        "total": total,
        "items": tuple(_item(row, currency) for row in rows if not row.get("parent_id")),
        "breakdown": TotalBreakdown(
            goods=None if with_tax else items,
            gift_cards=gifts,
            shipping=Decimal(0),
            shipping_tax=Decimal(0),
            fees=Decimal(0),
            fees_tax=Decimal(0),
            tips=Decimal(0),
            duties=Decimal(0),
            items=_sum([items, gifts]),
            priced_with_tax=with_tax,
        ),
    }


def _item(row: Json, currency: str) -> Item:
    return Item(
        product_id=numeric_id(row.get("product_id")),
        variant_id=numeric_id(row.get("variant_id")),
        sku=text(row.get("sku")),
        name=text(row.get("name")),
        quantity=whole_quantity(row.get("quantity")),
        price=_amount(row.get("sale_price", row.get("list_price")), currency),
    )


def _line(row: Json, currency: str) -> Decimal | None:
    return _amount(row.get("extended_sale_price", row.get("extended_list_price")), currency)


def _amount(value: object, currency: str) -> Decimal | None:
    found = money(value)
    return None if found is None else found.quantize(Decimal(1).scaleb(-minor_digits(currency)), ROUND_HALF_UP)


def _sum(amounts: list[Decimal | None]) -> Decimal | None:
    return None if None in amounts else sum((amount for amount in amounts if amount is not None), Decimal(0))
