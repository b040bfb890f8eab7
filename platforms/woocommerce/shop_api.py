"""WooCommerce's REST API for one shop: webhooks, orders and customers. Not used while a webhook is answered.

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
from platforms.woocommerce.installed import version_check, why_no_checkouts
from platforms.woocommerce.rest_errors import KEYS_PAGE, Answer, read
from platforms.woocommerce.translate import CHECKOUT_TOPIC, DRAFTS

if TYPE_CHECKING:
    from platforms.woocommerce.rest_client import RestClient

SETS_SECRET = True  # REST does not expose a webhook's secret, so the connector sets it
SEES_ALL = True

NAME_PREFIX = "TikTok events: "  # of the webhooks that the connector creates
PER_PAGE = 100  # WooCommerce's maximum
OVERLAP = 50  # rows that can leave a list between two requests before the next page misses a row
LAST = 10  # rows at a page's end; assumes that not all of them change between the query and the answer
SECOND = timedelta(seconds=1)
MAX_CLOCK_DIFFERENCE = timedelta(seconds=60)

# An order is paid in its first save or a later one, and a webhook's body is the state at delivery: an order pending in
# order.created is paid only in an order.updated, and an order saved once has no order.updated.
_TOPICS = {
    "order_placed": ("order.created", "order.updated"),
    "order_paid": ("order.created", "order.updated"),
    "checkout_started": (CHECKOUT_TOPIC,),
    "customer_registered": ("customer.created",),
}
_PORTS = (80, 443, 8080)
_LOCAL_SUFFIXES = ("localhost", ".localhost", ".local", ".internal", ".lan", ".home.arpa")
_ALREADY_GONE = "woocommerce_rest_shop_webhook_invalid_id"
# Its topic and its URL are both invalid, so no webhook is created; only keys with write permission get that error.
_INVALID_WEBHOOK = {"name": f"{NAME_PREFIX}check", "topic": "check.nothing", "delivery_url": "nowhere"}
_INVALID_TOPIC = "woocommerce_rest_shop_webhook_invalid_topic"
_INVALID_URL = "woocommerce_rest_shop_webhook_invalid_delivery_url"
_ADMINISTRATOR_KEYS = f"create the keys for an administrator under {KEYS_PAGE}"


# --- topics and delivery URL, without a request -----------------------------------------------------


def topics(store: Store) -> tuple[str, ...]:
    """Return the topics needed for what the store sends; order.updated has the later states of orders."""
    return tuple(dict.fromkeys(topic for milestone in store.sent_milestones for topic in _TOPICS[milestone]))


def why_not_url(url: str) -> str:
    """Return why WordPress would not, or should not, deliver to this URL, with the remedy, or "".

    https://developer.wordpress.org/reference/functions/wp_http_validate_url/ (which refuses silently)
    """
    try:
        parts = urlsplit(url)
        port, name = parts.port, (parts.hostname or "").rstrip(".")
    except ValueError:
        return "this is not a URL: give the connector's address, like https://connector.example"
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
    if "." not in name or name.endswith(_LOCAL_SUFFIXES):
        return f"the shop cannot find {name} from outside this network: {public}"
    return ""


# --- the API of one shop ----------------------------------------------------------------------------


def connect(
    store: Store,
    pause: Callable[[float], object] = time.sleep,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    elapsed: Callable[[], float] = time.monotonic,
) -> ShopApi:
    """Open the API of this store's shop with the keys in its [api]. Raises ShopApiError if there are no keys.

    `pause` sleeps for a number of seconds, `clock` returns the time in UTC, `elapsed` seconds that never jump.
    """
    # Imported here because nothing else needs the vendor's package and requests.
    from platforms.woocommerce.rest_client import RestClient

    if not store.api or not store.api.consumer_key or not store.api.consumer_secret:
        raise ShopApiError(
            "keys",
            f"store {store.name} has no consumer_key and consumer_secret in its [api]: create them with Read/Write "
            f"under {KEYS_PAGE}",
        )
    shop = RestClient(store.url, store.api.consumer_key, store.api.consumer_secret, pause, elapsed)
    return WooCommerceApi(shop, clock)


class _Row(msgspec.Struct):
    """The fields of an order or customer that paging reads; its bytes are passed on unchanged."""

    status: Any = None
    date_created_gmt: Any = None
    date_modified_gmt: Any = None


@dataclass(frozen=True, slots=True)
class _Part:
    """One answer of a list: each row's bytes and fields, the list's length if known, and `more` if it goes on."""

    rows: list[tuple[bytes, _Row]]
    total: int | None
    more: bool


class _RepeatedPageGuard:
    """Detects a list that repeats one page for ever, as behind a cache that ignores the query."""

    def __init__(self) -> None:
        self._previous = b""

    def check(self, page: bytes, rows: int) -> None:
        """Raise ShopApiError if a full page equals the one before."""
        if rows >= PER_PAGE and page == self._previous:
            raise ShopApiError(
                "broken",
                "the shop returns the same page of a list again and again: let no cache store /wp-json/",
            )
        self._previous = page


class WooCommerceApi:
    """`connector.core.shop_api.ShopApi` for one WooCommerce shop."""

    def __init__(self, shop: "RestClient", clock: Callable[[], datetime]) -> None:
        self._shop = shop
        self._clock = clock

    def subscriptions(self) -> list[Subscription]:
        """Return all webhooks of the shop; paused and disabled ones are not active."""
        subscriptions: dict[str, Subscription] = {}
        page, guard = 1, _RepeatedPageGuard()
        while True:
            query = {"status": "all", "orderby": "id", "order": "asc", "per_page": str(PER_PAGE), "page": str(page)}
            answer = self._shop.get("webhooks", **query)
            hooks = read(answer, list[dict[str, Any]])
            guard.check(answer.body, len(hooks))
            subscriptions |= {one.id: one for one in map(_subscription, hooks)}
            if not _is_more(answer, len(hooks), (page - 1) * PER_PAGE):
                return list(subscriptions.values())
            page += 1

    def subscribe(self, topic: str, url: str, secret: str) -> Subscription:
        """Create a webhook that signs with `secret`. WooCommerce pings the URL and ignores a failure."""
        if not secret:  # WooCommerce would generate one and never expose it
            raise ShopApiError("refused", "a webhook needs a secret: give the store one in webhook_secrets")
        data = {"name": f"{NAME_PREFIX}{topic}", "topic": topic, "delivery_url": url, "secret": secret}
        answer = self._shop.ask("post", "webhooks", data, {}, allowing=(_INVALID_TOPIC, _INVALID_URL))
        if answer.code == _INVALID_TOPIC:
            raise ShopApiError("refused", f"this WooCommerce has no webhook topic {topic}: update WooCommerce")
        if answer.code == _INVALID_URL:
            raise ShopApiError(
                "refused", "the shop does not accept this delivery address: set PUBLIC_URL to an https address"
            )
        return _subscription(read(answer, dict[str, Any]))

    def unsubscribe(self, subscription: Subscription) -> None:
        """Delete a webhook permanently; not an error if it is already gone."""
        self._shop.ask("delete", f"webhooks/{subscription.id}", None, {"force": "true"}, allowing=(_ALREADY_GONE,))

    def orders(self, since: datetime, until: datetime, by: Literal["created", "modified"]) -> Iterator[Page]:
        """Yield orders created or changed in [since, until], oldest first, without drafts and trash.

        Without page numbers: an order that changes meanwhile moves to the list's end, and the next page would begin one
        order too late. Each request starts at the second at which the one before ended.
        """
        at, total = since.replace(microsecond=0), None
        topic = "order.created" if by == "created" else "order.updated"
        while at <= until:
            part = self._orders(at, until, by, orderby="date" if by == "created" else by)
            total = part.total if total is None else total
            yield Page(topic, _without_drafts(part), total)
            if not part.more:
                return
            # Not simply the last row: an order that changed just after the query already shows its new time.
            latest = min((moment for _, row in part.rows[-LAST:] if (moment := _time_of(row, by))), default=None)
            if latest is None:
                raise ShopApiError(
                    "withheld", f"the shop counts {part.total} orders but shows none: {_ADMINISTRATOR_KEYS}"
                )
            if latest < at:  # the filter was ignored
                raise ShopApiError(
                    "refused", "this WooCommerce cannot list orders by date of change: update WooCommerce"
                )
            if latest == at:
                yield from (Page(topic, _without_drafts(one), total) for one in self._of_one_second(at, by))
                at += SECOND
            else:
                at = latest

    def _of_one_second(self, at: datetime, by: str) -> Iterator[_Part]:
        """Yield more orders of one second than a page holds, as imports create them: by id, in overlapping pages."""
        offset, more, guard = 0, True, _RepeatedPageGuard()
        while more:
            part = self._orders(at, at, by, orderby="id", offset=str(offset))
            guard.check(b"".join(body for body, _ in part.rows), len(part.rows))
            yield part
            more = part.more
            offset += PER_PAGE - OVERLAP

    def _orders(self, since: datetime, until: datetime, by: str, **options: str) -> _Part:
        """Request one part. WooCommerce's bounds are exclusive, whole seconds, and in UTC without an offset."""
        prefix = "" if by == "created" else "modified_"
        query = {
            f"{prefix}after": _utc_text(since - SECOND),
            f"{prefix}before": _utc_text(until + SECOND),
            "dates_are_gmt": "true",
            "order": "asc",
            "per_page": str(PER_PAGE),
        }
        return _part(self._shop.get("orders", **query, **options), int(options.get("offset", "0")))

    def customers(self, since: datetime, until: datetime) -> Iterator[Page]:
        """Yield customers who registered in [since, until], newest first: WooCommerce cannot filter them by date."""
        offset, since, guard = 0, since.replace(microsecond=0), _RepeatedPageGuard()
        while True:
            query = {"role": "customer", "orderby": "registered_date", "order": "desc", "per_page": str(PER_PAGE)}
            part = _part(self._shop.get("customers", **query, offset=str(offset)), offset)
            guard.check(b"".join(body for body, _ in part.rows), len(part.rows))
            dated = [(body, _time_of(row, "created")) for body, row in part.rows]
            yield Page("customer.created", [body for body, at in dated if at is None or since <= at <= until])
            if not part.more or any(at and at < since for _, at in dated):
                return
            offset += PER_PAGE - OVERLAP

    # --- checks

    def why_never_sent(self, topic: str) -> str:
        """Return why nothing in the shop fires this topic, with the remedy, or ""."""
        return why_no_checkouts(self._shop) if topic == CHECKOUT_TOPIC else ""

    def check(self) -> Iterator[ApiCheck]:
        """Check https, keys, clock, permission to write, personal data and version, without changing the shop."""
        yield self._transport()
        try:
            read(self._shop.get("webhooks", status="all", per_page="1"), list[dict[str, Any]])
        except ShopApiError as fault:
            yield ApiCheck(False, str(fault))
            yield from self._clock_check()
            return
        yield ApiCheck(True, "the keys are valid" + self._signing_note())
        yield from self._clock_check()
        yield self._may_write()
        yield from self._personal_data()

    def _transport(self) -> ApiCheck:
        if self._shop.secure:
            return ApiCheck(True, "the shop is asked over https")
        name = urlsplit(self._shop.url).hostname or ""
        if name == "localhost" or name.startswith("127.") or name == "::1":
            return ApiCheck(True, "the shop is on this machine, so http is enough")
        return ApiCheck(False, "the shop's customer data crosses the internet in plain http: set url to https://…")

    def _signing_note(self) -> str:
        if self._shop.secure and self._shop.signs:
            return "; its host drops the Authorization header, so requests are signed instead (no action needed)"
        return ""

    def _clock_check(self) -> Iterator[ApiCheck]:
        answer = self._shop.answered
        try:
            date = parsedate_to_datetime(answer.headers.get("Date", "") if answer else "")
            difference = (date if date.tzinfo else date.replace(tzinfo=UTC)) - self._clock()
        except (ValueError, TypeError):
            return
        if abs(difference) <= MAX_CLOCK_DIFFERENCE:
            yield ApiCheck(True, "the shop's clock and this one agree")
            return
        side = "ahead of" if difference > timedelta(0) else "behind"
        offset = f"{abs(difference).total_seconds():.0f} seconds {side} this one"
        yield ApiCheck(False, f"the shop's clock is {offset}: set both by NTP, as events are dated by the shop's")

    def _may_write(self) -> ApiCheck:
        try:
            answer = self._shop.ask("post", "webhooks", _INVALID_WEBHOOK, {}, allowing=(_INVALID_TOPIC, _INVALID_URL))
        except ShopApiError as fault:
            return ApiCheck(False, str(fault))
        if answer.code:
            return ApiCheck(True, "the keys may register webhooks")
        self.unsubscribe(_subscription(read(answer, dict[str, Any])))
        return ApiCheck(True, "the keys may register webhooks (a plugin accepted even an invalid one; it was deleted)")

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
                False, f"orders come without billing data: {_ADMINISTRATOR_KEYS}, and switch off plugins that hide it"
            )
        else:
            yield ApiCheck(True, "orders and customers can be read" + ("" if orders else "; there is no order yet"))
        yield from version_check(self._shop, text(newest.get("version")))


def _subscription(hook: Mapping[str, Any]) -> Subscription:
    return Subscription(
        id=identifier(hook.get("id")),
        topic=text(hook.get("topic")),
        url=text(hook.get("delivery_url")),
        active=hook.get("status") == "active",
        by_us=text(hook.get("name")).startswith(NAME_PREFIX),
    )


def _part(answer: Answer, offset: int) -> _Part:
    found = read(answer, list[msgspec.Raw])
    rows = [(bytes(one), _row(one)) for one in found]
    return _Part(rows, answer.total, _is_more(answer, len(rows), offset))


def _row(one: msgspec.Raw) -> _Row:
    """Decode the fields for paging; a row that is not an order or customer yields empty fields; intake parks it."""
    try:
        return msgspec.json.decode(one, type=_Row)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _Row()


def _is_more(answer: Answer, shown: int, before: int) -> bool:
    """Return True if a list goes on. A page can show fewer rows than it spans: it omits orders that cannot be read."""
    return shown >= PER_PAGE if answer.total is None else answer.total > before + PER_PAGE


def _without_drafts(part: _Part) -> list[bytes]:
    left_out = DRAFTS | {"trash"}
    return [body for body, row in part.rows if text(row.status).removeprefix("wc-") not in left_out]


def _time_of(row: _Row, by: str) -> datetime | None:
    return parse_time(row.date_created_gmt if by == "created" else row.date_modified_gmt)


def _utc_text(at: datetime) -> str:
    """Format a time as UTC without an offset, for `dates_are_gmt`; after a "Z" WordPress adds the shop's offset."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S}"
