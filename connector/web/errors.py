"""The table from exceptions to HTTP statuses."""

import logging

import flask
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from connector.core.registry import BrokenPlatform
from connector.core.webhook import InvalidSignature, NotJson, UnknownKey
from connector.storage.database import CannotStore
from connector.web.asgi import Headers, Response, json_response

log = logging.getLogger(__name__)


class UnknownStore(LookupError):
    """The URL of a webhook names a store that is not configured."""


RETRY: Headers = ((b"retry-after", b"10"),)
STATUS: dict[type[Exception], tuple[int, Headers]] = {
    InvalidSignature: (401, ()),
    NotJson: (400, ()),
    UnknownStore: (404, ()),
    CannotStore: (503, RETRY),
    BrokenPlatform: (503, RETRY),
    UnknownKey: (503, RETRY),
}
SERVER_ERRORS: dict[type[Exception], str] = {  # instead of the message, which can name internals of this server
    BrokenPlatform: "the platform of this store cannot be loaded; this server's log and `connector check` say why",
    CannotStore: "cannot store now, try again",
    UnknownKey: "the public key that signed this is not known yet; it is fetched, try again",
}


def error_response(error: Exception) -> Response:
    """Return the response for an exception; 503 is logged, an unexpected exception (500) with its traceback."""
    if isinstance(error, HTTPException) and error.code:
        methods = error.valid_methods if isinstance(error, MethodNotAllowed) else None
        allow: Headers = ((b"allow", ", ".join(methods).encode()),) if methods else ()
        return json_response(error.code, allow, error=error.name)
    status, headers = STATUS.get(type(error), (500, ()))
    if status == 503:
        log.error("%s", error)
    elif status == 500:
        log.error("%s", type(error).__name__, exc_info=error)
    text = str(error) if status < 500 else SERVER_ERRORS.get(type(error), "internal error")
    return json_response(status, headers, error=text)


def flask_response(error: Exception) -> flask.Response:
    """Return `error_response` as Flask's response."""
    response = error_response(error)
    headers = [(name.decode("latin-1"), text.decode("latin-1")) for name, text in response.headers]
    return flask.Response(response.body, response.status, headers)
