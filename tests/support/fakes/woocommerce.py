"""A WooCommerce shop on this machine: a real HTTP server with its REST API, and real signed webhooks.

As WooCommerce 10.0.4 does it, traps included: dates, drafts in lists, deliveries that are never repeated.
`place`, `update`, `register` and `act` are what happens in the shop; webhooks leave at once, or on `deliver()` while
`held`. Set `drop` to lose chosen deliveries, `fail(…)` to make the REST API fail.
"""

import copy
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

from werkzeug.serving import WSGIRequestHandler, make_server

from tests.support.fakes.woocommerce_faults import FAULTS
from tests.support.fakes.woocommerce_rest import application
from tests.support.fakes.woocommerce_webhooks import Delivery, Webhook, Webhooks

Body = dict[str, Any]
VERSION = "10.0.4"
DRAFTS = {"checkout-draft", "auto-draft", "draft", "new"}


class FakeWooCommerce:
    """One shop. `now` is its clock, `offset` its time zone, `path` the folder WordPress is in."""

    def __init__(
        self,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        *,
        offset: timedelta = timedelta(hours=-5),
        path: str = "",
        certificate: tuple[Path, Path] | None = None,
    ) -> None:
        self.now, self.offset, self.path = now, offset, path
        # What the vendor's package signs with cannot be set, so signatures are judged by the real time.
        self.time: Callable[[], float] = time.time
        self.key, self.secret = "ck_" + "5a" * 20, "cs_" + "7b" * 20
        self.permissions = "read_write"
        self.forbidden: set[str] = set()  # what the keys' user may not: "webhooks", "orders", "customers" …
        self.drops_authorization = False  # the web server does not pass the header on to PHP
        self.proxied = False  # a proxy ends TLS, and PHP does not know
        self.unreadable: set[int] = set()  # orders that lists count but do not show
        self.version = VERSION
        self.has_plugin = True  # the connector's
        self.lock = threading.RLock()
        self.orders: dict[int, Body] = {}
        self.customers: dict[int, Body] = {}
        self.nonces: set[str] = set()
        self.requests: list[tuple[str, str, dict[str, str]]] = []  # method, endpoint, query
        self.before: Callable[[str], None] | None = None  # called with the endpoint before each request is answered
        self.between: Callable[[list[Body]], None] | None = None  # called with orders found but not yet read
        self.filters_changes = True  # False: before 5.8, which ignores the parameters it does not know
        self.takes_any_webhook = False  # a plugin has its own idea of topics
        self.closing = threading.Event()
        self._faults: list[tuple[str, dict[str, Any], int | None]] = []
        self.hooks = Webhooks(self)
        self._server = make_server(
            "127.0.0.1",
            0,
            application(self),
            threaded=True,
            request_handler=_handler(self),
            ssl_context=_pair(certificate),
        )
        self.secure = certificate is not None
        self.url = f"http{'s' if self.secure else ''}://127.0.0.1:{self._server.server_port}{path}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self) -> "FakeWooCommerce":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    # --- what happens in the shop

    def place(self, order: Body, deliver: bool = True) -> int:
        """A new order; its webhooks are order.created and order.updated with the same body. Returns its id."""
        with self.lock:
            body = copy.deepcopy(order)
            order_id = int(body.setdefault("id", len(self.orders) + 1))
            for name in ("created", "modified"):
                if f"date_{name}_gmt" not in body:
                    body |= self.dates(name)
            body.setdefault("status", "pending")
            self.orders[order_id] = body
            if deliver:
                if body["status"] not in DRAFTS:
                    self.hooks.notice("order.created", order_id)
                self.hooks.notice("order.updated", order_id)
        self.hooks.leave()
        return order_id

    def update(self, order_id: int, **changes: Any) -> None:
        """A changed order: order.updated, and order.created when it stops being a draft."""
        with self.lock:
            order = self.orders[order_id]
            was_draft = order["status"] in DRAFTS
            order |= {**self.dates("modified"), **changes}
            if was_draft and order["status"] not in DRAFTS:
                self.hooks.notice("order.created", order_id)
            self.hooks.notice("order.updated", order_id)
        self.hooks.leave()

    def pay(self, order_id: int) -> None:
        """The payment arrives."""
        self.update(order_id, status="processing", **self.dates("paid"))

    def remove(self, order_id: int) -> None:
        """An order is deleted for good; what is still queued for it will carry an error as its body."""
        with self.lock:
            del self.orders[order_id]

    def register(self, customer: Body, deliver: bool = True) -> int:
        """A new customer: customer.created and customer.updated. Returns the id."""
        with self.lock:
            body = copy.deepcopy(customer)
            customer_id = int(body.setdefault("id", len(self.customers) + 1))
            if "date_created_gmt" not in body:
                body |= self.dates("created")
            body.setdefault("role", "customer")
            self.customers[customer_id] = body
            if deliver:
                self.hooks.notice("customer.created", customer_id)
                self.hooks.notice("customer.updated", customer_id)
        self.hooks.leave()
        return customer_id

    def act(self, action: str, argument: Any) -> None:
        """`do_action` of a hook: the topic action.<hook>."""
        with self.lock:
            self.hooks.notice(f"action.{action}", argument)
        self.hooks.leave()

    def dates(self, name: str, at: datetime | None = None) -> dict[str, str]:
        """`date_…` in the shop's time and `date_…_gmt`, of now."""
        moment = (at or self.now()).astimezone(UTC)
        return {
            f"date_{name}": f"{moment + self.offset:%Y-%m-%dT%H:%M:%S}",
            f"date_{name}_gmt": f"{moment:%Y-%m-%dT%H:%M:%S}",
        }

    # --- webhooks

    @property
    def webhooks(self) -> dict[int, Webhook]:
        """The webhooks by id, secrets and failure counters included."""
        return self.hooks.all

    def hook(self, topic: str, url: str, secret: str = "another's") -> Webhook:
        """A webhook that somebody makes in the shop's own settings."""
        return self.hooks.create("By hand", topic, url, secret)

    @property
    def deliveries(self) -> list[Delivery]:
        """All that were tried, dropped ones with status None."""
        return self.hooks.deliveries

    @property
    def pings(self) -> list[tuple[int, int | None]]:
        """Webhook id and the answer's status of each ping."""
        return self.hooks.pings

    @property
    def drop(self) -> Callable[[str, Any], bool] | None:
        """Given a topic and the body: whether this delivery gets lost, as when the receiving host is down."""
        return self.hooks.drop

    @drop.setter
    def drop(self, choice: Callable[[str, Any], bool] | None) -> None:
        self.hooks.drop = choice

    @property
    def held(self) -> bool:
        """True: webhooks wait in the queue until `deliver()`; their bodies are made then."""
        return self.hooks.held

    @held.setter
    def held(self, value: bool) -> None:
        self.hooks.held = value

    def deliver(self) -> None:
        """Run the queue: each waiting webhook is sent once, whatever comes of it."""
        self.hooks.run()

    # --- faults of the REST API

    def fail(self, kind: str, times: int | None = None, **options: Any) -> None:
        """Answer the next `times` requests (or all) with a fault of fakes.woocommerce_faults.FAULTS."""
        assert kind in FAULTS, f"no fault {kind!r}; there are {', '.join(FAULTS)}"
        self._faults.append((kind, options, times))

    def heal(self) -> None:
        """No more faults."""
        self._faults.clear()

    def next_fault(self) -> Any:
        """The fault that is due, as a response, or None."""
        with self.lock:
            if not self._faults:
                return None
            kind, options, times = self._faults[0]
            if times == 1:
                self._faults.pop(0)
            elif times is not None:
                self._faults[0] = (kind, options, times - 1)
        return FAULTS[kind](self, **options)


def _handler(shop: FakeWooCommerce) -> type[WSGIRequestHandler]:
    class Handler(WSGIRequestHandler):
        def date_time_string(self, timestamp: float | None = None) -> str:
            return format_datetime(shop.now().astimezone(UTC), usegmt=True)

        def log(self, *_: Any) -> None:
            """Tests print nothing."""

    return Handler


def _pair(certificate: tuple[Path, Path] | None) -> tuple[str, str] | None:
    return (str(certificate[0]), str(certificate[1])) if certificate else None
