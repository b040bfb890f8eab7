"""The relay: what becomes of an event for whatever TikTok answers. Over a real outbox, with an injected clock."""

import json
import logging
import random
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from connector.core import rate_limit
from connector.core.store import EventIdTemplates, Pixel, Store
from connector.devtools.sandbox.rules import Fault
from connector.devtools.sandbox.server import Sandbox
from connector.mapping.tiktok_event import OutboundEvent
from connector.outbox.ledger import Decision
from connector.outbox.outbox import Lane, Outbox
from connector.outbox.queries import OutboxQueries
from connector.relay import relay as module
from connector.relay.events_api import LONGEST_REQUEST, EventsApi
from connector.relay.relay import BACKLOG, BATCH, BATCH_BYTES, LEASE, PAUSES, RETRY_WINDOW, Relay, fingerprint
from connector.storage.engine import connect, migrate
from connector.storage.tables import events, lanes
from connector.storage.transaction import CannotStore

START = 1_780_000_000.0
HOUR = 3600.0
BAD_ID = "Invalid value for event_id: not a valid string."
Script = Callable[[httpx.Request], httpx.Response | None]


def shop(name: str = "acme", token: str = "token-one", **changes: Any) -> Store:
    values: dict[str, Any] = {
        "name": name,
        "platform": "shopify",
        "url": f"https://{name}.example",
        "shops": (f"{name}.myshopify.com",),
        "webhook_secrets": ("s",),
        "pixels": (Pixel(f"CPIXEL{name.upper()}", token),),
        "consent": "not_required",
        "event_id": EventIdTemplates("{order_id}", "{checkout_token}", "{customer_id}"),
    }
    return Store(**(values | changes))


def coded(code: int, message: str = "words", **headers: str) -> httpx.Response:
    return httpx.Response(200, json={"code": code, "message": message, "request_id": "2026"}, headers=headers)


class World:
    """An outbox, a relay over it, and TikTok's side; time passes only when it is told to."""

    def __init__(self, engine: Engine, *stores: Store) -> None:
        self.now = START
        self.jump = 0.0  # by how much the relay's Unix clock is wrong
        self.engine = engine
        self.outbox = Outbox(engine)
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
            pause=lambda _event, seconds: self.pass_by(seconds),
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

    def put(self, *numbers: int, store: str = "acme", age: float = 0, padding: int = 0) -> None:
        for pixel in self.stores[store].pixels:
            items = [self.mapped(f"{store}-{number}", pixel, age, padding) for number in numbers]
            for start in range(0, len(items), 500):
                part = tuple(items[start : start + 500])
                self.outbox.record(Decision(store, "t", b"%f" % random.random(), self.now, events=part))

    def mapped(self, event_id: str, pixel: Pixel, age: float, padding: int) -> OutboundEvent:
        item = {"event": "Purchase", "event_time": int(self.now - age), "event_id": event_id, "x": "x" * padding}
        at = datetime.fromtimestamp(self.now - age, UTC)
        payload = json.dumps(item).encode()
        return OutboundEvent(pixel, "order_paid", "Purchase", event_id, at, f"order:{event_id}", payload)

    def rows(self) -> dict[str, Any]:
        with self.engine.connect().execution_options(reading=True) as connection:
            return {row.event_id: row for row in connection.execute(sa.select(events).order_by(events.c.id))}

    def states(self) -> Counter[str]:
        return Counter(row.state for row in self.rows().values())

    def row(self, number: int = 1, store: str = "acme") -> Any:
        return self.rows()[f"{store}-{number}"]

    def lane(self, store: str = "acme") -> Any:
        return next(state for state in OutboxQueries(self.outbox.engine).lane_states() if state.lane.store == store)

    def step(self, seconds: float = 0) -> int:
        self.now += seconds
        return self.relay.step()

    def taken(self) -> Counter[str]:
        """What TikTok has stored, by event_id."""
        return Counter(json.loads(receipt.item)["event_id"] for receipt in self.sandbox.received())


@pytest.fixture
def sqlite_engine(migrated_sqlite: Path, tmp_path: Path) -> Iterator[Engine]:
    shutil.copy(migrated_sqlite, tmp_path / "connector.db")
    engine = connect(f"sqlite:///{tmp_path / 'connector.db'}")
    yield engine
    engine.dispose()


@pytest.fixture
def world(sqlite_engine: Engine) -> World:
    return World(sqlite_engine)


@pytest.fixture
def both(engine: Engine) -> World:
    """The same over each database."""
    return World(engine)


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


class TestAccepted:
    """The ordinary way."""

    def test_an_event_reaches_tiktok_once(self, both: World) -> None:
        """Accepted, with TikTok's answer beside it; a second round sends nothing."""
        both.put(1, 2)
        assert both.step() == 2
        assert both.states() == {"accepted": 2}
        row = both.row()
        assert (row.code, row.message, row.settled_at, row.attempts, row.lease_owner) == (0, "OK", START, 1, None)
        assert row.request_id.startswith("2026")
        assert both.step(1000) == 0
        assert both.taken() == {"acme-1": 1, "acme-2": 1}

    def test_the_payload_is_sent_as_it_is(self, world: World) -> None:
        """The very bytes that intake stored."""
        world.put(1)
        world.step()
        assert world.sandbox.received()[0].item == world.row().payload

    def test_nothing_due_asks_nobody(self, world: World) -> None:
        """No request without an event."""
        assert world.step() == 0
        assert world.requests == []

    def test_partly_ok_rejects_the_named(self, world: World) -> None:
        """20001: the named events are rejected, the rest is accepted."""
        world.put(1, 2, 3)
        world.script = always(lambda: coded(20001, "data.1.event_id: bad"))
        world.step()
        assert [world.row(number).state for number in (1, 2, 3)] == ["accepted", "rejected", "accepted"]
        assert len(world.requests) == 1

    def test_partly_ok_without_a_name_accepts_all(self, world: World) -> None:
        """With TikTok's warning beside it."""
        world.put(1, 2)
        world.sandbox.set_fault(Fault("partial", times=1))
        world.step()
        assert world.states() == {"accepted": 2}
        assert world.row().code == 20001


class TestBatches:
    """What shares a request."""

    def test_a_hundred_events_a_request(self, world: World) -> None:
        """Few, as TikTok recommends."""
        world.put(*range(250))
        world.step()
        assert [len(request) for request in world.requests] == [BATCH, BATCH, 50]

    def test_half_a_megabyte_a_request(self, world: World) -> None:
        """Whichever limit is met first; one that is larger goes alone."""
        world.put(1, 2, 3, padding=BATCH_BYTES // 2 - 200)
        world.put(4, padding=BATCH_BYTES * 2)
        world.put(5)
        world.step()
        assert world.requests == [["acme-1", "acme-2"], ["acme-3"], ["acme-4"], ["acme-5"]]

    def test_a_backlog_goes_in_tiktoks_maximum(self, world: World) -> None:
        """A thousand at once when there are that many."""
        world.put(*range(1, BACKLOG + 151))
        world.step()
        assert [len(request) for request in world.requests] == [BACKLOG, BATCH, 50]
        assert world.states() == {"accepted": BACKLOG + 150}

    def test_test_codes_never_share_a_request(self, world: World) -> None:
        """Events are sent under the code they were stored with, even after it was changed."""
        codes = ["", "T1", "", "T2", "T1"]
        for number, code in enumerate(codes):
            world.stores["acme"] = shop(pixels=(Pixel("CPIXELACME", "token-one", code),))
            world.put(number)
        world.step()
        sent = {body.get("test_event_code", ""): len(body["data"]) for body in world.bodies}
        assert sent == {"": 2, "T1": 2, "T2": 1}
        assert len(world.requests) == 3

    def test_lanes_never_share_a_request(self, sqlite_engine: Engine) -> None:
        """Each store's and pixel's events go with its own token."""
        two = shop("two", pixels=(Pixel("CA", "token-a"), Pixel("CB", "token-b")))
        world = World(sqlite_engine, shop(), two)
        world.put(1, 2)
        world.put(1, store="two")
        tokens: list[tuple[str, str]] = []

        def script(request: httpx.Request) -> None:
            tokens.append((json.loads(request.content)["event_source_id"], request.headers["Access-Token"]))

        world.script = script
        world.step()
        assert sorted(tokens) == [("CA", "token-a"), ("CB", "token-b"), ("CPIXELACME", "token-one")]


class TestRetry:
    """Tried again, and not for ever."""

    def test_pauses_grow_to_ten_minutes_and_end_after_a_day(self, world: World) -> None:
        """Exponential with jitter; 24 hours after the first attempt the event is expired, with the last answer."""
        world.put(1)
        world.script = always(lambda: coded(40100, "Too many requests."))
        asked: list[float] = []
        while world.row().state == "due":
            world.now = max(world.now + 0.1, world.row().due_at)
            if world.step():
                asked.append(world.now)
        pauses = [later - earlier for earlier, later in pairwise(asked)]
        first, longest = PAUSES
        assert first / 2 <= pauses[0] <= first + 0.1
        assert all(pause <= longest + 0.1 for pause in pauses)
        assert all(longest / 2 <= pause for pause in pauses[8:])
        assert len({round(pause, 3) for pause in pauses[8:]}) > 50  # jitter
        assert RETRY_WINDOW < asked[-1] - asked[0] <= RETRY_WINDOW + longest
        row = world.row()
        assert (row.state, row.code) == ("expired", 40100)
        assert "24 hours" in row.message
        assert "Too many requests." in row.message

    def test_recovers(self, both: World) -> None:
        """An event outlives any fault that ends, under the same event_id."""
        both.put(1)
        both.script = always(lambda: coded(40100), lambda: httpx.Response(502, text="<html>"), lambda: coded(0, "OK"))
        for _ in range(3):
            both.step(600)
        row = both.row()
        assert (row.state, row.attempts) == ("accepted", 3)
        assert both.requests == [["acme-1"]] * 3

    def test_retry_after_is_honoured(self, world: World) -> None:
        """By the whole lane."""
        world.put(1)
        world.script = always(lambda: coded(40100, **{"Retry-After": "300"}), lambda: coded(0))
        world.step()
        assert world.row().due_at >= START + 300
        world.put(2)
        assert world.step(299) == 0
        assert world.step(1) == 2

    def test_a_failing_lane_rests_for_all_its_events(self, world: World) -> None:
        """The batches behind a failed one are not sent; they go back as if never claimed."""
        world.put(*range(250))
        world.script = always(lambda: coded(50000, "busy"))
        world.step()
        assert len(world.requests) == 1
        untouched = [row for row in world.rows().values() if row.attempts == 0]
        assert len(untouched) == 150
        assert {(row.tried_at, row.sent_at, row.due_at, row.lease_owner) for row in untouched} == {
            (None, None, START, None)
        }
        assert world.step(1) == 0  # resting
        world.script = lambda _: None
        world.step(60)
        world.step(60)
        assert world.states() == {"accepted": 250}

    def test_other_lanes_do_not_rest(self, sqlite_engine: Engine) -> None:
        """A store's trouble is its own."""
        world = World(sqlite_engine, shop(), shop("two", "token-two"))
        world.put(1)
        world.put(1, store="two")
        world.sandbox.set_fault(Fault("rate_limit", token="token-one"))
        world.step()
        assert (world.row().state, world.row(store="two").state) == ("due", "accepted")
        world.put(2, store="two")
        world.step(0.1)
        assert world.row(2, "two").state == "accepted"


class TestSentAt:
    """When an event may first have reached TikTok, whose memory for event_ids ends 48 hours later."""

    @pytest.mark.parametrize(
        ("answer", "kept"),
        [
            (lambda: coded(40100), False),
            (lambda: httpx.Response(429), False),
            (lambda: httpx.ConnectError("refused"), False),
            (lambda: httpx.ConnectTimeout("slow"), False),
            (lambda: coded(40105), False),
            (lambda: httpx.ReadTimeout("slow"), True),
            (lambda: httpx.RemoteProtocolError("closed"), True),
            (lambda: httpx.Response(502), True),
            (lambda: httpx.Response(200, text="<html>"), True),
            (lambda: coded(50002), True),
        ],
    )
    def test_only_a_definite_refusal_clears_it(self, both: World, answer: Any, kept: bool) -> None:
        """A time-out says nothing; a rate limit does."""
        both.put(1)
        both.script = always(answer)
        both.step()
        assert both.row().sent_at == (START if kept else None)

    def test_a_later_refusal_does_not_clear_an_earlier_doubt(self, world: World) -> None:
        """The first request may have arrived, whatever the second was answered."""
        world.put(1)
        world.script = always(lambda: httpx.ReadTimeout("slow"), lambda: coded(40100))
        world.step()
        world.step(60)
        assert (world.row().attempts, world.row().sent_at) == (2, START)

    def test_a_good_event_of_a_refused_batch_stays_in_doubt(self, world: World) -> None:
        """Nobody knows whether TikTok keeps the good events of a batch that it refuses."""
        world.put(1, 2)
        world.script = always(lambda: coded(40002, "data.0.event_id: bad"), lambda: coded(40002), lambda: coded(40100))
        world.step()
        assert (world.row(1).state, world.row(1).sent_at) == ("rejected", None)
        assert (world.row(2).state, world.row(2).sent_at) == ("due", START)

    def test_after_47_hours_it_is_expired_and_not_sent(self, both: World) -> None:
        """TikTok would count a copy twice."""
        both.put(1)
        both.script = always(lambda: httpx.ReadTimeout("slow"))
        both.step()
        both.script = lambda _: None
        assert both.step(47 * HOUR + 1) == 1
        assert both.requests == [["acme-1"]]
        row = both.row()
        assert (row.state, row.code) == ("expired", None)
        assert "47 hours" in row.message

    def test_within_47_hours_it_is_sent_again(self, world: World) -> None:
        """TikTok still knows the event_id, so a copy does no harm."""
        world.put(1)
        world.sandbox.set_fault(Fault("drop", times=1, after=True))
        world.step()
        world.step(47 * HOUR - 1)
        assert world.row().state == "accepted"
        assert [receipt.duplicate for receipt in world.sandbox.received()] == [False, True]

    def test_a_rejected_event_never_arrived(self, world: World) -> None:
        """So its replay, days later, is no copy."""
        world.put(1)
        world.script = always(lambda: coded(40002, BAD_ID))
        world.step()
        assert (world.row().state, world.row().sent_at) == ("rejected", None)
        world.script = lambda _: None
        OutboxQueries(world.outbox.engine).replay([world.row().id], world.now + 72 * HOUR)
        world.step(72 * HOUR)
        assert world.row().state == "accepted"


class TestTooOld:
    """Visible, not silent."""

    def test_older_than_the_store_allows_is_expired(self, both: World) -> None:
        """Nothing is sent."""
        both.put(1, age=6 * 24 * HOUR)
        assert both.step(25 * HOUR) == 1
        assert both.requests == []
        assert (both.row().state, both.row().settled_at) == ("expired", both.now)
        assert both.row().message == "older than 7d before it could be sent (max_event_age, browser_pixel)"

    def test_the_fresh_ones_beside_it_are_sent(self, world: World) -> None:
        """Age is each event's own."""
        world.put(1, age=8 * 24 * HOUR)
        world.put(2)
        world.step()
        assert [world.row(number).state for number in (1, 2)] == ["expired", "accepted"]

    def test_test_events_have_no_age(self, world: World) -> None:
        """Old orders may be sent to Test Events, twice too."""
        world.start(shop(pixels=(Pixel("CPIXELACME", "token-one", "TEST1"),)))
        world.put(1, age=20 * 24 * HOUR)
        world.script = always(lambda: httpx.ReadTimeout("slow"))
        world.step()
        world.script = lambda _: None
        world.step(50 * HOUR)
        assert world.row().state == "accepted"


class TestBadEvents:
    """A bad event never costs its neighbours."""

    def test_a_single_bad_event_is_rejected_in_tiktoks_words(self, both: World) -> None:
        """Kept, visible, replayable."""
        both.put(1)
        both.script = always(lambda: coded(40002, BAD_ID))
        both.step()
        row = both.row()
        assert (row.state, row.code, row.message, row.request_id) == ("rejected", 40002, BAD_ID, "2026")
        assert row.payload
        assert both.lane().denied_until is None

    @pytest.mark.parametrize(("named", "most"), [(True, 10), (False, 80)])
    @pytest.mark.parametrize("bad", [(17, 500, 1000), (1, 2, 3), (998, 999, 1000), (500, 501, 750)])
    def test_three_of_a_thousand(self, world: World, named: bool, most: int, bad: tuple[int, ...]) -> None:
        """997 accepted, 3 rejected: named ones in a few requests, others by halves."""
        world.put(*range(1, 1001))
        world.script = blaming(*bad, named=named)
        world.step()
        assert world.states() == {"accepted": 997, "rejected": 3}
        assert {world.row(number).state for number in bad} == {"rejected"}
        assert world.row(bad[0]).message.startswith("Invalid value for ")
        assert len(world.requests) <= most
        assert set(world.taken().values()) == {1}
        assert world.lane().denied_until is None

    def test_poison_in_the_sandbox(self, both: World) -> None:
        """The same against the sandbox's own idea of it, on both databases."""
        both.put(*range(1, 41))
        both.sandbox.set_fault(Fault("poison", event_ids=["acme-3", "acme-40"], named=False))
        both.step()
        assert both.states() == {"accepted": 38, "rejected": 2}

    def test_an_index_is_not_believed_blindly(self, world: World) -> None:
        """Counted from one, or of an element inside: the named event is asked about alone first."""
        world.put(1, 2, 3)

        def script(request: httpx.Request) -> httpx.Response | None:
            ids = [item["event_id"] for item in json.loads(request.content)["data"]]
            return coded(40002, f"index {ids.index('acme-2') + 1}") if "acme-2" in ids else None

        world.script = script
        world.step()
        assert {number: world.row(number).state for number in (1, 2, 3)} == {
            1: "accepted",
            2: "rejected",
            3: "accepted",
        }

    def test_many_bad_ones_in_different_words(self, world: World) -> None:
        """Nobody is buried and nothing breaks, however many."""
        world.put(*range(1, 301))

        def script(request: httpx.Request) -> httpx.Response | None:
            ids = [item["event_id"] for item in json.loads(request.content)["data"]]
            first = next((n for n, event_id in enumerate(ids) if event_id != "acme-300"), None)
            kind = "id" if first is not None and int(ids[first][5:]) % 2 else "time"
            return None if first is None else coded(40002, f"data.{first}.event_{kind}: bad")

        world.script = script
        world.step()
        assert world.states() == {"accepted": 1, "rejected": 299}

    def test_a_batch_too_large_for_a_proxy_is_halved(self, world: World) -> None:
        """HTTP 413: nobody's fault, and nothing is rejected."""
        world.put(*range(1, 101))
        world.script = lambda request: httpx.Response(413) if len(json.loads(request.content)["data"]) > 30 else None
        world.step()
        assert world.states() == {"accepted": 100}

    def test_a_failure_while_looking_settles_what_is_known(self, world: World) -> None:
        """The culprit is rejected, the rest is tried again."""
        world.put(*range(1, 11))
        world.script = always(
            lambda: coded(40002, "data.4.event_id: bad"), lambda: coded(40002, BAD_ID), lambda: coded(50000)
        )
        world.step()
        assert world.states() == {"rejected": 1, "due": 9}
        world.script = lambda _: None
        world.step(60)
        assert world.states() == {"rejected": 1, "accepted": 9}


class TestSameRefusal:
    """Every event refused in the same words: the set-up is at fault, and nothing is buried."""

    @pytest.mark.parametrize("named", [True, False])
    @pytest.mark.parametrize("many", [2, 7, 1000])
    def test_refuses_the_lane_and_keeps_the_events(self, world: World, named: bool, many: int) -> None:
        """Found out in few requests, even with a thousand waiting."""
        world.put(*range(1, many + 1))
        world.script = blaming(*range(1, many + 1), named=named)
        world.step()
        assert world.states() == {"due": many}
        assert world.lane().denied_until > world.now
        assert "event_id" in world.lane().reason
        assert len(world.requests) <= 50

    def test_a_probe_refused_so_again_is_not_buried_either(self, world: World) -> None:
        """One event at a time would else go the same way; when the words change, or end, all is well."""
        world.put(*range(1, 6))
        world.script = blaming(*range(1, 6), named=False)
        for _ in range(10):
            world.step(600)
        assert world.states() == {"due": 5}
        assert all(len(request) == 1 for request in world.requests[-9:])
        world.script = lambda _: None
        world.step(600)
        assert world.states() == {"accepted": 5}

    def test_once_an_event_was_taken_the_others_are_their_own_fault(self, world: World) -> None:
        """Two bad events alone look like a bad set-up, until a good one comes."""
        world.put(1, 2)
        world.script = blaming(1, 2, named=True)
        world.step()
        assert world.states() == {"due": 2}
        world.put(3)
        for _ in range(3):
            world.step(600)
        assert {number: world.row(number).state for number in (1, 2, 3)} == {
            1: "rejected",
            2: "rejected",
            3: "accepted",
        }
        assert world.lane().denied_until is None

    def test_refused_in_two_ways_is_two_bad_events(self, world: World) -> None:
        """Different words, different faults."""
        world.put(1, 2)

        def script(request: httpx.Request) -> httpx.Response:
            ids = [item["event_id"] for item in json.loads(request.content)["data"]]
            return coded(40002, "bad time" if ids == ["acme-2"] else "bad id")

        world.script = script
        world.step()
        assert world.states() == {"rejected": 2}


class TestDenied:
    """Token, permission, pixel: the lane waits, loudly."""

    @pytest.mark.parametrize("kind", ["revoke", "no_permission", "bad_source"])
    def test_all_events_wait(self, both: World, kind: Any, caplog: pytest.LogCaptureFixture) -> None:
        """One request finds out; no attempt is counted; the log says what to check, and no token."""
        both.put(*range(250))
        both.sandbox.set_fault(Fault(kind))
        with caplog.at_level(logging.INFO):
            both.step()
        assert len(both.requests) == 1
        assert both.states() == {"due": 250}
        assert {(row.attempts, row.tried_at, row.sent_at) for row in both.rows().values()} == {(0, None, None)}
        (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
        assert "Check pixel and access_token" in record.getMessage()
        assert "token-one" not in caplog.text + str([record.__dict__ for record in caplog.records])

    def test_probes_with_one_event_and_growing_pauses(self, both: World) -> None:
        """A different event each time; at most ten minutes apart."""
        both.put(*range(1, 31))
        both.sandbox.set_fault(Fault("revoke"))
        pauses = []
        for _ in range(14):
            both.step()
            pauses.append(both.lane().denied_until - both.now)
            assert both.step(pauses[-1] - 0.01) == 0  # nobody asks before
            both.now += 0.02
        assert [len(request) for request in both.requests] == [30] + [1] * 13
        assert len({request[0] for request in both.requests[1:]}) == 13
        assert all(earlier < later * 1.01 or later > 300 for earlier, later in zip(pauses, pauses[2:], strict=False))
        assert 300 <= pauses[-1] <= 600
        assert (both.lane().denials, both.lane().denied_since) == (14, START)

    def test_opens_by_itself_when_tiktok_accepts(self, both: World) -> None:
        """The probe is accepted, and all the rest flows in the same round."""
        both.put(*range(1, 31))
        both.sandbox.set_fault(Fault("revoke"))
        both.step()
        both.sandbox.clear_faults()
        both.step(600)
        assert both.states() == {"accepted": 30}
        assert [len(request) for request in both.requests] == [30, 1, 29]
        assert (both.lane().denied_until, both.lane().denials) == (None, 0)

    def test_opens_at_once_with_another_token(self, both: World) -> None:
        """A restart with a new token does not wait for the pause."""
        both.put(*range(1, 31))
        both.sandbox.set_fault(Fault("revoke", allow=["token-new"]))
        both.step()
        both.start(shop(token="token-one"))
        assert both.step(1) == 0  # a restart alone changes nothing
        both.start(shop(token="token-new"))
        both.step(1)
        assert both.states() == {"accepted": 30}
        assert [len(request) for request in both.requests] == [30, 1, 29]

    def test_another_wrong_token_waits_as_well(self, world: World) -> None:
        """Asked once, then refused under its own fingerprint."""
        world.put(1, 2)
        world.sandbox.set_fault(Fault("revoke"))
        world.step()
        world.start(shop(token="token-worse"))
        world.step(1)
        assert world.step(0.5) == 0
        assert world.lane().denied_token == fingerprint("token-worse")
        assert [len(request) for request in world.requests] == [2, 1]

    def test_a_probe_that_meets_another_trouble_opens_nothing(self, world: World) -> None:
        """A rate limit says nothing about the token."""
        world.put(1, 2)
        world.script = always(lambda: coded(40105), lambda: coded(40100))
        world.step()
        world.step(600)
        assert [len(request) for request in world.requests] == [2, 1]
        assert world.lane().denied_until is not None

    def test_a_probe_too_old_to_be_sent_is_no_probe(self, world: World) -> None:
        """The next event asks, and still alone."""
        world.put(1, age=6.9 * 24 * HOUR)
        world.now += 1
        world.put(2, 3)
        world.script = always(lambda: coded(40105))
        world.step()
        with world.engine.begin() as connection:  # as if the old one had been the longest due
            connection.execute(sa.update(events).where(events.c.event_id == "acme-1").values(due_at=START))
        world.step(5 * HOUR)
        assert world.row(1).state == "expired"
        assert [len(request) for request in world.requests] == [3, 1]

    def test_waits_for_days_and_then_has_its_24_hours(self, world: World) -> None:
        """Refused attempts do not use up the time for retries."""
        world.put(1)
        world.script = always(lambda: coded(40105))
        for _ in range(5):
            world.step(20 * HOUR)
        world.script = always(lambda: coded(40100), lambda: coded(0, "OK"))
        world.step(HOUR)
        assert world.row().state == "due"
        world.step(HOUR)
        assert world.row().state == "accepted"

    def test_waits_until_the_age_limit(self, world: World) -> None:
        """Then expired, visibly."""
        world.put(1)
        world.script = always(lambda: coded(40105))
        for _ in range(8):
            world.step(24 * HOUR)
        assert world.row().state == "expired"
        assert "max_event_age" in world.row().message

    def test_other_lanes_never_notice(self, sqlite_engine: Engine) -> None:
        """Nor do they share the refused token's fate."""
        world = World(sqlite_engine, shop(), shop("two", "token-two"))
        world.put(1)
        world.put(1, store="two")
        world.sandbox.set_fault(Fault("revoke", allow=["token-two"]))
        world.step()
        assert (world.row().state, world.row(store="two").state) == ("due", "accepted")
        assert (world.lane().denials, world.lane("two").denials) == (1, 0)

    @pytest.mark.parametrize("token", ["", "tok\nen", "tøken", "a\udc80"])
    def test_an_unusable_token_is_a_refused_one(self, world: World, token: str) -> None:
        """The relay lives on, and works again once it is put right."""
        world.start(shop(token=token))
        world.put(1)
        for _ in range(2):
            world.step(600)
        assert (world.row().state, world.lane().denials, world.requests) == ("due", 2, [])
        world.start(shop())
        world.step(1)
        assert world.row().state == "accepted"


class TestLease:
    """An event belongs to one relay until its lease ends."""

    def test_never_sends_with_less_lease_left_than_a_request_takes(self, world: World) -> None:
        """Slow answers use it up; what was not sent goes back untouched."""
        world.put(*range(700))
        sent_at: list[float] = []

        def script(_: httpx.Request) -> None:
            sent_at.append(world.now)
            world.now += 15

        world.script = script
        claims: list[float] = []
        claim = world.outbox.claim

        def watched(*arguments: Any) -> Any:
            claims.append(world.now)
            if len(claims) > 1:
                return []
            return claim(*arguments)

        world.outbox.claim = watched  # type: ignore[method-assign]
        world.step()
        assert all(at + LONGEST_REQUEST <= START + LEASE for at in sent_at)
        assert len(sent_at) == 6
        assert world.states() == {"accepted": 600, "due": 100}
        left = [row for row in world.rows().values() if row.state == "due"]
        assert {(row.attempts, row.sent_at, row.tried_at, row.lease_owner) for row in left} == {(0, None, None, None)}

    def test_looking_for_a_bad_event_ends_with_the_lease(self, world: World) -> None:
        """What is known by then is settled, the rest is tried again, and nothing is lost."""
        world.put(*range(1, 101))
        refuse = blaming(3, 50, 97, named=False)

        def script(request: httpx.Request) -> httpx.Response | None:
            world.now += 10
            return refuse(request)

        world.script = script
        world.step()
        assert world.now <= START + LEASE
        assert world.states()["due"] > 0
        assert all(row.sent_at for row in world.rows().values() if row.state == "due")
        for _ in range(20):
            world.step(60)
        assert world.states() == {"accepted": 97, "rejected": 3}

    def test_a_relay_whose_lease_ran_out_settles_nothing(self, both: World) -> None:
        """Another one has taken the events over; its word counts."""
        both.put(1)

        def script(_: httpx.Request) -> httpx.Response:
            both.now += LEASE
            both.script = lambda _: None
            (taken,) = both.outbox.claim(Lane("acme", "CPIXELACME"), 10, "another", both.now, LEASE)
            assert taken.attempts == 2
            return coded(40002, BAD_ID)

        both.script = script
        both.step()
        row = both.row()
        assert (row.state, row.lease_owner, row.code) == ("due", "another", None)
        both.step(LEASE)
        assert both.row().state == "accepted"

    def test_a_dead_relays_events_fall_due_again(self, both: World) -> None:
        """Nobody has to notice that it died."""
        both.put(1)
        both.outbox.claim(Lane("acme", "CPIXELACME"), 10, "dead", both.now, LEASE)
        assert both.step(LEASE - 1) == 0
        assert both.step(1) == 1
        assert both.row().state == "accepted"

    def test_what_could_not_be_settled_is_sent_again_under_the_same_id(self, world: World) -> None:
        """The database goes away between TikTok's answer and ours; TikTok drops the copy."""
        world.put(1)
        settle = world.outbox.settle

        def broken(*_: Any) -> int:
            raise CannotStore("away")

        world.outbox.settle = broken  # type: ignore[method-assign]
        world.step()
        assert world.row().state == "due"
        world.outbox.settle = settle  # type: ignore[method-assign]
        world.step(LEASE)
        assert world.row().state == "accepted"
        assert [receipt.duplicate for receipt in world.sandbox.received()] == [False, True]

    def test_a_bug_on_one_lane_stops_neither_relay_nor_lane(self, sqlite_engine: Engine) -> None:
        """The lane rests, the others go on, and nothing is lost."""
        world = World(sqlite_engine, shop(), shop("two", "token-two"))
        world.put(1)
        world.put(1, store="two")
        bug = always(lambda: RuntimeError("a bug"))
        world.script = lambda request: bug(request) if request.headers["Access-Token"] == "token-one" else None
        world.step()
        assert (world.row().state, world.row(store="two").state) == ("due", "accepted")
        world.script = lambda _: None
        world.step(LEASE)
        assert world.row().state == "accepted"


class TestClock:
    """A clock that jumps loses nothing and stops nothing for ever."""

    @pytest.mark.parametrize("hours", [-5, -0.3, 0.3, 5])
    def test_what_waits_through_a_jump_is_sent(self, both: World, hours: float) -> None:
        """Stored, tried once, and tried again by the jumped clock: within minutes, not hours."""
        both.put(1, 2)
        both.script = always(lambda: coded(50002), lambda: coded(0, "OK"))
        both.step()
        both.jump = hours * HOUR
        for _ in range(40):
            both.step(30)
        assert both.states() == {"accepted": 2}
        assert len(both.requests) == 2

    def test_a_lease_from_the_future_does_not_block(self, both: World) -> None:
        """A relay whose clock was five hours ahead died with it."""
        both.put(1)
        both.outbox.claim(Lane("acme", "CPIXELACME"), 10, "dead", both.now + 5 * HOUR, LEASE)
        both.step(module.LOOK_AHEAD)
        row = both.row()
        assert (row.state, row.lease_owner) == ("accepted", None)
        assert row.sent_at <= both.now  # not later than it was really sent: TikTok's memory may be as old

    def test_an_ordinary_lease_or_pause_is_not_pulled_back(self, both: World) -> None:
        """Nothing that a right clock wrote lies so far ahead."""
        both.put(1)
        both.outbox.claim(Lane("acme", "CPIXELACME"), 10, "alive", both.now, LEASE)
        assert both.step(1) == 0
        assert both.row().lease_owner == "alive"
        assert max(LEASE, *PAUSES, 600) < module.MAX_AHEAD

    def test_a_webhook_from_the_future_is_not_held_back(self, both: World) -> None:
        """The web's host may be the one that is wrong."""
        both.now += 5 * HOUR
        both.put(1)
        both.now -= 5 * HOUR
        both.step()
        assert both.row().state == "accepted"

    def test_a_refusal_from_the_future_is_asked_about(self, world: World) -> None:
        """Its lane would wait for hours."""
        world.put(1)
        world.outbox.add_lanes([Lane("acme", "CPIXELACME")])
        token = fingerprint("token-one")
        world.outbox.deny(Lane("acme", "CPIXELACME"), world.now + 5 * HOUR, world.now + 5 * HOUR, token, "40105")
        world.step()
        assert world.row().state == "accepted"

    def test_a_jump_while_sending_neither_ends_nor_stretches_the_lease(self, world: World) -> None:
        """How long it lasts goes by a clock that never jumps."""
        world.put(*range(250))

        def script(_: httpx.Request) -> None:
            world.jump += 3 * HOUR

        world.script = script
        world.step()
        assert world.states() == {"accepted": 250}


class TestPace:
    """How fast a token may be used."""

    def test_a_backlog_keeps_its_tokens_pace(self, world: World) -> None:
        """No more than the burst at once; then it waits, and nothing fails by it."""
        many = int(rate_limit.BURST) + 20
        for number in range(many):
            world.stores["acme"] = shop(pixels=(Pixel("CPIXELACME", "token-one", f"T{number}"),))
            world.put(number)
        times: list[float] = []
        world.script = lambda _: times.append(world.now)
        world.step()
        assert len(times) == many
        assert times[int(rate_limit.BURST) - 1] == START
        assert times[-1] - START == pytest.approx(20 / rate_limit.PER_SECOND)
        assert world.states() == {"accepted": many}

    def test_a_token_used_too_often_rests_whole(self, sqlite_engine: Engine) -> None:
        """Its other lanes would only make it worse; those of other tokens go on."""
        two = shop("two", pixels=(Pixel("CA", "token-two"), Pixel("CB", "token-two")))
        world = World(sqlite_engine, shop(), two)
        world.put(1)
        world.put(1, store="two")
        world.sandbox.set_fault(Fault("rate_limit", token="token-two"))
        world.step()
        tokens = [body["event_source_id"] for body in world.bodies]
        assert sorted(tokens) in (["CA", "CPIXELACME"], ["CB", "CPIXELACME"])
        world.sandbox.clear_faults()
        for _ in range(3):
            world.step(30)
        assert world.sandbox.counts()["by_source"] == {"CA": 1, "CB": 1, "CPIXELACME": 1}


class TestRun:
    """The process: started, stopped."""

    def run(self, world: World, until: threading.Event) -> None:
        """Run until it happens, then stop."""
        stop = threading.Event()
        thread = threading.Thread(target=world.relay.run, args=(stop,))
        thread.start()
        try:
            assert until.wait(20)
        finally:
            stop.set()
            thread.join(20)
        assert not thread.is_alive()

    def test_sends_beats_and_signs_off(self, both: World) -> None:
        """Alive while it runs, and gone in good order."""
        both.put(1)
        seen: list[float | None] = []
        done = threading.Event()

        def script(_: httpx.Request) -> None:
            seen.append(OutboxQueries(both.outbox.engine).relay_seen())
            done.set()

        both.script = script
        self.run(both, done)
        assert both.row().state == "accepted"
        assert seen == [START]
        assert OutboxQueries(both.outbox.engine).relay_seen() is None

    def test_stop_while_working_settles_what_was_sent(self, both: World) -> None:
        """The request under way is finished and settled; what was not sent goes back untouched."""
        both.put(*range(250))
        stop, asked = threading.Event(), threading.Event()
        thread = threading.Thread(target=both.relay.run, args=(stop,))

        def script(_: httpx.Request) -> None:
            stop.set()
            asked.set()

        both.script = script
        thread.start()
        assert asked.wait(20)
        thread.join(20)
        assert not thread.is_alive()
        assert both.states() == {"accepted": 100, "due": 150}
        left = [row for row in both.rows().values() if row.state == "due"]
        assert {(r.attempts, r.sent_at, r.tried_at, r.due_at, r.lease_owner) for r in left} == {
            (0, None, None, START, None)
        }

    def test_stop_while_looking_for_a_bad_event(self, world: World) -> None:
        """It ends with the request under way, and what is unknown stays due and in doubt."""
        world.put(*range(1, 101))
        stop = threading.Event()
        refuse = blaming(60, named=False)

        def script(request: httpx.Request) -> httpx.Response | None:
            if len(world.requests) == 3:
                stop.set()
            return refuse(request)

        world.script = script
        world.relay.run(stop)
        assert len(world.requests) == 3
        assert world.states()["rejected"] == 0
        assert all(row.sent_at == START for row in world.rows().values() if row.state == "due")

    def test_a_hanging_lane_delays_no_other(self, sqlite_engine: Engine) -> None:
        """Lanes are worked side by side."""
        world = World(sqlite_engine, shop(), shop("two", "token-two"))
        world.put(1)
        world.put(1, store="two")
        hanging, answered, release = (threading.Event() for _ in range(3))

        def script(request: httpx.Request) -> None:
            if request.headers["Access-Token"] == "token-one":
                hanging.set()
                assert release.wait(20)
            else:
                assert hanging.wait(20)
                answered.set()
                release.set()

        world.script = script
        self.run(world, answered)
        assert (world.row().state, world.row(store="two").state) == ("accepted", "accepted")

    def test_many_hanging_lanes_delay_no_other(self, sqlite_engine: Engine) -> None:
        """More than there are threads: once they were slow, they share a few that are set aside for such lanes."""
        names = [f"slow{number}" for number in range(module.LANES_AT_ONCE + 20)]
        world = World(sqlite_engine, shop("two", "token-two"), *(shop(name, "token-slow") for name in names))
        for name in names:
            world.put(1, store=name)
        world.script = hanging = lambda _: world.pass_by(module.SLOW + 1) or coded(50002)
        world.step()  # now every one of them is known to be slow
        world.now += 600
        world.put(1, store="two")
        answered, release = threading.Event(), threading.Event()
        under_way = threading.Semaphore(0)

        def script(request: httpx.Request) -> httpx.Response | None:
            if request.headers["Access-Token"] == "token-two":
                answered.set()
                return None
            under_way.release()
            assert release.wait(20)
            return hanging(request)

        world.script = script
        stop = threading.Event()
        running = threading.Thread(target=world.relay.run, args=(stop,))
        running.start()
        try:
            for _ in range(module.SLOW_LANES_AT_ONCE):
                assert under_way.acquire(timeout=20)
            assert answered.wait(20)
            answered.clear()  # before there is anything more to answer
            world.put(2, store="two")  # and again, while as many as may hang do
            assert answered.wait(20)
        finally:
            stop.set()
            release.set()
            running.join(20)
        assert not running.is_alive()
        assert {world.row(number, "two").state for number in (1, 2)} == {"accepted"}

    def test_a_lane_that_answers_again_is_slow_no_longer(self, sqlite_engine: Engine) -> None:
        """By its next quick answer."""
        world = World(sqlite_engine)
        world.put(1)
        world.script = lambda _: world.pass_by(module.SLOW + 1)
        world.step()
        assert world.relay._slow == {Lane("acme", "CPIXELACME")}
        world.script = lambda _: None
        world.put(2)
        world.step()
        assert world.relay._slow == set()

    def test_a_backlog_has_two_workers(self, sqlite_engine: Engine) -> None:
        """While one waits for TikTok's answer, the other claims, and sends in its turn."""
        world = World(sqlite_engine)
        world.put(*range(4 * BACKLOG))
        meeting, met, sent = threading.Barrier(2), threading.Event(), threading.Event()

        def script(_: httpx.Request) -> None:
            if not met.is_set():
                meeting.wait(20)
                met.set()
            if len(world.requests) == 4:
                sent.set()

        world.script = script
        self.run(world, sent)
        assert world.states() == {"accepted": 4 * BACKLOG}
        assert sorted(map(len, world.requests)) == [BACKLOG] * 4

    @pytest.mark.parametrize("already", ["few", "slow", "refused"])
    def test_any_other_lane_has_one(self, sqlite_engine: Engine, already: str) -> None:
        """If few events wait, TikTok is slow, or it refuses the token: no second request while one is under way."""
        world = World(sqlite_engine)
        first = threading.Event()
        world.put(*range(2 if already == "few" else 3 * BACKLOG))
        if already == "refused":
            world.script = lambda _: coded(40105)
            world.step()
            world.now += 600
        elif already == "slow":
            world.script = lambda _: world.pass_by(module.SLOW + 1) or coded(50002)
            world.step()
            world.now += 600
        looks, lanes_due = threading.Semaphore(0), world.outbox.lanes_due

        def watched(now: float) -> Any:
            if first.is_set():
                looks.release()
            return lanes_due(now)

        world.outbox.lanes_due = watched  # type: ignore[method-assign]
        done, overlapped = threading.Event(), threading.Event()

        def script(_: httpx.Request) -> httpx.Response:
            if first.is_set() and not done.is_set():
                overlapped.set()
            first.set()
            for _look in range(4):
                looks.acquire(timeout=20)
            done.set()
            return coded(50002)

        world.script = script
        if already == "few":
            world.put(2, 3)
        self.run(world, done)
        assert not overlapped.is_set()

    def test_a_backlog_gives_its_thread_back(self, world: World) -> None:
        """After its turn others may have it; the rest is still due."""
        world.put(*range(3 * BACKLOG))
        world.script = lambda _: world.pass_by(module.TIME_SLICE / 2)
        assert world.step() == 2 * BACKLOG
        assert world.step() == BACKLOG

    def test_a_lone_event_goes_out_at_once(self, world: World) -> None:
        """An idle relay looks several times a second; no batch is waited for."""
        assert module.POLL <= 0.5
        stop, seen = threading.Event(), threading.Event()
        world.script = lambda _: seen.set()
        idle = threading.Event()
        lanes_due = world.outbox.lanes_due

        def watched(now: float) -> Any:
            idle.set()
            return lanes_due(now)

        world.outbox.lanes_due = watched  # type: ignore[method-assign]
        running = threading.Thread(target=world.relay.run, args=(stop,))
        running.start()
        assert idle.wait(20)
        world.put(1)
        assert seen.wait(20)
        stop.set()
        running.join(20)
        assert world.row().state == "accepted"

    def test_outlives_a_database_that_is_away(self, world: World) -> None:
        """It says so and tries again."""
        world.put(1)
        due, done, failures = world.outbox.lanes_due, threading.Event(), [0]

        def flaky(now: float) -> Any:
            failures[0] += 1
            if failures[0] < 2:
                raise CannotStore("away")
            return due(now)

        world.outbox.lanes_due = flaky  # type: ignore[method-assign]
        world.script = lambda _: done.set()
        self.run(world, done)
        assert world.row().state == "accepted"

    def test_two_relays_on_one_database_send_nothing_twice(self, both: World) -> None:
        """While no one crashes, each event is sent by one of them."""
        both.put(*range(1, 1501))
        first = both.relay
        second = both.start()
        threads = [threading.Thread(target=relay.step) for relay in (first, second)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        both.step(60)
        assert both.states() == {"accepted": 1500}
        assert set(both.taken().values()) == {1}


# What the sandbox can be told to do → the states of three events while it does (the second is the poisoned one), and
# once it no longer does.
FAULTS: dict[str, tuple[Fault, str, str]] = {
    "rate_limit": (Fault("rate_limit"), "due due due", "accepted accepted accepted"),
    "server_error": (Fault("server_error"), "due due due", "accepted accepted accepted"),
    "server_error after": (Fault("server_error", after=True), "due due due", "accepted accepted accepted"),
    "html": (Fault("html"), "due due due", "accepted accepted accepted"),
    "truncated": (Fault("truncated", after=True), "due due due", "accepted accepted accepted"),
    "missing_code": (Fault("missing_code"), "due due due", "accepted accepted accepted"),
    "drop": (Fault("drop"), "due due due", "accepted accepted accepted"),
    "drop after": (Fault("drop", after=True), "due due due", "accepted accepted accepted"),
    "hang": (Fault("hang", seconds=1), "accepted accepted accepted", "accepted accepted accepted"),
    "revoke": (Fault("revoke"), "due due due", "accepted accepted accepted"),
    "no_permission": (Fault("no_permission"), "due due due", "accepted accepted accepted"),
    "bad_source": (Fault("bad_source"), "due due due", "accepted accepted accepted"),
    "redirect": (Fault("redirect"), "due due due", "accepted accepted accepted"),
    "partial": (Fault("partial"), "accepted accepted accepted", "accepted accepted accepted"),
    "poison": (Fault("poison", event_ids=["acme-2"]), "accepted rejected accepted", "accepted rejected accepted"),
    "poison unnamed": (
        Fault("poison", event_ids=["acme-2"], named=False),
        "accepted rejected accepted",
        "accepted rejected accepted",
    ),
    "code": (Fault("code", code=50002, after=True), "due due due", "accepted accepted accepted"),
    "code unknown": (Fault("code", code=49999, message="new"), "due due due", "accepted accepted accepted"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_the_sandbox_failing_in_each_of_its_ways_ends_well(world: World, name: str) -> None:
    """An hour of it, then it is over: nothing is lost, and each event counts once."""
    fault, meanwhile, at_last = FAULTS[name]
    assert {known.split(" ")[0] for known in FAULTS} == set(get_args(Fault.__annotations__["kind"]))
    world.put(1, 2, 3)
    world.sandbox.set_fault(fault)
    for _ in range(30):
        world.step(120)
    assert [world.row(number).state for number in (1, 2, 3)] == meanwhile.split()
    world.sandbox.clear_faults()
    for _ in range(5):
        world.step(601)
    assert [world.row(number).state for number in (1, 2, 3)] == at_last.split()
    assert world.sandbox.counts()["accepted"] == at_last.split().count("accepted")
    assert {key for key, _ in world.taken().items()} <= {"acme-1", "acme-2", "acme-3"}


def test_a_store_no_longer_configured_waits(sqlite_engine: Engine) -> None:
    """Its rows are neither sent nor thrown away, and delay nobody."""
    world = World(sqlite_engine, shop(), shop("gone", "token-two"))
    world.put(1)
    world.put(1, store="gone")
    world.outbox.add_lanes([Lane("gone", "CPIXELGONE")])
    del world.stores["gone"]
    world.start()
    world.step()
    assert (world.row().state, world.row(store="gone").state) == ("accepted", "due")


def test_fingerprints_tell_tokens_apart_and_not_what_they_are() -> None:
    """Short, stable, and of any text."""
    found = {fingerprint(token) for token in ("", "a", "b", "tøken", "a\udc80")}
    assert len(found) == 5
    assert all(len(digest) == 16 for digest in found)
    assert "secret" not in fingerprint("secret")


# --- whatever is answered --------------------------------------------------------------------------------------

ANSWERS: list[Callable[[list[str]], httpx.Response | Exception | None]] = [
    lambda ids: None,  # the sandbox's own answer
    lambda ids: coded(0, "OK"),
    lambda ids: coded(20001, "data.0.event_id: bad"),
    lambda ids: coded(40002, BAD_ID),
    lambda ids: coded(40002, f"data.{len(ids) - 1}.event_id: bad"),
    lambda ids: coded(40002, "data.999.event_id: bad"),
    lambda ids: coded(40002, f"bad {ids[0]}"),
    lambda ids: coded(40100, **{"Retry-After": "50"}),
    lambda ids: coded(40105, "revoked"),
    lambda ids: coded(50002),
    lambda ids: coded(49_999, "unheard of"),
    lambda ids: coded(10**30),
    lambda ids: coded(40002, "\x00 ann@example.com"),
    lambda ids: httpx.Response(200, text="<html>"),
    lambda ids: httpx.Response(302, headers={"Location": "https://elsewhere.example/"}),
    lambda ids: httpx.Response(413),
    lambda ids: httpx.Response(502),
    lambda ids: httpx.ConnectError("refused"),
    lambda ids: httpx.ReadTimeout("slow"),
]


@pytest.fixture(scope="module")
def shared_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = connect(f"sqlite:///{tmp_path_factory.mktemp('relay') / 'connector.db'}")
    migrate(engine)
    yield engine
    engine.dispose()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    many=st.integers(1, 12),
    turns=st.lists(
        st.tuples(st.lists(st.sampled_from(ANSWERS), max_size=8), st.floats(0, 40 * HOUR)), min_size=1, max_size=6
    ),
)
def test_nothing_is_ever_gone(
    shared_engine: Engine, many: int, turns: list[tuple[list[Callable[[list[str]], Any]], float]]
) -> None:
    """For any answers at any times each event ends accepted, rejected, expired or still due; with its own id."""
    with shared_engine.begin() as connection:
        connection.execute(sa.delete(events))
        connection.execute(sa.delete(lanes))
    world = World(shared_engine)
    world.put(*range(1, many + 1))
    before = world.rows()
    queue: list[Callable[[list[str]], Any]] = []

    def script(_: httpx.Request) -> httpx.Response | None:
        answer = queue.pop(0)(world.requests[-1]) if queue else None
        if isinstance(answer, Exception):
            raise answer
        return answer

    world.script = script
    for answers, pause in turns:
        queue[:] = answers
        world.step(pause)
        after = world.rows()
        assert after.keys() == before.keys()
        for event_id, row in after.items():
            assert row.state in ("due", "accepted", "rejected", "expired")
            assert (row.payload, row.event, row.pixel) == (
                before[event_id].payload,
                before[event_id].event,
                before[event_id].pixel,
            )
            assert row.lease_owner is None  # nothing is left behind
            assert (row.settled_at is None) == (row.state == "due")
            if row.state == "due":
                assert row.due_at <= world.now + PAUSES[1]
    assert {event_id for request in world.requests for event_id in request} <= before.keys()
    # When all is well again, whatever is still due is sent or has expired.
    queue.clear()
    for _ in range(many + 2):
        world.step(601)
    assert world.states()["due"] == 0
    assert all(
        world.taken()[event_id]
        for event_id, row in world.rows().items()
        if row.code == 0 and row.message == "OK" and row.request_id != "2026"
    )


def test_limits_agree_with_each_other() -> None:
    """A lease is longer than a request, a claim a multiple of a batch, and a retry ends before TikTok forgets."""
    assert LEASE > 2 * LONGEST_REQUEST
    assert BACKLOG % BATCH == 0
    assert RETRY_WINDOW + PAUSES[1] < module.DEDUPLICATED
    assert replace(shop(), max_event_age=timedelta(hours=47)).max_event_age.total_seconds() <= module.DEDUPLICATED
