"""SHOPLINE's Admin REST API for one shop: webhooks of the app, orders and customers from the history.

https://developer.shopline.com/docs/admin-rest-api/webhook/subscribe-to-a-webhook,
https://developer.shopline.com/docs/admin-rest-api/order/order-management/get-orders. An app needs the permissions to
read orders and customers. Its token is one that does not expire within hours: of an app made in the shop's admin.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import product
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from connector.plugin import ApiCheck, Page, ShopApi, ShopApiError, Store, Subscription
from connector.plugin.cursor_pages import ListPage, Query, cursor_pages
from connector.plugin.order_topics import waits_for_change
from connector.plugin.public_url import why_not_public
from platforms.shopline.order_state import BOOK_TOPICS

if TYPE_CHECKING:
    from connector.plugin.rest_client import RestClient

SETS_SECRET = False  # webhooks are signed with the app secret
SEES_ALL = False  # the list is the app's own

WEBHOOK_VERSION = "v20260301"  # of webhooks' bodies, which `translate` reads
MAX_ADDRESS = 255  # characters of a webhook's address
ORDERS_PAGE, CUSTOMERS_PAGE = 100, 250  # at most, by the documents
SHIPMENTS = ("unshipped", "partial", "shipped")  # each must be asked for: without one, only unshipped orders come
ARCHIVED = ("false", "true")  # as well
_ORDERS = ("orders/create", "orders/paid")
_SHOWN_BY_PAID = frozenset({"paid", "partially_refunded", "refunded"})  # the last two follow only after the first
_NEEDED: Mapping[str, tuple[str, ...]] = {
    "order_placed": _ORDERS,
    "order_paid": _ORDERS,
    "checkout_started": ("checkouts/create", "checkouts/update"),
    "customer_registered": ("customers/create", "customers/enable"),
}


def topics(store: Store) -> tuple[str, ...]:
    """Return the topics needed for what the store sends and for its books.

    Those of privacy law are a setting of the app, and whether the API takes apps/installed_uninstalled is not
    documented, so neither is registered.
    """
    needed = [topic for milestone, names in _NEEDED.items() if milestone in store.sent_milestones for topic in names]
    if waits_for_change(store, _SHOWN_BY_PAID):
        needed.append("orders/updated")
    if store.books:
        needed += sorted(BOOK_TOPICS)
    return tuple(dict.fromkeys(needed))


def why_not_url(url: str) -> str:
    """Return why SHOPLINE would not deliver to this URL, with the remedy, or ""."""
    if len(url) > MAX_ADDRESS:
        return f"SHOPLINE takes addresses of {MAX_ADDRESS} characters at most; give the store a shorter name"
    return why_not_public(url, "SHOPLINE", (".myshopline.com", ".shopline.com"))


def connect(store: Store, pause: Callable[[float], object] = time.sleep, base: str = "") -> ShopApi:
    """Open the API of the store's first shop with the token in `[api]`. Raises ShopApiError if there is none.

    `pause` sleeps for a number of seconds, `base` replaces https://SHOP in tests.
    """
    from platforms.shopline.rest_client import open_client  # its library is loaded by commands and the relay only

    if not store.api or not store.api.access_token:
        raise ShopApiError(
            "keys",
            f"store {store.name} has no access_token in its [api]: install an app of your own in the shop's admin "
            "(Apps › Develop an app) and copy its access token",
        )
    return ShoplineApi(open_client(store.shops[0], store.api.access_token, pause, base), store.shops[0])


class _Webhook(msgspec.Struct):
    id: int
    topic: str
    address: str


class _Webhooks(msgspec.Struct):
    webhooks: list[_Webhook] = []


class _Subscribed(msgspec.Struct):
    webhook: _Webhook


class _Count(msgspec.Struct):
    count: int


class ShoplineApi:
    """The API of one shop. Methods raise ShopApiError."""

    def __init__(self, client: "RestClient", shop: str) -> None:
        self._client = client
        self._shop = shop

    # --- webhooks ---------------------------------------------------------------------------------------------

    def subscriptions(self) -> list[Subscription]:
        """Return the webhooks of this app; SHOPLINE deletes those that fail for 48 hours.

        https://developer.shopline.com/docs/admin-rest-api/webhook/get-a-list-of-subscribed-webhooks
        """
        listed = self._decoded(self._client.get("/webhooks.json", {}).body, _Webhooks)
        return [_subscription(found) for found in listed.webhooks]

    def subscribe(self, topic: str, url: str, secret: str) -> Subscription:
        """Create a webhook, or return the existing one. `secret` is ignored: SHOPLINE signs with the app secret.

        What the API answers to a second one of the same topic and address is not documented.
        """
        wanted = {"address": url, "api_version": WEBHOOK_VERSION, "topic": topic}
        try:
            answer = self._client.change("POST", "/webhooks.json", {"webhook": wanted})
        except ShopApiError as error:
            same = self._existing(topic, url) if error.kind == "refused" else None
            if same is None:
                raise
            return same
        return _subscription(self._decoded(answer.body, _Subscribed).webhook)

    def _existing(self, topic: str, url: str) -> Subscription | None:
        return next((one for one in self.subscriptions() if (one.topic, one.url) == (topic, url)), None)

    def unsubscribe(self, subscription: Subscription) -> None:
        """Delete a webhook; not an error if it is already gone.

        https://developer.shopline.com/docs/admin-rest-api/webhook/unsubscribe-from-a-webhook: the id is before the name
        """
        self._client.change("DELETE", f"/{subscription.id}/webhooks.json", allowed=(404,))

    def why_never_sent(self, topic: str) -> str:
        """Return "": SHOPLINE sends all topics that are registered."""
        return ""

    # --- history ----------------------------------------------------------------------------------------------

    def orders(self, since: datetime, until: datetime, by: Literal["created", "modified"]) -> Iterator[Page]:
        """Yield orders created or changed in [since, until], archived and shipped ones too; a few can repeat.

        One list for each state of shipment and of the archive, each by the time of the order. Their topic is
        orders/updated, because they can be in any state.
        """
        column = {"created": "created_at", "modified": "updated_at"}[by]
        between = _between(column, since, until)
        total = self._decoded(self._client.get("/orders/count.json", between).body, _Count).count
        for shipment, archived in product(SHIPMENTS, ARCHIVED):
            chosen = {"status": "any", "fulfillment_status": shipment, "hidden_order": archived}
            query = {**chosen, "sort_condition": "order_at:asc", **between}
            for bodies in self._pages("/orders.json", "orders", query, ORDERS_PAGE):
                yield Page("orders/updated", bodies, total)

    def customers(self, since: datetime, until: datetime) -> Iterator[Page]:
        """Yield customers created in [since, until], those without an account included.

        https://developer.shopline.com/docs/admin-rest-api/customer/customer-management/get-customers
        """
        between = _between("created_at", since, until)
        for bodies in self._pages("/v2/customers.json", "customers", between, CUSTOMERS_PAGE):
            yield Page("customers/create", bodies)

    def _pages(self, path: str, name: str, query: Query, limit: int) -> Iterator[list[bytes]]:
        """Yield the pages of a list: https://developer.shopline.com/doc/3cv5d7wpfgr6a8z5/gfzeraeezj4ff96u"""

        def ask(chosen: Query) -> ListPage:
            answer = self._client.get(path, chosen)
            return ListPage(answer.body, answer.headers.get("link", ""))

        return cursor_pages(ask, name, query, limit, self._broken)

    # --- checks -----------------------------------------------------------------------------------------------

    def check(self) -> Iterator[ApiCheck]:
        """Check the token, and each permission by a small request; stop if the token is not accepted."""
        for path, parameters, what in (
            ("/webhooks.json", {}, "see its webhooks"),
            ("/orders.json", {"limit": 1}, "read orders"),
            ("/v2/customers.json", {"limit": 1}, "read customers"),
        ):
            try:
                self._client.get(path, parameters)
            except ShopApiError as error:
                yield ApiCheck(False, str(error) if error.kind != "scopes" else f"the app may not {what}: {error}")
                if error.kind != "scopes":
                    return
            else:
                yield ApiCheck(True, f"the app may {what}")

    # --- answers ----------------------------------------------------------------------------------------------

    def _broken(self) -> ShopApiError:
        return ShopApiError(
            "broken", f"{self._shop} sent an answer that is not its API's; try again later, or look for a proxy"
        )

    def _decoded(self, body: bytes, kind: Any) -> Any:
        try:
            return msgspec.json.decode(body, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise self._broken() from None


def _subscription(found: _Webhook) -> Subscription:
    return Subscription(str(found.id), found.topic, found.address, by_us=True)


def _between(column: str, since: datetime, until: datetime) -> dict[str, str | int]:
    """Return the filter for a time range, in whole seconds as SHOPLINE's own times are, both ends included."""
    times = (f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S}+00:00" for moment in (since, until))
    return dict(zip((f"{column}_min", f"{column}_max"), times, strict=True))
