"""WooCommerce's own API: its webhooks, its orders and customers. Never on the way of a webhook.

REST API v3: https://woocommerce.github.io/woocommerce-rest-api-docs/
"""

import ipaddress
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import msgspec

from connector.plugin import (
    ApiCheck,
    Page,
    ShopApi,
    ShopApiError,
    Store,
    Subscription,
    identifier,
    json_object,
    parse_time,
    text,
)
from platforms.woocommerce.rest_errors import KEYS_PAGE, Answer, read
from platforms.woocommerce.webhooks import CHECKOUT_TOPIC, DRAFTS

if TYPE_CHECKING:
    from platforms.woocommerce.rest_client import Shop

SETS_SECRET = True  # REST never tells a webhook's secret, so it has to be ours
SEES_ALL = True

OURS = "TikTok events: "  # how the names of the webhooks begin that are made here
PER_PAGE = 100  # WooCommerce's most
OVERLAP = 50  # rows that may leave a list between two of its pages without one being missed
LAST = 10  # rows at a page's end, not all of which change between being found and being read
SECOND = timedelta(seconds=1)
CLOCK_OFF = timedelta(seconds=60)
OLDEST = (5, 8)  # the first WooCommerce that finds orders by modified_after

# An order is paid in the same save or a later one, and the webhook's body is the state at delivery: what order.created
# shows as pending only order.updated shows paid. An order that is saved just once has no order.updated.
_TOPICS = {
    "order_placed": ("order.created", "order.updated"),
    "order_paid": ("order.created", "order.updated"),
    "checkout_started": (CHECKOUT_TOPIC,),
    "customer_registered": ("customer.created",),
}
_PORTS = (80, 443, 8080)
_INWARD = ("localhost", ".localhost", ".local", ".internal", ".lan", ".home.arpa")
_GONE = "woocommerce_rest_shop_webhook_invalid_id"
# Refused for two reasons of its own, so that nothing is ever made of it; only writers get so far as to hear them.
_NO_WEBHOOK = {"name": f"{OURS}check", "topic": "check.nothing", "delivery_url": "nowhere"}
_NO_TOPIC = "woocommerce_rest_shop_webhook_invalid_topic"
_NO_URL = "woocommerce_rest_shop_webhook_invalid_delivery_url"
_FULL_USER = f"create the keys for an administrator under {KEYS_PAGE}"


# --- what needs no shop ------------------------------------------------------------------------------


def topics(store: Store) -> tuple[str, ...]:
    """The topics of what the store sends, each once. What an order becomes later, order.updated shows."""
    return tuple(dict.fromkeys(topic for event in store.sent for topic in _TOPICS[event]))


def why_not_url(url: str) -> str:
    """Why WordPress would not deliver to this URL, or we would not want it to, with what to do; or "".

    https://developer.wordpress.org/reference/functions/wp_http_validate_url/ (a refusal there is silent).
    """
    try:
        parts = urlsplit(url)
        port, name = parts.port, (parts.hostname or "").rstrip(".")
    except ValueError:
        return "this is no URL: give the connector's address, like https://connector.example"
    if parts.scheme not in ("http", "https") or not name:
        return "WooCommerce only calls https addresses: give one, like https://connector.example"
    if parts.username is not None or parts.password is not None:
        return "WordPress calls no address with a user or password in it: leave them out"
    if why := _why_not_host(name):
        return why
    if port is not None and port not in _PORTS:
        return f"WordPress only calls ports 80, 443 and 8080, not {port}: put the connector behind https on port 443"
    if parts.scheme == "http":
        return "orders with personal data would cross the internet in plain http: use an https address"
    return ""


def _why_not_host(name: str) -> str:
    if ":" in name:
        return "WordPress calls no IPv6 address: use a host name"
    public = "use a public host name, or a tunnel to this machine"
    if re.fullmatch(r"[0-9.]+|0x[0-9a-f.x]*", name):
        try:
            reachable = ipaddress.IPv4Address(name).is_global
        except ValueError:
            reachable = False
        return "" if reachable else f"WordPress calls no private or unusual IP address: {public}"
    if "." not in name or name.endswith(_INWARD):
        return f"the shop cannot find {name} from outside this network: {public}"
    return ""


# --- one shop ----------------------------------------------------------------------------------------


def connect(
    store: Store,
    pause: Callable[[float], object] = time.sleep,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    elapsed: Callable[[], float] = time.monotonic,
) -> ShopApi:
    """The API of this store's shop, with the keys in its [api]. Raises ShopApiError if it has none."""
    # Only here, as nothing else needs the vendor's package and requests.
    from platforms.woocommerce.rest_client import Shop

    if not store.api or not store.api.consumer_key or not store.api.consumer_secret:
        raise ShopApiError(
            "keys",
            f"store {store.name} has no consumer_key and consumer_secret in its [api]: create them with Read/Write "
            f"under {KEYS_PAGE}",
        )
    shop = Shop(store.url, store.api.consumer_key, store.api.consumer_secret, pause, elapsed)
    return WooCommerce(shop, clock)


class _Row(msgspec.Struct):
    """What we must know of an order or customer to page on; its bytes are passed on untouched."""

    status: Any = None
    date_created_gmt: Any = None
    date_modified_gmt: Any = None


@dataclass(frozen=True, slots=True)
class _Part:
    """One answer of a list: the rows' bytes and what was read of them, and whether there is more behind it."""

    rows: list[tuple[bytes, _Row]]
    total: int | None
    more: bool


class _Turning:
    """Notices a list whose pages do not turn: a cache that knows no query would show the first one for ever."""

    def __init__(self) -> None:
        self._before = b""

    def on(self, page: bytes, shown: int) -> None:
        """Another page has come, with so many rows. Raises ShopApiError."""
        if shown >= PER_PAGE and page == self._before:
            raise ShopApiError(
                "broken",
                "the shop answers every page of a list with the same one: let no cache keep what is below /wp-json/",
            )
        self._before = page


class WooCommerce:
    """`connector.core.shop_api.ShopApi` for one WooCommerce shop."""

    def __init__(self, shop: "Shop", clock: Callable[[], datetime]) -> None:
        self._shop = shop
        self._clock = clock

    def subscriptions(self) -> list[Subscription]:
        """All webhooks of the shop; paused and disabled ones are not active."""
        found: dict[str, Subscription] = {}
        page, turning = 1, _Turning()
        while True:
            query = {"status": "all", "orderby": "id", "order": "asc", "per_page": str(PER_PAGE), "page": str(page)}
            answer = self._shop.get("webhooks", **query)
            hooks = read(answer, list[dict[str, Any]])
            turning.on(answer.body, len(hooks))
            found |= {one.id: one for one in map(_subscription, hooks)}
            if not _is_more(answer, len(hooks), (page - 1) * PER_PAGE):
                return list(found.values())
            page += 1

    def subscribe(self, topic: str, url: str, secret: str) -> Subscription:
        """Make a webhook that signs with `secret`; WooCommerce pings the URL, and does not mind if that fails."""
        if not secret:  # WooCommerce would make one up and never tell it
            raise ShopApiError("refused", "a webhook needs a secret: give the store one in webhook_secrets")
        data = {"name": f"{OURS}{topic}", "topic": topic, "delivery_url": url, "secret": secret}
        answer = self._shop.ask("post", "webhooks", data, {}, allowing=(_NO_TOPIC, _NO_URL))
        if answer.code == _NO_TOPIC:
            raise ShopApiError("refused", f"this WooCommerce has no webhook topic {topic}: update WooCommerce")
        if answer.code == _NO_URL:
            raise ShopApiError("refused", "the shop takes no such delivery address: set PUBLIC_URL to an https address")
        return _subscription(read(answer, dict[str, Any]))

    def unsubscribe(self, subscription: Subscription) -> None:
        """Delete a webhook for good; one that is gone already is no fault."""
        self._shop.ask("delete", f"webhooks/{subscription.id}", None, {"force": "true"}, allowing=(_GONE,))

    def orders(self, since: datetime, until: datetime, by: Literal["created", "modified"]) -> Iterator[Page]:
        """Orders made or changed in [since, until], oldest first; drafts and trash left out.

        No page numbers: an order that changes meanwhile moves to the list's end, and the next page would begin one
        order too late. Each request starts at the second where the last one ended.
        """
        at, total = since.replace(microsecond=0), None
        topic = "order.created" if by == "created" else "order.updated"
        while at <= until:
            part = self._orders(at, until, by, orderby="date" if by == "created" else by)
            total = part.total if total is None else total
            yield Page(topic, _wanted(part), total)
            if not part.more:
                return
            # Not the very last one: an order that changed just after it was found shows its new time already.
            latest = min((when for _, row in part.rows[-LAST:] if (when := _when(row, by))), default=None)
            if latest is None:
                raise ShopApiError("withheld", f"the shop counts {part.total} orders but shows none: {_FULL_USER}")
            if latest < at:  # what was asked for was not heeded
                raise ShopApiError(
                    "refused", "this WooCommerce cannot list orders by date of change: update WooCommerce"
                )
            if latest == at:
                yield from (Page(topic, _wanted(one), total) for one in self._of_one_second(at, by))
                at += SECOND
            else:
                at = latest

    def _of_one_second(self, at: datetime, by: str) -> Iterator[_Part]:
        """More orders of the same second than a page holds, as imports make them: by id, pages overlapping."""
        offset, more, turning = 0, True, _Turning()
        while more:
            part = self._orders(at, at, by, orderby="id", offset=str(offset))
            turning.on(b"".join(body for body, _ in part.rows), len(part.rows))
            yield part
            more = part.more
            offset += PER_PAGE - OVERLAP

    def _orders(self, since: datetime, until: datetime, by: str, **how: str) -> _Part:
        """One answer. Both bounds are exclusive there, know whole seconds, and must be UTC without saying so."""
        prefix = "" if by == "created" else "modified_"
        query = {
            f"{prefix}after": _naive(since - SECOND),
            f"{prefix}before": _naive(until + SECOND),
            "dates_are_gmt": "true",
            "order": "asc",
            "per_page": str(PER_PAGE),
        }
        return _part(self._shop.get("orders", **query, **how), int(how.get("offset", "0")))

    def customers(self, since: datetime, until: datetime) -> Iterator[Page]:
        """Customers who registered in [since, until], newest first: WooCommerce has no filter by date for them."""
        offset, since, turning = 0, since.replace(microsecond=0), _Turning()
        while True:
            query = {"role": "customer", "orderby": "registered_date", "order": "desc", "per_page": str(PER_PAGE)}
            part = _part(self._shop.get("customers", **query, offset=str(offset)), offset)
            turning.on(b"".join(body for body, _ in part.rows), len(part.rows))
            dated = [(body, _when(row, "created")) for body, row in part.rows]
            yield Page("customer.created", [body for body, at in dated if at is None or since <= at <= until])
            if not part.more or any(at and at < since for _, at in dated):
                return
            offset += PER_PAGE - OVERLAP

    # --- examine

    def check(self) -> Iterator[ApiCheck]:
        """https, keys, permission to write, personal data, clock and version: a verdict each; nothing is changed."""
        yield self._transport()
        try:
            self._shop.get("webhooks", status="all", per_page="1")
        except ShopApiError as fault:
            yield ApiCheck(False, str(fault))
            yield from self._clocks()
            return
        yield ApiCheck(True, "the keys are valid" + self._how_heard())
        yield from self._clocks()
        yield self._may_write()
        yield from self._personal_data()

    def _transport(self) -> ApiCheck:
        if self._shop.secure:
            return ApiCheck(True, "the shop is asked over https")
        name = urlsplit(self._shop.url).hostname or ""
        if name == "localhost" or name.startswith("127.") or name == "::1":
            return ApiCheck(True, "the shop is on this machine, so http will do")
        return ApiCheck(False, "the shop's customer data crosses the internet in plain http: set url to https://…")

    def _how_heard(self) -> str:
        if self._shop.secure and self._shop.signs:
            return "; its host drops the Authorization header, so requests are signed instead, which needs nothing done"
        return ""

    def _clocks(self) -> Iterator[ApiCheck]:
        answer = self._shop.answered
        try:
            told = parsedate_to_datetime(answer.headers.get("Date", "") if answer else "")
            off = (told if told.tzinfo else told.replace(tzinfo=UTC)) - self._clock()
        except (ValueError, TypeError):
            return
        if abs(off) <= CLOCK_OFF:
            yield ApiCheck(True, "the shop's clock and this one agree")
            return
        which = f"{abs(off).total_seconds():.0f} seconds {'ahead of' if off > timedelta(0) else 'behind'} this one"
        yield ApiCheck(False, f"the shop's clock is {which}: set both by NTP, as events are dated by the shop's")

    def _may_write(self) -> ApiCheck:
        try:
            answer = self._shop.ask("post", "webhooks", _NO_WEBHOOK, {}, allowing=(_NO_TOPIC, _NO_URL))
        except ShopApiError as fault:
            return ApiCheck(False, str(fault))
        if answer.code:
            return ApiCheck(True, "the keys may register webhooks")
        self.unsubscribe(_subscription(read(answer, dict[str, Any])))
        return ApiCheck(
            True, "the keys may register webhooks (a plugin let even a senseless one through; it is removed)"
        )

    def _personal_data(self) -> Iterator[ApiCheck]:
        try:
            orders = read(self._shop.get("orders", per_page="1"), list[dict[str, Any]])
            self._shop.get("customers", per_page="1")
        except ShopApiError as fault:
            yield ApiCheck(False, f"orders or customers cannot be read: {fault}")
            return
        newest = json_object(orders[0]) if orders else {}
        if orders and "email" not in json_object(newest.get("billing")):
            yield ApiCheck(
                False, f"orders come without billing data: {_FULL_USER}, and switch off plugins that hide it"
            )
        else:
            yield ApiCheck(True, "orders and customers can be read" + ("" if orders else "; there is no order yet"))
        yield from self._version(text(newest.get("version")))

    def _version(self, version: str) -> Iterator[ApiCheck]:
        """By the newest order, which names it; the status page takes long and may be closed."""
        if not version:
            try:
                status = read(self._shop.get("system_status", _fields="environment"), dict[str, Any])
            except ShopApiError:
                return
            version = text(json_object(status.get("environment")).get("version"))
        found = re.match(r"(\d{1,4})\.(\d{1,4})", version)
        if found and (int(found[1]), int(found[2])) < OLDEST:
            yield ApiCheck(False, f"WooCommerce {found[0]} cannot list orders by date of change: update WooCommerce")
        elif found:
            yield ApiCheck(True, f"WooCommerce {version[:20]}")


def _subscription(hook: Mapping[str, Any]) -> Subscription:
    return Subscription(
        id=identifier(hook.get("id")),
        topic=text(hook.get("topic")),
        url=text(hook.get("delivery_url")),
        active=hook.get("status") == "active",
        by_us=text(hook.get("name")).startswith(OURS),
    )


def _part(answer: Answer, offset: int) -> _Part:
    found = read(answer, list[msgspec.Raw])
    rows = [(bytes(one), _row(one)) for one in found]
    return _Part(rows, answer.total, _is_more(answer, len(rows), offset))


def _row(one: msgspec.Raw) -> _Row:
    """What a plugin put into the list that is neither order nor customer is parked like a webhook of that kind."""
    try:
        return msgspec.json.decode(one, type=_Row)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _Row()


def _is_more(answer: Answer, shown: int, before: int) -> bool:
    """Whether a list goes on. A page may show fewer than it spans: orders that cannot be read are left out."""
    return shown >= PER_PAGE if answer.total is None else answer.total > before + PER_PAGE


def _wanted(part: _Part) -> list[bytes]:
    unwanted = DRAFTS | {"trash"}
    return [body for body, row in part.rows if text(row.status).removeprefix("wc-") not in unwanted]


def _when(row: _Row, by: str) -> datetime | None:
    return parse_time(row.date_created_gmt if by == "created" else row.date_modified_gmt)


def _naive(at: datetime) -> str:
    """UTC without an offset, for `dates_are_gmt`; with a "Z" the shop's own offset would be applied on top."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S}"
