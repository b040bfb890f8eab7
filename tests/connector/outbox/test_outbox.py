"""The outbox: what a webhook leaves, on both databases."""

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine

from connector.outbox.ledger import ParkedWebhook, hour_of, park_decision
from connector.outbox.outbox import Outbox
from connector.outbox.queries import OutboxQueries
from connector.outbox.settlement import settled
from connector.storage.database import CannotStore
from connector.storage.tables import ledger, parked
from tests.support.outbox_rows import NOW, OTHER_PIXEL, claim, decision, fill, mapped, rows, sha


class TestRecord:
    """Intake's verb."""

    def test_a_new_event_is_stored_as_mapped(self, outbox: Outbox, engine: Engine) -> None:
        """Row and ledger line hold what the decision says; the payload is the very bytes."""
        digest = hashlib.sha256(b"ann@example.com")
        item = mapped(1, pixel=OTHER_PIXEL, email_hash=digest.hexdigest(), payload=b'{"value":44.50,"x":"\xc3\xbc"}')
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
            outbox.record(park_decision(self.ITEM, "d-1"))
        (found,) = OutboxQueries(outbox.database).parked()
        assert (found.store, found.topic, found.reason, found.sealed) == ("acme", "orders/paid", "a bug", b"sealed")
        (line,) = rows(engine, ledger)
        assert (line.outcome, line.reason, line.delivery) == ("parked", "a bug", "d-1")

    def test_is_listed_by_store_oldest_first(self, outbox: Outbox) -> None:
        """As a replay takes them."""
        for store, body in (("b", "1"), ("a", "2"), ("b", "3")):
            outbox.record(park_decision(ParkedWebhook(store, "t", sha(body), "r", NOW, body.encode())))
        assert [item.sealed for item in OutboxQueries(outbox.database).parked()] == [b"1", b"2", b"3"]
        assert [item.sealed for item in OutboxQueries(outbox.database).parked("b")] == [b"1", b"3"]
        assert [item.sealed for item in OutboxQueries(outbox.database).parked(limit=1)] == [b"1"]

    @pytest.mark.parametrize("known", [False, True])
    def test_a_replay_updates_the_line(self, outbox: Outbox, engine: Engine, known: bool) -> None:
        """The ledger tells the newer story, also when another webhook has brought the event meanwhile."""
        outbox.record(park_decision(self.ITEM))
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
        outbox.record(park_decision(self.ITEM))
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
