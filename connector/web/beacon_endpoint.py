"""`POST /collect/<store>`: receives the beacons of browsers."""

from collections.abc import Mapping

from flask import Blueprint, Response, request
from werkzeug.exceptions import RequestEntityTooLarge

from connector.core.store import Store
from connector.signals.collector import MAX_BEACON, BeaconRequest, Collector
from connector.web.errors import as_http_error

# A custom pixel runs in a frame with the origin "null", so every origin is allowed; answers have no body.
CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "POST",
    "Access-Control-Allow-Headers": "Content-Type",
    "Access-Control-Max-Age": "86400",
}


def blueprint(stores: Mapping[str, Store], collector: Collector) -> Blueprint:
    """Return the blueprint with the route. Its answers have no body."""
    page = Blueprint("collect", __name__)

    @page.route("/collect/<name>", methods=["POST", "OPTIONS"], provide_automatic_options=False)
    def collect(name: str) -> Response:
        answer = Response(status=_take_beacon(collector, stores.get(name)), headers=CORS)
        del answer.headers["Content-Type"]
        return answer

    return page


def _take_beacon(collector: Collector, store: Store | None) -> int:
    """Take a beacon and return the HTTP status, which pages ignore; it helps people who test the endpoint by hand."""
    if store is None:
        return 404
    if request.method == "OPTIONS":
        return 204
    post = BeaconRequest(
        peer=request.remote_addr or "",
        forwarded=request.headers.get("X-Forwarded-For", ""),
        user_agent=request.headers.get("User-Agent", ""),
    )
    if not collector.take_permit(store, post):
        return 429
    # A larger Content-Length raises 413; a body without one is read up to this.
    request.max_content_length = MAX_BEACON + 1
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
