"""A BigCommerce store from the stores file to the outbox: webhook, notice, a request to its API, events."""

import json
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Engine

from connector.config.settings import ConfigError, load
from connector.core.platform import Platform
from connector.core.store import ApiKeys
from connector.intake.intake import Intake
from connector.outbox.outbox import Outbox
from connector.outbox.queries import EventFilter, OutboxQueries
from connector.plugin.testing.fake_api import serving
from connector.privacy.requests import DataRequestStore
from connector.storage.database import Database
from connector.storage.tables import orders
from connector.sync.fetch import NoticeFetcher
from platforms.bigcommerce import platform, shop_api
from platforms.bigcommerce.fake_api import FakeBigCommerce
from tests.support.bigcommerce_bodies import a_customer, a_notice, a_request, an_order, mail_time
from tests.support.factories import SECRET, a_section, a_stores_file
from tests.support.outbox_rows import rows
from tests.support.web import WebClient, application


def settings(**changes: Any) -> dict[str, str]:
    text = a_stores_file(a_section("bigcommerce", "acme", **changes))
    return {"STORES_TOML": text, "DATABASE_URL": "sqlite:///x.db", "ALLOW_SQLITE": "1"}


def test_a_store_needs_the_keys_of_the_api_and_a_store_hash() -> None:
    with pytest.raises(ConfigError) as caught:
        load(settings(shop="acme.example"))
    text = str(caught.value)
    assert "stores.acme.api: required: webhooks of platform bigcommerce only name what changed" in text
    assert 'stores.acme.shop: must be the store hash, like "abc123"' in text
    here = {"access_token": "t", "url": "http://127.0.0.1:9090/shops/bigcommerce/acme"}
    assert load(settings(api=here)).stores["acme"].shops == ("acme",)
    other = a_stores_file(a_section("saleor", "acme", api=here))
    with pytest.raises(ConfigError, match=r"stores\.acme\.api\.url: not supported with saleor"):
        load(settings() | {"STORES_TOML": other})


def test_a_webhook_is_answered_and_its_order_fetched(sqlite_engine: Engine) -> None:
    """Through the web application and the job; a second notice brings the payment, a third a refund for the books."""
    database, now = Database(sqlite_engine), datetime.now(UTC)
    config = load(settings(api={"access_token": "token"}, books=True))
    platforms: dict[str, Platform] = {"bigcommerce": platform}
    web = WebClient(application(config, database, platforms))
    store = config.stores["acme"]

    def send(body: bytes, secret: str = SECRET) -> tuple[int, str]:
        request = a_request(body, datetime.now(UTC), secret)
        answer = web.open("/webhooks/acme", "POST", request.body, request.headers)
        return answer.status_code, answer.text

    fake = FakeBigCommerce("token")
    fake.put("order", json.dumps(an_order(250, date_created=mail_time(now), status_id=7, payment_status="")).encode())
    fake.put("customer", json.dumps(a_customer(32, date_created=now.isoformat())).encode())
    assert send(a_notice(), "another secret")[0] == 401
    assert send(a_notice()) == (200, '{"outcome":"noted"}\n')
    assert send(a_notice("store/customer/created", 32))[0] == 200
    assert send(a_notice("store/product/updated", 9)) == (200, '{"outcome":"ignored"}\n')
    assert fake.requests == []
    with serving(fake) as url:
        intake = Intake({"acme": store}, platforms, Outbox(database), DataRequestStore(database))
        fetching = replace(store, api=ApiKeys(access_token="token", url=url))
        fetcher = NoticeFetcher(
            {"acme": fetching}, {"bigcommerce": shop_api}, intake, database, "one", lambda: time.time() + 10
        )
        assert fetcher.fetch_due(fetching) == 2
        assert names(database) == [("CompleteRegistration", "acme-customer-32"), ("PlaceAnOrder", "acme-order-250")]
        fake.put("order", json.dumps(an_order(250, date_created=mail_time(now))).encode())
        send(a_notice("store/order/statusUpdated"))
        assert fetcher.fetch_due(fetching) == 1
        assert ("Purchase", "acme-order-250") in names(database)
        fake.refunds = [{"id": 3, "order_id": 250, "total_amount": 8.3, "payments": []}]
        assert send(a_notice("store/order/refund/created")) == (200, '{"outcome":"noted"}\n')
        assert fetcher.fetch_due(fetching) == 1
    assert [(row.object_key, row.remaining) for row in rows(sqlite_engine, orders)] == [("order:250", 400_000)]


def names(database: Database) -> list[tuple[str, str]]:
    return sorted((row.event, row.event_id) for row in OutboxQueries(database).find(EventFilter(), 100))
