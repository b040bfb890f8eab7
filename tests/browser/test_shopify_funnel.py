"""The printed Shopify pixel before the order: two copies of an event under one event_id, as consent lets it."""

import re
from dataclasses import replace

import pytest

from connector.core.store import FunnelSettings
from connector.funnel.beacon import MAX_CONTENTS
from connector.web.funnel_endpoint import MAX_BODY
from tests.browser.server_side import SHOPIFY, choose, shopify_body
from tests.browser.shopify_checkout import checkout
from tests.browser.storefront import ALLOWED, REFUSED
from tests.support.snippets import snippet

FUNNEL = replace(SHOPIFY, signals=None, funnel=FunnelSettings())
ORDER = shopify_body("orders/paid")
CHECKOUT = checkout(shopify_body("checkouts/create"))
LINE = checkout(ORDER, ORDER["id"])["lineItems"][0]
CUSTOMER = {"id": "77", "email": "Ann@Example.com"}
CLICK, TTP = "E.C.P.CtoBExample_0123", "01JEXAMPLE0000000000000000_.tt.1"
STEPS = {
    "ViewContent": ("product_viewed", {"productVariant": LINE["variant"]}),
    "AddToCart": ("product_added_to_cart", {"cartLine": {"merchandise": LINE["variant"], "quantity": 2}}),
    "Search": ("search_submitted", {"searchResult": {"query": " merino hat ", "productVariants": []}}),
    "AddPaymentInfo": ("payment_info_submitted", {"checkout": CHECKOUT}),
}
MILESTONES = {
    "ViewContent": "product_viewed",
    "AddToCart": "cart_added",
    "Search": "searched",
    "AddPaymentInfo": "payment_info_added",
}


def printed(front, store=FUNNEL):
    return snippet(store, "shopify", front.url)


def walk(front, *names):
    for name in names or STEPS:
        step, data = STEPS[name]
        front.tell(step, **data)


def events_of(front, number):
    """The server's copies in so many beacons, by milestone."""
    found = [event for _ in range(number) for event in front.beacon().body["events"]]
    return {event["milestone"]: event for event in found}


def test_both_copies_are_one_event(storefront):
    """Pixel, name and event_id, value and contents are the same here and there; each event has an id of its own."""
    storefront.set_cookie("_ttp", TTP)
    storefront.open_shopify(printed(storefront), customer=CUSTOMER, path=f"/products/hat?ttclid={CLICK}")
    walk(storefront)
    calls = {call.arguments[0]: call.arguments for call in storefront.tracked(4)}
    events = events_of(storefront, 4)
    assert {MILESTONES[name]: given[1:] for name, given in calls.items()} == {
        milestone: [event["properties"], {"event_id": event["event_id"]}] for milestone, event in events.items()
    }
    ids = {event["event_id"] for event in events.values()}
    assert len(ids) == 4
    assert all(re.fullmatch("[0-9a-f]{32}", one) for one in ids)
    assert events["searched"]["properties"] == {"search_string": "merino hat"}
    price = LINE["variant"]["price"]["amount"]
    assert events["cart_added"]["properties"]["value"] == pytest.approx(2 * price)
    assert events["product_viewed"]["properties"]["contents"][0]["content_id"] == LINE["variant"]["id"]
    assert events["product_viewed"]["url"] == f"{storefront.url}/products/hat?ttclid={CLICK}"


def test_an_id_of_the_variant_or_the_product(storefront):
    """Shopify's variants have ids of their own; a product without one is named by its own."""
    store = choose(FUNNEL, "mapping", content_id="gla_{item_id}")
    storefront.open_shopify(printed(storefront, store))
    walk(storefront, "ViewContent")
    storefront.tell("product_viewed", productVariant={**LINE["variant"], "id": None})
    found = [call.arguments[1]["contents"][0]["content_id"] for call in storefront.tracked(2)]
    assert found == [f"gla_{LINE['variant']['id']}", f"gla_{LINE['variant']['product']['id']}"]


@pytest.mark.parametrize("blocked", [False, True], ids=["open", "ad-blocked"])
def test_what_the_servers_copy_carries(storefront, blocked):
    """Click, browser and signed-in customer, also where TikTok's script is blocked. One token, and no cookie."""
    storefront.blocked = blocked
    storefront.set_cookie("_ttp", TTP)
    storefront.open_shopify(printed(storefront), customer=CUSTOMER, path=f"/?ttclid={CLICK}")
    walk(storefront, "ViewContent")
    beacon = storefront.beacon()
    assert beacon.path == "/collect/acme/event"
    assert beacon.headers["content-type"] == "text/plain;charset=UTF-8"
    assert "cookie" not in beacon.headers
    body = {name: value for name, value in beacon.body.items() if name != "events"}
    external_id = body.pop("external_id")
    assert re.fullmatch("[0-9a-f]{64}", external_id)
    assert body == {
        "token": storefront.tokens[0],
        "ttclid": CLICK,
        "ttp": TTP,
        "user_agent": "Mozilla/5.0 (Linux; Android 15) Example/1.0",
        "locale": "en-US",
        "consent": "granted",
    }
    if not blocked:
        storefront.tracked(1)
        assert storefront.identified()[0]["external_id"] == external_id
    storefront.pages["/products/hat"] = storefront.pages["/"]
    storefront.page.goto(f"{storefront.url}/products/hat")  # in the same tab
    storefront.page.wait_for_function("window.sandboxed !== undefined")
    walk(storefront, "AddToCart")
    again = storefront.beacon().body
    assert (again["token"], again["ttclid"]) == (storefront.tokens[0], CLICK)
    assert len(storefront.tokens) == 1


def test_a_token_that_is_used_up_is_renewed_once(storefront):
    """The event that was refused is sent again with the new one, under the same id."""
    storefront.refused.add("a.0")
    storefront.open_shopify(printed(storefront))
    walk(storefront, "ViewContent")
    first, second = storefront.beacon().body, storefront.beacon().body
    assert (first["token"], second["token"]) == ("a.0", "a.1")
    assert first["events"] == second["events"]
    storefront.refused.add("a.1")
    storefront.refused.add("a.2")
    walk(storefront, "AddToCart")
    assert [storefront.beacon().body["token"] for _ in range(2)] == ["a.1", "a.2"]
    assert storefront.no_beacon()


def test_a_checkouts_payment_counts_once(storefront):
    """However often it is tried, on whichever page; another checkout's counts, too."""
    storefront.open_shopify(printed(storefront))
    walk(storefront, "AddPaymentInfo", "AddPaymentInfo")
    storefront.open_shopify(printed(storefront), path="/checkouts/cn/again")
    walk(storefront, "AddPaymentInfo")
    other = {**CHECKOUT, "token": "f00dfeedf00dfeedf00dfeedf00dfeed"}
    storefront.tell("payment_info_submitted", checkout=other)
    (call,) = storefront.tracked(1)
    ids = [storefront.beacon().body["events"][0]["event_id"] for _ in range(2)]
    assert call.arguments[2]["event_id"] == ids[1]
    assert storefront.no_beacon()


@pytest.mark.parametrize("lines", [3, 60, 400])
def test_a_large_checkout_is_told_of_with_what_fits(storefront, lines):
    """Names are left out first, then products that the server does not read."""
    titled = [{**LINE, "title": "Футболка мужская, чёрная " * 4, "id": str(at)} for at in range(lines)]
    storefront.open_shopify(printed(storefront))
    storefront.tell("payment_info_submitted", checkout={**CHECKOUT, "lineItems": titled})
    beacon = storefront.beacon()
    assert int(beacon.headers["content-length"]) <= MAX_BODY
    server, (call,) = beacon.body["events"][0]["properties"], storefront.tracked(1)
    shown = call.arguments[1]
    assert {**server, "contents": shown["contents"]} == shown
    assert [one["content_id"] for one in server["contents"]] == [LINE["variant"]["id"]] * min(lines, MAX_CONTENTS)
    assert ("content_name" in server["contents"][0]) == (lines == 3)


def test_what_is_left_out_of_orders_is_left_out_here(storefront):
    """A payment in a checkout that the store excludes."""
    store = choose(FUNNEL, "orders", exclude_email_domains=("example.com",))
    storefront.open_shopify(printed(storefront, store))
    storefront.tell("payment_info_submitted", checkout={**CHECKOUT, "email": "Ann@example.com"})
    walk(storefront, "ViewContent")
    assert list(events_of(storefront, 1)) == ["product_viewed"]
    assert [call.arguments[0] for call in storefront.tracked(1)] == ["ViewContent"]


def test_each_event_has_a_switch_and_names(storefront):
    """Off is off on both sides; several names are several events of the browser under one id."""
    funnel = FunnelSettings(product_viewed=("ViewContent", "Browse"), cart_added=(), searched=())
    storefront.open_shopify(printed(storefront, replace(FUNNEL, funnel=funnel)))
    walk(storefront, "Search", "AddToCart", "ViewContent")
    names = [call.arguments[0] for call in storefront.tracked(2)]
    assert names == ["ViewContent", "Browse"]
    assert list(events_of(storefront, 1)) == ["product_viewed"]
    assert storefront.no_beacon()


def test_without_a_funnel_the_browser_alone_is_told(storefront):
    """ViewContent and AddToCart, as ever; nothing to this server, which expects nothing."""
    storefront.open_shopify(printed(storefront, replace(FUNNEL, funnel=None)))
    walk(storefront)
    assert [call.arguments[0] for call in storefront.tracked(2)] == ["ViewContent", "AddToCart"]
    assert storefront.no_beacon()
    assert not storefront.tokens


@pytest.mark.parametrize("query", ["ann@example.com", "x" * 201, " ", None])
def test_what_is_no_search_is_not_told(storefront, query):
    """An address, a text, nothing: neither to the pixel nor to the server."""
    storefront.open_shopify(printed(storefront))
    storefront.tell("search_submitted", searchResult={"query": query})
    walk(storefront, "ViewContent")
    assert [call.arguments[0] for call in storefront.tracked(1)] == ["ViewContent"]
    assert list(events_of(storefront, 1)) == ["product_viewed"]


# --- consent --------------------------------------------------------------------------------------------------


def test_a_refusal_sends_and_keeps_nothing(storefront):
    """Neither to TikTok nor to us; no cookie, no token, nothing in the browser's storage."""
    storefront.open_shopify(printed(storefront), privacy=REFUSED, path=f"/?ttclid={CLICK}")
    walk(storefront)
    assert storefront.no_beacon()
    assert storefront.scripts == 0
    assert not storefront.tokens
    assert storefront.cookies() == {}
    assert storefront.page.evaluate("localStorage.length + sessionStorage.length") == 0


def test_a_later_yes_catches_up_with_this_page_only(storefront):
    """What happened on the page before is forgotten."""
    storefront.open_shopify(printed(storefront), privacy=REFUSED)
    walk(storefront, "ViewContent")
    storefront.open_shopify(printed(storefront), privacy=REFUSED, path="/products/hat")
    walk(storefront, "AddToCart")
    assert storefront.no_beacon()
    storefront.answer_consent(ALLOWED)
    assert list(events_of(storefront, 1)) == ["cart_added"]
    assert [call.arguments[0] for call in storefront.tracked(1)] == ["AddToCart"]
    storefront.answer_consent(REFUSED)
    walk(storefront, "Search")
    assert storefront.no_beacon()


def test_a_no_forgets_what_was_stored(storefront):
    """Cookie, token, and which checkouts were sent."""
    storefront.open_shopify(printed(storefront), path=f"/?ttclid={CLICK}")
    walk(storefront, "AddPaymentInfo")
    storefront.beacon()
    stored = "localStorage.length + sessionStorage.length"
    assert storefront.page.evaluate(stored) == 2
    storefront.answer_consent(REFUSED)
    storefront.page.wait_for_function(f"{stored} === 0")
    assert storefront.cookies() == {}


# --- the click id ---------------------------------------------------------------------------------------------


def first_party(front):
    """The pixel of a shop whose own domain has a path to this server."""
    return printed(front).replace('"first_party": false', '"first_party": true')


def test_a_server_on_the_shops_own_site_is_asked_for_the_cookie(storefront):
    """From the page around the sandbox, whose requests carry cookies; once for a click."""
    storefront.open_shopify(first_party(storefront), path=f"/?ttclid={CLICK}")
    storefront.tell("page_viewed")
    beacon = storefront.beacon()
    assert beacon.path == "/collect/acme/event"
    assert beacon.headers["origin"] == storefront.url
    assert beacon.body == {"events": [], "ttclid": CLICK, "consent": "granted"}
    storefront.open_shopify(first_party(storefront), path=f"/again?ttclid={CLICK}")
    storefront.tell("page_viewed")
    assert storefront.no_beacon()


@pytest.mark.parametrize("there", [True, False], ids=["this click", "an older one"])
def test_a_cookie_set_by_http_is_not_written_again(storefront, there):
    """Safari keeps a script's cookies for a day after a click. An older click's cookie gives way."""
    storefront.set_cookie("ttclid", CLICK if there else "E.C.P.older")
    storefront.open_shopify(printed(storefront), path=f"/?ttclid={CLICK}")
    storefront.tell("page_viewed")
    assert storefront.cookies()["ttclid"] == CLICK
    (cookie,) = storefront.context.cookies()
    assert (cookie["expires"] == -1) == there  # the test's own cookie ends with the session
