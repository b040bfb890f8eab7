"""SHOPLINE's Admin REST API: webhooks registered and repaired, orders and customers read, errors in one sentence."""

import json
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from connector.core.shop_api import ShopApiError
from connector.core.store import ApiKeys
from connector.outbox.outbox import Outbox
from connector.plugin.testing.fake_api import FakeAnswer, serving
from connector.plugin.testing.shoppers import Journey
from connector.storage.database import Database
from connector.storage.tables import events
from connector.sync.backfill import HistoryImport, KnownRecords
from connector.sync.registered_webhooks import RegisteredWebhooks
from connector.sync.registration import apply_plan, plan
from connector.sync.repair import WebhookRepair
from platforms.shopline import platform, samples, shop_api
from tests.support.factories import SECRET, a_store
from tests.support.fakes.shopline import FakeShopline
from tests.support.outbox_rows import rows
from tests.support.rows import each_row

BASE = "https://connector.example"
URL = f"{BASE}/webhooks/acme"
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
SINCE, UNTIL = NOW - timedelta(days=1), NOW
STORE = a_store("shopline", api=ApiKeys(access_token="token"))


@pytest.fixture
def fake():
    return FakeShopline()


@pytest.fixture
def waits():
    return []


@pytest.fixture
def open_api(fake, waits):
    """Call it to open the fake's API with this token."""
    with serving(fake) as url:
        yield lambda token="token": shop_api.connect(replace(STORE, api=ApiKeys(access_token=token)), waits.append, url)


def an_order(number: int, at: datetime = SINCE + timedelta(hours=1), topic: str = "orders/paid", **changes: Any) -> Any:
    """An order as the list has it, whose webhook would be of this topic."""
    journey = Journey.random(random.Random(number), at)
    body = samples.sample(topic, journey, STORE)
    del body["draft_order_seq"]  # which the list does not have
    return body | {"id": f"2105022431212188{number:010}", "hidden_order": False} | changes


def a_customer(number: int, at: datetime = SINCE + timedelta(hours=1), **changes: Any) -> Any:
    body = samples.sample("customers/create", Journey.random(random.Random(number), at), STORE)
    return body | {"id": f"42010{number:05}", "state": 3} | changes


def at(minutes: int) -> str:
    return (SINCE + timedelta(minutes=minutes)).isoformat()


def ids(pages):
    return [json.loads(body)["id"] for page in pages for body in page.bodies]


# --- webhooks ---------------------------------------------------------------------------------------------------------


def test_a_store_without_a_token_says_what_to_do():
    with pytest.raises(ShopApiError, match="store acme has no access_token in its"):
        shop_api.connect(a_store("shopline"))


def test_webhooks_are_registered_once_listed_and_deleted(open_api, fake):
    api = open_api()
    topics = shop_api.topics(STORE)
    assert topics == (
        *("orders/create", "orders/paid", "checkouts/create", "checkouts/update"),
        *("customers/create", "customers/enable"),
    )
    assert set(topics) <= platform.event_topics
    done = list(apply_plan(plan(STORE, topics, api.subscriptions(), BASE, "register").lines, api, SECRET))
    assert [line.change for line in done] == ["created"] * len(topics)
    assert {(row["address"], row["api_version"]) for row in fake.webhooks} == {(URL, "v20260301")}
    again = plan(STORE, topics, api.subscriptions(), BASE, "register")
    assert {line.state for line in again.lines} == {"in place"}
    assert all(found.by_us for found in api.subscriptions())
    for found in api.subscriptions():
        api.unsubscribe(found)
    assert fake.webhooks == []
    assert fake.requests[-1].path == "/admin/openapi/v20260301/11032/webhooks.json"
    api.unsubscribe(done[0].subscription)


def test_a_store_that_waits_for_another_status_needs_every_change():
    waiting = replace(STORE, orders=replace(STORE.orders, paid_statuses=("authorized", "paid")))
    assert "orders/updated" in shop_api.topics(waiting)
    more = set(shop_api.topics(replace(STORE, books=True))) - set(shop_api.topics(STORE))
    assert more == {"orders/updated", "orders/cancelled", "refunds/create"}


def test_a_second_one_that_the_shop_refuses_is_the_first(open_api, fake):
    api = open_api()
    first = api.subscribe("orders/paid", URL, "")
    fake.takes_doubles = False
    assert api.subscribe("orders/paid", URL, "") == first
    fake.next_answers = [FakeAnswer(422, b'{"errors": "address is wrong"}')]
    with pytest.raises(ShopApiError, match=r"refuses with status 422 \(address is wrong\)"):
        api.subscribe("orders/create", URL, "")


def test_the_repair_of_webhooks_that_the_shop_has_deleted(open_api, fake, sqlite_engine):
    """As `reconcile` does it: SHOPLINE deletes a webhook that failed for 48 hours."""
    api, database = open_api(), Database(sqlite_engine)
    registered = RegisteredWebhooks(database)
    for topic in shop_api.topics(STORE):
        registered.remember("acme", api.subscribe(topic, URL, SECRET), 1.0)
    gone = fake.webhooks.pop(1)
    sentence = WebhookRepair(Outbox(database), registered).repair(STORE, shop_api, api, 2.0)
    assert "registered again" in sentence
    assert sorted(row["topic"] for row in fake.webhooks) == sorted(shop_api.topics(STORE))
    assert gone["topic"] in sentence
    assert WebhookRepair(Outbox(database), registered).repair(STORE, shop_api, api, 3.0) == ""


@each_row(
    ("url", "told"),
    [
        ("http://connector.example/webhooks/acme", "https only"),
        ("https://127.0.0.1/webhooks/acme", "from outside"),
        ("https://me:hush@connector.example", "leave both out"),
        ("https://acme.myshopline.com/webhooks/acme", "its own hosts"),
        (f"https://connector.example/{'a' * 240}", "255 characters"),
    ],
)
def test_webhooks_go_to_public_https_only(url, told):
    assert told in shop_api.why_not_url(url)
    assert "hush" not in shop_api.why_not_url(url)
    assert shop_api.why_not_url(URL) == ""


# --- history ----------------------------------------------------------------------------------------------------------


def test_the_list_of_orders_has_the_shipped_archived_and_cancelled_ones_too(open_api, fake):
    """Without being asked the API leaves them out: a reconciliation would miss what was shipped at once."""
    states = [
        {"fulfillment_status": shipment, "hidden_order": hidden}
        for shipment in ("unshipped", "partial", "shipped")
        for hidden in (False, True)
    ]
    fake.orders = [an_order(number, **state) for number, state in enumerate(states)]
    fake.orders.append(an_order(6, status="cancelled"))
    fake.orders.append(an_order(7, SINCE - timedelta(hours=1)))
    pages = list(open_api().orders(SINCE, UNTIL, "modified"))
    assert sorted(ids(pages)) == [order["id"] for order in fake.orders[:7]]
    assert {(page.topic, page.total) for page in pages} == {("orders/updated", 7)}
    assert list(open_api().orders(UNTIL, UNTIL + timedelta(days=1), "created")) == []


@pytest.mark.slow
def test_the_history_in_pages_with_every_digit(open_api, fake):
    """By the cursor alone, in the sequence of the orders' times."""
    fake.orders = [an_order(n, SINCE + timedelta(minutes=n), order_at=at(n)) for n in range(60, 310)][::-1]
    pages = list(open_api().orders(SINCE, UNTIL, "created"))
    assert [len(page.bodies) for page in pages] == [100, 100, 50]
    assert ids(pages) == sorted(order["id"] for order in fake.orders)
    assert b'"21050224312121880000000060"' in pages[0].bodies[0]
    later = [request.query for request in fake.requests if "page_info" in request.query]
    assert [sorted(query) for query in later] == [["limit", "page_info"]] * 2
    fake.customers = [a_customer(number) for number in range(260)]
    assert [len(page.bodies) for page in open_api().customers(SINCE, UNTIL)] == [250, 10]
    assert list(open_api().customers(UNTIL, UNTIL + timedelta(days=1))) == []


def test_a_list_that_never_ends_is_broken(open_api, fake):
    link = '<https://acme.myshopline.com/x?page_info=same>; rel="next"'
    fake.next_answers = [
        FakeAnswer(200, b'{"customers":[{"id":"1"}]}', {"link": link}),
        FakeAnswer(200, b'{"customers":[{"id":"2"}]}', {"link": link}),
    ]
    with pytest.raises(ShopApiError) as caught:
        list(open_api().customers(SINCE, UNTIL))
    assert caught.value.kind == "broken"


def test_what_the_history_becomes(open_api, fake, sqlite_engine):
    """Orders and registrations whose webhooks never came, the payment at its own time; what is stored already stays."""
    store = replace(STORE, go_live=SINCE - timedelta(days=1))
    paid_later = (SINCE + timedelta(hours=5)).isoformat()
    payment = {"pay_status": "paid", "processed_at": paid_later, "pay_amount": 8.0}
    fake.orders = [
        an_order(1, fulfillment_status="shipped", payment_details=[payment]),
        an_order(2, topic="orders/create"),
    ]
    fake.customers = [a_customer(3), a_customer(4, state=0), a_customer(5, state=2)]
    database = Database(sqlite_engine)

    def imported() -> HistoryImport:
        history = HistoryImport(
            store, platform, Outbox(database), KnownRecords(database), "reconcile", SINCE, clock=lambda: NOW
        )
        api = open_api()
        for _ in (*history.orders(api, SINCE, UNTIL), *history.customers(api, SINCE, UNTIL)):
            pass
        return history

    first = imported()
    assert (first.summary.found, first.summary.events, first.summary.skipped) == (5, 4, 2)
    found = {(row.event, row.event_id): json.loads(row.payload)["event_time"] for row in rows(sqlite_engine, events)}
    assert sorted(name for name, _ in found) == ["CompleteRegistration", "PlaceAnOrder", "PlaceAnOrder", "Purchase"]
    assert found["Purchase", f"acme-order-{fake.orders[0]['id']}"] == datetime.fromisoformat(paid_later).timestamp()
    assert imported().summary.events == 0


# --- checks and errors ------------------------------------------------------------------------------------------------


def test_the_check_names_a_missing_permission_and_a_wrong_token(open_api, fake):
    assert [found.good for found in open_api().check()] == [True, True, True]
    fake.forbidden = {"orders.json"}
    found = list(open_api().check())
    assert [one.good for one in found] == [True, False, True]
    assert "the app may not read orders" in found[1].sentence
    assert [one.good for one in open_api("another").check()] == [False]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (FakeAnswer(401), "keys"),
        (FakeAnswer(403, b'{"errors": "no"}'), "scopes"),
        (FakeAnswer(400, b'{"errors": "This action requires read_customers scope"}'), "scopes"),
        (FakeAnswer(402), "refused"),
        (FakeAnswer(404, b"<html>"), "refused"),
        (FakeAnswer(423), "refused"),
        (FakeAnswer(303, b"", {"Location": "https://elsewhere.example"}), "refused"),
        (FakeAnswer(422, b'{"errors": "no ada@example.com"}'), "refused"),
        (FakeAnswer(200, b"<html>"), "broken"),
        (FakeAnswer(200, b'{"webhooks": [{"id": "x"}]}'), "broken"),
        (FakeAnswer(200, b"[" * 100_000), "broken"),
    ],
)
def test_each_error_is_a_sentence_without_persons_or_the_token(open_api, fake, answer, kind):
    fake.next_answers = [answer]
    with pytest.raises(ShopApiError) as caught:
        open_api("token-of-the-app").subscriptions()
    assert caught.value.kind == kind
    assert "ada" not in str(caught.value)
    assert "token-of-the-app" not in str(caught.value)


def test_a_shop_that_is_busy_or_away_is_asked_again(open_api, fake, waits):
    fake.next_answers = [FakeAnswer(429, b'{"errors":"Too many request"}')]
    assert open_api().subscriptions() == []
    assert waits == [2.0]
    fake.next_answers = [FakeAnswer(503)] * 5
    with pytest.raises(ShopApiError) as caught:
        open_api().subscriptions()
    assert caught.value.kind == "throttled"
    with pytest.raises(ShopApiError) as caught:
        shop_api.connect(STORE, waits.append, "http://127.0.0.1:9").subscriptions()
    assert caught.value.kind == "unreachable"
