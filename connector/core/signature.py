"""Signatures of webhooks: the schemes of shop systems, checked with every secret of a store, in constant time.

A platform has one of them as `signature`. Nothing of a request is believed before `verify` has returned. A scheme that
signs the time refuses webhooks that are older than its tolerance when they arrive; a parked webhook that is handled
again later is not verified again, so its age never counts.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal, Protocol

from connector.core.json_fields import unix_time
from connector.core.store import Store
from connector.core.text import duration
from connector.core.webhook import InvalidSignature, Request

Encoding = Literal["base64", "hex"]
TOLERANCE = timedelta(minutes=5)  # of Stripe's and the Standard Webhooks' own libraries
MAX_SIGNATURES = 10  # in one header, where a scheme allows several; a sender has as many as it has live secrets

MISSING = "the signature header is missing, so no shop sent this (or its webhook has no secret)"
FITS_NONE = "the signature fits none of the store's secrets; compare webhook_secrets with the shop's own page"


class Signature(Protocol):
    """A scheme. `header` is the header that has the signature."""

    @property
    def header(self) -> str:
        """The name of the signature's header, as the shop writes it."""

    def verify(self, request: Request, store: Store) -> None:
        """Return if one of the store's secrets or keys made the signature. Raises InvalidSignature, UnknownKey."""

    def sign(self, request: Request, secret: str) -> dict[str, str]:
        """Return the headers with which a shop of this secret would sign `request`, at its time of arrival."""


def new_secret(randomness: Callable[[int], bytes] = secrets.token_bytes) -> str:
    """Return a webhook secret of 43 letters, digits, "-" and "_": shop systems decode or strip other characters."""
    return base64.urlsafe_b64encode(randomness(32)).decode().rstrip("=")


def body_sha256(body: bytes) -> bytes:
    """Return the SHA-256 of a body, which identifies repeated deliveries."""
    return hashlib.sha256(body).digest()


# --- the schemes --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BodySignature:
    """HMAC-SHA256 over the raw body.

    `encodings` are those that are accepted; the first is the one the shop writes. `prefix` stands before the signature,
    such as "sha256=". `over_url`: the URL that the shop posts to is signed before the body, so PUBLIC_URL must be it.
    `key` makes the key of a secret. `aliases` are other names of the header.
    """

    header: str
    encodings: tuple[Encoding, ...] = ("base64",)
    prefix: str = ""
    over_url: bool = False
    key: Callable[[str], bytes] = str.encode
    aliases: tuple[str, ...] = ()
    _names: tuple[str, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_names", tuple(name.lower() for name in (self.header, *self.aliases)))

    def verify(self, request: Request, store: Store) -> None:
        """Return if one of the store's secrets signed the body. Raises InvalidSignature."""
        given = next((found for name in self._names if (found := request.headers.get(name))), "")
        if not given:
            raise InvalidSignature(MISSING, "missing")
        given = given.strip()
        if not given.startswith(self.prefix):
            raise InvalidSignature(f"the signature does not begin with {self.prefix}")
        found = given.removeprefix(self.prefix)
        keys, signed = [self.key(secret) for secret in store.webhook_secrets], self._signed(request)
        _require([_encoded(key, signed, encoding) for key in keys for encoding in self.encodings], [found])

    def sign(self, request: Request, secret: str) -> dict[str, str]:
        """Return the header of the signature."""
        made = _encoded(self.key(secret), self._signed(request), self.encodings[0])
        return {self.header: self.prefix + made.decode()}

    def _signed(self, request: Request) -> bytes:
        return request.url.encode() + request.body if self.over_url else request.body


@dataclass(frozen=True, slots=True)
class TimedSignature:
    """HMAC-SHA256 over "{time}.{body}", in one header such as "t=1795412160,v1=5257a8…,v1=…".

    `time_field` and `signature_field` are the names in it; other fields are passed over. Several signatures stand there
    while a secret is being replaced. With `time_header` the time has that header, and `header` only the signature.
    """

    header: str
    time_field: str = "t"
    signature_field: str = "v1"
    time_header: str = ""
    encoding: Encoding = "hex"
    tolerance: timedelta = TOLERANCE
    key: Callable[[str], bytes] = str.encode

    def verify(self, request: Request, store: Store) -> None:
        """Return if one of the store's secrets signed time and body. Raises InvalidSignature."""
        given = request.headers.get(self.header.lower(), "")
        if not given:
            raise InvalidSignature(MISSING, "missing")
        if self.time_header:
            moment, found = request.headers.get(self.time_header.lower(), "").strip(), [given.strip()]
        else:
            pairs = [pair.strip().partition("=") for pair in given.split(",")]
            moment = next((value for name, _, value in pairs if name == self.time_field), "")
            found = [value for name, _, value in pairs if name == self.signature_field]
        signed = b"%b.%b" % (_bytes(moment), request.body)
        keys = [self.key(secret) for secret in store.webhook_secrets]
        _require([_encoded(key, signed, self.encoding) for key in keys], found)
        _require_fresh(moment, request, self.tolerance)

    def sign(self, request: Request, secret: str) -> dict[str, str]:
        """Return the header, or both."""
        moment = str(int(request.received_at.timestamp()))
        made = _encoded(self.key(secret), b"%b.%b" % (moment.encode(), request.body), self.encoding).decode()
        if self.time_header:
            return {self.header: made, self.time_header: moment}
        return {self.header: f"{self.time_field}={moment},{self.signature_field}={made}"}


def standard_key(secret: str) -> bytes:
    """Return the key of a Standard Webhooks secret: "whsec_" and base64, or any other text as it is."""
    encoded = secret.removeprefix("whsec_")
    if encoded == secret:
        return secret.encode()
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return secret.encode()


@dataclass(frozen=True, slots=True)
class StandardWebhooks:
    """HMAC-SHA256 over "{id}.{time}.{body}" by the Standard Webhooks: https://www.standardwebhooks.com

    The header has "v1,{base64}" for each live secret, separated by spaces. `prefix` begins the names of the headers.
    """

    prefix: str = "webhook"
    tolerance: timedelta = TOLERANCE
    key: Callable[[str], bytes] = standard_key

    @property
    def header(self) -> str:
        """The name of the signature's header."""
        return f"{self.prefix}-signature"

    def delivery(self, request: Request) -> str:
        """Return the (signed) id of the message, which a repeated delivery keeps."""
        return request.headers.get(f"{self.prefix}-id", "")

    def verify(self, request: Request, store: Store) -> None:
        """Return if one of the store's secrets signed id, time and body. Raises InvalidSignature."""
        given, moment = request.headers.get(self.header, ""), request.headers.get(f"{self.prefix}-timestamp", "")
        if not given:
            raise InvalidSignature(MISSING, "missing")
        found = [value for name, _, value in (one.partition(",") for one in given.split()) if name == "v1"]
        signed = b"%b.%b.%b" % (_bytes(self.delivery(request)), _bytes(moment), request.body)
        _require([_encoded(self.key(secret), signed, "base64") for secret in store.webhook_secrets], found)
        _require_fresh(moment, request, self.tolerance)

    def sign(self, request: Request, secret: str) -> dict[str, str]:
        """Return the three headers; the id is made of the body, so that a repeated body has the same."""
        delivery = f"msg_{hashlib.sha256(request.body).hexdigest()[:24]}"
        moment = str(int(request.received_at.timestamp()))
        signed = b"%b.%b.%b" % (delivery.encode(), moment.encode(), request.body)
        made = _encoded(self.key(secret), signed, "base64").decode()
        return {f"{self.prefix}-id": delivery, f"{self.prefix}-timestamp": moment, self.header: f"v1,{made}"}


@dataclass(frozen=True, slots=True)
class HeaderToken:
    """A secret that the shop sends in a header as it is. The body is not signed: use it only to be told of a change."""

    header: str
    prefix: str = ""

    def verify(self, request: Request, store: Store) -> None:
        """Return if the header has one of the store's secrets. Raises InvalidSignature."""
        given = request.headers.get(self.header.lower(), "")
        if not given:
            raise InvalidSignature(MISSING, "missing")
        _require([(self.prefix + secret).encode() for secret in store.webhook_secrets], [given.strip()])

    def sign(self, request: Request, secret: str) -> dict[str, str]:
        """Return the header."""
        return {self.header: self.prefix + secret}


# --- their parts --------------------------------------------------------------------------------------------------


def _encoded(key: bytes, signed: bytes, encoding: Encoding) -> bytes:
    digest = hmac.digest(key, signed, "sha256")
    return base64.b64encode(digest) if encoding == "base64" else digest.hex().encode()


def _require(expected: Sequence[bytes], given: Iterable[str]) -> None:
    """Compare every given signature with every expected one, as texts: two texts can encode the same bytes."""
    found = [_bytes(one) for one in list(given)[:MAX_SIGNATURES]]
    matches = [hmac.compare_digest(one, other) for one in found for other in expected]
    if not any(matches):
        raise InvalidSignature(FITS_NONE)


def _bytes(value: str) -> bytes:
    """Return a header's value as it came, b"" for text beyond latin-1, as which headers arrive."""
    try:
        return value.encode("latin-1")
    except UnicodeEncodeError:
        return b""


def _require_fresh(moment: str, request: Request, tolerance: timedelta) -> None:
    """Refuse a signature that was made too long before its arrival, or after it: somebody sends it again."""
    made = unix_time(moment)
    age = request.received_at - made if made else None
    if age is None or abs(age) > tolerance:
        seconds = age.total_seconds() if age else 0.0
        side = "before it arrived" if seconds > 0 else "after it arrived"
        shown = "has no time" if age is None else f"was made {duration(abs(seconds))} {side}"
        limit = duration(tolerance.total_seconds())
        raise InvalidSignature(f"the signature {shown}; it counts for {limit}; check this server's clock", "old")
