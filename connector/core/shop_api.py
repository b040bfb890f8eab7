"""What a shop's own API offers: its webhooks and its history. Never used while a webhook is being answered.

A platform implements `ShopApi` over its vendor's client and lets no oddity of that client out: every error is a
ShopApiError, every request has a time limit, nothing is printed.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from connector.core.store import Store

Pause = Callable[[float], object]
ErrorKind = Literal["keys", "scopes", "withheld", "unreachable", "throttled", "refused", "broken"]


class ShopApiError(Exception):
    """The shop's API did not do what was asked: one sentence, with what to do about it; no secret in it.

    `kind`: keys (unknown or revoked), scopes (a permission is missing), withheld (personal data may not be read),
    unreachable, throttled (asked again until patience ended), refused (the shop says no and why), broken (an answer
    that is none).
    """

    def __init__(self, kind: ErrorKind, sentence: str) -> None:
        super().__init__(sentence)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Subscription:
    """A webhook as the shop has it. `active` False: the shop has stopped delivering to it.

    `by_us`: it bears the mark of one that was made with our keys, and not by hand.
    """

    id: str
    topic: str
    url: str
    active: bool = True
    by_us: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """Some resources as the webhook of `topic` would carry them: JSON bytes each. `total` of all pages, if known."""

    topic: str
    bodies: Sequence[bytes]
    total: int | None = None


@dataclass(frozen=True, slots=True)
class ApiCheck:
    """One thing that was looked at: good or not, in a sentence with the remedy."""

    good: bool
    sentence: str


class ShopApi(Protocol):
    """One shop's API. Methods raise ShopApiError. Not to be shared by threads."""

    def subscriptions(self) -> list[Subscription]:
        """All webhooks the shop shows us, foreign ones too."""

    def subscribe(self, topic: str, url: str, secret: str) -> Subscription:
        """Make one. `secret` is what it shall sign with, on platforms where that is ours to say."""

    def unsubscribe(self, subscription: Subscription) -> None:
        """Remove one; no fault if it is gone already."""

    def orders(self, since: datetime, until: datetime, by: Literal["created", "modified"]) -> Iterator[Page]:
        """Orders made or changed in [since, until], oldest first, page by page; one may come twice."""

    def customers(self, since: datetime, until: datetime) -> Iterator[Page]:
        """Customers who registered in [since, until]."""

    def check(self) -> Iterator[ApiCheck]:
        """Check keys, scopes, personal data and clock, for `check --live`; one result each."""


class ShopApiModule(Protocol):
    """A platform's shop API, as a module."""

    SETS_SECRET: bool  # whether `subscribe` decides what the webhook signs with
    SEES_ALL: bool  # whether `subscriptions` shows those that others made, too

    def topics(self, store: Store) -> tuple[str, ...]:
        """The topics needed for what the store sends, in the platform's spelling."""

    def why_not_url(self, url: str) -> str:
        """Why the shop would not deliver to this URL, with what to do, or ""."""

    @property
    def connect(self) -> "ConnectShop":
        """Open the API of a store's shop with the keys in its [api]. Raises ShopApiError without any."""


class ConnectShop(Protocol):
    """Opens a ShopApi, which waits by calling `pause` with a number of seconds, if one is given."""

    def __call__(self, store: Store, pause: Pause = ...) -> ShopApi:
        """The API of this store's shop."""
