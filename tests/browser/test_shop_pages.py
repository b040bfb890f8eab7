"""What the WooCommerce plugin prints, and the plain snippet, in pages of a real browser."""

import json
from dataclasses import replace

import pytest

from connector.core.store import EventIdTemplates, Pixel
from tests.browser.plugin import Plugin, order
from tests.browser.server_side import CODE, OTHER, SHOPIFY, WOOCOMMERCE, choose, served
from tests.browser.test_woocommerce_plugin import CART, PERSON
from tests.support.snippets import snippet

PAID_BY_CARD = {**order("068"), "payment_method": "stripe", "date_paid_gmt": order("068")["date_created_gmt"]}
OWN_PIXEL = """<script>
  window.ttq = [];
  window.ttq._i = {OWNPIXEL0123456789: []};
  window.ttq.instance = (code) => window.ttq._i[code];
  for (const name of ["page", "track", "identify"]) {
    window.ttq[name] = (...given) => window.ttq.push([name, ...given]);
  }
  window.loaded = [];
  window.ttq.load = (code) => {
    window.loaded.push(code);
    window.ttq._i[code] = {track: (...given) => window.ttq.push(["instance track", code, ...given])};
  };
</script>"""


@pytest.fixture
def plugin(php, tmp_path):
    return lambda store=WOOCOMMERCE: Plugin(php, tmp_path, store)


def pair(call):
    return call.pixel, call.arguments[0], call.arguments[2]["event_id"]


def test_a_funnel_in_the_browser_is_the_servers(storefront, plugin):
    """Checkout, then the thank-you page of a paid order: pixel, names, event_ids and properties of the webhooks."""
    checkout = plugin().checks_out(cart=CART, person=PERSON)
    storefront.open_page("/checkout", checkout["html"])
    (started,) = storefront.tracked(1)
    body = {"action": "wc_tiktok_initiate_checkout", "arg": checkout["fired"][0]}
    (item,) = served(WOOCOMMERCE, "action.wc_tiktok_initiate_checkout", body).values()
    assert pair(started) == (CODE, "InitiateCheckout", item["event_id"])
    assert started.arguments[1] == item["properties"]

    storefront.open_page("/order-received", plugin().thanks(PAID_BY_CARD)["html"])
    items = served(WOOCOMMERCE, "order.updated", PAID_BY_CARD)
    assert {pair(call) for call in storefront.tracked(2)} == {
        (CODE, name, found["event_id"]) for name, found in items.items()
    }
    assert set(items) == {"PlaceAnOrder", "Purchase"}
    assert storefront.tracked()[1].arguments[1] == items["Purchase"]["properties"]
    assert storefront.identified()[0]["email"] == items["Purchase"]["user"]["email"]


def test_a_reload_fires_nothing(storefront, plugin):
    """The page that WordPress makes of an order it has told already has no pixel in it."""
    first = plugin().thanks(PAID_BY_CARD)
    storefront.open_page("/order-received", first["html"])
    storefront.tracked(2)
    again = plugin().thanks({**PAID_BY_CARD, "meta_data": first["meta"]})
    storefront.open_page("/order-received", again["html"])
    storefront.page.wait_for_load_state("networkidle")
    assert not storefront.calls()


def test_what_is_not_paid_is_no_purchase(storefront, plugin):
    """Cash on delivery: placed only."""
    storefront.open_page("/order-received", plugin().thanks(order("068"))["html"])
    assert [call.arguments[0] for call in storefront.tracked(1)] == ["PlaceAnOrder"]


def test_two_pixels_are_told_each(storefront, plugin):
    """And the page view once, of the base code that we are then."""
    store = replace(WOOCOMMERCE, pixels=(Pixel(CODE, "one"), Pixel(OTHER, "two")))
    storefront.open_page("/order-received", plugin(store).thanks(order("068"))["html"])
    assert {call.pixel for call in storefront.tracked(2)} == {CODE, OTHER}
    assert [call.method for call in storefront.calls()].count("page") == 1


def test_a_pixel_that_runs_already_stays_the_only_base_code(storefront, plugin):
    """No second page view, our code loaded into it, and events to our pixel alone."""
    storefront.open_page("/order-received", OWN_PIXEL + plugin().thanks(order("068"))["html"])
    assert storefront.page.evaluate("window.loaded") == [CODE]
    calls = storefront.page.evaluate("window.ttq")
    assert [call[0] for call in calls] == ["identify", "instance track"]
    assert calls[1][1] == CODE


def test_what_a_shopper_wrote_stays_a_text(storefront, plugin):
    """Nothing of an order can end the script and become a page of its own."""
    store = choose(WOOCOMMERCE, event_id=EventIdTemplates("{meta:said}", "{checkout_token}", "{customer_id}"))
    said = "<!-- <script></script><script>document.title='taken'</script>'\"&\u2028"
    body = {**order("068"), "meta_data": [{"id": 1, "key": "said", "value": said}]}
    storefront.open_page("/order-received", plugin(store).thanks(body)["html"])
    assert storefront.tracked(1)[0].arguments[2]["event_id"] == said
    assert storefront.page.title() == "Acme"


@pytest.mark.parametrize(
    ("consent", "banner", "kept"),
    [
        ("not_required", "", True),
        ("required", "", False),
        ("required", "allow", True),
        ("not_required", "deny", False),
        ("required", "later", True),
    ],
)
def test_a_landing_page_from_a_cache_is_remembered_too(storefront, plugin, consent, banner, kept):
    """The click id goes into a first-party cookie as the store's rule and the shop's banner let it."""
    html = plugin(choose(WOOCOMMERCE, consent=consent)).run(["wp_footer"])["html"]
    if banner:
        answer = json.dumps(banner == "allow")
        html = f"<script>wp_consent_type = 'optin'; wp_has_consent = () => {answer};</script>{html}"
    storefront.open_page("/?ttclid=E.C.P.CtoBExample%252B", html)
    if banner == "later":
        assert "ttclid" not in storefront.cookies()
        storefront.page.evaluate(
            "document.dispatchEvent(new CustomEvent('wp_listen_for_consent_change', {detail: {marketing: 'allow'}}))"
        )
    assert storefront.cookies() == ({"ttclid": "E.C.P.CtoBExample%252B"} if kept else {})


# --- the plain snippet ----------------------------------------------------------------------------------------


def test_the_plain_snippet_makes_the_servers_ids(storefront):
    """For a pixel of the shop's own, by the store's templates; "" where a part is missing."""
    store = choose(
        SHOPIFY, event_id=EventIdTemplates("o {order_id} {attribute:a} </script>", "{checkout_token}", "{customer_id}")
    )
    storefront.open_page("/", f"<script>{snippet(store, 'plain', storefront.url)}</script>")
    make = storefront.page.evaluate
    assert make("connectorEventId('order', {order_id: 1001, 'attribute:a': ' b '})") == "o 1001 b </script>"
    assert make("connectorEventId('order', {order_id: 1001})") == ""
    assert make("connectorEventId('checkout', {checkout_token: 'abc'})") == "abc"
    assert make("connectorEventId('nothing', {})") == ""


def test_the_plain_snippet_sends_signals(storefront):
    """The same beacon; after a refusal the token and the no alone."""
    storefront.open_page("/", f"<script>{snippet(SHOPIFY, 'plain', storefront.url)}</script>")
    storefront.page.evaluate("connectorSignals({checkout_token: 't1', ttclid: 'E.C.P.x', consent: 'granted'})")
    beacon = storefront.beacon()
    assert beacon.path == "/collect/acme"
    assert beacon.headers["content-type"] == "text/plain;charset=UTF-8"
    assert beacon.body == {"checkout_token": "t1", "ttclid": "E.C.P.x", "consent": "granted"}
    storefront.page.evaluate("connectorSignals({checkout_token: 't1', ttclid: 'E.C.P.x', consent: 'denied'})")
    assert storefront.beacon().body == {"checkout_token": "t1", "consent": "denied"}
    storefront.page.evaluate("connectorSignals({ttclid: 'E.C.P.x'})")
    assert storefront.no_beacon()
