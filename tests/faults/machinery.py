"""The real processes on this machine: sandbox, `serve`, one more relay, a database; and ways to hurt them.

Only processes started here are touched, each by its id; everything listens on 127.0.0.1 or a Unix socket.
"""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

from connector.config.settings import Config, load
from connector.outbox.queries import OutboxQueries
from connector.storage.database import Database
from connector.storage.engine import connect, migrate
from tests.support.factories import a_section, a_stores_file
from tests.support.ports import ReservedPort
from tests.support.postgresql import PostgreSQL

HURRIED = str(Path(__file__).with_name("hurried.py"))
STORES = a_stores_file(
    a_section(access_token="token-of-acme"),
    a_section("woocommerce", "beans", access_token="token-of-beans"),
    a_section(name="clogs", access_token="token-of-clogs"),
    webhook_secrets=["${SECRET}"],
)
STARTED_WITHIN = 60.0
LOCK_HELD = 2.5


class Machinery:
    """What runs. `hurt` is never called by two threads at once."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder = folder
        self.kind = kind
        self.server = PostgreSQL.create(durable=True) if kind == "postgresql" else None
        self.database_url = self.server.create_database() if self.server else f"sqlite:///{folder / 'connector.db'}"
        self._ports = (ReservedPort(), ReservedPort())
        self.port, sandbox_port = (port.number for port in self._ports)
        self.url = f"http://127.0.0.1:{self.port}"
        self.sandbox_url = f"http://127.0.0.1:{sandbox_port}"
        self.mark = f"FAULTS_{os.getpid()}_{self.port}"
        self.environment = os.environ | {
            "STORES_TOML": STORES,
            "SECRET": "whsec-of-the-fault-tests",
            "DATABASE_URL": self.database_url,
            "EVENTS_API_URL": f"{self.sandbox_url}/open_api/v1.3",
            "PORT": str(self.port),
            "WEB_CONCURRENCY": "2",
            "LOG_FORMAT": "json",
            "LOG_LEVEL": "WARNING",
            "ALLOW_SQLITE": "1",
            self.mark: "1",
        }
        self.config: Config = load(self.environment)
        self._log = (folder / "processes.log").open("ab")
        self._sandbox = self._run("sandbox", str(sandbox_port))
        self._queries: OutboxQueries | None = None
        self.parent: subprocess.Popen[bytes] | None = None
        self.relay: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Migrate and start everything; returns when it is ready."""
        engine = connect(self.database_url, timeout=10)
        migrate(engine)
        engine.dispose()
        until(lambda: answers(f"{self.sandbox_url}/counts"), "the sandbox is up")
        self.keep_up()
        until(self.ready, "the server is ready")

    def keep_up(self) -> None:
        """Start whatever is not running: the parent, and with PostgreSQL a second relay, as on another machine."""
        if self.parent is None or self.parent.poll() is not None:
            until(lambda: not self.family(), "the old children have ended")
            self.parent = self._run("serve")
        if self.server and (self.relay is None or self.relay.poll() is not None):
            self.relay = self._run("relay")

    def ready(self) -> bool:
        try:
            body = httpx.get(f"{self.url}/readyz", timeout=2).json()
        except (httpx.HTTPError, ValueError):
            return False
        return (body["status"], body["relay"]) == ("ready", "alive")

    def victim(self, name: str) -> int | None:
        """The process id of `worker`, `gunicorn`, `relay` (the parent's), `other relay` or `parent`, if it is up."""
        parent = self.parent.pid if self.parent and self.parent.poll() is None else None
        if name == "parent":
            return parent
        if name == "other relay":
            return self.relay.pid if self.relay and self.relay.poll() is None else None
        family = self.family()
        masters = [pid for pid, (command, above) in family.items() if command == "web" and above == parent]
        if name == "gunicorn":
            return masters[0] if masters else None
        wanted = ("web", masters[0] if masters else -1) if name == "worker" else ("relay", parent)
        return next((pid for pid, about in family.items() if about == wanted), None)

    def family(self) -> dict[int, tuple[str, int]]:
        """The parent's children and grandchildren: process id → (command, its parent's process id)."""
        ours = {process.pid for process in (self._sandbox, self.parent, self.relay) if process}
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                command = (folder / "comm").read_text().strip()
                marked = f"{self.mark}=1".encode() in (folder / "environ").read_bytes().split(b"\0")
                above = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, ValueError, IndexError):
                continue
            if marked and command.startswith("connector-") and int(folder.name) not in ours:
                found[int(folder.name)] = (command.removeprefix("connector-"), above)
        return found

    @contextmanager
    def away(self) -> Iterator[None]:
        """The database does not answer for a while: PostgreSQL stopped in mid-sentence, SQLite locked."""
        if self.server:
            self.server.freeze()
            try:
                yield
            finally:
                self.server.thaw()
            return
        holder = sqlite3.connect(self.database_url.removeprefix("sqlite:///"), isolation_level=None, timeout=10)
        try:
            holder.execute("BEGIN IMMEDIATE")
            yield
        finally:
            holder.close()

    def fault(self, **words: Any) -> None:
        httpx.post(f"{self.sandbox_url}/faults", json=words, timeout=10).raise_for_status()

    def heal(self) -> None:
        httpx.delete(f"{self.sandbox_url}/faults", timeout=10).raise_for_status()

    def received(self) -> list[dict[str, Any]]:
        return list(httpx.get(f"{self.sandbox_url}/received", timeout=60).json())

    def queries(self) -> OutboxQueries:
        """Read access to the stored events."""
        if self._queries is None:
            self._database = Database(connect(self.database_url, timeout=10))
            self._queries = OutboxQueries(self._database)
        return self._queries

    def close(self) -> None:
        """End everything that was started here."""
        for process in (self.parent, self.relay, self._sandbox):
            if process and process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in (self.parent, self.relay, self._sandbox):
            if process:
                try:
                    process.wait(120)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        for pid in self.family():
            with suppress(ProcessLookupError):  # ended meanwhile
                os.kill(pid, signal.SIGKILL)
        if self._queries:
            self._database.engine.dispose()
        self._log.close()
        if self.server:
            self.server.remove()
        for port in self._ports:
            port.release()

    def _run(self, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, HURRIED, *arguments]
        return subprocess.Popen(command, env=self.environment, stdout=self._log, stderr=self._log)


def until(met: Callable[[], bool], what: str, seconds: float = STARTED_WITHIN) -> None:
    """Wait for what other processes do; fails with the name of what did not come."""
    deadline, pause = time.monotonic() + seconds, threading.Event()
    while not met():
        assert time.monotonic() < deadline, f"in {seconds:.0f} s it did not come to pass that {what}"
        pause.wait(0.05)


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).status_code == 200
    except httpx.HTTPError:
        return False
