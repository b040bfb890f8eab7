"""What the WooCommerce plugin prints, and the plain snippet, in pages of a real browser."""

import hashlib
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
    window.ttq._i[code] = [];
    for (const name of ["track", "identify"]) {
      window.ttq._i[code][name] = (...given) => window.ttq.push(["instance " + name, code, ...given]);
    }
  };
</script>"""


ALLOW = "document.dispatchEvent(new CustomEvent('wp_listen_for_consent_change', {detail: {marketing: 'allow'}}))"


def banner_of(answer):
    """A consent banner with this answer; none for ""."""
    given = json.dumps(answer == "allow")
    return answer and f"<script>wp_consent_type = 'optin'; wp_has_consent = () => {given};</script>"


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
    """The page that WordPress makes of an order it has told already has no event in it."""
    first = plugin().thanks(PAID_BY_CARD)
    storefront.open_page("/order-received", first["html"])
    storefront.tracked(2)
    again = plugin().thanks({**PAID_BY_CARD, "meta_data": first["meta"]})
    storefront.open_page("/order-received", again["html"])
    storefront.page.wait_for_load_state("networkidle")
    assert not storefront.tracked()


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
    assert [call[0] for call in calls] == ["instance identify", "instance track"]
    assert [call[1] for call in calls] == [CODE, CODE]


NOTHING = hashlib.sha256(b"").hexdigest()
OFFICIAL_PIXEL = f"""<script>
  window.ttq = [];
  window.ttq._i = {{{CODE}: []}};
  window.ttq.instance = (code) => window.ttq._i[code];
  for (const name of ["page", "track", "identify"]) {{
    window.ttq[name] = (...given) => window.ttq.push([name, ...given]);
    window.ttq._i.{CODE}[name] = (...given) => window.ttq._i.{CODE}.push([name, ...given]);
  }}
  window.ttq.instance("{CODE}").track("Pageview");
  window.ttq.instance("{CODE}").identify({{email: "{NOTHING}", phone_number: "{NOTHING}", country: "us"}});
  window.ttq.identify({{email: "", external_id: "7"}});
</script>"""


@pytest.mark.parametrize("person", [PERSON, {}], ids=["known", "guest"])
def test_an_empty_value_of_other_code_goes_into_no_event_of_ours(storefront, plugin, person):
    """TikTok's own plugin tells the pixel itself, not all of them, that a guest's e-mail is the hash of nothing."""
    checkout = plugin().checks_out(cart=CART, person=person)
    storefront.open_page("/checkout", OFFICIAL_PIXEL + checkout["html"])
    calls = storefront.page.evaluate(f"window.ttq._i.{CODE}")
    assert [call[0] for call in calls] == ["track", "identify", *(["identify"] if person else []), "track"]
    told_before, *told_by_us = [call[1] for call in calls if call[0] == "identify"]
    assert told_before == {"country": "us"}
    assert storefront.page.evaluate("window.ttq") == [["identify", {"external_id": "7"}]]
    assert [sorted(user) for user in told_by_us] == ([["email", "external_id", "phone_number"]] if person else [])


def test_a_checkout_opened_again_with_another_cart_is_sent_once(storefront, plugin):
    """Under one event_id the server keeps the first copy, and so does the browser; a new checkout is another."""
    first = plugin().checks_out(cart=CART)
    storefront.open_page("/checkout", first["html"])
    assert storefront.tracked(1)[0].arguments[1]["value"] == 64.94
    again = plugin().checks_out(cart=CART[:1], cookies=first["cookies"])
    storefront.open_page("/checkout", again["html"])
    storefront.page.wait_for_function("window.tiktok.some(one => one.method === 'page')")
    assert not storefront.tracked()
    storefront.open_page("/checkout", plugin().checks_out(cart=CART[:1])["html"])
    assert storefront.tracked(1)[0].arguments[1]["value"] == 29.99


@pytest.mark.parametrize(
    ("consent", "banner", "loaded"),
    [
        ("not_required", "", True),
        ("required", "", False),
        ("required", "allow", True),
        ("not_required", "deny", False),
        ("required", "later", True),
    ],
)
def test_tiktoks_script_is_loaded_where_the_visit_begins(storefront, plugin, consent, banner, loaded):
    """It sets `_ttp`, which the checkout's webhook and the order then have; no earlier than the visitor's consent."""
    storefront.open_page(
        "/", banner_of(banner) + plugin(choose(WOOCOMMERCE, consent=consent)).run(["wp_footer"])["html"]
    )
    storefront.page.wait_for_load_state("networkidle")
    if banner == "later":
        assert storefront.calls() == []
        storefront.page.evaluate(ALLOW)
        storefront.page.wait_for_function("window.tiktok.length > 0")
    assert [call.method for call in storefront.calls()] == (["page"] if loaded else [])
    assert storefront.scripts == (1 if loaded else 0)


def test_a_shop_without_the_pixel_loads_nothing(storefront, php, tmp_path):
    storefront.open_page("/", Plugin(php, tmp_path, with_pixel=False).run(["wp_footer"])["html"])
    storefront.page.wait_for_load_state("networkidle")
    assert storefront.scripts == 0


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
    storefront.open_page("/?ttclid=E.C.P.CtoBExample%252B", banner_of(banner) + html)
    if banner == "later":
        assert "ttclid" not in storefront.cookies()
        storefront.page.evaluate(ALLOW)
    assert storefront.cookies() == ({"ttclid": "E.C.P.CtoBExample%252B"} if kept else {})


@pytest.mark.parametrize("there", [True, False], ids=["this click", "an older one"])
def test_a_cookie_that_the_server_has_set_is_not_written_again(storefront, plugin, there):
    """Safari shortens a script's cookies to seven days or one. An older click's cookie gives way."""
    storefront.set_cookie("ttclid", "E.C.P.CtoBExample%252B" if there else "E.C.P.older")
    storefront.open_page("/?ttclid=E.C.P.CtoBExample%252B", plugin().run(["wp_footer"])["html"])
    assert storefront.cookies() == {"ttclid": "E.C.P.CtoBExample%252B"}
    (cookie,) = storefront.context.cookies()
    assert (cookie["expires"] == -1) == there  # the test's own cookie ends with the session


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


def test_the_plain_snippet_names_the_pixels_of_an_event(storefront):
    """By the store's conditions; a pixel is left out if it has one on something that is not said."""
    pixels = (
        Pixel(CODE, "one"),
        Pixel(OTHER, "two", countries=("DE",), milestones=("order_paid",)),
        Pixel("CBUSINESS00000000000", "three", kinds=("b2b",), currencies=("EUR",)),
        Pixel("7012345678901234567", "four", source="offline"),
    )
    store = choose(SHOPIFY, pixels=pixels)
    storefront.open_page("/", f"<script>{snippet(store, 'plain', storefront.url)}</script>")
    chosen = storefront.page.evaluate
    assert chosen("connectorPixels('order_paid', {country: 'DE', currency: 'EUR'})") == [CODE, OTHER]
    assert chosen("connectorPixels('order_placed', {country: 'DE'})") == [CODE]
    assert chosen("connectorPixels('order_paid')") == [CODE]
    assert chosen("connectorPixels('order_placed', {currency: 'EUR', kind: 'b2b'})") == [CODE, "CBUSINESS00000000000"]


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
