"""Configuration: the environment and the stores file become a `Config`, or a `ConfigError` naming every faulty key.

The story: read the environment, read the stores file(s), build each `Store`, compare the stores with each other.
Every step notes its problems and goes on with a stand-in, so that one start shows them all. No problem ever holds a
value that may be secret. `stores_file` finds the keys, `values` reads what is written at one.
"""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import combinations
from typing import Literal

from connector.config import values
from connector.config.stores_file import API_KEYS, Reading, Section, Table, join, read_document
from connector.core import logs
from connector.core.platform import PlatformFacts
from connector.core.registry import installed_platforms
from connector.core.store import (
    ORDER_KINDS,
    VALUE_PARTS,
    ApiKeys,
    EventIdTemplates,
    MappingSettings,
    Pixel,
    SignalSettings,
    Store,
)

STATUSES = ("placed_statuses", "paid_statuses")
ORDER_LISTS = ("paid_when_placed", "exclude_tags", "exclude_gateways", "exclude_email_domains")
# What TikTok's own apps and plugins for shop systems send, under random event_ids that nothing can deduplicate.
OFFICIAL_EVENTS = frozenset({"Purchase", "CompletePayment", "InitiateCheckout"})

CONSENTS: tuple[Literal["required", "required_in_europe", "not_required"], ...]
CONSENTS = ("required", "required_in_europe", "not_required")
ID_KINDS = ("order", "checkout", "customer")
PIXEL_KEYS = ("pixel", "access_token", "test_event_code")
VANISHING_DISKS = ("DYNO", "K_SERVICE", "RENDER", "RAILWAY_ENVIRONMENT")


class ConfigError(Exception):
    """The configuration cannot be used. `problems` holds one line for each fault, free of secret values."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(self.problems))


@dataclass(frozen=True)
class Environment:
    """The settings that need no stores file. Addresses but `alert_url` have no trailing slash; "" means not set."""

    database_url: str = field(repr=False)  # as SQLAlchemy spells it; may hold a password
    events_api_url: str
    port: int
    web_concurrency: int
    public_url: str
    trusted_proxies: int
    admin_password: str = field(repr=False)
    alert_url: str = field(repr=False)
    log_format: Literal["text", "json"]
    log_level: str


@dataclass(frozen=True)
class Config(Environment):
    """Everything a command knows at start: the environment, the stores by name, and how long rows are kept.

    `literal_secrets` are the key paths (never the values) of secrets written into a file instead of `${NAME}`.
    """

    stores: dict[str, Store]
    literal_secrets: tuple[str, ...]
    keep_payloads: timedelta = timedelta(days=7)
    keep_ledger: timedelta = timedelta(days=90)
    keep_parked: timedelta = timedelta(days=14)


def load(environ: Mapping[str, str]) -> Config:
    """Read the environment and the stores file it names. Raises `ConfigError` with every problem of both."""
    reading = Reading(environ)
    environment = _environment(reading)
    _refuse_vanishing_disk(reading)
    document = read_document(reading)
    if document is None:
        raise ConfigError(reading.problems)
    stores = _stores(document["stores"], document["defaults"], reading)
    _refuse_clashes(stores, reading)
    literal_secrets = () if environ.get("STORES_TOML", "").strip() else tuple(reading.literal_secrets)
    config = Config(**vars(environment), stores=stores, literal_secrets=literal_secrets)
    keep, connector = values.duration(), Section(reading, ("connector", document["connector"]))
    config = connector.over(config, keep_payloads=keep, keep_ledger=keep, keep_parked=keep)
    connector.refuse_unknown_keys()
    if reading.problems:
        raise ConfigError(reading.problems)
    return config


def load_environment(environ: Mapping[str, str]) -> Environment:
    """Read only the settings that need no stores file. Raises `ConfigError` with every problem."""
    reading = Reading(environ)
    environment = _environment(reading)
    if reading.problems:
        raise ConfigError(reading.problems)
    return environment


def _environment(reading: Reading) -> Environment:
    setting, any_url = reading.setting, values.web_url("https", "http")
    return Environment(
        database_url=setting("DATABASE_URL", values.database_url, "sqlite:///connector.db"),
        events_api_url=setting("EVENTS_API_URL", any_url, "https://business-api.tiktok.com/open_api/v1.3"),
        port=setting("PORT", values.number(1, 65535), 8000),
        web_concurrency=setting("WEB_CONCURRENCY", values.number(1), min(os.cpu_count() or 1, 4)),
        public_url=setting("PUBLIC_URL", any_url, ""),
        trusted_proxies=setting("TRUSTED_PROXIES", values.number(0), 0),
        admin_password=setting("ADMIN_PASSWORD", values.text, ""),
        alert_url=setting("ALERT_URL", values.alert_url, ""),
        log_format=setting("LOG_FORMAT", values.choice("text", "json"), logs.usual_form()),
        log_level=setting("LOG_LEVEL", values.log_level, "INFO"),
    )


def _refuse_vanishing_disk(reading: Reading) -> None:
    url = reading.environ.get("DATABASE_URL", "").strip()
    sign = next((name for name in VANISHING_DISKS if reading.environ.get(name)), None)
    if sign and (not url or url.startswith("sqlite")) and reading.environ.get("ALLOW_SQLITE") != "1":
        reading.problem(
            "DATABASE_URL",
            f"SQLite would lose its file with this host's disk ({sign} is set); set DATABASE_URL to a PostgreSQL "
            "database, or ALLOW_SQLITE=1 if the file is on a mounted volume",
        )


# The stores


def _stores(tables: Table, defaults: Table, reading: Reading) -> dict[str, Store]:
    stores: dict[str, Store] = {}
    for name, table in tables.items():
        place = join("stores", name)
        reserved = installed_platforms().facts(name).shared_url  # /webhooks/NAME serves all stores of that platform
        if reserved or not re.fullmatch("[a-z0-9-]+", name):
            beside = f', and is not "{name}"' if reserved else ""
            reading.problem(place, f'a store\'s name is made of a-z, 0-9 and "-"{beside}')
        if not isinstance(table, dict):
            reading.problem(place, f"must be a table, [{place}]")
            continue
        section = Section(reading, (place, table), ("defaults", defaults))
        stores[name] = _store(name, section)
        _refuse_useless_signals(stores[name], section)
        _refuse_double_senders(stores[name], section)
        section.refuse_unknown_keys()
    return stores


def _store(name: str, section: Section) -> Store:
    """The required keys, then those that have a default, then the tables."""
    platform = section.get("platform", values.choice(*installed_platforms()), "", values.one_of(installed_platforms()))
    facts = installed_platforms().facts(platform)
    api = _api(section, facts, platform)
    shops = values.list_of(values.shop(facts.shop_suffix, facts.shop_error), alone=True, empty=False)
    secrets = values.list_of(values.name, alone=True, empty=False)
    own_ids = EventIdTemplates(
        f"{name}-order-{{order_id}}", f"{name}-checkout-{{checkout_token}}", f"{name}-customer-{{customer_id}}"
    )
    why = "whether a shopper must agree first is a legal choice, so there is no default"
    store = Store(
        name=name,
        platform=platform,
        url=section.get("url", values.web_url("https", "http"), "", "the address of the storefront, https://…"),
        shops=section.get("shop", shops, (), "how the platform names this shop"),
        webhook_secrets=section.get("webhook_secrets", secrets, (), "what the shop signs its webhooks with"),
        pixels=_pixels(section),
        consent=section.get("consent", values.choice(*CONSENTS), "not_required", f"{why}; {values.one_of(CONSENTS)}"),
        event_id=section.table("event_id").over(own_ids, **dict.fromkeys(ID_KINDS, values.event_id)),
        api=api,
    )
    store = section.over(
        store,
        country=values.unless_blank(values.country, ""),
        browser_pixel=values.choice("none", "snippet", "own", "official"),
        go_live=values.unless_blank(values.moment, None),
        max_event_age=values.duration(timedelta(days=28)),
        limited_data_use=values.list_of(values.us_state),
        reconcile=values.unless_blank(values.duration(), None),
        external_id=values.unless_blank(values.event_id, ""),
    )
    if store.reconcile and not api:
        section.problem("reconcile", f"needs the shop's keys in [{section.path('api')}]")
    if store.reconcile and store.reconcile < timedelta(minutes=1):
        section.problem("reconcile", 'must be at least "1m", out of regard for the shop; "15m" is usual')
    events = section.table("events")
    event_names = values.unless_blank(values.list_of(values.event_name, alone=True), ())
    names, hold = values.list_of(values.name), values.duration(timedelta(seconds=240), zero=True)
    signals = section.table("signals").over(SignalSettings(), hold_checkout=hold, hold_order=hold)
    return replace(
        store,
        events={milestone: events.get(milestone, event_names, usual) for milestone, usual in store.events.items()},
        orders=section.table("orders").over(
            store.orders,
            include=values.list_of(values.choice(*ORDER_KINDS)),
            exclude_zero=values.boolean,
            **dict.fromkeys(STATUSES, values.list_of(values.status)),
            **dict.fromkeys(ORDER_LISTS, names),
        ),
        mapping=section.table("mapping").over(
            MappingSettings(content_id=facts.content_id),
            value=values.choice("total", "items"),
            value_excludes=values.list_of(values.choice(*VALUE_PARTS)),
            currency=values.choice("presentment", "shop"),
            content_id=values.unless_blank(values.content_id, facts.content_id),
        ),
        consent_source=section.table("consent_source").over(store.consent_source, key=values.text, granted=names),
        signals=signals if "signals" in section else None,
    )


def _api(section: Section, facts: PlatformFacts, platform: str) -> ApiKeys | None:
    table = section.table("api")
    api = table.over(ApiKeys(), **dict.fromkeys(API_KEYS, values.token))
    given = {key for key in API_KEYS if key in table}
    if (
        given
        and not installed_platforms().fault(platform)
        and given not in [set(keys) for keys in facts.api_credentials]
    ):
        allowed = ", or ".join(" and ".join(keys) for keys in facts.api_credentials) or "no [api]"
        section.problem("api", f"platform {platform} takes {allowed}")
    return api if given else None


def _pixels(section: Section) -> tuple[Pixel, ...]:
    section.known.update(("pixels", *PIXEL_KEYS))
    if "pixels" not in section:
        return (_pixel(section),)
    if single := [key for key in PIXEL_KEYS if key in section]:
        section.problem("pixels", f"either {', '.join(single)} or [[pixels]], not both; remove one of the two")
    pixels = tuple(_pixel(row) for row in section.tables("pixels"))
    codes = [pixel.code for pixel in pixels if pixel.code]
    if len(set(codes)) < len(codes):
        section.problem("pixels", "the same pixel twice; every event would be sent twice")
    return pixels


def _pixel(section: Section) -> Pixel:
    return Pixel(
        code=section.get("pixel", values.pixel_code, "", "the pixel code, or several pixels in [[pixels]]"),
        access_token=section.get("access_token", values.token, "", "the pixel's Events API access token"),
        test_event_code=section.get("test_event_code", values.unless_blank(values.token, ""), ""),
    )


# What no reader of one key can see


def _refuse_useless_signals(store: Store, section: Section) -> None:
    """A platform without a beacon of ours would only make its events wait."""
    registry = installed_platforms()
    if store.signals and not registry.fault(store.platform) and not registry.facts(store.platform).signals:
        section.problem(
            "signals",
            f"of no use with {store.platform}, whose shop writes what the browser knows into the order itself; leave "
            "it out, or out of [defaults] and in the stores of other platforms",
        )


def _refuse_double_senders(store: Store, section: Section) -> None:
    """With TikTok's own app on the pixel every Purchase and InitiateCheckout of ours would be a second one."""
    if store.browser_pixel != "official":
        return
    for milestone, names in store.events.items():
        own = milestone in ("order_paid", "checkout_started") and names
        if own or OFFICIAL_EVENTS & set(names):
            section.table("events").problem(
                milestone,
                "TikTok's own app sends this too, with random event_ids, so it would count twice; switch the app's "
                f'data sharing off and set browser_pixel = "none", or set {milestone} = ""',
            )


def _refuse_clashes(stores: Mapping[str, Store], reading: Reading) -> None:
    """Two stores on one pixel must neither send the same orders nor make the same ids."""
    codes = {name: {pixel.code for pixel in store.pixels if pixel.code} for name, store in stores.items()}
    for first, second in combinations(stores.values(), 2):
        if not codes[first.name] & codes[second.name]:
            continue
        place, other = join("stores", second.name), join("stores", first.name)
        if set(first.shops) & set(second.shops):
            reading.problem(place, f"the same shop and pixel as {other}; every event would be sent twice")
        for kind in ID_KINDS:
            if _may_meet(getattr(first.event_id, kind), getattr(second.event_id, kind)):
                reading.problem(
                    f"{place}.event_id.{kind}",
                    f"may make the same id as {other}'s on the same pixel; TikTok would take two {kind}s for one, "
                    "so begin it with the store's name",
                )


def _may_meet(one: str, two: str) -> bool:
    """Whether two templates can give the same id: only fixed text at their beginnings or ends rules it out."""

    def apart(first: str, second: str) -> bool:
        return not first.startswith(second) and not second.startswith(first)

    begin = (one.partition("{")[0], two.partition("{")[0])
    end = (one.rpartition("}")[2][::-1], two.rpartition("}")[2][::-1])
    return not apart(*begin) and not apart(*end)
