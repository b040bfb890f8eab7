"""Shopify's own API for one shop: its webhooks through GraphQL, its history through REST, whose orders have the
webhook's shape (GraphQL's have no `client_details`).

An app needs the scopes read_orders and read_customers, and access to protected customer data:
https://shopify.dev/docs/apps/launch/protected-customer-data
"""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING, Literal
from urllib.parse import parse_qs, urlsplit

import msgspec

from connector.plugin import (
    ApiCheck,
    Json,
    Page,
    ShopApi,
    ShopApiError,
    Store,
    Subscription,
    json_object,
    json_objects,
    text,
)
from platforms.shopify.webhooks import RECORDED, TOPICS, withholds

if TYPE_CHECKING:
    from platforms.shopify.api_client import Answer, ShopifyApi

SETS_SECRET = False  # Shopify signs with the app's client secret
SEES_ALL = False  # only those of this app that were made through the API

SCOPES = ("read_orders", "read_customers")
PER_PAGE = 250  # https://shopify.dev/docs/api/usage/limits ; nor are more than 25,000 to be had page by page
WINDOW = timedelta(days=1)  # so that a busy shop stays below that
CLOCKS_APART = 60.0  # seconds
STUMBLES = (2.0, 10.0)  # seconds before a page that failed is asked for again

SUBSCRIPTIONS = """
query($after: String) {
  webhookSubscriptions(first: 100, after: $after) { nodes { id topic uri } pageInfo { hasNextPage endCursor } }
}"""
SUBSCRIBE = """
mutation($topic: WebhookSubscriptionTopic!, $subscription: WebhookSubscriptionInput!) {
  webhookSubscriptionCreate(topic: $topic, webhookSubscription: $subscription) {
    webhookSubscription { id topic uri } userErrors { field message }
  }
}"""
UNSUBSCRIBE = """
mutation($id: ID!) {
  webhookSubscriptionDelete(id: $id) { deletedWebhookSubscriptionId userErrors { field message } }
}"""
ACCESS = "{ currentAppInstallation { accessScopes { handle } } }"

# An order may be paid at once or later, and either may be what a store's own statuses and gateways wait for.
_ORDERS = ("orders/create", "orders/paid")
_SHOWN_BY_PAID = frozenset({"paid", "partially_refunded", "refunded"})  # the last two only follow the first
_NEEDED: Mapping[str, tuple[str, ...]] = {
    "order_placed": _ORDERS,
    "order_paid": _ORDERS,
    # A checkout is created before the shopper has typed anything to match on; that comes with an update.
    "checkout_started": ("checkouts/create", "checkouts/update"),
    # Since new customer accounts, who registers is created first and enabled at the first sign-in.
    "customer_registered": ("customers/create", "customers/enable"),
}


def topics(store: Store) -> tuple[str, ...]:
    """The topics that show what the store sends, and the app's removal.

    `orders/updated` comes with every tag and parcel, so it is only there where the store waits for a status that an
    order reaches later than its creation, without being paid in full. The topics of privacy law
    (`customers/data_request`, `customers/redact`, `shop/redact`) cannot be had through the API; they are settings of
    the app: https://shopify.dev/docs/apps/build/compliance/privacy-law-compliance
    """
    needed = [topic for event, found in _NEEDED.items() if event in store.sent for topic in found]
    awaited = (("order_placed", store.orders.placed_statuses), ("order_paid", store.orders.paid_statuses))
    if any(event in store.sent and set(statuses) - _SHOWN_BY_PAID for event, statuses in awaited):
        needed.append("orders/updated")
    return (*dict.fromkeys(needed), "app/uninstalled")


def why_not_url(url: str) -> str:
    """Why Shopify would not deliver to this URL, with what to do, or "".

    https://shopify.dev/docs/apps/build/webhooks/subscribe/https
    """
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
        _ = parts.port  # raises if it is none
    except ValueError:
        return "it is no URL; give the public https address of this server"
    if parts.scheme != "https":
        return "Shopify delivers to https only; give the https address of this server"
    if parts.username is not None or parts.password is not None:
        return "a user name or password does not belong into it; leave both out"
    if not _is_public(host):
        return "Shopify cannot reach its host from outside; give this server's public host name (or a tunnel's)"
    if host.endswith((".myshopify.com", ".shopify.com")):
        return "Shopify does not deliver to hosts of its own; give the address of this server, not the shop's"
    return ""


def _is_public(host: str) -> bool:
    try:
        address = ip_address(host)
        return address.is_global and not address.is_multicast
    except ValueError:
        pass
    labels = host.split(".")
    if len(labels) < 2 or not all(re.fullmatch(r"[\w-]{1,63}", label) for label in labels):
        return False
    if labels[-1] in ("localhost", "local", "localdomain", "internal", "lan", "home", "test", "invalid"):
        return False
    return not re.fullmatch(r"\d+|0x[0-9a-f]*", labels[-1])  # 127.1 is a loopback address, too


def connect(
    store: Store,
    pause: Callable[[float], object] = time.sleep,
    base: str = "",
    clock: Callable[[], float] = time.time,
    limit: float = 20.0,
) -> ShopApi:
    """The API of the store's first shop, asked with the keys in `[api]`. Raises ShopApiError without any.

    `pause` waits so many seconds, `clock` returns Unix seconds, `base` stands for https://SHOP in tests; the other side
    may be silent for `limit` seconds.
    """
    from platforms.shopify.api_client import ShopifyApi  # only here, for its package is slow to load

    if store.api is None:
        raise ShopApiError(
            "keys", f"store {store.name} has no [api]; give it access_token, or client_id, client_secret"
        )
    return ShopifyAdmin(ShopifyApi(store.shops[0], store.api, pause, clock, base, limit), clock, pause)


class ShopifyAdmin:
    """`connector.core.shop_api.ShopApi` for Shopify."""

    def __init__(self, api: "ShopifyApi", clock: Callable[[], float], pause: Callable[[float], object]) -> None:
        self._api = api
        self._clock = clock
        self._pause = pause

    # --- webhooks ---------------------------------------------------------------------------------------------

    def subscriptions(self) -> list[Subscription]:
        """Those this app made in this shop; Shopify shows no others, and deletes one that keeps failing.

        https://shopify.dev/docs/api/admin-graphql/latest/queries/webhookSubscriptions
        """
        found: list[Subscription] = []
        after, passed = None, {""}
        while True:
            page = self._part(self._api.graphql(SUBSCRIPTIONS, after=after), "webhookSubscriptions")
            found += [self._subscription(node) for node in json_objects(page.get("nodes"))]
            follows = json_object(page.get("pageInfo"))
            after = follows.get("hasNextPage") and follows.get("endCursor")
            if not after:
                return found
            self._pass(after, passed)

    def subscribe(self, topic: str, url: str, secret: str) -> Subscription:
        """Make one, or find the one that is there already. `secret` is not used: the app's own signs.

        https://shopify.dev/docs/api/admin-graphql/latest/mutations/webhookSubscriptionCreate
        """
        wanted = {"uri": url, "format": "JSON"}
        data = self._api.graphql(SUBSCRIBE, topic=_enum(topic), subscription=wanted)
        made = self._part(data, "webhookSubscriptionCreate")
        if not (errors := made.get("userErrors")):
            return self._subscription(made.get("webhookSubscription"))
        words = self._api.said(errors)
        if "already been taken" in words:
            for there in self.subscriptions():
                if (there.topic, there.url) == (topic, url):
                    return there
        raise self._api.refusal(words, f"a webhook for {topic}")

    def unsubscribe(self, subscription: Subscription) -> None:
        """Remove one; no fault if it is gone already.

        https://shopify.dev/docs/api/admin-graphql/latest/mutations/webhookSubscriptionDelete
        """
        removed = self._part(self._api.graphql(UNSUBSCRIBE, id=subscription.id), "webhookSubscriptionDelete")
        errors = removed.get("userErrors")
        if errors and "does not exist" not in (words := self._api.said(errors)):
            raise self._api.refusal(words, f"to remove the webhook for {subscription.topic}")

    def _subscription(self, node: object) -> Subscription:
        found = json_object(node)
        name, url = text(found.get("topic")), text(found.get("uri"))
        if not text(found.get("id")) or not name:
            raise self._api.broken()
        return Subscription(text(found.get("id")), _BY_ENUM.get(name, name), url, by_us=True)

    def _part(self, data: Json, name: str) -> Json:
        if not isinstance(data.get(name), dict):
            raise self._api.broken()
        return json_object(data[name])

    # --- history ----------------------------------------------------------------------------------------------

    def orders(self, since: datetime, until: datetime, by: Literal["created", "modified"]) -> Iterator[Page]:
        """Orders of any status made or changed in [since, until], oldest first, one or two perhaps twice.

        They come as `orders/updated`: none knows when it was paid, and all of them are read alike. An app sees the last
        60 days. https://shopify.dev/docs/api/admin-rest/latest/resources/order#get-orders
        """
        column = {"created": "created_at", "modified": "updated_at"}[by]
        counted = self._api.get("orders/count.json", {"status": "any", **_between(column, since, until)})
        total = self._api.read(counted, dict[str, int]).get("count")
        for start, end in _windows(since, until):
            query = {"status": "any", "order": f"{column} asc", **_between(column, start, end)}
            for bodies in self._pages("orders", query):
                yield Page("orders/updated", bodies, total)

    def customers(self, since: datetime, until: datetime) -> Iterator[Page]:
        """Customers created in [since, until], guests too, some perhaps twice.

        They come as `customers/enable`, so that whoever got an account long after is no registration here either.
        https://shopify.dev/docs/api/admin-rest/latest/resources/customer#get-customers
        """
        for start, end in _windows(since, until):
            for bodies in self._pages("customers", _between("created_at", start, end)):
                yield Page("customers/enable", bodies)

    def _pages(self, name: str, query: Mapping[str, str | int]) -> Iterator[list[bytes]]:
        """All pages of a REST list. https://shopify.dev/docs/api/admin-rest/usage/pagination"""
        query, passed = {**query, "limit": PER_PAGE}, {""}
        while True:
            answer = self._steadily(f"{name}.json", query)
            if bodies := self._bodies(answer, name):
                yield bodies
            cursor = _next_page(answer.headers.get("link", ""))
            if not cursor:
                return
            self._pass(cursor, passed)
            query = {"limit": PER_PAGE, "page_info": cursor}  # Shopify refuses any filter beside it

    def _pass(self, cursor: object, passed: set[str]) -> None:
        """A list that leads back to where it was has no end."""
        if text(cursor) in passed:
            raise self._api.broken()
        passed.add(text(cursor))

    def _steadily(self, path: str, query: Mapping[str, str | int]) -> "Answer":
        """An answer; a long list shall not end because Shopify stumbles once in its middle."""
        for seconds in STUMBLES:
            try:
                return self._api.get(path, query)
            except ShopApiError as fault:
                if fault.kind != "unreachable":
                    raise
            self._pause(seconds)
        return self._api.get(path, query)

    def _bodies(self, answer: "Answer", name: str) -> list[bytes]:
        """Each resource as its very bytes: reading and writing them again would lose digits."""
        found = self._api.read(answer, dict[str, list[msgspec.Raw]])
        if name not in found:
            raise self._api.broken()
        return [bytes(raw) for raw in found[name]]

    # --- examination ------------------------------------------------------------------------------------------

    def check(self) -> Iterator[ApiCheck]:
        """Key, scopes, personal data, clock; after a key that is not accepted there is nothing more to see."""
        try:
            installation = self._part(self._api.graphql(ACCESS), "currentAppInstallation")
        except ShopApiError as fault:
            yield ApiCheck(False, str(fault))
            return
        yield ApiCheck(True, f"{self._api.shop} accepts the key")
        yield self._scopes({text(row.get("handle")) for row in json_objects(installation.get("accessScopes"))})
        try:
            yield self._personal()
        except ShopApiError as fault:
            yield ApiCheck(False, str(fault))
        yield self._time()

    def _scopes(self, given: set[str]) -> ApiCheck:
        missing = [scope for scope in SCOPES if not {scope, scope.replace("read_", "write_")} & given]
        if not missing:
            return ApiCheck(True, f"the app has the scopes {' and '.join(SCOPES)}")
        return ApiCheck(
            False,
            f"the app lacks {' and '.join(missing)}; add to its scopes in the Dev Dashboard, release the version, and "
            "approve it in the shop",
        )

    def _personal(self) -> ApiCheck:
        latest: dict[str, str | int] = {"status": "any", "order": "created_at desc", "limit": 5}
        orders = [
            json_object(msgspec.json.decode(raw))
            for raw in self._bodies(self._api.get("orders.json", latest), "orders")
        ]
        if any(withholds(order) for order in orders):
            return ApiCheck(False, str(self._api.withheld()))
        if not any(
            json_object(order.get("customer")) or json_object(order.get("shipping_address")) for order in orders
        ):
            return ApiCheck(True, "no order yet shows whether personal data may be read; look again after the first")
        return ApiCheck(True, "the shoppers' e-mail addresses, phone numbers and addresses may be read")

    def _time(self) -> ApiCheck:
        if self._api.shop_time is None:
            return ApiCheck(True, "Shopify's answer states no time to compare this clock with")
        apart = self._clock() - self._api.shop_time
        if abs(apart) <= CLOCKS_APART:
            return ApiCheck(True, "this machine's clock agrees with Shopify's")
        how = f"{abs(apart):.0f} seconds {'ahead of' if apart > 0 else 'behind'} Shopify's"
        return ApiCheck(False, f"this machine's clock is {how}; let it be set by a time server (NTP)")


# --- Shopify's spellings ------------------------------------------------------------------------------------------


def _enum(topic: str) -> str:
    """orders/create → ORDERS_CREATE. https://shopify.dev/docs/api/admin-graphql/latest/enums/WebhookSubscriptionTopic"""
    return re.sub(r"[/.]", "_", topic).upper()


_BY_ENUM = {_enum(topic): topic for topic in TOPICS | RECORDED}  # any other topic keeps GraphQL's spelling


def _windows(since: datetime, until: datetime) -> Iterator[tuple[datetime, datetime]]:
    while since + WINDOW < until:
        yield since, since + WINDOW
        since += WINDOW
    yield since, until


def _between(column: str, since: datetime, until: datetime) -> dict[str, str | int]:
    """Shopify's filter. It knows whole seconds only, as its own times do, and both ends belong to it."""
    return {f"{column}_min": _shop_time(since), f"{column}_max": _shop_time(until)}


def _shop_time(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _next_page(link: str) -> str:
    """The cursor of the next page. The header's URL itself is not followed: only its cursor is taken."""
    for url, rel in re.findall(r'<([^<>]*)>\s*;\s*rel="?(\w+)"?', link):
        if rel == "next":
            return next(iter(parse_qs(url.partition("?")[2]).get("page_info", [])), "")
    return ""
