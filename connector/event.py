"""Event: what happened in a shop, to whom and for how much, whichever shop system it came from."""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from connector.store import Milestone


@dataclass(frozen=True, slots=True)
class Address:
    """A postal address as the shop wrote it; `country` is ISO-3166 alpha-2 in any case, or ""."""

    first_name: str = ""
    last_name: str = ""
    city: str = ""
    state: str = ""
    postcode: str = ""
    country: str = ""
    phone: str = ""


@dataclass(frozen=True, slots=True)
class Customer:
    """The shopper as the shop knows them, all plain text; hashing happens in `connector.mapping`."""

    id: str = ""
    emails: tuple[str, ...] = ()
    phones: tuple[tuple[str, str], ...] = ()  # (number as typed, country it was typed in or "")
    first_name: str = ""
    last_name: str = ""
    address: Address = Address()
    ip: str = ""
    user_agent: str = ""
    locale: str = ""
    ttclid: str = ""
    ttp: str = ""


@dataclass(frozen=True, slots=True)
class Item:
    """One line of an order: `price` is what one unit cost, in the event's currency and major units."""

    product_id: str = ""
    variant_id: str = ""
    sku: str = ""
    name: str = ""
    brand: str = ""
    quantity: int = 1
    price: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """One milestone of one order, checkout or customer.

    `ids` holds the placeholders of the event_id templates (order_id, checkout_token …), plain strings.
    `value` is in major units of `currency`, with the decimals the shop gave. `occurred_at` is aware.
    """

    milestone: Milestone
    occurred_at: datetime
    ids: dict[str, str]
    customer: Customer
    kind: str = "web"
    currency: str = ""
    value: Decimal | None = None
    items: tuple[Item, ...] = ()
    page_url: str = ""
    referrer: str = ""
    test: bool = False  # the shop's own test mode; relayed only to Test Events
    notes: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Skipped:
    """A milestone that was seen and deliberately not made an event, with the reason a merchant reads."""

    milestone: Milestone
    reason: str
    ids: dict[str, str] = field(default_factory=dict, compare=False)
