"""Before the order, browser and server: two copies of each step that TikTok makes one, blocked or not."""

import random
import shutil
import time
from datetime import UTC, datetime

import httpx
import pytest

from connector.plugin.testing.samples import fresh_journey
from platforms.shopify import samples as shopify_samples
from tests.browser.plugin import CART, Plugin, order
from tests.browser.shopify_checkout import checkout
from tests.browser.test_funnel import CLICK, IP, Connector, connector  # noqa: F401 # a fixture
from tests.browser.test_funnel_pages import json_cookie
from tests.browser.test_shop_pages import banner_of
from tests.browser.test_woocommerce_funnel import ADDED, FORM, MUG
from tests.support.factories import CODE, a_section, a_stores_file
from tests.support.snippets import snippet

TTP = "01JEXAMPLE0000000000000000_.tt.1"
AGENT = "Mozilla/5.0 (Linux; Android 15) Example/1.0"
WAYS = ["storefront", "blocked", "storefront_without_foreign_cookies"]
STEPS = {"ViewContent", "AddToCart", "Search", "AddPaymentInfo"}


@pytest.fixture(params=WAYS, ids=["open", "ad-blocked", "without third-party cookies"])
def front(request):
    """A shopper's browser, in three ways."""
    opened = request.getfixturevalue("storefront" if request.param == "blocked" else request.param)
    opened.blocked = request.param == "blocked"
    opened.context.set_extra_http_headers({"X-Forwarded-For": IP})
    opened.set_cookie("_ttp", TTP)
    return opened


def told(front, number):
    """What the browser's pixel was told, as the server's copies are stored."""
    calls = front.tracked(0 if front.blocked else number)
    return {(call.pixel, call.arguments[0], call.arguments[2]["event_id"]): call.arguments[1] for call in calls}


def assert_carries(item, **more):
    """The match keys, also where the pixel is blocked."""
    expected = {"ttclid": CLICK, "ttp": TTP, "ip": IP, "user_agent": AGENT, **more}
    assert {name: item["user"].get(name) for name in expected} == expected


def test_shopify(front, connector):  # noqa: F811
    """All six standard events of a shopper who buys."""
    store = connector.config.stores["acme"]
    shopper = fresh_journey(store, datetime.now(UTC), random.Random(1))
    started = shopify_samples.sample("checkouts/create", shopper, store)
    paid = shopify_samples.sample("orders/paid", shopper, store)
    connector.receive("acme", "checkouts/create", started)
    connector.receive("acme", "orders/paid", paid)
    connector.know_orders()
    line = checkout(paid, paid["id"])["lineItems"][0]
    front.open_shopify(snippet(store, "shopify", connector.url), path=f"/?ttclid={CLICK}", customer={"id": "77"})
    front.tell("page_viewed")
    front.tell("search_submitted", searchResult={"query": "hat"})
    front.tell("product_viewed", productVariant=line["variant"])
    front.tell("product_added_to_cart", cartLine={"merchandise": line["variant"], "quantity": 1})
    front.tell("checkout_started", checkout=checkout(started))
    front.tell("payment_info_submitted", checkout=checkout(started))
    front.tell("checkout_completed", checkout=checkout(paid, paid["id"]))
    stored = connector.browsed(4)
    assert {name for _, name, _ in stored} == STEPS
    for (_, name, _), item in stored.items():
        assert_carries(item)
        assert ("value" in item["properties"]) == (name != "Search")
    both = stored | connector.items()
    assert {name for _, name, _ in both} == STEPS | {"InitiateCheckout", "PlaceAnOrder", "Purchase"}
    seen = told(front, 7)
    assert set(seen) == (set() if front.blocked else set(both))
    for key, properties in seen.items():
        assert both[key]["properties"] == properties


def test_woocommerce(front, connector, php, tmp_path):  # noqa: F811
    """A page from a cache, a product put into the cart, a payment, and a search."""
    plugin = Plugin(php, tmp_path, connector.config.stores["beans"], base_url=connector.url)
    connector.receive("beans", "order.created", order("068"))
    connector.know_orders()
    front.permit = lambda: plugin.run(["wc_ajax_connector_token"])["answer"]
    cookies = {"ttclid": CLICK, "_ttp": TTP}
    front.set_cookie("ttclid", CLICK)
    front.open_page("/product/mug", plugin.run(["template_redirect"], ["wp_footer"], page=MUG)["html"])
    seen = told(front, 1)
    connector.browsed(1)
    front.page.close()  # left open, it may hear of the next page's cookie first, and tell in its place
    added = plugin.run(
        ADDED, ["woocommerce_checkout_order_processed", "ORDER"], ["shutdown"],
        cart=CART, order=order("068"), cookies=cookies, server=FORM,
    )  # fmt: skip
    (post,) = added["posts"]
    assert httpx.post(post["url"], content=post["body"], headers=post["headers"]).status_code == 204
    front.set_cookie("tiktok_connector_notes", json_cookie(added["cookies"]["tiktok_connector_notes"]))
    search = plugin.run(["template_redirect"], ["wp_footer"], page={"search": "mug"})
    front.open_page("/?s=mug", search["html"])
    seen |= told(front, 3)
    stored = connector.browsed(4)
    assert {name for _, name, _ in stored} == STEPS
    assert set(seen) == (set() if front.blocked else set(stored))
    for key, properties in seen.items():
        assert stored[key]["properties"] == properties
    for item in stored.values():
        assert_carries(item, ip=item["user"]["ip"])  # PHP's is its own shopper's


@pytest.mark.parametrize("consent", ["", "deny"], ids=["allowed", "refused"])
def test_a_server_on_the_shops_own_domain(storefront, migrated_sqlite, php, tmp_path, consent):
    """It sets the cookie of the click by HTTP, for both hosts, for 28 days, where the shopper has not refused."""
    shutil.copy(migrated_sqlite, tmp_path / "own.db")
    section = a_section("woocommerce", "beans", url="https://www.shop.localhost", pixel=CODE, funnel={})
    with Connector(tmp_path / "own.db", a_stores_file(section, browser_pixel="snippet")).running() as server:
        open_landing_page(storefront, server, php, tmp_path, consent)
        items = server.browsed(0 if consent else 1)
        kept = [one for one in storefront.context.cookies() if one["domain"] == ".shop.localhost"]
    if consent:
        assert (kept, items) == ([], {})
        return
    ((_, item),) = items.items()
    assert item["user"]["ttclid"] == CLICK
    (cookie,) = kept
    assert (cookie["name"], cookie["value"], cookie["sameSite"], cookie["secure"]) == ("ttclid", CLICK, "Lax", True)
    assert cookie["expires"] == pytest.approx(time.time() + 28 * 24 * 3600, abs=600)


def open_landing_page(storefront, server, php, tmp_path, consent):
    """A cached page of the shop on its own domain, with this server on a name beside it."""
    plugin = Plugin(php, tmp_path, server.config.stores["beans"], base_url=server.url)
    html = plugin.run(["template_redirect"], ["wp_footer"], page=MUG)["html"]
    ours = server.url.replace("127.0.0.1", "events.shop.localhost")
    html = html.replace(server.url.replace("/", "\\/"), ours).replace('"first_party":false', '"first_party":true')
    assert ours in html
    storefront.url = storefront.url.replace("127.0.0.1", "www.shop.localhost")
    storefront.permit = lambda: plugin.run(["wc_ajax_connector_token"])["answer"]
    storefront.open_page(f"/product/mug?ttclid={CLICK}", banner_of(consent) + html)
    storefront.page.wait_for_load_state("networkidle")
