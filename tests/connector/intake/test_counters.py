"""connector.intake.counters: webhooks that store nothing are counted, and what is counted is written in time."""

from datetime import UTC, datetime

from connector.intake.counters import OutcomeCounters
from connector.outbox.queries import OutboxQueries

NOW = datetime(2026, 11, 23, 15, 0, tzinfo=UTC)


def test_what_was_counted_last_is_written_though_nothing_more_comes(outbox):
    """An alert shall not wait for the next webhook, nor a flood cost a write each."""
    waiting = []
    counters = OutcomeCounters(outbox, lambda: NOW, lambda seconds, work: waiting.append((seconds, work)))
    for _ in range(4):
        counters.add("acme", "(none)", "refused")
    ((seconds, work),) = waiting
    work()
    assert seconds <= 1
    assert {row.count for row in OutboxQueries(outbox.database).counted()} == {4}


def test_of_unknown_topics_only_so_many_are_counted_by_name(outbox):
    """The header is not signed, and a name of its own for each would fill the table."""
    counters = OutcomeCounters(outbox, lambda: NOW)
    named = [counters.bounded_topic(f"topic/{number}") for number in range(200)]
    assert named[:2] == ["topic/0", "topic/1"]
    assert len(set(named)) == 101
    assert counters.bounded_topic("topic/1") == "topic/1"
    assert counters.bounded_topic("topic/150") == "(others)"
