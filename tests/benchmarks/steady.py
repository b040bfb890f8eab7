"""Shoppers at an even pace through the whole of `connector serve`: how long until each event is accepted.

The pace is kept whatever the answers do, so a slow one delays no other.
"""

import http.client
import os
import statistics
import threading
import time
from collections.abc import Callable, Sequence

import httpx
import sqlalchemy as sa

from connector.config.settings import Config
from connector.core.webhook import Request
from connector.storage.engine import connect, migrate
from connector.storage.tables import events
from tests.benchmarks.mapping import requests
from tests.benchmarks.relay import SANDBOX, URL, accepted, answers, empty, running, wait_for

RATE, SECONDS = 1000, 60
SENDERS = 16
PORT = 18767


def post(webhooks: Sequence[Request], rate: float, port: int = PORT) -> list[float]:
    """Post them at `rate` a second, as fast as possible at 0; seconds each took.

    Ends everything on any answer but 200.
    """
    took, faults, begun = [0.0] * len(webhooks), [], time.monotonic() + 0.1

    def send(first: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        for number in range(first, len(webhooks), SENDERS):
            if rate:
                time.sleep(max(0.0, begun + number / rate - time.monotonic()))
            started = time.monotonic()
            try:
                connection.request("POST", "/webhooks/acme", webhooks[number].body, dict(webhooks[number].headers))
                answer = connection.getresponse()
                answer.read()
            except OSError as error:
                faults.append(repr(error))
                return
            if answer.status != 200:
                faults.append(str(answer.status))
            took[number] = time.monotonic() - started

    senders = [threading.Thread(target=send, args=(first,)) for first in range(SENDERS)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    if faults:
        raise SystemExit(f"{len(faults)} webhooks were not answered 200, the first: {faults[0]}")
    return took


def serving(environment: dict[str, str]) -> dict[str, str]:
    """What `connector serve` is started with, so that it sends to the sandbox."""
    own = {"PORT": str(PORT), "WEB_CONCURRENCY": "2", "EVENTS_API_URL": f"{URL}/open_api/v1.3", "LOG_LEVEL": "ERROR"}
    return os.environ | environment | own


def serves() -> bool:
    """Whether the server is up."""
    try:
        return httpx.get(f"http://127.0.0.1:{PORT}/readyz").json()["relay"] == "alive"
    except (httpx.HTTPError, KeyError):
        return False


def run(config: Config, environment: dict[str, str], databases: dict[str, str], say: Callable[[str], None]) -> None:
    """Print the delays from a webhook's commit to TikTok's answer, of every event."""
    say(
        f"\nSteady: {RATE} webhooks a second for {SECONDS} s through `connector serve`, two events each, to the sandbox"
    )
    for name, url in databases.items():
        webhooks = requests(config, "acme", RATE * SECONDS, seed=time.time())
        engine = connect(url, timeout=10.0)
        migrate(engine)
        empty(engine)
        settings = serving(environment) | {"DATABASE_URL": url}
        with running("sandbox", settings, "--port", str(SANDBOX)), running("serve", settings):
            wait_for(answers, 20, "the sandbox")
            wait_for(serves, 30, "the server")
            took, number = post(webhooks, RATE), 2 * len(webhooks)
            wait_for(lambda number=number: accepted() == number, 60, "the last events")
        with engine.connect() as connection:
            query = sa.select(events.c.settled_at - events.c.created_at).where(events.c.state == "accepted")
            delays = sorted(connection.execute(query).scalars())
        engine.dispose()
        if len(delays) != number:
            raise SystemExit(f"{len(delays)} events are accepted of {number}")
        say(
            f"  {name:11} from commit to accepted: median {statistics.median(delays):.2f} s, "
            f"p99 {delays[len(delays) * 99 // 100]:.2f} s, slowest {delays[-1]:.2f} s; "
            f"webhooks answered: p99 {sorted(took)[len(took) * 99 // 100] * 1000:.0f} ms"
        )
