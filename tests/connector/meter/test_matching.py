"""Copies of browser and server, matched and counted as TikTok does; on both databases."""

import threading

import pytest
import sqlalchemy as sa

from connector.core.units import DAY, HOUR
from connector.meter.buffer import MAX_COPIES, ReportBuffer
from connector.meter.matching import KEPT, CopyMatcher, MeterJob
from connector.meter.report import BrowserCopy, Report
from connector.monitoring.event_stats import SettlementStats
from connector.monitoring.merges import Merges
from connector.outbox.outbox import Outbox
from connector.outbox.settlement import settled
from connector.storage.database import Database
from connector.storage.tables import browser_copies
from tests.support.factories import a_store
from tests.support.outbox_rows import LANE, NOW, OTHER_PIXEL, PIXEL, claim, decision, mapped

STORE = a_store(pixels=(PIXEL,), meter=True)
MINUTE, HOURS = 60.0, 3600.0


class Bench:
    """A store whose server and browsers send events of order numbers."""

    def __init__(self, database):
        self.database, self.outbox = database, Outbox(database)
        self.outbox.add_lanes([LANE])
        self.matcher, self.merges = CopyMatcher(database), Merges(database)

    def server(self, number, at=NOW, state="accepted", value=b"44.50", currency=b"USD", pixel=PIXEL):
        """The server's copy, answered by TikTok at `at`."""
        payload = b'{"properties":{"value":%s,"currency":"%s"}}' % (value, currency)
        self.outbox.record(decision(f"order {number}", mapped(number, payload=payload, pixel=pixel)))
        (item,) = claim(self.outbox)
        results = [settled(item, state, at, 0, "OK", "r")]
        stats = SettlementStats("acme", pixel.code, [item], results, at)
        self.outbox.settle("one", item.lease_until, results, stats.write)

    def browser(self, number, at=NOW, loaded=True, **changes):
        """The browser's copy, as its page reports it."""
        given = {
            "pixel": PIXEL.code,
            "event": "Purchase",
            "event_id": f"acme-order-{number}",
            "is_foreign": False,
            "sender": "snippet",
            "after": 0.0,
            "value": 445_000,
            "currency": "USD",
        }
        buffer = ReportBuffer(self.database, lambda: at)
        buffer.add("acme", Report("0123abcd", loaded, copies=(BrowserCopy(**(given | changes)),)))
        buffer.flush()

    def line(self, now=NOW + 2 * HOUR):
        """The meter's figures after a round at `now`."""
        MeterJob(self.database, {"acme": STORE}, "one", lambda: now).round(threading.Event())
        lines = self.merges.lines(STORE, NOW - 4 * DAY, now)
        return lines[0] if lines else None

    def rows(self):
        with self.database.read() as connection:
            return connection.execute(sa.select(browser_copies).order_by(browser_copies.c.event_id)).all()


@pytest.fixture
def bench(database):
    return Bench(database)


def numbers(line):
    return line.merged, line.dropped, line.server, line.browser, line.twice


def test_both_copies_in_either_order(bench):
    """Within five minutes they are merged, later dropped; the distance counts whoever was first."""
    for number, distance in enumerate((10, -20, 300, 301, -2 * HOURS)):
        bench.browser(number, NOW + max(distance, 0.0))
        bench.server(number, NOW + max(-distance, 0.0))
    line = bench.line()
    assert numbers(line) == (3, 2, 0, 0, 0)
    assert (line.both, line.orders, line.share(line.merged)) == (5, 5, 0.6)
    assert line.distances == {"10": 1, "30": 1, "300": 1, "900": 1, str(6 * HOUR): 1}
    assert 60 < line.median <= 300
    assert line.p95 > 2000
    assert numbers(bench.line()) == (3, 2, 0, 0, 0)  # another round counts nothing again


def test_a_copy_that_comes_later_is_matched_later(bench):
    """The server's first, and the page's report when its shopper leaves it."""
    bench.server(1, NOW)
    assert numbers(bench.line()) == (0, 0, 1, 0, 0)
    bench.browser(1, NOW + 30, after=20.0)
    assert numbers(bench.line()) == (1, 0, 0, 0, 0)
    bench.browser(2, NOW)
    assert numbers(bench.line(NOW + 60)) == (1, 0, 0, 0, 0)  # the server's is still on its way
    assert numbers(bench.line(NOW + HOUR)) == (1, 0, 0, 1, 0)
    bench.server(2, NOW + 2 * HOURS)
    assert numbers(bench.line(NOW + 3 * HOUR)) == (1, 1, 0, 0, 0)


def test_one_side_alone(bench):
    """A blocked script is the server's alone; so is what no page reported. After 48 hours a browser's stays alone."""
    bench.server(1)
    bench.server(2)
    bench.browser(2, loaded=False)
    bench.browser(3)
    line = bench.line()
    assert (numbers(line), line.blocked) == ((0, 0, 2, 1, 0), 1)
    assert numbers(bench.line(NOW + 3 * DAY)) == (0, 0, 2, 1, 0)
    assert [row.state for row in bench.rows()] in (["done", "done"], [])
    assert bench.line(NOW + KEPT + HOUR) is not None
    assert bench.rows() == []
    bench.browser(4, loaded=False)
    assert numbers(bench.line(NOW + 3 * DAY))[3] == 1  # a copy that was never sent is nobody's


def test_more_than_48_hours_apart_both_count(bench):
    """TikTok has forgotten the first."""
    bench.browser(1, NOW)
    bench.server(1, NOW + 48 * HOURS + 1)
    line = bench.line(NOW + 48 * HOUR)
    assert (line.twice, line.merged, line.dropped, line.server) == (1, 0, 0, 1)


def test_other_event_ids_count_twice(bench):
    """Once for each; one that is reported again is the same, and one that was blocked none."""
    bench.server(1)
    bench.browser(1)
    for event_id in ("sha256:a", "sha256:b", "sha256:a"):
        bench.browser(1, event_id=event_id, is_foreign=True, sender="other")
    bench.browser(1, event_id="sha256:c", is_foreign=True, sender="other", loaded=False)
    assert numbers(bench.line()) == (1, 0, 0, 0, 2)
    assert numbers(bench.line()) == (1, 0, 0, 0, 2)


def test_two_senders_under_one_event_id_are_one_copy(bench):
    """TikTok drops the second; the first time counts."""
    bench.browser(1, NOW, sender="other")
    bench.browser(1, NOW + 600)
    (row,) = bench.rows()
    assert (row.sender, row.sent_at) == ("both", NOW)
    bench.server(1, NOW + 60)
    assert numbers(bench.line()) == (1, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("browser", "server", "same"),
    [
        ({}, {}, True),
        ({"value": 445_100}, {}, True),
        ({"value": 445_101}, {}, False),
        ({"value": 1}, {}, False),
        ({"currency": "EUR"}, {}, False),
        ({"value": None, "currency": ""}, {}, None),
        ({}, {"value": b"null"}, None),
        ({}, {"value": b"1e400"}, False),
        ({}, {"value": b'"x"'}, None),
    ],
)
def test_values_are_compared_where_both_have_one(bench, browser, server, same):
    """To the cent, as both round."""
    bench.server(1, **server)
    bench.browser(1, **browser)
    line = bench.line()
    assert line.merged == 1
    assert (line.same, line.differs) == (int(same is True), int(same is False))


def test_what_is_not_accepted_is_no_copy(bench):
    """A rejected event is the browser's alone, and a test event is in no figure."""
    bench.server(1, state="rejected")
    bench.browser(1)
    assert numbers(bench.line()) == (0, 0, 0, 1, 0)
    other = Bench(bench.database)
    other.outbox.record(decision("a test", mapped(2, pixel=OTHER_PIXEL)))
    assert numbers(other.line()) == (0, 0, 0, 1, 0)


@pytest.mark.slow
def test_a_flood_is_bounded(bench, monkeypatch):
    """In memory and in the table, where the latest stay."""
    monkeypatch.setattr("connector.meter.matching.MOST", 3)
    for number in range(6):
        bench.browser(number, NOW + number)
    bench.line(NOW + 10)
    assert [row.event_id for row in bench.rows()] == ["acme-order-3", "acme-order-4", "acme-order-5"]
    buffer, known = ReportBuffer(bench.database, lambda: NOW + 20), len(bench.rows())
    for number in range(MAX_COPIES + 5):
        copy = BrowserCopy(PIXEL.code, "Purchase", f"forged-{number}", False, "snippet", 0.0, None, "")
        buffer.add("acme", Report("0123abcd", loaded=True, copies=(copy,)))
    buffer.flush()
    assert len(bench.rows()) == known + MAX_COPIES


def test_a_batch_reads_no_more_than_its_rows(sqlite_engine):
    """Webhooks wait for the write lock meanwhile; there can be 250,000 copies."""
    bench = Bench(Database(sqlite_engine))
    for number in range(20):
        bench.server(number)
        bench.browser(number)
    plans = []

    def explain(connection, _cursor, statement, parameters, *_):
        if statement.startswith(("DELETE FROM browser_copies", "UPDATE browser_copies")):
            plan = connection.connection.cursor().execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plans.append(plan.fetchall()[0][-1])

    sa.event.listen(sqlite_engine, "before_cursor_execute", explain)
    try:
        assert bench.matcher.match() == 20
        assert bench.matcher.forget(NOW + KEPT) == 20
    finally:
        sa.event.remove(sqlite_engine, "before_cursor_execute", explain)
    of_key, of_place = plans
    assert of_key.endswith("(pixel=? AND event=? AND event_id=?)")
    assert of_place.endswith("(rowid=?)")
    assert bench.rows() == []


def test_one_process_at_a_time(bench):
    """The others leave it alone."""
    bench.browser(1)
    bench.server(1)
    stop = threading.Event()
    first, second = (MeterJob(bench.database, {"acme": STORE}, owner, lambda: NOW) for owner in ("one", "two"))
    assert first.round(stop) == 1
    bench.browser(2)
    bench.server(2)
    assert second.round(stop) == 0
    assert first.round(stop) == 1


def test_figures_by_day(bench):
    """Each order on the day on which TikTok accepted the server's copy, or the browser sent its own alone."""
    bench.server(1, NOW)
    bench.browser(1, NOW)
    bench.server(2, NOW + DAY)
    bench.browser(3, NOW + DAY)
    bench.line(NOW + DAY + HOUR)
    days = bench.merges.daily(STORE, NOW - DAY, NOW + 2 * DAY)
    start = int(NOW) // DAY * DAY
    found = {day: numbers(line) for day, (line,) in days.items()}
    assert found == {start: (1, 0, 0, 0, 0), start + DAY: (0, 0, 1, 1, 0)}
