"""What people and pages ask of the outbox, the same on SQLite and PostgreSQL."""

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from connector.outbox.lanes import Lane
from connector.outbox.ledger import ParkedWebhook, park_decision
from connector.outbox.outbox import Outbox
from connector.outbox.queries import EventFilter, OutboxQueries
from connector.outbox.settlement import settled
from connector.storage.database import Database
from connector.storage.tables import events
from tests.support.outbox_rows import LANE, NOW, OTHER_PIXEL, claim, decision, fill, mapped, rows, sha

HOSTILE = "a\x00b\ud800c\udfffd"


class TestLooking:
    """What people ask."""

    @pytest.fixture
    def full(self, outbox: Outbox) -> OutboxQueries:
        fill(outbox, 1, 2, 3)
        fill(outbox, 4, store="other")
        outbox.record(decision("place", mapped(1, "PlaceAnOrder"), at=NOW + 10))
        outbox.record(decision("skip", outcome="skipped", reason="draft", object_key="order:8", order_number="#8"))
        item = claim(outbox, limit=1)[0]
        outbox.settle("one", item.lease_until, [settled(item, "rejected", NOW + 101, 40002, "bad", "r")])
        return OutboxQueries(outbox.database)

    @pytest.mark.parametrize(
        ("choice", "found"),
        [
            (EventFilter(), ["1", "4", "3", "2", "1"]),
            (EventFilter(store="other"), ["4"]),
            (EventFilter(state="rejected"), ["1"]),
            (EventFilter(event="PlaceAnOrder"), ["1"]),
            (EventFilter(ids=("acme-order-2", "acme-order-9")), ["2"]),
            (EventFilter(ids=("acme-order-1",)), ["1", "1"]),
            (EventFilter(since=NOW + 3), ["1", "4", "3"]),
            (EventFilter(since=NOW + 2, until=NOW + 3), ["3", "2"]),
            (EventFilter(store="acme", state="due", event="Purchase"), ["3", "2"]),
            (EventFilter(ids=("9" * 30, "٣", "-1", HOSTILE)), []),
        ],
    )
    def test_find_fits_every_word_newest_first(
        self, full: OutboxQueries, choice: EventFilter, found: list[str]
    ) -> None:
        """Nonsense finds nothing and raises nothing."""
        assert [row.event_id for row in full.find(choice, 10)] == [f"acme-order-{number}" for number in found]
        assert all("payload" not in row._fields and "email" not in row._fields for row in full.find(choice, 10))

    def test_find_takes_row_ids_and_a_limit(self, full: OutboxQueries) -> None:
        """As the listing shows them."""
        newest = full.find(EventFilter(), 1)
        assert len(newest) == 1
        assert full.find(EventFilter(rows=(newest[0].id,)), 10) == newest
        both = full.find(EventFilter(ids=("acme-order-2",), rows=(newest[0].id,)), 10)
        assert [row.event_id for row in both] == [newest[0].event_id, "acme-order-2"]

    def test_a_row_is_no_order(self, full: OutboxQueries, outbox: Outbox) -> None:
        """An order that never came must not show another one, whose row happens to have its number."""
        outbox.record(decision("77", mapped(77), at=NOW + 99))
        (stranger,) = full.find(EventFilter(since=NOW + 99), 10)
        unknown = str(stranger.id)
        assert stranger.object_key != f"order:{unknown}"
        full_of_it = [row.object_key for row in full.show(unknown)[1]]
        assert stranger.object_key not in full_of_it
        assert full.find(EventFilter(ids=(unknown,)), 10) == []
        assert [row.event_id for row in full.show_row(stranger.id)[1]] == [stranger.event_id]
        assert full.show_row(10**17) == ([], [])

    @pytest.mark.parametrize("key", ["acme-order-1", "order:1", "1"])
    def test_show_gathers_events_and_lines_of_an_order(self, full: OutboxQueries, key: str) -> None:
        """By event_id, object key or the platform's own id."""
        lines, found = full.show(key)
        assert {"Purchase", "PlaceAnOrder"} <= {row.event for row in found if row.object_key == "order:1"}
        assert {line.body_sha256 for line in lines} >= {sha("acme 1"), sha("place")}

    def test_show_finds_what_was_skipped(self, full: OutboxQueries) -> None:
        """The commonest question: why was this order not sent?"""
        lines, found = full.show("#8")
        assert [(line.outcome, line.reason) for line in lines] == [("skipped", "draft")]
        assert found == []

    @pytest.mark.parametrize("key", ["", "nothing", "9" * 40, HOSTILE, "'; DROP TABLE events; --", "٣٣٣"])
    def test_show_of_nonsense_is_empty(self, full: OutboxQueries, key: str) -> None:
        """Nothing raises."""
        assert full.show(key) == ([], [])

    @pytest.mark.parametrize("key", ["acme-order-1", "order:1", "1", "#1"])
    def test_search_finds_whom_a_word_is_about(self, full: OutboxQueries, key: str) -> None:
        """Each order once, with its number."""
        found = full.search(key)
        assert ("acme", "order:1", "#1") in [(one.store, one.object_key, one.order_number) for one in found]
        assert len({(one.store, one.object_key) for one in found}) == len(found)

    def test_search_by_the_hash_of_an_address(self, full: OutboxQueries, outbox: Outbox) -> None:
        """The latest order of that person first."""
        for number, at in ((21, 10), (22, 30), (23, 20)):
            item = mapped(number, email_hash=sha("kim").hex())
            outbox.record(decision(f"of {number}", item, at=NOW + at, order_number=f"#{number}"))
        assert [one.object_key for one in full.search("", sha("kim"))] == ["order:22", "order:23", "order:21"]
        assert full.search("", sha("lee")) == []

    def test_search_by_the_hash_of_a_second_address(self, full: OutboxQueries, outbox: Outbox) -> None:
        """An order may name two."""
        item = mapped(31, email_hash=sha("kim").hex(), more_hashes=(sha("lee").hex(),))
        outbox.record(decision("of 31", item, order_number="31"))
        assert [one.object_key for one in full.search("", sha("lee"))] == ["order:31"]

    def test_a_number_is_found_with_or_without_its_sign(self, full: OutboxQueries, outbox: Outbox) -> None:
        """Shopify writes it, WooCommerce does not, and people type either."""
        outbox.record(decision("of 31", mapped(310), order_number="31"))
        assert [one.order_number for one in full.search("#31")] == ["31"]
        assert ("acme", "order:1", "#1") in [(o.store, o.object_key, o.order_number) for o in full.search("1")]

    @pytest.mark.parametrize("key", ["nothing", "9" * 40, HOSTILE, "'; DROP TABLE events; --", "٣٣٣"])
    def test_search_for_nonsense_is_empty(self, full: OutboxQueries, key: str) -> None:
        """Nothing raises."""
        assert full.search(key) == []

    def test_a_story_is_of_one_store_only(self, full: OutboxQueries, outbox: Outbox) -> None:
        """Two shops may number alike."""
        outbox.record(decision("twin", mapped(1, event_id="other-1"), store="other"))
        lines, found = full.story("acme", "order:1")
        assert {row.store for row in [*lines, *found]} == {"acme"}
        assert {row.event for row in found} == {"Purchase", "PlaceAnOrder"}

    def test_pages_follow_each_other_without_gap_or_double(self, full: OutboxQueries) -> None:
        """By key, however many rows there are before; rows of the same moment too."""
        everything = full.find(EventFilter(), 100)
        read: list[int] = []
        choice = EventFilter()
        while page := full.find(choice, 2):
            read += [row.id for row in page]
            choice = EventFilter(before=(page[-1].created_at, page[-1].id))
        assert read == [row.id for row in everything]

    def test_parked_lines_come_without_their_bodies(self, full: OutboxQueries, outbox: Outbox) -> None:
        """The newest first, a page at a time."""
        for number in range(3):
            outbox.record(park_decision(ParkedWebhook("acme", "t", sha(f"p{number}"), f"why {number}", NOW, b"sealed")))
        outbox.record(park_decision(ParkedWebhook("other", "t", sha("p9"), "why 9", NOW, b"sealed")))
        first = full.parked_lines("acme", limit=2)
        assert [line.reason for line in first] == ["why 2", "why 1"]
        assert [line.reason for line in full.parked_lines("acme", before=first[-1].id)] == ["why 0"]
        assert len(full.parked_lines()) == 4

    def test_replay_makes_finished_events_due_again(self, full: OutboxQueries, outbox: Outbox, engine: Engine) -> None:
        """With the same event_id and bytes; what is due already is not touched."""
        before = {row.id: row for row in rows(engine)}
        assert full.replay([*before, 10_000], NOW + 500) == 1
        changed = [row for row in rows(engine) if row != before[row.id]]
        assert [(row.event_id, row.state, row.due_at, row.settled_at) for row in changed] == [
            ("acme-order-1", "due", NOW + 500, None)
        ]
        (again_claimed,) = [item for item in claim(outbox, at=NOW + 500) if item.id == changed[0].id]
        assert (again_claimed.payload, again_claimed.attempts) == (before[again_claimed.id].payload, 1)
        assert again_claimed.tried_at == NOW + 500  # a new day to be accepted in
        assert again_claimed.maybe_sent_at == NOW + 100  # but TikTok's memory is as old as it is

    def test_replay_can_forget_when_it_was_sent(self, full: OutboxQueries, outbox: Outbox) -> None:
        """For those who insist."""
        (row,) = full.find(EventFilter(state="rejected"), 10)
        assert full.replay([row.id], NOW + 500, forget_sent=True) == 1
        assert next(item for item in claim(outbox, at=NOW + 500) if item.id == row.id).maybe_sent_at == NOW + 500

    def test_an_event_without_its_payload_cannot_be_replayed(self, full: OutboxQueries, engine: Engine) -> None:
        """Its key is all that is left of it."""
        with engine.begin() as connection:
            connection.execute(sa.update(events).values(payload=None))
        assert full.replay([row.id for row in rows(engine)], NOW) == 0

    def test_oldest_due_is_that_of_the_open_lanes(self, outbox: Outbox) -> None:
        """A suspended lane waits loudly elsewhere, until its next probe: here it would hide a dead relay."""
        queries, lanes = OutboxQueries(outbox.database), {LANE, Lane("acme", OTHER_PIXEL.code)}
        assert queries.oldest_due(lanes, NOW) is None
        fill(outbox, 7)
        fill(outbox, 3, pixel=OTHER_PIXEL)
        assert queries.oldest_due(lanes, NOW + 10) == NOW + 3
        assert queries.oldest_due({LANE}, NOW + 10) == NOW + 7
        assert queries.oldest_due((), NOW + 10) is None
        outbox.suspend(Lane("acme", OTHER_PIXEL.code), NOW + 20, NOW, "aaaa", "revoked")
        assert queries.oldest_due(lanes, NOW + 10) == NOW + 7
        outbox.suspend(LANE, NOW + 30, NOW, "aaaa", "revoked")
        assert queries.oldest_due(lanes, NOW + 21) == NOW + 20


QUESTIONS: list[Callable[[OutboxQueries], object]] = [
    lambda queries: queries.show("1"),
    lambda queries: queries.search("#1"),
    lambda queries: queries.search("", sha("kim")),
    lambda queries: queries.story("acme", "order:1"),
    lambda queries: queries.find(EventFilter(state="rejected", before=(NOW, 7)), 50),
    lambda queries: queries.find(EventFilter(state="expired", store="acme"), 50),
    lambda queries: queries.find(EventFilter(rows=(1, 2)), 50),
    lambda queries: queries.parked_lines(before=7),
    lambda queries: queries.queue(10),
    lambda queries: queries.parked_by_store(["acme"], 10),
]
SMALL = ("SCAN lanes", "SCAN stores", "SCAN parked", "SCAN anon", "SCAN CONSTANT")  # parked: a page, by its key


@pytest.mark.parametrize("ask", QUESTIONS, ids=range(len(QUESTIONS)))
def test_no_question_reads_a_table_whole(sqlite_engine: Engine, plans: Callable[[], list[str]], ask: Any) -> None:
    """A million rows cost what three cost."""
    outbox = Outbox(Database(sqlite_engine))
    fill(outbox, 1, 2, 3)
    steps = plans()
    ask(OutboxQueries(outbox.database))
    assert steps
    assert [step for step in steps if step.startswith("SCAN") and not step.startswith(SMALL)] == []
    assert not any("USE TEMP B-TREE FOR ORDER BY" in step for step in steps if "events_failed" in str(steps))


def test_failures_are_found_by_their_own_indexes(sqlite_engine: Engine, plans: Callable[[], list[str]]) -> None:
    """In the order in which they are shown."""
    queries, steps = OutboxQueries(Database(sqlite_engine)), plans()
    queries.find(EventFilter(state="rejected"), 50)
    queries.find(EventFilter(state="rejected", store="acme"), 50)
    assert ["events_failed " in steps[0], "events_failed_store " in steps[1], len(steps)] == [True, True, 2]
