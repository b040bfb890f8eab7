"""Fakes of shops' APIs, over HTTP: for the sandbox, the conformance kit and the tests of a platform."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple, Protocol
from urllib.parse import parse_qsl, urlsplit


class FakeRequest(NamedTuple):
    """A request to a shop's API: `path` without query, header names in lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


class FakeAnswer(NamedTuple):
    """The answer to it."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = {}


class FakeApi(Protocol):
    """A shop's API with its orders, customers and webhooks in memory. Safe to share between threads."""

    def put(self, topic: str, body: bytes) -> None:
        """Take an order or a customer, or its new state, as `translate` reads it."""

    def answer(self, request: FakeRequest) -> FakeAnswer:
        """Answer a request as the shop does."""


@contextmanager
def serving(fake: FakeApi) -> Iterator[str]:
    """Serve a fake on this machine; yield its address."""

    class Handler(BaseHTTPRequestHandler):
        def respond(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            found = fake.answer(FakeRequest(self.command, parts.path, dict(parse_qsl(parts.query)), headers, body))
            self.send_response(found.status)
            for name, value in found.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(found.body)))
            self.end_headers()
            self.wfile.write(found.body)

        do_GET = do_POST = do_PUT = do_DELETE = respond

        def log_message(self, *arguments: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
