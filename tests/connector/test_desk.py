"""What people and pages ask of the outbox, the same on SQLite and PostgreSQL."""

import pytest
import sqlalchemy as sa
from filled import NOW, OTHER_PIXEL, claim, decision, fill, mapped, rows, sha
from sqlalchemy import Engine

from connector.desk import Choice, Desk
from connector.outbox import Lane, Outbox, settled
from connector.tables import events

HOSTILE = "a\x00b\ud800c\udfffd"


class TestLooking:
    """What people ask."""

    @pytest.fixture
    def full(self, outbox: Outbox) -> Desk:
        fill(outbox, 1, 2, 3)
        fill(outbox, 4, store="other")
        outbox.record(decision("place", mapped(1, "PlaceAnOrder"), at=NOW + 10))
        outbox.record(decision("skip", outcome="skipped", reason="draft", object_key="order:8", order_number="#8"))
        item = claim(outbox, limit=1)[0]
        outbox.settle("one", item.lease_until, [settled(item, "rejected", NOW + 101, 40002, "bad", "r")])
        return Desk(outbox.engine)

    @pytest.mark.parametrize(
        ("choice", "found"),
        [
            (Choice(), ["1", "4", "3", "2", "1"]),
            (Choice(store="other"), ["4"]),
            (Choice(state="rejected"), ["1"]),
            (Choice(event="PlaceAnOrder"), ["1"]),
            (Choice(ids=("acme-order-2", "acme-order-9")), ["2"]),
            (Choice(ids=("acme-order-1",)), ["1", "1"]),
            (Choice(since=NOW + 3), ["1", "4", "3"]),
            (Choice(since=NOW + 2, until=NOW + 3), ["3", "2"]),
            (Choice(store="acme", state="due", event="Purchase"), ["3", "2"]),
            (Choice(ids=("9" * 30, "٣", "-1", HOSTILE)), []),
        ],
    )
    def test_find_fits_every_word_newest_first(self, full: Desk, choice: Choice, found: list[str]) -> None:
        """Nonsense finds nothing and raises nothing."""
        expected = [f"acme-order-{number}" for number in found]
        if "٣" in choice.ids:  # a decimal digit three: a row's id
            expected = [row.event_id for row in full.find(Choice(ids=("3",)), 10)]
        assert [row.event_id for row in full.find(choice, 10)] == expected
        assert all("payload" not in row._fields and "email" not in row._fields for row in full.find(choice, 10))

    def test_find_takes_row_ids_and_a_limit(self, full: Desk) -> None:
        """As the listing shows them."""
        newest = full.find(Choice(), 1)
        assert len(newest) == 1
        assert full.find(Choice(ids=(str(newest[0].id),)), 10) == newest

    @pytest.mark.parametrize("key", ["acme-order-1", "order:1", "1"])
    def test_show_gathers_events_and_lines_of_an_order(self, full: Desk, key: str) -> None:
        """By event_id, object key or the platform's own id."""
        lines, found = full.show(key)
        assert {"Purchase", "PlaceAnOrder"} <= {row.event for row in found if row.object_key == "order:1"}
        assert {line.body_sha256 for line in lines} >= {sha("acme 1"), sha("place")}

    def test_show_finds_what_was_skipped(self, full: Desk) -> None:
        """The commonest question: why was this order not sent?"""
        lines, found = full.show("#8")
        assert [(line.outcome, line.reason) for line in lines] == [("skipped", "draft")]
        assert found == []

    @pytest.mark.parametrize("key", ["", "nothing", "9" * 40, HOSTILE, "'; DROP TABLE events; --", "٣٣٣"])
    def test_show_of_nonsense_is_empty(self, full: Desk, key: str) -> None:
        """Nothing raises."""
        assert full.show(key) == ([], [])

    def test_replay_makes_finished_events_due_again(self, full: Desk, engine: Engine) -> None:
        """With the same event_id and bytes; what is due already is not touched."""
        before = {row.id: row for row in rows(engine)}
        assert full.replay([*before, 10_000], NOW + 500) == 1
        changed = [row for row in rows(engine) if row != before[row.id]]
        assert [(row.event_id, row.state, row.due_at, row.settled_at) for row in changed] == [
            ("acme-order-1", "due", NOW + 500, None)
        ]
        (again_claimed,) = [item for item in claim(Outbox(full.engine), at=NOW + 500) if item.id == changed[0].id]
        assert (again_claimed.payload, again_claimed.attempts) == (before[again_claimed.id].payload, 1)
        assert again_claimed.tried_at == NOW + 500  # a new day to be accepted in
        assert again_claimed.sent_at == NOW + 100  # but TikTok's memory is as old as it is

    def test_replay_can_forget_when_it_was_sent(self, full: Desk) -> None:
        """For those who insist."""
        (row,) = full.find(Choice(state="rejected"), 10)
        assert full.replay([row.id], NOW + 500, forget_sent=True) == 1
        assert next(item for item in claim(Outbox(full.engine), at=NOW + 500) if item.id == row.id).sent_at == NOW + 500

    def test_an_event_without_its_payload_cannot_be_replayed(self, full: Desk, engine: Engine) -> None:
        """Its key is all that is left of it."""
        with engine.begin() as connection:
            connection.execute(sa.update(events).values(payload=None))
        assert full.replay([row.id for row in rows(engine)], NOW) == 0

    def test_oldest_due_is_that_of_the_open_lanes(self, outbox: Outbox) -> None:
        """A refused lane waits loudly elsewhere; here it would hide a dead relay."""
        assert Desk(outbox.engine).oldest_due(NOW) is None
        fill(outbox, 7)
        fill(outbox, 3, pixel=OTHER_PIXEL)
        assert Desk(outbox.engine).oldest_due(NOW + 10) == NOW + 3
        outbox.deny(Lane("acme", OTHER_PIXEL.code), NOW + 20, NOW, "aaaa", "revoked")
        assert Desk(outbox.engine).oldest_due(NOW + 10) == NOW + 7
        assert Desk(outbox.engine).oldest_due(NOW + 21) == NOW + 3
