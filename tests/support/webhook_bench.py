"""The intake of one store on a database of its own, and the webhooks to try on it: for the contract of platforms."""

import random
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal

from msgspec import structs

from connector.core.json_fields import host
from connector.core.store import MappingSettings, Pixel, Store
from connector.core.webhook import Request
from connector.intake.intake import Intake
from connector.outbox.lanes import Lane
from connector.outbox.outbox import Outbox
from connector.outbox.queries import EventFilter, OutboxQueries
from connector.plugin.testing.bench import handle_request
from connector.plugin.testing.shoppers import Journey
from connector.privacy.requests import DataRequestStore
from tests.support.factories import SECRET, a_store
from tests.support.platforms import PLATFORMS, SAMPLES

NOW = datetime(2026, 11, 23, 15, 4, 5, tzinfo=UTC)
STORES = {
    name: replace(
        a_store(pixels=(Pixel("CABCDEFGHIJKLMNOPQR0", "token", "TEST12345"),)),
        platform=name,
        shops=(host(SAMPLES[name].DEMO_SHOP.shop),),
        mapping=MappingSettings(content_id=platform.facts.content_id),
    )
    for name, platform in PLATFORMS.items()
}
PLATFORM_NAMES = sorted(PLATFORMS)
TOPICS = [(name, topic) for name in PLATFORM_NAMES for topic in SAMPLES[name].TOPICS]
EVENT_TOPICS = [(name, topic) for name, topic in TOPICS if topic in PLATFORMS[name].event_topics]
HEADER_NAMED = [name for name in PLATFORM_NAMES if SAMPLES[name].TOPIC_HEADER]  # others name topics in the body
HANDSHAKES = {name: samples.HANDSHAKE for name, samples in SAMPLES.items() if samples.HANDSHAKE}


# --- the bench ---------------------------------------------------------------------------------------


@dataclass
class Bench:
    """One store of one platform, its intake and the database behind it."""

    intake: Intake
    outbox: Outbox
    store: Store

    def take(self, request: Request) -> str:
        return handle_request(self.intake, self.store, request)

    def events(self) -> list[tuple[str, str]]:
        return sorted(
            (row.event, row.event_id) for row in OutboxQueries(self.outbox.database).find(EventFilter(), 1000)
        )

    def payloads(self) -> list[bytes]:
        lane = Lane(self.store.name, self.store.pixels[0].code)
        claimed = self.outbox.claim(lane, 1000, "test", NOW.timestamp() + 60, 60)
        assert len(claimed) == len(self.events())
        return [row.payload for row in claimed]

    def lines(self, key: str) -> list[str]:
        """The outcomes of the ledger's lines about an object."""
        return [line.outcome for line in OutboxQueries(self.outbox.database).show(key)[0]]

    def counted(self, what: str) -> int:
        self.intake.counters.flush()
        return sum(row.count for row in OutboxQueries(self.outbox.database).counted() if row.what == what)

    def is_empty(self) -> bool:
        return (
            not self.events()
            and not OutboxQueries(self.outbox.database).parked()
            and not OutboxQueries(self.outbox.database).show("")[0]
        )


def bench_of(outbox: Outbox, name: str, platform: Any = None, store: Store | None = None) -> Bench:
    store = store or STORES[name]
    intake = Intake(
        {store.name: store},
        {name: platform or PLATFORMS[name]},
        outbox,
        DataRequestStore(outbox.database),
        clock=lambda: NOW,
    )
    return Bench(intake, outbox, store)


@lru_cache
def journey(seed: int = 1) -> Journey:
    return Journey.random(random.Random(seed), NOW)


def body_of(name: str, topic: str, seed: int = 1) -> Any:
    body = SAMPLES[name].sample(topic, journey(seed), STORES[name])
    # Samples are of shoppers without an account; a registration needs one.
    return {**body, "state": "enabled"} if topic.startswith("customers/") and "state" in body else body


def request_of(name: str, topic: str, body: bytes, secret: str = SECRET, **headers: str) -> Request:
    found = SAMPLES[name].headers(topic, journey(), STORES[name]) if topic in SAMPLES[name].TOPICS else {}
    found = {key.lower(): value for key, value in found.items()}
    if name in HEADER_NAMED:
        found |= {SAMPLES[name].TOPIC_HEADER: topic}
    found |= {key.lower(): value for key, value in PLATFORMS[name].signed_headers(body, secret, NOW).items()}
    return Request(found | headers, body, NOW)


def of_another(name: str, what: Literal["topic", "shop"], value: str, topic: str, seed: int = 1) -> Request:
    """The signed sample of this topic, with another topic or shop, in a header or in the body."""
    samples = SAMPLES[name]
    header, path = (
        (samples.TOPIC_HEADER, samples.TOPIC_PATH) if what == "topic" else (samples.SHOP_HEADER, samples.SHOP_PATH)
    )
    body = body_of(name, topic, seed)
    if header:
        return request_of(name, topic, samples.encode(body), **{header: value})
    return request_of(name, topic, samples.encode(replaced_at(body, path, value)))


def replaced_at(body: Any, path: tuple[str, ...], value: Any) -> Any:
    """The body with another value at this place."""
    key, *rest = path
    return {**body, key: replaced_at(body[key], tuple(rest), value) if rest else value}


def sample_request(name: str, topic: str, seed: int = 1, **headers: str) -> Request:
    return request_of(name, topic, SAMPLES[name].encode(body_of(name, topic, seed)), **headers)


def signature_header(name: str) -> str:
    return PLATFORMS[name].signature.header.lower()


def first_topic(bench: Bench) -> str:
    return SAMPLES[bench.store.platform].TOPICS[0]


def resigned(request: Request, signature: str) -> Request:
    name = next(name for name in PLATFORM_NAMES if signature_header(name) in request.headers)
    return structs.replace(request, headers={**request.headers, signature_header(name): signature})
