"""Which segment of the overview's bars a stored number belongs to."""

import pytest

from connector.dashboard.overview import bar_kind
from connector.monitoring.event_stats import Statistic


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
