"""Answers over HTTP, and one table from what went wrong to a status."""

import logging

import msgspec
from flask import Response
from werkzeug.exceptions import BadRequest, HTTPException

from connector.core.webhook import InvalidSignature, NotJson
from connector.storage.database import CannotStore

log = logging.getLogger("connector.web.application")


class UnknownStore(LookupError):
    """A webhook's address names a store that is not configured."""


STATUS: dict[type[Exception], tuple[int, dict[str, str]]] = {
    InvalidSignature: (401, {}),
    NotJson: (400, {}),
    UnknownStore: (404, {}),
    CannotStore: (503, {"Retry-After": "10"}),
}


def json_response(code: int, **body: str | int) -> Response:
    """A status with a line of JSON."""
    return Response(msgspec.json.encode(body) + b"\n", code, mimetype="application/json")


def error_response(error: Exception) -> Response:
    """What is answered to who asked, when this was raised; a fault of ours goes to the log as well."""
    if isinstance(error, HTTPException) and error.code:
        return json_response(error.code, error=error.name)
    status, headers = STATUS.get(type(error), (500, {}))
    if status >= 500:
        log.error("%s", error if status == 503 else type(error).__name__, exc_info=error if status == 500 else None)
    said = json_response(status, error=str(error) if status < 500 else "cannot store now, try again")
    said.headers.update(headers)
    return said


def as_bad_request(error: Exception) -> HTTPException:
    """The kinds of its own that gunicorn raises for chunks that are none and connections that end, as one of HTTP."""
    return error if isinstance(error, HTTPException) else BadRequest("the body cannot be read")
