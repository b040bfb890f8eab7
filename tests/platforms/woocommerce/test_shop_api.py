"""WooCommerce's API as the connector uses it: through the vendor's package, against a shop on a real socket."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.core.event import MILESTONES
from connector.core.shop_api import ShopApiError, Subscription
from connector.core.signature import new_secret
from connector.core.webhook import Request
from platforms.woocommerce import receive, translate
from platforms.woocommerce.shop_api import SETS_SECRET, topics, why_not_url
from platforms.woocommerce.shop_api import connect as connect_shop
from tests.support.fakes.receiver import Receiver
from tests.support.rows import each_row
from tests.support.sample_bodies import PLACED, WOOCOMMERCE, sample
from tests.support.woocommerce_api import NOW, connect, fake, store_of

RECORDED = Path(__file__).parents[2] / "fixtures" / "woocommerce" / "requests"
URL = "http://127.0.0.1:9/webhooks/beans"  # nobody there


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


@each_row(
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


@each_row(
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
