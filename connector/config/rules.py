"""Rules between the keys of a store, and between stores."""

import json
import re
from collections.abc import Mapping
from dataclasses import fields
from datetime import timedelta
from itertools import combinations

from connector.config.model import STORE_NAME, joined
from connector.config.routes import sent_to
from connector.config.section import Section
from connector.config.stores_file import Reading
from connector.config.summary import STANDARD
from connector.config.wording import one_of
from connector.core.json_fields import host
from connector.core.platform import PlatformFacts
from connector.core.registry import installed_platforms
from connector.core.store import ApiKeys, FunnelSettings, Store

# Events of TikTok's own apps and plugins for shop systems. Their event_ids are random, so nothing can deduplicate them.
OFFICIAL_EVENTS = frozenset({"Purchase", "CompletePayment", "InitiateCheckout"})
# Names by which TikTok counts orders and registrations, old and reserved ones too.
# https://ads.tiktok.com/help/article/reserved-events
NOT_FROM_BROWSERS = frozenset({
    "Purchase", "CompletePayment", "PlaceAnOrder", "Checkout", "InitiateCheckout", "StartCheckout",
    "CompleteRegistration", "Registration", "Subscribe",
})  # fmt: skip
OFFLINE_NAMES = STANDARD - {"PlaceAnOrder"}
API_KEYS = tuple(field.name for field in fields(ApiKeys) if field.name != "url")
EVENT_IDS = ("order", "checkout", "customer")


def check_name(name: str, reading: Reading) -> None:
    """Reject a store's name that does not fit into the URL of its webhooks."""
    reserved = installed_platforms().facts(name).shared_url  # /webhooks/NAME serves all stores of that platform
    if reserved or not re.fullmatch(STORE_NAME, name):
        exception = f', and is not "{name}"' if reserved else ""
        reading.problem(joined("stores", name), f'a store\'s name is made of a-z, 0-9 and "-"{exception}')


def api_keys(section: Section) -> set[str]:
    """Return the names of a store's keys to the shop's API, valid or not."""
    table = section.values.get("api")
    return set(API_KEYS).intersection(table) if isinstance(table, dict) else set()


def check_store(store: Store, section: Section) -> None:
    """Apply every rule of one store."""
    _check_platform(store, section)
    if store.reconcile and not store.api:
        section.problem(f"needs the shop's keys in [{section.path('api')}]", "reconcile")
    if store.reconcile and store.reconcile < timedelta(minutes=1):
        section.problem('must be at least "1m", to limit the load on the shop; "15m" is usual', "reconcile")
    codes = [pixel.code for pixel in store.pixels if pixel.code]
    if len(set(codes)) < len(codes):
        section.problem("the same pixel twice; every event would be sent twice", "pixels")
    _check_offline(store, section)
    if store.browser_pixel == "official":
        _refuse_double_senders(store, section)
    if store.funnel:
        _check_funnel(store, store.funnel, section)


def _check_platform(store: Store, section: Section) -> None:
    """Require an installed platform, and settings that its facts allow."""
    registry, platform = installed_platforms(), store.platform
    if platform and platform not in registry:
        section.problem(
            one_of(registry) + section.shown("platform") + section.guessed("platform", registry), "platform"
        )
    if registry.fault(platform):
        return
    facts = registry.facts(platform)
    for number, shop in enumerate(store.shops, 1):
        if wrong := _shop_error(shop, store, facts):
            section.problem(f"entry {number} {wrong}" if number > 1 else wrong, "shop")
    if store.webhook_keys and not facts.key_address:
        section.problem(f"platform {platform} signs with a secret; set webhook_secrets instead", "webhook_keys")
    keys = api_keys(section)
    if facts.thin and not keys:
        section.problem(
            f"required: webhooks of platform {platform} only name what changed, and these keys fetch the rest",
            "api",
        )
    if keys and keys not in [set(accepted) for accepted in facts.api_credentials]:
        allowed = ", or ".join(" and ".join(accepted) for accepted in facts.api_credentials) or "no [api]"
        section.problem(f"platform {platform} takes {allowed}", "api")
    if store.api and store.api.url and not facts.api_url:
        section.problem(
            f"not supported with {platform}, whose API is at the shop's own address; remove it", "api", "url"
        )
    if store.signals and not facts.signals:
        section.problem(
            f"not supported with {platform}, whose shop writes the browser's data into the order itself; remove it, or "
            "move it from [defaults] to the stores of other platforms",
            "signals",
        )


def _shop_error(shop: str, store: Store, facts: PlatformFacts) -> str:
    """Return why no webhook can come from this shop, or ""."""
    if facts.shop_id:
        return "" if re.fullmatch(facts.shop_id, shop) else facts.shop_error or "must be the id that webhooks name"
    if facts.shop_suffix:
        return "" if shop.endswith(facts.shop_suffix) else facts.shop_error
    if "." in shop or shop in ("localhost", host(store.url)):  # a shop under development can have any host
        return ""
    return "must be the shop's domain, like shop.example: webhooks name it, and a host without a dot matches none"


def _check_offline(store: Store, section: Section) -> None:
    """Require names that offline event sets take; they take no custom ones, and the old ones are not documented.

    https://ads.tiktok.com/help/article/supported-standard-events
    """
    for number, pixel in enumerate(store.pixels):
        if pixel.source != "offline":
            continue
        sent = [*sent_to(pixel, store)]
        if wrong := {name: milestone for milestone, _, name in sent if name not in OFFLINE_NAMES}:
            named = ", ".join(f"{name} ({milestone})" for name, milestone in wrong.items())
            good = [milestone for milestone in dict.fromkeys(one[0] for one in sent) if milestone not in wrong.values()]
            remedy = f"set milestones = {json.dumps(good)} here" if good else "choose others in events"
            section.problem(
                f"offline event sets take TikTok's current standard names only, not {named}; {remedy}", "pixels", number
            )


def _refuse_double_senders(store: Store, section: Section) -> None:
    """Reject events that TikTok's own app already sends on the pixel: each would count twice."""
    sent = [one for pixel in store.pixels if pixel.source == "web" for one in sent_to(pixel, store)]
    wrong: dict[tuple[str, ...], str] = {}
    for milestone, kind, name in sent:
        of_kind = milestone in store.events_of_kinds.get(kind, ())
        if name in OFFICIAL_EVENTS or (milestone in ("order_paid", "checkout_started") and not of_kind):
            wrong[(kind, milestone) if of_kind else (milestone,)] = milestone
    for place, off in wrong.items():
        section.problem(
            "TikTok's own app sends this too, with random event_ids, so it would count twice; switch the app's "
            f'data sharing off and set browser_pixel = "none", or set {off} = ""',
            "events",
            *place,
        )


def _check_funnel(store: Store, funnel: FunnelSettings, section: Section) -> None:
    """Keep what anybody could send apart from orders and registrations, and from what TikTok's own app sends."""
    if store.browser_pixel == "official":
        section.problem(
            "TikTok's own app sends these too, with random event_ids, so they would count twice; switch the app's data "
            "sharing off and set browser_pixel to another value, or remove the table",
            "funnel",
        )
    taken = {name: milestone for milestone in store.events for name in store.all_event_names(milestone)}
    for milestone, names in funnel.events.items():
        for name in names:
            if name in (*taken, *NOT_FROM_BROWSERS):
                reason = f"is the event of {taken[name]}" if name in taken else "means an order or a registration"
                section.problem(
                    f"{name} {reason}, which a browser alone must never report; use another name", "funnel", milestone
                )


def check_clashes(stores: Mapping[str, Store], reading: Reading) -> None:
    """Reject two stores on one pixel that send the same orders or can make the same event_ids."""
    codes = {name: {pixel.code for pixel in store.pixels if pixel.code} for name, store in stores.items()}
    for first, second in combinations(stores.values(), 2):
        if not codes[first.name] & codes[second.name]:
            continue
        place, other = joined("stores", second.name), joined("stores", first.name)
        if set(first.shops) & set(second.shops):
            reading.problem(place, f"the same shop and pixel as {other}; every event would be sent twice")
        for kind in EVENT_IDS:
            if _can_collide(getattr(first.event_id, kind), getattr(second.event_id, kind)):
                reading.problem(
                    f"{place}.event_id.{kind}",
                    f"may make the same id as {other}'s on the same pixel; TikTok would take two {kind}s for one, "
                    "so begin it with the store's name",
                )


def _can_collide(one: str, two: str) -> bool:
    """Return False if fixed text at the beginnings or ends of two templates keeps their ids apart."""

    def apart(first: str, second: str) -> bool:
        return not first.startswith(second) and not second.startswith(first)

    begin = (one.partition("{")[0], two.partition("{")[0])
    end = (one.rpartition("}")[2][::-1], two.rpartition("}")[2][::-1])
    return not apart(*begin) and not apart(*end)
