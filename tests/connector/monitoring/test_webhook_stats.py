"""Hourly numbers of what came, from the ledger and the counters, on SQLite and PostgreSQL."""

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from connector.core.units import HOUR, WEEK
from connector.monitoring.event_stats import EventStats
from connector.monitoring.skips import MOST_REASONS, OTHER, RELAYED, SKIPPED
from connector.monitoring.webhook_stats import LOOK_BACK, LastWebhook, WebhookStats
from connector.outbox.outbox import Outbox
from connector.storage.database import Database
from connector.storage.tables import arrivals, ledger
from tests.support.outbox_rows import decision, mapped, rows

START = 1_780_002_000 // HOUR * HOUR


class Hours:
    """A database in which webhooks come."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.outbox = Outbox(Database(engine))
        self.arrivals = WebhookStats(Database(engine))
        self.number = 0

    def come(self, *moments: float, store: str = "acme", outcome: str = "skipped") -> None:
        for moment in moments:
            self.number += 1
            key = f"order:{self.number}"
            self.outbox.record(
                decision(f"{self.number}", at=moment, store=store, outcome=outcome, reason="r", object_key=key)
            )

    def seen(self) -> list[tuple[str, int, int, float]]:
        found = rows(self.engine, arrivals)
        return [(row.store, (row.hour - START) // HOUR, row.count, row.last_at - START) for row in found]


@pytest.fixture
def hours(engine: Engine) -> Hours:
    return Hours(engine)


def test_lines_and_counters_are_counted_by_store_and_hour(hours: Hours) -> None:
    """Whatever became of a webhook, its shop was not silent; but a refused signature may be anybody's."""
    hours.come(START, START + 1799, START + 3599.9, START + 3600)
    hours.come(START + 5, store="other", outcome="recorded")
    hours.outbox.count(
        {
            ("acme", "t", "duplicate", START): 2,
            ("acme", "u", "ignored", START): 3,
            ("acme", "", "refused", START): 70,
        }
    )
    hours.arrivals.count_up(START + 4000)
    assert hours.seen() == [("acme", 0, 8, 3600), ("acme", 1, 1, 4000), ("other", 0, 1, 3600)]


def test_pages_are_told_what_became_of_them(hours: Hours) -> None:
    """By outcome; an hour that goes on is counted anew, not twice."""
    hours.come(START, START + 10, outcome="skipped")
    hours.come(START + 5, outcome="recorded")
    hours.outbox.count({("acme", "t", "ignored", START): 3, ("acme", "", "refused", START): 70})
    hours.arrivals.count_up(START + 100)
    hours.come(START + 200, START + 201, outcome="skipped")
    hours.arrivals.count_up(START + 300)
    found = EventStats(Database(hours.engine)).read(["acme"], ["received"], START, START + HOUR, HOUR)
    assert {one.detail: one.count for one in found} == {"skipped": 4, "recorded": 1, "ignored": 3, "refused": 70}


def test_skipped_ones_are_counted_by_reason(hours: Hours) -> None:
    """And by what they are about; the reasons of a store that has very many are counted as one from some point on."""
    for number in range(MOST_REASONS + 4):
        reason = f"order_paid: reason {number}; note" if number else "order_placed: common"
        for repeat in range(1 if number else 3):
            hours.outbox.record(
                decision(
                    f"{number} {repeat}",
                    at=START,
                    outcome="skipped",
                    reason=reason,
                    object_key=f"order:{number}{repeat}",
                )
            )
    hours.outbox.record(decision("c", at=START, outcome="skipped", reason="x", object_key="customer:1"))
    hours.outbox.record(decision("r", mapped("r"), at=START))
    hours.arrivals.count_up(START + 100)
    found = EventStats(Database(hours.engine)).read(["acme"], [SKIPPED, RELAYED], START, START + HOUR, HOUR)
    numbers = {(one.what, one.event, one.detail): one.count for one in found}
    assert numbers[SKIPPED, "order", "common"] == 3
    assert numbers[SKIPPED, "order", OTHER] == 4
    assert numbers[SKIPPED, "customer", "x"] == numbers[RELAYED, "order", ""] == 1
    assert len(numbers) == MOST_REASONS + 3


def test_an_outcome_that_changes_is_counted_as_it_is(hours: Hours) -> None:
    """A webhook whose events waited for consent in vain is skipped in the end: not relayed as well."""
    hours.outbox.record(decision("held", mapped("held"), at=START))
    hours.arrivals.count_up(START + 10)
    with hours.engine.begin() as connection:
        connection.execute(sa.update(ledger).values(outcome="skipped", reason="Purchase: no consent"))
    hours.arrivals.count_up(START + 70)
    found = EventStats(Database(hours.engine)).read(["acme"], ["received", SKIPPED, RELAYED], START, START + HOUR, HOUR)
    assert {(one.what, one.event, one.detail): one.count for one in found} == {
        ("received", "", "skipped"): 1, (SKIPPED, "order", "no consent"): 1,
    }  # fmt: skip


def test_refused_signatures_alone_are_no_arrival(hours: Hours) -> None:
    """But pages show them."""
    hours.outbox.count({("acme", "", "refused", START): 2})
    hours.arrivals.count_up(START + 100)
    assert hours.seen() == []
    assert [
        one.detail for one in EventStats(Database(hours.engine)).read(["acme"], ["received"], START, START + HOUR, HOUR)
    ] == ["refused"]


def test_the_last_moment_moves_only_when_more_has_come(hours: Hours) -> None:
    """Otherwise looking would be taken for hearing."""
    hours.come(START)
    hours.arrivals.count_up(START + 60)
    hours.arrivals.count_up(START + 120)
    assert hours.seen() == [("acme", 0, 1, 60)]
    hours.come(START + 130)
    hours.arrivals.count_up(START + 180)
    assert hours.seen() == [("acme", 0, 2, 180)]


def test_what_is_stored_late_in_an_hour_is_counted_in_the_next(hours: Hours) -> None:
    """A webhook is stored, and a counter written, some seconds after it came."""
    hours.come(START + 10)
    hours.arrivals.count_up(START + 3590)
    hours.come(START + 3599)
    hours.arrivals.count_up(START + 3660)
    assert hours.seen() == [("acme", 0, 2, 3600)]


def test_counting_goes_on_where_it_ended(hours: Hours) -> None:
    """The watcher was away for some days; on its first day it looks back as far as it will ever need."""
    hours.come(START - LOOK_BACK - 7200, START - WEEK, START)
    hours.arrivals.count_up(START + 60)
    hours.come(START + 50 * HOUR, START + 80 * HOUR)
    hours.arrivals.count_up(START + 81 * HOUR)
    assert [(hour, count) for _, hour, count, _ in hours.seen()] == [(-168, 1), (0, 1), (50, 1), (80, 1)]


def test_old_lines_are_not_counted_again(hours: Hours) -> None:
    """However many there are; the ledger may even have dropped them meanwhile."""
    hours.come(*(START - day * 24 * HOUR for day in range(1, 30)), START)
    hours.arrivals.count_up(START + 60)
    before = hours.seen()
    with hours.engine.begin() as connection:
        connection.execute(sa.delete(ledger).where(ledger.c.received_at < START))
    asked: list[tuple[int, ...]] = []

    def note(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if "FROM ledger" in statement:
            values = parameters.values() if isinstance(parameters, dict) else parameters
            asked.append(tuple(value for value in values if isinstance(value, int) and value > WEEK))

    sa.event.listen(hours.engine, "before_cursor_execute", note)
    hours.arrivals.count_up(START + 600)
    sa.event.remove(hours.engine, "before_cursor_execute", note)
    assert asked == [(START, START + 601)]
    assert hours.seen() == before


def test_the_first_count_begins_with_the_oldest_line(hours: Hours) -> None:
    """Not weeks before it, with two queries for each day."""
    hours.come(START - 30 * HOUR, START)
    hours.outbox.count({("acme", "t", "ignored", START - 60 * HOUR): 3})
    asked: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        asked.append(statement)

    sa.event.listen(hours.engine, "before_cursor_execute", note)
    hours.arrivals.count_up(START + 60)
    sa.event.remove(hours.engine, "before_cursor_execute", note)
    assert [(hour, count) for _, hour, count, _ in hours.seen()] == [(-60, 3), (-30, 1), (0, 1)]
    assert len([statement for statement in asked if "GROUP BY" in statement]) == 2 * 3


def test_a_store_is_read_as_consecutive_hours(hours: Hours) -> None:
    """As `quiet` wants them; what a clock that jumped counted ahead is left out."""
    assert hours.arrivals.last("acme", START) is None
    hours.come(START - 3 * HOUR, START - 3 * HOUR + 1, START)
    hours.come(START - HOUR, store="other")
    hours.arrivals.count_up(START + 60)
    hours.come(START + 5 * HOUR)
    hours.arrivals.count_up(START + 5 * HOUR + 60)
    last = hours.arrivals.last("acme", START + 120)
    assert last == LastWebhook(START, START + 60)
    assert hours.arrivals.hours("acme", last) == ([2, 0, 0, 1], START - 3 * HOUR)


def test_the_queries_use_an_index(sqlite_engine: Engine, plans: Callable[[], list[str]]) -> None:
    """A million lines cost what the last hour's lines cost."""
    hours = Hours(sqlite_engine)
    hours.come(START)
    steps = plans()
    hours.arrivals.count_up(START + 60)
    last = hours.arrivals.last("acme", START + 120)
    assert last
    hours.arrivals.hours("acme", last)
    assert not [step for step in steps if "SCAN" in step and "INDEX" not in step]
    for index in ("ledger_received", "counters_hour", "arrivals_hour", "sqlite_autoindex_arrivals"):
        assert any(index in step for step in steps), steps
