"""The HTTP shell of the fake Shopify, and the ways in which it can fail."""

import json
import re
import sys
import threading
from dataclasses import dataclass
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qsl, urlsplit

from tests.support.fakes.shopify_rules import BAD_KEY, TOO_FAST, Reply, Rules

if TYPE_CHECKING:
    from tests.support.fakes.shopify import FakeShopify

Way = Literal["hang", "trickle", "half", "html", "garbage", "internal", "throttled", "echo"]
How = int | Way

PAGE = "<!DOCTYPE html><html><body>One moment, please.</body></html>"
SAID = {
    401: BAD_KEY,
    402: "Unavailable Shop",
    403: "[API] This action requires merchant approval for read_orders scope.",
    404: "Not PersonalData",
    423: "Locked",
    429: TOO_FAST,
}
ENDLESS = 60.0  # seconds, so that a test fails where it would hang
ASKED = ("webhookSubscriptionCreate", "webhookSubscriptionDelete", "webhookSubscriptions", "currentAppInstallation")


@dataclass
class _Fault:
    how: How
    times: int
    on: str
    headers: dict[str, str]
    body: object


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *where: Any) -> None:
        """A caller that hangs up is what some tests are about; anything else is a mistake of the fake."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(*where)


class Server:
    """Listens on a free port of loopback between `start` and `stop`."""

    def __init__(self, shopify: "FakeShopify") -> None:
        self.rules = Rules(shopify)
        self.requests: list[str] = []
        self._shopify = shopify
        self._faults: list[_Fault] = []
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer._answer(self, b"")

            def do_POST(self) -> None:
                outer._answer(self, self.rfile.read(int(self.headers.get("Content-Length", 0))))

            def log_message(self, *_: object) -> None:
                """Stay quiet."""

        self._server = _Quiet(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def start(self) -> None:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()  # whatever hangs
        self._server.shutdown()
        self._server.server_close()

    def fail(self, how: How, times: int, on: str, headers: dict[str, str], body: object) -> None:
        with self._lock:
            self._faults.append(_Fault(how, times, on, headers, body))

    def _answer(self, request: Any, body: bytes) -> None:
        line = f"{request.command} {request.path}"
        sent = json.loads(body) if body else {}
        if request.path.endswith("/graphql.json"):
            line += f" {next((name for name in ASKED if name in sent['query']), '')}"
        with self._lock:
            self.requests.append(line)
            fault = next((each for each in self._faults if each.times > 0 and each.on in line), None)
            if fault:
                fault.times -= 1
        if fault:
            self._suffer(request, fault)
            return
        with self._shopify.lock:
            reply = self._reply(request, sent)
        self._write(request, reply)

    def _reply(self, request: Any, sent: Any) -> Reply:
        parts = urlsplit(request.path)
        if parts.path == "/admin/oauth/access_token":
            return self.rules.grant(sent)
        place = re.fullmatch(r"/admin/api/(\d{4}-\d\d)/(.+)", parts.path)
        if place is None:
            return Reply(404, {"errors": "Not PersonalData"})
        if not self.rules.knows(request.headers.get("X-Shopify-Access-Token", "")):
            return Reply(401, {"errors": BAD_KEY})
        if place[2] == "graphql.json":
            return self.rules.graphql(sent["query"], sent.get("variables") or {})
        return self.rules.rest(place[2], dict(parse_qsl(parts.query)))

    def _suffer(self, request: Any, fault: "_Fault") -> None:
        how = fault.how
        whole = Reply(200, {"data": {}, "orders": [], "errors": None})
        if isinstance(how, int):
            body = fault.body or ({"errors": SAID[how]} if how in SAID else PAGE)
            away = {"Location": f"{self.url}/elsewhere"}
            more = {429: {"Retry-After": "2.0"}, 301: away, 307: away}.get(how, {})
            self._write(request, Reply(how, body, more | fault.headers))
        elif how == "hang":
            self._stopped.wait(ENDLESS)
        elif how == "trickle":
            self._head(request, whole, length=10**6)
            for _ in range(int(ENDLESS / 0.02)):
                request.wfile.write(b" ")
                if self._stopped.wait(0.02):
                    break
        elif how == "half":
            self._head(request, whole, length=10**6)
            request.wfile.write(b'{"data": {')
            request.close_connection = True
        elif how == "echo":
            said = f"[API] not with {request.headers.get('X-Shopify-Access-Token')}"
            self._write(request, Reply(422, {"errors": said}))
        else:
            self._write(request, self._odd(how))

    def _odd(self, how: str) -> Reply:
        if how == "html":
            return Reply(200, PAGE)
        if how == "garbage":
            return Reply(200, ["neither", "orders", "nor", "data"])
        code = {"internal": "INTERNAL_SERVER_ERROR", "throttled": "THROTTLED"}[how]
        return Reply(200, {"errors": [{"message": how.title(), "extensions": {"code": code}}]})

    def _write(self, request: Any, reply: Reply) -> None:
        raw = _raw(reply.body)
        self._head(request, reply, len(raw))
        request.wfile.write(raw)

    def _head(self, request: Any, reply: Reply, length: int) -> None:
        request.send_response_only(reply.status)
        request.send_header("Date", formatdate(self._shopify.clock(), usegmt=True))
        request.send_header("Content-Type", "text/html" if isinstance(reply.body, str) else "application/json")
        request.send_header("Content-Length", str(length))
        for name, value in reply.headers.items():
            request.send_header(name, value)
        request.end_headers()


def _raw(body: object) -> bytes:
    if isinstance(body, bytes):
        return body
    return body.encode() if isinstance(body, str) else json.dumps(body, ensure_ascii=False).encode()
