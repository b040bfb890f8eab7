"""The printed WooCommerce plugin under PHP: which pixels it tells, and who has ordered before."""

import pytest

from connector.core.store import Pixel
from tests.browser.plugin import (
    CART,
    COOKIES,
    ON_DELIVERY,
    PAID,
    PERSON,
    PLACING,
    UNPAID,
    order,
    recorded_orders,
    told,
    webhook_of,
)
from tests.browser.server_side import CODE, OTHER, WOOCOMMERCE, choose, examined, served

ORDERS = recorded_orders()
EVERY_KIND = choose(WOOCOMMERCE, "orders", include=("web", "app", "pos", "api", "staff", "renewal"))


def meta(report):
    return {row["key"]: row["value"] for row in report["meta"]}


# --- several pixels -------------------------------------------------------------------------------------------


ROUTES = (
    Pixel(CODE, "one", countries=("US",)),
    Pixel(OTHER, "two", countries=("FR", "DE"), kinds=("web", "staff")),
    Pixel("CPAIDORDERS000000000", "three", milestones=("order_paid",), currencies=("EUR",)),
    Pixel("7012345678901234567", "four", source="offline", milestones=("order_paid",)),
)


def routed(store, body):
    """What the server sends to pixels of the web: names by pixel."""
    found: dict[str, list[str]] = {}
    for one in examined(store, "order.updated", body).events:
        if one.pixel.source == "web":
            found.setdefault(one.pixel.code, []).append(one.event)
    return found


@pytest.mark.parametrize("recording", [PAID, ON_DELIVERY])
@pytest.mark.parametrize(
    ("shipping", "billing", "currency", "via"),
    [
        ("US", "FR", "USD", "checkout"),
        ("FR", "US", "EUR", "checkout"),
        ("", "DE", "USD", "admin"),
        ("", "", "EUR", "checkout"),
        ("GB", "US", "USD", "subscription"),
    ],
)
def test_an_order_goes_to_the_pixels_that_the_server_chooses(plugin, recording, shipping, billing, currency, via):
    """By country, currency, kind and milestone, under the names of its kind; never to an offline set."""
    names = {"renewal": {"order_placed": (), "order_paid": ("Subscribe",)}}
    everywhere = Pixel("CEVERYWHERE000000000", "five")
    store = choose(EVERY_KIND, pixels=(*ROUTES, everywhere), events_of_kinds=names, country="US")
    body = order(recording)
    body |= {"currency": currency, "created_via": via}
    body["shipping"] = body["shipping"] | {"country": shipping}
    body["billing"] = body["billing"] | {"country": billing}
    page = told(plugin(store).thanks(body))
    assert (page["by_pixel"] if page else {}) == routed(store, body)


def test_a_checkout_goes_to_the_pixels_that_the_server_chooses(plugin):
    """By the country of the account, else the store's."""
    store = choose(WOOCOMMERCE, pixels=ROUTES)
    for country, code in (("FR", OTHER), ("", CODE)):
        report = plugin(store).checks_out(cart=CART, person=PERSON | {"country": country}, cookies=COOKIES)
        assert told(report)["by_pixel"] == {code: ["InitiateCheckout"]}
        webhook = webhook_of(report)
        sent = examined(store, "action.wc_tiktok_initiate_checkout", webhook).events
        assert [one.pixel.code for one in sent] == [code]


# --- new and returning customers ------------------------------------------------------------------------------


CLASSIC, BLOCK = "woocommerce_checkout_create_order", PLACING[1]
MAIL = order(UNPAID)["billing"]["email"]


def customer_type(plugin, hook, body, *orders):
    """What the plugin wrote, and what the server makes of it."""
    report = plugin().run([hook, "ORDER", {}], order=body, orders=orders)
    properties = served(WOOCOMMERCE, "order.created", {**body, "meta_data": report["meta"]})["PlaceAnOrder"][
        "properties"
    ]
    assert meta(report).get("_tiktok_customer_type") == properties.get("customer_type")
    return properties.get("customer_type")


@pytest.mark.parametrize("hook", [CLASSIC, BLOCK])
def test_who_ordered_before_is_returning(plugin, hook):
    """By the billing e-mail, as it may be typed, or by the account; all others are new."""
    guest = {**order(UNPAID), "customer_id": 0}
    account = {**guest, "customer_id": 7}
    earlier = {"id": 1, "status": "completed", "billing_email": MAIL.upper()}
    assert customer_type(plugin, hook, guest) == "new"
    assert customer_type(plugin, hook, guest, earlier) == "returning"
    assert customer_type(plugin, hook, account, {"id": 1, "status": "shipped", "customer_id": 7}) == "returning"
    assert customer_type(plugin, hook, account, {"id": 1, "status": "completed", "customer_id": 8}) == "new"


@pytest.mark.parametrize("status", ["pending", "failed", "cancelled", "checkout-draft"])
def test_an_order_that_never_came_about_is_no_earlier_one(plugin, status):
    """An abandoned payment, or the draft of the checkout block; a refunded order was one."""
    assert customer_type(plugin, CLASSIC, order(UNPAID), {"id": 1, "status": status, "billing_email": MAIL}) == "new"
    refunded = {"id": 1, "status": "refunded", "billing_email": MAIL}
    assert customer_type(plugin, CLASSIC, order(UNPAID), refunded) == "returning"


def test_the_order_itself_is_no_earlier_one(plugin):
    """The payment failed once, and the same order is placed again."""
    body = order(UNPAID)
    assert customer_type(plugin, BLOCK, body, {"id": body["id"], "status": "on-hold", "billing_email": MAIL}) == "new"


def test_nothing_is_said_of_nobody_and_nothing_twice(plugin):
    """Without account and e-mail; and what is written stays."""
    body = order(UNPAID)
    nobody = {**body, "customer_id": 0, "billing": {**body["billing"], "email": ""}}
    assert customer_type(plugin, CLASSIC, nobody) is None
    written = {**body, "meta_data": [{"id": 1, "key": "_tiktok_customer_type", "value": "new"}]}
    assert customer_type(plugin, CLASSIC, written, {"id": 1, "status": "completed", "billing_email": MAIL}) == "new"


def test_a_renewal_does_not_inherit_it(plugin):
    """WooCommerce Subscriptions copies an order's meta into each renewal."""
    copied = {"_tiktok_customer_type": "new", "color": "red"}
    report = plugin().run(["filter:wc_subscriptions_renewal_order_data", copied])
    assert report["filtered"] == [{"color": "red"}]
