"""Where webhooks come in: `POST /webhooks/<store>`, straight from WSGI.

Flask, which serves all else, would take a tenth of the time that a webhook takes. No decision is made here.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
from werkzeug.exceptions import MethodNotAllowed, RequestEntityTooLarge
from werkzeug.wsgi import get_input_stream

from connector.core.store import Store
from connector.core.webhook import Request
from connector.intake.intake import Intake
from connector.web.errors import UnknownStore, as_bad_request, error_response
from connector.web.request_metrics import RequestMetrics

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication

log = logging.getLogger("connector.web.application")

PLACE = "/webhooks/"
MAX_BODY = 10 * 1024 * 1024  # shops do send bodies of more than a megabyte; a smaller limit would cost orders


class WebhookEndpoint:
    """WSGI: takes webhooks, and hands the rest on to `others`. `afterwards` is called when one has been taken."""

    def __init__(
        self,
        others: "WSGIApplication",
        stores: Mapping[str, Store],
        intake: Intake,
        request_metrics: RequestMetrics,
        afterwards: Callable[[], None],
    ) -> None:
        self._others = others
        self._stores = stores
        self._intake = intake
        self._request_metrics = request_metrics
        self._afterwards = afterwards

    def __call__(self, environ: dict[str, Any], start_response: "StartResponse") -> Iterable[bytes]:
        """One request, as gunicorn hands it over."""
        if not environ["PATH_INFO"].startswith(PLACE):
            return self._others(environ, start_response)
        try:
            said = msgspec.json.encode({"outcome": self._take(environ)}) + b"\n"
        except Exception as error:  # each has its answer
            return error_response(error)(environ, start_response)
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(said)))])
        return (said,)

    def _take(self, environ: dict[str, Any]) -> str:
        if environ["REQUEST_METHOD"] != "POST":
            raise MethodNotAllowed(["POST"])
        # A slash at the end does no harm; to be redirected would be a failed delivery to every shop.
        name = environ["PATH_INFO"].removeprefix(PLACE).removesuffix("/")
        # Read first: nothing but these very bytes verifies.
        request = Request(headers=_headers(environ), body=_body(environ), received_at=datetime.now(UTC))
        store = self._intake.choose(name, request) if name == "shopify" else self._stores.get(name)
        if store is None:
            name = name.encode("latin-1").decode(errors="replace")[:64]  # WSGI's texts are bytes
            log.warning("webhook for a store that is not configured: %r", name)
            raise UnknownStore(f"there is no store {name!r} here; the URL ends in the store's name")
        with self._request_metrics.counting(store, request) as way:
            outcome = way.outcome = self._intake.take(store, request)
        self._afterwards()
        return outcome


def _headers(environ: Mapping[str, Any]) -> dict[str, str]:
    """By lower-case name, as WSGI has them; its names say "_" for "-"."""
    return {name[5:].lower().replace("_", "-"): text for name, text in environ.items() if name.startswith("HTTP_")}


def _body(environ: dict[str, Any]) -> bytes:
    try:
        # One byte more: of a body that does not tell its length just so much is read, and nobody raises anything.
        body = get_input_stream(environ, max_content_length=MAX_BODY + 1).read()
    except Exception as error:
        raise as_bad_request(error) from error
    if len(body) > MAX_BODY:
        raise RequestEntityTooLarge
    return body
