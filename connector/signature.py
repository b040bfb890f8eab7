"""HMAC over the raw body, as Shopify and WooCommerce both do it. Nothing is parsed before this has passed."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable

from connector.webhook import Refused


def sign(body: bytes, key: bytes) -> str:
    """Base64 of HMAC-SHA256 over the raw bytes: what the shop puts into its signature header."""
    return base64.b64encode(hmac.digest(key, body, hashlib.sha256)).decode("ascii")


def verify(body: bytes, given: str, keys: Iterable[bytes]) -> None:
    """Check a signature header against each of the store's keys, in constant time, as bytes.

    Raises Refused when the header is missing, is no base64 of 32 bytes, or fits none of the keys.
    """
    if not given:
        raise Refused("the signature header is missing, so no shop sent this (or its webhook has no secret)")
    try:
        # Header values arrive as latin-1 text; comparing texts would raise on anything beyond ASCII.
        digest = base64.b64decode(given.strip().encode("latin-1"), validate=True)
    except (binascii.Error, UnicodeEncodeError, ValueError):
        raise Refused("the signature is not base64") from None
    matches = [hmac.compare_digest(hmac.digest(key, body, hashlib.sha256), digest) for key in keys]
    if not any(matches):
        raise Refused(
            "the signature fits none of the store's secrets; compare webhook_secrets with the shop's own page"
        )
