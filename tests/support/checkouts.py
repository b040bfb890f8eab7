"""A Shopify shop whose shoppers' browsers send beacons: webhooks, beacons, the relay and TikTok's side, no sockets."""

import json
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import sqlalchemy as sa
from sqlalchemy import Engine

from connector.core.store import ConsentSource, Pixel, SignalSettings, Store
from connector.core.webhook import Request
from connector.devtools.sandbox.server import Sandbox
from connector.intake.intake import Intake
from connector.outbox.held_events import HoldExpiry
from connector.outbox.outbox import Outbox
from connector.plugin.testing.bench import handle_request
from connector.plugin.testing.shoppers import Journey
from connector.privacy.requests import DataRequestStore
from connector.relay.events_api import EventsApi
from connector.relay.relay import Relay
from connector.signals.collector import BeaconRequest, Collector
from connector.signals.matching import SignalMatcher
from connector.storage.database import Database
from connector.storage.tables import events, ledger, signals
from platforms.shopify import samples as shopify_samples
from tests.support.factories import a_store
from tests.support.platforms import PLATFORMS

START = 1_780_000_000.0
SECRET = "whsec_example_0123456789"
AGENT = "Mozilla/5.0 (Linux; Android 16; Pixel 9)"
IP = "198.51.99.7"
SHOP = a_store(
    pixels=(Pixel("CACME000000000000000", "token"),),
    country="US",
    consent_source=ConsentSource("tiktok_consent"),
    signals=SignalSettings(),
)
ASKING = replace(SHOP, consent="required")  # shoppers must say yes
# What a browser has not told yet: Shopify's first webhook of a checkout.
NOTHING_TO_MATCH = {"email": None, "phone": None, "customer": None, "billing_address": None, "shipping_address": []}
# What an order has when the shopper's browser was not asked for anything.
UNTOLD = {"landing_site": None, "note_attributes": [], "browser_ip": None, "client_details": None}


def shopper(now: datetime) -> Journey:
    """The same one each time, of the United States."""
    rng = random.Random(7)
    while (journey := Journey.random(rng, now)).person.country.code != "US":
        pass
    return journey


class Way:
    """Time passes only when it is told to."""

    def __init__(self, engine: Engine, store: Store = SHOP) -> None:
        self.now = START
        self.engine = engine
        self.store = store
        self.stores = {store.name: store}
        self.outbox = Outbox(Database(engine))
        self.intake = Intake(self.stores, PLATFORMS, self.outbox, DataRequestStore(self.outbox.database), self.moment)
        self.intake.start()
        self.matcher = SignalMatcher(Database(engine))
        self.collector = Collector(self.stores, 0, clock=lambda: self.now, elapsed=lambda: self.now)
        self.holds = HoldExpiry(Database(engine))
        self.sandbox = Sandbox(clock=lambda: self.now, pause=lambda _event, _seconds: None)
        client = httpx.Client(transport=httpx.MockTransport(self._answer))
        self.relay = Relay(
            self.stores,
            self.outbox,
            EventsApi("https://tiktok.example/open_api/v1.3", client, elapsed=lambda: self.now),
            clock=lambda: self.now,
            rng=random.Random(1),
            elapsed=lambda: self.now,
        )
        self.journey = shopper(self.moment())
        self.token = self.journey.checkout_token

    def moment(self) -> datetime:
        return datetime.fromtimestamp(self.now, UTC)

    def webhook(self, topic: str, **changes: Any) -> str:
        """The sample body of that topic, some of its top-level keys replaced, on its whole way in; the outcome."""
        body = shopify_samples.sample(topic, self.journey, self.store)
        body |= {"updated_at": self.moment().isoformat(), **changes}
        return handle_request(self.intake, self.store, self.signed(topic, body))

    def signed(self, topic: str, body: dict[str, Any]) -> Request:
        raw = json.dumps(body).encode()
        headers = shopify_samples.headers(topic, self.journey, self.store)
        headers |= PLATFORMS["shopify"].signed_headers(raw, SECRET)
        headers |= {"X-Shopify-Triggered-At": self.moment().isoformat()}
        return Request({name.lower(): value for name, value in headers.items()}, raw, self.moment())

    def beacon(self, ip: str = IP, **members: Any) -> None:
        told = {"checkout_token": self.token, "ttclid": "E.C.P.click", "ttp": "ttp-cookie", "user_agent": AGENT}
        told |= {"url": "https://acme.example/checkouts/cn/secret", "referrer": "https://acme.example/cart"}
        body = json.dumps({name: value for name, value in (told | members).items() if value is not None}).encode()
        self.collect(self.store, BeaconRequest(ip, "", AGENT), body)

    def collect(self, store: Store, post: BeaconRequest, body: bytes) -> None:
        """A beacon on its whole way in."""
        if beacon := self.collector.read(store, post, body):
            self.matcher.collect(beacon)

    def step(self, seconds: float = 0) -> None:
        """So much later, what works beside the web has done its round."""
        self.now += seconds
        self.holds.end(self.now)
        self.relay.step()

    def _answer(self, request: httpx.Request) -> httpx.Response:
        answer = self.sandbox.answer(dict(request.headers), request.content)
        return httpx.Response(answer.status, content=answer.body)

    # --- what there is --------------------------------------------------------------------------------------

    def rows(self, table: sa.Table = events) -> list[Any]:
        with self.engine.connect().execution_options(reading=True) as connection:
            return list(connection.execute(sa.select(table).order_by(*table.primary_key.columns)).all())

    def states(self) -> dict[str, str]:
        return {row.event: row.state for row in self.rows()}

    def stored(self, event: str) -> dict[str, Any]:
        return next(json.loads(row.payload) for row in self.rows() if row.event == event)

    def sent(self) -> dict[str, dict[str, Any]]:
        """What TikTok has, by event; each must be there once."""
        items = [json.loads(receipt.item) for receipt in self.sandbox.received()]
        assert len({item["event"] for item in items}) == len(items)
        return {item["event"]: item for item in items}

    def lines(self) -> list[tuple[str, str, str]]:
        return [(row.topic, row.outcome, row.reason) for row in self.rows(ledger)]

    def signals(self) -> list[Any]:
        return self.rows(signals)


def holding(checkout: float, order: float) -> SignalSettings:
    """Other waits, in seconds."""
    return SignalSettings(timedelta(seconds=checkout), timedelta(seconds=order))


def joined(item: dict[str, Any]) -> bool:
    """Whether an item as sent has what `Way.beacon` told."""
    told = {"ttclid": "E.C.P.click", "ttp": "ttp-cookie", "ip": IP, "user_agent": AGENT}
    return told.items() <= item["user"].items()
