"""connector.funnel.queue and .retention: events of browsers are kept apart from orders, and for a day."""

import sqlalchemy as sa

from connector.core.units import DAY, HOUR
from connector.funnel.queue import FunnelQueue, first_id, row_id
from connector.funnel.retention import AHEAD, KEPT, FunnelRetention
from connector.monitoring.event_stats import EventStats
from connector.outbox.lanes import Lane
from connector.outbox.outbox import Outbox
from connector.privacy.erasure import Erasure
from connector.storage.tables import events, funnel_events
from tests.support.funnel import NOW, drop_partitions, partitions, queued, rows

LANE = Lane("acme", "CABCDEFGHIJKLMNOPQR0")


def write(database, *found):
    queue = FunnelQueue(database)
    queue.add_lanes([LANE])
    with database.write() as connection:
        return queue.write(connection, found)


def test_a_copy_of_the_same_hour_is_not_new(database):
    event = queued()
    assert write(database, event, event, queued()) == 2
    assert write(database, event) == 0
    assert write(database, queued(event_id=event.event_id, event="Look")) == 1
    assert write(database) == 0


def test_the_key_orders_rows_by_hour():
    assert first_id(NOW) <= row_id(queued()) < first_id(NOW + HOUR) < 2**63
    assert first_id(NOW + 30 * 365 * DAY) < 2**63
    assert row_id(queued(event_id="a" * 32)) == row_id(queued(event_id="a" * 32))


def test_an_event_is_found_while_it_is_kept(database):
    """By pixel, name and event_id, whenever it was received."""
    for age in (0, HOUR, KEPT):
        event = queued(received_at=NOW - age)
        write(database, event)
        queue, names = FunnelQueue(database), (event.pixel.code, event.event, event.event_id)
        assert queue.payload("acme", *names, NOW) == event.payload
        assert queue.payload("beans", *names, NOW) is None
        assert queue.payload("acme", event.pixel.code, event.event, "another", NOW) is None


def test_they_are_leased_and_settled_like_orders_but_apart(database):
    write(database, queued(), queued())
    queue = FunnelQueue(database)
    assert [state.lane for state in queue.lanes_due(NOW)] == [LANE]
    assert Outbox(database).lanes_due(NOW) == []
    claimed = queue.claim(LANE, 10, "one", NOW, 60)
    assert len(claimed) == 2
    assert queue.claim(LANE, 10, "other", NOW, 60) == []
    queue.suspend(LANE, NOW + 5, NOW, "f", "denied")
    assert queue.lane_state(LANE).suspended_since == NOW
    assert Outbox(database).lane_state(LANE).suspended_since is None
    with database.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(events)).scalar() == 0


def test_nothing_is_left_a_day_after_its_receipt(database):
    """Neither sent nor unsent; those that were not sent are counted as expired."""
    retention = FunnelRetention(database)
    retention.prepare(NOW)
    write(database, queued(), queued(NOW + 2 * HOUR))
    begun = int(NOW) // HOUR * HOUR
    retention.erase(begun + KEPT - 1)
    assert len(rows(database)) == 2
    retention.erase(begun + KEPT)
    assert [row.created_at for row in rows(database)] == [NOW + 2 * HOUR]
    found = EventStats(database).read(["acme"], ["sent"], 0, NOW + 9 * DAY, HOUR)
    assert [(one.event, one.detail, one.count) for one in found] == [("ViewContent", "expired", 1)]
    retention.erase(NOW + 2 * HOUR + KEPT)
    assert rows(database) == []


def test_a_wrong_clocks_rows_go_too(database):
    write(database, queued(NOW + 30 * DAY), queued())
    FunnelRetention(database).erase(NOW)
    assert [row.created_at for row in rows(database)] == [NOW]


def test_postgresql_has_a_partition_for_each_hour(database):
    """Each is dropped as a whole. Without a partition, rows wait in the default one."""
    drop_partitions(database)
    retention = FunnelRetention(database)
    write(database, queued())
    made = retention.prepare(NOW)
    write(database, queued(), queued(NOW + HOUR))
    if not database.is_postgresql:
        assert (made, partitions(database)) == (0, [])
        return
    hours = [int(NOW) // HOUR + ahead for ahead in range(1, AHEAD // HOUR + 1)]
    # The current hour's rows are in the default partition already, so it gets none.
    assert partitions(database) == sorted(
        ["funnel_events_default", *(f"funnel_events_{hour}" for hour in hours[:made])]
    )
    assert retention.prepare(NOW) == 0
    with database.read() as connection:
        count = connection.execute(sa.text(f"SELECT count(*) FROM funnel_events_{hours[0]}")).scalar()
    assert count == 1
    retention.erase(NOW + 2 * DAY)
    assert rows(database) == []
    assert partitions(database) == ["funnel_events_default"]


def test_due_lanes_are_found_by_the_index(plans, sqlite_engine):
    """However many events wait elsewhere."""
    from connector.storage.database import Database

    steps = plans()
    FunnelQueue(Database(sqlite_engine)).lanes_due(NOW)
    assert any("funnel_events_due" in step for step in steps)
    assert not any(step.startswith("SCAN funnel_events") for step in steps)


def test_a_stores_erasure_includes_them(database):
    write(database, queued(), queued(NOW + 60), queued(store="beans"))
    erasure = Erasure(database)
    assert erasure.count_store("acme", NOW)["browsers' events"] == 1
    assert erasure.erase_store("acme", NOW, NOW + 90, lambda: None)["browsers' events"] == 1
    assert {(row.store, row.created_at) for row in rows(database)} == {("acme", NOW + 60), ("beans", NOW)}


def test_no_column_of_the_table_names_a_person():
    assert not {"email", "phone", "external_id"} & set(funnel_events.c.keys())
