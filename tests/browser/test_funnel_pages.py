"""The WooCommerce plugin's script before the order, in a real browser: also in cached pages, and with a blocker."""

import re
import threading
import time
from dataclasses import replace

import pytest

from tests.browser.funnel_shop import FUNNEL, beacon_event, ids, product
from tests.browser.plugin import CART, TTP, page_of
from tests.browser.server_side import CODE, WOOCOMMERCE
from tests.browser.storefront import PATIENCE
from tests.browser.test_shop_pages import ALLOW, banner_of
from tests.browser.test_woocommerce_funnel import ADDED, FORM, MUG, VISIT, notes, posted
from tests.support.snippets import snippet

CLICK = "E.C.P.CtoBExample_0123"
DENY = ALLOW.replace("allow", "deny")
OURS = ("ttclid", "tiktok_connector_visit", "tiktok_connector_notes")


# --- a product's page -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("blocked", [False, True], ids=["open", "ad-blocked"])
def test_a_page_that_php_did_not_tell_of(storefront, shop, blocked):
    """Its first page, or one from a cache: the script makes the id, and tells the pixel and the server."""
    storefront.blocked = blocked
    storefront.set_cookie("ttclid", CLICK)
    storefront.set_cookie("_ttp", TTP)
    storefront.open_page("/product/mug", product(shop())["html"])
    event = beacon_event(storefront)
    assert event["url"] == f"{storefront.url}/product/mug"
    if not blocked:
        (call,) = storefront.tracked(1)
        assert call.pixel == CODE
        assert call.arguments == ["ViewContent", event["properties"], {"event_id": event["event_id"]}]
    assert re.fullmatch("[0-9a-f]{32}", storefront.cookies()["tiktok_connector_visit"])
    assert storefront.no_beacon()


def test_what_the_servers_copy_carries(storefront, shop):
    """Click, TikTok's cookie, browser, and who is signed in, as the shop says; the token is asked for once."""
    storefront.set_cookie("ttclid", CLICK)
    storefront.set_cookie("_ttp", TTP)
    html = product(shop())["html"]
    storefront.open_page("/product/mug", html)
    first = storefront.beacon()
    assert {name: value for name, value in first.body.items() if name != "events"} == {
        "token": "p.0",
        "ttclid": CLICK,
        "ttp": TTP,
        "user_agent": "Mozilla/5.0 (Linux; Android 15) Example/1.0",
        "locale": "",
        "external_id": "0" * 64,
    }
    assert "cookie" not in first.headers
    storefront.page.reload()
    assert storefront.beacon().body["token"] == "p.0"
    assert storefront.beacons.empty()


def test_a_page_that_php_told_of(storefront, shop):
    """The pixel gets PHP's id, the server nothing more."""
    storefront.set_cookie("tiktok_connector_visit", VISIT)
    report = product(shop(), cookies={"tiktok_connector_visit": VISIT})
    storefront.open_page("/product/mug", report["html"])
    assert ids(storefront, 1) == [posted(report)["events"][0]["event_id"]]
    assert storefront.no_beacon()
    assert not storefront.tokens  # PHP knows that a shopper looks at it


@pytest.mark.parametrize("visit", [VISIT[::-1], ""], ids=["another browser", "a new one"])
def test_a_cached_page_of_another_browser(storefront, shop, visit):
    """Its id is not taken: TikTok would drop all but the first."""
    if visit:
        storefront.set_cookie("tiktok_connector_visit", visit)
    report = product(shop(), cookies={"tiktok_connector_visit": VISIT})
    storefront.open_page("/product/mug", report["html"])
    event = beacon_event(storefront)
    assert event["event_id"] != page_of(report)["page"]["id"]
    assert ids(storefront, 1) == [event["event_id"]]


def test_a_cached_page_comes_again(storefront, shop):
    """The browser that it was made for sees it a second time: another view, under an id of its own."""
    storefront.set_cookie("tiktok_connector_visit", VISIT)
    report = product(shop(), cookies={"tiktok_connector_visit": VISIT})
    storefront.open_page("/product/mug", report["html"])
    first = ids(storefront, 1)
    storefront.page.reload()
    event = beacon_event(storefront)
    assert ids(storefront, 1) == [event["event_id"]] != first


def test_a_search_is_told(storefront, shop):
    report = shop().run(["template_redirect"], ["wp_footer"], page={"search": "mug"})
    storefront.open_page("/?s=mug&post_type=product", report["html"])
    event = beacon_event(storefront)
    (call,) = storefront.tracked(1)
    assert call.arguments == ["Search", {"search_string": "mug"}, {"event_id": event["event_id"]}]


STAFF = {"token": ""}  # the shop's answer to them, as test_woocommerce_funnel.py shows


@pytest.mark.parametrize("page", [MUG, {"search": "mug"}], ids=["product", "search"])
def test_of_staff_nothing_is_sent(storefront, shop, page):
    """A page that may come from a cache is the same for all: the shop's answer says who looks at it."""
    storefront.permit = lambda: STAFF
    storefront.open_page("/product/mug", shop().run(["template_redirect"], ["wp_footer"], page=page)["html"])
    storefront.until(lambda: storefront.tokens)
    assert storefront.no_beacon()
    assert storefront.tracked() == []


def test_a_shop_that_gives_no_answer_loses_the_servers_copy_alone(storefront, shop):
    storefront.context.route(re.compile("connector_token"), lambda route: route.abort())
    storefront.open_page("/product/mug", product(shop())["html"])
    assert storefront.tracked(1)[0].arguments[0] == "ViewContent"
    assert storefront.no_beacon()


def test_consent_that_is_withdrawn_meanwhile_counts(storefront, shop):
    """While the shop is asked."""
    answered = threading.Event()
    storefront.permit = lambda: answered.wait(PATIENCE) and {"token": "p.late", "expires": time.time() + 1800}
    storefront.open_page("/product/mug", banner_of("allow") + product(shop())["html"])
    storefront.page.wait_for_function("window.tiktok.length > 0")
    storefront.page.evaluate(DENY)
    answered.set()
    storefront.until(lambda: storefront.tokens)
    assert storefront.no_beacon()
    assert storefront.tracked() == []


def test_a_token_that_is_refused_is_renewed(storefront, shop):
    storefront.refused.add("p.0")
    storefront.open_page("/product/mug", product(shop())["html"])
    first, second = storefront.beacon().body, storefront.beacon().body
    assert (first["token"], second["token"]) == ("p.0", "p.1")
    assert first["events"] == second["events"]


# --- the cart -------------------------------------------------------------------------------------------------


def note_of(plugin):
    """What PHP leaves to the script, as its cookie."""
    report = plugin.run(ADDED, ["shutdown"], cart=CART, server=FORM)
    (note,) = notes(report)
    return report["cookies"]["tiktok_connector_notes"], note


def test_the_page_after_a_form_tells_the_pixel(storefront, shop):
    """Under PHP's id, once, whichever page it is: it may come from a cache."""
    text, note = note_of(shop())
    storefront.set_cookie("tiktok_connector_notes", json_cookie(text))
    html = shop().run(["wp_footer"])["html"]
    storefront.open_page("/cart", html)
    (call,) = storefront.tracked(1)
    assert call.arguments == ["AddToCart", note["properties"], {"event_id": note["id"]}]
    assert "tiktok_connector_notes" not in storefront.cookies()
    storefront.open_page("/cart", html)
    storefront.page.wait_for_load_state("networkidle")
    assert storefront.tracked() == []
    assert storefront.no_beacon()


HEARD = {
    "classic": "window.heard.forEach((one) => one())",
    "blocks": "document.body.dispatchEvent(new CustomEvent('wc-blocks_added_to_cart'))",
    "other code": "undefined",  # the browser itself tells of the cookie
    "back": "window.dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))",
}
JQUERY = """<script>
  window.heard = [];
  window.jQuery = (node) => ({on: (name, heard) => name === "added_to_cart" && window.heard.push(heard)});
</script>"""


@pytest.mark.parametrize("by", HEARD)
def test_a_product_added_without_loading_a_page(storefront, shop, by):
    """The answer to the request sets the cookie; the script hears of it."""
    text, note = note_of(shop())
    if by != "other code":
        storefront.context.add_init_script("delete window.cookieStore")
    storefront.open_page("/shop", JQUERY + shop().run(["wp_footer"])["html"])
    storefront.page.wait_for_function("window.tiktok.length > 0")  # a Pageview: the script has begun
    storefront.page.evaluate("text => { document.cookie = 'tiktok_connector_notes=' + text }", json_cookie(text))
    storefront.page.evaluate(HEARD[by])
    (call,) = storefront.tracked(1)
    assert call.arguments[2]["event_id"] == note["id"]
    storefront.page.evaluate(HEARD[by])
    assert len(storefront.tracked()) == 1
    assert storefront.no_beacon()


# A busy machine may need longer for the next page than a page that is being left has.
LONG_TIMERS_WAIT = """window.waiting = [];
const setTimer = window.setTimeout;
window.setTimeout = (then, wait = 0, ...more) => (wait >= 500 ? waiting.push(then) : setTimer(then, wait, ...more));"""


def test_a_page_that_is_being_left_tells_nothing(storefront, shop):
    """It hears of the next page's cookie, but what it sends may be lost, so it waits; the next page tells."""
    text, note = note_of(shop())
    html = shop().run(["wp_footer"])["html"]
    storefront.open_page("/cart", html)
    storefront.page.close()
    storefront.context.add_init_script(LONG_TIMERS_WAIT)
    storefront.open_page("/shop", html)
    storefront.page.wait_for_function("window.tiktok.length > 0")
    before = storefront.page.evaluate("window.waiting.length")
    storefront.page.evaluate("window.ttq.instance = () => ({identify: () => {}, track: () => document.title = 'lost'})")
    storefront.page.evaluate("text => { document.cookie = 'tiktok_connector_notes=' + text }", json_cookie(text))
    storefront.page.wait_for_function("before => window.waiting.length > before", arg=before)
    storefront.page.goto(f"{storefront.url}/cart")
    assert ids(storefront, 1) == [note["id"]]


@pytest.mark.parametrize("text", ["{", "7", "[7]", '[{"milestone": "order_paid", "id": "x"}]', '{"id": "x"}'])
def test_a_cookie_that_php_did_not_write_tells_nothing(storefront, shop, text):
    storefront.set_cookie("tiktok_connector_notes", json_cookie(text))
    storefront.open_page("/shop", shop().run(["wp_footer"])["html"])
    storefront.page.wait_for_function("window.tiktok.length > 0")
    assert storefront.tracked() == []


def json_cookie(text):
    """As PHP's setcookie encodes it."""
    return "".join(letter if letter.isalnum() else f"%{ord(letter):02X}" for letter in text)


# --- consent --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("consent", "banner"), [("required", ""), ("required", "deny"), ("not_required", "deny")])
def test_without_consent_nothing_is_sent_or_kept(storefront, shop, consent, banner):
    store = replace(FUNNEL, consent=consent)
    storefront.open_page(f"/product/mug?ttclid={CLICK}", banner_of(banner) + product(shop(store))["html"])
    storefront.page.wait_for_load_state("networkidle")
    assert storefront.no_beacon()
    assert storefront.scripts == 0
    assert storefront.cookies() == {}
    assert storefront.page.evaluate("localStorage.length + sessionStorage.length") == 0
    assert not storefront.tokens


def test_a_later_yes_catches_up_with_this_page_only(storefront, shop):
    """Not with the page before; and once."""
    store = replace(FUNNEL, consent="required")
    html = banner_of("later") + product(shop(store))["html"]
    storefront.open_page("/product/shirt", html)
    storefront.open_page("/product/mug", html)
    storefront.page.evaluate("window.wp_has_consent = () => true")
    storefront.page.evaluate(ALLOW)
    event = beacon_event(storefront)
    assert event["url"] == f"{storefront.url}/product/mug"
    storefront.page.evaluate(ALLOW)
    assert ids(storefront, 1) == [event["event_id"]]
    assert storefront.no_beacon()


def test_a_no_forgets_what_was_stored(storefront, shop):
    storefront.open_page(f"/product/mug?ttclid={CLICK}", banner_of("allow") + product(shop())["html"])
    assert storefront.beacon().body["consent"] == "granted"
    assert "ttclid" in storefront.cookies()
    storefront.page.evaluate(DENY)
    assert not {*OURS} & {*storefront.cookies()}
    assert storefront.page.evaluate("sessionStorage.length") == 0


@pytest.mark.parametrize("domain", ["", ".www.shop.localhost", ".shop.localhost"])
def test_a_no_of_another_page_deletes_the_cookie_too(storefront, shop, domain):
    """Of the click, whoever has set it, for this host or for the whole domain."""
    plugin = shop()
    storefront.url = storefront.url.replace("127.0.0.1", "www.shop.localhost")
    if domain:
        cookie = {"name": "ttclid", "value": CLICK, "domain": domain, "path": "/"}
        storefront.context.add_cookies([cookie])
    else:
        storefront.set_cookie("ttclid", CLICK)
    storefront.open_page("/product/mug", banner_of("deny") + product(plugin)["html"])
    storefront.page.wait_for_load_state("networkidle")
    assert storefront.cookies() == {}


# --- a shop on the server's own domain ------------------------------------------------------------------------


@pytest.mark.parametrize("cached", [True, False], ids=["from a cache", "by PHP"])
def test_a_server_on_the_shops_own_site_sets_the_click_by_http(storefront, shop, cached):
    """Where no PHP has; then its events bring the cookies themselves."""
    html = product(shop())["html"].replace(r'"first_party":false', r'"first_party":true')
    if not cached:
        storefront.set_cookie("ttclid", CLICK)
    storefront.open_page(f"/product/mug?ttclid={CLICK}", html)
    found = [storefront.beacon() for _ in range(2 if cached else 1)]
    kept = [one.body for one in found if not one.body["events"]]
    assert kept == ([{"events": [], "ttclid": CLICK}] if cached else [])
    assert f"ttclid={CLICK}" in found[-1].headers["cookie"]
    assert storefront.no_beacon()


def test_no_page_needs_an_address_without_a_funnel(shop):
    """The shop itself sends the signals of a checkout."""
    assert "/collect/" not in snippet(WOOCOMMERCE, "woocommerce")
