"""SHOPLINE's amounts: total, breakdown and items, all in one currency.

Orders have no `total_price`; `current_total_price` is the total. Amounts of checkouts are numbers without a `_set`.
https://developer.shopline.com/docs/admin-rest-api/order/order-management/get-orders
"""

from decimal import Decimal
from typing import Any

from connector.plugin import (
    TIKTOK_CURRENCIES,
    Item,
    Json,
    MappingSettings,
    TotalBreakdown,
    identifier,
    json_objects,
    text,
    whole_quantity,
)
from connector.plugin.money_sets import AmountReader, added, negative, per_unit


def order_money(body: Json, choice: MappingSettings) -> dict[str, Any]:
    """Return `currency`, `total`, `breakdown` and `items` of an order, as fields of an Event.

    In the currency that the store chose; in the shop's if the buyer's lacks the total or a price, or if TikTok lists
    only the shop's.
    """
    shop, shown = text(body.get("currency")).upper(), text(body.get("presentment_currency")).upper()
    own = AmountReader("shop", shop, plain=True)
    listed = shown in TIKTOK_CURRENCIES or shop not in TIKTOK_CURRENCIES
    if not shown or choice.currency == "shop" or not listed:
        return _read(body, choice, own, "current_")
    chosen = AmountReader("presentment", shown, plain=shown == shop)
    found = _read(body, choice, chosen, "current_")
    incomplete = found["total"] is None or any(item.price is None for item in found["items"])
    return _read(body, choice, own, "current_") if incomplete else found


def checkout_money(body: Json, choice: MappingSettings) -> dict[str, Any]:
    """Return the same of a checkout, whose currency is certain only if the buyer's is the shop's."""
    shop, shown = text(body.get("currency")).upper(), text(body.get("presentment_currency")).upper()
    certain = not shown or shown == shop
    return _read(body, choice, AmountReader("shop", shop if certain else "", plain=certain), "")


def _read(body: Json, choice: MappingSettings, reader: AmountReader, prefix: str) -> dict[str, Any]:
    rows = [_with_set(row) for row in json_objects(body.get("line_items"))]
    bought = {identifier(row.get("variant_id")) for row in rows}
    lines = [row for row in rows if not _is_part(row, bought)]
    return {
        "currency": reader.currency,
        "total": reader.amount(body, f"{prefix}total_price"),
        "breakdown": _breakdown(body, reader, lines, prefix) if choice.needs_breakdown else None,
        "items": tuple(_item(row, reader) for row in lines),
    }


def _with_set(row: Json) -> Json:
    """Return a line whose `priceSet`, as version v20251201 spells it, is `price_set`."""
    return {**row, "price_set": row["priceSet"]} if "priceSet" in row and "price_set" not in row else row


def _is_part(row: Json, bought: set[str]) -> bool:
    """Return True for a part of a bundle that is a line itself: the bundle's line has the price."""
    return row.get("is_bundle_component") is True and identifier(row.get("bundle_parent_variant_id")) in bought


def _item(row: Json, reader: AmountReader) -> Item:
    price, quantity = reader.amount(row, "price"), whole_quantity(row.get("quantity"))
    paid = reader.paid(row, price)
    return Item(
        product_id=identifier(row.get("product_id")),
        variant_id=identifier(row.get("variant_id")),
        sku=text(row.get("sku")),
        name=text(row.get("title")) or text(row.get("name")),
        brand=text(row.get("vendor")),
        quantity=quantity,
        price=price if paid is None or price is None else per_unit(paid, quantity, price),
    )


def _breakdown(body: Json, reader: AmountReader, lines: list[Json], prefix: str) -> TotalBreakdown:
    """Return the amounts that make up a total; those that points paid for are in none of them."""
    with_tax = body.get("taxes_included") is True
    cards = [row for row in lines if row.get("giftCard") is True or row.get("gift_card") is True]
    goods = [row for row in lines if row not in cards]
    taxes, card_taxes = (added(reader.tax(row) for row in rows) for rows in (goods, cards))
    all_tax = reader.amount(body, f"{prefix}total_tax")
    lines_tax, shipping = added([taxes, card_taxes]), reader.amount(body, "total_shipping_price")
    elsewhere = added([all_tax, negative(lines_tax)])  # what no line carries
    if elsewhere and not lines_tax:  # stated in total alone: on goods, shipping or both
        taxes = all_tax if shipping == 0 and not cards else None
        elsewhere = Decimal(0) if shipping == 0 else None

    def net(rows: list[Json], tax: Decimal | None) -> Decimal | None:
        paid = added(reader.paid(row, reader.amount(row, "price")) for row in rows)
        return added([paid, negative(tax)]) if with_tax else paid

    return TotalBreakdown(
        goods=net(goods, taxes),
        gift_cards=net(cards, card_taxes),
        goods_tax=taxes,
        shipping=shipping,
        shipping_tax=elsewhere,
        fees=Decimal(0),
        fees_tax=Decimal(0),
        tips=reader.amount(body, "total_tip_received"),
        duties=reader.amount(body, f"{prefix}total_duties") or Decimal(0),
        tax=all_tax,
        items=added(reader.paid(row, reader.amount(row, "price")) for row in lines),
        priced_with_tax=with_tax,
    )
