"""Which segment of the overview's bars a stored number belongs to."""

import pytest

from connector.config.settings import load
from connector.dashboard.overview import bar_kind, read_overview
from connector.monitoring.event_stats import Statistic, add_counts
from tests.support.factories import a_section, a_stores_file
from tests.support.outbox_rows import NOW


@pytest.mark.parametrize(
    ("what", "detail", "kind"),
    [
        ("received", "duplicate", "quiet"),
        ("received", "nothing new", "quiet"),  # as release 0.1 stored it
        ("received", "ignored", "quiet"),
        ("received", "parked", "parked"),
        ("tested", "accepted 0", "tested"),
        ("tested", "rejected 40002", ""),
        ("sent", "accepted 0", "accepted"),
        ("sent", "expired", "failed"),
        ("sent", "again 50000", ""),
    ],
)
def test_each_number_belongs_to_one_segment(what, detail, kind):
    assert bar_kind(Statistic("acme", what, "", "", detail, 0, 1)) == kind


def test_what_browsers_report_has_a_table_of_its_own(database):
    """By store and step, the most frequent outcome first; the page has no table where nothing was reported."""
    config = load({"STORES_TOML": a_stores_file(a_section(funnel={}))})
    assert read_overview(config, database, "", NOW).browsers == []
    with database.write() as connection:
        for outcome, number in (("rate limit", 2), ("taken", 7)):
            add_counts(connection, int(NOW) // 3600 * 3600, {("acme", "", "funnel", "cart_added", outcome): number})
    found = read_overview(config, database, "", NOW).browsers
    assert found == [("acme", "cart_added", {"taken": 7, "rate limit": 2})]
