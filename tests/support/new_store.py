"""A store that is being set up: its application, a relay, a sandbox on a loopback socket, and its checklist."""

import random
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx
from sqlalchemy import Engine

from connector.config.settings import Config, load
from connector.core.platform import Platform
from connector.core.store import Store
from connector.devtools.sandbox.server import Sandbox, create_server
from connector.outbox.outbox import Outbox
from connector.relay.events_api import EventsApi
from connector.relay.relay import Relay
from connector.setup.actions import Setup
from connector.setup.checklist import checklist
from connector.setup.items import Item
from connector.setup.samples import webhooks
from connector.setup.situation import read_situation
from connector.storage.database import Database
from tests.support.factories import a_section, a_stores_file
from tests.support.platforms import PLATFORMS, SAMPLES
from tests.support.web import Answered, client_of, served

SECRET = "whsec_example_0123456789"
NAMES = {name: samples.DEMO_SHOP.store for name, samples in SAMPLES.items()}


@contextmanager
def a_sandbox() -> Iterator[tuple[Sandbox, str]]:
    """A sandbox and the URL of its Events API."""
    sandbox = Sandbox()
    server = create_server(sandbox, port=0)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield sandbox, f"http://127.0.0.1:{server.server_port}/open_api/v1.3"
    server.shutdown()
    thread.join()
    server.server_close()


class NewStore:
    """One store, its server and its relay. `changes` are keys of its section of the stores file."""

    def __init__(
        self,
        engine: Engine,
        events_api: str,
        platform: str = "shopify",
        platforms: Mapping[str, Platform] = PLATFORMS,
        more: str = "",
        secret: str | None = SECRET,
        environ: Mapping[str, str] | None = None,
        **changes: Any,
    ) -> None:
        self.database, self.platforms = Database(engine), platforms
        self.events_api, self.environ = events_api, dict(environ or {})
        self.settings = {"test_event_code": "TEST12345"} | changes
        self.platform_name, self.more, self.secret = platform, more, secret
        self.reload: Callable[[], Config] = lambda: self.config  # the settings as they are written now
        self.configure()

    def configure(self, **changes: Any) -> None:
        """Start anew with these keys changed."""
        self.settings |= changes
        self.config = self.read(**self.settings)
        self.store: Store = self.config.stores[NAMES.get(self.platform_name, "towels")]
        self.web = client_of(self.config, self.database, self.platforms, lambda: self.reload())  # noqa: PLW0108 (a test replaces it)
        self.elapsed = 0.0

    def read(self, **keys: Any) -> Config:
        section = a_section(self.platform_name, NAMES.get(self.platform_name, "towels"), **keys)
        toml = a_stores_file(section, self.more, webhook_secrets=[self.secret] if self.secret else None)
        environ = {"STORES_TOML": toml, "EVENTS_API_URL": self.events_api, "ADMIN_PASSWORD": "correct horse battery"}
        return load(environ | self.environ)

    @property
    def platform(self) -> Platform:
        return self.platforms[self.platform_name]

    def send(self, *topics: str, secret: str = "", store: str = "", **headers: str) -> list[Answered]:
        """Post webhooks of an invented shopper, by default of every milestone; the answers."""
        wanted = topics or SAMPLES[self.platform_name].FUNNEL
        answers = []
        for body, signed in webhooks(self.store, wanted, 1, random.Random(time.monotonic_ns())):
            given = signed | (self.platform.signed_headers(body, secret) if secret else {}) | headers
            answers.append(self.web.post(f"/webhooks/{store or self.store.name}", data=body, headers=given))
        self.web.application.intake.counters.flush()
        return answers

    def work(self) -> None:
        """Let a relay send what is due."""
        outbox = Outbox(self.database)
        outbox.heartbeat("one", time.time())
        with httpx.Client() as client:
            api = EventsApi(self.config.events_api_url, client)
            relay = Relay(self.config.stores, outbox, api, elapsed=lambda: self.elapsed)
            self.elapsed += 3600
            while relay.step():
                self.elapsed += 3600

    @contextmanager
    def acting(self) -> Iterator[Setup]:
        """The store with a client, for what its buttons do."""
        with httpx.Client(timeout=30) as client:
            yield Setup(self.config, self.store, self.platform, self.database, client)

    def ask(self) -> None:
        with self.acting() as setup:
            setup.check()

    def items(self) -> dict[str, Item]:
        found = read_situation(self.config, self.store, self.platform, self.database, time.time(), self.reload)
        return {item.key: item for item in checklist(found)}

    @contextmanager
    def served(self) -> Iterator[str]:
        """The store's server on a loopback socket, which is PUBLIC_URL meanwhile."""
        with served(self.web.application) as url:
            self.environ["PUBLIC_URL"] = url
            self.config = self.read(**self.settings)
            self.store = self.config.stores[self.store.name]
            yield url


def states(items: dict[str, Item]) -> dict[str, str]:
    return {key: item.state for key, item in items.items()}


def red(shop: NewStore, key: str) -> str:
    """The red line of this name, its remedy with it; every other red line has one, too."""
    items = shop.items()
    assert items[key].state == "red", states(items)
    for item in items.values():
        assert item.state != "red" or item.remedy or re.search("[;:] ", item.sentence), item
    return f"{items[key].sentence} → {items[key].remedy}"
