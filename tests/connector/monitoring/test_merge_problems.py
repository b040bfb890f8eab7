"""What pages' reports show to be wrong."""

import pytest
import sqlalchemy as sa

from connector.core.units import DAY, HOUR
from connector.monitoring.merge_problems import MergeProblemFinder
from connector.storage.tables import snippet_reports, tallies
from tests.support.factories import CODE, a_store

NOW = 1_790_000_000.0
STORE = a_store(meter=True)


def tally(database, what, detail, count, at=NOW - HOUR, event="Purchase"):
    row = {"store": "acme", "what": what, "hour": int(at) // HOUR * HOUR, "pixel": CODE, "event": event}
    with database.write() as connection:
        connection.execute(sa.insert(tallies).values(row | {"detail": detail, "count": count}))


def found(database, now=NOW, store=STORE):
    return {problem.key: problem.sentence for problem in MergeProblemFinder(database, {"acme": store}).find(now)}


def test_other_code_under_other_event_ids(database):
    """From three in a day; a store without a meter has no such problem."""
    tally(database, "sent", "accepted 0", 50)
    tally(database, "copies", "twice", 2)
    assert found(database) == {}
    tally(database, "copies", "twice", 1, NOW - 3 * HOUR)
    ((key, sentence),) = found(database).items()
    assert key == f"foreign:acme:{CODE}:Purchase"
    words = "TikTok's own app, or other code, fires Purchase under other event_ids on this pixel (3 in the last day)"
    assert sentence.startswith(f"store acme, pixel {CODE}: {words}")
    assert found(database, NOW + 2 * DAY) == {}
    assert found(database, store=a_store()) == {}


def test_values_that_disagree(database):
    """In a twentieth of the orders, and in three at least."""
    tally(database, "sent", "accepted 0", 100)
    tally(database, "amounts", "same", 95)
    tally(database, "amounts", "differs", 2)
    assert found(database) == {}
    tally(database, "amounts", "differs", 3, NOW - 3 * HOUR)
    assert [*found(database)] == [f"values:acme:{CODE}:Purchase"]
    tally(database, "amounts", "same", 5, NOW - 4 * HOUR)
    assert found(database) == {}


def report(database, at):
    with database.write() as connection:
        connection.execute(sa.insert(snippet_reports).values(store="acme", version="0123abcd", first_at=at, seen_at=at))


@pytest.mark.slow
def test_a_snippet_that_has_gone_silent(database):
    """When more orders came than would without a report if pages still reported as before."""
    last = NOW - 30 * HOUR
    assert found(database) == {}
    report(database, last)
    for hours in range(1, 10 * 24):
        tally(database, "sent", "accepted 0", 2, last - hours * HOUR)
        tally(database, "copies", "merged", 1, last - hours * HOUR)
    tally(database, "sent", "accepted 0", 20, last + 3 * HOUR)
    assert found(database) == {}  # ten reports were due; but 480 orders had as many chances to begin a silence
    tally(database, "sent", "accepted 0", 6, last + 4 * HOUR)
    ((key, sentence),) = found(database).items()
    assert key == "snippet:acme"
    assert "although 26 orders came since" in sentence
    report_later = NOW - HOUR / 2
    with database.write() as connection:
        connection.execute(sa.update(snippet_reports).values(seen_at=report_later))
    assert found(database) == {}


def test_a_shop_whose_pages_never_reported_orders_is_not_silent(database):
    """There is nothing to go by."""
    report(database, NOW - 30 * HOUR)
    tally(database, "sent", "accepted 0", 500, NOW - 20 * HOUR)
    assert found(database) == {}
