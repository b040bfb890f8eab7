"""The webhook endpoint, `POST /webhooks/<store>`: the first code that reads an order.

Each request is read, matched with a store, handed to `Intake.take` (which verifies, translates and commits it) and
answered. A webhook is answered 200 only after its events are committed; the relay delivers them afterwards.

The endpoint is plain WSGI because Flask took 135 of the 420 µs between a webhook's arrival and its storage. All other
paths go on to Flask (`connector.web.application`).
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
from werkzeug.exceptions import MethodNotAllowed, RequestEntityTooLarge
from werkzeug.wsgi import get_input_stream

from connector.core.platform import Platform
from connector.core.store import Store
from connector.core.webhook import Request
from connector.intake.intake import Intake
from connector.web.errors import UnknownStore, as_http_error, error_response
from connector.web.request_metrics import RequestMetrics

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication

log = logging.getLogger(__name__)

PATH_PREFIX = "/webhooks/"
MAX_BODY = 10 * 1024 * 1024  # bytes; shops send bodies of more than a megabyte, and a rejected body is a lost order


class WebhookEndpoint:
    """WSGI middleware: answers webhooks and passes all other requests to `flask_app`.

    `afterwards` is called after each webhook that was taken; it must not raise.
    """

    def __init__(
        self,
        flask_app: "WSGIApplication",
        stores: Mapping[str, Store],
        platforms: Mapping[str, Platform],
        intake: Intake,
        request_metrics: RequestMetrics,
        afterwards: Callable[[], None],
    ) -> None:
        self._flask_app = flask_app
        self._stores = stores
        self._platforms = platforms
        self._intake = intake
        self._request_metrics = request_metrics
        self._afterwards = afterwards

    def __call__(self, environ: dict[str, Any], start_response: "StartResponse") -> Iterable[bytes]:
        """Answer one request: 200 with the outcome, or the status of the exception (`connector.web.errors`)."""
        if not environ["PATH_INFO"].startswith(PATH_PREFIX):
            return self._flask_app(environ, start_response)
        try:
            body = msgspec.json.encode({"outcome": self._receive(environ)}) + b"\n"
        except Exception as error:
            return error_response(error)(environ, start_response)
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return (body,)

    def _receive(self, environ: dict[str, Any]) -> str:
        if environ["REQUEST_METHOD"] != "POST":
            raise MethodNotAllowed(["POST"])
        # The signature covers the body byte for byte, so nothing may parse it before it is verified.
        request = Request(headers=_read_headers(environ), body=_read_body(environ), received_at=datetime.now(UTC))
        store = self._find_store(environ["PATH_INFO"], request)
        with self._request_metrics.measure(store, request) as measurement:
            outcome = measurement.outcome = self._intake.take(store, request)
        self._afterwards()
        return outcome

    def _find_store(self, path: str, request: Request) -> Store:
        # A trailing slash is accepted: shops count a redirect as a failed delivery.
        name = path.removeprefix(PATH_PREFIX).removesuffix("/")
        store = self._stores.get(name)
        if store is None and name in self._platforms and self._platforms[name].facts.shared_url:
            return self._intake.find_store(name, request)  # one URL may serve several shops; the request names the shop
        if store is None:
            name = name.encode("latin-1").decode(errors="replace")[:64]  # WSGI decodes a path's bytes as Latin-1
            log.warning("webhook for a store that is not configured: %r", name)
            raise UnknownStore(f"there is no store {name!r} here; the URL ends in the store's name")
        return store


def _read_headers(environ: Mapping[str, Any]) -> dict[str, str]:
    """Return the headers by lower-case name, without Content-Type and Content-Length, which WSGI keeps apart.

    WSGI writes `HTTP_X_TOPIC` for `X-Topic`.
    """
    return {name[5:].lower().replace("_", "-"): text for name, text in environ.items() if name.startswith("HTTP_")}


def _read_body(environ: dict[str, Any]) -> bytes:
    try:
        # One byte over the limit, so that an oversized body without a Content-Length can be told from a full one.
        body = get_input_stream(environ, max_content_length=MAX_BODY + 1).read()
    except Exception as error:
        raise as_http_error(error) from error
    if len(body) > MAX_BODY:
        raise RequestEntityTooLarge
    return body
