"""A small thin platform whose API is in memory, its webhooks, and a fetcher over a database."""

import json
import threading
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine

from connector.core.store import Store
from connector.intake.intake import Intake
from connector.outbox.outbox import Outbox
from connector.plugin import (
    ApiKeys,
    Customer,
    Event,
    HeaderToken,
    InvalidPayload,
    Notice,
    Page,
    Platform,
    PlatformFacts,
    Request,
    ShopApiError,
    Webhook,
    body_text,
    identifier,
    json_object,
    money,
)
from connector.plugin.testing.bench import handle_request
from connector.privacy.requests import DataRequestStore
from connector.storage.database import Database
from connector.sync.fetch import NoticeFetcher
from tests.support.factories import SECRET, a_store

NOW = 1_800_000_000.0  # Unix seconds
CHANGED = "orders/changed"


class ThinShop(Platform):
    """An order is fetched as {"id", "total", "email", "paid"}, after a webhook of {"topic", "shop", "id"}."""

    name = "thin"
    title = "Thin"
    facts = PlatformFacts(thin=True, api_credentials=(("access_token",),))
    signature = HeaderToken("X-Token")
    event_topics = frozenset({"order"})
    notice_topics = frozenset({CHANGED})

    def topic_of(self, request: Request) -> str:
        return CHANGED if body_text(request.body, "topic") == CHANGED else ""

    def shop_of(self, request: Request) -> str:
        return body_text(request.body, "shop")

    def delivery_of(self, request: Request) -> str:
        return request.headers.get("x-delivery", "")

    def notice(self, webhook: Webhook, store: Store) -> Notice | None:
        if webhook.data.get("about") == "products":
            return None
        return Notice("order", identifier(webhook.data.get("id")))

    def translate(self, webhook: Webhook, store: Store) -> Iterable[Event]:
        order = json_object(webhook.data)
        if "total" not in order:
            raise InvalidPayload("expected an order")
        at = webhook.triggered_at or webhook.received_at
        event = Event(
            "order_placed", at, {"order_id": identifier(order["id"])}, Customer(emails=(order["email"],)),
            currency="EUR", total=money(order["total"]),
        )  # fmt: skip
        yield event
        if order.get("paid"):
            yield Event("order_paid", at, event.ids, event.customer, currency="EUR", total=event.total)


PLATFORM = ThinShop()


class Api:
    """The shop's API. `errors` are raised one after the other; `wait` is called before each answer."""

    def __init__(self) -> None:
        self.orders: dict[str, Any] = {}
        self.asked: list[str] = []
        self.errors: list[Exception] = []
        self.pauses: list[float] = []
        self.wait: Any = lambda: None

    def connect(self, store: Store, pause: Any = None) -> "Api":
        self.pause = pause
        return self

    def fetch(self, notice: Notice) -> Page:
        self.asked.append(notice.object_key)
        found = self.orders.get(notice.id)
        self.wait()
        if self.errors:
            raise self.errors.pop(0)
        for seconds in self.pauses:
            self.pause(seconds)
        return Page(
            "order", [] if found is None else [found if isinstance(found, bytes) else json.dumps(found).encode()]
        )


class World:
    """A store of the platform, its intake, its API, and fetchers over one database. Time passes when it is told to."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.now, self.api = engine, NOW, Api()
        self.database = Database(engine)
        self.store = replace(
            a_store("signed", shops=("acme",), api=ApiKeys(access_token="t"), go_live=datetime(2020, 1, 1, tzinfo=UTC)),
            platform="thin",
        )
        self.intake = self._intake()
        self.fetcher = self.hire("one")

    def _intake(self) -> Intake:
        return Intake(
            {"acme": self.store}, {"thin": PLATFORM}, Outbox(self.database), DataRequestStore(self.database), self.clock
        )

    def clock(self) -> datetime:
        return datetime.fromtimestamp(self.now, UTC)

    def hire(self, name: str) -> NoticeFetcher:
        """A fetcher of another process."""
        return NoticeFetcher(
            {"acme": self.store},
            {"thin": self.api},
            self._intake(),
            self.database,
            name,
            lambda: self.now,  # type: ignore[dict-item]
        )

    def place(self, number: int, **order: Any) -> None:
        self.api.orders[str(number)] = {"id": number, "total": "12.50", "email": f"{number}@example.com"} | order

    def notify(self, number: Any, **body: Any) -> str:
        """Take the webhook that names an order; its outcome."""
        found = json.dumps({"topic": CHANGED, "shop": "acme", "id": number} | body).encode()
        headers = {"x-token": SECRET, "x-delivery": f"d-{number}"}
        return handle_request(self.intake, self.store, Request(headers, found, self.clock()))

    def fetch(self, after: float = 5.0) -> int:
        """Let time pass and a worker work; the number of notices that it fetched."""
        self.now += after
        return self.fetcher.fetch_due(self.store)


def in_threads(*works: Any) -> None:
    """Run these at the same time."""
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()


def failures(kind: Any, number: int) -> Iterator[ShopApiError]:
    return (ShopApiError(kind, f"the shop says {kind}") for _ in range(number))
