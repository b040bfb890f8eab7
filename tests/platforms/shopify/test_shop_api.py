"""platforms.shopify.shop_api: topics, webhooks and history over a real HTTP server that speaks as Shopify does."""

import json
import subprocess
import sys
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from connector.core.event import MILESTONES
from connector.core.shop_api import ShopApi, ShopApiModule
from platforms.shopify import shop_api as shopify_admin
from platforms.shopify import translate
from platforms.shopify.shop_api import connect as connect_shop
from platforms.shopify.shop_api import topics
from tests.support.fakes.shopify import FakeShopify
from tests.support.rows import each_row
from tests.support.sample_bodies import NOW, SHOPIFY
from tests.support.shopify_api import URL, at, connect, customer, fault_of, ids, is_a_sentence, last_day, order

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


@each_row(
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
    assert set(topics(SHOPIFY)) <= translate.TOPICS | translate.RECORDED


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
    assert page.topic in translate.TOPICS


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
