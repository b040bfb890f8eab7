"""A fake Events API with TikTok's real semantics as far as they are known, to test a set-up against.

Point `EVENTS_API_URL` at it, send events, read what arrived at `/` or `/received`. The rules of a good request and
of a fault are in `connector.devtools.sandbox.rules`; here are its memory, its answers and its HTTP shell.
"""

import secrets
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
from flask import Flask, Response, render_template, request
from werkzeug.exceptions import HTTPException
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server
from werkzeug.test import run_wsgi_app

from connector.devtools.sandbox.rules import ActiveFault, Batch, Fault, Refusal, fingerprint, judge, read_fault

TRACK = "/open_api/v1.3/event/track/"
DEDUPE_WINDOW = 48 * 60 * 60
KEPT = 10_000
MAX_BODY = 64 * 1024 * 1024

JSON = "application/json"
HTML = "text/html"
BAD_GATEWAY = (
    "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n"
    "<center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
)


class Answer(NamedTuple):
    """An HTTP answer; `dropped` means that the connection is closed without one."""

    status: int
    content_type: str
    body: bytes
    location: str = ""
    dropped: bool = False


class Receipt(NamedTuple):
    """One received event; `accepted_at` in Unix seconds, `item` its JSON exactly as sent."""

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
    """What the fake API remembers and answers; knows no sockets. Safe to use from many threads.

    `clock` returns Unix seconds. `pause` waits so many seconds, or until the event is set: the faults were cleared.
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

    def answer(self, headers: Mapping[str, str], body: bytes) -> Answer:
        """Answer one `POST …/event/track/`; never raises, whatever the body."""
        tokens = [value for name, value in headers.items() if name.lower() == "access-token"]
        token = tokens[0].strip() if tokens else ""
        batch = judge(body, self._clock())
        if not token:
            return self._settle(batch._replace(refusal=Refusal(40104, "Access token is empty.")))
        digest = fingerprint(token)
        with self._lock:
            struck = next((fault for fault in self._faults if fault.strikes(digest, batch)), None)
            self._faults = [fault for fault in self._faults if fault.left != 0]
            cleared = self._cleared
        if struck is None:
            return self._settle(batch)
        return self._suffer(struck, batch, cleared)

    def no_route(self) -> Answer:
        """Answer a request to any other path of the API: code 40400."""
        return self._settle(Batch("", None, [], Refusal(40400, "Route not found.")))

    def received(self) -> list[Receipt]:
        """Return the last 10,000 received events, duplicates included, oldest first."""
        with self._lock:
            return list(self._received)

    def counts(self) -> dict[str, Any]:
        """Return totals since the start or the last `clear`.

        `accepted` (also by event name and by source) and `duplicates` count events; `requests`, `refused`
        (nothing was stored) and `by_code` count requests. An answer without a code is counted under "none".
        """
        with self._lock:
            totals = {name: self._totals[name] for name in ("requests", "accepted", "duplicates", "refused")}
            by = {"by_code": self._by_code, "by_event": self._by_event, "by_source": self._by_source}
            return {**totals, **{name: dict(sorted(counter.items())) for name, counter in by.items()}}

    def clear(self) -> None:
        """Forget every event, the deduplication's memory and the counts; the faults stay."""
        with self._lock:
            self._received: deque[Receipt] = deque(maxlen=KEPT)
            self._first_seen: dict[tuple[str, str, str], float] = {}
            self._totals: Counter[str] = Counter()
            self._by_code: Counter[str] = Counter()
            self._by_event: Counter[str] = Counter()
            self._by_source: Counter[str] = Counter()

    def set_fault(self, fault: Fault) -> None:
        """Add a fault; of several that fit a request the one set first strikes."""
        with self._lock:
            self._faults.append(ActiveFault(fault))

    def faults(self) -> list[dict[str, Any]]:
        """Return the faults still at work; tokens appear as the first eight digits of their SHA-256."""
        with self._lock:
            return [fault.shown() for fault in self._faults]

    def clear_faults(self) -> None:
        """Remove every fault and wake whatever hangs."""
        with self._lock:
            self._faults.clear()
            self._cleared.set()
            self._cleared = threading.Event()

    def _settle(self, batch: Batch) -> Answer:
        refusal = batch.refusal
        if refusal is None:
            self._record(batch, "0", stored=True)
            return self._reply(0, "OK", data={})
        self._record(batch, str(refusal.code), stored=False)
        return self._reply(refusal.code, refusal.message)

    def _suffer(self, struck: ActiveFault, batch: Batch, cleared: threading.Event) -> Answer:
        fault = struck.fault
        if fault.kind == "hang":
            # Without `after` the events are judged when the wait is over, so a late code 0 is still true.
            answer = self._settle(batch) if fault.after else None
            self._pause(cleared, fault.seconds)
            return answer or self._settle(batch)
        answer, code = self._fault_answer(struck, batch)
        after = fault.kind == "partial" if fault.after is None else fault.after
        self._record(batch, code, stored=after and batch.refusal is None)
        return answer

    def _fault_answer(self, struck: ActiveFault, batch: Batch) -> tuple[Answer, str]:
        """Return the answer of a fault and the code it is counted under."""
        fault = struck.fault
        whole = self._reply(0, "OK", data={})
        match fault.kind:
            case "server_error":
                return Answer(502, HTML, BAD_GATEWAY.encode()), "none"
            case "html":
                return Answer(200, HTML, b"<!DOCTYPE html><title>Please wait</title><p>One moment."), "none"
            case "truncated":
                return whole._replace(body=whole.body[: len(whole.body) // 2]), "none"
            case "drop":
                return Answer(502, JSON, b"", dropped=True), "none"
            case "redirect":
                return Answer(302, HTML, b"", location=fault.location), "none"
            case "missing_code":
                return whole._replace(body=b'{"message":"OK","data":{}}'), "none"
        code, message, status = self._coded(struck, batch)
        return self._reply(code, message)._replace(status=status), str(code)

    def _coded(self, struck: ActiveFault, batch: Batch) -> tuple[int, str, int]:
        """Return code, message and HTTP status; the messages are those on record for the real API."""
        fault = struck.fault
        match fault.kind:
            case "rate_limit":
                return 40100, "Too many requests. Please retry in some time.", 200
            case "revoke":
                return 40105, "Access token is incorrect or has been revoked.", 200
            case "no_permission":
                who = f"No permission to operate pixel code: {batch.source}."
                return 40001, f"{who} You must be an admin or operator of this advertiser account.", 200
            case "bad_source":
                return 40002, "Invalid value for event_source_id: not a valid string.", 200
            case "poison":
                where = f"data.{struck.poisoned(batch)}.event_id: not a valid string."
                return 40002, f"Invalid value for {where if fault.named else 'event_id'}", 200
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
            self._forget_before(now - DEDUPE_WINDOW)
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
                receipt = Receipt(batch.source, batch.test_event_code, now, duplicate, event.item)
                self._received.append(receipt)

    def _forget_before(self, past: float) -> None:
        """TikTok's window is counted from the first copy, so the dict's own order is the order of expiry."""
        while self._first_seen:
            key = next(iter(self._first_seen))
            if self._first_seen[key] > past:
                return
            del self._first_seen[key]

    def _reply(self, code: int, message: str, data: dict[str, Any] | None = None) -> Answer:
        at = datetime.fromtimestamp(self._clock(), UTC)
        reply = {"code": code, "message": message}
        reply["request_id"] = f"{at:%Y%m%d%H%M%S}{secrets.token_hex(10).upper()}"
        return Answer(200, JSON, msgspec.json.encode(reply if data is None else {**reply, "data": data}))


def create_app(sandbox: Sandbox) -> Flask:
    """Return the HTTP shell around a sandbox: the API, what it received, its faults, a page for people."""
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    app.url_map.strict_slashes = False  # never a redirect; the API itself minds its slash, see below
    app.url_map.merge_slashes = False

    @app.before_request
    def drain() -> None:
        """Read the body whatever the route, or the connection's next request would begin inside it."""
        request.get_data()
        request.environ["sandbox.drained"] = True

    @app.after_request
    def close_undrained(response: Response) -> Response:
        if "sandbox.drained" not in request.environ:
            response.headers["Connection"] = "close"
        return response

    @app.post(TRACK)
    def track() -> Response:
        # What TikTok does without the trailing slash is documented nowhere; refusing it finds the mistake.
        if not request.path.endswith("/"):
            return _respond(sandbox.no_route())
        return _respond(sandbox.answer(dict(request.headers), request.get_data()))

    @app.get("/received")
    def received() -> Response:
        return _json(b"[" + b",\n".join(receipt.json() for receipt in sandbox.received()) + b"]")

    @app.delete("/received")
    def forget() -> Response:
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
        latest = [_row(receipt) for receipt in reversed(sandbox.received()[-100:])]
        base = f"{request.host_url}open_api/v1.3"
        html = render_template("sandbox.html", rows=latest, counts=sandbox.counts(), faults=sandbox.faults(), base=base)
        response = Response(html, mimetype=HTML)
        response.headers["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'"
        return response

    @app.errorhandler(HTTPException)
    def complain(error: HTTPException) -> Response:
        if request.path.startswith("/open_api") and error.code in {404, 405}:
            return _respond(sandbox.no_route())
        return _json(msgspec.json.encode({"error": error.description}), error.code or 500)

    return app


def _json(body: bytes, status: int = 200) -> Response:
    return Response(body, status, mimetype=JSON)


def _respond(answer: Answer) -> Response:
    if answer.dropped and (connection := request.environ.get("werkzeug.socket")):
        connection.shutdown(socket.SHUT_RDWR)
    response = Response(answer.body, answer.status, mimetype=answer.content_type)
    if answer.location:
        response.headers["Location"] = answer.location
    return response


_as_sent = msgspec.json.Decoder(float_hook=str)  # 44.50 is shown as 44.50


def _row(receipt: Receipt) -> dict[str, Any]:
    try:
        item = _as_sent.decode(receipt.item)
    except RecursionError:  # nested so deep that it was readable only from a shallower stack
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
    """Werkzeug's handler closes every connection; real clients keep theirs, and so does TikTok's side."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def run_wsgi(self) -> None:
        """Run the app and send its answer whole, keeping the connection."""
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
            self.send_header(name, value)  # http.server itself obeys a "Connection: close" among them
        self.end_headers()
        self.wfile.write(body)  # werkzeug has left it empty for HEAD, 204 and 304

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Stay quiet: thousands of lines a second tell nobody anything; `/counts` does."""

    def log(self, type: str, message: str, *args: object) -> None:
        """Stay quiet about broken requests, too: tests send them on purpose."""


def create_server(sandbox: Sandbox, port: int = 9090, host: str = "127.0.0.1") -> BaseWSGIServer:
    """Bind a threaded HTTP/1.1 server, ready for `serve_forever()` and `shutdown()`; port 0 picks a free one.

    The port is in its `server_port`. Exits with a message when the port is taken (as werkzeug does).
    """
    return make_server(host, port, create_app(sandbox), threaded=True, request_handler=_Handler)


def serve(port: int = 9090, host: str = "127.0.0.1") -> None:
    """Serve a fresh sandbox until interrupted; one process, as its memory is its own."""
    create_server(Sandbox(), port, host).serve_forever()
