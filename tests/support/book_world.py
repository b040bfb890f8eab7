"""Stores with books: a real intake, relay and sandbox over one database."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
from sqlalchemy import Engine

from connector.core.registry import installed_platforms
from connector.core.store import Store
from connector.core.units import DAY
from connector.core.webhook import Webhook
from connector.devtools.sandbox.server import Sandbox
from connector.intake.intake import Intake
from connector.monitoring.book_sums import Books
from connector.outbox.outbox import Outbox
from connector.privacy.requests import DataRequestStore
from connector.relay.events_api import EventsApi
from connector.relay.relay import Relay
from connector.storage.database import Database
from tests.support import order_life_bodies
from tests.support.factories import a_store
from tests.support.sample_bodies import NOW

STORES = {name: a_store(name, country="US", books=True) for name in order_life_bodies.WRITERS}


class World:
    """A real intake, relay and sandbox over one database, without time passing."""

    def __init__(self, engine: Engine, store: Store) -> None:
        self.engine = engine
        self.database = Database(engine)
        self.store = store
        self.outbox = Outbox(self.database)
        self.live = replace(store, go_live=NOW - timedelta(days=30))
        self.intake = Intake(
            {store.name: self.live}, installed_platforms(), self.outbox,
            DataRequestStore(self.database), clock=lambda: NOW,
        )  # fmt: skip
        self.intake.start()
        self.sandbox = Sandbox(NOW.timestamp)
        client = httpx.Client(transport=httpx.MockTransport(self._tiktok))
        self.relay = Relay({store.name: store}, self.outbox, EventsApi("https://tiktok.example", client), NOW.timestamp)

    def _tiktok(self, request: httpx.Request) -> httpx.Response:
        answer = self.sandbox.answer(request.headers, request.content)
        return httpx.Response(answer.status, content=answer.body)

    def deliver(self, topic: str, body: bytes) -> str:
        examined = self.intake.decide(Webhook(topic, body, NOW), self.live)
        if examined.decision is None:
            return examined.outcome
        return examined.stored(self.outbox.record(examined.decision)).outcome

    def deliver_all(self, webhooks: Iterable[tuple[str, bytes]]) -> None:
        """Deliver webhooks that arrive at once, which intake stores in one transaction."""
        found = [self.intake.decide(Webhook(topic, body, NOW), self.live).decision for topic, body in webhooks]
        self.outbox.record_all([decision for decision in found if decision])

    def send(self) -> None:
        while self.relay.step():
            pass

    def books(self) -> list[Any]:
        return Books(self.database).lines(self.store.name, 0, NOW.timestamp() + DAY)
