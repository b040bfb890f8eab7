"""The relay: leases, clocks and the rate limit."""

from typing import Any

import httpx
import pytest
from sqlalchemy import Engine

from connector.core import rate_limit
from connector.core.store import Pixel
from connector.devtools.sandbox.faults import Fault
from connector.outbox.lanes import Lane, fingerprint
from connector.relay import relay as module
from connector.relay.events_api import LONGEST_REQUEST
from connector.relay.relay import LEASE, PAUSES
from connector.storage.database import CannotStore
from tests.support.relay_world import BAD_ID, HOUR, START, World, always, blaming, coded, shop


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

    @pytest.mark.slow
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
        both.step(module.CLOCK_CHECK_INTERVAL)
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
        world.outbox.suspend(Lane("acme", "CPIXELACME"), world.now + 5 * HOUR, world.now + 5 * HOUR, token, "40105")
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
