"""Shopify's Admin API for one shop: webhooks through GraphQL, orders and customers through REST.

Only REST returns orders in the shape of webhooks; GraphQL's have no `client_details`. An app needs the scopes
read_orders and read_customers, and access to protected customer data:
https://shopify.dev/docs/apps/launch/protected-customer-data
"""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

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
from connector.plugin.cursor_pages import ListPage, Query, cursor_pages, resources
from connector.plugin.order_topics import waits_for_change
from connector.plugin.public_url import why_not_public
from platforms.shopify.order_state import BOOK_TOPICS
from platforms.shopify.translate import RECORDED, TOPICS, withholds

if TYPE_CHECKING:
    from platforms.shopify.api_client import Answer, ShopifyApi

SETS_SECRET = False  # Shopify signs with the app's client secret
SEES_ALL = False  # Shopify lists only webhooks that this app made through the API

SCOPES = ("read_orders", "read_customers")
PER_PAGE = 250  # https://shopify.dev/docs/api/usage/limits ; a paged list ends after 25,000 resources
WINDOW = timedelta(days=1)  # so that the lists of a busy shop stay below that limit
MAX_CLOCK_DIFFERENCE = 60.0  # seconds
RETRY_PAUSES = (2.0, 10.0)  # seconds before a page that failed is requested again

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

# An order is paid at once or later, and the statuses and gateways of a store can wait for either.
_ORDERS = ("orders/create", "orders/paid")
_SHOWN_BY_PAID = frozenset({"paid", "partially_refunded", "refunded"})  # the last two follow only after the first
_NEEDED: Mapping[str, tuple[str, ...]] = {
    "order_placed": _ORDERS,
    "order_paid": _ORDERS,
    # A checkout is created before the shopper has entered any match key; those arrive with an update.
    "checkout_started": ("checkouts/create", "checkouts/update"),
    # With Shopify's new customer accounts, a customer is created first and enabled at the first sign-in.
    "customer_registered": ("customers/create", "customers/enable"),
}


def topics(store: Store) -> tuple[str, ...]:
    """Return the topics needed for what the store sends, and that of the app's removal.

    `orders/updated` arrives with every tag and parcel, so it is included only if the store waits for a status that an
    order reaches after its creation without being paid in full, or keeps books. The topics of privacy law
    (`customers/data_request`, `customers/redact`, `shop/redact`) cannot be registered through the API; they are
    settings of the app:
    https://shopify.dev/docs/apps/build/compliance/privacy-law-compliance
    """
    needed = [topic for milestone, names in _NEEDED.items() if milestone in store.sent_milestones for topic in names]
    if waits_for_change(store, _SHOWN_BY_PAID):
        needed.append("orders/updated")
    if store.books:
        needed += sorted(BOOK_TOPICS)
    return (*dict.fromkeys(needed), "app/uninstalled")


def why_not_url(url: str) -> str:
    """Return why Shopify would not deliver to this URL, with the remedy, or "".

    https://shopify.dev/docs/apps/build/webhooks/subscribe/https
    """
    return why_not_public(url, "Shopify", (".myshopify.com", ".shopify.com"))


def connect(
    store: Store,
    pause: Callable[[float], object] = time.sleep,
    base: str = "",
    clock: Callable[[], float] = time.time,
    limit: float = 20.0,
) -> ShopApi:
    """Open the API of the store's first shop with the keys in `[api]`. Raises ShopApiError if there are no keys.

    `pause` sleeps for a number of seconds, `clock` returns Unix seconds, `base` replaces https://SHOP in tests, `limit`
    is the longest time in seconds without a byte from Shopify.
    """
    from platforms.shopify.api_client import ShopifyApi  # imported here because its package is slow to load

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
        """Return the webhooks that this app made in this shop; Shopify lists no others, and deletes failing ones.

        https://shopify.dev/docs/api/admin-graphql/latest/queries/webhookSubscriptions
        """
        subscriptions: list[Subscription] = []
        after, seen = None, {""}
        while True:
            page = self._part(self._api.graphql(SUBSCRIPTIONS, after=after), "webhookSubscriptions")
            subscriptions += [self._subscription(node) for node in json_objects(page.get("nodes"))]
            page_info = json_object(page.get("pageInfo"))
            after = page_info.get("hasNextPage") and page_info.get("endCursor")
            if not after:
                return subscriptions
            self._require_new_cursor(after, seen)

    def subscribe(self, topic: str, url: str, secret: str) -> Subscription:
        """Create a webhook, or return the existing one. `secret` is ignored: Shopify signs with the app's secret.

        https://shopify.dev/docs/api/admin-graphql/latest/mutations/webhookSubscriptionCreate
        """
        wanted = {"uri": url, "format": "JSON"}
        data = self._api.graphql(SUBSCRIBE, topic=_enum_name(topic), subscription=wanted)
        created = self._part(data, "webhookSubscriptionCreate")
        if not (errors := created.get("userErrors")):
            return self._subscription(created.get("webhookSubscription"))
        reason = self._api.quotable(errors)
        if "already been taken" in reason:
            for existing in self.subscriptions():
                if (existing.topic, existing.url) == (topic, url):
                    return existing
        raise self._api.refusal(reason, f"a webhook for {topic}")

    def unsubscribe(self, subscription: Subscription) -> None:
        """Delete a webhook; not an error if it is already gone.

        https://shopify.dev/docs/api/admin-graphql/latest/mutations/webhookSubscriptionDelete
        """
        removed = self._part(self._api.graphql(UNSUBSCRIBE, id=subscription.id), "webhookSubscriptionDelete")
        errors = removed.get("userErrors")
        if errors and "does not exist" not in (reason := self._api.quotable(errors)):
            raise self._api.refusal(reason, f"to remove the webhook for {subscription.topic}")

    def _subscription(self, node: object) -> Subscription:
        fields = json_object(node)
        name, url = text(fields.get("topic")), text(fields.get("uri"))
        if not text(fields.get("id")) or not name:
            raise self._api.broken_answer()
        return Subscription(text(fields.get("id")), _TOPIC_BY_ENUM.get(name, name), url, by_us=True)

    def _part(self, data: Json, name: str) -> Json:
        if not isinstance(data.get(name), dict):
            raise self._api.broken_answer()
        return json_object(data[name])

    # --- history ----------------------------------------------------------------------------------------------

    def orders(self, since: datetime, until: datetime, by: Literal["created", "modified"]) -> Iterator[Page]:
        """Yield orders of any status created or changed in [since, until], oldest first; a few can repeat.

        Their topic is `orders/updated`, because like its bodies they lack the time of payment. An app can read the last
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
        """Yield customers created in [since, until], guests included; some can repeat.

        Their topic is `customers/enable`, so that an account opened long after the customer's creation is not taken for
        a registration.
        https://shopify.dev/docs/api/admin-rest/latest/resources/customer#get-customers
        """
        for start, end in _windows(since, until):
            for bodies in self._pages("customers", _between("created_at", start, end)):
                yield Page("customers/enable", bodies)

    def _pages(self, name: str, query: Mapping[str, str | int]) -> Iterator[list[bytes]]:
        """Yield the pages of a REST list. https://shopify.dev/docs/api/admin-rest/usage/pagination"""

        def ask(chosen: Query) -> ListPage:
            answer = self._get_with_retries(f"{name}.json", chosen)
            return ListPage(answer.body, answer.headers.get("link", ""))

        return cursor_pages(ask, name, query, PER_PAGE, self._api.broken_answer)

    def _require_new_cursor(self, cursor: object, seen: set[str]) -> None:
        """Raise ShopApiError for a cursor that was used before: such a list never ends."""
        if text(cursor) in seen:
            raise self._api.broken_answer()
        seen.add(text(cursor))

    def _get_with_retries(self, path: str, query: Mapping[str, str | int]) -> "Answer":
        """Request a page, again if Shopify is unreachable: one failure must not end a list of many pages."""
        for seconds in RETRY_PAUSES:
            try:
                return self._api.get(path, query)
            except ShopApiError as fault:
                if fault.kind != "unreachable":
                    raise
            self._pause(seconds)
        return self._api.get(path, query)

    # --- checks -----------------------------------------------------------------------------------------------

    def why_never_sent(self, topic: str) -> str:
        """Return "": Shopify itself sends each topic."""
        return ""

    def check(self) -> Iterator[ApiCheck]:
        """Check key, scopes, personal data and clock; stop if the key is not accepted."""
        try:
            installation = self._part(self._api.graphql(ACCESS), "currentAppInstallation")
        except ShopApiError as fault:
            yield ApiCheck(False, str(fault))
            return
        yield ApiCheck(True, f"{self._api.shop} accepts the key")
        yield self._scopes({text(row.get("handle")) for row in json_objects(installation.get("accessScopes"))})
        try:
            yield self._personal_data()
        except ShopApiError as fault:
            yield ApiCheck(False, str(fault))
        yield self._clock_check()

    def _scopes(self, granted: set[str]) -> ApiCheck:
        missing = [scope for scope in SCOPES if not {scope, scope.replace("read_", "write_")} & granted]
        if not missing:
            return ApiCheck(True, f"the app has the scopes {' and '.join(SCOPES)}")
        return ApiCheck(
            False,
            f"the app lacks {' and '.join(missing)}; add to its scopes in the Dev Dashboard, release the version, and "
            "approve it in the shop",
        )

    def _personal_data(self) -> ApiCheck:
        latest: dict[str, str | int] = {"status": "any", "order": "created_at desc", "limit": 5}
        orders = [
            json_object(msgspec.json.decode(raw))
            for raw in resources(self._api.get("orders.json", latest).body, "orders", self._api.broken_answer)
        ]
        if any(withholds(order) for order in orders):
            return ApiCheck(False, str(self._api.withheld()))
        if not any(
            json_object(order.get("customer")) or json_object(order.get("shipping_address")) for order in orders
        ):
            return ApiCheck(True, "no order shows yet whether personal data can be read; check again after the first")
        return ApiCheck(True, "the shoppers' e-mail addresses, phone numbers and addresses can be read")

    def _clock_check(self) -> ApiCheck:
        if self._api.shop_time is None:
            return ApiCheck(True, "Shopify's answer has no time to compare this machine's clock with")
        difference = self._clock() - self._api.shop_time
        if abs(difference) <= MAX_CLOCK_DIFFERENCE:
            return ApiCheck(True, "this machine's clock agrees with Shopify's")
        offset = f"{abs(difference):.0f} seconds {'ahead of' if difference > 0 else 'behind'} Shopify's"
        return ApiCheck(False, f"this machine's clock is {offset}; synchronise it with a time server (NTP)")


# --- Shopify's spellings ------------------------------------------------------------------------------------------


def _enum_name(topic: str) -> str:
    """Return a topic as GraphQL spells it: orders/create → ORDERS_CREATE.

    https://shopify.dev/docs/api/admin-graphql/latest/enums/WebhookSubscriptionTopic
    """
    return re.sub(r"[/.]", "_", topic).upper()


_TOPIC_BY_ENUM = {
    _enum_name(topic): topic for topic in TOPICS | RECORDED | BOOK_TOPICS
}  # any other topic keeps GraphQL's spelling


def _windows(since: datetime, until: datetime) -> Iterator[tuple[datetime, datetime]]:
    while since + WINDOW < until:
        yield since, since + WINDOW
        since += WINDOW
    yield since, until


def _between(column: str, since: datetime, until: datetime) -> dict[str, str | int]:
    """Return Shopify's filter for a time range: whole seconds, as in Shopify's own times, both ends included."""
    return {f"{column}_min": _shop_time(since), f"{column}_max": _shop_time(until)}


def _shop_time(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
