"""HTTP requests and responses of an ASGI application. https://asgi.readthedocs.io/en/latest/specs/www.html"""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, NamedTuple

import msgspec
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge

from connector.storage.database import CannotStore

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

FREE_BYTES = 64 * 1024  # of a body; the server buffers as much of every connection anyway


Headers = tuple[tuple[bytes, bytes], ...]
JSON: Headers = ((b"content-type", b"application/json"),)


class Response(NamedTuple):
    """A status, a body and headers with lower-case names; the Content-Length is added by `respond`."""

    status: int
    body: bytes = b""
    headers: Headers = ()


def json_response(code: int, headers: Headers = (), /, **fields: str | int) -> Response:
    """Return a response with this HTTP status whose body is the fields as one line of JSON."""
    return Response(code, msgspec.json.encode(fields) + b"\n", JSON + headers)


async def respond(response: Response, send: Send) -> None:
    """Send a response."""
    headers = [*response.headers]
    if response.status != 204:
        headers.append((b"content-length", b"%d" % len(response.body)))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body})


def read_headers(scope: Scope) -> dict[str, str]:
    """Return a request's headers by lower-case name; of two with one name, the last."""
    return {name.decode("latin-1"): text.decode("latin-1") for name, text in scope["headers"]}


def received(body: bytes) -> Receive:
    """Return a `receive` for an application that is handed a request whose body was read already."""

    async def receive() -> Message:
        return {"type": "http.request", "body": body}

    return receive


class BodyReader:
    """Reads request bodies into memory, `budget` bytes at most at one time in this process.

    The first 64 KB of each body are free, so that large bodies, which anyone can send, keep no ordinary webhook out.
    """

    def __init__(self, budget: int) -> None:
        self._left = budget

    async def read(self, receive: Receive, headers: Mapping[str, str], limit: int) -> bytes:
        """Return the whole body. Raises RequestEntityTooLarge, BadRequest if it breaks off, CannotStore."""
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > limit:
            raise RequestEntityTooLarge
        message = await receive()
        if message["type"] == "http.request" and not message.get("more_body"):
            body: bytes = message["body"]  # nearly every webhook arrives at once
            if len(body) > limit:
                raise RequestEntityTooLarge
            return body
        return await self._join(message, receive, limit)

    async def _join(self, message: Message, receive: Receive, limit: int) -> bytes:
        body, taken = bytearray(), 0
        try:
            while True:
                if message["type"] != "http.request":
                    raise BadRequest("the body cannot be read")  # the client has gone
                body += message["body"]
                if len(body) > limit:
                    raise RequestEntityTooLarge
                wanted = max(0, len(body) - FREE_BYTES) - taken
                if wanted > self._left:
                    raise CannotStore("too many large requests at a time")
                self._left, taken = self._left - wanted, taken + wanted
                if not message.get("more_body"):
                    return bytes(body)
                message = await receive()
        finally:
            self._left += taken
