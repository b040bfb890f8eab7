"""Fake shops of either platform that live: orders come in, are paid and changed, and webhooks leave for a real server.

Time stands still but for what a test or a pause adds to it.
"""

import json
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from sqlalchemy import Engine

from connector.config.settings import load
from connector.core.platform import Platform
from connector.core.store import ApiKeys, MappingSettings, Store
from connector.outbox.outbox import Outbox
from connector.plugin.testing.samples import fresh_journey
from connector.storage.database import Database
from connector.sync.registered_webhooks import RegisteredWebhooks
from connector.sync.registration import apply_plan, prepare
from platforms.shopify import samples as shopify_samples
from platforms.shopify import shop_api as shopify_admin
from platforms.woocommerce import samples as woocommerce_samples
from platforms.woocommerce import shop_api as woocommerce_admin
from tests.support.factories import a_store
from tests.support.fakes.shopify import FakeShopify
from tests.support.fakes.woocommerce import FakeWooCommerce
from tests.support.platforms import with_shop_api
from tests.support.web import application, served

SECRET = "whsec_example_0123456789"
NOWHERE = "http://127.0.0.1:9"  # where nothing listens
STORE = a_store(country="US")
CONFIG = """
[stores.acme]
platform = "shopify"
url = "https://acme.example"
shop = "acme.myshopify.com"
webhook_secrets = ["${SECRET}"]
pixel = "CABCDEFGHIJKLMNOPQR0"
access_token = "${SECRET}"
consent = "not_required"
"""


class Clock:
    """Unix seconds, from now on, to the second; pauses are noted and move it."""

    def __init__(self) -> None:
        self.now = float(int(time.time()))
        self.pauses: list[float] = []

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def moment(self) -> datetime:
        return datetime.fromtimestamp(self.now, UTC)


class Living:
    """One shop, its store and its platform's administration, whose API is the fake."""

    def __init__(self, platform: str, clock: Clock, seed: int = 1) -> None:
        self.clock = clock
        self.rng = random.Random(seed)
        self.platform = platform
        self.lost: dict[Any, bool] = {}
        if platform == "shopify":
            self.fake: Any = FakeShopify(secret=SECRET, clock=clock)
            self.store = replace(STORE, api=ApiKeys(access_token=self.fake.access_token))
            self.samples: Any = shopify_samples
        else:
            self.fake = FakeWooCommerce(clock.moment)
            keys = ApiKeys(consumer_key=self.fake.key, consumer_secret=self.fake.secret)
            self.store = replace(
                STORE, platform="woocommerce", url=self.fake.url, shops=("127.0.0.1",), api=keys,
                mapping=MappingSettings(content_id="sku"),
            )  # fmt: skip
            self.samples = woocommerce_samples

    @property
    def administration(self) -> Any:
        module = shopify_admin if self.platform == "shopify" else woocommerce_admin
        return SimpleNamespace(
            SETS_SECRET=module.SETS_SECRET,
            SEES_ALL=module.SEES_ALL,
            topics=module.topics,
            why_not_url=lambda url: "",
            connect=lambda store, pause=None: self.connect(store),  # time passes only here
        )

    @property
    def platform_object(self) -> Platform:
        return with_shop_api(self.platform, self.administration)

    def connect(self, store: Store, pause: Callable[[float], object] | None = None) -> Any:
        waits = pause or self.clock.pause
        if self.platform == "shopify":
            return shopify_admin.connect(store, waits, self.fake.url, self.clock)
        return woocommerce_admin.connect(store, waits, self.clock.moment)

    def register(self, engine: Engine, base: str) -> None:
        """As `connector webhooks register` does it."""
        shop_api, found = prepare(self.store, self.platform_object, base, "register")
        memory = RegisteredWebhooks(Database(engine))
        for line in apply_plan(found.lines, shop_api, self.store.webhook_secrets[0]):
            memory.note(self.store.name, line, self.clock.now)

    def place(self, number: int = 1, paid: bool = True, **changes: Any) -> list[int]:
        """Orders of so many new shoppers."""
        unpaid, is_paid = {"shopify": ("orders/create", "orders/paid")}.get(
            self.platform, ("order.created", "order.updated")
        )
        placed = []
        for _ in range(number):
            journey = fresh_journey(self.store, self.clock.moment(), self.rng)
            body = self.samples.sample(is_paid if paid else unpaid, journey, self.store) | changes
            self.fake.place(body)
            placed.append(int(body["id"]))
        return placed

    def sign_up(self, number: int = 1) -> list[int]:
        """New customers with accounts."""
        topic = "customers/create" if self.platform == "shopify" else "customer.created"
        journeys = [fresh_journey(self.store, self.clock.moment(), self.rng) for _ in range(number)]
        bodies = [self.samples.sample(topic, journey, self.store) for journey in journeys]
        for body in bodies:
            self.fake.register(body)
        return [int(body["id"]) for body in bodies]

    def lose(self, share: float) -> None:
        """From now on all deliveries of so many of the orders and customers get lost."""

        def is_lost(topic: str, body: Any) -> bool:
            return self.lost.setdefault(body.get("id"), self.rng.random() < share)

        self.fake.drop = is_lost if share else (() if self.platform == "shopify" else None)

    def switch_off(self, topic: str) -> None:
        """What becomes of a webhook that has failed too often: Shopify removes it, WooCommerce disables it."""
        if self.platform == "shopify":
            self.fake.subscriptions[:] = [each for each in self.fake.subscriptions if each.topic != topic]
            return
        for hook in self.fake.webhooks.values():
            if hook.topic == topic:
                hook.status, hook.failures = "disabled", 7

    def active(self) -> set[tuple[str, str]]:
        """Topic and address of what the shop delivers."""
        return {(one.topic, one.url) for one in self.connect(self.store).subscriptions() if one.active}

    def fail(self, times: int, status: int) -> None:
        """Let the API's next answers be this status."""
        if self.platform == "shopify":
            self.fake.fail(status, times)
        else:
            kind = {429: "busy", 502: "gateway"}[status]
            self.fake.fail(kind, times, status=status)

    def asked(self) -> int:
        """How many requests the API has had."""
        return len(self.fake.requests)


@contextmanager
def server(store: Store, outbox: Outbox) -> Iterator[str]:
    """The real application on a loopback socket."""
    config = load({"STORES_TOML": CONFIG, "SECRET": SECRET})
    with served(application(replace(config, stores={store.name: store}), outbox.database)) as url:
        yield url


def sent_ids(receipts: Any) -> list[tuple[str, str]]:
    """Event name and event_id of what the sandbox received."""
    items = [json.loads(receipt.item) for receipt in receipts]
    return sorted((item["event"], item["event_id"]) for item in items)
