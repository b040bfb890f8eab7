"""How a WooCommerce page comes, and what it then reports: ahead, swapped, from the back cache, under a policy."""

import json
from dataclasses import replace

import pytest

from tests.browser.funnel_shop import FUNNEL, beacon_event, ids, product
from tests.browser.plugin import Plugin
from tests.browser.test_shop_pages import ALLOW, banner_of


def test_a_page_that_is_drawn_ahead_is_told_when_it_is_seen(storefront, shop):
    storefront.context.add_init_script("Object.defineProperty(document, 'prerendering', {value: true})")
    storefront.open_page("/product/mug", product(shop())["html"])
    storefront.page.wait_for_load_state("networkidle")
    assert storefront.no_beacon()
    storefront.page.evaluate("document.dispatchEvent(new Event('prerenderingchange'))")
    assert beacon_event(storefront)["milestone"] == "product_viewed"


def test_a_page_that_is_fetched_ahead_is_told_when_it_is_opened(storefront, shop):
    """By speculation rules, which WordPress prints since 6.8."""
    rules = json.dumps({"prefetch": [{"urls": ["/product/mug"], "eagerness": "immediate"}]})
    storefront.open_page("/product/mug", product(shop())["html"])
    storefront.beacon()
    storefront.served.clear()
    storefront.open_page("/", f'<script type="speculationrules">{rules}</script>')
    storefront.until(lambda: any("prefetch" in purpose for _, purpose in storefront.served))
    assert ("/product/mug", "prefetch") in storefront.served
    assert storefront.no_beacon()
    storefront.page.evaluate("location.href = '/product/mug'")
    assert beacon_event(storefront)["url"] == f"{storefront.url}/product/mug"


def test_a_shop_that_swaps_its_pages(storefront, shop):
    """Each page's script runs in the same window; a yes then counts for the page that is shown."""
    store = replace(FUNNEL, consent="required")
    html = banner_of("later") + product(shop(store))["html"]
    storefront.open_page("/product/shirt", html)
    swap = """html => {
      history.pushState({}, "", "/product/mug");
      document.body.replaceChildren(document.createRange().createContextualFragment(html));
    }"""
    storefront.page.evaluate(swap, html)
    storefront.page.evaluate("window.wp_has_consent = () => true")
    storefront.page.evaluate(ALLOW)
    event = beacon_event(storefront)
    assert event["url"] == f"{storefront.url}/product/mug"
    assert ids(storefront, 1) == [event["event_id"]]
    assert storefront.no_beacon()
    storefront.page.evaluate(swap, html.replace(banner_of("later"), ""))  # the answer is there now
    assert beacon_event(storefront)["event_id"] != event["event_id"]


def test_going_back_to_a_page_tells_nothing_again(php, tmp_path, storefront_with_back_cache):
    """The browser shows it as it was left, its scripts included."""
    storefront = storefront_with_back_cache
    plugin = Plugin(php, tmp_path, FUNNEL, base_url=storefront.url)
    storefront.pages["/cart"] = "<title>Cart</title>"
    storefront.open_page("/product/mug", product(plugin)["html"])
    storefront.beacon()
    storefront.tracked(1)
    storefront.page.evaluate("window.addEventListener('pageshow', (shown) => { window.restored = shown.persisted })")
    storefront.page.goto(f"{storefront.url}/cart")
    storefront.page.evaluate("setTimeout(() => history.back())")
    storefront.page.wait_for_function("window.restored")  # by the back/forward cache
    assert len(storefront.tracked()) == 1
    assert storefront.no_beacon()


# --- a Content-Security-Policy --------------------------------------------------------------------------------

POLICY = "<meta http-equiv=\"Content-Security-Policy\" content=\"script-src 'nonce-once'{more}; connect-src 'self'\">"


@pytest.mark.parametrize("more", ["", " 'strict-dynamic'"], ids=["nonce", "strict-dynamic"])
def test_a_policy_with_a_nonce_lets_both_scripts_run(storefront, shop, more):
    """The plugin that sets the policy adds its nonce to inline scripts; TikTok's script gets it from ours."""
    html = product(shop(), nonce="once")["html"]
    storefront.open_page("/product/mug", html)
    page = storefront.pages["/product/mug"]
    storefront.beacon()
    stub, page = "window.tiktok", page.replace("<script>", '<script nonce="once">')
    assert stub in page
    storefront.pages["/policy"] = page.replace("<meta charset", POLICY.format(more=more) + "<meta charset", 1)
    storefront.visit("/policy")
    event = beacon_event(storefront)
    assert ids(storefront, 1) == [event["event_id"]]


def test_without_the_nonce_nothing_runs(storefront, shop):
    """So that the test above shows something."""
    storefront.open_page("/", "")
    page = storefront.pages["/"].replace("<script>", '<script nonce="once">')
    page = page.replace("<meta charset", POLICY.format(more="") + "<meta charset", 1)
    storefront.pages["/policy"] = page + product(shop())["html"]
    storefront.visit("/policy")
    storefront.page.wait_for_load_state("networkidle")
    assert storefront.no_beacon()
    assert storefront.scripts == 0
