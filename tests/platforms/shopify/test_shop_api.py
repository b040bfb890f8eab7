"""Shopify's admin, through the real package `ShopifyAPI`, against a fake Shopify on a loopback socket."""

import json
import logging
import random
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.core.shop_api import ShopApi, ShopApiError, ShopApiModule, Subscription
from connector.core.store import MILESTONES, ApiKeys
from connector.plugin.testing.samples import fresh_journey
from platforms.shopify import samples as shopify_samples
from platforms.shopify import shop_api as shopify_admin
from platforms.shopify import webhooks as shopify
from platforms.shopify.shop_api import connect as connect_shop
from platforms.shopify.shop_api import topics, why_not_url
from platforms.shopify.webhooks import withholds
from tests.support.bodies import NOW, SHOPIFY
from tests.support.fakes.shopify import FakeShopify
from tests.support.fakes.shopify_rules import LASTS
from tests.support.fakes.shopify_server import ENDLESS

URL = "https://connector.example/webhooks/acme"
HOST = "acme.myshopify.com"
CLIENT_CREDENTIALS = "client_credentials"


class Clock:
    """A clock that only pauses move; what was paused is kept."""

    def __init__(self) -> None:
        self.now = NOW.timestamp()
        self.pauses: list[float] = []

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def fake(clock):
    with FakeShopify(clock=clock) as running:
        yield running


@pytest.fixture
def shop(fake, clock):
    """The admin, with a legacy token."""
    return connect(fake, clock)


def connect(fake, clock, kind="legacy", limit=20.0, **keys):
    given = {"access_token": fake.access_token}
    if kind == CLIENT_CREDENTIALS:
        given = {"client_id": fake.client_id, "client_secret": fake.secret}
    store = replace(SHOPIFY, api=ApiKeys(**{**given, **keys}))
    return connect_shop(store, pause=clock.pause, base=fake.url, clock=clock, limit=limit)


def order(seed=1, topic="orders/create", **changes):
    """A sample order, of its own shopper for each seed."""
    journey = fresh_journey(SHOPIFY, NOW, random.Random(seed))
    return {**shopify_samples.sample(topic, journey, SHOPIFY), **changes}


def customer(seed=1, **changes):
    journey = fresh_journey(SHOPIFY, NOW, random.Random(seed))
    return {**shopify_samples.sample("customers/create", journey, SHOPIFY), **changes}


def at(minutes):
    return (NOW + timedelta(minutes=minutes)).isoformat(timespec="seconds")


def ids(pages):
    return [json.loads(body)["id"] for page in pages for body in page.bodies]


def fault_of(call):
    with pytest.raises(ShopApiError) as caught:
        call()
    return caught.value


def last_day(shop):
    return list(shop.orders(NOW - timedelta(days=1), NOW, "modified"))


def is_a_sentence(words):
    return "\n" not in words and 20 < len(words) < 400 and "Traceback" not in words and "  " not in words


# --- the shape ------------------------------------------------------------------------------------------------------


def test_it_is_an_administration_of_admins(shop):
    """The module and what it makes offer what connector.core.shop_api asks for."""
    asked = [name for name in vars(ShopApiModule) if not name.startswith("_")]
    assert all(hasattr(shopify_admin, name) for name in (*asked, "SETS_SECRET"))
    assert all(callable(getattr(shop, name)) for name in vars(ShopApi) if not name.startswith("_"))


@pytest.mark.processes
def test_the_package_is_loaded_only_where_it_is_used():
    """Neither a command's help nor the module itself loads ShopifyAPI; making an admin does."""
    program = (
        "import sys; from click.testing import CliRunner; from connector.cli.main import main\n"
        "import platforms.shopify.shop_api; CliRunner().invoke(main, ['--help'])\n"
        "assert not {'shopify', 'pyactiveresource', 'platforms.shopify.api_client'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_store_without_keys_says_which():
    """Without [api] there is no admin, and the fault says what to give."""
    fault = fault_of(lambda: connect_shop(SHOPIFY))
    assert fault.kind == "keys"
    assert "access_token" in str(fault)


# --- topics ---------------------------------------------------------------------------------------------------------


def sending(*milestones, **statuses):
    """A store that sends these."""
    names = {each: (("Event",) if each in milestones else ()) for each in MILESTONES}
    return replace(SHOPIFY, events=names, orders=replace(SHOPIFY.orders, **statuses))


def test_topics_are_those_of_the_milestones():
    assert topics(SHOPIFY) == (
        *("orders/create", "orders/paid", "checkouts/create", "checkouts/update"),
        *("customers/create", "customers/enable", "app/uninstalled"),
    )
    assert topics(sending("order_paid")) == ("orders/create", "orders/paid", "app/uninstalled")
    assert topics(sending("checkout_started")) == ("checkouts/create", "checkouts/update", "app/uninstalled")
    assert topics(sending()) == ("app/uninstalled",)


@pytest.mark.parametrize(
    ("milestone", "statuses", "needed"),
    [
        ("order_placed", {"placed_statuses": ("authorized",)}, True),
        ("order_paid", {"paid_statuses": ("partially_paid", "paid")}, True),
        ("order_paid", {"paid_statuses": ("paid", "partially_refunded")}, False),
        ("order_paid", {"placed_statuses": ("authorized",)}, False),
        ("customer_registered", {"placed_statuses": ("authorized",)}, False),
    ],
)
def test_a_status_that_is_neither_creation_nor_payment_needs_the_updates(milestone, statuses, needed):
    """An order that was created pending and authorized by hand next day shows that in orders/updated only."""
    assert ("orders/updated" in topics(sending(milestone, **statuses))) == needed


def test_every_topic_is_one_the_connector_receives():
    assert set(topics(SHOPIFY)) <= shopify.TOPICS | shopify.RECORDED


# --- addresses ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url", [URL, "https://connector.example:8443/webhooks/acme", "https://8.8.8.8/x", "https://bücher.example/"]
)
def test_a_public_https_address_will_do(url):
    assert why_not_url(url) == ""


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("http://connector.example/webhooks/acme", "https"),
        ("ftp://connector.example/", "https"),
        ("connector.example/webhooks/acme", "https"),
        ("", "https"),
        ("https://", "outside"),
        ("https://localhost/webhooks/acme", "outside"),
        ("https://localhost./webhooks/acme", "outside"),
        ("https://box.local/", "outside"),
        ("https://connector/webhooks/acme", "outside"),
        ("https://127.0.0.1/", "outside"),
        ("https://127.1/", "outside"),
        ("https://2130706433/", "outside"),
        ("https://0x7f.0x1/", "outside"),
        ("https://10.1.2.3/", "outside"),
        ("https://192.168.0.10/", "outside"),
        ("https://169.254.169.254/", "outside"),
        ("https://224.0.0.1/", "outside"),
        ("https://[::1]/", "outside"),
        ("https://[fd00::1]/", "outside"),
        ("https://[::ffff:10.0.0.1]/", "outside"),
        ("https://connector..example/", "outside"),
        ("https://me:pass@connector.example/", "user name"),
        ("https://me@connector.example/", "user name"),
        ("https://acme.myshopify.com/webhooks", "its own hosts"),
        ("https://connector.example:port/", "not a URL"),
        ("https://[::1/", "not a URL"),
    ],
)
def test_any_other_address_is_refused_with_a_remedy(url, word):
    reason = why_not_url(url)
    assert word in reason
    assert is_a_sentence(reason)
    assert "pass" not in reason.replace("password", "")


@given(
    st.text()
    | st.from_regex(r"https?://[\w.:@\[\]%-]{0,30}/?", fullmatch=True)
    | st.ip_addresses().map(lambda ip: f"https://{ip}/")
)
def test_no_address_breaks_the_judgement(url):
    """Any text gets a reason or none; an address that is not public always gets one."""
    assert isinstance(why_not_url(url), str)


@given(st.ip_addresses().filter(lambda ip: ip.is_private))
def test_no_private_address_passes(ip):
    assert why_not_url(f"https://[{ip}]/" if ip.version == 6 else f"https://{ip}/")


# --- withheld persons -----------------------------------------------------------------------------------------------


def test_an_order_shows_its_shopper_or_is_withheld(fake):
    """The same order with and without access to protected customer data."""
    body = order()
    assert not withholds(body)
    fake.withholding = True
    assert withholds(fake.shown(body))


def test_null_fields_are_withheld_as_missing_ones_are():
    """Shopify's documentation says null, captures show the keys missing: both count, and so does an empty text."""
    place = dict.fromkeys(("first_name", "last_name", "name", "address1", "city", "zip", "phone")) | {
        "country": "Canada"
    }
    body = {"email": "", "phone": None, "customer": {"id": 5, "email": None, "default_address": place}}
    assert withholds(body)
    assert withholds({**body, "customer": None, "shipping_address": place})
    assert withholds({**body, "browser_ip": "203.0.113.5", "client_details": {"user_agent": "Mozilla/5.0"}})


@pytest.mark.parametrize(
    "known",
    [
        {"email": "jane@example.com"},
        {"phone": "+1 312-555-0101"},
        {"customer": {"id": 5, "first_name": "Jane"}},
        {"shipping_address": {"country": "Canada", "address1": "1 Larch Crescent"}},
        {"customer": {"id": 5, "default_address": {"zip": "K1N 5W3"}}},
    ],
)
def test_one_personal_field_is_enough(known):
    assert not withholds({"customer": {"id": 5}, **known})


@pytest.mark.parametrize("body", [{}, {"customer": None, "shipping_address": []}, {"customer": {}}])
def test_an_order_of_nobody_withholds_nothing(body):
    """A sale at a till knows no customer, whatever the app may see."""
    assert not withholds(body)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)
_FIELDS = ("customer", "email", "phone", "shipping_address", "billing_address")


@given(st.dictionaries(st.sampled_from(_FIELDS), json_values))
def test_any_body_is_judged(body):
    assert withholds(body) in (True, False)


# --- webhooks -------------------------------------------------------------------------------------------------------


def test_webhooks_are_made_listed_and_removed(fake, shop):
    """What is subscribed is listed with its topic and address, until it is removed."""
    made = [shop.subscribe(topic, URL, "unused") for topic in topics(SHOPIFY)]
    assert [(each.topic, each.url) for each in made] == [(topic, URL) for topic in topics(SHOPIFY)]
    assert shop.subscriptions() == made
    assert all(each.active for each in made)
    for each in made:
        shop.unsubscribe(each)
    assert shop.subscriptions() == []
    assert fake.subscriptions == []


def test_to_remove_twice_is_no_fault(shop):
    made = shop.subscribe("orders/paid", URL, "")
    shop.unsubscribe(made)
    shop.unsubscribe(made)


def test_to_subscribe_twice_gives_the_one_that_is_there(shop):
    """Shopify's "already been taken" is no fault when the webhook is ours."""
    shop.subscribe("orders/paid", URL, "")
    first = shop.subscribe("orders/create", URL, "")
    shop.subscribe("orders/create", f"{URL}-2", "")
    assert shop.subscribe("orders/create", URL, "") == first
    assert len(shop.subscriptions()) == 3


def test_what_is_taken_but_not_ours_is_a_refusal(fake, shop):
    """Nothing is claimed to be subscribed that the shop does not list."""
    taken = {"webhookSubscription": None, "userErrors": [{"message": "Address for this topic has already been taken"}]}
    fake.fail(200, body={"data": {"webhookSubscriptionCreate": taken}})
    assert fault_of(lambda: shop.subscribe("orders/create", URL, "")).kind == "refused"


def test_all_pages_of_webhooks_are_listed(fake, shop):
    """Foreign addresses and topics too; a topic unknown to us keeps Shopify's name."""
    fake.rules.page_size = 2
    made = [shop.subscribe("orders/create", f"{URL}/{number}", "") for number in range(4)]
    made.append(shop.subscribe("products/update", URL, ""))
    assert shop.subscriptions() == made
    assert made[-1].topic == "PRODUCTS_UPDATE"
    assert sum("webhookSubscriptions" in line for line in fake.requests) == 3


def test_a_refused_address_is_a_refusal_in_shopifys_words(clock):
    """userErrors come with a 200, and are a fault all the same."""
    with FakeShopify(clock=clock, any_url=False) as strict:
        fault = fault_of(lambda: connect(strict, clock).subscribe("orders/create", "http://localhost/x", ""))
    assert fault.kind == "refused"
    assert "orders/create" in str(fault)
    assert "http:// is not supported; Address cannot be a Shopify or an internal domain" in str(fault)


def test_an_unknown_topic_is_refused(shop):
    fault = fault_of(lambda: shop.subscribe("orders/eaten", URL, ""))
    assert fault.kind == "refused"
    assert "invalid value" in str(fault)


def test_an_app_without_access_to_persons_is_told_what_to_do(fake, shop):
    fake.approved = False
    for call in (lambda: shop.subscribe("orders/create", URL, ""), lambda: last_day(shop)):
        fault = fault_of(call)
        assert fault.kind == "withheld"
        assert "Dev Dashboard" in str(fault)
        assert "protected customer data" in str(fault)
        assert is_a_sentence(str(fault))


def test_a_missing_scope_is_named(fake, shop):
    fake.scopes = {"read_customers"}
    for call in (lambda: shop.subscribe("orders/create", URL, ""), lambda: last_day(shop)):
        fault = fault_of(call)
        assert fault.kind == "scopes"
        assert "read_orders" in str(fault)


# --- history --------------------------------------------------------------------------------------------------------


def test_orders_come_as_their_webhook_would_carry_them(fake, shop):
    """Whole, with client_details, digits as Shopify wrote them, and readable by translate."""
    body = order(id=820982911946154508, total_price="44.50", line_items=[{"grams": 1.10, "price": "44.50"}])
    fake.place(body)
    (page,) = shop.orders(NOW - timedelta(days=1), NOW + timedelta(days=1), "created")
    (raw,) = page.bodies
    assert raw == json.dumps(body, ensure_ascii=False).encode()
    assert b'"client_details": {' in raw
    assert page.topic in shopify.TOPICS


def test_numbers_and_letters_stay_as_they_were_written(fake, shop):
    """Read and written again, 1.10 would be 1.1, 1E400 infinity, and the escapes letters."""
    raw = rb'{"id": 820982911946154508, "rate":1.10, "big": 1E400, "name": "Zo\u00eb \/ \ud83d\ude00", "id": 2}'
    fake.fail(200, on="/orders.json", body=b'{"orders": [' + raw + b", " + raw + b"]}")
    (page,) = last_day(shop)
    assert page.bodies == [raw, raw]


def test_orders_come_oldest_first_in_pages_with_their_total(fake, shop):
    """Link-header paging, whose cursor goes alone: Shopify refuses filters beside it."""
    fake.rules.page_size = 2
    for number, minute in ((1, -50), (2, -10), (3, -30), (4, -20), (5, -40)):
        fake.place(order(number, id=number, created_at=at(-600), updated_at=at(minute)))
    pages = last_day(shop)
    assert ids(pages) == [1, 5, 3, 4, 2]
    assert [len(page.bodies) for page in pages] == [2, 2, 1]
    assert {page.total for page in pages} == {5}


def test_an_order_that_changes_meanwhile_is_not_lost(fake, shop):
    """It moves to the end, where it comes once more."""
    fake.rules.page_size = 2
    for number in range(1, 6):
        fake.place(order(number, id=number, updated_at=at(-60 + number)))
    pages = shop.orders(NOW - timedelta(days=1), NOW, "modified")
    seen = ids([next(pages)])
    fake.update(1, note="wrapped")
    assert [*seen, *ids(pages)] == [1, 2, 3, 4, 5, 1]


def test_the_window_is_of_creation_or_of_change(fake, shop):
    """Both ends belong to it, down to fractions of a second."""
    fake.place(order(1, id=1, created_at=at(-120), updated_at=at(-10)))
    fake.place(order(2, id=2, created_at=at(-120), updated_at=at(-90)))
    fake.place(order(3, id=3, created_at=at(-10), updated_at=at(-10)))
    assert ids(shop.orders(NOW - timedelta(minutes=10), NOW, "modified")) == [1, 3]
    assert ids(shop.orders(NOW - timedelta(minutes=10), NOW, "created")) == [3]
    assert ids(shop.orders(NOW - timedelta(minutes=120), NOW - timedelta(minutes=90), "modified")) == [2]
    just = timedelta(minutes=10, milliseconds=-1)
    assert ids(shop.orders(NOW - just, NOW, "modified")) == [1, 3]
    assert ids(shop.orders(NOW - just, NOW - just, "modified")) == [1, 3]


def test_closed_and_cancelled_orders_are_there_too(fake, shop):
    """Shopify's own default is open orders only."""
    fake.place(order(1, id=1, cancelled_at=at(-5)))
    fake.place(order(2, id=2, closed_at=at(-5)))
    (page,) = shop.orders(NOW - timedelta(hours=1), NOW, "created")
    assert sorted(ids([page])) == [1, 2]
    assert page.total == 2


def test_a_long_window_is_asked_day_by_day(fake, shop):
    """So that none holds more than the 25,000 orders that Shopify pages through."""
    for number in range(1, 6):
        fake.place(order(number, id=number, created_at=at(-number * 1000)))
    pages = list(shop.orders(NOW - timedelta(days=4), NOW, "created"))
    assert ids(pages) == [5, 4, 3, 2, 1]
    assert {page.total for page in pages} == {5}
    assert sum("/orders.json" in line for line in fake.requests) == 4


def test_times_with_other_offsets_mean_the_same(fake, shop):
    fake.place(order(1, id=1, created_at=at(-30)))
    tokyo = [
        moment.astimezone(datetime.fromisoformat("2026-01-01T00:00:00+09:00").tzinfo)
        for moment in (NOW - timedelta(hours=1), NOW)
    ]
    assert ids(shop.orders(*tokyo, "created")) == [1]


def test_no_orders_are_no_page(shop):
    assert last_day(shop) == []


def test_customers_are_those_who_came_into_being_then(fake, shop):
    fake.rules.page_size = 1
    fake.register(customer(1, id=1, created_at=at(-30)))
    fake.register(customer(2, id=2, created_at=at(-20)))
    fake.register(customer(3, id=3, created_at=at(-2000)))
    pages = list(shop.customers(NOW - timedelta(hours=1), NOW))
    assert sorted(ids(pages)) == [1, 2]
    assert {page.topic for page in pages} == {"customers/enable"}
    assert all(json.loads(body)["addresses"] for page in pages for body in page.bodies)


# --- rates ----------------------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("header", ["nan", "inf", "-5", "soon", "1e400", ""])
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


@settings(max_examples=40)
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


# --- examination ----------------------------------------------------------------------------------------------------


def test_a_good_shop_is_found_good(fake, shop):
    fake.place(order())
    verdicts = list(shop.check())
    assert [verdict.good for verdict in verdicts] == [True] * 4
    for verdict, word in zip(verdicts, ("key", "read_orders", "e-mail", "clock"), strict=True):
        assert word in verdict.sentence
        assert is_a_sentence(verdict.sentence)


def test_write_scopes_hold_the_read_scopes(fake, shop):
    fake.scopes = {"write_orders", "read_customers"}
    assert list(shop.check())[1].good


def test_a_refused_key_ends_the_examination(fake, shop):
    for how, word in ((401, "key"), (402, "bill"), (404, "myshopify.com"), (423, "locked"), (503, "503")):
        fake.fail(how)
        (verdict,) = shop.check()
        assert not verdict.good
        assert word in verdict.sentence


def test_missing_scopes_are_named(fake, shop):
    fake.scopes = set()
    verdicts = list(shop.check())
    assert [verdict.good for verdict in verdicts] == [True, False, False, True]
    assert "read_orders and read_customers" in verdicts[1].sentence
    assert "Dev Dashboard" in verdicts[1].sentence


@pytest.mark.parametrize("switch", [{"withholding": True}, {"approved": False}])
def test_withheld_persons_are_noticed(fake, shop, switch):
    """In the latest orders, whoever bought at the till before."""
    for number in range(1, 7):
        till = {"customer": None, "shipping_address": None, "created_at": at(-100 * number)}
        fake.place(order(number, id=number, **till))
    fake.place(order(7, id=7))
    for name, value in switch.items():
        setattr(fake, name, value)
    verdict = list(shop.check())[2]
    assert not verdict.good
    assert "protected customer data" in verdict.sentence


def test_before_the_first_order_nobody_knows(fake, shop):
    fake.place(order(1, customer=None, shipping_address=None, billing_address=None, email="", phone=None))
    verdict = list(shop.check())[2]
    assert verdict.good
    assert "first" in verdict.sentence


@pytest.mark.parametrize(("apart", "word"), [(61, "ahead of"), (-61, "behind"), (59, "agrees"), (-59, "agrees")])
def test_a_wrong_clock_is_noticed(fake, apart, word):
    ours = Clock()
    ours.now += apart
    verdict = list(connect(fake, ours).check())[-1]
    assert verdict.good is (word == "agrees")
    assert word in verdict.sentence
