"""Tokens for the events that browsers report: short-lived, bound to a store and to the browser's network.

`KIND.EXPIRES.NONCE.MAC`, where EXPIRES is in Unix seconds and MAC the first 32 hex digits of an HMAC-SHA256. A token of
kind "a" is made here, and bound to the address it was made for. One of kind "p" is made by the shop's own server, which
may see another address of the same browser (IPv6 there, IPv4 here): it is bound to the first address that uses it.

The key is derived from the store's webhook secret, so a shop's server can hold it without being able to sign webhooks.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from typing import Literal, NamedTuple

from connector.core.store import Store

LIFETIME = 1800  # seconds for which a token of this server is valid
LONGEST_LIFETIME = 3600  # seconds until a token's expiry, at most: the shop's clock may be ahead of this server's
_TOKEN = re.compile(r"([ap])\.([0-9]{1,12})\.([A-Za-z0-9_-]{16,32})\.([0-9a-f]{32})")


class FunnelToken(NamedTuple):
    """A valid token: its unique part, and its kind."""

    nonce: str
    kind: Literal["a", "p"]


def funnel_key(store: Store) -> str:
    """Return the key of a store's tokens and signatures, in hex: for the shop's server, never for a page."""
    return _keys(store)[0]


def address_prefix(address: str) -> str:
    """Return the network of an address in hex: 24 bits of IPv4, 48 of IPv6; "" for anything else.

    A browser's address changes within its network: mobile networks share addresses, and IPv6 hosts renew theirs.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return ""
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    packed = (mapped or parsed).packed
    return packed[: 3 if len(packed) == 4 else 6].hex()


def new_token(store: Store, address: str, now: float, randomness: Callable[[int], str] = secrets.token_urlsafe) -> str:
    """Return a token for the browser at `address`, valid for LIFETIME seconds from `now` (Unix seconds)."""
    head = f"a.{int(now) + LIFETIME}.{randomness(12)}"
    return f"{head}.{_mac(funnel_key(store), store.name, head, address)}"


def check_token(token: str, store: Store, address: str, now: float) -> FunnelToken | None:
    """Return what is needed to count a token's uses, or None if it is not valid now, here, for this store."""
    match = _TOKEN.fullmatch(token)
    if match is None or not now < int(match[2]) <= now + LONGEST_LIFETIME:
        return None
    head, mac = token.rsplit(".", 1)
    valid = [hmac.compare_digest(_mac(key, store.name, head, address), mac) for key in _keys(store)]
    return FunnelToken(match[3], "a" if match[1] == "a" else "p") if any(valid) else None


def is_signed(body: bytes, signature: str, store: Store) -> bool:
    """Return True if `signature` is the hex HMAC-SHA256 of the body that the shop's server makes with the key."""
    given = signature.strip().lower().encode("latin-1", "replace")
    valid = [hmac.compare_digest(_hmac(key, body).encode(), given) for key in _keys(store)]
    return any(valid)


def _keys(store: Store) -> list[str]:
    """Return the keys from all of the store's secrets: several while they are rotated."""
    text = f"tiktok-connector funnel {store.name}".encode()
    return [_hmac(secret, text) for secret in store.webhook_secrets]


def _mac(key: str, name: str, head: str, address: str) -> str:
    bound = f".{address_prefix(address)}" if head.startswith("a") else ""
    return _hmac(key, f"{name}.{head}{bound}".encode())[:32]


def _hmac(key: str, text: bytes) -> str:
    return hmac.new(key.encode(), text, hashlib.sha256).hexdigest()
