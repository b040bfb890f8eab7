"""The real thing over real sockets: `connector serve` (gunicorn and the relay) against the sandbox."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import make_url

from connector.config.settings import Config, load
from connector.devtools.sandbox.server import Sandbox, create_server
from connector.devtools.shop_sandbox import pages
from connector.outbox.queries import EventFilter, OutboxQueries
from connector.storage.database import Database
from connector.storage.engine import connect, migrate
from tests.support.commands import run_command
from tests.support.factories import a_section, a_stores_file
from tests.support.ports import ReservedPort
from tests.support.postgresql import administer, create_database

RECORDED_SECRETS = ["${RECORDED}", "p&<>\"'x y+/=%é", "a&amp;b&lt;c&quot;d&#039;e&#39;f&nbsp;g"]
STORES = a_stores_file(
    a_section(),
    a_section("woocommerce", "beans"),
    a_section(
        "woocommerce",
        "recorded",
        url="https://shop.example.test",
        shop="https://shop.example.test",
        webhook_secrets=RECORDED_SECRETS,
        test_event_code="TEST12345",
    ),
    webhook_secrets=["${SECRET}"],
    access_token="${TOKEN}",
)


class System:
    """A running connector and the sandbox it sends to."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self.sandbox = Sandbox()
        self._sandbox_server = create_server(self.sandbox, port=0, more=[pages()])
        self.sandbox_url = f"http://127.0.0.1:{self._sandbox_server.server_port}"
        threading.Thread(target=self._sandbox_server.serve_forever, daemon=True).start()
        self._reserved = ReservedPort()
        self.port = self._reserved.number
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / "serve.log"
        self.environment = os.environ | {
            "STORES_TOML": STORES,
            "SECRET": "whsec-of-the-end-to-end-test",
            "RECORDED": "whsec_example_0123456789abcdefABCDEF",
            "TOKEN": "token-of-the-end-to-end-test",
            "DATABASE_URL": database_url,
            "EVENTS_API_URL": f"{self.sandbox_url}/open_api/v1.3",
            "PORT": str(self.port),
            "WEB_CONCURRENCY": "2",
            "LOG_FORMAT": "json",
        }
        self.parent: subprocess.Popen[bytes] | None = None

    @property
    def config(self) -> Config:
        return load(self.environment)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return run_command(*arguments, environment=self.environment)

    def start(self) -> None:
        engine = connect(self.environment["DATABASE_URL"], timeout=10)
        migrate(engine)
        engine.dispose()
        with self.log.open("ab") as log:
            self.parent = subprocess.Popen(
                [sys.executable, "-m", "connector", "serve"], env=self.environment, stdout=log, stderr=log
            )
        self.until(self.ready, "the server is ready")

    def until(self, met: Callable[[], bool], what: str, seconds: float = 180) -> None:
        """Wait for something other processes do; fails with the name of what did not come, and the end of the log."""
        deadline, pause = time.monotonic() + seconds, threading.Event()
        while not met():
            if time.monotonic() > deadline:
                lines = [
                    line
                    for line in self.log.read_text().splitlines()
                    if '"level":"info","logger":"connector.' not in line
                ]
                pytest.fail("\n".join([f"in {seconds} s it did not come to pass that {what}", *lines[-30:]]))
            pause.wait(0.05)

    def ready(self) -> bool:
        try:
            body = httpx.get(f"{self.url}/readyz", timeout=2).json()
            return (body["status"], body["relay"]) == ("ready", "alive")
        except httpx.HTTPError:
            return False

    def children(self, name: str) -> list[int]:
        """Process ids of `web` (gunicorn's master first, then its workers) or `relay`."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                command = (folder / "comm").read_text().strip()
                ours = f"PORT={self.port}".encode() in (folder / "environ").read_bytes().split(b"\0")
                started = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[19])
            except OSError:
                continue
            if ours and command == f"connector-{name}":
                found.append((started, int(folder.name)))
        return [pid for _, pid in sorted(found)]  # process ids alone would not do: they begin anew at some number

    def stop(self) -> int:
        if self.parent is None:
            return 0
        if self.parent.poll() is None:
            self.parent.send_signal(signal.SIGTERM)
        status = self.parent.wait(120)
        self.parent = None
        return status

    def close(self) -> None:
        self.stop()
        self._sandbox_server.shutdown()
        self._sandbox_server.server_close()
        self._reserved.release()

    def received(self) -> list[dict[str, Any]]:
        return [json.loads(receipt.json()) for receipt in self.sandbox.received()]

    def states(self, event_id: str) -> set[str]:
        """The states of the events with this id, from the database: a command for it would be a process."""
        engine = connect(self.environment["DATABASE_URL"], timeout=10)
        rows = OutboxQueries(Database(engine)).find(EventFilter(ids=(event_id,)), 100)
        engine.dispose()
        return {row.state for row in rows}


@pytest.fixture
def system(tmp_path: Path, database_url: str) -> Iterator[System]:
    running = System(tmp_path, database_url)
    try:
        yield running
    finally:
        running.close()


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A system on SQLite, not started, for tests of a module that leave it running: to start one takes 1.5 s of CPU."""
    folder = tmp_path_factory.mktemp("lasting")
    yield from _lasting(System(folder, f"sqlite:///{folder / 'connector.db'}"))


@pytest.fixture(scope="module")
def lasting_on_postgresql(tmp_path_factory: pytest.TempPathFactory, postgresql_server: str) -> Iterator[System]:
    """The same on PostgreSQL."""
    url = create_database(make_url(postgresql_server))
    yield from _lasting(System(tmp_path_factory.mktemp("lasting"), url))
    administer(make_url(postgresql_server), f"DROP DATABASE {make_url(url).database} WITH (FORCE)")


def _lasting(system: System) -> Iterator[System]:
    try:
        yield system
        assert system.stop() == 0
    finally:
        system.close()
