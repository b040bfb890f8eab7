"""A Shopify of one shop and one app, on a loopback socket: its Admin API, its history, and the webhooks it delivers.

    with FakeShopify() as shopify:
        store = replace(STORE, api=Api(access_token=shopify.access_token))
        ... admin(store, base=shopify.url) registers webhooks and reads history ...
        shopify.drop = {"orders/paid"}
        shopify.place(order)          # a body of platforms.shopify.samples
        shopify.pay(order["id"])      # its orders/paid is lost on the way
        shopify.fail(503, times=2)    # the API's next two answers

Deliveries are made, one after the other, before `place`, `update` and the like return. The API's rules are in
`tests.fakes.shopify_rules`; how it is heard over HTTP, and its faults, are in `tests.fakes.shopify_server`.
"""

import base64
import copy
import hashlib
import hmac
import json
import secrets
import threading
import time
import uuid
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from tests.support.fakes.shopify_rules import Rules
from tests.support.fakes.shopify_server import How, Server

CAPTAIN_HOOK = "Shopify-Captain-Hook"
FAILURES = 8  # in a row, after which a subscription made through the API is deleted
PLACES = ("shipping_address", "billing_address", "default_address")
KEPT_OF_A_PLACE = {"id", "customer_id", "company", "country", "country_code", "country_name", "province"}
KEPT_OF_A_PLACE |= {"province_code", "default"}
PERSONAL = {"email", "contact_email", "phone", "first_name", "last_name", "order_status_url"}

Body = dict[str, object]
Drop = Collection[str] | Callable[[str, Body], bool]


@dataclass
class FakeSubscription:
    """A webhook as this Shopify has it; `failures` counts those in a row."""

    id: str
    topic: str
    url: str
    failures: int = 0


@dataclass(frozen=True)
class Delivery:
    """An attempt to deliver: what was sent, and the status it was answered with (0: no answer, None: dropped)."""

    subscription: FakeSubscription
    topic: str
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    status: int | None

    @property
    def failed(self) -> bool:
        return self.status is not None and not 200 <= self.status < 300


class FakeShopify:
    """The shop. `clock` returns Unix seconds; `access_token` is a legacy token that never ends.

    Switches: `scopes`; `withholding` (personal fields are missing from every body); `approved` (False: orders and
    customers are refused altogether); `organisation` (False: no client credentials for this shop); `any_url` (webhooks
    may go to loopback); `drop` (topics, or a function of topic and body, whose deliveries are lost unseen).
    """

    def __init__(
        self,
        secret: str = "client-secret-of-the-fake",
        shop: str = "acme.myshopify.com",
        clock: Callable[[], float] = time.time,
        any_url: bool = True,
    ) -> None:
        self.secret = secret
        self.client_id = "client-id-of-the-fake"
        self.access_token = f"shpat_{secrets.token_hex(16)}"
        self.shop = shop
        self.clock = clock
        self.any_url = any_url
        self.scopes: set[str] = {"read_orders", "read_customers"}
        self.withholding = False
        self.approved = True
        self.organisation = True
        self.drop: Drop = ()
        self.orders: dict[int, Body] = {}
        self.customers: dict[int, Body] = {}
        self.subscriptions: list[FakeSubscription] = []
        self.deliveries: list[Delivery] = []
        self.tokens: dict[str, float] = {}  # granted ones and their ends
        self.api_version = "2026-07"
        self.lock = threading.RLock()
        self._server = Server(self)

    # --- the server -------------------------------------------------------------------------------------------

    def __enter__(self) -> "FakeShopify":
        self._server.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._server.stop()

    @property
    def url(self) -> str:
        """Stands for https://SHOP."""
        return self._server.url

    @property
    def requests(self) -> list[str]:
        """What the API was asked, as "GET /admin/…?…"; of a GraphQL query the name of its field."""
        return self._server.requests

    @property
    def rules(self) -> Rules:
        """The API's limits: `rules.page_size`, and `rules.exhaust()`, which uses up the rates."""
        return self._server.rules

    def fail(
        self,
        how: How,
        times: int = 1,
        on: str = "",
        headers: dict[str, str] | None = None,
        body: object = None,
    ) -> None:
        """Let the next `times` requests whose line contains `on` be answered otherwise.

        With a status, and with these headers and this body; or
        hang: no answer for ten seconds · trickle: as long an answer, byte by byte · half: one that breaks off ·
        html: a page with 200 · garbage: JSON of another shape · internal: a GraphQL error within a 200 ·
        throttled: GraphQL's refusal for want of points · echo: a refusal that repeats the token
        """
        self._server.fail(how, times, on, headers or {}, body)

    def revoke(self) -> None:
        """End every token but the legacy one, before its time."""
        self.tokens.clear()

    # --- what happens in the shop -----------------------------------------------------------------------------

    def check_out(self, checkout: Body) -> None:
        """A shopper begins to check out. Checkouts are delivered only; REST has no list of them."""
        self._tell("checkouts/create", checkout)

    def continue_checkout(self, checkout: Body) -> None:
        """A shopper types something into the checkout."""
        self._tell("checkouts/update", checkout)

    def place(self, order: Body) -> None:
        """An order comes in, paid already if its body says so."""
        self._keep(self.orders, order)
        topics = ("orders/create", *(("orders/paid",) if order["financial_status"] == "paid" else ()))
        self._tell_of_order(order, *topics, "orders/updated")

    def pay(self, order_id: object) -> None:
        """An order is paid in full."""
        self._tell_of_order(self._changed(order_id, financial_status="paid"), "orders/paid", "orders/updated")

    def update(self, order_id: object, **changes: object) -> None:
        """Some of an order's fields change, and with them its updated_at."""
        self._tell_of_order(self._changed(order_id, **changes), "orders/updated")

    def register(self, customer: Body) -> None:
        """A customer comes into being, with an account or without."""
        self._keep(self.customers, customer)
        self._tell("customers/create", customer)

    def enable(self, customer_id: object) -> None:
        """A customer signs in for the first time."""
        with self.lock:
            customer = self.customers[int(str(customer_id))]
            customer |= {"state": "enabled", "updated_at": self.now()}
        self._tell("customers/enable", customer)

    def uninstall(self) -> None:
        """The app is removed: its tokens end and its webhooks vanish, the last of them tells."""
        self._tell(
            "app/uninstalled", {"id": 1, "name": "Acme", "domain": "acme.example", "myshopify_domain": self.shop}
        )
        self.subscriptions.clear()
        self.tokens.clear()
        self.access_token = f"shpat_{secrets.token_hex(16)}"

    def now(self) -> str:
        """The present second as Shopify writes it."""
        return datetime.fromtimestamp(self.clock(), UTC).isoformat(timespec="seconds")

    # --- webhooks ---------------------------------------------------------------------------------------------

    def retry(self) -> list[Delivery]:
        """Deliver once more, unchanged and under the same id, what failed last time; the new attempts."""
        with self.lock:
            last = {(each.subscription.id, each.headers["X-Shopify-Webhook-Id"]): each for each in self.deliveries}
        return [
            self._deliver(each.subscription, each.topic, each.headers, each.body)
            for each in last.values()
            if each.failed and each.subscription in self.subscriptions
        ]

    def delivered(self, topic: str) -> list[Delivery]:
        """The deliveries of a topic that were answered 2xx."""
        return [each for each in self.deliveries if each.topic == topic and each.status and not each.failed]

    def shown(self, body: Body) -> Body:
        """A body as the app may see it."""
        return _without_persons(body) if self.withholding else body

    def _keep(self, place: dict[int, Body], body: Body) -> None:
        with self.lock:
            place[int(str(body["id"]))] = copy.deepcopy(body)

    def _changed(self, order_id: object, **changes: object) -> Body:
        with self.lock:
            order = self.orders[int(str(order_id))]
            order |= {**changes, "updated_at": self.now()}
            return copy.deepcopy(order)

    def _tell_of_order(self, order: Body, *topics: str) -> None:
        action = str(uuid.uuid4())
        for topic in topics:
            self._tell(topic, order, action)

    def _tell(self, topic: str, body: Body, action: str = "") -> None:
        raw = json.dumps(self.shown(body), ensure_ascii=False, separators=(",", ":")).encode()
        for subscription in [each for each in self.subscriptions if each.topic == topic]:
            headers = self._headers(topic, raw, action or str(uuid.uuid4()))
            if self._dropped(topic, body):
                self.deliveries.append(Delivery(subscription, topic, headers, raw, None))
            else:
                self._deliver(subscription, topic, headers, raw)

    def _dropped(self, topic: str, body: Body) -> bool:
        return self.drop(topic, body) if callable(self.drop) else topic in self.drop

    def _headers(self, topic: str, raw: bytes, action: str) -> dict[str, str]:
        """https://shopify.dev/docs/apps/build/webhooks/delivery-structure"""
        digest = hmac.digest(self.secret.encode(), raw, hashlib.sha256)
        return {
            "Content-Type": "application/json",
            "User-Agent": CAPTAIN_HOOK,
            "X-Shopify-Topic": topic,
            "X-Shopify-Hmac-Sha256": base64.b64encode(digest).decode(),
            "X-Shopify-Shop-Domain": self.shop,
            "X-Shopify-API-Version": self.api_version,
            "X-Shopify-Webhook-Id": str(uuid.uuid4()),
            "X-Shopify-Event-Id": action,
            "X-Shopify-Triggered-At": f"{datetime.fromtimestamp(self.clock(), UTC):%Y-%m-%dT%H:%M:%S.%f}000Z",
        }

    def _deliver(self, subscription: FakeSubscription, topic: str, headers: dict[str, str], raw: bytes) -> Delivery:
        try:
            with urlopen(Request(subscription.url, raw, headers), timeout=5) as answer:
                status = answer.status
        except HTTPError as refusal:
            status = refusal.code
            refusal.close()
        except (URLError, OSError):
            status = 0
        delivery = Delivery(subscription, topic, headers, raw, status)
        with self.lock:
            self.deliveries.append(delivery)
            subscription.failures = subscription.failures + 1 if delivery.failed else 0
            if subscription.failures >= FAILURES and subscription in self.subscriptions:
                self.subscriptions.remove(subscription)
        return delivery


def _without_persons(body: Body) -> Body:
    """The body as an app sees it that has no access to protected customer data: the keys are gone."""
    found = {key: value for key, value in body.items() if key not in PERSONAL}
    for key, value in found.items():
        if isinstance(value, dict) and key in PLACES:
            found[key] = {name: part for name, part in value.items() if name in KEPT_OF_A_PLACE}
        elif isinstance(value, dict) and key == "customer":
            found[key] = _without_persons(value)
    return found
