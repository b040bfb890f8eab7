"""The orders and customers of a time, read from a WooCommerce shop page by page."""

import base64
import json
from datetime import timedelta
from pathlib import Path

import pytest

from connector.core.shop_api import ShopApiError
from platforms.woocommerce.rest_errors import Answer
from platforms.woocommerce.shop_api import WooCommerceApi
from tests.support.fakes.receiver import Receiver
from tests.support.sample_bodies import PLACED, REGISTERED, WOOCOMMERCE, sample
from tests.support.woocommerce_api import NOW, SECOND, SINCE, UNTIL, connect, put

RECORDED = Path(__file__).parents[2] / "fixtures" / "woocommerce" / "requests"


def bodies(pages):
    return [body for page in pages for body in page.bodies]


def ids(pages):
    return [json.loads(body)["id"] for body in bodies(pages)]


def asked(shop, endpoint):
    return [query for _, path, query in shop.requests if path == endpoint]


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
