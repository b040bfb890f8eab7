"""Shopify's amounts: an order's total, its breakdown and its lines, all in one currency.

Orders carry each amount twice, as `name` (shop currency) and in `name_set` (shop and presentment).
https://shopify.dev/docs/api/admin-rest/latest/resources/order
"""

from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Literal

from msgspec import Struct

from connector.plugin import (
    Item,
    Json,
    MappingSettings,
    TotalBreakdown,
    json_object,
    json_objects,
    money,
    numeric_id,
    text,
    whole_quantity,
)

ZERO = Decimal(0)


class MoneyReader(Struct, frozen=True):
    """Reads amounts in one currency. `plain`: amounts without a `_set` are in this currency, too."""

    side: Literal["presentment", "shop"]
    currency: str
    plain: bool

    def amount(self, row: Json, name: str) -> Decimal | None:
        """Return the amount of this name, or None if the body does not have it in this currency."""
        shown = json_object(json_object(row.get(f"{name}_set")).get(f"{self.side}_money"))
        if text(shown.get("currency_code")).upper() == self.currency:
            return money(shown.get("amount"))
        return money(row.get(name)) if self.plain else None

    def paid(self, row: Json, price: Decimal | None) -> Decimal | None:
        """Return the price of a whole line or shipping line after discounts, with tax if the shop's prices have it."""
        if price is None:
            return None
        cuts = json_objects(row.get("discount_allocations") or row.get("applied_discounts"))
        return added(
            [price * whole_quantity(row.get("quantity")), *(negative(self.amount(cut, "amount")) for cut in cuts)]
        )

    def tax(self, row: Json) -> Decimal | None:
        """Return the tax included in, or added to, a line."""
        return added(self.amount(tax, "price") for tax in json_objects(row.get("tax_lines")))


def order_money(body: Json, choice: MappingSettings) -> dict[str, Any]:
    """Return `currency`, `total`, `breakdown` and `items` of an order, as fields of an Event.

    In the buyer's currency if the store chose it and the order has its total and all prices in it, otherwise in the
    shop's.
    """
    shop, shown = text(body.get("currency")).upper(), text(body.get("presentment_currency")).upper()
    own = MoneyReader("shop", shop, plain=True)
    if choice.currency == "presentment" and shown:
        return read_money(body, choice, MoneyReader("presentment", shown, plain=shown == shop), otherwise=own)
    return read_money(body, choice, own)


def read_money(
    body: Json, choice: MappingSettings, reader: MoneyReader, otherwise: MoneyReader | None = None
) -> dict[str, Any]:
    """Return the same fields read by `reader`, or by `otherwise` if `reader` lacks the total or a price."""
    lines = json_objects(body.get("line_items"))
    total, prices = reader.amount(body, "total_price"), [reader.amount(row, "price") for row in lines]
    if otherwise and None in (total, *prices):
        return read_money(body, choice, otherwise)
    return {
        "currency": reader.currency,
        "total": total,
        "breakdown": _breakdown(body, reader, lines) if choice.needs_breakdown else None,
        "items": tuple(_item(row, price, reader) for row, price in zip(lines, prices, strict=True) if not _is_tip(row)),
    }


def _breakdown(body: Json, reader: MoneyReader, lines: list[Json]) -> TotalBreakdown:
    """Return the amounts that make up a Shopify total."""
    with_tax = body.get("taxes_included") is True
    goods = [row for row in lines if not _is_tip(row) and row.get("gift_card") is not True]
    cards = [row for row in lines if row.get("gift_card") is True]
    shipping = json_objects(body.get("shipping_lines"))
    goods_tax = added(reader.tax(row) for row in goods + cards)
    shipping_tax = added(reader.tax(row) for row in shipping)

    def net(rows: list[Json]) -> Decimal | None:
        paid = added(reader.paid(row, reader.amount(row, "price")) for row in rows)
        return added([paid, negative(added(reader.tax(row) for row in rows))]) if with_tax else paid

    return TotalBreakdown(
        goods=net(goods),
        gift_cards=net(cards),
        goods_tax=goods_tax,
        shipping=net(shipping),
        shipping_tax=shipping_tax,
        fees=_optional(reader, body, "original_total_additional_fees"),
        fees_tax=ZERO,
        tips=_optional(reader, body, "total_tip_received"),
        # Orders have the first name, checkouts the second.
        duties=added(_optional(reader, body, name) for name in ("original_total_duties", "total_duties")),
        priced_with_tax=with_tax,
    )


def _optional(reader: MoneyReader, body: Json, name: str) -> Decimal | None:
    """Return an amount that most orders lack: zero if absent, None (unknown) if only in another currency."""
    amount = reader.amount(body, name)
    if amount is not None:
        return amount
    elsewhere = money(body.get(name)) or body.get(f"{name}_set")
    return None if elsewhere else ZERO


def _item(row: Json, price: Decimal | None, reader: MoneyReader) -> Item:
    paid, quantity = reader.paid(row, price), whole_quantity(row.get("quantity"))
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
    """Return True for a tip in a line of its own, which total_tip_received already includes."""
    return bool(json_object(row.get("tip")))


def per_unit(paid: Decimal, quantity: int, like: Decimal) -> Decimal:
    """Return the price of one unit of a line, rounded to the decimals of `like`."""
    return (paid / quantity).quantize(like, ROUND_HALF_UP)


def added(amounts: Iterable[Decimal | None]) -> Decimal | None:
    """Return the sum of the amounts, or None if one of them is None (unknown)."""
    total = ZERO
    for amount in amounts:
        if amount is None:
            return None
        total += amount
    return total


def negative(amount: Decimal | None) -> Decimal | None:
    """Return the amount with its sign reversed; None stays None."""
    return None if amount is None else -amount
