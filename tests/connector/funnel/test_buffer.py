"""connector.funnel.buffer: events are gathered, written in groups, and dropped rather than piled up."""

import shutil

import pytest

from connector.funnel.buffer import FULL, MAX_BUFFERED, NO_TOKEN, TAKEN, FunnelBuffer
from connector.funnel.queue import MAX_ROWS
from connector.monitoring.event_stats import EventStats
from connector.storage.database import CannotStore, Database
from connector.storage.engine import connect
from tests.support.funnel import NOW, queued, rows


def counted(database):
    found = EventStats(database).read(["acme"], ["funnel"], 0, NOW + 1, 3600)
    return {(one.event, one.detail): one.count for one in found}


def test_a_group_a_time(database):
    buffer = FunnelBuffer(database, clock=lambda: NOW)
    for _ in range(MAX_ROWS + 5):
        buffer.add("acme", "product_viewed", [queued()])
    buffer.flush()
    assert (len(rows(database)), len(buffer)) == (MAX_ROWS, 5)
    buffer.count("acme", NO_TOKEN, number=3)
    buffer.drain()
    assert (len(rows(database)), len(buffer)) == (MAX_ROWS + 5, 0)
    assert counted(database) == {("product_viewed", TAKEN): MAX_ROWS + 5, ("", NO_TOKEN): 3}


def test_counts_alone_are_written_seldom(database):
    """A flood that is refused costs the database one write every five seconds."""
    now = [NOW]
    buffer = FunnelBuffer(database, clock=lambda: now[0])
    for seconds, written in ((0.0, 1), (1.0, 1), (4.9, 1), (5.0, 4), (-3600.0, 5)):
        now[0] = NOW + seconds
        buffer.count("acme", NO_TOKEN)
        buffer.flush()
        found = EventStats(database).read(["acme"], ["funnel"], 0, NOW + 9, 3600)
        assert sum(one.count for one in found) == written


@pytest.mark.slow
def test_what_does_not_fit_is_dropped_and_counted(migrated_sqlite, tmp_path):
    """A database that does not answer fills no memory; what was buffered is written when it is back."""
    folder = tmp_path / "disk"
    database = Database(connect(f"sqlite:///{folder}/connector.db"))
    buffer = FunnelBuffer(database, clock=lambda: NOW)
    kept = [queued() for _ in range(MAX_BUFFERED)]
    for event in [*kept, queued(), queued()]:
        buffer.add("acme", "product_viewed", [event])
    with pytest.raises(CannotStore):
        buffer.flush()
    assert len(buffer) == MAX_BUFFERED
    folder.mkdir()
    shutil.copy(migrated_sqlite, folder / "connector.db")
    buffer.drain()
    assert {row.event_id for row in rows(database)} == {event.event_id for event in kept}
    assert counted(database) == {("product_viewed", TAKEN): MAX_BUFFERED, ("product_viewed", FULL): 2}
