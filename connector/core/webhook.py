"""What comes in: a raw request, the webhook it is once verified, and what a shop platform has to offer."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Protocol

from msgspec import Struct

from connector.core.event import DataRequest, Event, Skipped
from connector.core.store import Store


class InvalidSignature(Exception):
    """The signature is missing or wrong. Answered 401; nothing is stored."""


class InvalidPayload(Exception):
    """Signed, but not what its topic requires; the message says why. Answered 200 and parked."""


class NotJson(Exception):
    """Signed, but not JSON at all. Answered 400."""


class Request(Struct, frozen=True):
    """An HTTP request as it arrived: header names in lower case, the raw body, the time of arrival."""

    headers: Mapping[str, str]
    body: bytes
    received_at: datetime

    def __repr__(self) -> str:
        """Without the body, which has personal data."""
        return f"<Request of {len(self.body)} bytes>"


class Webhook(Struct, frozen=True):
    """A verified webhook. Only the body is signed: topic, shop and times come from headers anybody may write.

    `shop` is the sender's host by its own account, or "". `data` is the parsed body, set by `examine`.
    """

    topic: str
    body: bytes
    received_at: datetime
    shop: str = ""
    delivery: str = ""
    triggered_at: datetime | None = None
    data: Any = None

    def __repr__(self) -> str:
        """Without the body, which has personal data."""
        return f"<Webhook {self.topic} of {len(self.body)} bytes>"


class Platform(Protocol):
    """A shop system, as a module: a few functions and two facts. Adding one is described in CONTRIBUTING.md."""

    TOPICS: frozenset[str]  # topics that yield events
    RECORDED: frozenset[str]  # topics that yield none, but a line in the ledger and perhaps a Demand

    def receive(self, request: Request, store: Store) -> Webhook | None:
        """Verify; None for a handshake that wants a 200 and changes nothing. Raises InvalidSignature."""

    def translate(self, webhook: Webhook, store: Store) -> Iterable[Event | Skipped | DataRequest]:
        """Vendor words to ours, pure. Raises InvalidPayload when the body is not what the topic promises."""

    def topic_of(self, request: Request) -> str:
        """The topic a request claims to be of, before it is verified, or ""."""

    def shop_of(self, request: Request) -> str:
        """The host a request claims to come from, before it is verified, or ""."""

    def signed_headers(self, body: bytes, secret: str) -> dict[str, str]:
        """The signature header a shop with this secret would send: for `simulate` and tests."""
