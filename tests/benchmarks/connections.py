"""Webhooks beside thousands of idle and slow connections: none of them may cost a shop its answer."""

import resource
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from connector.storage.engine import connect, migrate
from tests.benchmarks import intake

IDLE, SLOW = 2000, 500
HEAD = b"POST /webhooks/acme HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"


@contextmanager
def idle(port: int) -> Iterator[None]:
    """IDLE connections that were answered once and are kept alive."""
    opened = [socket.create_connection(("127.0.0.1", port)) for _ in range(IDLE)]
    for connection in opened:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        connection.recv(1000)
    yield
    for connection in opened:
        connection.close()


@contextmanager
def slow(port: int) -> Iterator[Callable[[], int]]:
    """SLOW connections that send a byte a second, opened anew when they are ended; how often that happened."""
    ended, replaced = threading.Event(), [0]
    opened = [socket.create_connection(("127.0.0.1", port)) for _ in range(SLOW)]

    def send() -> None:
        sent = 0
        while not ended.wait(1):
            for place, connection in enumerate(opened):
                try:
                    connection.sendall(HEAD[sent % len(HEAD) :][:1])
                except OSError:
                    replaced[0] += 1
                    connection.close()
                    opened[place] = socket.create_connection(("127.0.0.1", port))
            sent += 1

    thread = threading.Thread(target=send)
    thread.start()
    yield lambda: replaced[0]
    ended.set()
    thread.join()
    for connection in opened:
        connection.close()


def run(environment: dict[str, str], databases: dict[str, str], folder: Path, say: Callable[[str], None]) -> None:
    """Print how webhooks are answered beside them. Ends everything on any answer but 200."""
    if not shutil.which("wrk"):
        say("\nConnections: left out, for there is no wrk (apt-get install wrk)")
        return
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    say(f"\nConnections: webhooks beside {IDLE:,} idle connections and {SLOW} that send a byte a second")
    script, requests = folder / "load.lua", folder / "connections.bin"
    script.write_text(intake.SCRIPT)
    port, url = int(environment["PORT"]), databases["SQLite"]
    engine = connect(url)
    migrate(engine)
    engine.dispose()
    intake.prepare(requests, environment, 7)
    with intake.server(intake.WEB, environment | {"DATABASE_URL": url}):
        with idle(port), slow(port) as ended:
            rate, tail, slowest = intake.load_it(script, requests, environment["PORT"], 15)
            replaced = ended()
        say(
            f"  SQLite      {rate:6.0f}/s  p99 {tail:.0f} ms  slowest {slowest:.0f} ms; {replaced} slow ones were ended"
        )
    for name, url in databases.items():
        engine = connect(url)
        migrate(engine)
        engine.dispose()
        intake.prepare(requests, environment, 8)
        with intake.server(intake.WEB, environment | {"DATABASE_URL": url}):
            rate, tail, slowest = intake.load_it(script, requests, environment["PORT"], 10, connection="close")
        say(
            f"  {name:11} {rate:6.0f}/s, each over a connection of its own: p99 {tail:.0f} ms, slowest {slowest:.0f} ms"
        )
