"""The outbox as the relay uses it: claims, answers, lanes and heartbeats, on both databases."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from connector.outbox.lanes import Lane
from connector.outbox.outbox import Outbox
from connector.outbox.queries import OutboxQueries
from connector.outbox.settlement import due_again, settled
from connector.storage.database import Database
from connector.storage.engine import connect, migrate
from connector.storage.tables import relays
from tests.support.outbox_rows import LANE, NOW, OTHER_PIXEL, PIXEL, claim, decision, fill, ids, mapped, rows


class TestClaim:
    """The relay's first verb."""

    def test_leases_an_event_to_one_owner(self, outbox: Outbox, engine: Engine) -> None:
        """Nobody else sees a claimed event until its lease ends; then anyone does."""
        fill(outbox, 1)
        (item,) = claim(outbox, "one", NOW + 100)
        assert (item.event, item.event_id, item.payload) == ("Purchase", "acme-order-1", b'{"event_id":"acme-order-1"}')
        assert (item.attempts, item.tried_at, item.maybe_sent_at) == (1, NOW + 100, NOW + 100)
        assert (item.lease_until, item.occurred_at, item.test_code) == (NOW + 160, NOW - 60, "")
        assert claim(outbox, "two", NOW + 159) == []
        assert claim(outbox, "one", NOW + 159) == []
        (stolen,) = claim(outbox, "two", NOW + 160)
        assert stolen.attempts == 2
        assert (stolen.tried_at, stolen.maybe_sent_at) == (NOW + 100, NOW + 100)  # the first time stays
        assert [row.lease_owner for row in rows(engine)] == ["two"]

    def test_a_clock_a_little_behind_keeps_the_first_time(self, outbox: Outbox) -> None:
        """Hosts differ by moments; an event would else seem as old as when it was stored, and expire for that."""
        fill(outbox, 1)
        (item,) = claim(outbox, "ahead", NOW + 200)
        outbox.settle("ahead", item.lease_until, [due_again(item, NOW + 100, item.maybe_sent_at, None, "time-out")])
        (later,) = claim(outbox, "behind", NOW + 150)
        assert (later.tried_at, later.maybe_sent_at) == (NOW + 200, NOW + 200)

    def test_takes_the_longest_due_first_and_no_more_than_asked(self, outbox: Outbox) -> None:
        """However many there are."""
        fill(outbox, 5, 3, 1, 4, 2)
        assert set(ids(claim(outbox, limit=2))) == {"acme-order-1", "acme-order-2"}
        assert set(ids(claim(outbox, limit=2))) == {"acme-order-3", "acme-order-4"}
        assert ids(claim(outbox, limit=2)) == ["acme-order-5"]

    def test_takes_what_is_due_only(self, outbox: Outbox) -> None:
        """An event that waits for its next attempt is left alone."""
        fill(outbox, 1, 50)
        assert ids(claim(outbox, at=NOW + 49)) == ["acme-order-1"]

    def test_takes_its_own_lane_only(self, outbox: Outbox) -> None:
        """A lane is store and pixel."""
        fill(outbox, 1)
        fill(outbox, 2, pixel=OTHER_PIXEL)
        fill(outbox, 3, store="other")
        assert ids(claim(outbox)) == ["acme-order-1"]
        assert ids(claim(outbox, lane=Lane("acme", OTHER_PIXEL.code))) == ["acme-order-2"]
        assert claim(outbox, lane=Lane("nobody", PIXEL.code)) == []

    @pytest.mark.parametrize("state", ["accepted", "rejected", "expired"])
    def test_takes_nothing_that_is_finished(self, outbox: Outbox, state: Any) -> None:
        """Final states are final until a replay."""
        fill(outbox, 1)
        (item,) = claim(outbox)
        outbox.settle("one", item.lease_until, [settled(item, state, NOW + 101, None, "", "")])
        assert claim(outbox, at=NOW + 10_000) == []

    def test_writes_nothing_that_an_index_looks_at(self, outbox: Outbox, engine: Engine) -> None:
        """So PostgreSQL writes the claimed rows' next versions beside them, and leaves a dozen indexes alone."""
        many = 200
        fill(outbox, *range(many))  # each a second later than the one before
        claimed = ("lease_owner", "lease_until", "attempts", "tried_at", "sent_at")
        postgresql = engine.dialect.name == "postgresql"
        query = "indexdef FROM pg_indexes WHERE tablename" if postgresql else "sql FROM sqlite_master WHERE tbl_name"
        with engine.connect() as connection:
            indexes = connection.execute(sa.text(f"SELECT {query} = 'events'")).scalars().all()
        told = [text for text in indexes if text and "INDEX" in text]
        assert len(told) > 10
        assert not [text for text in told if any(column in text for column in claimed)]
        before = _pages(engine) if postgresql else {}
        assert len(claim(outbox, at=NOW + many, limit=many)) == many
        after = _pages(engine) if postgresql else {}
        stayed = sum(after[row] == page for row, page in before.items())
        assert not postgresql or stayed > 0.8 * many  # all but those that grew beyond the room left

    def test_two_relays_never_get_the_same_event(self, postgresql_url: str) -> None:
        """Separate pools, many claims at the same time: every event is claimed exactly once."""
        first = connect(postgresql_url)
        migrate(first)
        for start in range(0, 2000, 100):
            items = [mapped(number) for number in range(start, start + 100)]
            Outbox(Database(first)).record(decision(str(start), *items))
        engines = [connect(postgresql_url, pool_size=2) for _ in range(2)]
        barrier = threading.Barrier(4)

        def work(engine: Engine, owner: str) -> list[int]:
            found: list[int] = []
            barrier.wait()
            while claimed := Outbox(Database(engine)).claim(LANE, 37, owner, NOW + 100, 60):
                assert len(claimed) <= 37
                found += [item.id for item in claimed]
            return found

        with ThreadPoolExecutor(4) as pool:
            jobs = [pool.submit(work, engine, f"{n}{m}") for n, engine in enumerate(engines) for m in range(2)]
            shares = [job.result() for job in jobs]
        taken = [row for share in shares for row in share]
        assert len(taken) == len(set(taken))
        # A claim that finds every row locked by others ends early; what is left is still there, never lost.
        rest = Outbox(Database(first)).claim(LANE, 2000, "rest", NOW + 100, 60)
        assert sorted(taken + [item.id for item in rest]) == sorted(row.id for row in rows(first))
        for engine in (first, *engines):
            engine.dispose()


def _pages(engine: Engine) -> dict[int, str]:
    """In which page of the table each row's present version is."""
    with engine.connect() as connection:
        found = connection.execute(sa.text("SELECT id, split_part(ctid::text, ',', 1) AS page FROM events"))
        return {row.id: row.page for row in found}


class TestSettle:
    """The results of claimed events."""

    def test_a_final_state_is_kept_with_tiktoks_words(self, outbox: Outbox, engine: Engine) -> None:
        """State, code, message, request and time."""
        fill(outbox, 1)
        (item,) = claim(outbox)
        result = settled(item, "rejected", NOW + 101, 40002, "bad event_id", "2026-1")
        assert outbox.settle("one", item.lease_until, [result]) == 1
        (row,) = rows(engine)
        assert (row.state, row.code, row.message, row.request_id) == ("rejected", 40002, "bad event_id", "2026-1")
        assert (row.settled_at, row.lease_owner, row.attempts) == (NOW + 101, None, 1)
        assert row.payload  # replayable

    def test_another_attempt_is_due_when_told(self, outbox: Outbox, engine: Engine) -> None:
        """And keeps, or clears, the time when it may have reached TikTok."""
        fill(outbox, 1, 2)
        one, two = claim(outbox)
        results = [
            due_again(one, NOW + 200, one.maybe_sent_at, None, "time-out"),
            due_again(two, NOW + 300, None, 40100, "slow down"),
        ]
        assert outbox.settle("one", one.lease_until, results) == 2
        first, second = rows(engine)
        assert (first.state, first.due_at, first.sent_at, first.message) == ("due", NOW + 200, NOW + 100, "time-out")
        assert (second.state, second.due_at, second.sent_at, second.code) == ("due", NOW + 300, None, 40100)
        assert ids(claim(outbox, at=NOW + 250)) == ["acme-order-1"]

    def test_an_attempt_that_was_none_leaves_no_trace(self, outbox: Outbox, engine: Engine) -> None:
        """Neither counted nor timed, and the last answer's words stay."""
        fill(outbox, 1)
        before = rows(engine)
        (item,) = claim(outbox)
        outbox.settle("one", item.lease_until, [due_again(item, NOW + 1, None, None, "", counts=False)])
        assert rows(engine) == before
        (item,) = claim(outbox)
        outbox.settle("one", item.lease_until, [due_again(item, NOW + 1, None, 40100, "slow down")])
        before = rows(engine)
        (item,) = claim(outbox, at=NOW + 500)
        assert item.tried_at == NOW + 100
        outbox.settle("one", item.lease_until, [due_again(item, NOW + 1, None, None, "", counts=False)])
        assert rows(engine) == before

    def test_a_lease_that_went_to_another_is_not_touched(self, outbox: Outbox, engine: Engine) -> None:
        """Nor one that the same relay has claimed anew."""
        fill(outbox, 1, 2)
        one, two = claim(outbox, "one")
        claim(outbox, "two", NOW + 160, limit=1)
        claim(outbox, "one", NOW + 170, limit=1)
        results = [settled(item, "accepted", NOW + 171, 0, "OK", "") for item in (one, two)]
        assert outbox.settle("one", one.lease_until, results) == 0
        assert [row.state for row in rows(engine)] == ["due", "due"]

    def test_only_the_rows_still_ours_are_settled(self, outbox: Outbox, engine: Engine) -> None:
        """One stolen row does not spoil the others."""
        fill(outbox, 1, 2)
        claimed = claim(outbox, "one")
        claim(outbox, "two", NOW + 160, limit=1)
        results = [settled(item, "accepted", NOW + 161, 0, "OK", "") for item in claimed]
        assert outbox.settle("one", claimed[0].lease_until, results) == 1
        assert sorted((row.state, row.lease_owner) for row in rows(engine)) == [("accepted", None), ("due", "two")]

    def test_nothing_to_settle_is_nothing(self, outbox: Outbox) -> None:
        """Not even a transaction."""
        assert outbox.settle("one", NOW, []) == 0


class TestLanes:
    """Whether TikTok refuses a lane."""

    def test_only_lanes_with_something_due_are_named(self, outbox: Outbox) -> None:
        """A leased or later event is not due, and a lane nobody configured is not known."""
        fill(outbox, 1)
        outbox.add_lanes([Lane("idle", "C"), LANE])
        assert [state.lane for state in outbox.lanes_due(NOW + 1)] == [LANE]
        assert outbox.lanes_due(NOW) == []
        claim(outbox)
        assert outbox.lanes_due(NOW + 100) == []
        assert [state.lane for state in outbox.lanes_due(NOW + 160)] == [LANE]

    def test_denied_until_opened(self, outbox: Outbox) -> None:
        """Denials add up, the first time stays, and opening forgets it all."""
        fill(outbox, 1)
        outbox.add_lanes([Lane("idle", "C")])
        outbox.suspend(LANE, NOW + 10, NOW + 5, "aaaa", "40105 revoked")
        outbox.suspend(LANE, NOW + 40, NOW + 20, "bbbb", "40001 no permission")
        (state,) = outbox.lanes_due(NOW + 30)  # named all the same: the relay decides
        assert (state.suspended_until, state.suspended_since, state.suspended_token) == (NOW + 40, NOW + 5, "bbbb")
        assert (state.denials, state.reason) == (2, "40001 no permission")
        assert {s.lane: s.denials for s in OutboxQueries(outbox.database).lane_states()} == {
            LANE: 2,
            Lane("idle", "C"): 0,
        }
        outbox.resume(LANE, NOW + 25)
        (state,) = outbox.lanes_due(NOW + 30)
        assert (state.suspended_until, state.suspended_since, state.suspended_token) == (None, None, "")
        assert (state.denials, state.reason) == (0, "")

    def test_adding_a_lane_again_keeps_its_state(self, outbox: Outbox) -> None:
        """A restarted relay does not open a refused lane."""
        outbox.add_lanes([LANE])
        outbox.suspend(LANE, NOW, NOW, "aaaa", "revoked")
        outbox.add_lanes([LANE])
        assert OutboxQueries(outbox.database).lane_states()[0].denials == 1


class TestRelays:
    """Heartbeats."""

    def test_a_beat_is_seen_until_the_relay_leaves(self, outbox: Outbox) -> None:
        """The latest of all relays counts."""
        assert OutboxQueries(outbox.database).relay_seen() is None
        outbox.heartbeat("one", NOW)
        outbox.heartbeat("two", NOW + 5)
        outbox.heartbeat("one", NOW + 3)
        assert OutboxQueries(outbox.database).relay_seen() == NOW + 5
        outbox.leave("two")
        assert OutboxQueries(outbox.database).relay_seen() == NOW + 3
        outbox.leave("one")
        assert OutboxQueries(outbox.database).relay_seen() is None

    def test_the_silent_are_forgotten_after_a_day(self, outbox: Outbox, engine: Engine) -> None:
        """Each restart has a new name."""
        outbox.heartbeat("one", NOW)
        outbox.heartbeat("two", NOW + 86_401)
        assert [row.name for row in rows(engine, relays)] == ["two"]

    def test_ping_writes_and_leaves_nothing(self, outbox: Outbox, engine: Engine) -> None:
        """Able to store, and nothing stored."""
        outbox.ping()
        assert rows(engine, relays) == []
