"""A connector in which some orders were relayed, one was refused by TikTok and a webhook was parked; for its pages."""

import json
import random
import re
import shutil
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import sqlalchemy as sa
from flask.testing import FlaskClient
from jinja2 import BytecodeCache
from jinja2.bccache import Bucket
from sqlalchemy import Engine

from connector.config.settings import load
from connector.core.units import HOUR
from connector.devtools.sandbox.server import Sandbox
from connector.monitoring.webhook_stats import WebhookStats
from connector.outbox.outbox import Outbox
from connector.outbox.queries import EventFilter, OutboxQueries
from connector.relay.events_api import EventsApi
from connector.relay.relay import Relay
from connector.setup.records import SetupRecords
from connector.setup.samples import webhooks
from connector.storage.database import Database
from connector.storage.engine import connect
from connector.storage.tables import arrivals, metadata
from tests.support.factories import a_section, a_stores_file
from tests.support.platforms import PLATFORMS
from tests.support.web import client_of

PASSWORD = "correct horse battery"
PAGES = [
    "/",
    "/merges",
    "/books",
    "/events",
    "/webhooks",
    "/orders?store=acme",
    "/search",
    "/failed",
    "/failed?state=expired",
    "/parked",
    "/story?store=acme&key=order:1",
]
PAGES += ["/setup", "/setup/acme", "/add-store"]
LONGEST_PAUSE = 3600.0  # seconds; no lane rests longer
SECRET = "whsec-of-the-pages"
STORES = a_stores_file(
    a_section(browser_pixel="own"),
    a_section("woocommerce", "beans"),
    webhook_secrets=[SECRET],
    access_token="token-of-the-pages",
)
HOURS_AGO = int(time.time()) // HOUR * HOUR - 3 * HOUR
REASON = "<script>alert(1)</script> is not a number"  # TikTok's words are nobody's to trust


class _Compiled(BytecodeCache):
    """Templates compiled once in a process, not once for each application."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self.kept:
            bucket.bytecode_from_string(self.kept[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self.kept[bucket.key] = bucket.bytecode_to_string()


COMPILED = _Compiled()


@dataclass(frozen=True)
class Past:
    """All that a site has in its database, and the bodies its shops have sent."""

    rows: dict[str, list[dict[str, Any]]]
    bodies: dict[str, list[dict[str, Any]]]


class Site:
    """The application, and what it has lived through. TikTok refuses started checkouts until `healthy` is set."""

    def __init__(self, engine: Engine, **environ: str) -> None:
        self.engine = engine
        self.config = load({"STORES_TOML": STORES, "ADMIN_PASSWORD": PASSWORD, **environ})
        self.outbox, self.queries = Outbox(Database(engine)), OutboxQueries(Database(engine))
        self.web = client_of(self.config, self.outbox.database)
        self.app = self.web.application.pages
        self.app.jinja_env.bytecode_cache = COMPILED
        self.sandbox, self.healthy = Sandbox(), False
        client = httpx.Client(transport=httpx.MockTransport(self._answer))
        api = EventsApi("https://tiktok.example/open_api/v1.3", client)
        self.elapsed = 0.0  # seconds on the relay's clock
        self.relay = Relay(self.config.stores, self.outbox, api, elapsed=lambda: self.elapsed)
        self.bodies: dict[str, list[dict]] = {}

    def live(self, shoppers: int = 2, seed: int = 5) -> "Site":
        """Shoppers of both shops, a parked webhook, refused signatures, a relay at work, a look of the watcher."""
        topics = {
            "acme": ["checkouts/create", "orders/create", "orders/paid"],
            "beans": ["action.wc_tiktok_initiate_checkout", "order.created", "order.updated"],
        }
        for place, (name, wanted) in enumerate(topics.items()):
            for body, headers in webhooks(self.config.stores[name], wanted, shoppers, random.Random(seed + place)):
                assert self.web.post(f"/webhooks/{name}", data=body, headers=headers).status_code == 200
                self.bodies.setdefault(name, []).append(json.loads(body))
        self.park()
        self.work()
        self.outbox.heartbeat("one", time.time())
        self.web.application.intake.counters.flush()
        with self.engine.begin() as connection:  # a watcher that has counted before looks back for hours, not for weeks
            connection.execute(sa.insert(arrivals).values(store="gone", hour=HOURS_AGO, count=1, last_at=HOURS_AGO))
        WebhookStats(Database(self.engine)).count_up(time.time())
        for store in self.config.stores.values():
            SetupRecords(Database(self.engine)).note_complete(store, time.time())
        return self

    def past(self) -> Past:
        with self.engine.connect().execution_options(reading=True) as connection:
            rows = {
                table.name: [dict(row) for row in connection.execute(sa.select(table)).mappings()]
                for table in metadata.sorted_tables
            }
        return Past(rows, self.bodies)

    def go_on(self, past: Past) -> "Site":
        """Go on from what another site has lived through, which is quicker than to live through it again."""
        self.bodies = past.bodies
        with self.engine.begin() as connection:
            for table in metadata.sorted_tables:
                connection.execute(sa.delete(table))
                if past.rows[table.name]:
                    connection.execute(sa.insert(table), past.rows[table.name])
                if "id" in table.c and connection.dialect.name == "postgresql":
                    last = max((row["id"] for row in past.rows[table.name]), default=0)
                    connection.execute(
                        sa.select(sa.func.setval(sa.func.pg_get_serial_sequence(table.name, "id"), last + 1, False))
                    )
        self.outbox.heartbeat("one", time.time())
        return self

    def park(self, body: bytes = b'{"no": "id"}') -> None:
        headers = {"X-Shopify-Topic": "orders/create", "X-Shopify-Shop-Domain": "acme.myshopify.com"}
        headers |= PLATFORMS["shopify"].signed_headers(body, SECRET)
        assert self.web.post("/webhooks/acme", data=body, headers=headers).json == {"outcome": "parked"}

    def work(self) -> None:
        self.elapsed += LONGEST_PAUSE
        while self.relay.step():
            self.elapsed += LONGEST_PAUSE

    def order(self, name: str = "acme") -> dict:
        """A placed order as the shop sent it."""
        return next(body for body in self.bodies[name] if "order_number" in body or "order_key" in body)

    def states(self) -> Counter[str]:
        return Counter(row.state for row in self.queries.find(EventFilter(), 1000))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        items = json.loads(request.content)["data"]
        bad = [place for place, item in enumerate(items) if item["event"] == "InitiateCheckout"]
        if bad and not self.healthy:
            told = {"code": 40002, "message": f"data.{bad[0]}.value: {REASON}", "request_id": "2026112412"}
            return httpx.Response(200, json=told)
        answer = self.sandbox.answer(dict(request.headers), request.content)
        return httpx.Response(answer.status, content=answer.body)


def entered(site: Site, **more: str) -> FlaskClient:
    browser = site.app.test_client()
    answer = browser.post("/login", data={"password": PASSWORD}, headers=more)
    assert answer.status_code == 303
    assert answer.headers["Location"] in ("/", "/setup", "/setup/acme")
    return browser


def token(browser: FlaskClient) -> str:
    found = re.search(r'name="token" value="([^"]+)"', browser.get("/").text)
    assert found
    return found[1]


def press(browser: FlaskClient, route: str, **fields: str) -> str:
    """Send a form of ours; the text of the page that follows."""
    answer = browser.post(route, data={"token": token(browser), **fields})
    assert answer.status_code == 303, answer.text
    return browser.get(answer.headers["Location"]).text


def lived_past(migrated_sqlite: Path, folder: Path) -> Past:
    """Return the past of a site that has lived in a copy of this database in `folder`."""
    engine = connect(f"sqlite:///{shutil.copy(migrated_sqlite, folder)}")
    found = Site(engine).live().past()
    engine.dispose()
    return found
