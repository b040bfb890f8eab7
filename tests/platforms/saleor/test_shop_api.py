"""Saleor's GraphQL API: webhooks registered, compared and deleted, orders fetched, errors in one sentence."""

import base64
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from connector.core.shop_api import ShopApiError
from connector.core.store import ApiKeys
from connector.core.webhook import Webhook
from connector.intake.examine import examine
from connector.sync.registration import apply_plan, plan
from platforms.saleor import platform, shop_api
from tests.support.factories import a_store
from tests.support.fakes.saleor import TOKEN, FakeSaleor, serving
from tests.support.rows import each_row

BASE = "https://connector.example"
URL = f"{BASE}/webhooks/acme"
RECORDED = Path(__file__).parents[2] / "fixtures" / "saleor" / "requests"
NOW = datetime(2026, 11, 30, tzinfo=UTC)


def recorded_orders():
    """The orders as a real Saleor wrote them, each in its last state."""
    found = {}
    for file in sorted(RECORDED.glob("*_order_*__hmac.json")):
        order = json.loads(base64.b64decode(json.loads(file.read_text())["body_base64"]))["order"]
        found[order["id"]] = order
    return list(found.values())


@pytest.fixture
def fake():
    return FakeSaleor(recorded_orders())


@pytest.fixture
def waits():
    return []


@pytest.fixture
def open_api(fake, waits):
    """Call it to open the fake's API with this token."""
    with serving(fake) as url:
        yield lambda token=TOKEN: shop_api.connect(
            a_store("saleor", api=ApiKeys(access_token=token)), pause=waits.append, url=url
        )


def test_a_store_without_a_token_says_what_to_do():
    with pytest.raises(ShopApiError, match="store acme has no access_token in its"):
        shop_api.connect(a_store("saleor"))


@pytest.mark.parametrize("secret", ["", "hook-secret"])
def test_webhooks_are_registered_once_and_in_place_then(open_api, fake, secret):
    """One for each topic, with our query; signed by the private key unless the store has a secret."""
    api, store = open_api(), a_store("saleor")
    topics = shop_api.topics(store)
    done = list(apply_plan(plan(store, topics, api.subscriptions(), BASE, "register").lines, api, secret))
    assert [line.change for line in done] == ["created"] * len(topics)
    assert {hook["secretKey"] for hook in fake.webhooks} == {secret or None}
    again = plan(store, topics, api.subscriptions(), BASE, "register")
    assert {line.state for line in again.lines} == {"in place"}
    assert topics == (
        *("order_created", "order_updated", "order_fully_paid"),
        *("checkout_created", "checkout_updated", "customer_created"),
    )


def test_books_need_the_cancellations_as_well():
    assert set(shop_api.topics(a_store("saleor", books=True, events={"order_placed": ("PlaceAnOrder",)}))) == {
        *("order_created", "order_updated", "order_cancelled"),
    }


@pytest.mark.parametrize("change", [{"subscriptionQuery": "subscription { event { id } }"}, {"isActive": False}])
def test_a_webhook_of_an_older_query_or_switched_off_is_replaced(open_api, fake, change):
    """Its bodies would lack fields."""
    api, store = open_api(), a_store("saleor")
    api.subscribe("order_created", URL, "")
    fake.webhooks[0] |= change
    found = plan(store, ["order_created"], api.subscriptions(), BASE, "register")
    assert {line.change for line in found.lines} == {"created", "deleted"}
    list(apply_plan(found.lines, api, ""))
    assert [hook["subscriptionQuery"] for hook in fake.webhooks] == [shop_api.subscription_query()]


def test_white_space_in_the_query_is_none_of_it(open_api, fake):
    api = open_api()
    api.subscribe("order_created", URL, "")
    fake.webhooks[0]["subscriptionQuery"] = " ".join(shop_api.subscription_query().split())
    assert [found.active for found in api.subscriptions()] == [True]


def test_of_a_webhook_made_by_hand_only_the_event_is_taken_out(open_api, fake):
    """Its other events stay; with the last one it is deleted, and one that is gone is no error."""
    api = open_api()
    fake.webhooks = [
        {"id": "1", "name": "mine", "targetUrl": URL, "isActive": True,
         "subscriptionQuery": shop_api.subscription_query(),
         "asyncEvents": [{"eventType": "ORDER_CREATED"}, {"eventType": "ORDER_UPDATED"}]}
    ]  # fmt: skip
    first, second = api.subscriptions()
    assert (first.topic, second.topic, first.by_us) == ("order_created", "order_updated", False)
    api.unsubscribe(first)
    assert fake.webhooks[0]["asyncEvents"] == [{"eventType": "ORDER_UPDATED"}]
    api.unsubscribe(second)
    assert fake.webhooks == []
    api.unsubscribe(second)


def test_a_refused_webhook_is_said_by_its_code(open_api):
    with pytest.raises(ShopApiError, match=r"webhookCreate: targetUrl is refused \(INVALID\)"):
        open_api().subscribe("order_created", f"{BASE}/refused", "")


def test_orders_are_bodies_like_those_of_webhooks(open_api, fake):
    """Each is examined as an order_updated; the digits are the shop's."""
    since, until = datetime(2026, 11, 28, 15, tzinfo=UTC), datetime(2026, 11, 28, 16, tzinfo=UTC)
    (page,) = open_api().orders(since, until, "modified")
    assert (page.topic, len(page.bodies)) == ("order_updated", len(fake.orders))
    store, kinds = a_store("saleor"), []
    for body in page.bodies:
        seen = examine(Webhook(page.topic, body, NOW, delivery="reconcile"), platform, store, NOW, None)
        kinds.append(seen.outcome)
        assert b'"amount": 23.98' in body or b'"amount"' in body
    assert sorted(kinds) == ["relayed", "relayed", "skipped", "skipped"]


def test_pages_follow_the_cursor_and_created_ones_are_chosen_here(open_api, fake):
    order = fake.orders[0]
    fake.orders = [
        order | {"id": f"T{number}", "updatedAt": f"2026-11-20T00:{number // 60:02}:{number % 60:02}+00:00",
                 "created": "2026-11-19T00:00:00+00:00" if number % 2 else "2026-11-20T00:00:00+00:00"}
        for number in range(250)
    ]  # fmt: skip
    since, until = datetime(2026, 11, 20, tzinfo=UTC), datetime(2026, 11, 21, tzinfo=UTC)
    pages = [len(page.bodies) for page in open_api().orders(since, until, "modified")]
    assert pages == [100, 100, 50]
    assert sum(len(page.bodies) for page in open_api().orders(since, until, "created")) == 125


def test_the_check_names_missing_permissions_and_a_wrong_token(open_api, fake):
    assert [found.good for found in open_api().check()] == [True, True]
    fake.permissions = ["MANAGE_ORDERS"]
    assert "MANAGE_USERS and MANAGE_CHECKOUTS" in list(open_api().check())[1].sentence
    assert [found.good for found in open_api("another").check()] == [False]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ((401, {}), "keys"),
        ((200, {"errors": [{"extensions": {"exception": {"code": "ExpiredSignatureError"}}}]}), "keys"),
        ((200, {"errors": [{"extensions": {"exception": {"code": "PermissionDenied"}}}]}), "scopes"),
        ((400, {"errors": [{"message": "secret things"}]}), "refused"),
        ((404, b"<html>not here"), "broken"),
        ((302, b""), "broken"),
    ],
)
def test_each_error_is_a_sentence_without_the_answer(open_api, fake, answer, kind):
    fake.next_answers = [answer]
    with pytest.raises(ShopApiError) as caught:
        open_api().subscriptions()
    assert caught.value.kind == kind
    assert "secret" not in str(caught.value)
    assert TOKEN not in str(caught.value)


def test_a_busy_shop_is_asked_again(open_api, fake, waits):
    """After as long as it says; in the end it is an error."""
    fake.next_answers = [(429, {}, {"Retry-After": "7"}), (503, {})]
    assert open_api().subscriptions() == []
    assert waits == [7.0, 4.0]
    fake.next_answers = [(503, {})] * 5
    with pytest.raises(ShopApiError) as caught:
        open_api().subscriptions()
    assert caught.value.kind == "throttled"


def test_a_shop_that_is_away(waits):
    api = shop_api.connect(
        a_store("saleor", api=ApiKeys(access_token="t")), waits.append, "http://127.0.0.1:9/graphql/"
    )
    with pytest.raises(ShopApiError) as caught:
        api.subscriptions()
    assert caught.value.kind == "unreachable"
    assert waits == [2.0, 4.0, 8.0, 16.0]


def test_customers_are_not_fetched(open_api):
    """The history does not tell an account that staff made."""
    assert list(open_api().customers(NOW, NOW)) == []
    assert open_api().why_never_sent("order_created") == ""


@each_row("url", ["http://connector.example/webhooks/acme", "x", "https://[::1/", "https://me:hush@c.example"])
def test_orders_go_to_https_only(url):
    """Neither in plain text, nor to an address that shows a password in Saleor's dashboard."""
    assert shop_api.why_not_url(url)
    assert "hush" not in shop_api.why_not_url(url)
    assert shop_api.why_not_url(URL) == ""
