"""HMAC-SHA256 over the raw body. Nothing is parsed before the signature is verified."""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Callable, Iterable

from connector.core.webhook import InvalidSignature


def sign(body: bytes, key: bytes) -> str:
    """Return the value of the signature header: base64 of HMAC-SHA256 over the raw bytes."""
    return base64.b64encode(hmac.digest(key, body, "sha256")).decode("ascii")


def new_secret(randomness: Callable[[int], bytes] = secrets.token_bytes) -> str:
    """Return a webhook secret of 43 letters, digits, "-" and "_": shop systems decode or strip other characters."""
    return base64.urlsafe_b64encode(randomness(32)).decode().rstrip("=")


def body_sha256(body: bytes) -> bytes:
    """Return the SHA-256 of a body, which identifies repeated deliveries."""
    return hashlib.sha256(body).digest()


def verify(body: bytes, given: str, keys: Iterable[bytes]) -> None:
    """Compare a signature header with each of the store's keys, in constant time.

    Raises InvalidSignature if the header is missing, is not base64, or matches none of the keys.
    """
    if not given:
        raise InvalidSignature("the signature header is missing, so no shop sent this (or its webhook has no secret)")
    try:
        # Header values arrive as latin-1 text, and compare_digest raises on text beyond ASCII.
        digest = base64.b64decode(given.strip().encode("latin-1"), validate=True)
    except (binascii.Error, UnicodeEncodeError, ValueError):
        raise InvalidSignature("the signature is not base64") from None
    matches = [hmac.compare_digest(hmac.digest(key, body, "sha256"), digest) for key in keys]
    if not any(matches):
        raise InvalidSignature(
            "the signature fits none of the store's secrets; compare webhook_secrets with the shop's own page"
        )
