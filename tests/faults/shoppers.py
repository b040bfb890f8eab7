"""A stream of signed webhooks of both platforms, with repeats, that remembers what was answered."""

import random
import threading
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime

import httpx

from connector.core.store import Store
from connector.core.webhook import Request
from connector.intake.examine import examine
from connector.setup.samples import webhooks
from tests.faults.machinery import Machinery
from tests.support.platforms import PLATFORMS

TOPICS = {
    "shopify": ("customers/create", "checkouts/create", "orders/create", "orders/paid"),
    "woocommerce": ("customer.created", "action.wc_tiktok_initiate_checkout", "order.created", "order.updated"),
}
REPEATED = 0.2  # of all webhooks; shops do that
PAUSE = 0.05  # seconds between two webhooks of one shopper

Key = tuple[str, str, str]  # pixel, event, event_id


@dataclass
class Posted:
    """One webhook, as it may be posted again."""

    store: Store
    body: bytes = field(repr=False)
    headers: dict[str, str] = field(repr=False)
    keys: frozenset[Key] = frozenset()


class Shoppers:
    """Threads that post; `stored` and `asked` are the events of webhooks answered 200, and of all."""

    def __init__(self, machinery: Machinery, seed: int, number: int = 3) -> None:
        self._machinery = machinery
        self.stop = threading.Event()
        self.lock = threading.Lock()
        self.stored: set[Key] = set()
        self.asked: set[Key] = set()
        self.poisoned: set[str] = set()
        self.statuses: Counter[str] = Counter()
        self.poison_next = 0
        names = list(machinery.config.stores)
        self._threads = [
            threading.Thread(target=self._shop, args=(names[i % len(names)], random.Random(f"{seed} {i}")))
            for i in range(number)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        self.stop.set()
        for thread in self._threads:
            thread.join(120)

    def _shop(self, name: str, rng: random.Random) -> None:
        store = self._machinery.config.stores[name]
        fresh = webhooks(store, TOPICS[store.platform], 10_000_000, rng)
        earlier: list[Posted] = []
        with httpx.Client(timeout=15) as client:
            while not self.stop.wait(PAUSE):
                if earlier and rng.random() < REPEATED:
                    posted = rng.choice(earlier)
                else:
                    posted = self._fresh(store, *next(fresh))
                    earlier = [*earlier[-200:], posted]
                self._post(client, posted)

    def _fresh(self, store: Store, body: bytes, headers: dict[str, str]) -> Posted:
        now = datetime.now(UTC)
        platform = PLATFORMS[store.platform]
        lowered = {key.lower(): value for key, value in headers.items()}
        webhook = platform.receive(Request(lowered, body, now), store)
        assert webhook is not None
        seen = examine(webhook, platform, store, now, None)
        keys = frozenset((mapped.pixel.code, mapped.event, mapped.event_id) for mapped in seen.events)
        with self.lock:
            self.asked |= keys
            poison = self.poison_next > 0 and bool(keys)
            self.poison_next -= poison
        if poison:
            ids = sorted({event_id for _, _, event_id in keys})
            self._machinery.fault(kind="poison", event_ids=ids, named=bool(len(ids[0]) % 2))
            with self.lock:
                self.poisoned |= set(ids)
        return Posted(store, body, headers, keys)

    def _post(self, client: httpx.Client, posted: Posted) -> None:
        url = f"{self._machinery.url}/webhooks/{posted.store.name}"
        try:
            status = str(client.post(url, content=posted.body, headers=posted.headers).status_code)
        except httpx.HTTPError as error:
            status = type(error).__name__
        with self.lock:
            self.statuses[status] += 1
            if status == "200":
                self.stored |= posted.keys
        if status != "200":
            self.stop.wait(0.1)
