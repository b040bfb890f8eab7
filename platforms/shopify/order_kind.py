"""The kind of a Shopify order or checkout: by its sales channel, else by its tags or by who placed it.

`source_name` is a word of Shopify's own, the id of the app that made the order, or any text that an API client chose.
"""

import re
from collections.abc import Mapping, Sequence

from connector.plugin import Json, OrderKind, identifier, json_object, text

WEB = frozenset({"web", "checkout", "checkout_next", "580111"})  # the last is the id of the online store
SOURCES: Mapping[str, OrderKind] = {
    "pos": "pos",
    "shopify_draft_order": "draft",
    "draft_order": "draft",
    # The merchant's own admin app, not a shopper's phone.
    **dict.fromkeys(("iphone", "android", "shopify_mobile"), "staff"),
    "3890849": "app",  # the Shop app; its orders may lack the user agent
    "1662707": "exchange",  # Loop Returns
    # The sales channels of TikTok, Facebook and Instagram.
    **dict.fromkeys(("4383523", "2329312", "2775569"), "marketplace"),
}
MARKETPLACES = frozenset(
    {"tiktok", "amazon", "ebay", "etsy", "walmart", "google", "facebook", "instagram", "zalando"},
)
CONTRACTS = "subscription_contract"  # "…_checkout_one" since 2025; also first orders, if they came from a checkout
SUBSCRIPTION_CHECKOUTS = frozenset({"294517"})  # Recharge's own checkout: tags tell the first order from the renewals
# Recharge and Kaching write "… Subscription Recurring Order", Appstle "appstle_subscription_recurring_order".
_RENEWAL_TAG = re.compile(r"(\w+ )?subscription recurring order( \d+)?")
_FIRST_TAG = re.compile(r"(\w+ )?subscription first order( \d+)?")
_COPY = re.compile(r"\D*(\d+)[ _-]?[A-Z]\d?")  # 1014A: made of order 1014


def order_kind(body: Json, tags: Sequence[str]) -> OrderKind:
    """Return the kind of an order."""
    source = text(body.get("source_name")).lower()
    if found := _subscription_kind(body, source, tags):
        return found
    if source in SOURCES:
        return SOURCES[source]
    staff = bool(identifier(body.get("user_id")))
    if source in WEB:
        found = "staff" if staff and not body.get("cart_token") else "web"
    else:
        found = _kind_of_app(source) or ("exchange" if _is_copy(body) else "staff" if staff else None)
        found = found or ("app" if _has_browser(body) else "api")
    return "b2b" if found in ("web", "app") and _is_business(body) else found


def _kind_of_app(source: str) -> OrderKind | None:
    """Return the kind of the orders of an app with such a name, or None if the name does not tell."""
    words = re.split("[^a-z0-9]+", source)
    if any(word.startswith(("exchange", "return")) or word.endswith("returns") for word in words):
        return "exchange"
    return "marketplace" if MARKETPLACES.intersection(words) else None


def checkout_kind(body: Json) -> OrderKind:
    """Return the kind of a checkout that no staff member made; it has fewer fields than an order."""
    source = text(body.get("source_name")) or "web"
    found = order_kind({"source_name": source}, ())
    return "app" if found == "api" else found  # only a person starts a checkout


def _subscription_kind(body: Json, source: str, tags: Sequence[str]) -> OrderKind | None:
    """Return the kind of an order that a subscription app made, or None for other orders."""
    if not tags and source in WEB:
        return None  # most orders
    plain = [tag.lower().replace("_", " ") for tag in tags]
    if any(map(_RENEWAL_TAG.fullmatch, plain)):
        return "renewal"
    if source in SUBSCRIPTION_CHECKOUTS:
        return "web"
    if not source.startswith(CONTRACTS):
        return None
    # Apps name first orders by a tag, if at all; renewals are made by a program, without a browser.
    first = any(map(_FIRST_TAG.fullmatch, plain)) or (source != CONTRACTS and _has_browser(body))
    return "web" if first else "renewal"


def _has_browser(body: Json) -> bool:
    """Return True if the order has a shopper's ip and user agent, which tell a headless shop from an ERP."""
    details = json_object(body.get("client_details"))
    return bool(text(body.get("browser_ip")) and text(details.get("user_agent")))


def _is_business(body: Json) -> bool:
    """Return True for an order of a company, or on net terms. A pre-order is due on fulfilment, and anybody's.

    https://shopify.dev/docs/apps/build/b2b
    """
    terms = json_object(body.get("payment_terms"))
    on_terms = bool(terms) and text(terms.get("payment_terms_type")).lower() != "fulfillment"
    return bool(identifier(json_object(body.get("company")).get("id"))) or on_terms


def _is_copy(body: Json) -> bool:
    """Return True for an order that an app made of another, for an exchange or an edit, and named after it.

    A shop's own suffix follows the order's own number.
    """
    number, named = identifier(body.get("order_number")), _COPY.fullmatch(text(body.get("name")))
    return bool(number and named and named[1] != number)
