"""Lanes do not notice each other, and two relays share the work."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import httpx

from connector.config.settings import load
from connector.devtools.sandbox.server import Sandbox
from connector.mapping.tiktok_event import OutboundEvent
from connector.outbox.ledger import Decision
from connector.outbox.outbox import Outbox
from connector.outbox.queries import OutboxQueries
from connector.relay.events_api import EventsApi
from connector.relay.relay import Relay
from connector.storage.database import Database
from connector.storage.engine import connect, migrate
from tests.faults.lanes import measure
from tests.faults.machinery import STORES

NOW = 1_780_000_000.0


def test_a_flowing_lane_does_not_notice_a_refused_and_a_hanging_one():
    """Its orders go out as fast as alone; the others' wait, and flow again by themselves."""
    delays = measure("sqlite", seconds=3)
    print(delays)
    assert set(delays.waiting) == {"acme", "beans"}
    # Seconds; to wait for a request that hangs would be ten. On a busy machine it is slow alone, too.
    assert max(delays.beside) < max(9, 10 * max(delays.alone))


def item(event_id: str) -> bytes:
    return b'{"event":"Purchase","event_time":%d,"event_id":"%s"}' % (NOW, event_id.encode())


def test_two_relays_with_pools_of_their_own_send_ten_thousand_events_once(postgresql_url):
    """While no one crashes, nothing is sent twice, and both do their part."""
    many, per_webhook = 10_000, 500
    config = load({"STORES_TOML": STORES, "SECRET": "s", "DATABASE_URL": postgresql_url})
    engines = [connect(postgresql_url, timeout=10) for _ in range(3)]
    migrate(engines[0])
    outbox, sandbox = Outbox(Database(engines[0])), Sandbox(clock=lambda: NOW)
    for start in range(0, many, per_webhook):
        name = list(config.stores)[start // per_webhook % len(config.stores)]
        pixel, at = config.stores[name].pixels[0], datetime.fromtimestamp(NOW, UTC)
        events = tuple(
            OutboundEvent(
                pixel, "order_paid", "Purchase", f"{name}-{number}", at, f"order:{number}", item(f"{name}-{number}")
            )
            for number in range(start, start + per_webhook)
        )
        outbox.record(Decision(name, "t", b"%d" % start, NOW, events=events))
    assert sum(OutboxQueries(Database(engines[0])).waiting().values()) == many

    def answer(request: httpx.Request) -> httpx.Response:
        found = sandbox.answer(dict(request.headers), request.content)
        return httpx.Response(found.status, content=found.body)

    def work(engine) -> int:
        client = httpx.Client(transport=httpx.MockTransport(answer))
        relay = Relay(
            config.stores, Outbox(Database(engine)), EventsApi("https://tiktok.example", client), clock=lambda: NOW
        )
        sent = 0
        while number := relay.step():
            sent += number
        return sent

    with ThreadPoolExecutor(2) as pool:
        shares = list(pool.map(work, engines[1:]))
    assert sum(shares) == many
    assert sandbox.counts()["accepted"] == many
    assert sandbox.counts()["duplicates"] == 0
    assert OutboxQueries(Database(engines[0])).waiting() == {}
    for engine in engines:
        engine.dispose()
