"""Platform: one shop system as one object, with everything the connector needs to know about it.

The object is light, because the processes that receive webhooks load it. Parts that only commands and tests need (the
shop's API, the snippet, the samples) are properties that import their module on first use.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from connector.core.event import MILESTONES, ORDER_KINDS, DataRequest, Event, Milestone, OrderKind, Skipped
from connector.core.order_state import OrderRefund, OrderState
from connector.core.shop_api import ShopApiModule
from connector.core.signature import Signature
from connector.core.snippet import SnippetModule
from connector.core.store import Store
from connector.core.webhook import Handshake, Notice, Request, Webhook

if TYPE_CHECKING:
    from connector.plugin.testing.samples import SamplesModule


@dataclass(frozen=True, slots=True)
class PlatformFacts:
    """Facts about a shop system for the settings, the summary of `check` and the alerts.

    Each default holds for any platform; the defaults are also used where a platform cannot be loaded.
    """

    content_id: Literal["product_id", "variant_id", "sku"] = "variant_id"
    """Default of mapping.content_id: the id that the platform's product feeds use."""

    shop_suffix: str = ""
    """Suffix of the host by which webhooks name their shop, such as ".myshop.example"; "" for a domain of its own."""

    shop_error: str = ""
    """Message for a `shop` without the suffix, or of another form than `shop_id`: begins with "must be"."""

    shop_id: str = ""
    """Pattern of the id by which webhooks name their shop, such as "[0-9]+"; "" if they name it by host.

    Webhooks give it in lower case. `shop_error` is the message for a `shop` of another form.
    """

    key_address: str = ""
    """Address of the shop's public keys (a JWKS), with {shop} for its name; "" if webhooks are signed with a secret."""

    api_credentials: tuple[tuple[str, ...], ...] = ()
    """Sets of keys in [api], each sufficient alone; empty if the shop's API is not supported."""

    api_url: bool = False
    """True if [api] takes the address of another API than the shop's own, such as that of the sandbox."""

    consent_key: str = ""
    """Default of consent_source.key: where the platform's orders have the shopper's answer, if in one place."""

    signals: bool = False
    """True if the shop's pages and its orders name a checkout alike, so that the browser's signals find their order."""

    page_reads_click: bool = True
    """True if the shop's pages read the cookie with TikTok's click id, so that it must not be hidden from scripts."""

    thin: bool = False
    """True if webhooks only name what changed, so that a store needs [api], by which the rest is fetched."""

    shared_url: bool = False
    """True if one URL, /webhooks/PLATFORM, can serve several shops: each webhook names the shop it comes from."""

    lost_deliveries: str = "webhooks that cannot be delivered while this server is down are lost"
    """Deliveries lost while this server is down, by how often and how long the platform retries."""

    placed_when: str = "it is placed"
    """Condition for an order to count as placed, without orders.placed_statuses."""

    paid_when: str = "it is paid"
    """Condition for an order to count as paid, without orders.paid_statuses."""

    paid_statuses: frozenset[str] = frozenset()
    """Statuses that count as paid, without orders.paid_statuses; empty if the platform does not decide by status."""

    placeholders: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Placeholders of event_id that can have a value, by "order", "checkout" and "customer"; missing: not known.

    "meta:KEY" and "attribute:KEY" stand for any key.
    """

    milestones: tuple[Milestone, ...] = MILESTONES
    """Milestones that the platform's webhooks can report."""

    milestone_topics: Mapping[Milestone, tuple[str, ...]] = field(default_factory=dict)
    """Topics that report each milestone; one of them shows that it arrives. A milestone without topics: not known."""

    webhooks_page: str = ""
    """Where webhooks are created by hand, as the shop's pages name it; "" if there is no such page."""

    signed_with: str = "the shop's page of its webhooks"
    """Where the shop shows the secret it signs with: "compare webhook_secrets with …"."""

    official_app: bool = True
    """True if an app of TikTok's own may send the same orders; False if none is known for the platform."""

    order_kinds: tuple[OrderKind, ...] = ORDER_KINDS
    """Kinds that an order can be of."""

    order_tags: bool = True
    """True if orders have tags."""

    bundle_parts: bool = True
    """True if an order's lines can be the parts of a bundle, and state of which."""

    shop_currency: bool = True
    """True if an order can have another currency than the shop's, and states both."""

    withheld: str = "the shop withholds personal data, so TikTok can match few of its orders"
    """Cause and remedy, shown when no recent order names its customer."""

    hidden_webhooks: str = ""
    """Explanation for webhooks that seem to be missing, if the shop's API does not list all of them."""


class Platform(ABC):
    """A shop system. A package provides one by an entry point; see docs/adding-a-platform.md."""

    name: ClassVar[str]  # as in the stores file: `platform = "…"`
    title: ClassVar[str]  # as people write it
    facts: ClassVar[PlatformFacts] = PlatformFacts()
    signature: ClassVar[Signature]  # how webhooks are signed: a scheme of connector.core.signature
    event_topics: ClassVar[frozenset[str]]  # topics that yield events
    recorded_topics: ClassVar[frozenset[str]] = frozenset()  # topics that yield only ledger lines or data requests
    book_topics: ClassVar[frozenset[str]] = frozenset()  # topics that `order_state` reads for a store with `books`
    notice_topics: ClassVar[frozenset[str]] = frozenset()  # topics that `notice` reads: their webhooks have no data

    def receive(self, request: Request, store: Store) -> Webhook | Handshake:
        """Verify a request, or return the Handshake to answer it with. Raises InvalidSignature, UnknownKey.

        Replace it for a request that is not signed, or a time that the headers state; verify before anything is read.
        """
        self.signature.verify(request, store)
        return Webhook(
            topic=self.topic_of(request),
            body=request.body,
            received_at=request.received_at,
            shop=self.shop_of(request),
            delivery=self.delivery_of(request),
        )

    def greeting(self, query: Mapping[str, str], store: Store) -> Handshake | None:
        """Return the answer to a GET request with which the shop tries the address, by its query; None for none.

        Compare a token that the shop was given, if it sends one, before the answer repeats anything.
        """
        return None

    @abstractmethod
    def translate(self, webhook: Webhook, store: Store) -> Iterable[Event | Skipped | DataRequest]:
        """Translate a verified webhook, without side effects. Raises InvalidPayload if body and topic disagree."""

    def notice(self, webhook: Webhook, store: Store) -> Notice | None:
        """Return what a verified webhook of `notice_topics` names; None if that concerns no event of the store.

        The relay's process asks `shop_api` for it, whose answer `translate` gets. Raises InvalidPayload.
        """
        raise NotImplementedError

    @abstractmethod
    def topic_of(self, request: Request) -> str:
        """Return the topic that a request claims, also before it is verified, or "". It never raises.

        Never the topic of what the shop's API answers a notice with: a webhook must not pass for such an answer.
        """

    def shop_of(self, request: Request) -> str:
        """Return the host or id that a request claims to come from, in lower case, or "". It never raises."""
        return ""

    def delivery_of(self, request: Request) -> str:
        """Return the shop's id of this delivery, or "": it helps to find the delivery in the shop's own list."""
        return ""

    def signed_headers(self, body: bytes, secret: str, at: datetime | None = None, url: str = "") -> dict[str, str]:
        """Return the headers with which a shop of this secret signs a body, for `simulate` and tests.

        `at` is the time of signing, now by default; `url` the address that the body is posted to.
        """
        return self.signature.sign(Request({}, body, at or datetime.now(UTC), url), secret)

    def order_state(self, webhook: Webhook, store: Store) -> OrderState | OrderRefund | None:
        """Return what a body says of an order as a sale; None if it says nothing. Raises InvalidPayload.

        Called for order topics and `book_topics`, for stores with `books` and in reconciliation.
        """
        return None

    @property
    def shop_api(self) -> ShopApiModule | None:
        """The shop's own API, or None: webhooks are then registered by hand, and there is no backfill."""
        return None

    @property
    def snippet(self) -> SnippetModule | None:
        """The code for the shop's pages, or None."""
        return None

    @property
    def samples(self) -> "SamplesModule | None":
        """Sample webhooks for `simulate`, `demo` and the contract tests, or None."""
        return None

    @property
    def recordings(self) -> Path | None:
        """The folder of recorded requests and what is expected of each, for the conformance kit, or None."""
        return None
