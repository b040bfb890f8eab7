"""Shopify's amounts: an order's total, its parts and its lines, all in one currency.

Orders carry each amount twice, as `name` (shop currency) and in `name_set` (shop and presentment).
https://shopify.dev/docs/api/admin-rest/latest/resources/order
"""

from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Decimal
from functools import partial
from typing import Any, Literal

from msgspec import Struct

from connector.core.event import Item, Parts
from connector.core.json_fields import Json, json_object, json_objects, money, numeric_id, text, whole_quantity

ZERO = Decimal(0)


class MoneyReader(Struct, frozen=True):
    """Reads amounts in one currency; `plain` says whether amounts without a `_set` are in it too."""

    side: Literal["presentment", "shop"]
    currency: str
    plain: bool

    def amount(self, row: Json, name: str) -> Decimal | None:
        """The amount of that name, or None if the shop does not give it in this currency."""
        shown = json_object(json_object(row.get(f"{name}_set")).get(f"{self.side}_money"))
        if text(shown.get("currency_code")).upper() == self.currency:
            return money(shown.get("amount"))
        return money(row.get(name)) if self.plain else None

    def paid(self, row: Json, price: Decimal | None) -> Decimal | None:
        """What a line or a shipping line cost after all discounts; with tax if the shop's prices have it."""
        if price is None:
            return None
        cuts = json_objects(row.get("discount_allocations") or row.get("applied_discounts"))
        return added(
            [price * whole_quantity(row.get("quantity")), *(negative(self.amount(cut, "amount")) for cut in cuts)]
        )

    def tax(self, row: Json) -> Decimal | None:
        """The tax in or on a line."""
        return added(self.amount(tax, "price") for tax in json_objects(row.get("tax_lines")))


def order_money(body: Json, wanted: str) -> dict[str, Any]:
    """`currency`, `total`, `parts` and `items` of an order: in the buyer's currency if wanted and given for all."""
    shop, shown = text(body.get("currency")).upper(), text(body.get("presentment_currency")).upper()
    own = MoneyReader("shop", shop, plain=True)
    if wanted == "presentment" and shown:
        return amounts_of(body, MoneyReader("presentment", shown, plain=shown == shop), otherwise=own)
    return amounts_of(body, own)


def amounts_of(body: Json, till: MoneyReader, otherwise: MoneyReader | None = None) -> dict[str, Any]:
    """The same through a till that is chosen already, or `otherwise` if the total or a price is not given in it."""
    lines = json_objects(body.get("line_items"))
    total, prices = till.amount(body, "total_price"), [till.amount(row, "price") for row in lines]
    if otherwise and None in (total, *prices):
        return amounts_of(body, otherwise)
    return {
        "currency": till.currency,
        "total": total,
        "parts": partial(_parts, body, till, lines),
        "items": tuple(_item(row, price, till) for row, price in zip(lines, prices, strict=True) if not _is_tip(row)),
    }


def _parts(body: Json, till: MoneyReader, lines: list[Json]) -> Parts:
    """The table of what a Shopify total is made of."""
    with_tax = body.get("taxes_included") is True
    goods = [row for row in lines if not _is_tip(row) and row.get("gift_card") is not True]
    cards = [row for row in lines if row.get("gift_card") is True]
    shipping = json_objects(body.get("shipping_lines"))
    goods_tax = added(till.tax(row) for row in goods + cards)
    shipping_tax = added(till.tax(row) for row in shipping)

    def net(found: list[Json]) -> Decimal | None:
        paid = added(till.paid(row, till.amount(row, "price")) for row in found)
        return added([paid, negative(added(till.tax(row) for row in found))]) if with_tax else paid

    return Parts(
        goods=net(goods),
        gift_cards=net(cards),
        goods_tax=goods_tax,
        shipping=net(shipping),
        shipping_tax=shipping_tax,
        fees=_optional(till, body, "original_total_additional_fees"),
        fees_tax=ZERO,
        tips=_optional(till, body, "total_tip_received"),
        duties=added(_optional(till, body, name) for name in ("original_total_duties", "total_duties")),  # or checkout
        priced_with_tax=with_tax,
    )


def _optional(till: MoneyReader, body: Json, name: str) -> Decimal | None:
    """An amount most orders do not have: absent is nothing, but one only given in another currency is unknown."""
    found = till.amount(body, name)
    if found is not None:
        return found
    elsewhere = money(body.get(name)) or body.get(f"{name}_set")
    return None if elsewhere else ZERO


def _item(row: Json, price: Decimal | None, till: MoneyReader) -> Item:
    paid, quantity = till.paid(row, price), whole_quantity(row.get("quantity"))
    return Item(
        product_id=numeric_id(row.get("product_id")),
        variant_id=numeric_id(row.get("variant_id")),
        sku=text(row.get("sku")),
        name=text(row.get("title")) or text(row.get("name")),
        brand=text(row.get("vendor")),
        quantity=quantity,
        price=price if paid is None or price is None else per_unit(paid, quantity, price),
    )


def _is_tip(row: Json) -> bool:
    """A tip may come as a line of its own; it is in total_tip_received already."""
    return bool(json_object(row.get("tip")))


def per_unit(paid: Decimal, quantity: int, like: Decimal) -> Decimal:
    """The price of one of several, with the decimals of `like`."""
    return (paid / quantity).quantize(like, ROUND_HALF_UP)


def added(amounts: Iterable[Decimal | None]) -> Decimal | None:
    """The sum; None if one of them is not known."""
    total = ZERO
    for amount in amounts:
        if amount is None:
            return None
        total += amount
    return total


def negative(amount: Decimal | None) -> Decimal | None:
    """To be taken away; None stays unknown."""
    return None if amount is None else -amount
