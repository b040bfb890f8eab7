"""The plugin: PHP for wp-content/mu-plugins that adds the browser's signals to orders and runs TikTok's pixel."""

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
    funnel_js,
    funnel_key,
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
    watch_js,
)
from platforms.woocommerce.translate import DRAFTS, GONE, KINDS, RENEWAL_KEYS, TIPS

WITH_OFFICIAL_PLUGIN, WITHOUT_PIXEL = "with_official_plugin", "without_pixel"
OPTIONS = frozenset({WITH_OFFICIAL_PLUGIN, WITHOUT_PIXEL})

# The placeholders of the event_id templates that the shop's pages can fill.
KNOWN: KnownPlaceholders = {
    "checkout": ("checkout_token", "customer_id"),
    "order": ("order_id", "order_number", "order_name", "customer_id", "meta:"),
}


def snippet(store: Store, base_url: str = "", options: Collection[str] = ()) -> str:
    """Build the plugin. Raises NoSnippet.

    `base_url` is needed only by a store with a funnel or a meter: the shop sends the browser's signals of a checkout
    with the order. Without the pixel, the browser sends nothing to TikTok.
    """
    needs_address = store.funnel or store.meter
    if reasons := [*obstacles(store, KNOWN), *(signal_obstacles(store, base_url) if needs_address else ())]:
        raise NoSnippet(reasons)
    settings = {**browser_settings(store), **_tables(store), **meter_settings(store, base_url)}
    settings[WITH_OFFICIAL_PLUGIN] = WITH_OFFICIAL_PLUGIN in options
    browsing = []
    reporting = [post_js(), *meter_js(store)] if store.meter else []
    if store.funnel:
        settings |= {"funnel_urls": funnel_urls(store, base_url), "funnel_key": funnel_key(store), "store": store.name}
        browsing = [funnel_js(), _source("browsing.js")]
    if WITHOUT_PIXEL in options:
        settings["pixels"] = []
    filled = {
        "{settings}": as_json(settings),
        "{watch}": function(watch_js(), "watchCalls();\n") if store.meter else "",
        "{page}": function(tiktok_js(), *reporting, *browsing, _source("page.js")),
        **{f"// {{{name}}}": _part(f"{name}.php") for name in ("checkout", "order", "funnel", "other_plugins")},
    }
    return "\n".join(filled.get(line, line) for line in _source("plugin.php").split("\n"))


def where_to_paste(store: Store) -> tuple[str, str]:
    """Return two lines of instructions for the person who installs the code."""
    return (
        "Save it as wp-content/mu-plugins/tiktok-connector.php (create the folder if necessary); it runs at once.",
        "It replaces the checkout snippet of older versions: remove that.",
    )


def snippet_warnings(store: Store, options: Collection[str] = ()) -> Iterator[str]:
    """Yield a sentence for each way in which the browser's events differ from the server's."""
    if WITHOUT_PIXEL not in options:
        yield from pixel_mismatch(store, "snippet")
        yield from offline_only(store)
    if store.consent != "not_required" and not store.consent_source.key:
        yield (
            f'set key = "tiktok_consent" in [stores.{store.name}.consent_source] and generate the plugin again: '
            "without it the shopper's answer cannot be written to the order, and the server sends nothing"
        )
    if WITHOUT_PIXEL not in options:
        yield from test_code_ignored(store)


def _tables(store: Store) -> dict[str, Any]:
    """Return the tables that the translation of webhooks uses, so that both decide alike."""
    placeholders = PLACEHOLDER.findall(store.event_id.order + store.external_id)
    value: dict[str, Any] = {"of": store.mapping.value, "excludes": store.mapping.value_excludes}
    return {
        "include": store.orders.include,
        "kinds": KINDS,
        "renewal_keys": RENEWAL_KEYS,
        "meta": [name.removeprefix("meta:") for name in placeholders if name.startswith("meta:")],
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
    """Return a PHP file without its opening lines up to the namespace."""
    return _source(name).partition("namespace TikTok_Connector;")[2].strip()


def _source(name: str) -> str:
    return source(__package__, name)
