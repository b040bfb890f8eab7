"""Browsers' events: tables that stay flat over three days, and orders beside a flood of forged beacons.

The days are scaled down, with a clock that runs ahead: as many events an hour as ten million a day would be, divided
by SCALE. The endpoint takes a flood of a million without HTTP, so that what is stored is seen; a server takes a part
of it, beside orders at an even pace.
"""

import asyncio
import json
import os
import random
import secrets
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import sqlalchemy as sa

from connector.config.settings import Config, load
from connector.core.store import Pixel
from connector.core.units import HOUR
from connector.funnel.bounds import KnownBounds
from connector.funnel.buffer import FunnelBuffer
from connector.funnel.guard import ADDRESS_BURST, ADDRESS_RATE, Guard
from connector.funnel.queue import MAX_ROWS, FunnelEvent, FunnelQueue
from connector.funnel.retention import BATCH, FunnelRetention
from connector.outbox.lanes import Lane
from connector.outbox.settlement import settled
from connector.storage.database import Database
from connector.storage.engine import connect, migrate
from connector.storage.tables import funnel_events
from connector.web.asgi import BodyReader, received
from connector.web.funnel_endpoint import FunnelEndpoint
from tests.benchmarks.mapping import requests
from tests.benchmarks.relay import empty, running, wait_for
from tests.benchmarks.steady import PORT, post, serves, serving
from tests.support.platforms import PLATFORMS

A_DAY, SCALE, DAYS = 10_000_000, 100, 3
FORGED, ADDRESSES = 1_000_000, 50_000
ORDERS, FLOOD, SECONDS, ROUNDS = 100, 1_000, 8, 3  # a second, a second, each
FLAT = 1.1  # of the size after the second day, at most
CLAIM = 1000
LANE = Lane("acme", "CFUNNEL0000000000000")
PARTITIONS_SIZE = sa.text(
    "SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits WHERE inhparent = 'funnel_events'::regclass"
)
AGENT = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 Version/18.1 Safari/604.1"


def run(config: Config, environment: dict[str, str], databases: dict[str, str], say: Callable[[str], None]) -> None:
    """Print the sizes, the rates, and what a flood does; end everything if a bound is broken."""
    hourly = A_DAY // 24 // SCALE
    say(f"\nFunnel: {hourly:,} events an hour ({A_DAY:,} a day scaled down by {SCALE}), {DAYS} days, sent at once")
    for name, url in databases.items():
        engine = connect(url, timeout=60.0)
        migrate(engine)
        say(f"  {name:11} {_days(engine, hourly)}")
        engine.dispose()
    with_funnel = environment | {"STORES_TOML": environment["STORES_TOML"] + "\n[stores.acme.funnel]\n"}
    say(f"  {_flood(load(with_funnel), databases['SQLite'])}")
    say(f"Orders at {ORDERS} a second beside {FLOOD:,} forged beacons a second, and alone, in turns of {SECONDS} s")
    for name, url in databases.items():
        say(f"  {name:11} {_beside(config, with_funnel, url)}")


# --- flat tables ----------------------------------------------------------------------------------------------


def _days(engine: sa.Engine, hourly: int) -> str:
    database = Database(engine)
    queue, retention = FunnelQueue(database), FunnelRetention(database)
    queue.add_lanes([LANE])
    start, sizes, spent, erasing = time.time() // HOUR * HOUR, [], 0.0, 0.0
    for hour in range(DAYS * 24):
        now = start + hour * HOUR
        begun = time.perf_counter()
        retention.prepare(now)
        while retention.erase(now) >= BATCH:
            pass
        erasing += time.perf_counter() - begun
        begun = time.perf_counter()
        for _ in range(hourly // MAX_ROWS):
            with database.write() as connection:
                queue.write(connection, [_event(now) for _ in range(MAX_ROWS)])
            _relay(queue, now)
        spent += time.perf_counter() - begun
        if (hour + 1) % 24 == 0:
            sizes.append(_size(engine))
    if sizes[-1] > sizes[-2] * FLAT:
        raise SystemExit(f"the table grows: {sizes}")
    number = DAYS * 24 * (hourly // MAX_ROWS) * MAX_ROWS
    told = ", ".join(f"{size / 1e6:.0f} MB" for size in sizes)
    return (
        f"after each day {told}; {number / spent:,.0f} events/s written, claimed and settled; "
        f"erased in {erasing / spent:.1%} of that time"
    )


def _event(now: float) -> FunnelEvent:
    event_id = secrets.token_hex(16)
    payload = b'{"event":"ViewContent","event_id":"%s"}' % event_id.encode() + b" " * 700
    return FunnelEvent(LANE.store, Pixel(LANE.pixel, "token"), "ViewContent", event_id, now, now, payload)


def _relay(queue: FunnelQueue, now: float) -> None:
    claimed = queue.claim(LANE, CLAIM, "bench", now, 60)
    if len(claimed) != CLAIM:
        raise SystemExit(f"{len(claimed)} events were claimed of {CLAIM}")
    queue.settle("bench", now + 60, [settled(item, "accepted", now, 0, "OK", "1") for item in claimed])


def _size(engine: sa.Engine) -> int:
    """Bytes of the table with its indexes; of SQLite's file, those in use."""
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            return int(connection.execute(PARTITIONS_SIZE).scalar() or 0)
        pages, free, size = (
            connection.exec_driver_sql(f"PRAGMA {name}").scalar() or 0
            for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)


# --- a flood --------------------------------------------------------------------------------------------------


def _flood(config: Config, url: str) -> str:
    """A million forged beacons, each with a token that is junk, old, of another store or of another address."""
    database = Database(connect(url, timeout=10.0))
    elapsed = [0.0]
    buffer = FunnelBuffer(database)
    guard = Guard(lambda: elapsed[0])
    endpoint = FunnelEndpoint(
        config.stores, PLATFORMS, 1, buffer, KnownBounds(database), BodyReader(2**20), guard, clock=time.time
    )
    with database.write() as connection:
        connection.execute(sa.delete(funnel_events))
    rng = random.Random(1)
    bodies = [_forged(rng) for _ in range(200)]

    async def all_of_them() -> None:
        for number in range(FORGED):
            elapsed[0] += 1 / FLOOD
            body = bodies[number % len(bodies)]
            await endpoint.answer(_scope(_address(rng), len(body)), received(body), "acme", "event")

    begun = time.perf_counter()
    asyncio.run(all_of_them())
    took = time.perf_counter() - begun
    buffer.drain()
    with database.read() as connection:
        stored = connection.execute(sa.select(sa.func.count()).select_from(funnel_events)).scalar()
    database.engine.dispose()
    if stored:
        raise SystemExit(f"{stored} forged events are stored")
    bound = ADDRESS_BURST + ADDRESS_RATE * HOUR
    return (
        f"{FORGED:,} forged beacons from {ADDRESSES:,} addresses: none stored, {took / FORGED * 1e6:.0f} µs each "
        f"without HTTP; with tokens of its own, an address could report {bound:.0f} events an hour and process"
    )


def _forged(rng: random.Random) -> bytes:
    token = f"a.{int(time.time()) + rng.randint(-999, 999)}.{rng.randbytes(12).hex()}.{rng.randbytes(16).hex()}"
    event = {"milestone": "cart_added", "event_id": rng.randbytes(16).hex(), "properties": {"value": 1e6}}
    return json.dumps({"token": token, "events": [event]}).encode()


def _address(rng: random.Random) -> str:
    number = rng.randrange(ADDRESSES)
    return f"93.{number // 65_000}.{number // 256 % 256}.{number % 256}"


def _scope(address: str, length: int) -> dict[str, object]:
    headers = {"x-forwarded-for": address, "user-agent": AGENT, "content-length": str(length)}
    return {
        "method": "POST",
        "client": ("127.0.0.1", 1),
        "headers": [(name.encode(), text.encode()) for name, text in headers.items()],
    }


# --- orders beside it -----------------------------------------------------------------------------------------


def _beside(config: Config, environment: dict[str, str], url: str) -> str:
    engine = connect(url, timeout=10.0)
    migrate(engine)
    alone, beside = [], []
    settings = serving(environment) | {"DATABASE_URL": url, "TRUSTED_PROXIES": "1"}
    with running("serve", settings):
        wait_for(serves, 30, "the server")
        for turn in range(2 * ROUNDS):
            empty(engine)
            webhooks = requests(config, "acme", ORDERS * SECONDS, seed=time.time() + turn)
            if turn % 2:
                with _attack():
                    beside.append(_p99(post(webhooks, ORDERS)))
            else:
                alone.append(_p99(post(webhooks, ORDERS)))
        with engine.connect() as connection:
            stored = connection.execute(sa.select(sa.func.count()).select_from(funnel_events)).scalar()
    engine.dispose()
    if stored:
        raise SystemExit(f"{stored} forged events are stored")
    ratio = statistics.median(beside) / statistics.median(alone)
    return (
        f"orders answered: p99 {statistics.median(alone) * 1000:.1f} ms alone, "
        f"{statistics.median(beside) * 1000:.1f} ms beside the flood, ratio {ratio:.2f}"
    )


def _p99(took: list[float]) -> float:
    return sorted(took)[len(took) * 99 // 100]


@contextmanager
def _attack() -> Iterator[None]:
    """Forged beacons at an even pace, from a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.funnel", str(PORT), str(FLOOD)]
    child = subprocess.Popen(command, env=dict(os.environ), stdout=subprocess.PIPE)
    try:
        if child.stdout is not None:
            child.stdout.readline()  # it has begun
        yield
    finally:
        child.terminate()
        child.wait(10)


def attack(port: int, rate: int, connections: int = 8) -> None:
    """Send forged beacons for ever, `rate` a second."""
    rng = random.Random(2)
    sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(connections)]
    for one in sockets:
        one.setblocking(False)
    print("begun", flush=True)
    begun, sent = time.monotonic(), 0
    while True:
        one = sockets[sent % connections]
        body = _forged(rng)
        head = (
            f"POST /collect/acme/event HTTP/1.1\r\nHost: x\r\nUser-Agent: {AGENT}\r\n"
            f"X-Forwarded-For: {_address(rng)}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        one.sendall(head.encode() + body)
        sent += 1
        with suppress(BlockingIOError):
            one.recv(65_536)
        time.sleep(max(0.0, begun + sent / rate - time.monotonic()))


if __name__ == "__main__":
    attack(int(sys.argv[1]), int(sys.argv[2]))
