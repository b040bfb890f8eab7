"""Rates, tokens and faults of Shopify, and the keys of two shops kept apart."""

import json
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.core.shop_api import ShopApiError, Subscription
from connector.core.store import ApiKeys
from platforms.shopify.shop_api import connect as connect_shop
from tests.support.effort import examples, first_of
from tests.support.fakes.shopify import FakeShopify
from tests.support.fakes.shopify_rules import LASTS
from tests.support.fakes.shopify_server import ENDLESS
from tests.support.sample_bodies import NOW, SHOPIFY
from tests.support.shopify_api import (
    CLIENT_CREDENTIALS,
    HOST,
    URL,
    Clock,
    at,
    connect,
    fault_of,
    ids,
    is_a_sentence,
    json_values,
    last_day,
    order,
)

# --- rates ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_nearly_full_bucket_slows_us_down(fake, clock, shop):
    """Many pages are read without a single 429."""
    fake.rules.page_size = 1
    for number in range(1, 101):
        fake.place(order(1, id=number, updated_at=at(-number)))
    assert len(ids(last_day(shop))) == 100
    assert set(clock.pauses) == {1}  # a 429 would have asked for 2
    assert 20 < len(clock.pauses) < 50


def test_a_full_bucket_is_waited_for(fake, clock, shop):
    """Another program has used it up: 429 with Retry-After."""
    fake.place(order(1, id=1))
    fake.rules.exhaust()
    assert len(list(shop.orders(NOW - timedelta(days=1), NOW + timedelta(days=1), "created"))) == 1
    assert clock.pauses[0] == 2


def test_graphql_is_asked_again_when_its_points_are_back(fake, clock, shop):
    """As long as the answer's throttleStatus says: 110 points at 100 a second."""
    fake.rules.exhaust()
    assert shop.subscriptions() == []
    assert clock.pauses[0] == pytest.approx(1.1)


@pytest.mark.parametrize("how", [429, "throttled"])
def test_patience_has_an_end(fake, clock, shop, how):
    fake.fail(how, times=1000)
    fault = fault_of(shop.subscriptions)
    assert fault.kind == "throttled"
    assert 30 < sum(clock.pauses) <= 60
    assert is_a_sentence(str(fault))


@pytest.mark.parametrize("header", first_of(["nan", "inf", "-5", "soon", "1e400", ""]))
def test_odd_retry_after_neither_hangs_nor_hurries(fake, clock, shop, header):
    fake.fail(429, times=1000, headers={"Retry-After": header})
    assert fault_of(shop.subscriptions).kind == "throttled"
    assert len(clock.pauses) <= 120


# --- tokens ---------------------------------------------------------------------------------------------------------


def test_client_credentials_are_exchanged_for_a_token_once(fake, clock):
    shop = connect(fake, clock, CLIENT_CREDENTIALS)
    shop.subscribe("orders/create", URL, "")
    shop.subscriptions()
    assert last_day(shop) == []
    assert sum("oauth/access_token" in line for line in fake.requests) == 1


def test_a_token_is_renewed_before_its_end(fake, clock):
    shop = connect(fake, clock, CLIENT_CREDENTIALS)
    shop.subscriptions()
    clock.now += LASTS - 60
    shop.subscriptions()
    assert len(fake.tokens) == 2


def test_a_token_that_ended_early_is_renewed_once(fake, clock):
    """On a 401; a second 401 is a fault of the keys."""
    shop = connect(fake, clock, CLIENT_CREDENTIALS)
    shop.subscriptions()
    fake.revoke()
    assert shop.subscriptions() == []
    assert sum("oauth/access_token" in line for line in fake.requests) == 2
    fake.fail(401, times=1000, on="graphql")
    assert fault_of(shop.subscriptions).kind == "keys"
    assert sum("oauth/access_token" in line for line in fake.requests) == 3


@pytest.mark.parametrize("how", [429, 503])
def test_a_grant_suffers_like_any_request(fake, clock, how):
    fake.fail(how, times=1, on="oauth")
    shop = connect(fake, clock, CLIENT_CREDENTIALS)
    if how == 429:
        assert shop.subscriptions() == []
    else:
        assert fault_of(shop.subscriptions).kind == "unreachable"


def test_a_wrong_client_is_told_where_the_right_one_is(fake, clock):
    fault = fault_of(connect(fake, clock, CLIENT_CREDENTIALS, client_secret="not-the-secret").subscriptions)
    assert fault.kind == "keys"
    assert "client_secret" in str(fault)
    assert "not-the-secret" not in str(fault)


def test_an_app_of_another_organisation_is_told_so(fake, clock):
    """Shopify says it on a page for people."""
    fake.organisation = False
    fault = fault_of(connect(fake, clock, CLIENT_CREDENTIALS).subscriptions)
    assert fault.kind == "keys"
    assert "same organisation" in str(fault)


def test_an_app_that_is_not_installed_is_told_so(fake, clock):
    fake.fail(400, on="oauth", body={"error": "app_not_installed"})
    fault = fault_of(connect(fake, clock, CLIENT_CREDENTIALS).subscriptions)
    assert fault.kind == "keys"
    assert "install the app" in str(fault)


@pytest.mark.parametrize(
    "body",
    [
        *("<html></html>", ["a"], {}, {"access_token": 5, "expires_in": 9}, {"access_token": "a", "expires_in": "9"}),
        *({"access_token": "ключ", "expires_in": 9}, {"access_token": "a\r\nX: y", "expires_in": 9}),
    ],
)
def test_a_grant_that_is_none_is_broken(fake, clock, body):
    """Nor may it bring another header into our requests."""
    fake.fail(200, on="oauth", body=body)
    assert fault_of(connect(fake, clock, CLIENT_CREDENTIALS).subscriptions).kind == "broken"


# --- faults ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "kind", "word"),
    [
        (401, "keys", "[api]"),
        (402, "refused", "bill"),
        (403, "scopes", "read_orders"),
        (404, "refused", "myshopify.com"),
        (423, "refused", "support"),
        (400, "refused", "400"),
        (301, "refused", "elsewhere"),
        (307, "refused", "elsewhere"),
        (500, "unreachable", "500"),
        (503, "unreachable", "503"),
        ("html", "broken", "proxy"),
        ("garbage", "broken", "proxy"),
        ("half", "broken", "proxy"),
    ],
)
@pytest.mark.parametrize("call", ["graphql", "rest"])
def test_every_refusal_has_its_kind_and_a_remedy(fake, shop, capfd, how, kind, word, call):
    """One sentence, no secret, and nothing printed (the package prints a refused query's answer)."""
    fake.fail(how)
    fault = fault_of(shop.subscriptions if call == "graphql" else lambda: last_day(shop))
    assert (fault.kind, word in str(fault)) == (kind, True), str(fault)
    assert is_a_sentence(str(fault))
    assert fake.access_token not in str(fault)
    assert capfd.readouterr() == ("", "")
    assert not any("elsewhere" in line for line in fake.requests)


@pytest.mark.parametrize(
    ("code", "message", "kind"),
    [
        ("INTERNAL_SERVER_ERROR", "Internal error. Looks like something went wrong on our end.", "unreachable"),
        ("SHOP_INACTIVE", "The shop is not active", "refused"),
        ("ACCESS_DENIED", "No.", "scopes"),
        ("ACCESS_DENIED", "Access denied for orders field. Required access: `read_orders` access scope.", "scopes"),
        ("ACCESS_DENIED", "This app is not approved to access the Order object.", "withheld"),
        ("", "This topic contains protected customer data.", "withheld"),
        ("undefinedField", "Field 'uri' doesn't exist on type 'WebhookSubscription'", "refused"),
    ],
)
def test_an_error_within_a_200_is_a_fault(fake, shop, code, message, kind):
    fake.fail(200, body={"errors": [{"message": message, "extensions": {"code": code}}]})
    fault = fault_of(shop.subscriptions)
    assert fault.kind == kind
    assert is_a_sentence(str(fault))
    assert ("owner" in str(fault)) == (code == "SHOP_INACTIVE")


def test_long_words_are_cut_and_lines_joined(fake, shop):
    fake.fail(422, body={"errors": {"base": ["no\n" * 1000], "order": "odd"}})
    assert fault_of(shop.subscriptions).kind == "refused"
    fake.fail(422, body={"errors": {"base": ["no\n" * 1000], "order": "odd"}})
    assert is_a_sentence(str(fault_of(shop.subscriptions)))


@pytest.fixture(scope="module")
def lasting():
    """A fake for many examples."""
    with FakeShopify() as running:
        yield running


_KEYS = (
    *("data", "errors", "extensions", "code", "message", "cost", "userErrors", "id", "topic", "uri", "orders", "count"),
    *(
        "webhookSubscriptions",
        "nodes",
        "pageInfo",
        "hasNextPage",
        "endCursor",
        "currentAppInstallation",
        "accessScopes",
    ),
    *("webhookSubscriptionCreate", "webhookSubscription", "access_token", "expires_in"),
)
_ANSWERS = st.recursive(json_values, lambda inner: st.dictionaries(st.sampled_from(_KEYS), inner, max_size=4))


@examples(40)
@given(_ANSWERS, st.sampled_from([200, 400, 403, 422]), st.data())
def test_any_answer_is_understood_or_a_fault(lasting, body, status, data):
    """JSON of any shape, with odd headers: never another exception."""
    odd = st.sampled_from(
        ["", "/", "x", "-1/0", "40/40", "٣/٤", "<>; rel=next", '<http://[/>; rel="next"', "Fri, 99 Foo"]
    )
    names = ("X-Shopify-Shop-Api-Call-Limit", "Link", "Date")
    headers = {name: data.draw(odd).encode("utf-8").decode("latin-1") for name in names}
    clock = Clock()
    shop = connect(lasting, clock, data.draw(st.sampled_from(["legacy", CLIENT_CREDENTIALS])))
    calls = (shop.subscriptions, lambda: last_day(shop), lambda: list(shop.check()))
    calls += (lambda: shop.subscribe("orders/paid", URL, ""), lambda: shop.unsubscribe(Subscription("1", "x", "y")))
    for call in calls:
        lasting.fail(status, times=1, headers=headers, body=json.dumps(body).encode())
        with suppress(ShopApiError):
            call()


@pytest.mark.parametrize(
    "body", [b"", b"null", b'{"data":' * 100_000, b'{"data":', b"\xff\xfe", b'{"data": null}', b"{}"]
)
def test_what_is_no_answer_is_broken(fake, shop, body):
    for call, where in ((shop.subscriptions, "graphql"), (lambda: last_day(shop), "/orders.json")):
        fake.fail(200, on=where, body=body or b" ")
        assert fault_of(call).kind == "broken"


def test_a_next_page_elsewhere_is_asked_for_here(fake, shop):
    """Only the cursor of the Link header is used: the token goes nowhere but to the shop."""
    link = {"Link": '<https://thief.example/orders.json?page_info=abc>; rel="next"'}
    fake.fail(200, on="/orders.json", headers=link, body=b'{"orders": [{"id": 1}]}')
    fake.fail(200, on="/orders.json", body=b'{"orders": [{"id": 2}]}')
    assert ids(last_day(shop)) == [1, 2]
    assert fake.requests[-1] == "GET /admin/api/2026-07/orders.json?limit=250&page_info=abc"


@pytest.mark.parametrize(
    "link", ['<https://[?page_info=abc>; rel="next"', "<" * 30_000 + '/?page_info=abc>; rel="next"']
)
def test_an_odd_link_costs_neither_the_list_nor_much_time(fake, shop, link):
    """Its address need not be one, for only the cursor is read."""
    fake.fail(200, on="/orders.json", headers={"Link": link}, body=b'{"orders": [{"id": 1}]}')
    fake.fail(200, on="/orders.json", body=b'{"orders": [{"id": 2}]}')
    begun = time.thread_time()
    assert ids(last_day(shop)) == [1, 2]
    assert time.thread_time() - begun < 5


def test_pages_that_lead_back_have_an_end(fake, shop):
    """A list that goes round in a circle is no answer."""
    link = {"Link": '<https://x/orders.json?page_info=abc>; rel="next"'}
    fake.fail(200, times=9, on="/orders.json", headers=link, body=b'{"orders": [{"id": 1}]}')
    assert fault_of(lambda: last_day(shop)).kind == "broken"
    again = {"webhookSubscriptions": {"nodes": [], "pageInfo": {"hasNextPage": True, "endCursor": "abc"}}}
    fake.fail(200, times=9, on="graphql", body={"data": again})
    assert fault_of(shop.subscriptions).kind == "broken"


@pytest.mark.parametrize("how", ["hang", "trickle"])
@pytest.mark.slow
def test_every_request_has_an_end(fake, clock, how):
    """Whether nothing comes, or one byte after the other without end."""
    fake.fail(how)
    begun = time.monotonic()
    fault = fault_of(connect(fake, clock, limit=0.2).subscriptions)
    assert fault.kind == "unreachable"
    assert time.monotonic() - begun < ENDLESS / 2


def test_a_shop_that_cannot_be_reached_is_named(fake, clock):
    shop = connect(fake, clock)
    fake.__exit__()
    fault = fault_of(shop.subscriptions)
    assert fault.kind == "unreachable"
    assert f"{HOST} does not answer (ConnectionRefusedError)" in str(fault)


def test_a_refusal_that_repeats_the_token_is_not_repeated(fake, shop):
    fake.fail("echo", on="orders")
    fault = fault_of(lambda: last_day(shop))
    assert fault.kind == "refused"
    assert fake.access_token not in str(fault)


# --- the package is kept apart --------------------------------------------------------------------------------------


def test_no_session_is_left_behind(fake, clock, shop):
    """Neither after an answer nor after a fault, in this thread or for the process."""
    import shopify as package

    shop.subscriptions()
    fake.fail(500)
    fault_of(shop.subscriptions)
    assert package.ShopifyResource.site is None
    with ThreadPoolExecutor(1) as fresh:  # a thread without a session of its own sees the one for the process
        assert fresh.submit(lambda: package.ShopifyResource.site).result() is None
    assert "X-Shopify-Access-Token" not in package.ShopifyResource.headers
    assert package.ShopifyResource.timeout is None


@pytest.mark.slow
def test_two_shops_at_once_keep_their_keys_apart(clock):
    """Each in its thread, though the package's fallback is one for the process."""
    with FakeShopify(clock=clock) as one, FakeShopify(clock=clock, shop="beans.myshopify.com") as two:
        faults = []

        def work(fake):
            shop = connect(fake, clock)
            try:
                for _ in range(15):
                    shop.subscriptions()
                    last_day(shop)
            except ShopApiError as fault:
                faults.append(fault)

        threads = [threading.Thread(target=work, args=(fake,)) for fake in (one, two)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not faults
        assert len(one.requests) == len(two.requests)


def test_one_thread_may_ask_two_shops_in_turn(clock):
    with FakeShopify(clock=clock) as one, FakeShopify(clock=clock) as two:
        first, second = connect(one, clock), connect(two, clock)
        made = first.subscribe("orders/create", URL, "")
        assert second.subscriptions() == []
        assert first.subscriptions() == [made]


def test_nothing_is_logged_even_at_debug(fake, shop, caplog):
    """The package would write every header, the token among them, and every body."""
    caplog.set_level(logging.DEBUG)
    fake.place(order())
    last_day(shop)
    shop.subscriptions()
    fake.fail(403)
    fault_of(shop.subscriptions)
    assert caplog.records == []


def test_the_host_is_taken_as_it_is(clock):
    """The package would ask 127.myshopify.com instead."""
    store = replace(SHOPIFY, shops=("127.0.0.1:1",), api=ApiKeys(access_token="shpat_0"))
    shop = connect_shop(store, clock.pause, clock=clock, limit=1)
    assert "127.0.0.1:1 does not answer (ConnectionRefusedError)" in str(fault_of(shop.subscriptions))
