"""The WooCommerce plugin beside others: those that delay or join scripts, and TikTok's own, under php-cli."""

import re
from dataclasses import replace

import pytest

from connector.core.store import FunnelSettings
from tests.browser.test_woocommerce_funnel import BASE, FUNNEL


@pytest.fixture
def funnel(plugin):
    return lambda store=FUNNEL, **options: plugin(store, base_url=BASE, **options)


LISTS = (
    "rocket_delay_js_exclusions",
    "rocket_defer_inline_exclusions",
    "rocket_excluded_inline_js_content",
    "litespeed_optimize_js_excludes",
    "litespeed_optm_js_defer_exc",
    "litespeed_optm_gm_js_exc",
    "flying_press_exclude_from_delay:js",
    "flying_press_exclude_from_defer:js",
    "flying_press_exclude_from_minify:js",
    "perfmatters_delay_js_exclusions",
    "perfmatters_defer_js_exclusions",
    "perfmatters_minify_js_exclusions",
    "sgo_javascript_combine_excluded_inline_content",
)


def test_plugins_that_delay_scripts_leave_ours_alone(funnel):
    """Each list keeps its entries and gets one more, a text of our script by which these plugins find it."""
    given = {**{one: ["theirs"] for one in LISTS}, "autoptimize_filter_js_exclude": "seal.js"}
    report = funnel().run(["wp_footer"], filters=given)
    lists = report["filtered_lists"]
    assert lists.pop("autoptimize_filter_js_exclude") == "seal.js,tiktok_connector"
    assert lists == {one: ["theirs", "tiktok_connector"] for one in LISTS}
    assert "tiktok_connector" in report["html"]
    assert funnel().run(["wp_footer"], filters={"autoptimize_filter_js_exclude": ""})["filtered_lists"] == {
        "autoptimize_filter_js_exclude": "tiktok_connector"
    }
    (tag,) = re.findall(r"<script([^>]*)>", report["html"])
    assert tag == ' data-no-optimize="1" data-no-defer="1" data-noptimize="1" data-cfasync="false" nowprocket'


OFFICIAL = {
    "woocommerce_add_to_cart": "inject_add_to_cart_event",
    "woocommerce_before_single_product_summary": "inject_view_content_event",
    "woocommerce_after_single_product": "inject_view_content_event",
    "wp_head": "print_script",
}


@pytest.mark.parametrize(
    ("settings", "left"),
    [
        (FunnelSettings(), ["print_script"]),
        (FunnelSettings(cart_added=()), ["inject_add_to_cart_event", "print_script"]),
        (FunnelSettings(product_viewed=()), ["inject_view_content_event"] * 2 + ["print_script"]),
        (None, ["inject_add_to_cart_event", *["inject_view_content_event"] * 2, "print_script"]),
    ],
    ids=["all", "without AddToCart", "without ViewContent", "no funnel"],
)
def test_the_official_plugin_sends_only_what_is_not_sent_here(funnel, settings, left):
    """Its ids are random, so an event that both send counts twice."""
    printed = funnel(replace(FUNNEL, funnel=settings), with_official_plugin=True)
    html = printed.run(*([hook, 999] for hook in OFFICIAL), official=True)["html"]
    assert re.findall(r"official (\w+)", html) == left
