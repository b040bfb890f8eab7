"""Events: what happened in a shop, to whom and for how much, in one vocabulary for all shop systems.

All types are plain data that can be compared and stored. A webhook creates dozens of them; msgspec's structs take a
tenth of the time of frozen dataclasses.
"""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Literal, get_args

from msgspec import Struct

Milestone = Literal["order_placed", "order_paid", "checkout_started", "customer_registered"]
MILESTONES: tuple[Milestone, ...] = get_args(Milestone)
# Steps before an order that only a browser reports. A type of their own, because anybody can send them: none can become
# an order or a registration.
FunnelMilestone = Literal["product_viewed", "cart_added", "payment_info_added", "searched"]
FUNNEL_MILESTONES: tuple[FunnelMilestone, ...] = get_args(FunnelMilestone)
OrderKind = Literal["web", "app", "b2b", "pos", "draft", "staff", "api", "renewal", "marketplace", "exchange"]
ORDER_KINDS: tuple[OrderKind, ...] = get_args(OrderKind)

# Whether the customer had ordered before; "": unknown.
CustomerType = Literal["", "new", "returning"]

# How well the time of an event is known; "": well. An "assumed" time is a substitute, which another webhook of the same
# milestone is about to correct; a "stated" one corrects it.
TimeSource = Literal["", "assumed", "stated"]

# Note on an event whose customer the shop hides from its apps.
PERSONAL_DATA_WITHHELD = "the shop withholds personal data"


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
    """The shopper as the shop knows them, in plain text; `connector.mapping` hashes it.

    `address` is the billing address, or the next one if it is empty; `destination` is where the order goes (shipping
    first); it decides which privacy law applies.
    """

    id: str = ""
    emails: tuple[str, ...] = ()
    phones: tuple[tuple[str, str], ...] = ()  # (number as typed, country of its address or "")
    first_name: str = ""
    last_name: str = ""
    address: Address = Address()
    destination: Address = Address()
    ip: str = ""
    user_agent: str = ""
    locale: str = ""
    ttclid: str = ""
    ttp: str = ""

    @property
    def country(self) -> str:
        """The country that decides: that of the destination, else of the address; upper case, or "" if unknown."""
        return (self.destination.country or self.address.country).upper()


class Bundle(Struct, frozen=True):
    """A set of products that was bought as one; its parts are lines of the order. `id` is unique within the order."""

    id: str
    product_id: str = ""
    variant_id: str = ""
    sku: str = ""
    name: str = ""
    quantity: int = 1


class Item(Struct, frozen=True):
    """One line of an order. `price` is the price of one unit as paid, in major units of the event's currency.

    `bundle` is the bundle whose part this line is; None for other lines.
    """

    product_id: str = ""
    variant_id: str = ""
    sku: str = ""
    name: str = ""
    brand: str = ""
    quantity: int = 1
    price: Decimal | None = None
    category: str = ""
    bundle: Bundle | None = None


class TotalBreakdown(Struct, frozen=True):
    """The amounts that make up an order's total, in major units of its currency; None for those the shop does not give.

    The amounts do not overlap, except `tax` (all tax) and `items` (goods and gift cards as priced): sums of the others,
    for shops that do not itemise their tax. `goods`, `gift_cards` (bought, not paid with), `shipping`, `fees` and
    `duties` are after discounts and without tax. `priced_with_tax`: the shop's prices include tax, and so do those of
    `Event.items`.
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
    duties_tax: Decimal | None = Decimal(0)
    tax: Decimal | None = None
    items: Decimal | None = None
    priced_with_tax: bool = False


class Event(Struct, frozen=True):
    """One milestone of one order, checkout or customer.

    `ids` holds the values of the event_id templates' placeholders (order_id, checkout_token …).
    `total` is the shop's own, in major units of `currency`, with the decimals the shop gave. `breakdown` can be None
    unless `store.mapping.needs_breakdown`. `tags` and `gateways` (ids and names of payment methods) are as the shop
    writes them.
    `customer_type` is what the shop itself says of an order's customer.
    `occurred_at` and `changed_at` are aware. `time_source` says how well `occurred_at` is known. `changed_at` is when
    the body was written; None if the shop does not say, or the store expects no browser signals.
    """

    milestone: Milestone
    occurred_at: datetime
    ids: dict[str, str]
    customer: Customer
    kind: OrderKind = "web"
    currency: str = ""
    total: Decimal | None = None
    breakdown: TotalBreakdown | None = None
    items: tuple[Item, ...] = ()
    page_url: str = ""
    referrer: str = ""
    tags: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()
    test: bool = False  # made in the shop's test mode; relayed to Test Events only
    notes: tuple[str, ...] = ()
    changed_at: datetime | None = None
    time_source: TimeSource = ""
    customer_type: CustomerType = ""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A milestone that deliberately yields no event, with the reason a merchant reads."""

    milestone: Milestone
    reason: str
    ids: dict[str, str] = field(default_factory=dict, compare=False)


DataRequestKind = Literal["erase_person", "erase_store", "export", "uninstalled"]


class DataRequest(Struct, frozen=True):
    """A data-subject request or an uninstall notice from a shop, in plain text as the shop wrote it.

    `erase_person` and `export` identify a person by any of the fields; the other two concern the whole shop.
    """

    what: DataRequestKind
    customer_id: str = ""
    emails: tuple[str, ...] = ()
    phones: tuple[str, ...] = ()
    order_ids: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Leave out personal data."""
        return f"<DataRequest {self.what}>"
