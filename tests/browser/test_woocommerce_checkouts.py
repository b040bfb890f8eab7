"""The WooCommerce plugin on a checkout: its page, its token, and the webhook it fires."""

import json
import re
import time

import pytest

from platforms.woocommerce.installed import PLUGIN_ROUTE
from tests.browser.plugin import (
    CART,
    CLICK,
    COOKIES,
    ON_DELIVERY,
    PERSON,
    PLACING,
    REFUSED,
    TTP,
    order,
    pairs,
    told,
    webhook_of,
)
from tests.browser.server_side import WOOCOMMERCE, choose, served


@pytest.mark.parametrize(
    "choices", [{}, {"value": "items"}, {"value_excludes": ("tax",)}, {"content_id": "variant_id"}], ids=str
)
def test_a_checkouts_page_says_what_its_webhook_says(plugin, choices):
    """One action and one event whichever checkout the shop has, under one token."""
    store = choose(WOOCOMMERCE, "mapping", **choices)
    report = plugin(store).checks_out(cart=CART, person=PERSON, cookies=COOKIES)
    assert len(report["fired"]) == 1
    (item,) = served(store, "action.wc_tiktok_initiate_checkout", webhook_of(report)).values()
    page = told(report)
    assert pairs(page) == {("InitiateCheckout", item["event_id"])}
    assert page["properties"] == item["properties"]
    assert page["user"] == {
        "email": item["user"]["email"],
        "phone_number": item["user"]["phone"],
        "external_id": item["user"]["external_id"],
    }
    assert (item["user"]["ttclid"], item["user"]["ttp"], item["user"]["ip"]) == (CLICK, TTP, "8.8.4.4")


def test_a_token_lives_until_an_order_is_placed(plugin):
    """The same while the shopper comes back to the checkout; another for the next order."""
    first = plugin().checks_out(cart=CART)
    (cookie,) = first["set"]
    assert re.fullmatch("[0-9a-f]{32}", cookie["value"])
    assert cookie["name"] == "tiktok_checkout_token"
    assert cookie["expires"] == pytest.approx(time.time() + 48 * 3600, abs=60)
    again = plugin().checks_out(cart=CART, cookies=first["cookies"])
    assert told(again)["id"] == told(first)["id"] == f"acme-checkout-{cookie['value']}"
    for hook in PLACING:
        placed = plugin().run([hook, "ORDER"], cookies=first["cookies"], order=order(ON_DELIVERY))
        assert [(one["value"], one["expires"]) for one in placed["set"]] == [("", 1)]
        assert told(plugin().checks_out(cart=CART, cookies=placed["cookies"]))["id"] != told(first)["id"]


def test_a_session_that_is_overwritten_with_an_older_one_costs_no_token(plugin):
    """The mini cart's request of the page before saves its session after the checkout page's."""
    first = plugin().checks_out(cart=CART)
    again = plugin().checks_out(cart=CART, cookies=first["cookies"], session={})
    assert told(again)["id"] == told(first)["id"]


def test_a_checkout_on_a_page_of_its_own_keeps_its_token_in_the_session(plugin):
    """Its form is printed when no cookie can be set any more."""
    first = plugin().checks_out(cart=CART, late=True)
    assert first["cookies"] == []
    again = plugin().checks_out(cart=CART, late=True, session=first["session"])
    assert told(again)["id"] == told(first)["id"] == f"acme-checkout-{first['session']['tiktok_checkout_token']}"
    for hook in PLACING:
        placed = plugin().run([hook, "ORDER"], session=first["session"], order=order(ON_DELIVERY))
        assert placed["session"]["tiktok_checkout_token"] is None


@pytest.mark.parametrize("cookie", ["", "x", "G" * 32, "a" * 33, ["a"]])
def test_a_token_that_is_not_the_plugin_s_is_replaced(plugin, cookie):
    report = plugin().checks_out(cart=CART, cookies={"tiktok_checkout_token": cookie})
    assert re.fullmatch("acme-checkout-[0-9a-f]{32}", told(report)["id"])


def test_no_token_without_a_checkout(plugin):
    """No cookie for who only looks around, nor for who refuses."""
    assert plugin().run(["template_redirect"])["set"] == []
    assert plugin().checks_out(cart=CART, consent=REFUSED)["set"] == []


def test_the_parts_of_a_bundle_are_not_counted(plugin):
    """As in an order, the bundle stands for them."""
    cart = [*CART, {**CART[0], "bundled_by": "abc"}, {**CART[0], "composite_parent": "abc"}]
    assert len(plugin().checks_out(cart=cart)["fired"][0]["line_items"]) == len(CART)


def test_the_connector_sees_that_checkouts_are_fired(plugin):
    """Under WooCommerce's API, where the connector's keys are valid, and nobody else sees it."""
    seen = plugin().run(["rest_api_init"], person={"id": 1})["routes"]
    told = seen[f"wc/v3/{PLUGIN_ROUTE}"]
    assert seen.keys() == {f"wc/v3/{PLUGIN_ROUTE}"}
    assert told["fires"] == "wc_tiktok_initiate_checkout"
    assert told.keys() == {"fires", "version"}
    assert plugin().run(["rest_api_init"])["routes"] == {f"wc/v3/{PLUGIN_ROUTE}": None}


def test_an_empty_cart_is_no_checkout(plugin):
    """Nothing is fired and nothing told."""
    report = plugin().checks_out(cart=[])
    assert not report["fired"]
    assert told(report) is None


@pytest.mark.parametrize("lines", [30, 80, 600])
def test_a_large_cart_still_fits_into_the_queue(plugin, lines):
    """WordPress drops a webhook whose argument is longer than 8,000 characters; the token always arrives."""
    cart = [{**CART[0], "name": "Tasse in Grün mit Ünïcödé 🎁" * 3, "sku": f"SKU-{n}"} for n in range(lines)]
    report = plugin().checks_out(cart=cart, cookies={"ttclid": "E.C.P." + "x" * 3000})
    arg = report["fired"][0]
    assert len(json.dumps([1, arg])) < 8000
    assert arg["token"]
    assert arg["ttclid"].endswith("x" * 3000)
    assert arg["line_items"]
    assert told(report)["properties"]["num_items"] == 2 * lines


LONG = {"ttclid": "E.C.P." + "x" * 3894, "_ttp": "y" * 3900}
WIDE = {"email": "é" * 300 + "@example.com", "phone": "5" * 2000, "country": "\x01" * 900, "id": 5}


@pytest.mark.parametrize("person", [PERSON, WIDE], ids=["person", "long texts"])
@pytest.mark.parametrize("ids", [LONG, {"ttclid": "x" * 4000, "_ttp": "y" * 500}], ids=["both long", "one long"])
def test_long_click_ids_fit_into_the_queue_too(plugin, ids, person):
    """Each within 4,000 characters; what cannot be TikTok's is left out, never cut, and the lines stay."""
    arg = plugin().checks_out(cart=CART, cookies=ids, person=person)["fired"][0]
    assert len(json.dumps([1, arg])) < 8000
    assert arg["token"]
    assert arg["ttclid"] == ids["ttclid"]
    assert arg["ttp"] == (ids["_ttp"] if len(ids["_ttp"]) == 500 else "")
    assert len(arg["line_items"]) == len(CART)
