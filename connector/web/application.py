"""The web application. Flask serves every route except that of webhooks (`web.webhook_endpoint`)."""

import atexit
import logging
import os
import socket
from collections.abc import Iterable, Mapping

import httpx
from flask import Flask, Response

from connector.config.settings import Config
from connector.core import logs
from connector.core.platform import Platform
from connector.core.registry import BrokenPlatform, installed_platforms
from connector.dashboard import routes as dashboard
from connector.dashboard.auth import Authenticator
from connector.intake.intake import Intake
from connector.monitoring import alerts
from connector.monitoring.watcher import RelayAbsenceReporter
from connector.outbox.outbox import Outbox
from connector.outbox.queries import OutboxQueries
from connector.privacy.requests import DataRequestStore
from connector.signals.collector import Collector
from connector.signals.matching import SignalMatcher
from connector.storage.database import CannotStore, Database
from connector.storage.engine import connect
from connector.web import beacon_endpoint, metrics
from connector.web.errors import error_response, json_response
from connector.web.relay_watch import RelayWatch
from connector.web.request_metrics import RequestMetrics
from connector.web.webhook_endpoint import MAX_BODY, WebhookEndpoint

log = logging.getLogger(__name__)


def wsgi(config: Config) -> Flask:
    """Create the application of one of gunicorn's workers, after the fork."""
    logs.set_up(config.log_format, config.log_level)
    return create_app(config, Database(connect(config.database_url)))


def create_app(config: Config, database: Database, platforms: Mapping[str, Platform] | None = None) -> Flask:
    """Create the application of one process, by default with all platforms. The schema must be current."""
    platforms = installed_platforms() if platforms is None else platforms
    _load_platforms(platforms, {store.platform for store in config.stores.values()})
    outbox = Outbox(database)
    intake = Intake(config.stores, platforms, outbox, DataRequestStore(database))
    report = _absence_reporter(config, database).report
    watch = RelayWatch(config, outbox, OutboxQueries(database), report=report)
    return build_app(config, database, platforms, outbox, intake, watch)


def build_app(
    config: Config,
    database: Database,
    platforms: Mapping[str, Platform],
    outbox: Outbox,
    intake: Intake,
    watch: RelayWatch,
) -> Flask:
    """Build the application from its parts, and start intake."""
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    app.url_map.strict_slashes = False  # a redirect is a failed delivery to every shop
    app.url_map.merge_slashes = False
    app.extensions["intake"] = intake
    app.extensions["watch"] = watch
    _start(intake, watch)

    authenticator, request_metrics = Authenticator(config.admin_password), RequestMetrics(platforms)
    collector = Collector(config.stores, config.trusted_proxies, SignalMatcher(database))
    app.register_blueprint(dashboard.pages(config, database, authenticator, intake))
    app.register_blueprint(metrics.pages(config, database, request_metrics, authenticator))
    app.register_blueprint(beacon_endpoint.blueprint(config.stores, collector))
    _add_health(app, outbox, watch)
    app.register_error_handler(Exception, error_response)
    app.wsgi_app = WebhookEndpoint(  # type: ignore[method-assign] # as Flask's documentation has it
        app.wsgi_app, config.stores, platforms, intake, request_metrics, afterwards=watch.look_now_and_then
    )
    return app


def _load_platforms(platforms: Mapping[str, Platform], names: Iterable[str]) -> None:
    """Import the stores' platforms before the first webhook arrives; stores of a broken one are answered 503."""
    for name in names:
        try:
            _ = platforms[name]
        except BrokenPlatform as error:
            log.error("%s; webhooks of its stores are answered 503 until this is fixed", error)


def _start(intake: Intake, watch: RelayWatch) -> None:
    try:
        intake.start()
        watch.look()
    except CannotStore as error:
        # If a worker fails to start, gunicorn stops; one that has started answers 503 until the database is back.
        log.error("the database does not answer: %s", error)
    atexit.register(_flush, intake)


def _add_health(app: Flask, outbox: Outbox, watch: RelayWatch) -> None:
    @app.get("/healthz")
    def healthz() -> Response:
        return json_response(200, status="alive")

    @app.get("/readyz")
    def readyz() -> Response:
        try:
            outbox.ping()
            return json_response(200, status="ready", **watch.look())
        except CannotStore:
            return json_response(503, status="cannot store", relay="unknown")


def _absence_reporter(config: Config, database: Database) -> RelayAbsenceReporter:
    hook = alerts.AlertWebhook(config.alert_url, httpx.Client(timeout=alerts.TIMEOUT)) if config.alert_url else None
    owner = f"web-{socket.gethostname()}-{os.getpid()}"
    return RelayAbsenceReporter(alerts.AlertStore(database), alerts.notifier(database, hook, owner))


def _flush(intake: Intake) -> None:
    try:
        intake.flush()
    except CannotStore as error:
        log.warning("the last counts were lost: %s", error)
