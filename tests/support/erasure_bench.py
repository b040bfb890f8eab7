"""Two shops with orders of two shoppers, and the job that erases: for the tests of erasure."""

import random
import threading
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Engine

from connector.core.store import Pixel, Store
from connector.core.webhook import Request
from connector.intake.intake import Intake
from connector.outbox.lanes import Lane
from connector.outbox.outbox import Outbox
from connector.outbox.settlement import settled
from connector.plugin.testing.bench import handle_request
from connector.plugin.testing.shoppers import Journey
from connector.privacy.erasure import ErasureJob, erasure_job
from connector.privacy.requests import DataRequestStore
from connector.storage.database import Database
from connector.storage.tables import events, metadata
from tests.support.factories import a_store
from tests.support.platforms import PLATFORMS, SAMPLES

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
PIXEL = Pixel("CABCDEFGHIJKLMNOPQR0", "token")
LANE = Lane("acme", PIXEL.code)
ACME = a_store(pixels=(PIXEL,), go_live=NOW - timedelta(days=300), country="US")
BEANS = replace(
    ACME,
    name="beans",
    platform="woocommerce",
    url="https://b.example",
    shops=("b.example",),
    pixels=(Pixel("CBEANSHIJKLMNOPQRST0", "token"),),
)
STORES = {"acme": ACME, "beans": BEANS}


class Quick(threading.Event):
    """A stop that nobody sets and that is not waited for."""

    def wait(self, timeout: float | None = None) -> bool:
        return self.is_set()


class Bench:
    """Two shops, their webhooks and the erasure, with a clock that the test sets."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.now = NOW
        self.outbox = Outbox(Database(engine))
        self.serve(STORES)
        self.outbox.add_lanes([LANE])
        self.asked = DataRequestStore(Database(engine))
        self.eraser = self.hire("one")

    def serve(self, stores: Mapping[str, Store]) -> None:
        """Webhooks come to a process that was started with these stores."""
        asked = DataRequestStore(self.outbox.database)
        self.intake = Intake(stores, PLATFORMS, self.outbox, asked, clock=lambda: self.now)
        self.intake.start()

    def hire(self, owner: str) -> ErasureJob:
        return erasure_job(Database(self.engine), STORES, owner, lambda: datetime.timestamp(self.now))

    def take(self, topic: str, journey: Journey, store: Store = ACME, **changes: Any) -> str:
        samples = SAMPLES[store.platform]
        body = samples.encode({**samples.sample(topic, journey, store), **changes})
        return self.post(topic, body, journey, store)

    def post(self, topic: str, body: bytes, journey: Journey, store: Store = ACME) -> str:
        signed = PLATFORMS[store.platform].signed_headers(body, store.webhook_secrets[0])
        headers = SAMPLES[store.platform].headers(topic, journey, store) | signed
        return handle_request(self.intake, store, Request({k.lower(): v for k, v in headers.items()}, body, self.now))

    def erase(self) -> int:
        return self.eraser.round(Quick())

    def send(self, number: int = 100) -> None:
        """What is due is accepted."""
        if claimed := self.outbox.claim(LANE, number, "relay", self.now.timestamp() + 60, 60):
            ended = [settled(c, "accepted", self.now.timestamp(), 0, "OK", "r") for c in claimed]
            self.outbox.settle("relay", claimed[0].lease_until, ended)

    def events(self, store: str = "acme") -> dict[tuple[str, str], Any]:
        with self.engine.connect() as connection:
            rows = connection.execute(sa.select(events).where(events.c.store == store)).all()
        return {(row.event, row.event_id): row for row in rows}

    def kept(self, store: str = "acme") -> set[str]:
        """The event_ids of which anything personal is left."""
        personal = ("payload", "email", "phone", "external_id")
        return {row.event_id for row in self.events(store).values() if any(getattr(row, name) for name in personal)}

    def rows(self, table: sa.Table) -> list[Any]:
        with self.engine.connect() as connection:
            return list(connection.execute(sa.select(table).order_by(*table.primary_key.columns)).all())

    def everything(self) -> str:
        """All that is in the database, as text."""
        return "\n".join(repr(tuple(row)) for table in metadata.sorted_tables for row in self.rows(table))


def shopper(seed: int) -> Journey:
    return Journey.random(random.Random(seed), NOW)


ANN, BOB = shopper(1), shopper(2)


def ids(journey: Journey) -> set[str]:
    return {f"acme-order-{journey.order_id}", f"acme-checkout-{journey.checkout_token}"}
