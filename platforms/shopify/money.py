"""Shopify's amounts: an order's total, its breakdown and its lines, all in one currency.

Orders carry each amount twice, as `name` (shop currency) and in `name_set` (shop and presentment); and several of them
as bought (`total_price`, `quantity`) and as left after edits, returns and refunds (`current_total_price`,
`current_quantity`). What is left is read: a removed line stays listed, and is not part of the sale.
https://shopify.dev/docs/api/admin-rest/latest/resources/order
"""

from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from connector.plugin import (
    TIKTOK_CURRENCIES,
    Bundle,
    Item,
    Json,
    MappingSettings,
    TotalBreakdown,
    identifier,
    json_object,
    json_objects,
    money,
    numeric_id,
    text,
    whole_quantity,
)
from connector.plugin.money_sets import AmountReader, added, negative, per_unit

ZERO = Decimal(0)


class MoneyReader(AmountReader, frozen=True):
    """Reads amounts as bought, and as left after edits and refunds."""

    def current(self, body: Json, name: str) -> Decimal | None:
        """Return the amount of this name that is left after edits and refunds; None as in `amount`."""
        left = self.amount(body, f"current_{name}")
        if left is not None:
            return left
        # Older versions do not state it, and some bodies only in the shop's currency.
        unchanged = money(body.get(f"current_{name}")) in (None, money(body.get(name)))
        return self.amount(body, name) if unchanged else None

    def left(self, row: Json) -> Decimal | None:
        """Return the part of a line's `paid` that is left."""
        return share(self.paid(row, self.amount(row, "price")), row)

    def shipping(self, row: Json) -> tuple[Decimal | None, Decimal | None]:
        """Return what is left of a shipping line after discounts, and the tax on it.

        A refunded part takes its share of the tax with it.
        """
        paid, tax = self.paid(row, self.amount(row, "price")), self.tax(row)
        left = ZERO if row.get("is_removed") is True else self.amount(row, "current_discounted_price")
        if left is None or left == paid:
            return paid, tax
        return left, (tax * left / paid).quantize(tax, ROUND_HALF_UP) if tax and paid else tax


def order_money(body: Json, choice: MappingSettings) -> dict[str, Any]:
    """Return `currency`, `total`, `breakdown` and `items` of an order, as fields of an Event.

    In the currency that the store chose, the buyer's or the shop's. The other one is taken if TikTok lists only that,
    or if the total or a price is missing in the buyer's.
    """
    shop, shown = text(body.get("currency")).upper(), text(body.get("presentment_currency")).upper()
    own = MoneyReader("shop", shop, plain=True)
    chosen, other = (shown, shop) if choice.currency == "presentment" else (shop, shown)
    if other in TIKTOK_CURRENCIES and chosen not in TIKTOK_CURRENCIES:
        chosen = other
    if shown and chosen == shown:
        return read_money(body, choice, MoneyReader("presentment", shown, plain=shown == shop), otherwise=own)
    return read_money(body, choice, own)


def read_money(
    body: Json, choice: MappingSettings, reader: MoneyReader, otherwise: MoneyReader | None = None
) -> dict[str, Any]:
    """Return the same fields read by `reader`, or by `otherwise` if `reader` lacks the total or a price."""
    lines = json_objects(body.get("line_items"))
    total, prices = reader.current(body, "total_price"), [reader.amount(row, "price") for row in lines]
    if otherwise and None in (total, *prices):
        return read_money(body, choice, otherwise)
    bundles = _bundles(body)
    items = (
        _item(row, price, left, reader, bundles)
        for row, price in zip(lines, prices, strict=True)
        if (left := kept_quantity(row)) and not _is_tip(row)
    )
    return {
        "currency": reader.currency,
        "total": total,
        "breakdown": _breakdown(body, reader, lines) if choice.needs_breakdown else None,
        "items": tuple(items),
    }


# --- the parts of a total -------------------------------------------------------------------------------------


def _breakdown(body: Json, reader: MoneyReader, lines: list[Json]) -> TotalBreakdown:
    """Return the amounts that make up a Shopify total."""
    with_tax = body.get("taxes_included") is True
    goods = [row for row in lines if not _is_tip(row)]
    cards = [row for row in goods if row.get("gift_card") is True]
    shipping = json_objects(body.get("shipping_lines"))
    shipped = [reader.shipping(row) for row in shipping]
    paid_shipping = added(left for left, _ in shipped)
    duties = _duties(body, reader)
    taxes = {
        "goods_tax": added(share(reader.tax(row), row) for row in goods),
        "shipping_tax": added(tax for _, tax in shipped),
        "duties_tax": added(share(reader.tax(duty), row) for row in goods for duty in json_objects(row.get("duties"))),
    }
    elsewhere = {"shipping_tax": paid_shipping, "duties_tax": duties}
    stated = reader.current(body, "total_tax")
    taxes = _checked(taxes, elsewhere, stated, len(lines) + len(shipping))

    def net(paid: Decimal | None, tax: Decimal | None) -> Decimal | None:
        return added([paid, negative(tax)]) if with_tax else paid

    card_tax = added(share(reader.tax(row), row) for row in cards)
    goods_tax = None if taxes["goods_tax"] is None else added([taxes["goods_tax"], negative(card_tax)])
    return TotalBreakdown(
        goods=net(added(reader.left(row) for row in goods if row.get("gift_card") is not True), goods_tax),
        gift_cards=net(added(map(reader.left, cards)), card_tax),
        shipping=net(paid_shipping, taxes["shipping_tax"]),
        fees=_optional(reader, body, "current_total_additional_fees", "original_total_additional_fees"),
        fees_tax=ZERO,
        tips=_tips(body, reader, lines),
        duties=duties,
        tax=added(taxes.values()) if stated is None else stated,
        items=added(map(reader.left, goods)),
        priced_with_tax=with_tax,
        **taxes,
    )


def _checked(
    taxes: dict[str, Decimal | None], elsewhere: dict[str, Decimal | None], stated: Decimal | None, rows: int
) -> dict[str, Decimal | None]:
    """Return the taxes of the parts if they add up to the `stated` tax; else those that are certain, and None.

    Some bodies state tax in total and none at their lines. All of it is on the goods then if nothing else costs
    anything (`elsewhere`). Each of the `rows` may be rounded.
    """
    total = added(taxes.values())
    if stated is None or (total is not None and abs(total - stated) <= rows * Decimal(1).scaleb(exponent(stated))):
        return taxes
    free: dict[str, Decimal | None] = {
        name: None if amount else ZERO for name, amount in elsewhere.items() if amount is not None
    }
    found = dict.fromkeys(taxes, None) | free
    if all(amount is not None for name, amount in found.items() if name != "goods_tax"):
        found["goods_tax"] = stated
    return found


def _duties(body: Json, reader: MoneyReader) -> Decimal | None:
    # Orders have the first two names, checkouts the third.
    of_order = _optional(reader, body, "current_total_duties", "original_total_duties")
    return added([of_order, _optional(reader, body, "total_duties")])


def _tips(body: Json, reader: MoneyReader, lines: list[Json]) -> Decimal | None:
    """Return the tips. `total_tip_received` is in the shop's currency alone; the line of a tip is in both."""
    rows = [row for row in lines if _is_tip(row)]
    return added(map(reader.left, rows)) if rows else _optional(reader, body, "total_tip_received")


def _optional(reader: MoneyReader, body: Json, *names: str) -> Decimal | None:
    """Return the first of amounts that most orders lack: zero if all are absent, None if only in another currency."""
    for name in names:
        amount = reader.amount(body, name)
        if amount is not None:
            return amount
    return None if any(money(body.get(name)) or body.get(f"{name}_set") for name in names) else ZERO


# --- lines ----------------------------------------------------------------------------------------------------


def _item(row: Json, price: Decimal | None, left: int, reader: MoneyReader, bundles: dict[str, Bundle]) -> Item:
    paid, bought = reader.paid(row, price), whole_quantity(row.get("quantity"))
    return Item(
        product_id=numeric_id(row.get("product_id")),
        variant_id=numeric_id(row.get("variant_id")),
        sku=text(row.get("sku")),
        name=text(row.get("title")) or text(row.get("name")),
        brand=text(row.get("vendor")),
        quantity=left,
        price=price if paid is None or price is None else per_unit(paid, bought, price),
        bundle=bundles.get(identifier(row.get("sales_line_item_group_id"))) if bundles else None,
    )


def _bundles(body: Json) -> dict[str, Bundle]:
    """Return the bundles of an order by their id; the order's lines are their parts.

    https://shopify.dev/docs/api/admin-graphql/latest/objects/LineItemGroup
    """
    found = {}
    for row in json_objects(body.get("line_item_groups")):
        if number := identifier(row.get("id")):
            found[number] = Bundle(
                id=number,
                product_id=numeric_id(row.get("product_id")),
                variant_id=numeric_id(row.get("variant_id")),
                sku=text(row.get("variant_sku")) or text(row.get("sku")),
                name=text(row.get("title")),
                quantity=whole_quantity(row.get("quantity")),
            )
    return found


def kept_quantity(row: Json) -> int:
    """Return the units of a line that are left after edits and refunds; 0 for a removed line."""
    bought, left = whole_quantity(row.get("quantity")), row.get("current_quantity")
    return min(left, bought) if isinstance(left, int) and not isinstance(left, bool) and left >= 0 else bought


def share(amount: Decimal | None, row: Json) -> Decimal | None:
    """Return the share of a line's amount that belongs to the units that are left.

    Discounts and taxes of a line are stated for the removed units, too.
    """
    if amount is None or row.get("current_quantity") == row.get("quantity"):
        return amount
    left, bought = kept_quantity(row), whole_quantity(row.get("quantity"))
    return (amount * left / bought).quantize(amount, ROUND_HALF_UP)


def _is_tip(row: Json) -> bool:
    """Return True for a tip in a line of its own."""
    return bool(json_object(row.get("tip")))


# --- arithmetic -----------------------------------------------------------------------------------------------


def exponent(amount: Decimal) -> int:
    """Return the exponent of an amount's last digit: -2 for 44.50."""
    found = amount.as_tuple().exponent
    return found if isinstance(found, int) else 0
