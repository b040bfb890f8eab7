"""The relay: when an event is sent again, and when it is too late."""

from collections.abc import Iterator
from itertools import count, pairwise
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from connector.core.store import Pixel
from connector.devtools.sandbox.faults import Fault
from connector.outbox.queries import OutboxQueries
from connector.relay.relay import PAUSES, RETRY_WINDOW
from tests.support.relay_world import BAD_ID, HOUR, START, World, always, coded, shop


@pytest.fixture
def updates(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The statements that settle events, while the clock goes on by itself."""
    found: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if statement.startswith("UPDATE events") and "settled_at" in statement:
            found.append(statement)

    ticks = count()
    monkeypatch.setattr(World, "jump", property(lambda _: next(ticks) / 1e6), raising=False)
    sa.event.listen(world.engine, "before_cursor_execute", note)
    yield found
    sa.event.remove(world.engine, "before_cursor_execute", note)


class TestRetry:
    """Tried again, and not for ever."""

    @pytest.mark.slow
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

    def test_a_failed_claim_is_written_by_few_statements(self, world: World, updates: list[str]) -> None:
        """Not by one for each event, during which webhooks would wait: a thousand of them took 0.2 s."""
        world.put(*range(250))
        world.script = always(lambda: coded(50000, "busy"))
        world.step()
        assert sorted({row.attempts for row in world.rows().values()}) == [0, 1]
        assert 2 <= len(updates) <= 3  # those that were sent; two batches that were not

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
        OutboxQueries(world.outbox.database).replay([world.row().id], world.now + 72 * HOUR)
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

    def test_a_backlog_that_is_too_old_is_written_by_one_statement(self, world: World, updates: list[str]) -> None:
        """Webhooks wait for no thousand of them."""
        world.put(*range(250), age=8 * 24 * HOUR)
        world.step()
        assert world.states() == {"expired": 250}
        assert len(updates) == 1

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
