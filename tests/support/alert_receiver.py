"""A receiver of alerts on loopback: a real HTTP server that answers as it is told and keeps what it got."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Receiver(ThreadingHTTPServer):
    """`answers` are given in turn, then 200: (status, headers). A status of 0: no answer until `free` is set."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[tuple[int, dict[str, str]]] = []
        self.texts: list[str] = []
        self.paths: list[str] = []
        self.free = threading.Event()
        self.came = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/services/SECRET-OF-THE-HOOK"


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert self.headers["Content-Type"] == "application/json"
        assert list(body) == ["text"]
        self.server.texts.append(body["text"])
        self.server.paths.append(self.path)
        self.server.came.set()
        status, headers = self.server.answers.pop(0) if self.server.answers else (200, {})
        if status == 0:
            self.server.free.wait(20)
            return
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    threading.Thread(target=lambda: server.serve_forever(poll_interval=0.01), daemon=True).start()
    yield server
    server.free.set()
    server.shutdown()
    server.server_close()
