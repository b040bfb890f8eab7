"""The browser's copies of an order's events: those that a page has reported, and no others."""

import sqlalchemy as sa

from connector.meter.event_copies import EventCopy, event_copies
from connector.storage.tables import browser_copies


def test_the_copies_of_some_events(database):
    """Neither those of another store, nor of another combination of pixel, name and id."""
    row = {"store": "acme", "pixel": "C1", "event": "Purchase", "event_id": "1", "sender": "snippet", "loaded": 1,
           "sent_at": 5.0, "value": None, "currency": "", "state": "open"}  # fmt: skip
    others = [{"event_id": "2", "sender": "other", "loaded": 0}, {"event": "PlaceAnOrder"},
              {"event_id": "3", "store": "beans"}]  # fmt: skip
    with database.write() as connection:
        for changes in ({}, *others):
            connection.execute(sa.insert(browser_copies).values(row | changes))
    keys = [("C1", "Purchase", "1"), ("C1", "Purchase", "2"), ("C1", "Purchase", "3"), ("C1", "PlaceAnOrder", "2")]
    assert event_copies(database, "acme", keys) == {
        ("C1", "Purchase", "1"): EventCopy(5.0, "snippet", True),
        ("C1", "Purchase", "2"): EventCopy(5.0, "other", False),
    }
    assert event_copies(database, "acme", []) == {}
