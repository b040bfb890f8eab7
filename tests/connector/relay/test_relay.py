"""The relay as a process: lanes side by side, heartbeats, and its end."""

import threading
import time
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine

from connector.outbox.lanes import Lane
from connector.outbox.queries import OutboxQueries
from connector.relay import relay as module
from connector.relay.relay import CLAIM_LIMIT
from connector.storage.database import CannotStore, Database
from tests.support.relay_world import START, World, blaming, coded, shop


class TestRun:
    """The process: started, stopped."""

    def run(self, world: World, until: threading.Event) -> None:
        """Run until it happens, then stop."""
        stop = threading.Event()
        thread = threading.Thread(target=world.relay.run, args=(stop,), daemon=True)
        thread.start()
        try:
            assert until.wait(120)
        finally:
            stop.set()
            thread.join(120)
        assert not thread.is_alive()

    def test_sends_beats_and_signs_off(self, both: World) -> None:
        """Alive while it runs, and gone in good order."""
        both.put(1)
        seen: list[float | None] = []
        done = threading.Event()

        def script(_: httpx.Request) -> None:
            seen.append(OutboxQueries(both.outbox.database).relay_seen())
            done.set()

        both.script = script
        self.run(both, done)
        assert both.row().state == "accepted"
        assert seen == [START]
        assert OutboxQueries(both.outbox.database).relay_seen() is None

    def test_stop_while_working_settles_what_was_sent(self, both: World) -> None:
        """The request under way is finished and settled; what was not sent goes back untouched."""
        both.put(*range(250))
        stop, asked = threading.Event(), threading.Event()
        thread = threading.Thread(target=both.relay.run, args=(stop,), daemon=True)

        def script(_: httpx.Request) -> None:
            stop.set()
            asked.set()

        both.script = script
        thread.start()
        assert asked.wait(120)
        thread.join(120)
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
                assert release.wait(120)
            else:
                assert hanging.wait(120)
                answered.set()
                release.set()

        world.script = script
        self.run(world, answered)
        assert (world.row().state, world.row(store="two").state) == ("accepted", "accepted")

    @pytest.mark.slow
    def test_many_hanging_lanes_delay_no_other(self, sqlite_engine: Engine) -> None:
        """More than there are threads: once they were slow, they share a few that are set aside for such lanes."""
        names = [f"slow{number}" for number in range(module.WORKERS_AT_ONCE + 20)]
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
            assert release.wait(120)
            return hanging(request)

        world.script = script
        stop = threading.Event()
        running = threading.Thread(target=world.relay.run, args=(stop,), daemon=True)
        running.start()
        try:
            for _ in range(module.SLOW_WORKERS_AT_ONCE):
                assert under_way.acquire(timeout=120)
            assert answered.wait(120)
            answered.clear()  # before there is anything more to answer
            world.put(2, store="two")  # and again, while as many as may hang do
            assert answered.wait(120)
            pause = threading.Event()
            for _ in range(12_000):  # settled before the clock jumps with the released answers
                if world.row(2, "two").state == "accepted":
                    break
                pause.wait(0.01)
        finally:
            stop.set()
            release.set()
            running.join(120)
        assert not running.is_alive()
        assert {world.row(number, "two").state for number in (1, 2)} == {"accepted"}

    def test_a_lane_that_answers_again_is_slow_no_longer(self, sqlite_engine: Engine) -> None:
        """By its next quick answer."""
        world = World(sqlite_engine)
        world.put(1)
        world.script = lambda _: world.pass_by(module.SLOW + 1)
        world.step()
        assert world.relay.slow_lanes == {Lane("acme", "CPIXELACME")}
        world.script = lambda _: None
        world.put(2)
        world.step()
        assert world.relay.slow_lanes == set()

    def test_what_comes_while_a_lane_is_sent_waits_for_the_next_look(self, sqlite_engine: Engine) -> None:
        """So that steady traffic goes out in few requests, and leaves the database alone in between."""
        world = World(sqlite_engine)
        world.put(1, 2)
        world.script = lambda _: world.put(3, 4) if len(world.requests) == 1 else None
        assert (world.step(), [len(request) for request in world.requests]) == (2, [2])
        assert (world.step(), [len(request) for request in world.requests]) == (2, [2, 2])

    @pytest.mark.parametrize(("number", "pauses"), [(10, 0), (2 * CLAIM_LIMIT, 4)])
    @pytest.mark.slow
    def test_a_backlog_leaves_the_database_to_frequent_webhooks(
        self, sqlite_engine: Engine, monkeypatch: pytest.MonkeyPatch, number: int, pauses: int
    ) -> None:
        """After two settlements and the two later claims; where there is none, a pause would only delay events."""
        world = World(sqlite_engine)
        world.step()  # adds the lane and looks for jumps of the clock
        world.put(*range(number))
        world.outbox.database = Database(sqlite_engine, yields_to=lambda _: True)
        monkeypatch.setattr(world.outbox, "add_lanes", lambda _: None)
        slept: list[float] = []
        monkeypatch.setattr(time, "sleep", slept.append)
        world.step()
        assert len(slept) == pauses

    @pytest.mark.slow
    def test_a_backlog_has_two_workers(self, sqlite_engine: Engine) -> None:
        """While one waits for TikTok's answer, the other claims, and sends in its turn."""
        world = World(sqlite_engine)
        world.put(*range(4 * CLAIM_LIMIT))
        meeting, met, sent = threading.Barrier(2), threading.Event(), threading.Event()

        def script(_: httpx.Request) -> None:
            if not met.is_set():
                meeting.wait(120)
                met.set()
            if len(world.requests) == 4:
                sent.set()

        world.script = script
        self.run(world, sent)
        assert world.states() == {"accepted": 4 * CLAIM_LIMIT}
        assert sorted(map(len, world.requests)) == [CLAIM_LIMIT] * 4

    @pytest.mark.parametrize("already", ["few", "slow", "refused"])
    @pytest.mark.slow
    def test_any_other_lane_has_one(self, sqlite_engine: Engine, already: str) -> None:
        """If few events wait, TikTok is slow, or it refuses the token: no second request while one is under way."""
        world = World(sqlite_engine)
        first = threading.Event()
        world.put(*range(2 if already == "few" else 3 * CLAIM_LIMIT))
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
                looks.acquire(timeout=120)
            done.set()
            return coded(50002)

        world.script = script
        if already == "few":
            world.put(2, 3)
        self.run(world, done)
        assert not overlapped.is_set()

    @pytest.mark.slow
    def test_a_backlog_gives_its_thread_back(self, world: World) -> None:
        """After its turn others may have it; the rest is still due."""
        world.put(*range(3 * CLAIM_LIMIT))
        world.script = lambda _: world.pass_by(module.TIME_SLICE / 2)
        assert world.step() == 2 * CLAIM_LIMIT
        assert world.step() == CLAIM_LIMIT

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
        running = threading.Thread(target=world.relay.run, args=(stop,), daemon=True)
        running.start()
        assert idle.wait(120)
        world.put(1)
        assert seen.wait(120)
        stop.set()
        running.join(120)
        assert world.row().state == "accepted"

    @pytest.mark.slow
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

    @pytest.mark.slow
    def test_two_relays_on_one_database_send_nothing_twice(self, both: World) -> None:
        """While no one crashes, each event is sent by one of them."""
        both.put(*range(1, 1501))
        first = both.relay
        second = both.start()
        threads = [threading.Thread(target=relay.step) for relay in (first, second)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        both.step(60)
        assert both.states() == {"accepted": 1500}
        assert set(both.taken().values()) == {1}
