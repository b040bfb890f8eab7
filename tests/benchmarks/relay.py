"""A backlog from one relay process to a sandbox, on each database, and how long a lone event takes."""

import json
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import cache

import httpx
import sqlalchemy as sa

from connector.config.settings import Config
from connector.intake.examine import examine
from connector.outbox.ledger import Decision
from connector.outbox.outbox import Outbox
from connector.storage.database import Database
from connector.storage.engine import connect, migrate
from connector.storage.tables import events
from tests.benchmarks import mapping
from tests.support.platforms import PLATFORMS

ORDERS = 15_000  # two events each
ROUNDS = 3
LONE = 20
SANDBOX = 18766
URL = f"http://127.0.0.1:{SANDBOX}"
POLL_INTERVAL = (
    0.1  # seconds between two looks at how far a backlog is: looking takes from the processor that is measured
)


def decisions(config: Config, number: int) -> list[Decision]:
    """What intake would store for so many paid orders, every one another shopper's."""
    store, now = config.stores["acme"], datetime.now(UTC)
    platform, made = PLATFORMS[store.platform], []
    for place, request in enumerate(mapping.requests(config, store.name, number)):
        webhook = platform.receive(request, store)
        seen = examine(webhook, platform, store, now, None)
        digest = place.to_bytes(32, "big")
        made.append(Decision(store.name, webhook.topic, digest, now.timestamp(), events=seen.events))
    return made


@contextmanager
def running(
    command: str, environment: dict[str, str], *arguments: str, before: Sequence[str] = ()
) -> Iterator["subprocess.Popen[bytes]"]:
    """A command of the connector's, until the block ends."""
    child = subprocess.Popen(
        [*before, sys.executable, "-m", "connector", command, *arguments], env=environment, stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        yield child
    finally:
        child.send_signal(signal.SIGTERM)
        child.wait(40)


def wait_for(done: Callable[[], bool], seconds: float, what: str, glance: float = 0.02) -> None:
    """Until it is so; ends everything if that takes too long."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise SystemExit(f"{what}: not within {seconds:.0f} s")
        time.sleep(glance)


@cache
def _client() -> httpx.Client:
    """One for all: each new one takes 20 ms of the processor to read certificates."""
    return httpx.Client(base_url=URL)


def accepted() -> int:
    """How many different events the sandbox has taken since it was last cleared."""
    return int(_client().get("/counts").json()["accepted"])


def answers() -> bool:
    """Whether the sandbox is up."""
    try:
        return _client().get("/counts").status_code == 200
    except httpx.HTTPError:
        return False


def empty(engine: sa.Engine) -> None:
    """No events, nor what PostgreSQL would have to clean up after a DELETE while something else is measured."""
    with engine.begin() as connection:
        connection.exec_driver_sql("TRUNCATE events" if engine.dialect.name == "postgresql" else "DELETE FROM events")


def drain(engine: sa.Engine, environment: dict[str, str], batch: list[Decision]) -> float:
    """Events a second, from the first claim to the last that is settled."""
    outbox, expected = Outbox(Database(engine)), {m.event_id + m.event: m.payload for d in batch for m in d.events}
    empty(engine)
    for start in range(0, len(batch), 500):
        outbox.record_all(batch[start : start + 500])
    _client().delete("/received")
    with running("relay", environment):
        wait_for(lambda: accepted() >= len(expected), 120, "the backlog", POLL_INTERVAL)
        settled = sa.select(sa.func.count()).where(events.c.state == "accepted")
        wait_for(lambda: _one(engine, settled) == len(expected), 10, "settling", POLL_INTERVAL)
    _verify(expected)
    begun, ended = (
        _one(engine, sa.select(column)) for column in (sa.func.min(events.c.sent_at), sa.func.max(events.c.settled_at))
    )
    return len(expected) / (ended - begun)


def lone(engine: sa.Engine, environment: dict[str, str], few: list[Decision]) -> list[float]:
    """Seconds from the commit of an event, alone in the outbox, until the sandbox has taken it."""
    outbox, rng, delays = Outbox(Database(engine)), random.Random(7), []
    empty(engine)
    _client().delete("/received")
    with running("relay", environment):
        time.sleep(3)  # started
        for decision in few:
            time.sleep(rng.uniform(0.1, 0.5))
            before = accepted()
            outbox.record_all([decision])
            begun = time.monotonic()
            wait_for(lambda before=before: accepted() > before, 10, "a lone event")
            delays.append(time.monotonic() - begun)
    return delays


def _one(engine: sa.Engine, query: sa.Select[tuple[float]]) -> float:
    with engine.connect().execution_options(reading=True) as connection:
        return connection.execute(query).scalar_one()


def _verify(expected: dict[str, bytes]) -> None:
    """The last thousand, value for value."""
    for receipt in _client().get("/received").json()[-1000:]:
        item = receipt["item"]
        if item != json.loads(expected[item["event_id"] + item["event"]]):
            raise SystemExit(f"{item['event_id']} arrived changed")


def run(config: Config, environment: dict[str, str], databases: dict[str, str], say: Callable[[str], None]) -> None:
    """Print events per second, medians of some rounds, and the delay of lone events."""
    say("\nRelay: one process, a backlog of one lane to a sandbox on the same machine")
    batch = decisions(config, ORDERS)
    settings = os.environ | environment | {"EVENTS_API_URL": f"{URL}/open_api/v1.3", "LOG_LEVEL": "ERROR"}
    with ExitStack() as stack:
        stack.enter_context(running("sandbox", settings, "--port", str(SANDBOX)))
        wait_for(answers, 20, "the sandbox")
        for name, url in databases.items():
            engine = connect(url, timeout=10.0)
            migrate(engine)
            here = settings | {"DATABASE_URL": url}
            rates = [drain(engine, here, batch) for _ in range(ROUNDS)]
            delays = lone(engine, here, batch[:LONE])
            engine.dispose()
            number = sum(len(decision.events) for decision in batch)
            say(
                f"  {name:11} {statistics.median(rates):6.0f} events/s of {number}, each verified as accepted; "
                f"a lone event within {max(delays) * 1000:.0f} ms (median {statistics.median(delays) * 1000:.0f})"
            )
