"""BigCommerce's REST API: webhooks registered and repaired, orders and customers fetched, errors in one sentence."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from connector.core.shop_api import ShopApiError
from connector.core.store import ApiKeys
from connector.core.webhook import Notice
from connector.outbox.outbox import Outbox
from connector.plugin.testing.fake_api import FakeAnswer, serving
from connector.storage.database import Database
from connector.sync.registered_webhooks import RegisteredWebhooks
from connector.sync.registration import apply_plan, plan
from connector.sync.repair import WebhookRepair
from platforms.bigcommerce import shop_api
from platforms.bigcommerce.fake_api import FakeBigCommerce
from platforms.bigcommerce.receive import TOKEN_HEADER, hook_token
from tests.support.bigcommerce_bodies import a_customer, an_order, mail_time
from tests.support.factories import SECRET, a_store
from tests.support.rows import each_row

NO_CHECKOUTS = {**a_store("bigcommerce").events, "checkout_started": ()}
BASE = "https://connector.example"
URL = f"{BASE}/webhooks/acme"
SINCE, UNTIL = datetime(2026, 11, 20, tzinfo=UTC), datetime(2026, 11, 21, tzinfo=UTC)


@pytest.fixture
def fake():
    return FakeBigCommerce("token")


@pytest.fixture
def waits():
    return []


@pytest.fixture
def open_api(fake, waits):
    """Call it to open the fake's API with this token."""
    with serving(fake) as url:
        yield lambda token="token", **changes: shop_api.connect(
            a_store("bigcommerce", api=ApiKeys(access_token=token, url=url), **changes), pause=waits.append
        )


def put(fake, *orders):
    for order in orders:
        fake.put("order", json.dumps(order).encode())


def test_a_store_without_a_token_says_what_to_do():
    with pytest.raises(ShopApiError, match="store acme has no access_token in its"):
        shop_api.connect(a_store("bigcommerce"))


def test_webhooks_are_registered_once_with_our_token(open_api, fake):
    api, store = open_api(), a_store("bigcommerce")
    topics = shop_api.topics(store)
    assert topics == (
        *("store/order/created", "store/order/statusUpdated", "store/cart/updated", "store/customer/created"),
    )
    done = list(apply_plan(plan(store, topics, api.subscriptions(), BASE, "register").lines, api, SECRET))
    assert [line.change for line in done] == ["created"] * len(topics)
    assert {json.dumps(hook["headers"]) for hook in fake.hooks} == {json.dumps({TOKEN_HEADER: hook_token(SECRET)})}
    again = plan(store, topics, api.subscriptions(), BASE, "register")
    assert {line.state for line in again.lines} == {"in place"}
    assert all(hook.by_us for hook in api.subscriptions())


@pytest.mark.parametrize("change", [{"is_active": False}, {"headers": {TOKEN_HEADER: "of an old secret"}}])
def test_one_that_was_switched_off_or_has_an_old_token_is_replaced(open_api, fake, change):
    """There can be one of a scope and an address, so the new one needs the old one's place."""
    api, store = open_api(), a_store("bigcommerce")
    api.subscribe("store/order/created", URL, SECRET)
    fake.hooks[0] |= change
    found = plan(store, ["store/order/created"], api.subscriptions(), BASE, "register")
    list(apply_plan(found.lines, api, SECRET))
    (hook,) = api.subscriptions()
    assert hook.active


def test_the_repair_of_a_webhook_that_was_switched_off(open_api, fake, sqlite_engine):
    """As `reconcile` does it, after BigCommerce has given up on it."""
    api, store = open_api(), a_store("bigcommerce")
    database = Database(sqlite_engine)
    registered = RegisteredWebhooks(database)
    for topic in shop_api.topics(store):
        registered.remember("acme", api.subscribe(topic, URL, SECRET), 1.0)
    fake.hooks[1]["is_active"] = False
    sentence = WebhookRepair(Outbox(database), registered).repair(store, shop_api, api, 2.0)
    assert "registered again" in sentence
    assert [hook.active for hook in api.subscriptions()] == [True] * 4
    assert WebhookRepair(Outbox(database), registered).repair(store, shop_api, api, 3.0) == ""


def test_a_webhook_made_by_hand_has_no_token_and_counts(open_api, fake):
    fake.hooks = [{"id": 7, "scope": "store/order/created", "destination": URL, "is_active": True, "headers": None}]
    (hook,) = open_api().subscriptions()
    assert (hook.id, hook.active, hook.by_us) == ("7", True, False)
    open_api().unsubscribe(hook)
    assert fake.hooks == []
    open_api().unsubscribe(hook)


def test_a_refused_webhook_is_said(open_api):
    with pytest.raises(ShopApiError, match="refuses a webhook of store/order/created"):
        open_api().subscribe("store/order/created", "http://plain.example", SECRET)


def test_what_a_notice_names_is_fetched_with_its_lines(open_api, fake):
    """One request each; what is gone has no body."""
    put(fake, an_order(250))
    fake.put("customer", json.dumps(a_customer(32)).encode())
    api = open_api()
    page = api.fetch(Notice("order", "250"))
    assert (page.topic, json.loads(page.bodies[0])["id"]) == ("order", 250)
    assert fake.requests[-1].query == {"include": "consignments.line_items", "consignment_structure": "object"}
    page = api.fetch(Notice("customer", "32"))
    assert (page.topic, json.loads(page.bodies[0])["id"]) == ("customer", 32)
    assert list(api.fetch(Notice("order", "1")).bodies) == []
    assert list(api.fetch(Notice("customer", "1")).bodies) == []
    assert len(fake.requests) == 4
    fake.put("cart", b'{"id": "b0386708-fef3", "cart_amount": 1.10}')
    page = api.fetch(Notice("checkout", "b0386708-fef3"))
    assert (page.topic, list(page.bodies)) == ("cart", [b'{"id": "b0386708-fef3", "cart_amount": 1.10}'])
    assert list(api.fetch(Notice("checkout", "gone")).bodies) == []


def test_an_account_without_carts_costs_only_the_checkouts(open_api, fake):
    """Any other kind of error would make the store's orders wait, too."""
    fake.lacking = {"carts"}
    with pytest.raises(ShopApiError, match="lacks a scope") as caught:
        open_api().fetch(Notice("checkout", "b0386708-fef3"))
    assert caught.value.kind == "refused"
    assert "lacks the scope Carts" in list(open_api().check())[2].sentence
    without = open_api(events=NO_CHECKOUTS)
    assert [found.good for found in without.check()] == [True] * 3
    assert "store/cart/updated" not in shop_api.topics(replace(a_store("bigcommerce"), events=NO_CHECKOUTS))


@pytest.mark.slow
def test_the_history_in_pages_and_nothing_for_an_empty_one(open_api, fake):
    """Also of orders of the same second, more than a page has."""
    assert list(open_api().orders(SINCE, UNTIL, "modified")) == []
    times = [SINCE + timedelta(seconds=second) for second in [*range(150), *[200] * 230]]
    put(fake, *(an_order(number, date_modified=mail_time(at)) for number, at in enumerate(times, 1)))
    pages = list(open_api().orders(SINCE, UNTIL, "modified"))
    found = [json.loads(body)["id"] for page in pages for body in page.bodies]
    assert set(found) == set(range(1, 381))
    assert {page.topic for page in pages} == {"order"}
    assert max(len(page.bodies) for page in pages) == 100
    assert list(open_api().orders(UNTIL, UNTIL + timedelta(days=1), "modified")) == []
    created = [body for page in open_api().orders(SINCE, UNTIL, "created") for body in page.bodies]
    assert created == []


def test_an_order_that_changes_between_two_pages_hides_no_other(open_api, fake):
    """It leaves the period, and all after it move up."""
    put(fake, *(an_order(n, date_modified=mail_time(SINCE + timedelta(seconds=n))) for n in range(1, 251)))
    found = []
    for page in open_api().orders(SINCE, UNTIL, "modified"):
        found += [json.loads(body)["id"] for body in page.bodies]
        put(fake, *(an_order(n, date_modified=mail_time(UNTIL + timedelta(days=1))) for n in range(1, 40)))
    assert set(found) >= set(range(1, 251))


def test_customers_of_a_period(open_api, fake):
    for number in range(250):
        at = (SINCE + timedelta(minutes=number)).strftime("%Y-%m-%dT%H:%M:%SZ")
        fake.put("customer", json.dumps(a_customer(number + 1, date_created=at)).encode())
    pages = list(open_api().customers(SINCE, SINCE + timedelta(minutes=240)))
    assert [len(page.bodies) for page in pages] == [100, 100, 41]


def test_the_check_names_missing_scopes_and_a_wrong_token(open_api, fake):
    assert [found.good for found in open_api().check()] == [True] * 4
    fake.lacking = {"customers"}
    assert "lacks the scope Customers" in list(open_api().check())[1].sentence
    assert [found.good for found in open_api("another").check()] == [False]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (FakeAnswer(401), "keys"),
        (FakeAnswer(403), "scopes"),
        (FakeAnswer(400, b'{"title": "JSON data is missing"}'), "refused"),
        (FakeAnswer(400, b'{"title": "no ada@example.com"}'), "refused"),
        (FakeAnswer(200, b"<html>"), "broken"),
        (FakeAnswer(302), "broken"),
    ],
)
def test_each_error_is_a_sentence_without_persons_or_the_token(open_api, fake, answer, kind):
    fake.next_answers = [answer]
    with pytest.raises(ShopApiError) as caught:
        open_api("token").subscriptions()
    assert caught.value.kind == kind
    assert "ada" not in str(caught.value)


def test_the_quota_is_waited_for_as_long_as_it_says(open_api, fake, waits):
    fake.quota = 0
    assert open_api().subscriptions() == []
    assert waits == [3.0]
    fake.next_answers = [FakeAnswer(503)] * 5
    with pytest.raises(ShopApiError) as caught:
        open_api().subscriptions()
    assert caught.value.kind == "throttled"


def test_a_shop_that_is_away(waits):
    store = a_store("bigcommerce", api=ApiKeys(access_token="t", url="http://127.0.0.1:9"))
    with pytest.raises(ShopApiError) as caught:
        shop_api.connect(store, waits.append).subscriptions()
    assert caught.value.kind == "unreachable"
    assert waits == [2.0, 4.0, 8.0, 16.0]


@each_row(
    "url",
    ["http://c.example/w", "x", "https://[::1/", "https://me:hush@c.example", "https://c.example:8443/webhooks/acme"],
)
def test_webhooks_go_to_https_on_its_own_port_only(url):
    assert shop_api.why_not_url(url)
    assert "hush" not in shop_api.why_not_url(url)
    assert shop_api.why_not_url(URL) == ""


def test_books_need_refunds_and_their_webhooks(open_api, fake):
    """Orders come with their refunds, from pages of any length; v2 alone states none."""
    fake.refunds = [{"id": number, "order_id": 250 + number % 2, "total_amount": 1.5} for number in range(150)]
    put(fake, an_order(250), an_order(251), an_order(252))
    (body,) = open_api(books=True).fetch(Notice("order", "250")).bodies
    assert [refund["id"] for refund in json.loads(body)["refunds"]] == [*range(0, 150, 2)]
    (page,) = open_api(books=True).orders(datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC), "created")
    assert [len(json.loads(body)["refunds"]) for body in page.bodies] == [75, 75, 0]
    (body,) = open_api().fetch(Notice("order", "250")).bodies
    assert "refunds" not in json.loads(body)
    more = set(shop_api.topics(a_store("bigcommerce", books=True))) - set(shop_api.topics(a_store("bigcommerce")))
    assert more == {"store/order/updated", "store/order/refund/created"}


def test_an_account_that_may_not_see_refunds_still_brings_orders(open_api, fake):
    put(fake, an_order(250))
    fake.lacking.add("refunds")
    (body,) = open_api(books=True).fetch(Notice("order", "250")).bodies
    assert "refunds" not in json.loads(body)
