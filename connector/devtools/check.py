"""`connector check`: describes what this configuration does, and reports its errors."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import httpx

from connector.config.routes import shared_by_stores
from connector.config.settings import Config
from connector.config.summary import plain_words, warnings
from connector.core.event import PERSONAL_DATA_WITHHELD
from connector.core.json_fields import host
from connector.core.platform import Platform
from connector.core.public_keys import read_keys
from connector.core.registry import BrokenPlatform, installed_platforms, part
from connector.core.store import Store
from connector.core.text import how_many, utc_minute
from connector.core.units import DAY
from connector.mapping.consent import NO_CONSENT
from connector.monitoring.channels import is_understood
from connector.monitoring.problems import LAST_ORDERS, withheld
from connector.monitoring.recipients import alert_recipients, digest_recipients
from connector.outbox.encryption import CannotDecrypt, decrypt
from connector.outbox.outbox import Outbox
from connector.outbox.queries import OutboxQueries
from connector.pixel.snippet import is_first_party
from connector.relay.events_api import TIMEOUT
from connector.setup.checklist import SHORT_SECRET, has_short_secret
from connector.setup.live import LiveResult, Mark, ask_shop, reachable, token
from connector.storage.database import CannotStore, Database
from connector.storage.engine import SchemaError, connect, require_current
from connector.storage.public_keys import PublicKeyTable, StoredKeys
from connector.storage.unreachable import is_not_created, why_unreachable
from connector.sync.registration import why_not_to
from connector.sync.shop_wait import ShopWait

SHORT_PASSWORD = 16  # characters
SHOP_WAIT = 30.0  # seconds


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One line of `check`. With a fault the command exits with code 1."""

    mark: Mark
    text: str


def check(
    config: Config,
    live: bool,
    platforms: Mapping[str, Platform] | None = None,
    wait_of: Callable[[str], ShopWait] = lambda _store: ShopWait(SHOP_WAIT, lambda _sentence: None),
) -> Iterator[CheckResult]:
    """Yield all results in reading order. `live`: also send requests to TikTok, PUBLIC_URL and the shops.

    `wait_of` returns the limit to the wait for the shop of a store of this name. `platforms` defaults to the installed
    ones.
    """
    platforms = installed_platforms() if platforms is None else platforms
    used = dict.fromkeys(store.platform for store in config.stores.values())
    titles = " or ".join(installed_platforms().title(name) for name in used)
    yield CheckResult(
        "warning",
        f"switch off TikTok's own {titles} app on every pixel below, or orders count twice: "
        "its event_ids are random, so nothing can tell the copies apart",
    )
    yield from _settings(config)
    yield from _database(config)
    usable: list[tuple[Store, Platform]] = []
    for store in config.stores.values():
        try:
            usable.append((store, platforms[store.platform]))
        except BrokenPlatform as error:
            # Not a fault: containers start by `check && serve`, and stores of other platforms work.
            yield CheckResult(
                "warning", f"store {store.name}: {error}; its webhooks are answered 503 until it is fixed"
            )
        else:
            yield from _store(*usable[-1], config.public_url)
    for certain, sentence in shared_by_stores(config.stores.values()):
        yield CheckResult("warning" if certain else "note", sentence)
    if live:
        with httpx.Client(timeout=TIMEOUT) as client:
            yield from _live(config, client)
        broken = _broken_webhooks(config)
        for store, platform in usable:
            topics = {topic for name, topic in broken if name == store.name}
            for result in ask_shop(store, platform, config.public_url, topics, wait_of(store.name)):
                yield _of_store(store, result)


def _settings(config: Config) -> Iterator[CheckResult]:
    if config.database_url.startswith("sqlite"):
        yield CheckResult("note", "SQLite: one machine, on a disk that stays; PostgreSQL for more (DATABASE_URL)")
    for path in config.literal_secrets:
        yield CheckResult("warning", f"{path} is written into the file; use ${{NAME}} and set it in the environment")
    for recipient in (*alert_recipients(config), *digest_recipients(config)):
        if not is_understood(recipient.address):
            yield CheckResult("warning", f"{recipient.label} is not understood; see `connector alerts test`")
    stores = config.stores.values()
    if config.trusted_proxies == 0 and any(store.signals or store.funnel for store in stores):
        yield CheckResult(
            "note",
            "TRUSTED_PROXIES is 0: right if browsers reach this server without a proxy; behind one the signals "
            "lack the shopper's ip (1 on most hosts)",
        )
    if elsewhere := [store.name for store in stores if store.funnel and not is_first_party(store, config.public_url)]:
        yield CheckResult(
            "note",
            f"PUBLIC_URL is not on the site of {', '.join(elsewhere)}, so browsers delete the click id of [funnel] "
            "after a day or a week; let this server answer on a sub-domain of the shop (docs/funnel.md)",
        )
    if not config.admin_password:
        yield CheckResult("warning", "/metrics is open to everybody, and the dashboard is off; set ADMIN_PASSWORD")
    elif len(config.admin_password) < SHORT_PASSWORD:
        yield CheckResult("warning", f"ADMIN_PASSWORD is short; use {SHORT_PASSWORD} random characters or more")
    if not config.events_api_url.startswith("https://"):
        yield CheckResult("note", f"events go to {config.events_api_url}, which is not TikTok")


def _database(config: Config) -> Iterator[CheckResult]:
    if is_not_created(config.database_url):
        yield CheckResult("note", "there is no database file yet; `connector serve` or `connector migrate` creates it")
        return
    engine = connect(config.database_url)
    try:
        require_current(engine)
        database = Database(engine)
        Outbox(database).ping()
        queries = OutboxQueries(database)
        yield CheckResult("ok", "the database answers and its schema is current")
        yield from _lanes(config, queries)
        for store, number in sorted(queries.skipped(NO_CONSENT).items()):
            one, more = "order, checkout or registration was", "orders, checkouts or registrations were"
            yield CheckResult("note", f"store {store}: {how_many(number, one, more)} skipped without consent")
        yield from _parked(config, queries)
        yield from _problems(queries)
        yield from _withheld(config, queries)
        yield from _public_keys(config, PublicKeyTable(database))
    except SchemaError as error:
        yield CheckResult("note", str(error))
    except CannotStore as error:
        yield CheckResult("fault", f"the database does not take writes: {error}")
    except Exception as error:
        yield CheckResult("fault", why_unreachable(config.database_url, error))
    finally:
        engine.dispose()


def _public_keys(config: Config, table: PublicKeyTable) -> Iterator[CheckResult]:
    for store in config.stores.values():
        stored = {row.address: row for row in table.read(store.key_addresses)} if store.key_addresses else {}
        for address in store.key_addresses:
            row = stored.get(address) or StoredKeys(address)
            if row.error:
                still = "the keys fetched before are used" if row.keys else "its webhooks are answered 503 until then"
                yield CheckResult("warning", f"store {store.name}: public keys: {row.error}; {still}")
            elif row.fetched_at is None:
                yield CheckResult(
                    "note",
                    f"store {store.name}: the public keys at {address} are not fetched yet; a running relay does",
                )
            else:
                number = how_many(len(read_keys(row.keys)), "public key is", "public keys are")
                yield CheckResult("ok", f"store {store.name}: {number} known, fetched {utc_minute(row.fetched_at)}")


def _broken_webhooks(config: Config) -> Collection[tuple[str, str]]:
    """Return store and topic of the webhooks that deliver errors; none if the database cannot be read."""
    if is_not_created(config.database_url):
        return ()
    engine = connect(config.database_url)
    try:
        return OutboxQueries(Database(engine)).broken_webhooks(datetime.now(UTC).timestamp() - DAY).keys()
    except Exception:  # already reported by `_database`
        return ()
    finally:
        engine.dispose()


def _lanes(config: Config, queries: OutboxQueries) -> Iterator[CheckResult]:
    configured = {(store.name, pixel.code) for store in config.stores.values() for pixel in store.pixels}
    for lane, number in queries.waiting().items():
        if (lane.store, lane.pixel) not in configured:
            yield CheckResult(
                "warning",
                f"store {lane.store}, pixel {lane.pixel}: not configured, so "
                f"{how_many(number, 'event of it waits', 'events of it wait')} unsent "
                f"(`connector events list --store {lane.store}`)",
            )
    for state in queries.lane_states():
        if state.suspended_since is not None:
            since = datetime.fromtimestamp(state.suspended_since, UTC)
            yield CheckResult(
                "warning",
                f"store {state.lane.store}, pixel {state.lane.pixel}: denied since {since:%Y-%m-%d %H:%M} UTC "
                f"({state.reason}); its events wait. Check pixel and access_token",
            )


def _parked(config: Config, queries: OutboxQueries) -> Iterator[CheckResult]:
    webhooks = queries.parked(limit=10_000)
    undecryptable = 0
    for webhook in webhooks:
        try:
            decrypt(webhook.sealed, config.stores[webhook.store])
        except (KeyError, CannotDecrypt):
            undecryptable += 1
    if webhooks:
        number = how_many(len(webhooks), "webhook is", "webhooks are")
        yield CheckResult("warning", f"{number} parked: `connector events replay --parked` tries again")
    if undecryptable:
        yield CheckResult(
            "warning", f"{undecryptable} of them cannot be decrypted: no current webhook_secret of their store fits"
        )


def _problems(queries: OutboxQueries) -> Iterator[CheckResult]:
    """Yield the watcher's problems, without those that `_lanes`, `_parked` and `_withheld` report from current data."""
    for problem in queries.open_problems():
        if not problem.key.startswith(("denied:", "parked:", "withheld:")):
            yield CheckResult("warning", f"{problem.sentence} (first seen {utc_minute(problem.since)})")


def _withheld(config: Config, queries: OutboxQueries) -> Iterator[CheckResult]:
    for store in config.stores.values():
        reasons = queries.last_orders(store.name, LAST_ORDERS)
        if len(reasons) == LAST_ORDERS and all(PERSONAL_DATA_WITHHELD in reason for reason in reasons):
            yield CheckResult("warning", withheld(store).sentence)


def _store(store: Store, platform: Platform, public_url: str) -> Iterator[CheckResult]:
    address = f"{public_url.rstrip('/')}/webhooks/{store.name}"
    named = f"store {store.name} ({store.platform}, {', '.join(store.shops)})"
    try:
        part(platform, lambda one: one.shop_api)
        why = why_not_to(public_url, store, platform) if public_url else ""
    except BrokenPlatform as error:
        why = f"{error}; its webhooks are received, but commands and reconcile cannot use the shop's API"
    if why:
        yield CheckResult("warning", f"{named}: {why}")
    else:
        yield CheckResult("ok", f"{named}: webhooks to {address}")
    named_by_host = not (platform.facts.shop_suffix or platform.facts.shop_id)
    if named_by_host and host(store.url) not in store.shops:
        yield CheckResult(
            "note",
            f"  shop is {', '.join(store.shops)}, but url is at {host(store.url)}: webhooks that do not name "
            "the shop are parked",
        )
    for sentence in plain_words(store):
        yield CheckResult("note", f"  {sentence}")
    yield CheckResult("note", f"  {_protection(store, platform)}")
    if store.books:
        yield _books(platform)
    if has_short_secret(store):
        yield CheckResult(
            "warning",
            f"  webhook_secrets: fewer than {SHORT_SECRET} characters can be guessed, and orders forged; "
            "`connector webhooks secret` prints a good one",
        )
    for sentence in warnings(store):
        yield CheckResult("warning", f"  {sentence}")


def _books(platform: Platform) -> CheckResult:
    if type(platform).order_state is Platform.order_state:
        return CheckResult(
            "warning", f"  books: what is left of {platform.title}'s orders is not known, so there are none"
        )
    return CheckResult("note", "  What is cancelled or refunded after the event is kept: `connector books` (books).")


def _protection(store: Store, platform: Platform) -> str:
    """Say what happens to orders whose webhooks never arrive."""
    if store.reconcile:
        return (
            f"Orders and registrations whose webhooks never arrived are fetched every {_length(store.reconcile)} "
            "(reconcile); checkouts cannot be fetched."
        )
    lost = platform.facts.lost_deliveries
    if not platform.facts.api_credentials:
        return f"Webhooks that never arrived are not backfilled: {lost}."
    remedy = 'set reconcile = "15m"' if store.api else f'give keys in [stores.{store.name}.api] and reconcile = "15m"'
    return f"Webhooks that never arrived are not backfilled: {lost}; {remedy}."


def _length(span: timedelta) -> str:
    minutes = round(span.total_seconds() / 60)
    return f"{minutes} minutes" if minutes > 1 else "minute"


def _live(config: Config, client: httpx.Client) -> Iterator[CheckResult]:
    for store in config.stores.values():
        for pixel in store.pixels:
            yield _of_store(store, token(config.events_api_url, client, store, pixel))
    address = reachable(client, config.public_url)
    yield CheckResult(address.mark, address.text)


def _of_store(store: Store, result: LiveResult) -> CheckResult:
    return CheckResult(result.mark, f"store {store.name}: {result.text}")
