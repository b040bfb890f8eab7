"""BigCommerce's REST API: webhooks (v3), orders (v2), customers and carts (v3).

https://developer.bigcommerce.com/docs/webhooks/webhooks, https://developer.bigcommerce.com/docs/rest-management/orders,
https://developer.bigcommerce.com/docs/rest-management/customers, refunds (v3):
https://developer.bigcommerce.com/docs/rest-management/orders-v3/payment-actions
"""

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import msgspec

from connector.plugin import ApiCheck, Notice, Page, ShopApi, ShopApiError, Store, Subscription, mail_time
from connector.plugin.public_url import why_not_public
from platforms.bigcommerce.receive import BOOK_SCOPES, TOKEN_HEADER, hook_token
from platforms.bigcommerce.translate import CART, CUSTOMER, ORDER

if TYPE_CHECKING:
    from platforms.bigcommerce.rest_client import BigCommerceClient

SETS_SECRET = False  # webhooks are signed with the API account's client secret
SEES_ALL = False  # an API account lists its own webhooks only
ADDRESS = "https://api.bigcommerce.com/stores/"
PAGE_SIZE = 100
HOOKS_PAGE = 250
NO_CART = "00000000-0000-0000-0000-000000000000"  # to see whether carts may be read
WITH_PRODUCTS = {"include": "consignments.line_items", "consignment_structure": "object"}
_TOPICS: Mapping[str, tuple[str, ...]] = {
    "order_placed": ("store/order/created", "store/order/statusUpdated"),
    "order_paid": ("store/order/created", "store/order/statusUpdated"),
    "checkout_started": ("store/cart/updated",),
    "customer_registered": ("store/customer/created",),
}


def topics(store: Store) -> tuple[str, ...]:
    """Return the scopes needed for what the store sends and for its books."""
    needed = [topic for milestone in store.sent_milestones for topic in _TOPICS[milestone]]
    return tuple(dict.fromkeys(needed + sorted(BOOK_SCOPES if store.books else ())))


def why_not_url(url: str) -> str:
    """Return why BigCommerce does not deliver to this URL, with the remedy, or ""."""
    if why := why_not_public(url, "BigCommerce"):
        return why
    if urlsplit(url).port not in (None, 443):
        return "BigCommerce delivers to https on port 443 only: put a proxy before the connector"
    return ""


def connect(store: Store, pause: Callable[[float], object] = time.sleep) -> ShopApi:
    """Open the API of this store with the token in its [api]. Raises ShopApiError if there is none."""
    from platforms.bigcommerce.rest_client import BigCommerceClient  # its library is loaded by commands and the relay

    if not store.api or not store.api.access_token:
        raise ShopApiError(
            "keys",
            f"store {store.name} has no access_token in its [api]: create a store-level API account in BigCommerce",
        )
    base = store.api.url or f"{ADDRESS}{store.shops[0]}"
    return BigCommerceApi(BigCommerceClient(base, store.api.access_token, pause), store)


class _Order(msgspec.Struct):
    id: int = 0


class _Refund(msgspec.Struct):
    order_id: int = 0


class _Rows(msgspec.Struct):
    data: list[msgspec.Raw] = []


class _Row(msgspec.Struct):
    data: msgspec.Raw


class _Hook(msgspec.Struct):
    id: int
    scope: str
    destination: str
    is_active: bool = False
    headers: dict[str, str] | None = None


class _Hooks(msgspec.Struct):
    data: list[_Hook] = []


class _Created(msgspec.Struct):
    data: _Hook


class _Dates(msgspec.Struct):
    date_modified: str = ""
    date_created: str = ""


class BigCommerceApi:
    """The API of one store. Methods raise ShopApiError."""

    def __init__(self, client: "BigCommerceClient", store: Store) -> None:
        self._client = client
        self._books = store.books
        self._needs_carts = "checkout_started" in store.sent_milestones
        self._tokens = {hook_token(secret) for secret in store.webhook_secrets}

    # --- webhooks ---------------------------------------------------------------------------------------------

    def subscriptions(self) -> list[Subscription]:
        """Return the API account's webhooks; one of ours with the token of another secret counts as switched off."""
        return [self._subscription(hook) for hook in self._hooks({})]

    def subscribe(self, topic: str, url: str, secret: str) -> Subscription:
        """Create a webhook with our token in a header. There can be one for a scope and an address: it is replaced."""
        body = {"scope": topic, "destination": url, "is_active": True, "headers": {TOKEN_HEADER: hook_token(secret)}}
        status, answer = self._client.change("POST", "/v3/hooks", body, allowed=(409, 422))
        if status in (409, 422) and (same := self._hooks({"scope": topic, "destination": url})):
            for hook in same:
                self._delete(str(hook.id))
            status, answer = self._client.change("POST", "/v3/hooks", body)
        elif status in (409, 422):
            raise ShopApiError("refused", f"BigCommerce refuses a webhook of {topic} to this address ({status})")
        return self._subscription(_decoded(answer, _Created).data)

    def unsubscribe(self, subscription: Subscription) -> None:
        """Delete a webhook."""
        self._delete(subscription.id)

    def _delete(self, number: str) -> None:
        self._client.change("DELETE", f"/v3/hooks/{number}", allowed=(404,))

    def _hooks(self, chosen: Mapping[str, str]) -> list[_Hook]:
        found: list[_Hook] = []
        page = 1
        while True:
            answer = self._client.get("/v3/hooks", {**chosen, "page": page, "limit": HOOKS_PAGE})
            rows = _decoded(answer or b"{}", _Hooks).data
            found += rows
            if len(rows) < HOOKS_PAGE:
                return found
            page += 1

    def _subscription(self, hook: _Hook) -> Subscription:
        token = {name.lower(): value for name, value in (hook.headers or {}).items()}.get(TOKEN_HEADER.lower())
        active = hook.is_active and (token is None or token in self._tokens)
        return Subscription(str(hook.id), hook.scope, hook.destination, active, by_us=token is not None)

    def why_never_sent(self, topic: str) -> str:
        """Return "": BigCommerce sends all scopes that are registered."""
        return ""

    # --- orders and customers ---------------------------------------------------------------------------------

    def fetch(self, notice: Notice) -> Page:
        """Return the order, customer or cart that a webhook names; no body if it was deleted."""
        if notice.kind == "order":
            answer = self._client.get(f"/v2/orders/{int(notice.id)}", WITH_PRODUCTS)
            return Page(ORDER, self._with_refunds([answer] if answer else []))
        if notice.kind == "checkout":
            return Page(CART, self._cart(notice.id))
        answer = self._client.get("/v3/customers", {"id:in": int(notice.id), "include": "addresses"})
        return Page(CUSTOMER, [bytes(row) for row in _decoded(answer or b"{}", _Rows).data])

    def _cart(self, ident: str) -> list[bytes]:
        try:
            answer = self._client.get(f"/v3/carts/{ident}", {})
        except ShopApiError as error:
            if error.kind != "scopes":
                raise
            raise ShopApiError("refused", str(error)) from None  # so that orders are fetched without this scope, too
        return [bytes(_decoded(answer, _Row).data)] if answer else []

    def orders(self, since: datetime, until: datetime, by: Literal["created", "modified"]) -> Iterator[Page]:
        """Yield orders, oldest first.

        Each page begins with the time at which the one before ended: an order that is changed meanwhile would move all
        after it to an earlier page.
        """
        field = f"date_{by}"
        begin, page = since, 1
        while True:
            chosen = {
                f"min_{field}": begin.isoformat(),
                f"max_{field}": until.isoformat(),
                "sort": f"{field}:asc",
                "limit": PAGE_SIZE,
                "page": page,
            }
            answer = self._client.get("/v2/orders", {**chosen, **WITH_PRODUCTS})
            rows = [bytes(row) for row in _decoded(answer or b"[]", list[msgspec.Raw])]
            if rows:
                yield Page(ORDER, self._with_refunds(rows))
            if len(rows) < PAGE_SIZE:
                return
            last = mail_time(getattr(_decoded(rows[-1], _Dates), field))
            begin, page = (last, 1) if last and last > begin else (begin, page + 1)

    def _with_refunds(self, orders: list[bytes]) -> list[bytes]:
        """Return the orders with their refunds, which v2 does not have; without books as they are.

        Without the right to see refunds, orders still arrive, but without them.
        """
        if not self._books or not orders:
            return orders
        try:
            refunds = self._refunds([_decoded(order, _Order).id for order in orders])
        except ShopApiError as error:
            if error.kind not in ("scopes", "refused"):
                raise
            return orders
        found = []
        for order in orders:
            listed = b",".join(refunds.get(_decoded(order, _Order).id, ()))
            found.append(order.rstrip().removesuffix(b"}") + b',"refunds":[' + listed + b"]}")
        return found

    def _refunds(self, numbers: list[int]) -> dict[int, list[bytes]]:
        """Return the refunds of these orders, by order."""
        chosen = {"order_id:in": ",".join(map(str, numbers)), "limit": PAGE_SIZE}
        found: dict[int, list[bytes]] = {}
        page = 1
        while True:
            answer = self._client.get("/v3/orders/payment_actions/refunds", {**chosen, "page": page})
            rows = _decoded(answer or b"{}", _Rows).data
            for row in rows:
                found.setdefault(_decoded(row, _Refund).order_id, []).append(bytes(row))
            if len(rows) < PAGE_SIZE:
                return found
            page += 1

    def customers(self, since: datetime, until: datetime) -> Iterator[Page]:
        """Yield customers who registered in this period; those of its last seconds may come again in the next."""
        chosen = {
            "date_created:min": _v3_time(since - timedelta(seconds=1)),
            "date_created:max": _v3_time(until + timedelta(seconds=1)),
            "sort": "date_created:asc",
            "include": "addresses",
            "limit": PAGE_SIZE,
        }
        page = 1
        while True:
            answer = self._client.get("/v3/customers", {**chosen, "page": page})
            rows = [bytes(row) for row in _decoded(answer or b"{}", _Rows).data]
            if rows:
                yield Page(CUSTOMER, rows)
            if len(rows) < PAGE_SIZE:
                return
            page += 1

    def check(self) -> Iterator[ApiCheck]:
        """Check the token, and each scope by a small request."""
        carts = [(f"/v3/carts/{NO_CART}", "the API account reads carts", "Carts: read-only")] * self._needs_carts
        for path, good, scope in (
            ("/v2/orders", "the API account reads orders", "Orders: read-only"),
            ("/v3/customers", "the API account reads customers", "Customers: read-only"),
            *carts,
            ("/v3/hooks", "the API account sees its webhooks", "Information & settings: read-only"),
        ):
            try:
                self._client.get(path, {"limit": 1})
            except ShopApiError as error:
                if error.kind != "scopes":
                    yield ApiCheck(False, str(error))
                    return
                yield ApiCheck(False, f"the API account lacks the scope {scope}")
            else:
                yield ApiCheck(True, good)


def _v3_time(moment: datetime) -> str:
    """Return a UTC time without its offset, as v3's filters take it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S")


def _decoded(answer: bytes, kind: Any) -> Any:
    try:
        return msgspec.json.decode(answer, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ShopApiError("broken", "the shop's API answers in another form than BigCommerce's v2 and v3") from None
