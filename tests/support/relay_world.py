"""A relay over a real outbox, with TikTok's side and an injected clock."""

import json
import random
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import sqlalchemy as sa
from sqlalchemy import Engine

from connector.core.store import Pixel, Store
from connector.devtools.sandbox.server import Sandbox
from connector.mapping.tiktok_event import OutboundEvent
from connector.outbox.ledger import Decision
from connector.outbox.outbox import Outbox
from connector.outbox.queries import OutboxQueries
from connector.relay.events_api import EventsApi
from connector.relay.relay import Relay
from connector.storage.database import Database
from connector.storage.tables import events
from tests.support.factories import a_store

START = 1_780_000_000.0
HOUR = 3600.0
BAD_ID = "Invalid value for event_id: not a valid string."
Script = Callable[[httpx.Request], httpx.Response | None]


def shop(name: str = "acme", token: str = "token-one", **changes: Any) -> Store:
    return a_store(name=name, **({"pixels": (Pixel(f"CPIXEL{name.upper()}", token),)} | changes))


def coded(code: int, message: str = "words", **headers: str) -> httpx.Response:
    return httpx.Response(200, json={"code": code, "message": message, "request_id": "2026"}, headers=headers)


class World:
    """An outbox, a relay over it, and TikTok's side; time passes only when it is told to."""

    def __init__(self, engine: Engine, *stores: Store) -> None:
        self.now = START
        self.jump = 0.0  # by how much the relay's Unix clock is wrong
        self.engine = engine
        self.outbox = Outbox(Database(engine))
        self.sandbox = Sandbox(clock=lambda: self.now, pause=lambda _event, _seconds: None)
        self.requests: list[list[str]] = []
        self.bodies: list[dict[str, Any]] = []
        self.script: Script = lambda _: None
        self.stores = {store.name: store for store in stores or (shop(),)}
        self.relay = self.start()

    def start(self, *stores: Store) -> Relay:
        """Another relay process, perhaps with other settings."""
        self.stores |= {store.name: store for store in stores}
        client = httpx.Client(transport=httpx.MockTransport(self.answer))
        api = EventsApi("https://tiktok.example/open_api/v1.3", client, elapsed=lambda: self.now)
        self.relay = Relay(
            self.stores,
            self.outbox,
            api,
            clock=lambda: self.now + self.jump,
            rng=random.Random(1),
            elapsed=lambda: self.now,
            wait=lambda _event, seconds: self.pass_by(seconds),
        )
        return self.relay

    def pass_by(self, seconds: float) -> None:
        self.now += seconds

    def answer(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        self.bodies.append(body)
        self.requests.append([item["event_id"] for item in body["data"]])
        if scripted := self.script(request):
            return scripted
        answer = self.sandbox.answer(dict(request.headers), request.content)
        if answer.dropped:
            raise httpx.RemoteProtocolError("closed without an answer")
        return httpx.Response(answer.status, content=answer.body, headers={"Location": answer.location})

    def put(self, *numbers: int, store: str = "acme", age: float = 0, padding: int = 0, order: str = "") -> None:
        """Store events with these event_ids, of an order each or all of one."""
        for pixel in self.stores[store].pixels:
            items = [self.mapped(f"{store}-{number}", pixel, age, padding, order) for number in numbers]
            for start in range(0, len(items), 500):
                part = tuple(items[start : start + 500])
                self.outbox.record(Decision(store, "t", b"%f" % random.random(), self.now, events=part))

    def mapped(self, event_id: str, pixel: Pixel, age: float, padding: int, order: str) -> OutboundEvent:
        item = {"event": "Purchase", "event_time": int(self.now - age), "event_id": event_id, "x": "x" * padding}
        at = datetime.fromtimestamp(self.now - age, UTC)
        payload = json.dumps(item).encode()
        return OutboundEvent(pixel, "order_paid", "Purchase", event_id, at, f"order:{order or event_id}", payload)

    def rows(self) -> dict[str, Any]:
        with self.engine.connect().execution_options(reading=True) as connection:
            return {row.event_id: row for row in connection.execute(sa.select(events).order_by(events.c.id))}

    def states(self) -> Counter[str]:
        return Counter(row.state for row in self.rows().values())

    def row(self, number: int = 1, store: str = "acme") -> Any:
        return self.rows()[f"{store}-{number}"]

    def lane(self, store: str = "acme") -> Any:
        return next(state for state in OutboxQueries(self.outbox.database).lane_states() if state.lane.store == store)

    def step(self, seconds: float = 0) -> int:
        self.now += seconds
        return self.relay.step()

    def taken(self) -> Counter[str]:
        """What TikTok has stored, by event_id."""
        return Counter(json.loads(receipt.item)["event_id"] for receipt in self.sandbox.received())


def always(*answers: Callable[[], httpx.Response | Exception]) -> Script:
    """Answer so in turn, the last one for ever."""
    left = list(answers)

    def script(_: httpx.Request) -> httpx.Response:
        answer = (left.pop(0) if len(left) > 1 else left[0])()
        if isinstance(answer, Exception):
            raise answer
        return answer

    return script


def blaming(*bad: int, words: str = "Invalid value for {where}event_id: not a valid string.", named: bool) -> Script:
    """Refuse a batch with any of these events, as TikTok does: the first one by its index, or nobody."""
    wrong = {f"acme-{number}" for number in bad}

    def script(request: httpx.Request) -> httpx.Response | None:
        ids = [item["event_id"] for item in json.loads(request.content)["data"]]
        first = next((index for index, event_id in enumerate(ids) if event_id in wrong), None)
        return None if first is None else coded(40002, words.format(where=f"data.{first}." if named else ""))

    return script
