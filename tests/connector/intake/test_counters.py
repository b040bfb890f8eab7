"""connector.intake.counters: webhooks that store nothing are counted, and what is counted is written in time."""

from datetime import UTC, datetime

import pytest

from connector.intake.counters import OutcomeCounters
from connector.outbox.queries import OutboxQueries
from connector.storage.database import CannotStore

NOW = datetime(2026, 11, 23, 15, 0, tzinfo=UTC)


def test_counts_are_written_by_a_flush_and_kept_when_it_fails(outbox, monkeypatch):
    """A flood costs no write each, and a database that is away for a moment no number."""
    counters = OutcomeCounters(outbox, lambda: NOW)
    for _ in range(4):
        counters.add("acme", "(none)", "refused")
    assert OutboxQueries(outbox.database).counted() == []

    def away(_counts):
        raise CannotStore("away")

    with monkeypatch.context() as patch:
        patch.setattr(outbox, "count", away)
        with pytest.raises(CannotStore):
            counters.flush()
    counters.flush()
    counters.flush()
    assert {row.count for row in OutboxQueries(outbox.database).counted()} == {4}


def test_of_unknown_topics_only_so_many_are_counted_by_name(outbox):
    """The header is not signed, and a name of its own for each would fill the table."""
    counters = OutcomeCounters(outbox, lambda: NOW)
    named = [counters.bounded_topic(f"topic/{number}") for number in range(200)]
    assert named[:2] == ["topic/0", "topic/1"]
    assert len(set(named)) == 101
    assert counters.bounded_topic("topic/1") == "topic/1"
    assert counters.bounded_topic("topic/150") == "(others)"
