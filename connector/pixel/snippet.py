"""The code a shop pastes in so that its browsers and this server say the same: names, ids, value, content ids.

The files beside this one are real JavaScript and PHP. A store's choices go into them as one JSON object in a fixed
place: nothing of a store becomes code, and no secret is among them.
"""

import json
from collections.abc import Iterator
from importlib.resources import files
from typing import Any, Literal
from urllib.parse import urlsplit

from connector.core.store import BROWSER_MILESTONES, PLACEHOLDER, Milestone, Store
from connector.mapping.consent import EUROPE
from connector.mapping.properties import CONTENT_ID_CHAINS, CURRENCIES, EXCLUDES, content_type
from platforms.shopify import webhooks as shopify
from platforms.woocommerce import webhooks as woocommerce

Kind = Literal["shopify", "woocommerce", "plain"]

# What a browser, or the shop's own page, knows of the placeholders of the event_id templates.
KNOWN: dict[Kind, dict[str, tuple[str, ...]]] = {
    "shopify": {
        "checkout": ("checkout_token", "customer_id", "attribute:"),
        "order": ("order_id", "checkout_token", "customer_id", "attribute:"),
    },
    "woocommerce": {
        "checkout": ("checkout_token", "customer_id"),
        "order": ("order_id", "order_number", "order_name", "customer_id", "meta:"),
    },
}
# Shopify's payment methods whose money is there when the thank-you page is. Others (paymentOnDelivery, manualPayment,
# deferred; offsite and local ones such as bank transfers and vouchers) may be paid later or never.
# https://shopify.dev/docs/api/checkout-ui-extensions/latest/target-apis/checkout-apis/payments-api
PAID_AT_ONCE = ("creditCard", "wallet", "redeemable")


MILESTONES_OF: dict[str, tuple[Milestone, ...]] = {
    "checkout": ("checkout_started",),
    "order": ("order_placed", "order_paid"),
}


class NoSnippet(Exception):
    """There is no snippet for these settings. `reasons` holds one sentence each, with what to do."""

    def __init__(self, reasons: list[str]) -> None:
        self.reasons = reasons
        super().__init__("\n".join(reasons))


def snippet(
    store: Store, kind: Kind, base_url: str = "", with_official_plugin: bool = False, with_pixel: bool = True
) -> str:
    """The code, ready to paste. `base_url` is where this server is, for the beacon. Raises NoSnippet.

    Without the pixel the WooCommerce plugin only tells the server, and the browser says nothing to TikTok.
    """
    if reasons := [*_why_not(store, kind, base_url)]:
        raise NoSnippet(reasons)
    settings = _settings(store, kind)
    if kind == "woocommerce":
        settings["pixels"] = settings["pixels"] if with_pixel else []
        return _plugin({**settings, **_of_plugin(store), "with_official_plugin": with_official_plugin})
    settings["collect"] = f"{base_url.rstrip('/')}/collect/{store.name}" if store.signals else ""
    if kind == "plain":
        kept = {name: settings[name] for name in ("collect", "ids")}
        return _closed(kept, "plain.js")
    return _closed({**settings, **_of_custom_pixel(store)}, "tiktok.js", "shopify.js", "shopify_checkout.js")


def where_to_paste(store: Store, kind: Kind) -> tuple[str, str]:
    """Two lines for the person who has the code in front of them."""
    if kind == "shopify":
        return (
            "In Shopify's admin: Settings › Customer events › Add custom pixel; let this replace all that is in Code.",
            "Permission: Required, Marketing and Analytics; Data sale as your policy says. Then Save and Connect.",
        )
    if kind == "woocommerce":
        return (
            "Save it as wp-content/mu-plugins/tiktok-connector.php (make the folder if need be); it runs at once.",
            "It takes the place of the checkout snippet of older versions: remove that.",
        )
    return (
        "Put it before your pixel's own code, between <script> and </script> unless that is a Shopify custom pixel.",
        f"Then give {_listed(store)} their ids, as the comment at its top says.",
    )


def snippet_warnings(store: Store, kind: Kind, with_pixel: bool = True) -> Iterator[str]:
    """What will not be as one might think, one sentence each."""
    wanted = "own" if kind == "plain" else "snippet"
    if with_pixel and store.browser_pixel != wanted:
        yield (
            f'set browser_pixel = "{wanted}" in [stores.{store.name}], so that nothing is sent that TikTok could not '
            f'tell from the browser\'s copy (now it is "{store.browser_pixel}")'
        )
    if kind == "woocommerce" and store.consent != "not_required" and not store.consent_source.key:
        yield (
            f'set key = "tiktok_consent" in [stores.{store.name}.consent_source] and make the plugin again: without it '
            "the shopper's answer cannot be written to the order, and the server sends nothing"
        )
    if kind == "shopify" and store.orders.exclude_tags:
        yield "a browser cannot see an order's tags: it also sends the orders that orders.exclude_tags leaves out here"
    if with_pixel and any(pixel.test_event_code for pixel in store.pixels):
        yield "test_event_code is the server's only: what the browser sends counts for real"


# --- whether --------------------------------------------------------------------------------------------------


def _why_not(store: Store, kind: Kind, base_url: str) -> Iterator[str]:
    if kind != "plain" and "web" not in store.orders.include:
        yield f'orders.include of store {store.name} has no "web", so the server leaves out what a browser would send'
    for name, milestones in MILESTONES_OF.items():
        known = KNOWN.get(kind, {}).get(name, ())
        if kind == "plain" or not any(store.events[milestone] for milestone in milestones):
            continue
        for asked in PLACEHOLDER.findall(getattr(store.event_id, name)):
            if asked not in known and not any(one.endswith(":") and asked.startswith(one) for one in known):
                listed = ", ".join(f"{{{one}KEY}}" if one.endswith(":") else f"{{{one}}}" for one in known)
                yield (
                    f"event_id.{name} of store {store.name} has {{{asked}}}, which the browser cannot know here; use "
                    f"one of {listed}, or switch off {' and '.join(f'events.{one}' for one in milestones)}"
                )
    if store.signals and kind != "woocommerce" and not _is_reachable(base_url):
        yield "where shall the browser send its signals? Set PUBLIC_URL or give --base-url https://HOST"


def _is_reachable(base_url: str) -> bool:
    """A shop's page is https, and browsers send nothing from it to plain http but on the same machine."""
    try:
        url = urlsplit(base_url)
    except ValueError:
        return False
    return bool(url.hostname) and (url.scheme == "https" or (url.scheme == "http" and url.hostname == "127.0.0.1"))


# --- the settings ---------------------------------------------------------------------------------------------


def _settings(store: Store, kind: Kind) -> dict[str, Any]:
    """What both platforms' code asks for: nothing but this is taken from a store."""
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


def _of_custom_pixel(store: Store) -> dict[str, Any]:
    """Which of the two states of an order that its browser can tell count as placed and as paid."""
    orders, states = store.orders, ("paid", "pending")
    paid = set(orders.paid_statuses or shopify.PAID)
    placed = {*orders.placed_statuses, *paid} if orders.placed_statuses else set(states)
    return {
        "currency": store.mapping.currency,
        "placed": [state for state in states if state in placed],
        "paid": [state for state in states if state in paid],
        "paid_at_once": PAID_AT_ONCE,
    }


def _of_plugin(store: Store) -> dict[str, Any]:
    """The connector's own tables of WooCommerce, so that there is one truth."""
    asked = PLACEHOLDER.findall(store.event_id.order + store.external_id)
    value: dict[str, Any] = {"of": store.mapping.value, "excludes": store.mapping.value_excludes}
    return {
        "include": store.orders.include,
        "kinds": woocommerce.KINDS,
        "renewal_keys": woocommerce.RENEWAL_KEYS,
        "meta": [name.removeprefix("meta:") for name in asked if name.startswith("meta:")],
        "tips": sorted(woocommerce.TIPS),
        "statuses": {
            "drafts": sorted(woocommerce.DRAFTS),
            "gone": sorted(woocommerce.GONE),
            "placed": store.orders.placed_statuses,
            "paid": store.orders.paid_statuses,
        },
        "value": {**value, "parts": EXCLUDES},
    }


def _pieces(template: str) -> list[str]:
    """Texts and names of placeholders by turns."""
    return PLACEHOLDER.split(template)


def _lower(words: tuple[str, ...]) -> list[str]:
    return [word.strip().lower() for word in words]


def _listed(store: Store) -> str:
    names = [name for milestone in BROWSER_MILESTONES for name in store.events[milestone]]
    return ", ".join(dict.fromkeys(names)) or "your events"


# --- the code -------------------------------------------------------------------------------------------------


def _closed(settings: dict[str, Any], *names: str) -> str:
    """The files as one function over the settings, so that no name of theirs meets one of the page's."""
    return f"{_function(*names)}({as_json(settings)});\n"


def _function(*names: str) -> str:
    return '(function (settings) {\n"use strict";\n\n' + "\n".join(map(_source, names)) + "})"


def _plugin(settings: dict[str, Any]) -> str:
    filled = {
        "{settings}": as_json(settings),
        "{pixel}": _function("tiktok.js", "woocommerce.js"),
        "{remember}": _function("remember.js"),
        "// {checkout}": _part("woocommerce_checkout.php"),
        "// {order}": _part("woocommerce_order.php"),
    }
    return "\n".join(filled.get(line, line) for line in _source("woocommerce.php").split("\n"))


def _part(name: str) -> str:
    """A PHP file of our namespace without the lines that say so."""
    return _source(name).partition("namespace TikTok_Connector;")[2].strip()


def _source(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def as_json(settings: object) -> str:
    """One line of ASCII that is the same in JSON, JavaScript, a PHP nowdoc and between <script> and </script>."""
    text = json.dumps(settings, ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
