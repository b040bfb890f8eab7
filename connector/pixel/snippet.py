"""Pieces of a snippet: the code a shop pastes in so that its browsers and this server say the same.

The files beside this one and those of the platforms are real JavaScript and PHP. A store's choices go into them as one
JSON object in a fixed place: nothing of a store becomes code, and no secret is among them.
"""

import json
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any, Literal
from urllib.parse import urlsplit

from connector.core.store import BROWSER_MILESTONES, PLACEHOLDER, Milestone, Store
from connector.mapping.consent import EUROPE
from connector.mapping.properties import CONTENT_ID_CHAINS, CURRENCIES, content_type

# The placeholders of event_id.checkout and event_id.order that a browser can fill; "meta:" stands for any key.
KnownPlaceholders = Mapping[Literal["checkout", "order"], tuple[str, ...]]

MILESTONES_OF: Mapping[Literal["checkout", "order"], tuple[Milestone, ...]] = {
    "checkout": ("checkout_started",),
    "order": ("order_placed", "order_paid"),
}


# --- obstacles and warnings -----------------------------------------------------------------------------------


def obstacles(store: Store, known: KnownPlaceholders) -> Iterator[str]:
    """Yield why a browser cannot send what the server sends, a sentence each with what to do."""
    if "web" not in store.orders.include:
        yield f'orders.include of store {store.name} has no "web", so the server leaves out what a browser would send'
    for name, milestones in MILESTONES_OF.items():
        if any(store.events[milestone] for milestone in milestones):
            yield from _unknown_placeholders(store, name, known[name], milestones)


def _unknown_placeholders(
    store: Store, name: Literal["checkout", "order"], known: tuple[str, ...], milestones: tuple[Milestone, ...]
) -> Iterator[str]:
    for asked in PLACEHOLDER.findall(getattr(store.event_id, name)):
        if asked not in known and not any(one.endswith(":") and asked.startswith(one) for one in known):
            listed = ", ".join(f"{{{one}KEY}}" if one.endswith(":") else f"{{{one}}}" for one in known)
            yield (
                f"event_id.{name} of store {store.name} has {{{asked}}}, which the browser cannot know here; use "
                f"one of {listed}, or switch off {' and '.join(f'events.{one}' for one in milestones)}"
            )


def signal_obstacles(store: Store, base_url: str) -> Iterator[str]:
    """Yield why the browser cannot send its signals to a server at `base_url`, where the store expects them."""
    if store.signals and not _is_reachable(base_url):
        yield "where shall the browser send its signals? Set PUBLIC_URL or give --base-url https://HOST"


def _is_reachable(base_url: str) -> bool:
    """A shop's page is https, and browsers send nothing from it to plain http but on the same machine."""
    try:
        url = urlsplit(base_url)
    except ValueError:
        return False
    return bool(url.hostname) and (url.scheme == "https" or (url.scheme == "http" and url.hostname == "127.0.0.1"))


def pixel_mismatch(store: Store, wanted: Literal["snippet", "own"]) -> Iterator[str]:
    """Yield a warning unless the store's browser_pixel is the one `wanted`."""
    if store.browser_pixel != wanted:
        yield (
            f'set browser_pixel = "{wanted}" in [stores.{store.name}], so that nothing is sent that TikTok could not '
            f'tell from the browser\'s copy (now it is "{store.browser_pixel}")'
        )


def test_code_ignored(store: Store) -> Iterator[str]:
    """Yield a warning where a test_event_code is set."""
    if any(pixel.test_event_code for pixel in store.pixels):
        yield "test_event_code is the server's only: what the browser sends counts for real"


# --- the settings ---------------------------------------------------------------------------------------------


def browser_settings(store: Store) -> dict[str, Any]:
    """Return what any platform's code asks for: nothing but this is taken from a store."""
    choice, consent = store.mapping, store.consent_source
    needed = {"required": "everywhere", "required_in_europe": "europe", "not_required": "nowhere"}[store.consent]
    chain = (
        [choice.content_id] if "{" in choice.content_id else [f"{{{n}}}" for n in CONTENT_ID_CHAINS[choice.content_id]]
    )
    return {
        "pixels": [pixel.code for pixel in store.pixels],
        # TikTok applies it where a law gives the right to it; which state the shopper is in shows only later.
        "limited_data_use": bool(store.limited_data_use),
        "consent": {
            "needed": needed,
            "key": consent.key,
            "granted": _lower(consent.granted),
            "europe": sorted(EUROPE) if needed == "europe" else [],
        },
        "country": store.country,
        "events": {milestone: store.events[milestone] for milestone in BROWSER_MILESTONES},
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
        "currencies": sorted(CURRENCIES),
        "value": {"of": choice.value, "excludes": choice.value_excludes},
    }


def collect_url(store: Store, base_url: str) -> str:
    """Return where the browser sends its signals, or "" where the store expects none."""
    return f"{base_url.rstrip('/')}/collect/{store.name}" if store.signals else ""


def _pieces(template: str) -> list[str]:
    """Texts and names of placeholders by turns."""
    return PLACEHOLDER.split(template)


def _lower(words: tuple[str, ...]) -> list[str]:
    return [word.strip().lower() for word in words]


# --- the code -------------------------------------------------------------------------------------------------


def closed(settings: dict[str, Any], *sources: str) -> str:
    """Return the sources as one function over the settings, so that no name of theirs meets one of the page's."""
    return f"{function(*sources)}({as_json(settings)});\n"


def function(*sources: str) -> str:
    """Return the sources as one JavaScript function of `settings`."""
    return '(function (settings) {\n"use strict";\n\n' + "\n".join(sources) + "})"


def source(package: str, name: str) -> str:
    """Return the text of a file that lies in a package."""
    return files(package).joinpath(name).read_text(encoding="utf-8")


def tiktok_js() -> str:
    """Return the shared JavaScript that loads TikTok's pixel and sends events to it."""
    return source(__package__, "tiktok.js")


def as_json(settings: object) -> str:
    """Write one line of ASCII that is the same in JSON, JavaScript, a PHP nowdoc and between <script> and </script>."""
    text = json.dumps(settings, ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
