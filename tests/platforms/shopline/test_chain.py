"""A SHOPLINE shop from the stores file to the outbox: a signed order, and the request to erase its shopper."""

import json
import random
from datetime import UTC, datetime
from threading import Event

from sqlalchemy import Engine

from connector.config.settings import load
from connector.plugin.testing.samples import fresh_journey
from connector.privacy.erasure import erasure_job
from connector.privacy.requests import DataRequestStore
from connector.storage.database import Database
from connector.storage.tables import events
from platforms.shopline import platform, samples
from tests.support.factories import SECRET, a_section, a_stores_file
from tests.support.outbox_rows import rows
from tests.support.web import WebClient, application


def test_a_signed_order_and_the_erasure_of_its_shopper(sqlite_engine: Engine) -> None:
    """Of this shopper alone, whose orders are named by numbers, and once; a body with another field is parked."""
    text = a_stores_file(a_section("shopline", "acme"))
    config = load({"STORES_TOML": text, "DATABASE_URL": "sqlite:///x.db", "ALLOW_SQLITE": "1"})
    database, store = Database(sqlite_engine), config.stores["acme"]
    web = WebClient(application(config, database, {"shopline": platform}))

    def send(topic: str, body: object, secret: str = SECRET) -> tuple[int, str]:
        raw = json.dumps(body).encode()
        named = {"X-Shopline-Topic": topic, "X-Shopline-Shop-Domain": "acme.myshopline.com"}
        answer = web.open("/webhooks/acme", "POST", raw, named | platform.signed_headers(raw, secret))
        return answer.status_code, answer.text

    journeys = [fresh_journey(store, datetime.now(UTC), random.Random(seed)) for seed in (1, 2)]
    orders = [samples.sample("orders/paid", journey, store) for journey in journeys]
    assert send("orders/paid", orders[0], "another secret")[0] == 401
    assert [send("orders/paid", order) for order in orders] == [(200, '{"outcome":"relayed"}\n')] * 2
    asked = {
        "customer": {"id": "", "email": orders[0]["email"].upper(), "phone": ""},
        "orders_to_redact": [orders[0]["name"]],
        "shop_domain": "acme.myshopline.com",
        "shop_id": "1644828244663",
        "update_time": "2026-11-24T15:32:46+08:00",
    }
    assert send("customers/redact", asked) == (200, '{"outcome":"recorded"}\n')
    assert send("customers/redact", {**asked, "more": 1}) == (200, '{"outcome":"parked"}\n')
    assert erasure_job(database, config.stores, "one").round(Event()) == 1
    kept = {row.event_id for row in rows(sqlite_engine, events) if row.payload is not None}
    assert kept == {f"acme-order-{orders[1]['id']}"}
    assert DataRequestStore(database).waiting() == []
