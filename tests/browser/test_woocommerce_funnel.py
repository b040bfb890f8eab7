"""The WooCommerce plugin before the order, under php-cli: what it tells the server, and what it leaves to the page."""

import hashlib
import json
import re
import time
from dataclasses import replace

import pytest

from connector.core.funnel_token import check_token, funnel_key, is_signed
from connector.core.store import FunnelSettings
from connector.funnel.beacon import MAX_CONTENTS
from connector.web.funnel_endpoint import MAX_BODY
from tests.browser.plugin import BANNER, CART, CLICK, COOKIES, PERSON, REFUSED, TTP, order, page_of
from tests.browser.server_side import WOOCOMMERCE, choose
from tests.support.snippets import snippet

FUNNEL = replace(WOOCOMMERCE, funnel=FunnelSettings())
BASE = "https://connector.example"
VISIT = "0123456789abcdef" * 2
SEEN = {**COOKIES, "tiktok_connector_visit": VISIT}
MUG = {"id": 11, "sku": "MUG", "name": "Café Mug &amp; <b>Saucer</b>", "price": "11.90"}
SHIRT = {"id": 20, "sku": "SHIRT", "name": "Shirt", "price": "19.99", "type": "variable"}
ADDED = ["woocommerce_add_to_cart", 0, 11, 2]
PLACING = ("woocommerce_checkout_order_processed", "woocommerce_store_api_checkout_order_processed")
FORM = {"REQUEST_METHOD": "POST", "HTTP_SEC_PURPOSE": ""}


@pytest.fixture
def funnel(plugin):
    return lambda store=FUNNEL, **options: plugin(store, base_url=BASE, **options)


def posted(report):
    """The one request to the server, if it is signed; None without one."""
    if not report["posts"]:
        return None
    (post,) = report["posts"]
    assert post["url"].endswith("/collect/acme/event")
    assert is_signed(post["body"].encode(), post["headers"]["X-Connector-Signature"], FUNNEL)
    return json.loads(post["body"])


def notes(report):
    """The events that are left to the page's script."""
    return json.loads(dict(report["cookies"]).get("tiktok_connector_notes", "[]"))  # PHP's empty array is a list


# --- the cart -------------------------------------------------------------------------------------------------


def test_a_product_in_the_cart_goes_to_the_server_and_to_the_page(funnel):
    """The same id, value and contents, by its price in the cart; the server hears of the shopper what PHP knows."""
    report = funnel().run(ADDED, ["shutdown"], cart=CART, cookies=COOKIES, person=PERSON, server=FORM)
    body = posted(report)
    (event,) = body.pop("events")
    (note,) = notes(report)
    assert note == {"milestone": "cart_added", "id": event["event_id"], "properties": event["properties"]}
    assert re.fullmatch("[0-9a-f]{32}", note["id"])
    assert event["properties"] == {
        "contents": [{"content_id": "MUG-S", "content_name": "Café Mug & Co", "quantity": 2, "price": 12}],
        "content_type": "product",
        "num_items": 2,
        "currency": "USD",
        "value": 24,
    }
    assert event["url"] == "https://shop.example.test/product/mug/?a=1"
    assert body.pop("time") == pytest.approx(time.time(), abs=60)
    assert body == {
        "ttclid": CLICK,
        "ttp": TTP,
        "ip": "8.8.4.4",
        "user_agent": "Mozilla/5.0 (Linux; Android 15) Example/1.0",
        "locale": "en-US",
    }
    assert {name: event.get(name) for name in ("email", "phone", "external_id")} == {
        "email": hashlib.sha256(b"jane.doe@example.com").hexdigest(),
        "phone": hashlib.sha256(b"+12125550123").hexdigest(),
        "external_id": hashlib.sha256(b"5").hexdigest(),
    }
    (cookie,) = [one for one in report["set"] if one["name"] == "tiktok_connector_notes"]
    assert cookie["expires"] == pytest.approx(time.time() + 300, abs=60)
    assert not cookie.get("httponly")


@pytest.mark.parametrize(("before", "after", "rest", "more"), [(2, 5, True, 3), (5, 2, True, 0), (2, 5, False, 0)])
def test_more_of_the_same_by_the_store_api(funnel, before, after, rest, more):
    """A block's button adds to a line that is there; of a form WooCommerce fires the other hook as well."""
    step = ["woocommerce_after_cart_item_quantity_update", 0, after, before]
    report = funnel().run(step, ["shutdown"], cart=CART, rest=rest, server=FORM)
    assert [note["properties"]["num_items"] for note in notes(report)] == ([more] if more else [])


def test_two_products_in_one_request_are_two_events(funnel):
    """As a batch of the Store API puts them there: one request to the server, both left to the page."""
    report = funnel().run(ADDED, ["woocommerce_add_to_cart", 1, 10, 1], ["shutdown"], cart=CART, server=FORM)
    assert [event["event_id"] for event in posted(report)["events"]] == [note["id"] for note in notes(report)]
    assert len(notes(report)) == 2


def test_the_parts_of_a_bundle_are_not_told(funnel):
    """The bundle is."""
    cart = [{**CART[0], "bundled_by": "abc"}, {**CART[0], "composite_parent": "abc"}, CART[1]]
    steps = (["woocommerce_add_to_cart", at, 11, 1] for at in range(3))
    (event,) = posted(funnel().run(*steps, ["shutdown"], cart=cart, server=FORM))["events"]
    assert event["properties"]["contents"][0]["content_name"] == "Linen Shirt"


def test_a_cookie_holds_what_it_can(funnel):
    """Browsers take 4,096 characters; the last events stay, and the server hears of all."""
    cart = [{**CART[0], "name": "Tasse in Grün 🎁" * 8}]
    report = funnel().run(*[ADDED] * 9, ["shutdown"], cart=cart, server=FORM)
    kept = [event["event_id"] for event in posted(report)["events"]]
    assert len(kept) == 9
    shown = [note["id"] for note in notes(report)]
    assert 0 < len(shown) < 9
    assert shown == kept[-len(shown) :]


def test_a_server_that_is_down_is_left_alone_for_a_minute(funnel):
    """Each shopper would wait for it otherwise."""
    report = funnel().run(ADDED, ["shutdown"], cart=CART, server=FORM, down=True)
    assert report["transients"]
    assert report["posts"][0]["timeout"] <= 2
    again = funnel().run(ADDED, ["shutdown"], cart=CART, server=FORM, transients=report["transients"])
    assert again["posts"] == []


# --- the payment ----------------------------------------------------------------------------------------------


def test_a_payment_counts_once_for_an_order(funnel):
    """By whichever checkout it is submitted, and however often; value and contents are the order's."""
    found = [posted(funnel().run([hook, "ORDER"], ["shutdown"], order=order("068"), server=FORM)) for hook in PLACING]
    (first,), (second,) = (body["events"] for body in found)
    assert first["event_id"] == second["event_id"]
    assert first["milestone"] == "payment_info_added"
    assert first["properties"]["value"] == float(order("068")["total"])
    assert first["email"] == hashlib.sha256(order("068")["billing"]["email"].lower().encode()).hexdigest()
    assert "order_id" not in first["properties"]


@pytest.mark.parametrize("lines", [3, 20, 50, 120])
def test_a_large_order_is_told_of_with_what_fits(funnel, lines):
    """Names are left out first; the page's copy, a cookie, may then lack the products, which the server's has."""
    like = order("068")["line_items"][0]
    rows = [{**like, "sku": f"SKU-{at:03}", "name": "Футболка мужская, чёрная " * 2} for at in range(lines)]
    report = funnel().run([PLACING[0], "ORDER"], ["shutdown"], order={**order("068"), "line_items": rows}, server=FORM)
    assert len(report["posts"][0]["body"]) <= MAX_BODY
    ((event,), (note,)) = (posted(report)["events"], notes(report))
    server, page = event["properties"], note["properties"]
    known = ("value", "currency", "num_items")
    assert [page[name] for name in known] == [server[name] for name in known]
    assert server["num_items"] == lines * like["quantity"]
    assert [one["content_id"] for one in server["contents"]] == [
        f"SKU-{at:03}" for at in range(min(lines, MAX_CONTENTS))
    ]
    assert ("content_name" in server["contents"][0]) == (lines <= 20)
    if lines == 3:
        assert page == server
    elif lines == 20:
        assert page["contents"] == [{k: v for k, v in one.items() if k != "content_name"} for one in server["contents"]]
    else:
        assert "contents" not in page


def test_a_request_behind_a_page_is_of_that_page(funnel):
    """Of the classic checkout, whose form has another address in a field."""
    report = funnel().run([PLACING[0], "ORDER"], ["shutdown"], order=order("068"), get={"wc-ajax": "checkout"})
    (event,) = posted(report)["events"]
    assert event["url"] == "https://shop.example.test/shop/"


@pytest.mark.parametrize(
    "orders", [{"exclude_gateways": ("cod",)}, {"exclude_email_domains": ("example.com",)}], ids=str
)
def test_what_is_left_out_of_orders_is_left_out_here(funnel, orders):
    store = choose(FUNNEL, "orders", **orders)
    assert funnel(store).run([PLACING[1], "ORDER"], ["shutdown"], order=order("068"), server=FORM)["posts"] == []


# --- a product's page -----------------------------------------------------------------------------------------


def viewed(plugin, **case):
    return plugin.run(["template_redirect"], ["wp_footer"], ["shutdown"], page=MUG, **case)


def test_a_page_for_a_known_browser_is_told_by_php(funnel):
    """The page names the id, and half of the cookie of the browser it was made for."""
    report = viewed(funnel(), cookies=SEEN)
    (event,) = posted(report)["events"]
    page = page_of(report)["page"]
    assert page == {
        "milestone": "product_viewed",
        "properties": event["properties"],
        "id": event["event_id"],
        "visit": VISIT[:16],
    }
    assert event["properties"]["contents"] == [
        {"content_id": "MUG", "content_name": "Café Mug & Saucer", "quantity": 1, "price": 11.9}
    ]
    assert (event["url"], event["referrer"]) == (
        "https://shop.example.test/product/mug/?a=1",
        "https://shop.example.test/shop/",
    )


def test_a_landing_page_names_the_browser_by_http(funnel):
    """So that PHP tells of the very page that an advertisement leads to, also where no script runs."""
    report = viewed(funnel(), get={"ttclid": CLICK})
    visit = report["cookies"]["tiktok_connector_visit"]
    assert page_of(report)["page"]["visit"] == visit[:16]
    (cookie,) = [one for one in report["set"] if one["name"] == "tiktok_connector_visit"]
    assert cookie["expires"] == 0  # with the browser's end
    assert posted(report)["ttclid"] == CLICK


@pytest.mark.parametrize(
    "case",
    [
        {},
        {"cookies": {"tiktok_connector_visit": "x"}},
        {"cookies": SEEN, "server": {"HTTP_SEC_PURPOSE": "prefetch;prerender"}},
        {"cookies": SEEN, "server": {"HTTP_PURPOSE": "prefetch"}},
        {"cookies": SEEN, "server": {"HTTP_X_MOZ": "prefetch"}},
        {"cookies": SEEN, "server": {"REQUEST_METHOD": "HEAD"}},
        {"cookies": SEEN, "person": {"id": 1}},
        {"cookies": SEEN, "consent": REFUSED},
    ],
    ids=["unknown", "no visit", "prefetch", "old prefetch", "Firefox", "HEAD", "staff", "refused"],
)
def test_of_other_pages_the_script_tells(funnel, case):
    """All such pages are equal, whoever asks: a page cache may store any of them."""
    report = viewed(funnel(), **case)
    assert report["posts"] == []
    assert set(page_of(report)["page"]) == {"milestone", "properties"}


def test_a_page_names_neither_visitor_nor_token_nor_key(funnel):
    """Whatever a cache stores is true for everybody."""
    one = viewed(funnel(), person=PERSON, cookies=COOKIES, consent=BANNER)["html"]
    other = viewed(funnel(), consent=REFUSED)["html"]
    assert one == other
    assert funnel_key(FUNNEL) not in one
    assert not re.search(r"p\.\d{10}\.", one)


def test_a_product_of_variations_stands_for_all_of_them(funnel):
    """TikTok's catalogue groups them under the product's own id."""
    page = page_of(funnel().run(["template_redirect"], ["wp_footer"], page=SHIRT))["page"]
    assert page["properties"]["content_type"] == "product_group"
    assert page["properties"]["contents"][0]["content_id"] == "SHIRT"


def test_an_id_of_the_variant_or_the_product(funnel):
    """The cart's line has the variation's id; a page names the product, as nothing is chosen yet."""
    store = choose(FUNNEL, "mapping", content_id="gla_{item_id}")
    other = ["woocommerce_add_to_cart", 1, 10, 1]
    report = funnel(store).run(ADDED, other, ["template_redirect"], ["wp_footer"], cart=CART, page=SHIRT)
    shown = [note["properties"] for note in notes(report)] + [page_of(report)["page"]["properties"]]
    assert [one["contents"][0]["content_id"] for one in shown] == ["gla_12", "gla_10", "gla_20"]


def test_a_page_that_answers_a_form_is_no_new_view(funnel):
    """A product that is put into the cart comes back on the same page."""
    report = viewed(funnel(), cookies=SEEN, server=FORM)
    assert (page_of(report)["page"], report["posts"]) == (None, [])


def test_a_search_is_described(funnel):
    page = page_of(funnel().run(["template_redirect"], ["wp_footer"], page={"search": " mug </script>"}))["page"]
    assert page == {"milestone": "searched", "properties": {"search_string": "mug </script>"}}


@pytest.mark.parametrize(
    "page", [{"search": "ann@example.com"}, {"search": "x" * 201}, {"search": " "}, {"search": "mug", "paged": 1}]
)
def test_what_is_no_search_is_not_told(funnel, page):
    """An address, a text, nothing, and the second page of results."""
    assert page_of(funnel().run(["template_redirect"], ["wp_footer"], page=page))["page"] is None


def test_a_product_without_a_price_has_no_value(funnel):
    """Not 0: TikTok would learn from that."""
    page = page_of(funnel().run(["template_redirect"], ["wp_footer"], page={**MUG, "price": ""}))["page"]
    assert "value" not in page["properties"]
    assert "price" not in page["properties"]["contents"][0]


# --- switches, consent, pixel ---------------------------------------------------------------------------------


def everything(plugin, **case):
    """A visit of all steps."""
    case = {"cart": CART, "order": order("068"), "cookies": SEEN, **case}
    reports = [viewed(plugin, **case), plugin.run(ADDED, [PLACING[0], "ORDER"], ["shutdown"], server=FORM, **case)]
    return [event["milestone"] for report in reports for event in (posted(report) or {"events": []})["events"]]


def test_each_event_has_a_switch(funnel):
    assert everything(funnel()) == ["product_viewed", "cart_added", "payment_info_added"]
    off = FunnelSettings(product_viewed=(), payment_info_added=())
    assert everything(funnel(replace(FUNNEL, funnel=off))) == ["cart_added"]
    assert everything(funnel(WOOCOMMERCE)) == []


@pytest.mark.parametrize("consent", ["required", "not_required"])
def test_a_refusal_sends_and_keeps_nothing(funnel, consent):
    store = replace(FUNNEL, consent=consent)
    assert everything(funnel(store), consent=REFUSED) == []
    report = funnel(store).run(ADDED, ["template_redirect"], cart=CART, consent=REFUSED, get={"ttclid": CLICK})
    assert report["set"] == []
    assert everything(funnel(store), consent=BANNER) == ["product_viewed", "cart_added", "payment_info_added"]


def test_a_no_forgets_what_is_there(funnel):
    """The cookies of the plugin go with the next page that PHP makes."""
    report = viewed(funnel(), consent=REFUSED, cookies={**SEEN, "tiktok_connector_notes": "[]"})
    assert {one["name"] for one in report["set"] if one["expires"] == 1} == {
        "ttclid",
        "tiktok_connector_visit",
        "tiktok_connector_notes",
    }


def test_without_the_pixel_nothing_is_left_to_the_page(funnel):
    report = funnel(with_pixel=False).run(ADDED, ["shutdown"], cart=CART, server=FORM)
    assert posted(report)["events"]
    assert notes(report) == []


# --- the token ------------------------------------------------------------------------------------------------


def test_the_script_is_given_a_token_that_the_server_takes(funnel):
    """For half an hour, with the hash of who is signed in; another one each time."""
    first, second = (funnel().run(["wc_ajax_connector_token"], person=PERSON)["answer"] for _ in range(2))
    assert check_token(first["token"], FUNNEL, "8.8.8.8", time.time())
    assert first["expires"] == pytest.approx(time.time() + 1800, abs=60)
    assert first["external_id"] == hashlib.sha256(b"5").hexdigest()
    assert first["token"] != second["token"]
    for case in ({"consent": REFUSED}, {"person": {"id": 1}}):  # the latter is staff
        assert funnel().run(["wc_ajax_connector_token"], **case)["answer"] == {"token": ""}
    assert funnel(WOOCOMMERCE).run(["wc_ajax_connector_token"]).get("answer") is None


def test_the_key_is_neither_secret_nor_token(funnel):
    """The file holds what is derived from the webhooks' secret, for this one use."""
    code = snippet(FUNNEL, "woocommerce", BASE)
    assert funnel_key(FUNNEL) in code
    assert FUNNEL.webhook_secrets[0] not in code
    assert funnel_key(FUNNEL) not in snippet(WOOCOMMERCE, "woocommerce", BASE)
