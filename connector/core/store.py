"""Store: one shop with its secrets, pixels and settings; also the model of the stores file.

Types, defaults, bounds and descriptions of a store's settings are stated only here. `connector.config` validates the
stores file with them, and generates its JSON Schema and docs/configuration.md. Constructing a class validates nothing.
The description of a table is the docstring of its class.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated, Literal

from typing_extensions import TypedDict

from connector.core.alert_address import AlertAddress
from connector.core.event import FUNNEL_MILESTONES, FunnelMilestone, Milestone, OrderKind
from connector.core.public_keys import KeyRing
from connector.core.text import first_match
from connector.core.units import SAFE_RESEND_WINDOW
from connector.core.values import (
    ContentIdOrBlank,
    Country,
    CountryOrBlank,
    Currency,
    EventId,
    EventIdOrBlank,
    EventName,
    Flag,
    Keys,
    KeySource,
    Listed,
    Moment,
    Name,
    PixelCode,
    Shop,
    Status,
    Text,
    Token,
    TokenOrBlank,
    UsState,
    WebUrl,
    duration,
)

BROWSER_MILESTONES: tuple[Milestone, ...] = ("order_placed", "order_paid", "checkout_started")
EventNames = dict[Milestone, tuple[str, ...]]
DEFAULT_EVENTS: EventNames = {
    "order_placed": ("PlaceAnOrder",),
    "order_paid": ("Purchase",),
    "checkout_started": ("InitiateCheckout",),
    "customer_registered": ("CompleteRegistration",),
}

PLACEHOLDER = re.compile(r"\{([^{}]+)\}")
ValuePart = Literal["tax", "shipping", "tips", "fees", "duties", "gift_cards"]


@dataclass(frozen=True, slots=True)
class Pixel:
    """A destination of a store's events. It receives the events for which all of its conditions hold."""

    code: PixelCode
    """The pixel code (event_source_id) from TikTok's Events Manager; several pixels go into `[[pixels]]`."""
    access_token: Token = field(repr=False)
    """The pixel's Events API access token, made in Events Manager."""
    test_event_code: TokenOrBlank = ""
    """If set, everything goes to Test Events, the shop's test orders and old orders included."""
    source: Literal["web", "offline"] = "web"
    """`offline`: `pixel` is the id of an offline event set, which takes e-mail and phone as its only match keys."""
    countries: Annotated[tuple[Country, ...], Listed()] = ()
    """Only events of these countries; empty: all. The order's destination decides, then billing, then `country`."""
    currencies: Annotated[tuple[Currency, ...], Listed()] = ()
    """Only events in these currencies; empty: all. A registration has no currency."""
    kinds: Annotated[tuple[OrderKind, ...], Listed()] = ()
    """Only orders of these kinds; empty: all that `orders.include` lists. A registration counts as `web`."""
    milestones: Annotated[tuple[Milestone, ...], Listed()] = ()
    """Only these milestones; empty: all."""

    @property
    def has_conditions(self) -> bool:
        """True if the pixel does not receive every event."""
        return bool(self.countries or self.currencies or self.kinds or self.milestones)

    def takes(self, milestone: Milestone, kind: OrderKind) -> bool:
        """Return True if the pixel's `milestones` and `kinds` hold."""
        return (not self.milestones or milestone in self.milestones) and (not self.kinds or kind in self.kinds)


@dataclass(frozen=True, slots=True)
class OrderSettings:
    """The orders that are relayed, and the rules by which one counts as placed and as paid."""

    include: Annotated[tuple[OrderKind, ...], Listed()] = ("web", "app", "b2b")
    """The kinds of orders that are relayed."""
    placed_statuses: Annotated[tuple[Status, ...], Listed()] = ()
    """An order with one of these statuses counts as placed; empty: the platform's own rule."""
    paid_statuses: Annotated[tuple[Status, ...], Listed()] = ()
    """An order with one of these statuses counts as paid; empty: the platform's own rule."""
    paid_when_placed: Annotated[tuple[Name, ...], Listed()] = ()
    """Payment gateways, like "cod", whose orders count as paid when they are placed."""
    exclude_tags: Annotated[tuple[Name, ...], Listed()] = ()
    """Orders with one of these tags are skipped."""
    exclude_gateways: Annotated[tuple[Name, ...], Listed()] = ()
    """Orders paid through one of these gateways are skipped."""
    exclude_email_domains: Annotated[tuple[Name, ...], Listed()] = ()
    """Orders of customers with an e-mail address of one of these domains are skipped."""
    exclude_zero: Flag = False
    """`true`: orders with a total of zero are skipped."""

    def counts_as_paid(self, gateways: Iterable[str]) -> bool:
        """Return True if an order by one of these gateways (ids or names) counts as paid when it is placed."""
        return bool(first_match(gateways, self.paid_when_placed))


@dataclass(frozen=True, slots=True)
class MappingSettings:
    """The conversion of an order's money and items into `value`, `currency` and `contents`."""

    value: Literal["total", "items"] = "total"
    """The content of `value`: the order's total, or the items alone."""
    value_excludes: Annotated[tuple[ValuePart, ...], Listed()] = ()
    """Parts that are left out of `value`."""
    currency: Literal["presentment", "shop"] = "presentment"
    """The currency that is sent: the one the shopper paid in, or the shop's own."""
    content_id: ContentIdOrBlank = ""
    """The id that names an item in the product catalogue; empty: the platform's default."""
    content_ids: Flag = False
    """`true`: the ids are also sent as a list, `content_ids`, which TikTok's shopping ads ask for."""
    bundles: Literal["parts", "bundle"] = "parts"
    """The entries of `contents` for products bought as a bundle: its parts, or the bundle as one."""

    @property
    def needs_breakdown(self) -> bool:
        """True if an event's value is computed from the breakdown of its total."""
        return self.value != "total" or bool(self.value_excludes)


@dataclass(frozen=True, slots=True)
class MatchingSettings:
    """The use of what is on record about a customer for their later events (docs/returning-customers.md)."""

    remember_clicks: Annotated[timedelta | None, duration(timedelta(days=28)).or_blank(None)] = None
    """How long a customer's last click id and browser id are kept for events that lack them; empty: not at all."""
    recognize_returning: Flag = False
    """`true`: a customer counts as returning if an earlier order of theirs is on record and the shop does not say."""


@dataclass(frozen=True, slots=True)
class EventIdTemplates:
    """Templates of event_id. The browser must send the same id, or TikTok counts an event twice."""

    order: EventId
    """The event_id of placed and paid orders."""
    checkout: EventId
    """The event_id of started checkouts."""
    customer: EventId
    """The event_id of registered customers."""

    @classmethod
    def of_store(cls, name: str) -> "EventIdTemplates":
        """Return the default templates, which begin with the store's name."""
        return cls(
            f"{name}-order-{{order_id}}", f"{name}-checkout-{{checkout_token}}", f"{name}-customer-{{customer_id}}"
        )


@dataclass(frozen=True, slots=True)
class ConsentSource:
    """The source of a shopper's consent besides the browser's signals."""

    key: Text = ""
    """A cart attribute, or a meta key of the order or the customer."""
    granted: Annotated[tuple[Name, ...], Listed()] = ("yes", "true", "1")
    """The values of the key that mean consent."""


@dataclass(frozen=True, slots=True)
class SignalSettings:
    """If present, events wait for the browser's signals (docs/signals.md); not supported by every platform."""

    hold_checkout: Annotated[timedelta, duration(timedelta(seconds=240), zero=True)] = timedelta(seconds=20)
    """How long a checkout waits for the browser's signals."""
    hold_order: Annotated[timedelta, duration(timedelta(seconds=240), zero=True)] = timedelta(seconds=5)
    """How long an order waits for the browser's signals."""


@dataclass(frozen=True, slots=True)
class FunnelSettings:
    """If present, steps before an order are sent, too: for each the TikTok event, a list of names, or "" for off."""

    product_viewed: Annotated[tuple[EventName, ...], Listed(alone=True)] = ("ViewContent",)
    """The event of a viewed product."""
    cart_added: Annotated[tuple[EventName, ...], Listed(alone=True)] = ("AddToCart",)
    """The event of a product that is put into the cart."""
    payment_info_added: Annotated[tuple[EventName, ...], Listed(alone=True)] = ("AddPaymentInfo",)
    """The event of payment details that are entered at the checkout."""
    searched: Annotated[tuple[EventName, ...], Listed(alone=True)] = ("Search",)
    """The event of a search in the shop."""

    @property
    def events(self) -> dict[FunnelMilestone, tuple[str, ...]]:
        """The names of the events by milestone, without those that are off."""
        return {milestone: names for milestone in FUNNEL_MILESTONES if (names := getattr(self, milestone))}


@dataclass(frozen=True, slots=True)
class ApiKeys:
    """Keys to the shop's own API, for `connector webhooks`, `connector backfill` and `reconcile`."""

    access_token: Token = field(default="", repr=False)
    """The access token of an app."""
    client_id: Token = ""
    """The client id of an app, with `client_secret`."""
    client_secret: Token = field(default="", repr=False)
    """The client secret of an app, with `client_id`."""
    consumer_key: Token = field(default="", repr=False)
    """The consumer key of a REST API key, with `consumer_secret`."""
    consumer_secret: Token = field(default="", repr=False)
    """The consumer secret of a REST API key, with `consumer_key`."""
    url: WebUrl = ""
    """Another address of the API than the shop's own, like that of `connector sandbox`; not on every platform."""


class KindEvents(TypedDict, total=False):
    """Other names for orders of one kind; a milestone without a key keeps its name.

    KIND is one of `web`, `app`, `b2b`, `pos`, `draft`, `staff`, `api`, `renewal`, `marketplace`, `exchange`, and
    `orders.include` must list it.
    """

    order_placed: Annotated[tuple[EventName, ...], Listed(alone=True)]
    """The event of a placed order of this kind."""
    order_paid: Annotated[tuple[EventName, ...], Listed(alone=True)]
    """The event of a paid order of this kind."""
    checkout_started: Annotated[tuple[EventName, ...], Listed(alone=True)]
    """The event of a started checkout of this kind."""


KIND_MILESTONES: tuple[Milestone, ...] = ("order_placed", "order_paid", "checkout_started")  # the keys of KindEvents


class MilestoneEvents(TypedDict, total=False):
    """The TikTok event of each milestone: a name, a list of names, or "" for no event."""

    order_placed: Annotated[tuple[EventName, ...], Listed(alone=True)]
    """The event of a placed order."""
    order_paid: Annotated[tuple[EventName, ...], Listed(alone=True)]
    """The event of a paid order."""
    checkout_started: Annotated[tuple[EventName, ...], Listed(alone=True)]
    """The event of a started checkout."""
    customer_registered: Annotated[tuple[EventName, ...], Listed(alone=True)]
    """The event of a new customer account."""
    web: KindEvents
    app: KindEvents
    b2b: KindEvents
    pos: KindEvents
    draft: KindEvents
    staff: KindEvents
    api: KindEvents
    renewal: KindEvents
    marketplace: KindEvents
    exchange: KindEvents


@dataclass(frozen=True, slots=True)
class Store:
    """One shop and its settings."""

    name: str
    platform: Name
    """The shop system."""
    url: WebUrl
    """The address of the storefront as shoppers see it, https://…"""
    shops: Annotated[tuple[Shop, ...], Listed(alone=True, empty=False)]
    """How the platform names this shop, or a list if it has several names; compared by host, without "www."."""
    webhook_secrets: Annotated[tuple[Name, ...], Listed(alone=True, empty=False)] = field(repr=False)
    """The secret with which the shop signs its webhooks; several while you rotate them."""
    pixels: Annotated[tuple[Pixel, ...], Listed(empty=False, unique=False)]
    """Several pixels, instead of the single keys."""
    consent: Literal["required", "required_in_europe", "not_required"]
    """Whose consent is required; a legal choice, so there is no default."""
    event_id: EventIdTemplates  # templates, under the key of the stores file
    events: Annotated[EventNames, Keys(MilestoneEvents)] = field(default_factory=DEFAULT_EVENTS.copy)
    events_of_kinds: dict[OrderKind, EventNames] = field(default_factory=dict)  # the tables [events.KIND]
    country: CountryOrBlank = ""
    """The shop's own country, like "US": the fallback for phone numbers and consent."""
    browser_pixel: Literal["none", "snippet", "own", "official"] = "none"
    """The sender of this pixel's browser events: nobody, our snippet, your own code, or TikTok's own app."""
    go_live: Moment = None
    """Older orders are skipped, except by `backfill`; empty: the store's first start."""
    max_event_age: Annotated[timedelta, duration(timedelta(days=28))] = timedelta(days=7)
    """Older events are skipped; events that the browser also sends are never sent after 47h."""
    limited_data_use: Annotated[tuple[UsState, ...], Listed()] = ()
    """US states, like ["CA"], whose shoppers get Limited Data Use."""
    reconcile: Annotated[timedelta | None, duration().or_blank(None)] = None
    """How often orders whose webhooks never arrived are fetched, like "15m"; at least 1m, needs the `api` table."""
    books: Flag = False
    """`true`: what was cancelled or refunded after the event is kept, and `connector books` shows what is left."""
    meter: Flag = False
    """`true`: the shop's pages report what they sent to TikTok, to show if the copies merge (docs/merging.md)."""
    alerts: Annotated[tuple[AlertAddress, ...], Listed(alone=True)] = field(default=(), repr=False)
    """Further addresses for the problems of this store alone, as in `ALERT_URL`; secrets, so use `${NAME}`."""
    digest: Annotated[tuple[AlertAddress, ...], Listed(alone=True)] = field(default=(), repr=False)
    """Addresses that are sent a digest of this store once a week, as in `DIGEST_URL`; secrets, so use `${NAME}`."""
    external_id: EventIdOrBlank = "{customer_id}"
    """Your own id of the shopper; hashed before it is sent."""
    orders: OrderSettings = OrderSettings()
    mapping: MappingSettings = MappingSettings()
    matching: MatchingSettings = MatchingSettings()
    consent_source: ConsentSource = ConsentSource()
    signals: SignalSettings | None = None
    funnel: FunnelSettings | None = None
    api: ApiKeys | None = None
    webhook_keys: Annotated[tuple[KeySource, ...], Listed(alone=True)] = ()
    """Public keys of a shop that signs with a private one, by default at the platform's address of them."""
    placeholders: frozenset[str] = field(init=False, repr=False)  # those of the store's templates and consent_source
    keys: KeyRing = field(init=False, repr=False, compare=False)  # of webhook_keys; those of an address come later
    has_routes: bool = field(init=False, repr=False)  # not every pixel receives every event

    def __post_init__(self) -> None:
        object.__setattr__(self, "has_routes", any(pixel.has_conditions for pixel in self.pixels))
        ids, key = self.event_id, self.consent_source.key
        needed = PLACEHOLDER.findall(ids.order + ids.checkout + ids.customer + self.external_id)
        needed += [f"attribute:{key}", f"meta:{key}"] if key else []
        object.__setattr__(self, "placeholders", frozenset(needed))
        object.__setattr__(self, "keys", KeyRing(one for one in self.webhook_keys if not one.startswith("https://")))

    @property
    def key_addresses(self) -> tuple[str, ...]:
        """The addresses from which the shop's public keys are fetched."""
        return tuple(one for one in self.webhook_keys if one.startswith("https://"))

    @property
    def signing_secret(self) -> str:
        """The secret that new webhooks sign with; "" for a shop that signs with a private key."""
        return self.webhook_secrets[0] if self.webhook_secrets else ""

    @property
    def parking_secrets(self) -> tuple[str, ...]:
        """The secrets that encrypt parked webhooks; the tokens of its pixels for a shop that shares no secret."""
        return self.webhook_secrets or tuple(pixel.access_token for pixel in self.pixels)

    def placeholder_values(self, kind: Literal["attribute", "meta"], value: Callable[[str], str]) -> dict[str, str]:
        """Return the cart attributes or meta keys that the store's templates and consent_source need.

        By placeholder ("meta:_key"); `value` returns the value of an attribute or key, or "".
        """
        names = (name for name in self.placeholders if name.startswith(f"{kind}:"))
        return {name: found for name in names if (found := value(name.removeprefix(f"{kind}:")))}

    def pixel(self, code: str) -> Pixel | None:
        """Return the pixel with this code, or None."""
        return next((pixel for pixel in self.pixels if pixel.code == code), None)

    def event_names(self, milestone: Milestone, kind: OrderKind) -> tuple[str, ...]:
        """Return the names under which a milestone of an order of this kind is sent; () if it is off."""
        of_kind = self.events_of_kinds.get(kind)
        return self.events[milestone] if of_kind is None else of_kind.get(milestone, self.events[milestone])

    def all_event_names(self, milestone: Milestone) -> tuple[str, ...]:
        """Return the names under which a milestone of any kind of order is sent."""
        kinds = (of_kind.get(milestone, ()) for of_kind in self.events_of_kinds.values())
        return tuple(dict.fromkeys(name for names in (self.events[milestone], *kinds) for name in names))

    def age_limit(self, event: str, pixel: Pixel) -> timedelta:
        """Return the maximum age at which an event of this name is sent to a pixel.

        TikTok deduplicates what the browser also sends for 48 hours only: https://ads.tiktok.com/help/article/event-deduplication
        No browser sends to an offline event set.
        """
        server_only = (
            self.browser_pixel == "none"
            or pixel.source == "offline"
            or (
                event in self.events["customer_registered"]
                and not any(event in self.all_event_names(milestone) for milestone in BROWSER_MILESTONES)
            )
        )
        return self.max_event_age if server_only else min(self.max_event_age, SAFE_RESEND_WINDOW)

    @property
    def browser_events(self) -> frozenset[str]:
        """The names of the events that only browsers report, without a shop's webhook."""
        return (
            frozenset(name for names in self.funnel.events.values() for name in names) if self.funnel else frozenset()
        )

    @property
    def sent_milestones(self) -> tuple[Milestone, ...]:
        """The milestones that are sent as an event."""
        return tuple(milestone for milestone in self.events if any(self.all_event_names(milestone)))

    @property
    def only_tests(self) -> bool:
        """True if every pixel has a test_event_code; then the shop's test orders and old orders are sent, too."""
        return all(pixel.test_event_code for pixel in self.pixels)
