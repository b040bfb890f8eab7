"""Incoming data: a raw request, and the verified webhook it becomes."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from msgspec import Struct

RefusalKind = Literal["missing", "wrong", "old"]


class InvalidSignature(Exception):
    """The signature is missing or wrong. Answered 401; nothing is stored.

    `kind`: missing (there is none), wrong (it fits no secret or key, or has another form), old (it fits, but was made
    too long ago).
    """

    def __init__(self, why: str, kind: RefusalKind = "wrong") -> None:
        super().__init__(why)
        self.kind = kind


class UnknownKey(Exception):
    """Signed with a public key that is not known yet. Answered 503: the shop repeats, and the keys are fetched."""


class InvalidPayload(Exception):
    """Signed, but the body does not fit its topic; the message says why. Answered 200 and parked."""


class BrokenWebhook(InvalidPayload):
    """Signed, but an error of the shop's in place of the data, and so will be every body until the webhook is replaced.

    Parked under a reason that begins with PREFIX, so that it is reported and the webhook registered again.
    """

    PREFIX = "the shop's webhook is broken: "

    def __init__(self, why: str) -> None:
        super().__init__(self.PREFIX + why)


class NotJson(Exception):
    """Signed, but not JSON. Answered 400."""


class Request(Struct, frozen=True):
    """An HTTP request as it arrived: header names in lower case, the raw body, the time of arrival.

    `url` is the address that it was sent to, PUBLIC_URL and the path; "" without PUBLIC_URL.
    """

    headers: Mapping[str, str]
    body: bytes
    received_at: datetime
    url: str = ""

    def __repr__(self) -> str:
        """Leave out the body, which has personal data."""
        return f"<Request of {len(self.body)} bytes>"


class Handshake(Struct, frozen=True):
    """A request that a shop sends to try an address. Nothing is stored; without a `body` the outcome is the answer."""

    body: bytes = b""
    content_type: str = "text/plain"
    status: int = 200


class Notice(Struct, frozen=True):
    """The order, checkout or customer that a webhook without data names as changed, by its id in the shop's API."""

    kind: Literal["order", "checkout", "customer"]
    id: str

    @property
    def object_key(self) -> str:
        """The key under which the story of the order, checkout or customer is found."""
        return f"{self.kind}:{self.id}"


class Webhook(Struct, frozen=True):
    """A verified webhook. Where only the body is signed, topic, shop and times come from headers that anyone can forge.

    `shop` is the host or id the sender claims to be, in lower case, or "". `data` is the parsed body, set by `examine`.
    """

    topic: str
    body: bytes
    received_at: datetime
    shop: str = ""
    delivery: str = ""
    triggered_at: datetime | None = None
    data: Any = None

    def __repr__(self) -> str:
        """Leave out the body, which has personal data."""
        return f"<Webhook {self.topic} of {len(self.body)} bytes>"
