"""The interface to a shop's own API: its webhooks and its history. Never used while a webhook is being answered.

A platform implements `ShopApi` with its vendor's client and hides the client's peculiarities: every error is a
ShopApiError, every request has a time limit, and nothing is printed.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol, runtime_checkable

from connector.core.store import Store
from connector.core.webhook import Notice

Pause = Callable[[float], object]
ErrorKind = Literal["keys", "scopes", "withheld", "unreachable", "throttled", "refused", "broken"]


class ShopApiError(Exception):
    """A failed request to the shop's API. The message is one sentence with the remedy and without secrets.

    `kind`: keys (unknown or revoked), scopes (a permission is missing), withheld (personal data cannot be read),
    unreachable, throttled (after all retries), refused (the shop says why), broken (not a valid answer).
    """

    def __init__(self, kind: ErrorKind, sentence: str) -> None:
        super().__init__(sentence)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Subscription:
    """A webhook as registered in the shop. `active` False: the shop has stopped delivering to it.

    `by_us`: it is marked as made with the connector's keys, not by hand.
    """

    id: str
    topic: str
    url: str
    active: bool = True
    by_us: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """Resources as JSON bytes, each as the body of a webhook of `topic`. `total` is of all pages, None if unknown."""

    topic: str
    bodies: Sequence[bytes]
    total: int | None = None


@dataclass(frozen=True, slots=True)
class ApiCheck:
    """The result of one check: good or not, and a sentence with the remedy."""

    good: bool
    sentence: str


class ShopApi(Protocol):
    """One shop's API. Methods raise ShopApiError. Not safe to share between threads."""

    def subscriptions(self) -> list[Subscription]:
        """Return all webhooks the shop lists, including those created by others."""

    def subscribe(self, topic: str, url: str, secret: str) -> Subscription:
        """Create a webhook. `secret` is the key to sign with, on platforms that let us choose it."""

    def unsubscribe(self, subscription: Subscription) -> None:
        """Delete a webhook; one that is already gone is not an error."""

    def orders(self, since: datetime, until: datetime, by: Literal["created", "modified"]) -> Iterator[Page]:
        """Yield orders created or modified in [since, until], oldest first, page by page; duplicates are possible."""

    def customers(self, since: datetime, until: datetime) -> Iterator[Page]:
        """Yield customers who registered in [since, until], page by page."""

    def why_never_sent(self, topic: str) -> str:
        """Return why the shop sends no webhook of a topic that is registered, with the remedy; "" if it does."""

    def check(self) -> Iterator[ApiCheck]:
        """Check keys, scopes, personal data and clock for `check --live`; yield one result for each."""


@runtime_checkable
class NoticeApi(Protocol):
    """The further methods of an API whose platform has `notice_topics`."""

    def fetch(self, notice: Notice) -> Page:
        """Return what a notice names, in its present state; a page without bodies if the shop no longer has it."""


class ShopApiModule(Protocol):
    """A platform's shop API, as a module."""

    SETS_SECRET: bool  # True if `subscribe` sets the secret that the webhook signs with
    SEES_ALL: bool  # True if `subscriptions` includes webhooks created by others

    def topics(self, store: Store) -> tuple[str, ...]:
        """Return the topics needed for the store's events, in the platform's spelling."""

    def why_not_url(self, url: str) -> str:
        """Return why the shop would not deliver to this URL, with the remedy, or ""."""

    @property
    def connect(self) -> "ConnectShop":
        """Open the API of a store's shop with the keys in its [api]. Raises ShopApiError without keys."""


class ConnectShop(Protocol):
    """A function that opens a ShopApi, which waits by calling `pause` with a number of seconds."""

    def __call__(self, store: Store, pause: Pause = ...) -> ShopApi:
        """Open the API of this store's shop."""
