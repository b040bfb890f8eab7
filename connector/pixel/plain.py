"""The plain snippet, for a shop that runs its own TikTok pixel: gives the pixel's events the server's event_ids."""

from collections.abc import Collection, Iterator

from connector.core.snippet import NoSnippet
from connector.core.store import BROWSER_MILESTONES, Store
from connector.pixel.snippet import (
    browser_settings,
    closed,
    collect_url,
    meter_js,
    meter_settings,
    offline_only,
    pixel_mismatch,
    post_js,
    routes,
    routes_js,
    signal_obstacles,
    source,
    test_code_ignored,
)

OPTIONS: frozenset[str] = frozenset()


def snippet(store: Store, base_url: str = "", options: Collection[str] = ()) -> str:
    """Build the code. Raises NoSnippet if signals are expected and browsers cannot reach `base_url`."""
    if reasons := [*signal_obstacles(store, base_url)]:
        raise NoSnippet(reasons)
    settings = {"collect": collect_url(store, base_url), "ids": browser_settings(store)["ids"], **routes(store)}
    settings |= meter_settings(store, base_url)
    return closed(settings, routes_js(), post_js(), *meter_js(store), source(__package__, "plain.js"))


def where_to_paste(store: Store) -> tuple[str, str]:
    """Return two lines of instructions for the person who pastes the code."""
    return (
        "Put it before your pixel's own code, between <script> and </script> unless it runs in a sandbox of the shop.",
        f"Then give {_event_names(store)} their ids, as the comment at the top of the code shows.",
    )


def snippet_warnings(store: Store, options: Collection[str] = ()) -> Iterator[str]:
    """Yield a sentence for each way in which the browser's events differ from the server's."""
    yield from pixel_mismatch(store, "own")
    yield from offline_only(store)
    yield from test_code_ignored(store)


def _event_names(store: Store) -> str:
    names = [name for milestone in BROWSER_MILESTONES for name in store.all_event_names(milestone)]
    return ", ".join(dict.fromkeys(names)) or "your events"
