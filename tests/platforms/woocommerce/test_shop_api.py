"""WooCommerce's API as the connector uses it: through the vendor's package, against a shop on a real socket."""

import base64
import json
import re
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.core.event import MILESTONES
from connector.core.shop_api import ShopApiError, Subscription
from connector.core.signature import new_secret
from connector.core.webhook import Request
from platforms.woocommerce import receive, translate
from platforms.woocommerce.rest_errors import Answer
from platforms.woocommerce.shop_api import SETS_SECRET, WooCommerceApi, topics, why_not_url
from platforms.woocommerce.shop_api import connect as connect_shop
from tests.support.bodies import PLACED, REGISTERED, WOOCOMMERCE, sample
from tests.support.fakes import certificate
from tests.support.fakes.receiver import Receiver
from tests.support.woocommerce_shop import NOW, SECOND, SINCE, UNTIL, connect, fake, put, store_of

RECORDED = Path(__file__).parents[2] / "fixtures" / "woocommerce" / "requests"
URL = "http://127.0.0.1:9/webhooks/beans"  # nobody there


@pytest.fixture
def shop():
    with fake() as shop:
        yield shop


@pytest.fixture(scope="module")
def pem(tmp_path_factory):
    return certificate.make(tmp_path_factory.mktemp("tls"))


def bodies(pages):
    return [body for page in pages for body in page.bodies]


def ids(pages):
    return [json.loads(body)["id"] for body in bodies(pages)]


def asked(shop, endpoint):
    return [query for _, path, query in shop.requests if path == endpoint]


# --- what needs no shop


@pytest.mark.processes
def test_the_vendors_package_is_loaded_only_for_a_shop():
    """Neither it nor requests is loaded by the platform, its topics or the judgement of a URL."""
    script = (
        "import sys, platforms.woocommerce.shop_api as a; a.why_not_url('https://a.example');"
        "sys.exit(bool({'requests', 'woocommerce'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_topics():
    def of(*milestones):
        return topics(
            replace(WOOCOMMERCE, events={each: (("E",) if each in milestones else ()) for each in MILESTONES})
        )

    assert of("order_paid") == of("order_placed") == ("order.created", "order.updated")
    assert of("checkout_started") == ("action.wc_tiktok_initiate_checkout",)
    assert of("customer_registered") == ("customer.created",)
    assert of() == ()
    assert sorted(topics(WOOCOMMERCE)) == sorted(translate.TOPICS)


@given(st.binary(min_size=32, max_size=32))
def test_a_secret_has_only_characters_that_wordpress_leaves_alone(noise):
    secret = new_secret(lambda count: noise[:count])
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", secret)
    assert receive.decode_secret(secret) == secret


def test_the_secret_is_ours_to_say_and_differs():
    assert SETS_SECRET
    assert new_secret() != new_secret()


@pytest.mark.parametrize(
    "url",
    [
        "https://connector.example/webhooks/beans",
        "https://connector.example:8080/",
        "https://connector.example:443",
        "https://8.8.8.8/webhooks/beans?store=x",
    ],
)
def test_urls_wordpress_calls(url):
    assert why_not_url(url) == ""


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("ftp://connector.example/", "only calls https"),
        ("connector.example", "only calls https"),
        ("https://", "only calls https"),
        ("https://[::1", "not a URL"),
        ("https://connector.example:99999/", "not a URL"),
        ("http://connector.example/", "plain http"),
        ("http://connector.example:80/", "plain http"),
        ("https://connector.example:8000/", "not 8000"),
        ("https://user@connector.example/", "user or password"),
        ("https://user:word@connector.example/", "user or password"),
        ("http://127.0.0.1:8000/", "IP address"),
        ("https://10.1.2.3/", "IP address"),
        ("https://172.16.0.1/", "IP address"),
        ("https://192.168.1.9/", "IP address"),
        ("https://169.254.169.254/", "IP address"),
        ("https://127.1/", "IP address"),
        ("https://2130706433/", "IP address"),
        ("https://0x7f000001/", "IP address"),
        ("https://[2001:db8::1]/", "IPv6"),
        ("https://localhost/", "localhost"),
        ("https://LOCALHOST./", "localhost"),
        ("https://nas.local/", "nas.local"),
        ("https://connector/", "connector"),
    ],
)
def test_urls_wordpress_would_not_call_each_with_a_reason(url, told):
    assert told in why_not_url(url)
    assert "word" not in why_not_url(url).replace("password", "").replace("WordPress", "")


@given(st.text(max_size=60) | st.text(max_size=60).map(lambda tail: f"https://{tail}"))
def test_any_text_is_judged_without_an_error(url):
    assert isinstance(why_not_url(url), str)


def test_a_store_without_keys_says_where_to_make_them():
    with pytest.raises(ShopApiError, match=r"consumer_key and consumer_secret.*Read/Write") as caught:
        connect_shop(WOOCOMMERCE)
    assert caught.value.kind == "keys"


# --- webhooks


def test_a_webhook_is_made_seen_and_removed(shop):
    """Although the ping reaches nobody."""
    api = connect(shop)
    made = api.subscribe("order.updated", f"{URL}?a=1&b=é", "s3cret")
    assert made == Subscription("1", "order.updated", f"{URL}?a=1&b=é", active=True, by_us=True)
    assert shop.webhooks[1].name == "TikTok events: order.updated"
    assert shop.webhooks[1].secret == "s3cret"
    assert api.subscriptions() == [made]
    api.unsubscribe(made)
    assert shop.webhooks == {}
    api.unsubscribe(made)


def test_what_it_signs_with_the_new_secret_the_platform_accepts(shop):
    with Receiver() as receiver:
        secret = new_secret()
        connect(shop).subscribe("order.created", receiver.url, secret)
        shop.place(sample(WOOCOMMERCE, PLACED))
        (got,) = receiver.webhooks
    store = replace(store_of(shop), webhook_secrets=(secret,))
    webhook = receive.receive(Request(got.headers, got.body, NOW), store)
    assert (webhook.topic, webhook.shop) == ("order.created", "127.0.0.1")


def test_disabled_paused_and_foreign_webhooks_are_listed(shop):
    api = connect(shop)
    for topic in ("order.created", "order.updated"):
        api.subscribe(topic, URL, "s")
    shop.hook("product.updated", "https://elsewhere.example/")
    shop.webhooks[1].status, shop.webhooks[2].status = "disabled", "paused"
    assert [(one.topic, one.active) for one in api.subscriptions()] == [
        ("order.created", False),
        ("order.updated", False),
        ("product.updated", True),
    ]


def test_all_pages_of_webhooks_are_read(shop):
    for _ in range(205):
        shop.hook("order.created", "")
    assert len(connect(shop).subscriptions()) == 205
    assert [query["page"] for query in asked(shop, "webhooks")] == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("topic", "url", "secret", "told"),
    [
        ("checkout.created", URL, "s", "no webhook topic checkout.created"),
        ("order.created", "nowhere", "s", "PUBLIC_URL"),
        ("order.created", URL, "", "webhook_secrets"),
    ],
)
def test_a_faulty_webhook_is_refused_with_what_to_do(shop, topic, url, secret, told):
    with pytest.raises(ShopApiError, match=told) as caught:
        connect(shop).subscribe(topic, url, secret)
    assert caught.value.kind == "refused"
    assert shop.webhooks == {}


def test_a_shop_in_a_folder():
    with fake(path="/shop") as shop:
        assert connect(shop).subscriptions() == []


# --- how the keys travel


def test_over_https_the_keys_travel_by_basic_never_in_the_url(pem, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(pem[0]))
    with fake(certificate=pem) as shop:
        assert connect(shop).subscriptions() == []
        shop.url = shop.url.replace("https", "HTTPS")  # as some write it
        assert connect(shop).subscriptions() == []
        assert all(not {"oauth_consumer_key", "consumer_key"} & set(query) for query in asked(shop, "webhooks"))


def test_a_host_that_drops_the_authorization_header_gets_signed_requests(pem, monkeypatch):
    """The consumer secret stays out of the URL, which hosts write into their logs."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(pem[0]))
    with fake(certificate=pem) as shop:
        shop.drops_authorization = True
        api = connect(shop)
        made = api.subscribe("order.created", URL, "s")
        assert api.subscriptions() == [made]
        assert len(shop.webhooks) == 1
        assert shop.secret not in str(shop.requests)
        assert "oauth_signature" in shop.requests[-1][2]


def test_over_http_requests_are_signed(shop):
    connect(shop).subscriptions()
    assert "oauth_signature" in asked(shop, "webhooks")[0]


# --- orders


def test_an_orders_bytes_are_those_of_its_webhook(shop):
    """Slashes, accents and an unrounded price are as the shop writes them."""
    order = sample(WOOCOMMERCE, PLACED)
    order["line_items"][0]["price"] = 13.950000000000001
    with Receiver() as receiver:
        api = connect(shop)
        api.subscribe("order.updated", receiver.url, "s")
        shop.place(order)
    (page,) = api.orders(NOW - timedelta(hours=1), NOW, "modified")
    assert (page.topic, page.total) == ("order.updated", 1)
    assert page.bodies == [receiver.webhooks[0].body]
    assert b"13.950000000000001" in page.bodies[0]
    assert b"\\/" in page.bodies[0]
    recorded = json.loads(next(RECORDED.glob("085*")).read_text())
    assert set(json.loads(page.bodies[0])) == set(json.loads(base64.b64decode(recorded["body_base64"])))


@pytest.mark.parametrize("by", ["created", "modified"])
def test_the_bounds_are_met_to_the_second_whatever_the_shops_time_zone(shop, by):
    within = NOW - timedelta(days=1)
    for number, at in enumerate((SINCE - SECOND, SINCE, UNTIL, UNTIL + SECOND), start=1):
        put(
            shop,
            number,
            **({"modified": at, "created": within} if by == "modified" else {"modified": within, "created": at}),
        )
    pages = list(connect(shop).orders(SINCE + timedelta(microseconds=5), UNTIL + timedelta(microseconds=5), by))
    assert ids(pages) == [2, 3]
    assert {page.topic for page in pages} == {"order.created" if by == "created" else "order.updated"}


def test_drafts_and_trash_are_left_out_and_every_other_status_comes(shop):
    statuses = ["checkout-draft", "auto-draft", "draft", "trash", "pending", "failed", "shipped", "refunded"]
    for number, status in enumerate(statuses, start=1):
        put(shop, number, NOW, status=status)
    assert sorted(ids(connect(shop).orders(SINCE, UNTIL, "modified"))) == [5, 6, 7, 8]


def test_many_orders_come_oldest_first_with_their_number(shop):
    for number in range(1, 252):
        put(shop, number, NOW - number * SECOND)
    pages = list(connect(shop).orders(SINCE, UNTIL, "modified"))
    assert list(dict.fromkeys(ids(pages))) == list(range(251, 0, -1))
    assert {page.total for page in pages} == {251}


@pytest.mark.parametrize("busy", [1, 60])
def test_nothing_is_missed_while_orders_change_between_pages(shop, busy):
    """Changed orders move to the end of the list: with page numbers as many others would be skipped each time."""
    for number in range(1, 351):
        put(shop, number, NOW - (400 - number) * SECOND)
    fresh = iter(range(1, 351))

    def change(endpoint):
        if endpoint == "orders" and len(asked(shop, "orders")) > 1:
            for number in [next(fresh, None) for _ in range(busy)]:
                if number:
                    shop.orders[number] |= shop.dates("modified", NOW - SECOND)

    shop.before = change
    assert set(ids(connect(shop).orders(SINCE, UNTIL, "modified"))) == set(range(1, 351))


def test_nothing_is_missed_behind_an_order_that_changes_while_it_is_read(shop):
    """It shows its new time in its old place, at the page's end."""
    for number in range(1, 151):
        put(shop, number, NOW - (400 - number) * SECOND)

    def change(found):
        if len(found) == 100:
            found[-1].update(shop.dates("modified", NOW))

    shop.between = change
    assert set(ids(connect(shop).orders(SINCE, UNTIL, "modified"))) == set(range(1, 151))


@pytest.mark.parametrize("by", ["created", "modified"])
def test_more_orders_of_one_second_than_a_page_holds(shop, by):
    """An import. Some that leave the second meanwhile do not hide others."""
    put(shop, 1, NOW - 90 * SECOND)
    for number in range(2, 332):
        put(shop, number, NOW - 60 * SECOND)
    for number in range(332, 340):
        put(shop, number, NOW - 30 * SECOND)
    leaving = iter((3, 5, 120))

    def leave(endpoint):
        query = shop.requests[-1][2]
        if endpoint == "orders" and query["orderby"] == "id" and query.get("offset", "0") != "0":
            shop.orders[next(leaving, 3)] |= shop.dates("modified", NOW)

    shop.before = leave
    assert set(ids(connect(shop).orders(SINCE, UNTIL, by))) == set(range(1, 340))


class Cached:
    """A shop whose cache knows no query, behind a host that drops X-WP-Total: always the same full page."""

    asked = 0

    def __init__(self, *rows):
        self.answer = Answer(200, {}, json.dumps(rows, separators=(",", ":")).encode())

    def get(self, endpoint, **params):
        self.asked += 1
        assert self.asked < 20, "it would go on for ever"
        return self.answer


@pytest.mark.parametrize(
    "ask",
    [
        lambda admin: admin.subscriptions(),
        lambda admin: [*admin.customers(SINCE, UNTIL)],
        lambda admin: [*admin.orders(SINCE, UNTIL, "modified")],
    ],
)
def test_a_list_whose_pages_do_not_turn_has_an_end(ask):
    """It is asked no further, and what to do is said."""
    at = f"{NOW - SECOND:%Y-%m-%dT%H:%M:%S}"
    rows = [{"id": number, "date_created_gmt": at, "date_modified_gmt": at} for number in range(1, 101)]
    with pytest.raises(ShopApiError, match="no cache") as told:
        ask(WooCommerceApi(Cached(*rows), lambda: NOW))
    assert told.value.kind == "broken"


def test_what_is_no_order_costs_no_other():
    """A plugin's row is passed on like the others, to be parked."""
    admin = WooCommerceApi(Cached(1, "x", {"id": 5, "date_modified_gmt": 5}, None), lambda: NOW)
    assert bodies(admin.orders(SINCE, UNTIL, "modified")) == [b"1", b'"x"', b'{"id":5,"date_modified_gmt":5}', b"null"]


def test_a_page_that_shows_fewer_orders_than_it_counts_is_not_the_last(shop):
    for number in range(1, 151):
        put(shop, number, NOW - (200 - number) * SECOND)
    shop.unreadable = {7}
    assert set(ids(connect(shop).orders(SINCE, UNTIL, "modified"))) == set(range(1, 151)) - {7}


def test_orders_that_are_counted_but_never_shown_are_withheld(shop):
    for number in range(1, 152):
        put(shop, number, NOW - (200 - number) * SECOND)
    shop.unreadable = set(range(152))
    with pytest.raises(ShopApiError, match="counts 151 orders but shows none") as caught:
        list(connect(shop).orders(SINCE, UNTIL, "modified"))
    assert caught.value.kind == "withheld"


def test_a_shop_too_old_to_filter_by_change_is_told_apart(shop):
    shop.filters_changes = False
    for number in range(1, 152):
        put(shop, number, NOW - timedelta(days=300 - number))
    with pytest.raises(ShopApiError, match="update WooCommerce"):
        list(connect(shop).orders(SINCE, UNTIL, "modified"))


def test_an_empty_shop_has_one_empty_page(shop):
    assert [(list(page.bodies), page.total) for page in connect(shop).orders(SINCE, UNTIL, "created")] == [([], 0)]


# --- customers


def test_customers_of_a_time_and_no_further_back(shop):
    """Newest first, as there is no filter by date; other roles are no customers."""
    for number in range(1, 501):
        shop.register({"id": number, **shop.dates("created", NOW - number * timedelta(hours=1))}, deliver=False)
    shop.register({"id": 900, "role": "subscriber", **shop.dates("created", NOW - timedelta(hours=11))}, deliver=False)
    pages = list(connect(shop).customers(NOW - timedelta(hours=120), NOW - timedelta(hours=10)))
    assert list(dict.fromkeys(ids(pages))) == list(range(10, 121))
    assert {page.topic for page in pages} == {"customer.created"}
    assert len(asked(shop, "customers")) == 2


def test_a_customer_that_is_deleted_between_pages_hides_no_other(shop):
    for number in range(1, 151):
        shop.register({"id": number, **shop.dates("created", NOW - number * SECOND)}, deliver=False)

    def delete(endpoint):
        if len(asked(shop, endpoint)) == 2:
            del shop.customers[3]

    shop.before = delete
    assert set(ids(connect(shop).customers(SINCE, UNTIL))) == set(range(1, 151))


def test_a_customers_bytes_are_those_of_its_webhook(shop):
    with Receiver() as receiver:
        api = connect(shop)
        api.subscribe("customer.created", receiver.url, "s")
        shop.register(sample(WOOCOMMERCE, REGISTERED))
    assert bodies(api.customers(SINCE, UNTIL)) == [receiver.webhooks[0].body]
