"""Event: what happened in a shop, to whom and for how much, whichever shop system it came from.

They are made by the dozen for every webhook, so they are msgspec's structs: as frozen as a dataclass, and a tenth of
the time to make.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Literal

from msgspec import Struct

from connector.core.store import Milestone

PERSONAL_DATA_WITHHELD = (
    "the shop withholds personal data"  # a note on events of shoppers whom the shop knows and we may not
)


class Address(Struct, frozen=True):
    """A postal address as the shop wrote it; `country` is ISO-3166 alpha-2 in any case, or ""."""

    first_name: str = ""
    last_name: str = ""
    city: str = ""
    state: str = ""
    postcode: str = ""
    country: str = ""
    phone: str = ""


class Customer(Struct, frozen=True):
    """The shopper as the shop knows them, all plain text; hashing happens in `connector.mapping.tiktok_event`.

    `address` is where they are known best (billing first); `destination` is where the order goes (shipping first), and
    decides which privacy law applies.
    """

    id: str = ""
    emails: tuple[str, ...] = ()
    phones: tuple[tuple[str, str], ...] = ()  # (number as typed, country it was typed in or "")
    first_name: str = ""
    last_name: str = ""
    address: Address = Address()
    destination: Address = Address()
    ip: str = ""
    user_agent: str = ""
    locale: str = ""
    ttclid: str = ""
    ttp: str = ""


class Item(Struct, frozen=True):
    """One line of an order: `price` is what one unit cost as paid, in the event's currency and major units."""

    product_id: str = ""
    variant_id: str = ""
    sku: str = ""
    name: str = ""
    brand: str = ""
    quantity: int = 1
    price: Decimal | None = None
    category: str = ""


class Parts(Struct, frozen=True):
    """What an order's total is made of: disjoint amounts in the event's currency, None where the shop does not say.

    `goods` and `gift_cards` (bought, not paid with) are after discounts and without tax, as are shipping and fees.
    Discounts are in them already. `priced_with_tax`: the shop's prices include tax, so `items` do too.
    """

    goods: Decimal | None = None
    gift_cards: Decimal | None = None
    goods_tax: Decimal | None = None
    shipping: Decimal | None = None
    shipping_tax: Decimal | None = None
    fees: Decimal | None = None
    fees_tax: Decimal | None = None
    tips: Decimal | None = None
    duties: Decimal | None = None
    priced_with_tax: bool = False


class Event(Struct, frozen=True):
    """One milestone of one order, checkout or customer.

    `ids` holds the placeholders of the event_id templates (order_id, checkout_token …), plain strings.
    `total` is the shop's own, in major units of `currency`, with the decimals the shop gave; `parts()` tells what it is
    made of, worked out only for stores that ask. `tags` and `gateways` (ids and names of the means of payment) are as
    the shop writes them.
    `occurred_at` is aware, and so is `changed_at`: when the body was written, None if the shop does not say or the
    store does not care.
    """

    milestone: Milestone
    occurred_at: datetime
    ids: dict[str, str]
    customer: Customer
    kind: str = "web"
    currency: str = ""
    total: Decimal | None = None
    parts: Callable[[], Parts] = Parts
    items: tuple[Item, ...] = ()
    page_url: str = ""
    referrer: str = ""
    tags: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()
    test: bool = False  # the shop's own test mode; relayed only to Test Events
    notes: tuple[str, ...] = ()
    changed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Skipped:
    """A milestone that was seen and deliberately not made an event, with the reason a merchant reads."""

    milestone: Milestone
    reason: str
    ids: dict[str, str] = field(default_factory=dict, compare=False)


DataRequestKind = Literal["erase_person", "erase_store", "export", "uninstalled"]


class DataRequest(Struct, frozen=True):
    """What a shop asks of us about what we keep, or that it has let us go; all plain text, as the shop wrote it.

    `erase_person` and `export` name somebody by any of the fields; the other two are about the shop as a whole.
    """

    what: DataRequestKind
    customer_id: str = ""
    emails: tuple[str, ...] = ()
    phones: tuple[str, ...] = ()
    order_ids: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Without the person."""
        return f"<Demand {self.what}>"
