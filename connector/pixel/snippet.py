"""Functions for building a snippet: the code with which a shop's browsers send the same events as this server.

The files in this folder and in those of the platforms are complete JavaScript and PHP. A store's settings are inserted
as one JSON object in a fixed place: they never become code, and contain no secret.
"""

import json
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any, Literal
from urllib.parse import urlsplit

from connector.core.currencies import TIKTOK_CURRENCIES
from connector.core.event import Milestone
from connector.core.json_fields import host
from connector.core.site import is_same_site
from connector.core.store import BROWSER_MILESTONES, PLACEHOLDER, Store
from connector.mapping.consent import EUROPE
from connector.mapping.properties import CONTENT_ID_CHAINS, content_type

# Placeholders of event_id.checkout and event_id.order that a browser can fill; "meta:" matches any meta key.
KnownPlaceholders = Mapping[Literal["checkout", "order"], tuple[str, ...]]

VERSION_MARK = "@version-of-the-snippet@"  # stands in the code until `connector.pixel.version` puts its hash there

MILESTONES_OF: Mapping[Literal["checkout", "order"], tuple[Milestone, ...]] = {
    "checkout": ("checkout_started",),
    "order": ("order_placed", "order_paid"),
}


# --- obstacles and warnings -----------------------------------------------------------------------------------


def obstacles(store: Store, known: KnownPlaceholders) -> Iterator[str]:
    """Yield the reasons why a browser cannot send the server's events, each a sentence with the remedy."""
    if "web" not in store.orders.include:
        yield f'orders.include of store {store.name} has no "web", so the server leaves out what a browser would send'
    for name, milestones in MILESTONES_OF.items():
        if any(store.all_event_names(milestone) for milestone in milestones):
            yield from _unknown_placeholders(store, name, known[name], milestones)


def _unknown_placeholders(
    store: Store, name: Literal["checkout", "order"], known: tuple[str, ...], milestones: tuple[Milestone, ...]
) -> Iterator[str]:
    for used in PLACEHOLDER.findall(getattr(store.event_id, name)):
        if used not in known and not any(one.endswith(":") and used.startswith(one) for one in known):
            listed = ", ".join(f"{{{one}KEY}}" if one.endswith(":") else f"{{{one}}}" for one in known)
            yield (
                f"event_id.{name} of store {store.name} has {{{used}}}, which the browser cannot know here; use "
                f"one of {listed}, or switch off {' and '.join(f'events.{one}' for one in milestones)}"
            )


def signal_obstacles(store: Store, base_url: str) -> Iterator[str]:
    """Yield the reason why the browser cannot send to `base_url`, if the store expects signals, a funnel or reports."""
    if (store.signals or store.funnel or store.meter) and not _is_reachable(base_url):
        what = "signals" if store.signals else "events" if store.funnel else "reports"
        yield f"the browser needs an address for its {what}: set PUBLIC_URL or give --base-url https://HOST"


def _is_reachable(base_url: str) -> bool:
    """Return True if an https page can send to this URL: https, or plain http on the same machine."""
    try:
        url = urlsplit(base_url)
    except ValueError:
        return False
    return bool(url.hostname) and (url.scheme == "https" or (url.scheme == "http" and url.hostname == "127.0.0.1"))


def pixel_mismatch(store: Store, wanted: Literal["snippet", "own"]) -> Iterator[str]:
    """Yield a warning unless the store's browser_pixel is `wanted`."""
    if store.browser_pixel != wanted:
        yield (
            f'set browser_pixel = "{wanted}" in [stores.{store.name}], so that the server sends nothing that TikTok '
            f'cannot merge with the browser\'s copy (now it is "{store.browser_pixel}")'
        )


def offline_only(store: Store) -> Iterator[str]:
    """Yield a warning if browsers have no pixel to send to."""
    if not routes(store)["pixels"]:
        yield 'every pixel has source = "offline", so browsers send TikTok nothing'


def test_code_ignored(store: Store) -> Iterator[str]:
    """Yield a warning if a test_event_code is set."""
    if any(pixel.test_event_code for pixel in store.pixels):
        yield "test_event_code applies to the server only: events from the browser count as real"


# --- the settings ---------------------------------------------------------------------------------------------


def browser_settings(store: Store) -> dict[str, Any]:
    """Return the store's settings that every platform's code needs."""
    choice, consent = store.mapping, store.consent_source
    needed = {"required": "everywhere", "required_in_europe": "europe", "not_required": "nowhere"}[store.consent]
    chain = (
        [choice.content_id] if "{" in choice.content_id else [f"{{{n}}}" for n in CONTENT_ID_CHAINS[choice.content_id]]
    )
    return {
        **routes(store),
        # TikTok applies it where a law requires it; the shopper's state is known only later.
        "limited_data_use": bool(store.limited_data_use),
        "consent": {
            "needed": needed,
            "key": consent.key,
            "granted": _lower(consent.granted),
            "europe": sorted(EUROPE) if needed == "europe" else [],
        },
        "country": store.country,
        "events": {milestone: store.events[milestone] for milestone in BROWSER_MILESTONES},
        "events_of_kinds": store.events_of_kinds,
        "funnel": store.funnel.events if store.funnel else None,
        "ids": {
            "order": _pieces(store.event_id.order),
            "checkout": _pieces(store.event_id.checkout),
            "external": _pieces(store.external_id),
        },
        "paid_when_placed": _lower(store.orders.paid_when_placed),
        "exclude": {
            "gateways": _lower(store.orders.exclude_gateways),
            "email_domains": [domain.lstrip("@") for domain in _lower(store.orders.exclude_email_domains)],
            "zero": store.orders.exclude_zero,
        },
        "content_id": [_pieces(template) for template in chain],
        "content_type": content_type(choice.content_id),
        "currencies": sorted(TIKTOK_CURRENCIES),
        "value": {"of": choice.value, "excludes": choice.value_excludes},
    }


def routes(store: Store) -> dict[str, Any]:
    """Return the pixels that browsers send to, and the conditions of those that have some, by code."""
    web = [pixel for pixel in store.pixels if pixel.source == "web"]
    conditions = ("countries", "currencies", "kinds", "milestones")
    return {
        "pixels": [pixel.code for pixel in web],
        "routes": {one.code: {name: getattr(one, name) for name in conditions} for one in web if one.has_conditions},
    }


def collect_url(store: Store, base_url: str) -> str:
    """Return the URL for the browser's signals, or "" if the store expects none."""
    return f"{base_url.rstrip('/')}/collect/{store.name}" if store.signals else ""


def meter_settings(store: Store, base_url: str) -> dict[str, Any]:
    """Return the code's version and, for a store with a meter, where a page reports what it sent to TikTok."""
    return {"version": VERSION_MARK, "meter": _meter(store, base_url) if store.meter else None}


def _meter(store: Store, base_url: str) -> dict[str, Any]:
    return {
        "url": f"{base_url.rstrip('/')}/collect/{store.name}/seen",
        "pixels": routes(store)["pixels"],  # also of code that is printed without a pixel
        "events": [name for milestone in BROWSER_MILESTONES for name in store.all_event_names(milestone)],
    }


def funnel_urls(store: Store, base_url: str) -> dict[str, Any]:
    """Return the URLs for the browser's events and their token; empty if the store expects none.

    With `first_party`, the browser must send credentials, so that it takes the cookie with the click id.
    """
    if not store.funnel:
        return {}
    base = f"{base_url.rstrip('/')}/collect/{store.name}"
    return {"event": f"{base}/event", "token": f"{base}/token", "first_party": is_first_party(store, base_url)}


def is_first_party(store: Store, base_url: str) -> bool:
    """Return True if this server is on the shop's own site, so that it can set the shop's cookies."""
    return is_same_site(host(store.url), host(base_url))


def _pieces(template: str) -> list[str]:
    """Split a template into texts and names of placeholders, alternating."""
    return PLACEHOLDER.split(template)


def _lower(words: tuple[str, ...]) -> list[str]:
    return [word.strip().lower() for word in words]


# --- the code -------------------------------------------------------------------------------------------------


def closed(settings: dict[str, Any], *sources: str) -> str:
    """Return the sources as one function, called with the settings; its names cannot clash with the page's."""
    return f"{function(*sources)}({as_json(settings)});\n"


def function(*sources: str) -> str:
    """Return the sources as one JavaScript function of `settings`."""
    return '(function (settings) {\n"use strict";\n\n' + "\n".join(sources) + "})"


def source(package: str, name: str) -> str:
    """Return the text of a file in a package."""
    return files(package).joinpath(name).read_text(encoding="utf-8")


def tiktok_js() -> str:
    """Return the shared JavaScript that loads TikTok's pixels and sends each event to those that take it."""
    return source(__package__, "tiktok.js") + "\n" + routes_js()


def routes_js() -> str:
    """Return the shared JavaScript that chooses the pixels that get an event."""
    return source(__package__, "routes.js")


def meter_js(store: Store) -> tuple[str, ...]:
    """Return the shared JavaScript that reports what a page sent to TikTok; none for a store without a meter."""
    return (watch_js(), source(__package__, "meter.js")) if store.meter else ()


def watch_js() -> str:
    """Return the part of it that only notes what a page sends."""
    return source(__package__, "watch.js")


def post_js() -> str:
    """Return the shared JavaScript that sends this server something without waiting for an answer."""
    return source(__package__, "post.js")


def funnel_js() -> str:
    """Return the shared JavaScript that sends events before the order to this server."""
    return source(__package__, "funnel.js")


def as_json(settings: object) -> str:
    """Encode as one line of ASCII that is valid JSON, JavaScript, PHP nowdoc, and text inside a <script> element."""
    text = json.dumps(settings, ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
