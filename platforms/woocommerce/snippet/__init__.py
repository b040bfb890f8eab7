"""The plugin: PHP for wp-content/mu-plugins. It writes what the browser knows into orders, and feeds TikTok's pixel."""

from collections.abc import Collection, Iterator
from typing import Any

from connector.plugin import Store
from connector.plugin.snippet import (
    EXCLUDES,
    PLACEHOLDER,
    KnownPlaceholders,
    NoSnippet,
    as_json,
    browser_settings,
    function,
    obstacles,
    pixel_mismatch,
    source,
    test_code_ignored,
    tiktok_js,
)
from platforms.woocommerce.webhooks import DRAFTS, GONE, KINDS, RENEWAL_KEYS, TIPS

WITH_OFFICIAL_PLUGIN, WITHOUT_PIXEL = "with_official_plugin", "without_pixel"
OPTIONS = frozenset({WITH_OFFICIAL_PLUGIN, WITHOUT_PIXEL})

# What the shop's own page knows of the placeholders of the event_id templates.
KNOWN: KnownPlaceholders = {
    "checkout": ("checkout_token", "customer_id"),
    "order": ("order_id", "order_number", "order_name", "customer_id", "meta:"),
}


def snippet(store: Store, base_url: str = "", options: Collection[str] = ()) -> str:
    """Build the plugin. It needs no `base_url`: the shop sends the browser's signals with the order. Raises NoSnippet.

    Without the pixel it only tells the server, and the browser says nothing to TikTok.
    """
    if reasons := [*obstacles(store, KNOWN)]:
        raise NoSnippet(reasons)
    settings = {**browser_settings(store), **_tables(store), WITH_OFFICIAL_PLUGIN: WITH_OFFICIAL_PLUGIN in options}
    if WITHOUT_PIXEL in options:
        settings["pixels"] = []
    filled = {
        "{settings}": as_json(settings),
        "{pixel}": function(tiktok_js(), _source("page.js")),
        "{remember}": function(_source("remember.js")),
        "// {checkout}": _part("checkout.php"),
        "// {order}": _part("order.php"),
    }
    return "\n".join(filled.get(line, line) for line in _source("plugin.php").split("\n"))


def where_to_paste(store: Store) -> tuple[str, str]:
    """Return two lines for the person who has the code in front of them."""
    return (
        "Save it as wp-content/mu-plugins/tiktok-connector.php (make the folder if need be); it runs at once.",
        "It takes the place of the checkout snippet of older versions: remove that.",
    )


def snippet_warnings(store: Store, options: Collection[str] = ()) -> Iterator[str]:
    """Yield a sentence for each thing that will not be as one might expect."""
    if WITHOUT_PIXEL not in options:
        yield from pixel_mismatch(store, "snippet")
    if store.consent != "not_required" and not store.consent_source.key:
        yield (
            f'set key = "tiktok_consent" in [stores.{store.name}.consent_source] and make the plugin again: without it '
            "the shopper's answer cannot be written to the order, and the server sends nothing"
        )
    if WITHOUT_PIXEL not in options:
        yield from test_code_ignored(store)


def _tables(store: Store) -> dict[str, Any]:
    """The tables that translation uses too, so that there is one truth."""
    asked = PLACEHOLDER.findall(store.event_id.order + store.external_id)
    value: dict[str, Any] = {"of": store.mapping.value, "excludes": store.mapping.value_excludes}
    return {
        "include": store.orders.include,
        "kinds": KINDS,
        "renewal_keys": RENEWAL_KEYS,
        "meta": [name.removeprefix("meta:") for name in asked if name.startswith("meta:")],
        "tips": sorted(TIPS),
        "statuses": {
            "drafts": sorted(DRAFTS),
            "gone": sorted(GONE),
            "placed": store.orders.placed_statuses,
            "paid": store.orders.paid_statuses,
        },
        "value": {**value, "parts": EXCLUDES},
    }


def _part(name: str) -> str:
    """A PHP file of our namespace without the lines that say so."""
    return _source(name).partition("namespace TikTok_Connector;")[2].strip()


def _source(name: str) -> str:
    return source(__package__, name)
