"""What a flood costs: of unsigned requests, and of one signed body sent again and again under any header."""

import random
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from msgspec import structs

from connector.config.settings import load
from connector.core.store import Store
from connector.core.webhook import InvalidSignature, Request
from connector.intake.counters import TOPICS_COUNTED
from connector.intake.intake import Intake
from connector.outbox.outbox import Outbox
from connector.plugin.testing.bench import handle_request
from connector.privacy.requests import DataRequestStore
from connector.setup.samples import webhooks
from connector.storage.database import Database
from connector.storage.engine import connect
from connector.storage.tables import counters, metadata
from tests.support.platforms import PLATFORMS

STORES = """
[defaults]
consent = "not_required"
access_token = "token"
webhook_secrets = ["whsec-of-the-floods-test"]
[stores.acme]
platform = "shopify"
url = "https://acme.example"
shop = "acme.myshopify.com"
pixel = "CACME000000000000000"
[stores.beans]
platform = "woocommerce"
url = "https://beans.example"
shop = "https://beans.example"
pixel = "CBEANS00000000000000"
"""
NOW = datetime.now(UTC)
FIRST = {"shopify": "orders/paid", "woocommerce": "order.updated"}
TOPIC = {"shopify": "x-shopify-topic", "woocommerce": "x-wc-webhook-topic"}


class Bench:
    """A store's intake, and what the database is asked."""

    def __init__(self, url: str) -> None:
        self.stores = dict(load({"STORES_TOML": STORES, "DATABASE_URL": url}).stores)
        self.engine = connect(url)
        self.intake = Intake(
            self.stores,
            PLATFORMS,
            Outbox(Database(self.engine)),
            DataRequestStore(Database(self.engine)),
            clock=lambda: NOW,
        )
        self.intake.start()
        self.begun = 0

        @sa.event.listens_for(self.engine, "begin")
        def begin(_connection: Any) -> None:
            self.begun += 1

    def rows(self) -> Counter[str]:
        self.intake.counters.flush()
        with self.engine.connect() as connection:
            count = sa.func.count()
            return Counter(
                {
                    name: int(connection.execute(sa.select(count).select_from(table)).scalar_one())
                    for name, table in metadata.tables.items()
                }
            )

    def request(self, store: Store) -> Request:
        body, headers = next(webhooks(store, [FIRST[store.platform]], 1, random.Random(4)))
        return Request({name.lower(): value for name, value in headers.items()}, body, NOW)


@pytest.fixture
def bench(migrated_sqlite_url: str) -> Iterator[Bench]:
    bench = Bench(migrated_sqlite_url)
    yield bench
    bench.engine.dispose()


@pytest.mark.parametrize("name", ["acme", "beans"])
@pytest.mark.slow
def test_unsigned_requests_cost_the_database_next_to_nothing(bench: Bench, name: str) -> None:
    """Many, of any topic and shop: one row that counts them, written once a second at most."""
    store, before = bench.stores[name], bench.rows()
    request, bench.begun = bench.request(store), 0
    for number in range(1000):
        headers = {**request.headers, TOPIC[store.platform]: f"topic/{number}", "x-shopify-webhook-id": str(number)}
        forged = Request(headers, request.body + b" ", NOW)
        with pytest.raises(InvalidSignature):
            handle_request(bench.intake, store, forged)
        if name == "acme":
            with pytest.raises(InvalidSignature):
                bench.intake.find_store("shopify", forged)
    assert bench.begun < 60
    assert bench.rows() - before == {"counters": 2 if name == "acme" else 1}


def test_refusals_are_counted_alike_under_either_url(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """A request can claim any topic, so none is counted, for a store or for a platform's shared URL."""
    request = bench.request(bench.stores["acme"])
    forged = Request(request.headers, request.body + b" ", NOW)
    with pytest.raises(InvalidSignature):
        bench.intake.find_store("shopify", forged)
    with pytest.raises(InvalidSignature):
        handle_request(bench.intake, bench.stores["acme"], forged)
    bench.intake.counters.flush()
    with bench.engine.connect() as connection:
        rows = connection.execute(sa.select(counters.c.store, counters.c.topic, counters.c.what)).all()
    assert sorted(map(tuple, rows)) == [("acme", "(wrong secret)", "refused"), ("shopify", "(wrong secret)", "refused")]
    assert [record.message.partition(":")[0] for record in caplog.records] == ["invalid signature"] * 2


@pytest.mark.parametrize("name", ["acme", "beans"])
@pytest.mark.slow
def test_one_signed_body_under_any_header_fills_no_table(bench: Bench, name: str) -> None:
    """Topic, delivery, time and shop are unsigned: whoever has one body may write into them what he likes."""
    store, rng = bench.stores[name], random.Random(9)
    request, platform = bench.request(store), PLATFORMS[store.platform]
    assert handle_request(bench.intake, store, request) == "relayed"
    for number in range(4 * TOPICS_COUNTED):
        topic = rng.choice([*platform.event_topics, *platform.recorded_topics, f"topic/{number}"])
        headers = {**request.headers, TOPIC[store.platform]: topic, "x-shopify-webhook-id": str(number)}
        headers["x-wc-webhook-delivery-id"] = headers["x-shopify-triggered-at"] = NOW.isoformat()
        handle_request(bench.intake, store, Request(headers, request.body, NOW))
    rows, topics = bench.rows(), len(platform.event_topics | platform.recorded_topics)
    assert rows["events"] <= 2
    assert rows["ledger"] <= topics
    assert rows["parked"] <= topics
    assert rows["demands"] == 0
    assert rows["counters"] <= TOPICS_COUNTED + topics + 1


@pytest.mark.parametrize("name", ["acme", "beans"])
@pytest.mark.parametrize("days", [0, 6, 60, 400])
def test_an_old_signed_body_is_no_sale_of_today(bench: Bench, name: str, days: int) -> None:
    """Whatever time its headers claim, and although nothing is remembered of it any more."""
    store, later = bench.stores[name], NOW + timedelta(days=days)
    platform = PLATFORMS[store.platform]
    request = bench.request(store)
    headers = {**request.headers, "x-shopify-triggered-at": later.isoformat()}
    intake = Intake(
        bench.stores,
        PLATFORMS,
        Outbox(Database(bench.engine)),
        DataRequestStore(Database(bench.engine)),
        clock=lambda: later,
    )
    if days <= 6:
        handle_request(intake, store, request)
    known = bench.rows()["events"]
    for topic in sorted(platform.event_topics):
        sent = structs.replace(request, headers={**headers, TOPIC[store.platform]: topic}, received_at=later)
        outcome = handle_request(intake, store, sent)
        assert outcome in ("duplicate", "skipped", "parked") or days <= 6, topic
    assert bench.rows()["events"] <= max(known, 2 if days <= 6 else 0)
