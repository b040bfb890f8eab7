"""The outbox's verbs, the same on SQLite and PostgreSQL."""

import hashlib
import shutil
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from connector.core.store import Pixel
from connector.outbox.lanes import Lane
from connector.outbox.ledger import hour_of
from connector.outbox.outbox import Outbox, ParkedWebhook
from connector.outbox.queries import OutboxQueries
from connector.outbox.settlement import due_again, settled
from connector.storage.database import CannotStore, Database
from connector.storage.engine import connect, migrate
from connector.storage.tables import ledger, parked, relays
from tests.support.filled import LANE, NOW, OTHER_PIXEL, PIXEL, claim, decision, fill, ids, mapped, rows, sha

HOSTILE = "a\x00b\ud800c\udfffd"
CLEAN = "ab\ufffdc\ufffdd"


class TestRecord:
    """Intake's verb."""

    def test_a_new_event_is_stored_as_mapped(self, outbox: Outbox, engine: Engine) -> None:
        """Row and ledger line hold what the decision says; the payload is the very bytes."""
        digest = hashlib.sha256(b"ann@example.com")
        item = mapped(1, pixel=OTHER_PIXEL, email=digest.hexdigest(), payload=b'{"value":44.50,"x":"\xc3\xbc"}')
        assert outbox.record(decision("body", item, delivery="d-1")) == 1
        (row,) = rows(engine)
        assert row.payload == b'{"value":44.50,"x":"\xc3\xbc"}'
        assert (row.store, row.pixel, row.event, row.event_id) == ("acme", OTHER_PIXEL.code, "Purchase", "acme-order-1")
        assert (row.test_code, row.object_key, row.state) == ("TEST9", "order:1", "due")
        assert (row.due_at, row.created_at, row.occurred_at) == (NOW, NOW, NOW - 60)
        assert (row.attempts, row.tried_at, row.sent_at, row.lease_owner, row.settled_at) == (0, None, None, None, None)
        assert (row.email, row.phone, row.external_id) == (digest.digest(), None, None)
        (line,) = rows(engine, ledger)
        assert (line.outcome, line.reason, line.order_number, line.delivery) == ("relayed", "", "#1", "d-1")
        assert (line.body_sha256, line.received_at) == (sha("body"), NOW)

    def test_a_known_event_from_another_body_is_only_counted(self, outbox: Outbox, engine: Engine) -> None:
        """An update with nothing new adds neither an event nor a line."""
        outbox.record(decision("first", mapped(1)))
        assert outbox.record(decision("second", mapped(1, payload=b"{}"), at=NOW + 5)) == 0
        assert [row.payload for row in rows(engine)] == [b'{"event_id":"acme-order-1"}']
        assert len(rows(engine, ledger)) == 1
        assert [tuple(row) for row in OutboxQueries(outbox.database).counted()] == [
            ("acme", "orders/paid", "duplicate", 1)
        ]

    def test_the_same_body_twice_adds_nothing(self, outbox: Outbox, engine: Engine) -> None:
        """Platforms repeat deliveries."""
        for _ in range(2):
            outbox.record(decision("body", mapped(1)))
        assert (len(rows(engine)), len(rows(engine, ledger))) == (1, 1)

    def test_a_repeated_body_may_still_bring_a_new_event(self, outbox: Outbox, engine: Engine) -> None:
        """The outbox's key alone decides: after a change of settings the same body may yield more."""
        outbox.record(decision("body", mapped(1)))
        assert outbox.record(decision("body", mapped(1), mapped(1, "PlaceAnOrder"))) == 1
        assert [row.event for row in rows(engine)] == ["Purchase", "PlaceAnOrder"]
        assert len(rows(engine, ledger)) == 1

    def test_one_body_with_two_milestones_is_one_line(self, outbox: Outbox, engine: Engine) -> None:
        """An order that is already paid when it is placed."""
        assert outbox.record(decision("body", mapped(1, "PlaceAnOrder"), mapped(1))) == 2
        assert {row.event for row in rows(engine)} == {"PlaceAnOrder", "Purchase"}
        assert len(rows(engine, ledger)) == 1

    def test_an_event_id_is_known_per_pixel_and_event_name(self, outbox: Outbox, engine: Engine) -> None:
        """TikTok's own key for duplicates."""
        outbox.record(decision("1", mapped(1), mapped(1, pixel=OTHER_PIXEL)))
        assert outbox.record(decision("2", mapped(1), mapped(1, "PlaceAnOrder"))) == 1
        assert len(rows(engine)) == 3

    def test_a_settled_event_is_still_known(self, outbox: Outbox, engine: Engine) -> None:
        """What was accepted is not sent again by a late webhook."""
        fill(outbox, 1)
        (item,) = claim(outbox)
        outbox.settle("one", item.lease_until, [settled(item, "accepted", NOW + 101, 0, "OK", "r")])
        assert outbox.record(decision("late", mapped(1))) == 0
        assert [row.state for row in rows(engine)] == ["accepted"]

    def test_a_skip_is_told_once_per_order_and_reason(self, outbox: Outbox, engine: Engine) -> None:
        """Fifty updates of a draft order are one line; another reason is another line."""
        skip = {"outcome": "skipped", "object_key": "order:1"}
        for body, reason in (("1", "draft"), ("2", "draft"), ("3", "cancelled"), ("4", "draft")):
            outbox.record(decision(body, reason=reason, **skip))
        outbox.record(decision("5", reason="draft", outcome="skipped", object_key="order:2"))
        outbox.record(decision("6", reason="draft", **skip, store="other"))
        found = [(line.store, line.object_key, line.reason) for line in rows(engine, ledger)]
        assert found == [
            ("acme", "order:1", "draft"),
            ("acme", "order:1", "cancelled"),
            ("acme", "order:2", "draft"),
            ("other", "order:1", "draft"),
        ]
        assert [row.count for row in OutboxQueries(outbox.database).counted()] == [2]

    def test_skips_without_an_object_are_each_told(self, outbox: Outbox, engine: Engine) -> None:
        """A checkout without a token cannot be told from another one."""
        for body in "12":
            outbox.record(decision(body, outcome="skipped", reason="no checkout token"))
        assert len(rows(engine, ledger)) == 2

    def test_a_recorded_topic_is_always_told(self, outbox: Outbox, engine: Engine) -> None:
        """Compliance requests are never "duplicate"."""
        for body in "12":
            outbox.record(decision(body, outcome="recorded", object_key="customer:1", topic="customers/redact"))
        assert len(rows(engine, ledger)) == 2

    def test_two_webhooks_of_one_order_at_the_same_time_are_one_event_each(
        self, outbox: Outbox, engine: Engine
    ) -> None:
        """Whatever order they name the events in, neither waits for the other for ever."""
        barrier = threading.Barrier(8)

        def run(number: int) -> int:
            items = [mapped(n) for n in range(20)]
            barrier.wait()
            return outbox.record(decision(str(number), *(items if number % 2 else reversed(items))))

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(run, range(8))) == 20
        assert len(rows(engine)) == 20

    def test_a_skipped_body_that_becomes_events_is_no_longer_called_skipped(
        self, outbox: Outbox, engine: Engine
    ) -> None:
        """The shop sends it again after a change of the settings."""
        outbox.record(decision("body", outcome="skipped", reason="older than go_live"))
        outbox.record(decision("body", mapped(1)))
        (line,) = rows(engine, ledger)
        assert (line.outcome, line.reason) == ("relayed", "")

    def test_nothing_is_stored_by_halves(self, outbox: Outbox, engine: Engine) -> None:
        """Events and ledger line are one transaction."""
        with pytest.raises(CannotStore):
            outbox.record(decision("body", mapped(1), delivery=None))
        assert (rows(engine), rows(engine, ledger)) == ([], [])


class TestPark:
    """Bodies that could not be handled."""

    ITEM = ParkedWebhook("acme", "orders/paid", sha("body"), "a bug", NOW, b"sealed")

    def test_is_kept_once_with_its_line(self, outbox: Outbox, engine: Engine) -> None:
        """The same body again changes nothing."""
        for _ in range(2):
            outbox.park(self.ITEM, "d-1")
        (found,) = OutboxQueries(outbox.database).parked()
        assert (found.store, found.topic, found.reason, found.sealed) == ("acme", "orders/paid", "a bug", b"sealed")
        (line,) = rows(engine, ledger)
        assert (line.outcome, line.reason, line.delivery) == ("parked", "a bug", "d-1")

    def test_is_listed_by_store_oldest_first(self, outbox: Outbox) -> None:
        """As a replay takes them."""
        for store, body in (("b", "1"), ("a", "2"), ("b", "3")):
            outbox.park(ParkedWebhook(store, "t", sha(body), "r", NOW, body.encode()))
        assert [item.sealed for item in OutboxQueries(outbox.database).parked()] == [b"1", b"2", b"3"]
        assert [item.sealed for item in OutboxQueries(outbox.database).parked("b")] == [b"1", b"3"]
        assert [item.sealed for item in OutboxQueries(outbox.database).parked(limit=1)] == [b"1"]

    @pytest.mark.parametrize("known", [False, True])
    def test_a_replay_updates_the_line(self, outbox: Outbox, engine: Engine, known: bool) -> None:
        """The ledger tells the newer story, also when another webhook has brought the event meanwhile."""
        outbox.park(self.ITEM)
        if known:
            outbox.record(decision("other body", mapped(1)))
        outbox.record(decision("body", mapped(1), at=NOW + 50))
        line = next(line for line in rows(engine, ledger) if line.body_sha256 == sha("body"))
        assert (line.outcome, line.reason, line.object_key, line.order_number) == ("relayed", "", "order:1", "#1")
        assert line.received_at == NOW
        outbox.unpark(OutboxQueries(outbox.database).parked()[0])
        assert rows(engine, parked) == []

    def test_a_handled_body_is_not_called_parked_again(self, outbox: Outbox, engine: Engine) -> None:
        """Nothing rewrites the line of a webhook that became events."""
        outbox.record(decision("body", mapped(1)))
        outbox.park(self.ITEM)
        assert [line.outcome for line in rows(engine, ledger)] == ["relayed"]


class TestCounters:
    """What is only counted."""

    def test_add_up_per_store_topic_and_hour(self, outbox: Outbox) -> None:
        """From any process, in any order."""
        hour = hour_of(datetime.fromtimestamp(NOW, UTC))
        outbox.count({("acme", "t", "ignored", hour): 2, ("acme", "t", "ignored", hour + 3600): 3})
        outbox.count({("acme", "t", "ignored", hour): 5, ("b", "", "refused", hour): 1})
        assert [tuple(row) for row in OutboxQueries(outbox.database).counted()] == [
            ("acme", "t", "ignored", 10),
            ("b", "", "refused", 1),
        ]
        assert [tuple(row) for row in OutboxQueries(outbox.database).counted(hour + 3600)] == [
            ("acme", "t", "ignored", 3)
        ]
        outbox.count({})

    def test_an_hour_is_named_by_its_start(self) -> None:
        """In UTC, whatever the zone of the moment."""
        assert hour_of(datetime(2026, 5, 1, 12, 59, 59, tzinfo=UTC)) == datetime(2026, 5, 1, 12, tzinfo=UTC).timestamp()

    def test_stores_start_once(self, outbox: Outbox) -> None:
        """The first start is what counts, and a new store starts when it is first seen."""
        assert outbox.start_stores(["acme"], NOW) == {"acme": NOW}
        assert outbox.start_stores(["b", "acme"], NOW + 9) == {"acme": NOW, "b": NOW + 9}


class TestClaim:
    """The relay's first verb."""

    def test_leases_an_event_to_one_owner(self, outbox: Outbox, engine: Engine) -> None:
        """What is claimed is seen by nobody else until the lease ends, and then by anyone."""
        fill(outbox, 1)
        (item,) = claim(outbox, "one", NOW + 100)
        assert (item.event, item.event_id, item.payload) == ("Purchase", "acme-order-1", b'{"event_id":"acme-order-1"}')
        assert (item.attempts, item.tried_at, item.sent_at) == (1, NOW + 100, NOW + 100)
        assert (item.lease_until, item.occurred_at, item.test_code) == (NOW + 160, NOW - 60, "")
        assert claim(outbox, "two", NOW + 159) == []
        assert claim(outbox, "one", NOW + 159) == []
        (stolen,) = claim(outbox, "two", NOW + 160)
        assert stolen.attempts == 2
        assert (stolen.tried_at, stolen.sent_at) == (NOW + 100, NOW + 100)  # the first time stays
        assert [row.lease_owner for row in rows(engine)] == ["two"]

    def test_a_clock_a_little_behind_keeps_the_first_time(self, outbox: Outbox) -> None:
        """Hosts differ by moments; an event would else seem as old as when it was stored, and expire for that."""
        fill(outbox, 1)
        (item,) = claim(outbox, "ahead", NOW + 200)
        outbox.settle("ahead", item.lease_until, [due_again(item, NOW + 100, item.sent_at, None, "time-out")])
        (later,) = claim(outbox, "behind", NOW + 150)
        assert (later.tried_at, later.sent_at) == (NOW + 200, NOW + 200)

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
    """What became of claimed events."""

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
            due_again(one, NOW + 200, one.sent_at, None, "time-out"),
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
        assert (state.refusals, state.reason) == (2, "40001 no permission")
        assert {s.lane: s.refusals for s in OutboxQueries(outbox.database).lane_states()} == {
            LANE: 2,
            Lane("idle", "C"): 0,
        }
        outbox.open(LANE)
        (state,) = outbox.lanes_due(NOW + 30)
        assert (state.suspended_until, state.suspended_since, state.suspended_token) == (None, None, "")
        assert (state.refusals, state.reason) == (0, "")

    def test_adding_a_lane_again_keeps_its_state(self, outbox: Outbox) -> None:
        """A restarted relay does not open a refused lane."""
        outbox.add_lanes([LANE])
        outbox.suspend(LANE, NOW, NOW, "aaaa", "revoked")
        outbox.add_lanes([LANE])
        assert OutboxQueries(outbox.database).lane_states()[0].refusals == 1


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


class TestHostileText:
    """NUL and lone surrogates are no error of either database; they are stored cleaned."""

    def test_everywhere_it_may_enter(self, outbox: Outbox, engine: Engine) -> None:
        """Whoever wrote it: a header, a shop, TikTok."""
        lane = Lane("acme", HOSTILE)
        item = mapped(HOSTILE, HOSTILE, Pixel(HOSTILE, "token", HOSTILE))
        outbox.add_lanes([lane])
        outbox.record(decision("body", item, delivery=HOSTILE, order_number=HOSTILE, topic=HOSTILE))
        outbox.record(decision("skip", outcome="skipped", reason=HOSTILE, object_key=HOSTILE))
        outbox.park(ParkedWebhook(HOSTILE, HOSTILE, sha("parked"), HOSTILE, NOW, b"\x00\xff"), HOSTILE)
        outbox.count({(HOSTILE, HOSTILE, HOSTILE, 0): 1})
        outbox.start_stores([HOSTILE], NOW)
        outbox.heartbeat(HOSTILE, NOW)
        outbox.suspend(lane, NOW, NOW, HOSTILE, HOSTILE)
        (claimed,) = outbox.claim(lane, 10, HOSTILE, NOW, 60)
        result = settled(claimed, "rejected", NOW, 40002, HOSTILE, HOSTILE)
        assert outbox.settle(HOSTILE, claimed.lease_until, [result]) == 1
        (row,) = rows(engine)
        assert (row.pixel, row.test_code, row.message, row.request_id) == (CLEAN,) * 4
        assert row.event_id == f"acme-order-{CLEAN}"
        assert OutboxQueries(outbox.database).parked()[0].sealed == b"\x00\xff"
        assert OutboxQueries(outbox.database).parked(HOSTILE)[0].reason == CLEAN
        assert [state.reason for state in OutboxQueries(outbox.database).lane_states()] == [CLEAN]
        lines, found = OutboxQueries(outbox.database).show(f"acme-order-{HOSTILE}")
        assert (len(lines), found) == (1, [row])

    def test_a_repeated_skip_with_it_is_still_recognised(self, outbox: Outbox, engine: Engine) -> None:
        """What is looked for is cleaned like what is stored."""
        for body in "12":
            outbox.record(decision(body, outcome="skipped", reason=HOSTILE, object_key=HOSTILE))
        assert len(rows(engine, ledger)) == 1


class TestCannotStore:
    """The database's failures are one exception, without a shop's data in it."""

    VERBS: tuple[Callable[[Outbox], object], ...] = (
        lambda outbox: outbox.record(decision("body", mapped("secret-1"), order_number="#secret-2")),
        lambda outbox: outbox.park(ParkedWebhook("acme", "t", sha("body"), "secret-3", NOW, b"secret-4")),
        lambda outbox: outbox.count({("acme", "secret-5", "ignored", 0): 1}),
        lambda outbox: outbox.claim(Lane("acme", "secret-6"), 10, "one", NOW, 60),
        lambda outbox: outbox.heartbeat("secret-7", NOW),
        lambda outbox: outbox.ping(),
    )

    def fails(self, outbox: Outbox) -> None:
        for verb in self.VERBS:
            with pytest.raises(CannotStore) as caught:
                verb(outbox)
            assert str(caught.value)
            assert "secret" not in str(caught.value)
            assert "INSERT" not in str(caught.value)

    @pytest.fixture
    def impatient(self, sqlite_url: str) -> Iterator[Engine]:
        engine = connect(sqlite_url, timeout=0.02)
        yield engine
        engine.dispose()

    def test_sqlite_locked_by_another(self, impatient: Engine) -> None:
        """A writer that does not end: tried for the patience, then given up; afterwards all is well."""
        migrate(impatient)
        other = sqlite3.connect(impatient.url.database or "", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        self.fails(Outbox(Database(impatient)))
        assert OutboxQueries(Database(impatient)).relay_seen() is None  # readers are not kept out
        other.execute("ROLLBACK")
        other.close()
        assert Outbox(Database(impatient)).record(decision("body", mapped(1))) == 1

    def test_sqlite_folder_vanished(self, impatient: Engine, tmp_path: Path) -> None:
        """A volume that was not mounted."""
        migrate(impatient)
        impatient.dispose()
        shutil.rmtree(tmp_path)
        outbox = Outbox(Database(impatient))
        self.fails(outbox)
        with pytest.raises(CannotStore, match="unable to open"):
            OutboxQueries(outbox.database).relay_seen()

    def test_sqlite_file_is_none(self, impatient: Engine, tmp_path: Path) -> None:
        """Something else lies where the database should."""
        (tmp_path / "connector.db").write_bytes(b"no database" * 1000)
        self.fails(Outbox(Database(impatient)))

    def test_no_tables(self, database_url: str) -> None:
        """Not migrated: the tables are missing."""
        engine = connect(database_url)
        self.fails(Outbox(Database(engine)))
        engine.dispose()

    def test_postgresql_unreachable(self) -> None:
        """Nobody listens; the password stays out of it."""
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))  # bound, but nobody listens
            port = taken.getsockname()[1]
            engine = connect(f"postgresql+psycopg://shop:secret-word@127.0.0.1:{port}/shop", timeout=1)
            self.fails(Outbox(Database(engine)))
            engine.dispose()

    def test_postgresql_locked_by_another(self, postgresql_url: str) -> None:
        """A lock that does not end is given up too."""
        first, engine = connect(postgresql_url), connect(postgresql_url, timeout=0.05)
        migrate(first)
        with first.begin() as connection:
            connection.exec_driver_sql("LOCK events, parked, counters, relays IN ACCESS EXCLUSIVE MODE")
            self.fails(Outbox(Database(engine)))
        assert Outbox(Database(engine)).record(decision("body", mapped(1))) == 1
        for each in (first, engine):
            each.dispose()

    def test_postgresql_restarted(self, postgresql_url: str) -> None:
        """A pooled connection that died is replaced without anybody's noticing."""
        engine, other = connect(postgresql_url), connect(postgresql_url)
        migrate(engine)
        with other.begin() as connection:
            others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            connection.exec_driver_sql(f"{others} AND datname = current_database()")
        assert Outbox(Database(engine)).record(decision("body", mapped(1))) == 1
        for each in (engine, other):
            each.dispose()

    def test_every_connection_in_use(self, database_url: str) -> None:
        """A pool that is empty is waited for no longer than the patience."""
        engine = connect(database_url, timeout=0.5, pool_size=1)
        migrate(engine)
        with engine.connect().execution_options(reading=True), pytest.raises(CannotStore):
            OutboxQueries(Database(engine)).relay_seen()
        assert OutboxQueries(Database(engine)).relay_seen() is None
        engine.dispose()

    def test_refused_by_the_database(self, outbox: Outbox) -> None:
        """Even a slip of ours shows no value."""
        with pytest.raises(CannotStore) as caught:
            outbox.record(decision("body", mapped(1, occurred_at=datetime.now(UTC), object_key=None)))
        assert "acme-order-1" not in str(caught.value)
