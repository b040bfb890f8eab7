"""An item's `properties`: contents, value and currency, by the store's settings."""

import re
from collections.abc import Iterable, Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from connector.core.currencies import TIKTOK_CURRENCIES
from connector.core.event import Bundle, Event, Item, TotalBreakdown
from connector.core.json_fields import present, safe_to_quote
from connector.core.store import Store
from connector.mapping.event_id import fill_template

# The amounts of a TotalBreakdown that each word of value_excludes subtracts: an amount and the tax on it.
TAXES = ("goods_tax", "shipping_tax", "fees_tax", "duties_tax")
EXCLUDES: dict[str, tuple[str, ...]] = {
    "tax": TAXES,
    "shipping": ("shipping", "shipping_tax"),
    "fees": ("fees", "fees_tax"),
    "tips": ("tips",),
    "duties": ("duties", "duties_tax"),
    "gift_cards": ("gift_cards",),
}
# Fallbacks for the chosen id, for an item that lacks it.
CONTENT_ID_CHAINS: dict[str, tuple[str, ...]] = {
    "variant_id": ("variant_id", "product_id", "sku"),
    "product_id": ("product_id", "sku"),
    "sku": ("sku", "variant_id", "product_id"),
}


def properties_of(event: Event, store: Store) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the properties, and the event's notes with those about omissions. A registration has no properties."""
    if event.milestone == "customer_registered":
        return {}, event.notes
    items = _bundled(event.items, store) if store.mapping.bundles == "bundle" else event.items
    contents = [content for item in items if "content_id" in (content := _content(item, store))]
    found: dict[str, Any] = {
        "contents": contents,
        "content_type": content_type(store.mapping.content_id),
        "num_items": sum(item.quantity for item in items) or None,
        "order_id": event.ids.get("order_id", ""),
        "customer_type": event.customer_type,
    }
    if not contents:
        del found["content_type"]
    elif store.mapping.content_ids:
        found["content_ids"] = [*dict.fromkeys(content["content_id"] for content in contents)]
    value, unknown = value_of(event, store)
    notes = event.notes + unknown
    if event.currency in TIKTOK_CURRENCIES:
        if value is not None or any("price" in content for content in contents):
            found["currency"] = event.currency
        found["value"] = value
    else:
        for content in contents:
            content.pop("price", None)
        if value is not None:
            notes += (f"value left out: TikTok does not list the currency {safe_to_quote(event.currency) or '(none)'}",)
    return present(**found), notes


def value_of(event: Event, store: Store) -> tuple[Decimal | None, tuple[str, ...]]:
    """Return the event's value by the store's settings, and a note if the shop does not give it.

    Zero is a value, and the lowest: of an order that a gift card or points paid, what is excluded can be more than was
    paid, and TikTok takes no negative values.
    """
    choice = store.mapping
    if not choice.needs_breakdown:
        return None if event.total is None else max(event.total, Decimal(0)), ()
    breakdown = event.breakdown or TotalBreakdown()
    left_out = {name for word in choice.value_excludes for name in EXCLUDES[word]}
    if choice.value == "total":
        counted = event.total
        if breakdown.tax is not None and left_out.issuperset(TAXES):
            left_out = left_out - set(TAXES) | {"tax"}  # known also where it is not known what it is on
    else:
        goods = ("goods", "gift_cards", *(("goods_tax",) if breakdown.priced_with_tax else ()))
        counted = _sum(breakdown, goods) if breakdown.items is None else breakdown.items
        left_out &= set(goods)
    subtracted = _sum(breakdown, sorted(left_out))
    if counted is None or subtracted is None:
        missing = event.total is not None
        return None, ("value left out: the shop does not say what it is made of in this currency",) if missing else ()
    return max(counted - subtracted, Decimal(0)), ()


def _sum(breakdown: TotalBreakdown, names: Iterable[str]) -> Decimal | None:
    amounts = [getattr(breakdown, name) for name in names]
    return None if None in amounts else sum(amounts, Decimal(0))


def _bundled(items: Iterable[Item], store: Store) -> list[Item]:
    """Return the items with each bundle in place of its parts; parts stay if the catalogue has no id for the bundle."""
    groups: dict[str | int, list[Item]] = {}
    for number, item in enumerate(items):
        named = item.bundle is not None and content_id(item.bundle, store)
        groups.setdefault(item.bundle.id if item.bundle and named else number, []).append(item)
    return [
        _whole(bundle, group) if isinstance(key, str) and (bundle := group[0].bundle) else group[0]
        for key, group in groups.items()
    ]


def _whole(bundle: Bundle, parts: Sequence[Item]) -> Item:
    """Return a bundle as an item; its price is the sum of its parts' prices."""
    worth = [part.price * part.quantity for part in parts if part.price is not None]
    price = (sum(worth, Decimal(0)) / bundle.quantity).quantize(worth[0], ROUND_HALF_UP) if worth else None
    return Item(
        product_id=bundle.product_id,
        variant_id=bundle.variant_id,
        sku=bundle.sku,
        name=bundle.name,
        brand=parts[0].brand,
        quantity=bundle.quantity,
        price=price if len(worth) == len(parts) else None,
    )


def _content(item: Item, store: Store) -> dict[str, Any]:
    return present(
        content_id=content_id(item, store),
        content_name=item.name,
        content_category=item.category,
        brand=item.brand,
        quantity=item.quantity,
        price=item.price,
    )


def content_id(item: Item | Bundle, store: Store) -> str:
    """Return an item's or bundle's catalogue id by the store's setting, or its next fallback; "" if it has no id."""
    choice = store.mapping.content_id
    if "{" in choice:
        ids = {"product_id": item.product_id, "variant_id": item.variant_id, "sku": item.sku}
        return fill_template(choice, ids | {"item_id": item.variant_id or item.product_id})
    return next((found for name in CONTENT_ID_CHAINS[choice] if (found := getattr(item, name))), "")


def content_type(choice: str) -> str:
    """Return TikTok's type of such ids: product_group if an id names a product with all its variants, else product."""
    grouped = choice == "product_id" or (
        "{product_id}" in choice and not re.search(r"\{(variant_id|item_id|sku)\}", choice)
    )
    return "product_group" if grouped else "product"
