"""Functions for building a platform's snippet. Only `connector snippet` loads them."""

from connector.core.funnel_token import funnel_key
from connector.core.snippet import NoSnippet, SnippetModule
from connector.core.store import PLACEHOLDER
from connector.mapping.properties import EXCLUDES
from connector.pixel.snippet import (
    KnownPlaceholders,
    as_json,
    browser_settings,
    closed,
    collect_url,
    function,
    funnel_js,
    funnel_urls,
    is_first_party,
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

__all__ = [
    "EXCLUDES",
    "PLACEHOLDER",
    "KnownPlaceholders",
    "NoSnippet",
    "SnippetModule",
    "as_json",
    "browser_settings",
    "closed",
    "collect_url",
    "function",
    "funnel_js",
    "funnel_key",
    "funnel_urls",
    "is_first_party",
    "meter_js",
    "meter_settings",
    "obstacles",
    "offline_only",
    "pixel_mismatch",
    "post_js",
    "signal_obstacles",
    "source",
    "test_code_ignored",
    "tiktok_js",
    "watch_js",
]
