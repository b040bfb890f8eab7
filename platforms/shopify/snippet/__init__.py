"""The custom pixel: JavaScript for Shopify's admin, Settings › Customer events.

https://shopify.dev/docs/apps/build/marketing-analytics/pixels
"""

from collections.abc import Collection, Iterator
from typing import Any

from connector.plugin import Store
from connector.plugin.snippet import (
    KnownPlaceholders,
    NoSnippet,
    browser_settings,
    closed,
    collect_url,
    funnel_js,
    funnel_urls,
    meter_js,
    meter_settings,
    obstacles,
    offline_only,
    pixel_mismatch,
    post_js,
    signal_obstacles,
    source,
    test_code_ignored,
    tiktok_js,
)
from platforms.shopify.translate import PAID

OPTIONS: frozenset[str] = frozenset()

KNOWN: KnownPlaceholders = {
    "checkout": ("checkout_token", "customer_id", "attribute:"),
    "order": ("order_id", "checkout_token", "customer_id", "attribute:"),
}
# Payment methods that have been paid when the thank-you page appears. Others (paymentOnDelivery, manualPayment,
# deferred; offsite and local ones such as bank transfers and vouchers) are paid later or never.
# https://shopify.dev/docs/api/checkout-ui-extensions/latest/target-apis/checkout-apis/payments-api
PAID_AT_ONCE = ("creditCard", "wallet", "redeemable")


def snippet(store: Store, base_url: str = "", options: Collection[str] = ()) -> str:
    """Build the pixel. `base_url` is this server's address, for the browser's signals. Raises NoSnippet."""
    if reasons := [*obstacles(store, KNOWN), *signal_obstacles(store, base_url)]:
        raise NoSnippet(reasons)
    urls = {"collect": collect_url(store, base_url), "funnel_urls": funnel_urls(store, base_url)}
    settings = {**browser_settings(store), **urls, **meter_settings(store, base_url), **_order_states(store)}
    platform_js = (source(__package__, name) for name in ("browsing.js", "custom_pixel.js", "checkout.js"))
    return closed(settings, tiktok_js(), post_js(), funnel_js(), *meter_js(store), *platform_js)


def where_to_paste(store: Store) -> tuple[str, str]:
    """Return two lines of instructions for the person who pastes the code.

    With the permission "Required", Shopify loads the pixel only after a yes. That is enough unless the server may find
    a yes elsewhere: then it must hear of a no, too. The pixel itself sends TikTok nothing without a yes in any case.
    https://shopify.dev/docs/api/web-pixels-api/pixel-privacy
    """
    required = "Required, Marketing"
    hears_no = store.signals and store.consent_source.key and store.consent != "not_required"
    permission = f"Not required if your banner gives Shopify its answers, else {required}" if hears_no else required
    return (
        "In Shopify's admin: Settings › Customer events › Add custom pixel; replace everything in Code with this.",
        f"Permission: {permission}; Data sale as your policy says. Then Save and Connect.",
    )


def snippet_warnings(store: Store, options: Collection[str] = ()) -> Iterator[str]:
    """Yield a sentence for each way in which the pixel differs from the server."""
    yield from pixel_mismatch(store, "snippet")
    yield from offline_only(store)
    if any(pixel.countries for pixel in store.pixels if pixel.source == "web"):
        yield "a checkout without an address, as it begins, is left to the server where a pixel has countries"
    if store.mapping.bundles == "bundle":
        yield "a browser does not see an order's bundles: its contents name their parts, and the server's the bundles"
    if store.orders.exclude_tags:
        yield "a browser cannot see an order's tags: it also sends the orders that orders.exclude_tags leaves out"
    yield from test_code_ignored(store)


def _order_states(store: Store) -> dict[str, Any]:
    """Return which of the two order states known to a browser, paid and pending, count as placed and as paid."""
    orders, states = store.orders, ("paid", "pending")
    paid = set(orders.paid_statuses or PAID)
    placed = {*orders.placed_statuses, *paid} if orders.placed_statuses else set(states)
    return {
        "currency": store.mapping.currency,
        "include": store.orders.include,
        "placed": [state for state in states if state in placed],
        "paid": [state for state in states if state in paid],
        "paid_at_once": PAID_AT_ONCE,
    }
