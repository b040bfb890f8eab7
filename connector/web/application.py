"""The HTTP shell: the routes of everything but webhooks (`web.webhook_endpoint`). No decision is made here."""

import atexit
import logging
import os
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from threading import Lock

import httpx
from flask import Flask, Response, request
from werkzeug.exceptions import RequestEntityTooLarge

from connector.config.settings import Config
from connector.core import logs
from connector.core.platform import Platform
from connector.core.registry import BrokenPlatform, installed_platforms
from connector.core.store import Store
from connector.dashboard import routes as dashboard
from connector.dashboard.auth import Authenticator
from connector.intake.intake import Intake
from connector.monitoring import alerts
from connector.monitoring.problems import OVERDUE, alive
from connector.monitoring.watcher import RelayAbsenceReporter
from connector.outbox.outbox import Lane, Outbox
from connector.outbox.queries import OutboxQueries
from connector.signals.collector import MAX_BEACON, BeaconRequest, Collector
from connector.signals.matching import SignalMatcher
from connector.storage.engine import connect
from connector.storage.transaction import CannotStore
from connector.web import metrics
from connector.web.errors import as_http_error, error_response, json_response
from connector.web.request_metrics import RequestMetrics
from connector.web.webhook_endpoint import MAX_BODY, WebhookEndpoint

log = logging.getLogger("connector.web.application")

LOOK_EVERY = 60.0  # seconds; the web looks after the relay, since a dead one cannot report itself

# A custom pixel runs in a frame of no origin, so any may send, and none gets to know anything.
CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "POST",
    "Access-Control-Allow-Headers": "Content-Type",
    "Access-Control-Max-Age": "86400",
}


def create_app(config: Config, outbox: Outbox, platforms: Mapping[str, Platform] | None = None) -> Flask:
    """The application over a configuration and an outbox whose schema is current; by default with all `platforms`."""
    platforms = installed_platforms() if platforms is None else platforms
    _load(platforms, {store.platform for store in config.stores.values()})
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    app.url_map.strict_slashes = False  # a redirect is a failed delivery to every shop
    app.url_map.merge_slashes = False
    intake = Intake(config.stores, platforms, outbox)
    app.extensions["intake"] = intake
    watch = RelayWatch(config, outbox, report=_no_relay(config, outbox).report)
    try:
        intake.start()
        watch.look()
    except CannotStore as error:
        # A worker that would not start takes gunicorn down with it; one that has started answers 503 meanwhile.
        log.error("the database does not answer: %s", error)
    app.extensions["watch"] = watch
    atexit.register(_flush, intake)
    request_metrics, authenticator = RequestMetrics(platforms), Authenticator(config.admin_password)
    app.register_blueprint(dashboard.pages(config, outbox.engine, authenticator, platforms))
    app.register_blueprint(metrics.pages(config, outbox.engine, request_metrics, authenticator))

    app.wsgi_app = WebhookEndpoint(  # type: ignore[method-assign] # as Flask's documentation has it
        app.wsgi_app, config.stores, platforms, intake, request_metrics, afterwards=watch.look_now_and_then
    )

    collector = Collector(config.stores, config.trusted_proxies, SignalMatcher(outbox.engine))

    @app.route("/collect/<name>", methods=["POST", "OPTIONS"], provide_automatic_options=False)
    def collect(name: str) -> Response:
        answer = Response(status=_collected(collector, config.stores.get(name)), headers=CORS)
        del answer.headers["Content-Type"]
        return answer

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

    app.register_error_handler(Exception, error_response)
    return app


def _load(platforms: Mapping[str, Platform], names: Iterable[str]) -> None:
    """Import the platforms of the stores before the first webhook comes; those of a broken one are answered 503."""
    for name in names:
        try:
            _ = platforms[name]
        except BrokenPlatform as error:
            log.error("%s; webhooks of its stores are answered 503 until this is mended", error)


def wsgi(config: Config) -> Flask:
    """The application as gunicorn's workers make it, each its own after the fork."""
    logs.set_up(config.log_format, config.log_level)
    return create_app(config, Outbox(connect(config.database_url)))


def _collected(collector: Collector, store: Store | None) -> int:
    """The status for a beacon. A page in a browser can do nothing with it, so it is for people who try."""
    if store is None:
        return 404
    if request.method == "OPTIONS":
        return 204
    post = BeaconRequest(
        peer=request.remote_addr or "",
        forwarded=request.headers.get("X-Forwarded-For", ""),
        user_agent=request.headers.get("User-Agent", ""),
    )
    if not collector.admits(store, post):
        return 429
    request.max_content_length = MAX_BEACON + 1  # of a body without a length so much is read, and no fault raised
    try:
        body = _body()
    except RequestEntityTooLarge:
        return 413
    if len(body) > MAX_BEACON:
        return 413
    collector.take(store, post, body)
    return 204


def _body() -> bytes:
    try:
        return request.get_data(cache=False)
    except Exception as error:
        raise as_http_error(error) from error


class RelayWatch:
    """Looks whether a relay is alive, and says so in the log, and by `report`, when events wait for one.

    `clock` gives Unix seconds. `report` must not make anybody wait.
    """

    def __init__(
        self,
        config: Config,
        outbox: Outbox,
        clock: Callable[[], float] = time.time,
        elapsed: Callable[[], float] = time.monotonic,
        report: Callable[[], object] = lambda: None,
    ) -> None:
        self._lanes = [Lane(store.name, pixel.code) for store in config.stores.values() for pixel in store.pixels]
        self._outbox = outbox
        self._queries = OutboxQueries(outbox.engine)
        self._clock = clock
        self._elapsed = elapsed
        self._report = report
        self._looked = self._told = float("-inf")
        self._lock = Lock()

    def look(self) -> dict[str, str | int]:
        """For readyz: the relay in words, the number of refused pixels. Raises CannotStore."""
        self._looked, now = self._elapsed(), self._clock()
        if self._lanes:  # before the first relay ever nobody else has
            self._outbox.add_lanes(self._lanes)
            self._lanes = []
        relay = _relay(self._queries.relay_seen(), now)
        body: dict[str, str | int] = {"relay": relay, "refused_pixels": self._queries.denied()}
        due = None if relay == "alive" else self._queries.oldest_due(now)
        if due is not None and now - due > OVERDUE:
            body["overdue"] = f"events have been due for {now - due:.0f} s and no relay works"
            self._tell(f"{body['overdue']} ({relay}); start `connector serve` or `connector relay`")
        return body

    def look_now_and_then(self) -> None:
        """At most once a minute; never a reason for not answering a webhook."""
        with self._lock:
            if self._elapsed() - self._looked < LOOK_EVERY:
                return
            self._looked = self._elapsed()
        try:
            self.look()
        except CannotStore as error:
            log.warning("could not look after the relay: %s", error)

    def _tell(self, words: str) -> None:
        with self._lock:
            if self._elapsed() - self._told < LOOK_EVERY:
                return
            self._told = self._elapsed()
        log.error("%s", words)
        self._report()


def _relay(seen: float | None, now: float) -> str:
    if not seen:
        return "none was ever seen"
    return "alive" if alive(seen, now) else f"silent for {abs(now - seen):.0f} s"


def _no_relay(config: Config, outbox: Outbox) -> RelayAbsenceReporter:
    hook = alerts.AlertWebhook(config.alert_url, httpx.Client(timeout=alerts.TIMEOUT)) if config.alert_url else None
    owner = f"web-{socket.gethostname()}-{os.getpid()}"
    return RelayAbsenceReporter(alerts.AlertStore(outbox.engine), alerts.notifier(outbox.engine, hook, owner))


def _flush(intake: Intake) -> None:
    try:
        intake.flush()
    except CannotStore as error:
        log.warning("the last counts were lost: %s", error)
