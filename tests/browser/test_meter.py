"""Pages report which snippet runs in them: once for a tab, nothing before a yes and nothing after a no."""

from dataclasses import replace

import pytest

from tests.browser.plugin import Plugin
from tests.browser.server_side import SHOPIFY, WOOCOMMERCE, choose
from tests.browser.storefront import ALLOWED, REFUSED
from tests.browser.test_shop_pages import ALLOW, banner_of
from tests.support.snippets import snippet

DENY = ALLOW.replace("allow", "deny")
SHOP = choose(SHOPIFY, meter=True, signals=None)
BEANS = choose(WOOCOMMERCE, meter=True)


def told(code, **members):
    """The report of a page without an order."""
    return {"version": code.partition('"version": "')[2][:8], "others": False, "copies": [], **members}


def pages(store, front, php, tmp_path, banner=""):
    """The WooCommerce plugin's page, with a consent banner that answers."""
    plugin = Plugin(php, tmp_path, store, base_url=front.url)
    return plugin, banner_of(banner) + plugin.run(["wp_footer"])["html"]


@pytest.mark.parametrize("blocked", [False, True], ids=["open", "ad-blocked"])
def test_shopify(storefront, blocked):
    """With the version, and whether TikTok's script has run; once for a tab, without a cookie or a preflight."""
    storefront.blocked = blocked
    code = snippet(SHOP, "shopify", storefront.url)
    storefront.open_shopify(code)
    storefront.tell("page_viewed")
    report = storefront.beacon()
    assert report.path == "/collect/acme/seen"
    assert report.body == told(code, loaded=not blocked)
    assert "cookie" not in report.headers
    assert report.headers["content-type"] == "text/plain;charset=UTF-8"
    storefront.page.goto(f"{storefront.url}/")
    storefront.page.wait_for_function("window.sandboxed !== undefined")
    storefront.tell("page_viewed")
    assert storefront.no_beacon()


def test_shopify_after_a_no(storefront):
    """Neither a page that was refused at once, nor one whose yes is taken back before TikTok's script has answered."""
    storefront.open_shopify(snippet(SHOP, "shopify", storefront.url), privacy=REFUSED)
    storefront.tell("page_viewed")
    assert storefront.no_beacon()
    storefront.answer_consent(ALLOWED)
    assert storefront.beacon().body["loaded"]


def test_woocommerce(storefront, php, tmp_path):
    """A page of the shop, also one from a cache."""
    plugin, html = pages(BEANS, storefront, php, tmp_path)
    storefront.open_page("/", html)
    report = storefront.beacon()
    assert report.path == "/collect/acme/seen"
    assert report.body == told(plugin.file.read_text(), loaded=True)
    storefront.page.goto(f"{storefront.url}/")
    storefront.page.wait_for_load_state("networkidle")
    assert storefront.no_beacon()


@pytest.mark.parametrize("answer", ["allow", "deny", "later", "taken back"])
def test_woocommerce_by_the_shoppers_answer(storefront, php, tmp_path, answer):
    """What is needed is a yes, as for TikTok's own script."""
    store = replace(BEANS, consent="required")
    _, html = pages(store, storefront, php, tmp_path, "allow" if answer == "taken back" else answer)
    storefront.held = [] if answer == "taken back" else None
    storefront.open_page("/", html)
    if answer == "taken back":  # while TikTok's script is loading
        storefront.page.wait_for_function("document.querySelector('script[src*=sdkid]')")
        storefront.page.evaluate(DENY)
        storefront.release()
        storefront.page.wait_for_function("window.tiktok.length > 0")
    storefront.page.wait_for_load_state("networkidle")
    if answer == "later":
        assert storefront.no_beacon()
        storefront.page.evaluate(ALLOW)
    if answer in ("allow", "later"):
        assert storefront.beacon().body["loaded"]
    assert storefront.no_beacon()


def test_a_page_of_your_own(storefront):
    """The plain snippet, where the shop's own code loads TikTok's pixel."""
    code = snippet(SHOP, "plain", storefront.url)
    storefront.open_page("/", f"<script>{code}</script>")
    storefront.page.evaluate("dispatchEvent(new Event('pagehide'))")
    report = storefront.beacon()
    assert report.body == told(code, loaded=False)
    storefront.page.goto(f"{storefront.url}/")
    storefront.page.evaluate("connectorSignals({consent: 'denied'}); dispatchEvent(new Event('pagehide'))")
    assert storefront.no_beacon()


def test_without_a_meter_nothing_is_reported(storefront, php, tmp_path):
    """It is off by default."""
    storefront.open_page("/", pages(WOOCOMMERCE, storefront, php, tmp_path)[1])
    storefront.page.wait_for_load_state("networkidle")
    assert storefront.no_beacon()
