"""Store: one shop, its secrets, its pixels, its choices. Read from the stores file by `connector.config.settings`."""

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from connector.core.units import DEDUPLICATION_WINDOW

Milestone = Literal["order_placed", "order_paid", "checkout_started", "customer_registered"]
MILESTONES: tuple[Milestone, ...] = ("order_placed", "order_paid", "checkout_started", "customer_registered")

BROWSER_MILESTONES: tuple[Milestone, ...] = ("order_placed", "order_paid", "checkout_started")

ORDER_KINDS = ("web", "app", "pos", "draft", "staff", "api", "renewal", "marketplace", "exchange")
PLACEHOLDER = re.compile(r"\{([^{}]+)\}")
VALUE_PARTS = ("tax", "shipping", "tips", "fees", "duties", "gift_cards")


def first_match(found: Iterable[str], chosen: Collection[str]) -> str:
    """The first of `found` that is one of `chosen`, whatever the case, or ""."""
    if not chosen:
        return ""
    wanted = {name.strip().casefold() for name in chosen}
    return next((name for name in found if name.strip().casefold() in wanted), "")


@dataclass(frozen=True, slots=True)
class Pixel:
    """Where a store's events go: the pixel code (TikTok's event_source_id) and the token that may write to it."""

    code: str
    access_token: str = field(repr=False)
    test_event_code: str = ""


@dataclass(frozen=True, slots=True)
class OrderSettings:
    """Which orders are relayed, and when one counts as placed and as paid."""

    include: tuple[str, ...] = ("web", "app")
    placed_statuses: tuple[str, ...] = ()
    paid_statuses: tuple[str, ...] = ()
    paid_when_placed: tuple[str, ...] = ()
    exclude_tags: tuple[str, ...] = ()
    exclude_gateways: tuple[str, ...] = ()
    exclude_email_domains: tuple[str, ...] = ()
    exclude_zero: bool = False

    def counts_as_paid(self, gateways: Iterable[str]) -> bool:
        """Whether an order by one of these gateways (ids or names) counts as paid when it is placed."""
        return bool(first_match(gateways, self.paid_when_placed))


@dataclass(frozen=True, slots=True)
class MappingSettings:
    """How an order's money and items become `value`, `currency` and `contents`."""

    value: Literal["total", "items"] = "total"
    value_excludes: tuple[str, ...] = ()
    currency: Literal["presentment", "shop"] = "presentment"
    content_id: str = ""  # "" = the platform's default

    @property
    def needs_breakdown(self) -> bool:
        """True if an event's value is computed from its total's breakdown."""
        return self.value != "total" or bool(self.value_excludes)


@dataclass(frozen=True, slots=True)
class EventIdTemplates:
    """Templates of event_id; the same on the server and in the browser."""

    order: str
    checkout: str
    customer: str


@dataclass(frozen=True, slots=True)
class ConsentSource:
    """Where a shopper's "yes" is found besides the beacon: a cart attribute or order/customer meta key."""

    key: str = ""
    granted: tuple[str, ...] = ("yes", "true", "1")


@dataclass(frozen=True, slots=True)
class SignalSettings:
    """Present when browser beacons are expected: how long an event waits for its beacon."""

    hold_checkout: timedelta = timedelta(seconds=20)
    hold_order: timedelta = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class ApiKeys:
    """Keys for the shop's own API: registration of webhooks, history. Never used on the request path."""

    access_token: str = field(default="", repr=False)
    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    consumer_key: str = field(default="", repr=False)
    consumer_secret: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Store:
    """One shop and everything it chose. `shops` are host names (no scheme, no www) the platform calls it by."""

    name: str
    platform: str
    url: str
    shops: tuple[str, ...]
    webhook_secrets: tuple[str, ...] = field(repr=False)
    pixels: tuple[Pixel, ...]
    consent: Literal["required", "required_in_europe", "not_required"]
    event_id: EventIdTemplates
    events: dict[Milestone, tuple[str, ...]] = field(
        default_factory=lambda: {
            "order_placed": ("PlaceAnOrder",),
            "order_paid": ("Purchase",),
            "checkout_started": ("InitiateCheckout",),
            "customer_registered": ("CompleteRegistration",),
        }
    )
    country: str = ""
    browser_pixel: Literal["none", "snippet", "own", "official"] = "none"
    go_live: datetime | None = None
    max_event_age: timedelta = timedelta(days=7)
    limited_data_use: tuple[str, ...] = ()
    reconcile: timedelta | None = None
    external_id: str = "{customer_id}"
    orders: OrderSettings = OrderSettings()
    mapping: MappingSettings = MappingSettings()
    consent_source: ConsentSource = ConsentSource()
    signals: SignalSettings | None = None
    api: ApiKeys | None = None
    placeholders: frozenset[str] = field(init=False, repr=False)  # what the store's templates and choices ask for

    def __post_init__(self) -> None:
        ids, key = self.event_id, self.consent_source.key
        asked = PLACEHOLDER.findall(ids.order + ids.checkout + ids.customer + self.external_id)
        asked += [f"attribute:{key}", f"meta:{key}"] if key else []
        object.__setattr__(self, "placeholders", frozenset(asked))

    def placeholder_values(self, kind: Literal["attribute", "meta"], value: Callable[[str], str]) -> dict[str, str]:
        """Values of the cart attributes or meta keys that the store's templates and consent_source need.

        By placeholder ("meta:_key"); `value` returns an attribute's or key's value, or "".
        """
        names = (name for name in self.placeholders if name.startswith(f"{kind}:"))
        return {name: found for name in names if (found := value(name.removeprefix(f"{kind}:")))}

    def age_limit(self, event: str) -> timedelta:
        """How old an event of this name may be when it is sent.

        What the browser sends too is deduplicated for 48 hours only: https://ads.tiktok.com/help/article/event-deduplication
        """
        server_only = self.browser_pixel == "none" or (
            event in self.events["customer_registered"]
            and not any(event in self.events[milestone] for milestone in BROWSER_MILESTONES)
        )
        return self.max_event_age if server_only else min(self.max_event_age, DEDUPLICATION_WINDOW)

    @property
    def sent(self) -> tuple[Milestone, ...]:
        """The milestones that are sent as an event."""
        return tuple(milestone for milestone, names in self.events.items() if any(names))

    @property
    def tests(self) -> bool:
        """True when every pixel has a test_event_code: the shop's test orders and old ones are sent too."""
        return all(pixel.test_event_code for pixel in self.pixels)
