"""`POST /collect/<store>/event` and `GET /collect/<store>/token`: the events that browsers report.

The format is in docs/browser.md. Nothing here waits for the database.
"""

import re
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit

from werkzeug.exceptions import MethodNotAllowed, RequestEntityTooLarge

from connector.core.client_ip import client_address
from connector.core.funnel_token import LIFETIME, is_signed, new_token
from connector.core.json_fields import Json, host, json_objects, parse_browser_json, text
from connector.core.platform import Platform
from connector.core.registry import BrokenPlatform
from connector.core.site import common_domain, is_same_site
from connector.core.store import Store
from connector.funnel import buffer as outcomes
from connector.funnel.beacon import MAX_EVENTS, Sender, click_id, is_fresh, may_use, read_events
from connector.funnel.bounds import KnownBounds
from connector.funnel.buffer import FunnelBuffer
from connector.funnel.guard import Guard, is_prefetch, is_program
from connector.mapping.hashing import public_ip
from connector.web.asgi import BodyReader, Headers, Receive, Response, Scope, json_response, read_headers

MAX_BODY = 16 * 1024  # bytes: ten events of a page
SIGNATURE = "x-connector-signature"
CLICK_COOKIE, CLICK_KEPT = "ttclid", 28 * 24 * 3600  # seconds: as long as TikTok attributes an order to a click
_HOST = re.compile(r"[a-z0-9._:-]*")
NO_STORE = (b"cache-control", b"no-store")
ANY_ORIGIN: Headers = ((b"access-control-allow-origin", b"*"), (b"vary", b"Origin"))
PREFLIGHT: Headers = (
    (b"access-control-allow-methods", b"GET, POST"),
    (b"access-control-allow-headers", b"Content-Type"),
    (b"access-control-max-age", b"86400"),
)


class FunnelEndpoint:
    """Answers browsers' events and requests for a token. `clock` returns Unix seconds."""

    def __init__(
        self,
        stores: Mapping[str, Store],
        platforms: Mapping[str, Platform],
        trusted_proxies: int,
        buffer: FunnelBuffer,
        bounds: KnownBounds,
        bodies: BodyReader,
        guard: Guard | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._stores = stores
        self._hidden = {store.name for store in stores.values() if store.funnel and not _page_reads(store, platforms)}
        self._trusted_proxies = trusted_proxies
        self._buffer = buffer
        self._bounds = bounds
        self._bodies = bodies
        self._guard = guard or Guard()
        self._clock = clock

    async def answer(self, scope: Scope, receive: Receive, name: str, what: str) -> Response:
        """Answer a request for the store `name`; `what` is "event" or "token". Raises MethodNotAllowed, BadRequest."""
        method, allowed = scope["method"], "POST" if what == "event" else "GET"
        if method not in (allowed, "OPTIONS"):
            raise MethodNotAllowed([allowed, "OPTIONS"])
        store = self._stores.get(name)
        if store is None:
            return Response(404)
        if store.funnel and method == allowed and not self._guard.admit():
            self._buffer.count(store.name, outcomes.LIMITED)
            return Response(429, headers=ANY_ORIGIN)  # neither headers nor body are read, so that a flood costs little
        headers = read_headers(scope)
        shared = _cors(headers, store)
        if method == "OPTIONS":
            return Response(204, headers=shared + PREFLIGHT)
        if store.funnel is None:
            return Response(204, headers=shared)
        peer = scope["client"][0] if scope.get("client") else ""
        address = client_address(peer, headers.get("x-forwarded-for", ""), self._trusted_proxies)
        if what == "token":
            return self._token(store, address, shared)
        try:
            body = await self._bodies.read(receive, headers, MAX_BODY)
        except RequestEntityTooLarge:
            return Response(413, headers=shared)
        status, cookie = self._take(
            _Report(store, headers, address, public_ip(address), body, parse_browser_json(body), self._clock())
        )
        return Response(status, headers=(*shared, *cookie))

    # --- tokens ---------------------------------------------------------------------------------------------

    def _token(self, store: Store, address: str, shared: Headers) -> Response:
        if not self._guard.admit_token_request(public_ip(address)):
            return Response(429, headers=shared)
        now = self._clock()
        token = new_token(store, address, now)
        return json_response(200, (*shared, NO_STORE), token=token, expires=int(now) + LIFETIME)

    # --- events ---------------------------------------------------------------------------------------------

    def _take(self, report: "_Report") -> tuple[int, Headers]:
        """Take a beacon; return the status and the cookie to set."""
        store, headers, members = report.store, report.headers, report.members
        if report.signature and not _is_from_the_shop(report):
            self._buffer.count(store.name, outcomes.NO_TOKEN, number=max(1, report.number))
            return 403, ()
        if report.is_program():
            self._buffer.count(store.name, outcomes.PROGRAM)
            return 204, ()
        is_allowed, usable = may_use(members, store), [row for row in report.events if may_use(members | row, store)]
        cookie = self._cookie(report) if is_allowed and not report.signature else ()
        if usable and (status := self._refusal(report)):
            outcome = outcomes.LIMITED if status == 429 else outcomes.NO_TOKEN
            self._buffer.count(store.name, outcome, number=report.number)
            return status, cookie
        if refused := report.number - len(usable) or int(not is_allowed and not usable):
            self._buffer.count(store.name, outcomes.NO_CONSENT, number=refused)
        cookies = _cookies(headers) if is_same_site(*report.hosts) else {}
        bounds = None if report.signature else self._bounds.of(store.name)
        sender = Sender(report.ip, headers.get("user-agent", ""), cookies, bounds)
        for milestone, items in read_events(members | {"events": usable}, store, sender, report.at):
            if items and milestone:
                self._buffer.add(store.name, milestone, items)
            else:
                self._buffer.count(store.name, outcomes.INVALID, milestone or "")
        return 204, cookie

    def _refusal(self, report: "_Report") -> int:
        """Return the status with which a beacon is refused; 0 if it passes.

        A store's share is taken last, so that forged events cannot use it up.
        """
        store, guard = report.store, self._guard
        if not report.signature:
            if not guard.admit_address(report.ip, report.number):
                return 429
            token = text(report.members.get("token"))
            if not guard.use_token(token, store, report.address, report.number, report.at):
                return 403
        return 0 if guard.admit_events(store, report.number) else 429

    # --- the cookie -----------------------------------------------------------------------------------------

    def _cookie(self, report: "_Report") -> Headers:
        """Return the header that keeps a new click id in the shop's own cookie; none for another site's page.

        Browsers keep a cookie that a server has set, and delete one of a script after a day or a week:
        https://webkit.org/tracking-prevention/
        """
        (page, here), store = report.hosts, report.store
        click = click_id(report.members)
        if not click or not is_same_site(page, here) or not is_same_site(page, host(store.url)):
            return ()
        parts = [f"{CLICK_COOKIE}={quote(click, safe='')}", "Path=/", f"Max-Age={CLICK_KEPT}", "Secure", "SameSite=Lax"]
        if store.name in self._hidden:
            parts.append("HttpOnly")
        if page != here:
            parts.append(f"Domain={common_domain(page, here)}")
        return ((b"set-cookie", "; ".join(parts).encode("ascii")),)


class _Report(NamedTuple):
    """A beacon with its request: `address` is the sender's, `ip` the same if it is public, `at` Unix seconds."""

    store: Store
    headers: Mapping[str, str]
    address: str
    ip: str
    body: bytes
    members: Json
    at: float

    @property
    def signature(self) -> str:
        return self.headers.get(SIGNATURE, "")

    @property
    def events(self) -> list[Json]:
        """The events that are read."""
        return json_objects(self.members.get("events"))[:MAX_EVENTS]

    @property
    def number(self) -> int:
        """Their number."""
        return len(self.events)

    @property
    def hosts(self) -> tuple[str, str]:
        """The hosts of the page and of this server as the browser names them, in ASCII; "" if it states none."""
        if self.headers.get("sec-fetch-site", "") == "cross-site":
            return "", ""
        try:
            page = urlsplit(self.headers.get("origin", "")).hostname or ""
            here = urlsplit(f"//{self.headers.get('host', '')}").hostname or ""
        except ValueError:
            return "", ""
        return (page, here) if _HOST.fullmatch(page) and _HOST.fullmatch(here) else ("", "")

    def is_program(self) -> bool:
        """Return True if no shopper looks at the page; the shop's server states the shopper's browser."""
        if not self.signature:
            return is_prefetch(self.headers) or is_program(self.headers.get("user-agent", ""))
        stated = [self.members | row for row in self.events]
        return any(is_program(text(row.get("user_agent"))) for row in stated)


def _is_from_the_shop(report: _Report) -> bool:
    """Return True if the shop's server has signed the report, and within the last minutes."""
    return is_signed(report.body, report.signature, report.store) and is_fresh(report.members, report.at)


def _page_reads(store: Store, platforms: Mapping[str, Platform]) -> bool:
    try:
        return platforms[store.platform].facts.page_reads_click
    except BrokenPlatform:
        return True


def _cors(headers: Mapping[str, str], store: Store) -> Headers:
    """Return the CORS headers: any page may send, as a custom pixel's origin is "null"; the shop's own with cookies."""
    origin = headers.get("origin", "")
    if origin.isascii() and is_same_site(host(origin), host(store.url)):
        return (
            (b"access-control-allow-origin", origin.encode()),
            (b"access-control-allow-credentials", b"true"),
            (b"vary", b"Origin"),
        )
    return ANY_ORIGIN


def _cookies(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the request's cookies, percent-decoded; of one name the first that has a value, as the page's script does.

    `http.cookies` gives up at the first value that is not as RFC 6265 wants it, and any script of the page may set one.
    """
    found: dict[str, str] = {}
    for pair in headers.get("cookie", "").split(";"):
        name, _, value = pair.partition("=")
        if value := unquote(value.strip().strip('"')):
            found.setdefault(name.strip(), value)
    return found
