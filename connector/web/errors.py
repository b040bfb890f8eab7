"""JSON responses, and the table from exceptions to HTTP statuses."""

import logging

import msgspec
from flask import Response
from werkzeug.exceptions import BadRequest, HTTPException

from connector.core.registry import BrokenPlatform
from connector.core.webhook import InvalidSignature, NotJson
from connector.storage.database import CannotStore

log = logging.getLogger(__name__)


class UnknownStore(LookupError):
    """The URL of a webhook names a store that is not configured."""


STATUS: dict[type[Exception], tuple[int, dict[str, str]]] = {
    InvalidSignature: (401, {}),
    NotJson: (400, {}),
    UnknownStore: (404, {}),
    CannotStore: (503, {"Retry-After": "10"}),
    BrokenPlatform: (503, {"Retry-After": "10"}),
}
SERVER_ERRORS: dict[type[Exception], str] = {  # instead of the message, which can name internals of this server
    BrokenPlatform: "the platform of this store cannot be loaded; this server's log and `connector check` say why",
    CannotStore: "cannot store now, try again",
}


def json_response(code: int, **fields: str | int) -> Response:
    """Return a response with this HTTP status and the fields as one line of JSON."""
    return Response(msgspec.json.encode(fields) + b"\n", code, mimetype="application/json")


def error_response(error: Exception) -> Response:
    """Return the response for an exception; 503 is logged, an unexpected exception (500) with its traceback."""
    if isinstance(error, HTTPException) and error.code:
        return json_response(error.code, error=error.name)
    status, headers = STATUS.get(type(error), (500, {}))
    if status == 503:
        log.error("%s", error)
    elif status == 500:
        log.error("%s", type(error).__name__, exc_info=error)
    text = str(error) if status < 500 else SERVER_ERRORS.get(type(error), "internal error")
    response = json_response(status, error=text)
    response.headers.update(headers)
    return response


def as_http_error(error: Exception) -> HTTPException:
    """Return an HTTP error for a body that could not be read: 400, unless the exception is one already.

    Gunicorn raises exceptions of its own for malformed chunks and closed connections.
    """
    return error if isinstance(error, HTTPException) else BadRequest("the body cannot be read")
