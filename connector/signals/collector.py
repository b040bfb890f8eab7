"""A beacon: what the browser at a checkout tells us, from anybody who likes to send it. docs/signals.md has the form.

It never makes an event. Anything but a good beacon is answered alike, and costs no row.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from connector.core.client_ip import client_address, rate_limit_key
from connector.core.json_fields import query_parameter, text
from connector.core.rate_limit import TokenBuckets
from connector.core.store import Store
from connector.mapping import hashing
from connector.mapping.consent import CHECKOUT_TOKEN, home_page
from connector.signals.matching import Beacon, SignalMatcher
from connector.signals.merge import Signal

MAX_BEACON = 8 * 1024  # bytes; a long click id, two addresses and a user agent are some 3 KB
MAX_TTP = 256  # characters; a cookie of TikTok's has 30 to 40
MAX_AGENT = 1024
# A checkout sends a few beacons; a household, or an office behind one address, has a few checkouts a minute.
ADDRESS_BURST, ADDRESS_RATE = 60, 1.0
# In a process. A shop with an order a second, which is a large one on its best day, sends some ten beacons a second.
STORE_BURST, STORE_RATE = 500, 50.0


@dataclass(frozen=True, slots=True)
class BeaconRequest:
    """A request to /collect: `peer` is the address of the connection, `forwarded` the X-Forwarded-For header."""

    peer: str
    forwarded: str
    user_agent: str


class Collector:
    """Takes beacons for any of the stores. Safe to share by threads; one per process.

    `clock` gives Unix seconds, `elapsed` seconds that never jump.
    """

    def __init__(
        self,
        stores: Mapping[str, Store],
        trusted_proxies: int,
        matcher: SignalMatcher,
        clock: Callable[[], float] = time.time,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stores = stores
        self._hops = trusted_proxies
        self._matcher = matcher
        self._clock = clock
        self._addresses = TokenBuckets(elapsed, ADDRESS_RATE, ADDRESS_BURST)
        self._shops = TokenBuckets(elapsed, STORE_RATE, STORE_BURST)

    def admits(self, store: Store, post: BeaconRequest) -> bool:
        """Whether another beacon may come for this store, and from this address."""
        ip = client_ip(post.peer, post.forwarded, self._hops)
        # Without a public address we see only a proxy, which is everybody.
        return (not ip or self._addresses.allow(rate_limit_key(ip))) and self._shops.allow(store.name)

    def take(self, store: Store, post: BeaconRequest, body: bytes) -> None:
        """Keep a good beacon of a store that expects them; anything else is nothing. Raises CannotStore."""
        if store.signals is None:
            return
        found = parse_beacon(body, post.user_agent, client_ip(post.peer, post.forwarded, self._hops))
        if found is not None:
            token, signal = found
            self._matcher.collect(Beacon(store.name, token, self._clock(), home_page(store), signal))


def parse_beacon(body: bytes, user_agent: str, ip: str) -> tuple[str, Signal] | None:
    """A beacon's token and signal, or None if it is none. A member that is wrong costs that member.

    `user_agent` is the request's own, for a beacon that names none.
    """
    try:
        members = json.loads(body)  # the lenient one: half a character somewhere costs no beacon
    except (ValueError, RecursionError):
        return None
    if not isinstance(members, dict):
        return None
    token = text(members.get("checkout_token"))
    if not CHECKOUT_TOKEN.fullmatch(token):
        return None
    answer = text(members.get("consent"))
    if answer == "denied":  # then the rest is not ours to know
        return token, Signal(consent="denied")
    url, agent = text(members.get("url")), text(members.get("user_agent"))
    return token, Signal(
        ttclid=_visible(text(members.get("ttclid")) or query_parameter(url, "ttclid")),
        ttp=_visible(text(members.get("ttp")), MAX_TTP),
        ip=ip,
        user_agent=_short(agent) or _short(text(user_agent)),
        url=hashing.page_url(url, ""),
        referrer=hashing.page_url(text(members.get("referrer")), ""),
        consent="granted" if answer == "granted" else "",
    )


def client_ip(peer: str, forwarded: str, hops: int) -> str:
    """The public address a request comes from, or ""; see `proxies.origin`."""
    return hashing.public_ip(client_address(peer, forwarded, hops))


def _visible(value: str, most: int = MAX_BEACON) -> str:
    """Click ids and cookies have neither gaps nor letters beyond ASCII."""
    return value if len(value) <= most and value.isascii() and value.isprintable() and " " not in value else ""


def _short(agent: str) -> str:
    return agent if len(agent) <= MAX_AGENT else ""
