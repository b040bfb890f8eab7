"""sync.registration: webhooks of real admins, through the vendors' packages, in fake shops on loopback sockets."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.core.shop_api import ShopApiError, Subscription
from connector.core.store import ApiKeys
from connector.sync.registration import CannotRegister, apply_plan, plan, prepare
from tests.support.effort import first_of
from tests.support.fakes.shopify import FakeShopify
from tests.support.fakes.woocommerce import FakeWooCommerce
from tests.support.platforms import PLATFORMS
from tests.support.registered_shop import BASE, ELSEWHERE, FOREIGN, SECRET, STORE, TOPICS, Shop
from tests.support.rows import each_row


@pytest.fixture
def woocommerce():
    with FakeWooCommerce() as fake:
        yield Shop(fake)


@pytest.fixture
def shopify():
    with FakeShopify() as fake:
        yield Shop(fake)


@pytest.fixture(params=first_of(["shopify", "woocommerce"]))
def shop(request):
    return request.getfixturevalue(request.param)


def test_register_makes_what_the_events_need_and_nothing_the_second_time(shop):
    assert shop.do("register") == [(topic, "created") for topic in shop.topics]
    assert shop.there() == shop.wanted()
    assert shop.do("register") == shop.do("sync") == []
    assert shop.states() == sorted((topic, "in place") for topic in shop.topics)


def test_a_milestone_without_an_event_needs_no_topic(shop):
    shop.store = replace(shop.store, events={**dict.fromkeys(shop.store.events, ()), "order_paid": ("Purchase",)})
    shop.topics = shop.module.topics(shop.store)
    shop.do("register")
    assert shop.there() == shop.wanted()


def test_list_changes_nothing(shop):
    shop.put(shop.topics[0], f"{ELSEWHERE}/webhooks/acme")
    before = shop.there()
    assert shop.do("list") == []
    assert shop.there() == before
    assert (shop.topics[0], "missing") in shop.states()


def test_register_only_adds_and_sync_also_removes(shop):
    """Another host's webhooks may be another server's of ours: only `sync` takes them away."""
    shop.put(shop.topics[0], f"{ELSEWHERE}/webhooks/acme")
    shop.do("register")
    assert shop.there() == sorted([*shop.wanted(), (shop.topics[0], f"{ELSEWHERE}/webhooks/acme")])
    assert shop.do("sync") == [(shop.topics[0], "deleted")]
    assert shop.there() == shop.wanted()


def test_a_topic_that_is_not_needed_any_more_goes_with_sync(shop):
    shop.do("register")
    shop.store = replace(shop.store, events={**shop.store.events, "customer_registered": ("",)})
    assert shop.do("register") == []
    gone = shop.do("sync")
    assert gone
    assert all(topic.startswith("customer") and deed == "deleted" for topic, deed in gone)
    assert not any(topic.startswith("customer") for topic, _ in shop.there())


@pytest.mark.parametrize("action", ["register", "sync", "delete"])
def test_foreign_webhooks_are_left_alone(shop, action):
    theirs = [(shop.topics[0], FOREIGN), (shop.topics[1], f"{ELSEWHERE}/webhooks/another-store")]
    theirs.append((shop.topics[0], f"{ELSEWHERE}/webhooks/shopify"))
    for topic, url in theirs:
        shop.put(topic, url)
    shop.do(action)
    assert set(theirs) <= set(shop.there())
    assert prepare(shop.store, shop.platform, BASE, "list")[1].others == 3


def test_delete_removes_all_of_ours(shop):
    shop.do("register")
    shop.put(shop.topics[0], f"{ELSEWHERE}/webhooks/acme")
    shop.do("delete", base="")
    assert shop.there() == []
    assert shop.do("delete") == []


def test_what_was_removed_by_the_shop_is_made_again(shopify):
    shopify.do("register")
    shopify.fake.subscriptions.pop()
    assert [deed for _, deed in shopify.do("register")] == ["created"]
    assert shopify.there() == shopify.wanted()


def test_a_shared_address_of_an_app_in_several_shops_counts(shopify):
    """`/webhooks/shopify` on this server serves the store too; beside its own address it is a double."""
    shopify.put("orders/paid", f"{BASE}/webhooks/shopify")
    assert ("orders/paid", "created") not in shopify.do("register")
    assert shopify.states() == sorted((topic, "in place") for topic in shopify.topics)
    shopify.put("orders/paid", f"{BASE}/webhooks/acme")
    assert shopify.do("register") == [("orders/paid", "deleted")]
    assert ("orders/paid", f"{BASE}/webhooks/acme") in shopify.there()


def test_a_webhook_that_was_switched_off_is_replaced(woocommerce):
    woocommerce.do("register")
    woocommerce.fake.webhooks[1].status = "disabled"
    topic = woocommerce.fake.webhooks[1].topic
    assert (topic, "switched off") in woocommerce.states()
    assert woocommerce.do("register") == [(topic, "created"), (topic, "deleted")]
    assert woocommerce.there() == woocommerce.wanted()
    assert {each.status for each in woocommerce.fake.webhooks.values()} == {"active"}


def test_doubles_are_removed(woocommerce):
    woocommerce.do("register")
    woocommerce.put("order.created", f"{BASE}/webhooks/acme")
    assert woocommerce.do("register") == [("order.created", "deleted")]
    assert woocommerce.there() == woocommerce.wanted()


def test_woocommerce_signs_with_the_first_secret(woocommerce):
    woocommerce.do("register")
    assert {each.secret for each in woocommerce.fake.webhooks.values()} == {SECRET}


def test_a_fault_in_the_middle_leaves_what_was_done_and_the_next_run_completes_it(woocommerce):
    admin, found = prepare(woocommerce.store, woocommerce.platform, BASE, "register")
    doing = apply_plan(found.lines, admin, SECRET)
    next(doing)
    woocommerce.fake.permissions = "read"
    with pytest.raises(ShopApiError):
        next(doing)
    assert len(woocommerce.there()) == 1
    woocommerce.fake.permissions = "read_write"
    woocommerce.do("register")
    assert woocommerce.there() == woocommerce.wanted()


def test_signatures_that_would_be_refused_here_are_told_before_anything_is_made(shopify):
    """What an app registers is signed with its client secret; unless the store knows it, all would be answered 401."""
    keys = ApiKeys(client_id=shopify.fake.client_id, client_secret=shopify.fake.secret)
    shopify.store = replace(shopify.store, api=keys)
    with pytest.raises(CannotRegister, match="add the client secret to webhook_secrets"):
        shopify.do("register")
    assert shopify.fake.requests == []
    shopify.store = replace(shopify.store, webhook_secrets=(shopify.fake.secret,))
    shopify.do("register")
    assert shopify.there() == shopify.wanted()


@each_row("platform", [name for name, platform in PLATFORMS.items() if platform.shop_api])
@each_row("action", ["register", "sync"])
def test_a_url_that_the_shop_does_not_call_is_refused_before_it_is_asked(platform, action):
    """Without showing a password that may be in it."""
    store = replace(
        STORE, platform=platform, api=ApiKeys(access_token="t", consumer_key="ck_t", consumer_secret="cs_t")
    )
    with pytest.raises(CannotRegister, match="webhooks cannot go to ") as caught:
        prepare(store, PLATFORMS[platform], "https://me:hush@connector.example", action)
    assert "hush" not in str(caught.value)


URLS = st.sampled_from(
    [
        *("https://a.example/webhooks/acme", "https://A.example:443/webhooks/acme", "https://b.example/webhooks/acme"),
        *("https://a.example/webhooks/shopify", "https://b.example/webhooks/shopify", "https://a.example/else"),
        *("https://[::1/webhooks/acme", "arn:aws:events:us-east-1::event-source/acme", ""),
    ]
) | st.text(max_size=20)
SUBSCRIPTIONS = st.lists(st.tuples(st.sampled_from([*TOPICS["shopify"], "x/y"]), URLS, st.booleans()), max_size=12)


@given(SUBSCRIPTIONS)
def test_whatever_is_there_a_sync_leads_to_each_topic_once_and_then_rests(found):
    """And it deletes only what ends in our name or the shared one."""
    topics = TOPICS["shopify"]
    there = [Subscription(str(number), *one) for number, one in enumerate(found)]
    lines = plan(STORE, topics, there, "https://a.example/", "sync").lines
    gone = {line.subscription.id for line in lines if line.change == "deleted" and line.subscription}
    assert all(one.url.endswith(("/webhooks/acme", "/webhooks/shopify")) for one in there if one.id in gone)
    made = [Subscription(f"new {line.topic}", line.topic, line.url) for line in lines if line.change == "created"]
    after = plan(STORE, topics, [*made, *(one for one in there if one.id not in gone)], "https://a.example", "sync")
    assert sorted((line.topic, line.state, line.change) for line in after.lines) == [
        (topic, "in place", "") for topic in sorted(topics)
    ]
