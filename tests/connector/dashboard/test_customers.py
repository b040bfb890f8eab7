"""The overview counts new and returning customers."""

import re

from connector.monitoring.event_stats import add_counts
from connector.storage.database import Database
from tests.support.admin_site import HOURS_AGO


def test_new_and_returning_customers_are_counted_by_event(inside, site):
    """With those of whom nothing is known; a shop that says nothing has no such table."""
    assert "New and returning" not in inside.get("/").text
    row = next(row for row in site.past().rows["events"] if row["event"] == "Purchase" and row["store"] == "acme")
    with Database(site.engine).write() as connection:
        counted = {
            ("acme", row["pixel"], "customers", "Purchase", "new"): 3,
            ("acme", row["pixel"], "customers", "Purchase", "returning"): 1200,
            ("acme", row["pixel"], "keys", "Purchase", "email"): 2000,
        }
        add_counts(connection, HOURS_AGO, counted)
    text = inside.get("/").text
    section = text[text.index("New and returning customers, last 7 days") :].partition("</section>")[0]
    assert "<code>customer_type</code>" in section
    cells = re.findall('<td role="cell" data-name="([^"]+)" class="number">([^<]+)</td>', section)
    assert cells[:2] == [("new", "3"), ("returning", "1,200")]
