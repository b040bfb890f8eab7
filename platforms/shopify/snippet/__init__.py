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
    obstacles,
    pixel_mismatch,
    signal_obstacles,
    source,
    test_code_ignored,
    tiktok_js,
)
from platforms.shopify.webhooks import PAID

OPTIONS: frozenset[str] = frozenset()

KNOWN: KnownPlaceholders = {
    "checkout": ("checkout_token", "customer_id", "attribute:"),
    "order": ("order_id", "checkout_token", "customer_id", "attribute:"),
}
# Payment methods whose money is there when the thank-you page is. Others (paymentOnDelivery, manualPayment,
# deferred; offsite and local ones such as bank transfers and vouchers) may be paid later or never.
# https://shopify.dev/docs/api/checkout-ui-extensions/latest/target-apis/checkout-apis/payments-api
PAID_AT_ONCE = ("creditCard", "wallet", "redeemable")


def snippet(store: Store, base_url: str = "", options: Collection[str] = ()) -> str:
    """Build the pixel. `base_url` is where this server is, for the browser's signals. Raises NoSnippet."""
    if reasons := [*obstacles(store, KNOWN), *signal_obstacles(store, base_url)]:
        raise NoSnippet(reasons)
    settings = {**browser_settings(store), "collect": collect_url(store, base_url), **_order_states(store)}
    own = (source(__package__, name) for name in ("custom_pixel.js", "checkout.js"))
    return closed(settings, tiktok_js(), *own)


def where_to_paste(store: Store) -> tuple[str, str]:
    """Return two lines for the person who has the code in front of them."""
    return (
        "In Shopify's admin: Settings › Customer events › Add custom pixel; let this replace all that is in Code.",
        "Permission: Required, Marketing and Analytics; Data sale as your policy says. Then Save and Connect.",
    )


def snippet_warnings(store: Store, options: Collection[str] = ()) -> Iterator[str]:
    """Yield a sentence for each thing that will not be as one might expect."""
    yield from pixel_mismatch(store, "snippet")
    if store.orders.exclude_tags:
        yield "a browser cannot see an order's tags: it also sends the orders that orders.exclude_tags leaves out here"
    yield from test_code_ignored(store)


def _order_states(store: Store) -> dict[str, Any]:
    """Which of the two states of an order that its browser can tell count as placed and as paid."""
    orders, states = store.orders, ("paid", "pending")
    paid = set(orders.paid_statuses or PAID)
    placed = {*orders.placed_statuses, *paid} if orders.placed_statuses else set(states)
    return {
        "currency": store.mapping.currency,
        "placed": [state for state in states if state in placed],
        "paid": [state for state in states if state in paid],
        "paid_at_once": PAID_AT_ONCE,
    }
