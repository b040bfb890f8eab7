"""Amounts of shops that state each twice: `name` in the shop's currency, and `name_set` in the shop's and the buyer's.

For platforms whose orders have this shape; each reads its own fields with it.
"""

from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Decimal
from typing import Literal

from msgspec import Struct

from connector.core.json_fields import Json, json_object, json_objects, money, text, whole_quantity


class AmountReader(Struct, frozen=True):
    """Reads amounts in one currency. `plain`: amounts without a `_set` are in this currency, too."""

    side: Literal["presentment", "shop"]
    currency: str
    plain: bool

    def amount(self, row: Json, name: str) -> Decimal | None:
        """Return the amount of this name, or None if the body does not have it in this currency."""
        shown = json_object(json_object(row.get(f"{name}_set")).get(f"{self.side}_money"))
        if text(shown.get("currency_code")).upper() == self.currency:
            found = money(shown.get("amount"))
            return money(row.get(name)) if found is None and self.plain else found
        return money(row.get(name)) if self.plain else None

    def paid(self, row: Json, price: Decimal | None) -> Decimal | None:
        """Return the price of a whole line after discounts, as bought, with tax if the shop's prices have it."""
        if price is None:
            return None
        whole = price * whole_quantity(row.get("quantity"))
        cuts = json_objects(row.get("discount_allocations") or row.get("applied_discounts"))
        return added([whole, *(negative(self.amount(cut, "amount")) for cut in cuts)]) if cuts else whole

    def tax(self, row: Json) -> Decimal | None:
        """Return the tax included in, or added to, a line as bought."""
        return added(self.amount(tax, "price") for tax in json_objects(row.get("tax_lines")))


def per_unit(paid: Decimal, quantity: int, like: Decimal) -> Decimal:
    """Return the price of one unit of a line, rounded to the decimals of `like`."""
    return (paid / quantity).quantize(like, ROUND_HALF_UP)


def added(amounts: Iterable[Decimal | None]) -> Decimal | None:
    """Return the sum of the amounts, or None if one of them is None (unknown)."""
    total = Decimal(0)
    for amount in amounts:
        if amount is None:
            return None
        total += amount
    return total


def negative(amount: Decimal | None) -> Decimal | None:
    """Return the amount with its sign reversed; None stays None."""
    return None if amount is None else -amount
