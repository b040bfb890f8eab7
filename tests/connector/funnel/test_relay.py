"""The way of browsers' events to TikTok: the relay over their own queue, lanes and statistics."""

import json
from threading import Event

import httpx

from connector.core.json_fields import parse_browser_json
from connector.core.units import DAY, HOUR
from connector.funnel.job import FunnelJob
from connector.funnel.queue import FunnelQueue
from connector.monitoring.event_stats import EventStats
from connector.outbox.lanes import Lane
from connector.relay.events_api import EventsApi
from connector.relay.relay import Relay
from connector.storage.database import Database
from tests.support.funnel import NOW, beacon, funnel_store, queued, rows, sender, viewed
from tests.support.relay_world import World, coded

LANE = Lane("acme", "CABCDEFGHIJKLMNOPQR0")


class FunnelWorld(World):
    """The same world, whose relay sends browsers' events."""

    def __init__(self, engine, *stores):
        super().__init__(engine, *stores)
        self.now = NOW
        self.queue = FunnelQueue(Database(engine))
        client = httpx.Client(transport=httpx.MockTransport(self.answer))
        api = EventsApi("https://tiktok.example/open_api/v1.3", client, elapsed=lambda: self.now)
        self.funnel_relay = Relay(self.stores, self.queue, api, lambda: self.now, None, lambda: self.now)

    def put(self, *events):
        self.queue.add_lanes([LANE])
        with self.queue.database.write() as connection:
            self.queue.write(connection, events)


def test_they_are_sent_and_counted_but_never_in_the_ledger(engine):
    world = FunnelWorld(engine, funnel_store())
    world.put(queued(), queued())
    assert world.funnel_relay.step() == 2
    assert [row.state for row in rows(world.queue.database)] == ["accepted", "accepted"]
    found = EventStats(world.queue.database).read(["acme"], ["sent", "keys"], 0, NOW + DAY, HOUR)
    assert {(one.what, one.detail): one.count for one in found} == {("sent", "accepted 0"): 2, ("keys", "ttclid"): 2}


def test_their_refusal_stops_no_order(engine):
    """A lane that TikTok refuses is suspended for browsers' events alone."""
    world = FunnelWorld(engine, funnel_store())
    world.script = lambda _: coded(40105)
    world.put(queued())
    world.funnel_relay.step()
    assert world.queue.lane_state(LANE).suspended_since == NOW
    assert world.outbox.lane_state(LANE).suspended_since is None
    assert world.funnel_relay.step() == 0


def test_no_heartbeat_pretends_that_orders_are_relayed(engine):
    from connector.outbox.queries import OutboxQueries

    world = FunnelWorld(engine, funnel_store())
    world.queue.heartbeat("funnel", NOW)
    world.queue.leave("funnel")
    assert OutboxQueries(world.queue.database).relay_seen() is None


def test_the_sandbox_accepts_what_a_page_becomes(engine):
    """Judged by the sandbox's own rules of the Events API."""
    from connector.funnel.beacon import read_events

    world = FunnelWorld(engine, funnel_store())
    for _, found in read_events(parse_browser_json(beacon(viewed())), funnel_store(), sender(), NOW):
        world.put(*found)
    assert world.funnel_relay.step() == 1
    (row,) = rows(world.queue.database)
    assert (row.state, row.code) == ("accepted", 0), row.message
    assert json.loads(row.payload)["event"] == "ViewContent"


def test_a_round_of_the_job(database):
    """One process at a time erases what is a day old."""
    queue = FunnelQueue(database)
    with database.write() as connection:
        queue.write(connection, [queued(NOW - 2 * DAY), queued()])
    stores = {"acme": funnel_store()}
    now = [NOW]
    jobs = [FunnelJob(database, stores, owner, clock=lambda: now[0]) for owner in ("one", "other")]
    assert jobs[0].round(Event()) == 1
    assert jobs[1].round(Event()) == 0
    assert [row.created_at for row in rows(database)] == [NOW]
    now[0] = NOW + 2 * DAY
    jobs[1].round(Event())
    assert rows(database) == []


def test_a_job_without_a_funnel_only_erases(database):
    assert FunnelJob(database, {"acme": funnel_store(funnel=None)}, "one", clock=lambda: NOW).round(Event()) == 0
