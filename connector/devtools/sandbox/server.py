"""A fake Events API with TikTok's semantics as far as they are known, for testing a setup.

Point `EVENTS_API_URL` at it, send events, and read the received ones at `/` or `/received`. This module has its state,
responses and HTTP routes; `rules` beside it validates requests, `faults` simulates errors.
"""

import secrets
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
from flask import Blueprint, Flask, Response, render_template, request
from werkzeug.exceptions import HTTPException
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server
from werkzeug.test import run_wsgi_app

from connector.devtools.sandbox.faults import ActiveFault, Fault, fingerprint, read_fault
from connector.devtools.sandbox.rules import Batch, Refusal, validate_request

TRACK = "/open_api/v1.3/event/track/"
TIKTOK_DEDUPLICATES = 48 * 60 * 60  # seconds; stated here again, as the sandbox imports no rule of the sender
MAX_RECEIPTS = 10_000  # received events kept in memory
MAX_BODY = 64 * 1024 * 1024  # bytes

JSON = "application/json"
HTML = "text/html"
BAD_GATEWAY = (
    "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n"
    "<center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
)


class SandboxResponse(NamedTuple):
    """An HTTP response; `dropped` means that the connection is closed without a response."""

    status: int
    content_type: str
    body: bytes
    location: str = ""
    dropped: bool = False


class Receipt(NamedTuple):
    """One received event; `accepted_at` in Unix seconds, `item` its JSON exactly as sent."""

    event_source: str
    event_source_id: str
    test_event_code: str | None
    accepted_at: float
    duplicate: bool
    item: bytes

    def json(self) -> bytes:
        """Return the receipt as a JSON object with the item spliced in, so that 44.50 stays 44.50."""
        head = {name: value for name, value in self._asdict().items() if name != "item"}
        return msgspec.json.encode(head)[:-1] + b',"item":' + self.item + b"}"


class Sandbox:
    """State and responses of the fake API, without HTTP. Thread-safe.

    `clock` returns Unix seconds. `pause` waits for a number of seconds, or until the event is set because the faults
    were cleared.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.time,
        pause: Callable[[threading.Event, float], object] = threading.Event.wait,
    ) -> None:
        self._clock = clock
        self._pause = pause
        self._lock = threading.Lock()
        self._faults: list[ActiveFault] = []
        self._cleared = threading.Event()
        self.clear()

    def answer(self, headers: Mapping[str, str], body: bytes) -> SandboxResponse:
        """Answer one `POST …/event/track/`; never raises, whatever the body."""
        tokens = [value for name, value in headers.items() if name.lower() == "access-token"]
        token = tokens[0].strip() if tokens else ""
        batch = validate_request(body, self._clock())
        if not token:
            return self._respond(batch._replace(refusal=Refusal(40104, "Access token is empty.")))
        digest = fingerprint(token)
        with self._lock:
            fault = next((fault for fault in self._faults if fault.applies(digest, batch)), None)
            self._faults = [fault for fault in self._faults if fault.remaining != 0]
            cleared = self._cleared
        if fault is None:
            return self._respond(batch)
        return self._respond_with_fault(fault, batch, cleared)

    def no_route(self) -> SandboxResponse:
        """Answer a request to any other path of the API: code 40400."""
        return self._respond(Batch("", "", None, [], Refusal(40400, "Route not found.")))

    def received(self) -> list[Receipt]:
        """Return the last 10,000 received events, duplicates included, oldest first."""
        with self._lock:
            return list(self._received)

    def counts(self) -> dict[str, Any]:
        """Return totals since the start or the last `clear`.

        `accepted` (also by event name and by source) and `duplicates` count events; `requests`, `refused`
        (nothing was stored) and `by_code` count requests. A response without a code is counted under "none".
        """
        with self._lock:
            totals = {name: self._totals[name] for name in ("requests", "accepted", "duplicates", "refused")}
            by = {"by_code": self._by_code, "by_event": self._by_event, "by_source": self._by_source}
            return {**totals, **{name: dict(sorted(counter.items())) for name, counter in by.items()}}

    def clear(self) -> None:
        """Delete the received events, the deduplication state and the counts, but not the faults."""
        with self._lock:
            self._received: deque[Receipt] = deque(maxlen=MAX_RECEIPTS)
            self._first_seen: dict[tuple[str, str, str], float] = {}
            self._totals: Counter[str] = Counter()
            self._by_code: Counter[str] = Counter()
            self._by_event: Counter[str] = Counter()
            self._by_source: Counter[str] = Counter()

    def set_fault(self, fault: Fault) -> None:
        """Add a fault; if several apply to a request, the first one is used."""
        with self._lock:
            self._faults.append(ActiveFault(fault))

    def faults(self) -> list[dict[str, Any]]:
        """Return the active faults; tokens appear as the first eight digits of their SHA-256."""
        with self._lock:
            return [fault.to_dict() for fault in self._faults]

    def clear_faults(self) -> None:
        """Delete all faults, and end the pause of hanging requests."""
        with self._lock:
            self._faults.clear()
            self._cleared.set()
            self._cleared = threading.Event()

    def _respond(self, batch: Batch) -> SandboxResponse:
        refusal = batch.refusal
        if refusal is None:
            self._record(batch, "0", stored=True)
            return self._reply(0, "OK", data={})
        self._record(batch, str(refusal.code), stored=False)
        return self._reply(refusal.code, refusal.message)

    def _respond_with_fault(self, active: ActiveFault, batch: Batch, cleared: threading.Event) -> SandboxResponse:
        fault = active.fault
        if fault.kind == "hang":
            # Without `after` the events are stored only after the pause, so that a late code 0 is true.
            response = self._respond(batch) if fault.after else None
            self._pause(cleared, fault.seconds)
            return response or self._respond(batch)
        response, code = self._fault_response(active, batch)
        stored = fault.kind == "partial" if fault.after is None else fault.after
        self._record(batch, code, stored=stored and batch.refusal is None)
        return response

    def _fault_response(self, active: ActiveFault, batch: Batch) -> tuple[SandboxResponse, str]:
        """Return the response of a fault and the code under which it is counted."""
        fault = active.fault
        complete = self._reply(0, "OK", data={})
        match fault.kind:
            case "server_error":
                return SandboxResponse(502, HTML, BAD_GATEWAY.encode()), "none"
            case "html":
                return SandboxResponse(200, HTML, b"<!DOCTYPE html><title>Please wait</title><p>One moment."), "none"
            case "truncated":
                return complete._replace(body=complete.body[: len(complete.body) // 2]), "none"
            case "drop":
                return SandboxResponse(502, JSON, b"", dropped=True), "none"
            case "redirect":
                return SandboxResponse(302, HTML, b"", location=fault.location), "none"
            case "missing_code":
                return complete._replace(body=b'{"message":"OK","data":{}}'), "none"
        code, message, status = self._fault_code(active, batch)
        return self._reply(code, message)._replace(status=status), str(code)

    def _fault_code(self, active: ActiveFault, batch: Batch) -> tuple[int, str, int]:
        """Return code, message and HTTP status; the messages are recorded ones of the real API."""
        fault = active.fault
        match fault.kind:
            case "rate_limit":
                return 40100, "Too many requests. Please retry in some time.", 200
            case "revoke":
                return 40105, "Access token is incorrect or has been revoked.", 200
            case "no_permission":
                message = f"No permission to operate pixel code: {batch.source}."
                return 40001, f"{message} You must be an admin or operator of this advertiser account.", 200
            case "bad_source":
                return 40002, "Invalid value for event_source_id: not a valid string.", 200
            case "poison":
                field = f"data.{active.first_poisoned(batch)}.event_id: not a valid string."
                return 40002, f"Invalid value for {field if fault.named else 'event_id'}", 200
            case "partial":
                return 20001, "Partially OK.", 200
        return fault.code or 0, fault.message, fault.status

    def _record(self, batch: Batch, code: str, stored: bool) -> None:
        with self._lock:
            self._totals["requests"] += 1
            self._by_code[code] += 1
            if not stored:
                self._totals["refused"] += 1
                return
            now = self._clock()
            self._expire_before(now - TIKTOK_DEDUPLICATES)
            for event in batch.events:
                key = (batch.source, event.name, event.event_id)
                duplicate = key in self._first_seen
                if duplicate:
                    self._totals["duplicates"] += 1
                else:
                    self._first_seen[key] = now
                    self._totals["accepted"] += 1
                    self._by_event[event.name] += 1
                    self._by_source[batch.source] += 1
                receipt = Receipt(batch.kind, batch.source, batch.test_event_code, now, duplicate, event.item)
                self._received.append(receipt)

    def _expire_before(self, limit: float) -> None:
        """Delete expired keys; TikTok's window begins with the first copy, so the dict is ordered by expiry."""
        while self._first_seen:
            key = next(iter(self._first_seen))
            if self._first_seen[key] > limit:
                return
            del self._first_seen[key]

    def _reply(self, code: int, message: str, data: dict[str, Any] | None = None) -> SandboxResponse:
        at = datetime.fromtimestamp(self._clock(), UTC)
        reply = {"code": code, "message": message}
        reply["request_id"] = f"{at:%Y%m%d%H%M%S}{secrets.token_hex(10).upper()}"
        return SandboxResponse(200, JSON, msgspec.json.encode(reply if data is None else {**reply, "data": data}))


def create_app(sandbox: Sandbox, *more: Blueprint) -> Flask:
    """Return the Flask application of a sandbox: the API, received events, faults, an HTML page, and `more`."""
    app = Flask(__name__)
    for blueprint in more:
        app.register_blueprint(blueprint)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    app.url_map.strict_slashes = False  # never a redirect; `track` checks the slash itself
    app.url_map.merge_slashes = False

    @app.before_request
    def drain() -> None:
        """Read the body on every route; the rest of it would be parsed as the connection's next request."""
        request.get_data()
        request.environ["sandbox.drained"] = True

    @app.after_request
    def close_undrained(response: Response) -> Response:
        if "sandbox.drained" not in request.environ:
            response.headers["Connection"] = "close"
        return response

    @app.post(TRACK)
    def track() -> Response:
        # TikTok does not document a URL without the trailing slash; refusing it reveals the mistake.
        if not request.path.endswith("/"):
            return _http_response(sandbox.no_route())
        return _http_response(sandbox.answer(dict(request.headers), request.get_data()))

    @app.get("/received")
    def received() -> Response:
        return _json(b"[" + b",\n".join(receipt.json() for receipt in sandbox.received()) + b"]")

    @app.delete("/received")
    def clear() -> Response:
        sandbox.clear()
        return Response(status=204)

    @app.get("/counts")
    def counts() -> Response:
        return _json(msgspec.json.encode(sandbox.counts()))

    @app.get("/faults")
    def faults() -> Response:
        return _json(msgspec.json.encode(sandbox.faults()))

    @app.post("/faults")
    def set_fault() -> Response:
        try:
            sandbox.set_fault(read_fault(request.get_data()))
        except ValueError as error:
            return _json(msgspec.json.encode({"error": str(error)}), 400)
        return _json(msgspec.json.encode(sandbox.faults()), 201)

    @app.delete("/faults")
    def clear_faults() -> Response:
        sandbox.clear_faults()
        return Response(status=204)

    @app.get("/")
    def page() -> Response:
        rows = [_table_row(receipt) for receipt in reversed(sandbox.received()[-100:])]
        base = f"{request.host_url}open_api/v1.3"
        html = render_template("sandbox.html", rows=rows, counts=sandbox.counts(), faults=sandbox.faults(), base=base)
        response = Response(html, mimetype=HTML)
        response.headers["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'"
        return response

    @app.errorhandler(HTTPException)
    def handle_error(error: HTTPException) -> Response:
        if request.path.startswith("/open_api") and error.code in {404, 405}:
            return _http_response(sandbox.no_route())
        return _json(msgspec.json.encode({"error": error.description}), error.code or 500)

    return app


def _json(body: bytes, status: int = 200) -> Response:
    return Response(body, status, mimetype=JSON)


def _http_response(result: SandboxResponse) -> Response:
    if result.dropped and (connection := request.environ.get("werkzeug.socket")):
        connection.shutdown(socket.SHUT_RDWR)
    response = Response(result.body, result.status, mimetype=result.content_type)
    if result.location:
        response.headers["Location"] = result.location
    return response


_as_sent = msgspec.json.Decoder(float_hook=str)  # keeps 44.50 as 44.50


def _table_row(receipt: Receipt) -> dict[str, Any]:
    try:
        item = _as_sent.decode(receipt.item)
    except RecursionError:  # valid, but nested too deeply for this call depth
        item = {}
    properties = item.get("properties", {})
    return {
        "at": f"{datetime.fromtimestamp(receipt.accepted_at, UTC):%Y-%m-%d %H:%M:%S}",
        "receipt": receipt,
        "event": item.get("event", ""),
        "event_id": item.get("event_id", ""),
        "value": f"{properties.get('value', '')} {properties.get('currency', '')}".strip(),
        "keys": ", ".join(item.get("user", {})),
    }


class _Handler(WSGIRequestHandler):
    """Keeps connections open like TikTok's servers do; werkzeug's own handler closes them."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def run_wsgi(self) -> None:
        """Run the app and send its response with a length, keeping the connection open."""
        if self.headers.get("Expect", "").strip().lower() == "100-continue":
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        try:
            environ = self.make_environ()
        except ValueError:  # a request line such as "GET http://[/"
            self.send_error(400)
            return
        chunks, status, headers = run_wsgi_app(self.server.app, environ, buffered=True)
        body = b"".join(chunks)
        number, _, phrase = status.partition(" ")
        self.send_response(int(number), phrase)
        for name, value in headers:
            self.send_header(name, value)  # http.server itself handles "Connection: close"
        self.end_headers()
        self.wfile.write(body)  # werkzeug returns an empty body for HEAD, 204 and 304

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Do nothing; `/counts` replaces thousands of log lines a second."""

    def log(self, type: str, message: str, *args: object) -> None:
        """Do nothing; tests send broken requests on purpose."""


def create_server(
    sandbox: Sandbox, port: int = 9090, host: str = "127.0.0.1", more: Sequence[Blueprint] = ()
) -> BaseWSGIServer:
    """Bind a threaded HTTP/1.1 server, ready for `serve_forever()` and `shutdown()`; port 0 picks a free port.

    Its `server_port` is the port. Exits with a message if the port is taken, as werkzeug does.
    """
    return make_server(host, port, create_app(sandbox, *more), threaded=True, request_handler=_Handler)


def serve(port: int = 9090, host: str = "127.0.0.1", more: Sequence[Blueprint] = ()) -> None:
    """Serve a new sandbox, and `more`, until interrupted; in one process because its state is in memory."""
    create_server(Sandbox(), port, host, more).serve_forever()
