"""The relay: batches, what is accepted, and what no answer may lose."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any, get_args

import httpx
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from connector.core.store import Pixel
from connector.devtools.sandbox.faults import Fault
from connector.outbox.lanes import Lane, fingerprint
from connector.relay import relay as module
from connector.relay.batches import BATCH, BATCH_BYTES
from connector.relay.events_api import LONGEST_REQUEST
from connector.relay.relay import CLAIM_LIMIT, LEASE, PAUSES, RETRY_WINDOW
from connector.storage.tables import events, lanes
from tests.support.effort import examples, first_of
from tests.support.relay_world import BAD_ID, HOUR, START, World, always, coded, shop


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

    @pytest.mark.slow
    def test_a_backlog_goes_in_tiktoks_maximum(self, world: World) -> None:
        """A thousand at once when there are that many."""
        world.put(*range(1, CLAIM_LIMIT + 151))
        world.step()
        assert [len(request) for request in world.requests] == [CLAIM_LIMIT, BATCH, 50]
        assert world.states() == {"accepted": CLAIM_LIMIT + 150}

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


@pytest.mark.parametrize("name", first_of(FAULTS))
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


@examples(40)
@given(
    many=st.integers(1, 12),
    turns=st.lists(
        st.tuples(st.lists(st.sampled_from(ANSWERS), max_size=8), st.floats(0, 40 * HOUR)), min_size=1, max_size=6
    ),
)
@pytest.mark.slow
def test_nothing_is_ever_gone(
    sqlite_engine: Engine, many: int, turns: list[tuple[list[Callable[[list[str]], Any]], float]]
) -> None:
    """For any answers at any times each event ends accepted, rejected, expired or still due; with its own id."""
    with sqlite_engine.begin() as connection:
        connection.execute(sa.delete(events))
        connection.execute(sa.delete(lanes))
    world = World(sqlite_engine)
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
    assert CLAIM_LIMIT % BATCH == 0
    assert RETRY_WINDOW + PAUSES[1] < module.SAFE_RESEND_WINDOW.total_seconds()
    assert replace(shop(), max_event_age=timedelta(hours=47)).max_event_age <= module.SAFE_RESEND_WINDOW
