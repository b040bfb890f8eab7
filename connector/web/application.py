"""The web application of one process, and its composition root.

An ASGI application answers webhooks, beacons and health checks in the event loop. Everything else, the dashboard and
the metrics, is a Flask application in threads of its own, so that a slow page delays no webhook.
"""

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, partial
from threading import Event, Thread

from a2wsgi import WSGIMiddleware
from flask import Flask
from sqlalchemy import Connection

from connector.config.settings import Config, load
from connector.core import logs
from connector.core.platform import Platform
from connector.core.registry import BrokenPlatform, installed_platforms
from connector.dashboard import routes as dashboard
from connector.dashboard.auth import Authenticator
from connector.funnel.bounds import REFRESH, KnownBounds
from connector.funnel.buffer import WRITE_EVERY, FunnelBuffer
from connector.intake.intake import Intake
from connector.intake.key_reader import READ_EVERY, KeyReader
from connector.meter.buffer import WRITE_EVERY as REPORT_EVERY
from connector.meter.buffer import ReportBuffer
from connector.monitoring.alerts import AlertStore
from connector.monitoring.notifier import notifier
from connector.monitoring.watcher import RelayAbsenceReporter
from connector.outbox.ledger import webhooks_are_frequent
from connector.outbox.notices import NoticeTable
from connector.outbox.outbox import Outbox
from connector.outbox.queries import OutboxQueries
from connector.privacy.requests import DataRequestStore
from connector.signals.collector import Collector
from connector.signals.matching import SignalMatcher
from connector.storage.async_database import AsyncDatabase, open_async
from connector.storage.database import CannotStore, Database, caused_by_one_row
from connector.storage.engine import connect
from connector.storage.group_commit import GroupCommit, Item, Result
from connector.storage.periodic import run_periodically
from connector.storage.public_keys import PublicKeyTable
from connector.web import metrics
from connector.web.asgi import BodyReader, Receive, Scope, Send, read_headers, received, respond
from connector.web.beacon_endpoint import PATH_PREFIX as BEACONS
from connector.web.beacon_endpoint import BeaconEndpoint
from connector.web.errors import error_response, flask_response
from connector.web.funnel_endpoint import FunnelEndpoint
from connector.web.health import Health
from connector.web.meter_endpoint import MeterEndpoint
from connector.web.relay_watch import LOOK_EVERY, RelayWatch
from connector.web.request_metrics import RequestMetrics
from connector.web.webhook_endpoint import PATH_PREFIX as WEBHOOKS
from connector.web.webhook_endpoint import WebhookEndpoint

log = logging.getLogger(__name__)

MAX_FORM = 1024 * 1024  # bytes of a form of the dashboard
BODY_MEMORY = 64 * 1024 * 1024  # bytes of large bodies that a process holds at one time
FLUSH_EVERY = 1.0  # seconds between two writes of the counters
PAGE_THREADS = 4


class Application:
    """The ASGI application of one process. The schema must be current."""

    def __init__(
        self,
        config: Config,
        database: Database,
        async_database: AsyncDatabase,
        platforms: Mapping[str, Platform],
        reload: Callable[[], Config] | None = None,
    ) -> None:
        """`reload` reads the settings as they are written now."""
        _load_platforms(platforms, {store.platform for store in config.stores.values()})
        outbox, matcher = Outbox(database), SignalMatcher(database)
        request_metrics = RequestMetrics(platforms)
        self._bodies = bodies = BodyReader(BODY_MEMORY)
        self._async_database = async_database
        self._stop = Event()
        self.intake = Intake(config.stores, platforms, outbox, DataRequestStore(database))
        report = _absence_reporter(config, database).report
        self.watch = RelayWatch(config, outbox, OutboxQueries(database), report=report)
        self._health = Health(outbox, self.watch)
        self._webhooks = WebhookEndpoint(
            config.stores,
            platforms,
            self.intake,
            _group_commit(async_database, outbox.write),
            _group_commit(async_database, NoticeTable(database).write),
            bodies,
            request_metrics,
            config.public_url,
        )
        self._keys = KeyReader(config.stores, PublicKeyTable(database))
        self._beacons = BeaconEndpoint(
            config.stores,
            Collector(config.stores, config.trusted_proxies),
            _group_commit(async_database, matcher.write),
            bodies,
        )
        # Writing what browsers send gives way to webhooks.
        patient = Database(database.engine, yields_to=webhooks_are_frequent)
        self.reports = ReportBuffer(patient)
        self._meter = MeterEndpoint(config.stores, config.trusted_proxies, self.reports, bodies)
        self._has_meter = any(store.meter for store in config.stores.values())
        self.funnel = FunnelBuffer(patient)
        self.bounds = KnownBounds(database)
        self._funnel = FunnelEndpoint(
            config.stores, platforms, config.trusted_proxies, self.funnel, self.bounds, bodies
        )
        self._has_funnel = any(store.funnel for store in config.stores.values())
        self._make_pages = partial(_pages, config, database, platforms, request_metrics, reload)

    @cached_property
    def pages(self) -> Flask:
        """The Flask application of dashboard and metrics; made when a server starts, or for the first request."""
        return self._make_pages()

    @cached_property
    def _page_threads(self) -> WSGIMiddleware:
        return WSGIMiddleware(self.pages, workers=PAGE_THREADS)  # type: ignore[arg-type] # types of its own

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the start and end of the process."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._serve(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        try:
            is_list = path == WEBHOOKS and scope["method"] in ("GET", "HEAD")  # the dashboard's, with a slash
            if path.startswith(WEBHOOKS) and not is_list:
                response = await self._webhooks.answer(scope, receive)
            elif path.startswith(BEACONS):
                name, _, what = path.removeprefix(BEACONS).rstrip("/").partition("/")
                if what in ("event", "token"):
                    response = await self._funnel.answer(scope, receive, name, what)
                elif what == "seen":
                    response = await self._meter.answer(scope, receive, name)
                else:
                    response = await self._beacons.answer(scope, receive)
            elif path.rstrip("/") == "/healthz":
                response = self._health.alive()
            elif path.rstrip("/") == "/readyz":
                response = await self._health.ready()
            else:
                body = await self._bodies.read(receive, read_headers(scope), MAX_FORM)  # so that no thread waits for it
                await self._page_threads(scope, received(body), send)  # type: ignore[arg-type] # types of its own
                return
        except Exception as error:
            response = error_response(error)
        await respond(response, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        """Start and end with the server: https://asgi.readthedocs.io/en/latest/specs/lifespan.html"""
        await receive()
        await asyncio.to_thread(self.start)
        _ = self._page_threads
        self._start_jobs()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await asyncio.to_thread(self._end)
        await self._async_database.close()
        await send({"type": "lifespan.shutdown.complete"})

    def start(self) -> None:
        """Start intake and look at the relay; if the database is away, the first webhook starts intake."""
        try:
            self.intake.start()
            self._keys.read()
            self.watch.look()
            if self._has_funnel:
                self.bounds.refresh()
        except CannotStore as error:
            # If a worker fails to start, gunicorn stops; one that has started answers 503 until the database is back.
            log.error("the database does not answer: %s", error)

    def _start_jobs(self) -> None:
        jobs: list[tuple[Callable[[], object], str, float]] = [
            (self.intake.counters.flush, "counting", FLUSH_EVERY),
            (self.watch.look, "the look at the relay", LOOK_EVERY),
        ]
        if self._keys.needed:
            jobs.append((self._keys.read, "the reading of public keys", READ_EVERY))
        if self._has_funnel:
            jobs.append((self.funnel.flush, "writing of browsers' events", WRITE_EVERY))
            jobs.append((self.bounds.refresh, "reading of the funnel's bounds", REFRESH))
        if self._has_meter:
            jobs.append((self.reports.flush, "writing of pages' reports", REPORT_EVERY))
        for work, name, interval in jobs:
            settings = {"name": name, "interval": interval}
            Thread(target=run_periodically, args=(work, self._stop), kwargs=settings, daemon=True, name=name).start()

    def _end(self) -> None:
        self._stop.set()
        try:
            self.intake.counters.flush()
            self.funnel.drain()
            self.reports.flush()
        except CannotStore as error:
            log.warning("the last counts and browsers' events were lost: %s", error)


def create_application(config: Config) -> Application:
    """Create the application of one of gunicorn's workers, after the fork, with all platforms."""
    logs.set_up(config.log_format, config.log_level)
    url = config.database_url
    database = Database(connect(url))
    return Application(config, database, open_async(url), installed_platforms(), lambda: load(os.environ))


def _group_commit(
    database: AsyncDatabase, write: Callable[[Connection, Sequence[Item]], Sequence[Result]]
) -> GroupCommit[Item, Result]:
    return GroupCommit(lambda items: database.write(lambda connection: write(connection, items)), caused_by_one_row)


def _pages(
    config: Config,
    database: Database,
    platforms: Mapping[str, Platform],
    request_metrics: RequestMetrics,
    reload: Callable[[], Config] | None,
) -> Flask:
    """Create the Flask application of dashboard and metrics."""
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_FORM
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    authenticator = Authenticator(config.admin_password)
    # Of its own, because pages run in threads: this one replays parked webhooks.
    intake = Intake(config.stores, platforms, Outbox(database), DataRequestStore(database))
    app.register_blueprint(dashboard.pages(config, database, authenticator, intake, platforms, reload))
    app.register_blueprint(metrics.pages(config, database, request_metrics, authenticator))
    app.register_error_handler(Exception, flask_response)
    return app


def _load_platforms(platforms: Mapping[str, Platform], names: Iterable[str]) -> None:
    """Import the stores' platforms before the first webhook arrives; stores of a broken one are answered 503."""
    for name in names:
        try:
            _ = platforms[name]
        except BrokenPlatform as error:
            log.error("%s; webhooks of its stores are answered 503 until this is fixed", error)


def _absence_reporter(config: Config, database: Database) -> RelayAbsenceReporter:
    owner = f"web-{socket.gethostname()}-{os.getpid()}"
    return RelayAbsenceReporter(AlertStore(database), notifier(database, config, owner))
