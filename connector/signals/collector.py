"""Beacons: signals that the browser of a checkout sends. The format is in docs/signals.md.

The endpoint is public, so anybody can send beacons. A beacon never creates an event. An invalid one gets the same
response as a valid one, and stores no row.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from connector.core.client_ip import client_address, rate_limit_key
from connector.core.json_fields import query_parameter, text
from connector.core.rate_limit import RateLimiter
from connector.core.store import Store
from connector.mapping import hashing
from connector.mapping.consent import CHECKOUT_TOKEN, home_page
from connector.signals.matching import Beacon
from connector.signals.merge import Signal

MAX_BEACON = 8 * 1024  # bytes; a long click id, two URLs and a user agent have about 3 KB
MAX_TTP = 256  # characters; TikTok's cookie has 30 to 40
MAX_AGENT = 1024  # characters
# Beacons per IP address: burst, and rate per second. A checkout sends a few; a household, or an office behind one
# address, has a few checkouts a minute.
ADDRESS_BURST, ADDRESS_RATE = 60, 1.0
# Beacons per store and process: burst, and rate per second. A large shop on its best day has one order and about ten
# beacons a second.
STORE_BURST, STORE_RATE = 500, 50.0


@dataclass(frozen=True, slots=True)
class BeaconRequest:
    """A request to /collect: `peer` is the IP address of the connection, `forwarded` the X-Forwarded-For header."""

    peer: str
    forwarded: str
    user_agent: str


class Collector:
    """Rate-limits and parses the beacons of all stores; one per process.

    `clock` returns Unix seconds, `elapsed` monotonic seconds.
    """

    def __init__(
        self,
        stores: Mapping[str, Store],
        trusted_proxies: int,
        clock: Callable[[], float] = time.time,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stores = stores
        self._trusted_proxies = trusted_proxies
        self._clock = clock
        self._address_limit = RateLimiter(elapsed, ADDRESS_RATE, ADDRESS_BURST)
        self._store_limit = RateLimiter(elapsed, STORE_RATE, STORE_BURST)

    def take_permit(self, store: Store, post: BeaconRequest) -> bool:
        """Return whether the rate limits of the store and of the sender's address allow another beacon."""
        ip = client_ip(post.peer, post.forwarded, self._trusted_proxies)
        # An address that is not public belongs to a proxy, which all senders share.
        return (not ip or self._address_limit.allow(rate_limit_key(ip))) and self._store_limit.allow(store.name)

    def read(self, store: Store, post: BeaconRequest, body: bytes) -> Beacon | None:
        """Return a beacon to be stored, or None if it is invalid or the store expects none."""
        if store.signals is None:
            return None
        found = parse_beacon(body, post.user_agent, client_ip(post.peer, post.forwarded, self._trusted_proxies))
        if found is None:
            return None
        token, signal = found
        remembered = store.matching.remember_clicks
        seconds = remembered.total_seconds() if remembered else 0.0
        return Beacon(store.name, token, self._clock(), home_page(store), signal, seconds)


def parse_beacon(body: bytes, user_agent: str, ip: str) -> tuple[str, Signal] | None:
    """Return a beacon's checkout token and signal, or None if it is invalid. Invalid optional members are left out.

    `user_agent` is the request's header, used if the beacon has none.
    """
    try:
        members = json.loads(body)  # lenient: accepts unpaired surrogates, unlike msgspec
    except (ValueError, RecursionError):
        return None
    if not isinstance(members, dict):
        return None
    token = text(members.get("checkout_token"))
    if not CHECKOUT_TOKEN.fullmatch(token):
        return None
    answer = text(members.get("consent"))
    if answer == "denied":  # without consent nothing else is read
        return token, Signal(consent="denied")
    url, agent = text(members.get("url")), text(members.get("user_agent"))
    return token, Signal(
        ttclid=_printable(text(members.get("ttclid")) or query_parameter(url, "ttclid")),
        ttp=_printable(text(members.get("ttp")), MAX_TTP),
        ip=ip,
        user_agent=_limited(agent) or _limited(text(user_agent)),
        url=hashing.page_url(url, ""),
        referrer=hashing.page_url(text(members.get("referrer")), ""),
        consent="granted" if answer == "granted" else "",
    )


def client_ip(peer: str, forwarded: str, trusted_proxies: int) -> str:
    """Return the public IP address that a request comes from, or ""; see `connector.core.client_ip.client_address`."""
    return hashing.public_ip(client_address(peer, forwarded, trusted_proxies))


def _printable(value: str, limit: int = MAX_BEACON) -> str:
    """Return a click id or cookie, or "" unless it is printable ASCII without spaces and not too long."""
    return value if len(value) <= limit and value.isascii() and value.isprintable() and " " not in value else ""


def _limited(agent: str) -> str:
    return agent if len(agent) <= MAX_AGENT else ""
