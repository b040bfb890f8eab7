"""The relay process: the relay in the main thread, and periodic jobs in one thread each."""

import logging
import signal
import threading
from collections.abc import Callable, Mapping
from functools import partial

import httpx

from connector.config.settings import Config
from connector.core.registry import BrokenPlatform, installed_platforms, part
from connector.core.shop_api import ShopApiModule
from connector.core.store import Store
from connector.funnel.job import FunnelJob
from connector.funnel.queue import FunnelQueue
from connector.intake.intake import Intake
from connector.meter.matching import MeterJob
from connector.monitoring import key_trends, merge_problems
from connector.monitoring.alerts import AlertStore
from connector.monitoring.key_trends import KeyProblemFinder
from connector.monitoring.merge_problems import MergeProblemFinder
from connector.monitoring.notifier import notifier
from connector.monitoring.problems import ProblemFinder
from connector.monitoring.watcher import Watcher
from connector.outbox.held_events import EVERY, SELDOM, HeldEventsJob, HoldExpiry
from connector.outbox.ledger import webhooks_are_frequent
from connector.outbox.outbox import Outbox
from connector.privacy.erasure import erasure_job
from connector.privacy.requests import DataRequestStore
from connector.privacy.retention import RetentionJob, RetentionPolicy, RetentionStore
from connector.relay.events_api import TIMEOUT, EventsApi
from connector.relay.relay import SLOW_WORKERS_AT_ONCE, WORKERS_AT_ONCE, Relay
from connector.setup.running import NOTED_EVERY, RunningSettings
from connector.storage.database import Database
from connector.storage.engine import connect
from connector.storage.periodic import run_periodically
from connector.sync.fetch import NoticeFetcher, thin_stores
from connector.sync.public_keys import TIMEOUT as KEY_TIMEOUT
from connector.sync.public_keys import KeyFetcher
from connector.sync.reconcile import Reconciler

log = logging.getLogger(__name__)

JOB_GRACE = 5.0  # seconds that a job has to end; the next process repeats unfinished work

Run = Callable[[threading.Event], None]


def run_relay(config: Config) -> None:
    """Run the relay and its jobs until SIGTERM or SIGINT; return after the requests in flight are settled."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    # Webhooks have priority: the relay leaves the write lock of SQLite to them most of the time.
    database = Database(connect(config.database_url, timeout=10.0), yields_to=webhooks_are_frequent)
    limits = httpx.Limits(max_connections=WORKERS_AT_ONCE + SLOW_WORKERS_AT_ONCE, max_keepalive_connections=32)
    with httpx.Client(timeout=TIMEOUT, limits=limits) as tiktok:
        relay = Relay(config.stores, Outbox(database), EventsApi(config.events_api_url, tiktok))
        jobs = _jobs(config, database, relay.name)
        if any(store.funnel for store in config.stores.values()):
            # A relay of its own, so that browsers' events delay no order: other lanes, threads and limits.
            jobs["funnel relay"] = Relay(
                config.stores, FunnelQueue(database), EventsApi(config.events_api_url, tiktok)
            ).run
        _run_with_jobs(relay.run, jobs, stop)


def _jobs(config: Config, database: Database, owner: str) -> dict[str, Run]:
    """Build the periodic jobs by name. `owner` is the name under which this process takes leases."""
    watcher = Watcher(
        ProblemFinder(database, config.stores),
        AlertStore(database),
        notifier(database, config, owner),
        slow=[
            (MergeProblemFinder(database, config.stores).find, merge_problems.KINDS),
            (KeyProblemFinder(database, config.stores).find, {key_trends.KIND}),
        ],
    )
    usable = _usable(config)
    shop_apis = _shop_apis(usable)
    expects_signals = any(store.signals for store in config.stores.values())
    return {
        "housekeeping": RetentionJob(RetentionStore(database), RetentionPolicy.of(config), config.stores, owner).run,
        "watching": watcher.run,
        "holding": HeldEventsJob(HoldExpiry(database), interval=EVERY if expects_signals else SELDOM).run,
        "reconciliation": Reconciler(usable, installed_platforms(), shop_apis, database, owner).run,
        "fetching": _fetcher(usable, shop_apis, database, owner).run,
        "funnel": FunnelJob(database, config.stores, owner).run,
        "meter": MeterJob(database, config.stores, owner).run,
        "erasing": erasure_job(database, config.stores, owner).run,
        "settings": partial(
            run_periodically,
            RunningSettings(database, config).note,
            name="noting the settings",
            interval=NOTED_EVERY,
            first=0.0,
        ),
        "public keys": KeyFetcher(config.stores, database, httpx.Client(timeout=KEY_TIMEOUT), owner).run,
    }


def _usable(config: Config) -> dict[str, Store]:
    """Return the stores whose platforms can be loaded."""
    return {name: store for name, store in config.stores.items() if not installed_platforms().fault(store.platform)}


def _shop_apis(stores: Mapping[str, Store]) -> dict[str, ShopApiModule]:
    """Return the shop APIs of the stores' platforms, by platform, of those that have one."""
    found = {}
    for name in {store.platform for store in stores.values()}:
        try:
            found[name] = part(installed_platforms()[name], lambda platform: platform.shop_api)
        except BrokenPlatform as error:
            log.error("%s; nothing is fetched from its stores", error)
    return {name: shop_api for name, shop_api in found.items() if shop_api}


def _fetcher(
    stores: Mapping[str, Store], shop_apis: Mapping[str, ShopApiModule], database: Database, owner: str
) -> NoticeFetcher:
    platforms = installed_platforms()
    thin = {name: store for name, store in thin_stores(stores, platforms).items() if store.platform in shop_apis}
    intake = Intake(thin, platforms, Outbox(database), DataRequestStore(database))
    return NoticeFetcher(thin, shop_apis, intake, database, owner)


def _run_with_jobs(relay: Run, jobs: Mapping[str, Run], stop: threading.Event) -> None:
    """Run the relay in this thread and each job in its own; then give the jobs `JOB_GRACE` seconds each to end."""
    threads = [threading.Thread(target=run, args=(stop,), name=name, daemon=True) for name, run in jobs.items()]
    for thread in threads:
        thread.start()
    try:
        relay(stop)
    finally:
        stop.set()
        for thread in threads:
            thread.join(JOB_GRACE)
