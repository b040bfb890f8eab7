"""Signed webhooks through the server into a durable commit, against a bare Flask app under gunicorn's threads.

Also printed: a bare ASGI application on the connector's own worker, which shows what HTTP alone costs.

The load comes from wrk, whose script takes prepared requests from a file, so that every one is another order.
"""

import os
import random
import re
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import httpx
import sqlalchemy as sa

from connector.config.settings import load
from connector.plugin.testing.samples import fresh_journey
from connector.plugin.testing.shoppers import Journey
from connector.storage.engine import connect, migrate
from connector.storage.tables import events
from tests.support.platforms import PLATFORMS, SAMPLES

SECONDS = 5
AGAIN = 1  # seconds in which webhooks come once more that came before
ROUNDS = 3
SETTLE = 2  # seconds; one of several web processes answers while the others still start
CONNECTIONS = 32
PREPARED = 20_000
PORT = 18765
MANY = 256  # connections
WEB = [sys.executable, "-m", "connector", "web"]

BARE = """
from flask import Flask, request
app = Flask("bare")
@app.post("/webhooks/acme")
def take():
    request.get_data(cache=False)
    return {"outcome": "read"}
@app.get("/healthz")
def healthz():
    return {}
"""
CEILING = """
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    more = True
    while more:
        more = (await receive()).get("more_body", False)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"3")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"{}\\n"})
"""
TOPICS = {"orders/create": "one event", "orders/paid": "two events"}
SCRIPT = """
local requests, place = {}, 0
local threads = 0
function setup(thread) thread:set("number", threads); threads = threads + 1 end
function init(args)
  local file = io.open(args[1], "rb")
  local index = 0
  while true do
    local head = file:read(8)
    if not head then break end
    local b = {head:byte(1, 8)}
    local signature = file:read(b[1])
    local size = b[5] + b[6] * 256 + b[7] * 65536
    local body = file:read(size)
    if index % 2 == number then
      requests[#requests + 1] = wrk.format("POST", "/webhooks/acme", {
        ["Content-Type"] = "application/json", ["Connection"] = args[3], ["X-Shopify-Topic"] = args[2],
        ["X-Shopify-Shop-Domain"] = "acme.myshopify.com", ["X-Shopify-Hmac-Sha256"] = signature }, body)
    end
    index = index + 1
  end
end
function request() place = place % #requests + 1; return requests[place] end
local bad = 0
function response(status) if status ~= 200 then bad = bad + 1 end end
function done(summary, latency)
  io.write(string.format("RESULT %d %d %.1f %.1f %d\\n", summary.requests, summary.duration,
    latency:percentile(99) / 1000, latency.max / 1000,
    summary.errors.status + summary.errors.timeout + summary.errors.connect))
end
"""


def prepare(path: Path, environment: dict[str, str], seed: int, topic: str = "orders/create") -> int:
    """Write signed orders for wrk's script; how many."""
    store, rng, now = load(environment).stores["acme"], random.Random(seed), datetime.now(UTC)
    samples, platform = SAMPLES["shopify"], PLATFORMS["shopify"]
    with path.open("wb") as file:
        for _ in range(PREPARED):
            body = samples.encode(samples.sample(topic, _with_own_phone(fresh_journey(store, now, rng), rng), store))
            signature = platform.signed_headers(body, store.webhook_secrets[0])["X-Shopify-Hmac-Sha256"].encode()
            file.write(struct.pack("<B3x", len(signature)) + struct.pack("<I", len(body)) + signature + body)
        file.flush()
        os.fsync(file.fileno())  # now, not while commits are measured
    return PREPARED


def _with_own_phone(journey: Journey, rng: random.Random) -> Journey:
    """The invented shoppers share 400 numbers; with as many orders as here each would be many people's."""
    phone = f"({rng.randint(2, 9)}{rng.randint(10, 99)}) 555-{rng.randint(0, 9999):04}"
    return replace(journey, person=replace(journey.person, phone=phone))


@contextmanager
def server(command: list[str], environment: dict[str, str]) -> Iterator[None]:
    """A web server until the block ends."""
    child = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        url = f"http://127.0.0.1:{environment['PORT']}/healthz"
        for _ in range(200):
            try:
                if httpx.get(url).status_code == 200:
                    break
            except httpx.HTTPError:
                time.sleep(0.1)
        else:
            raise SystemExit("the server did not start")
        time.sleep(SETTLE)
        yield
    finally:
        child.send_signal(signal.SIGTERM)
        child.wait(40)


def load_it(
    script: Path,
    requests: Path,
    port: str,
    seconds: int = SECONDS,
    topic: str = "orders/create",
    connections: int = CONNECTIONS,
    connection: str = "keep-alive",
) -> tuple[float, float, float]:
    """Requests per second, p99 and slowest in milliseconds. Ends everything on any answer but 200.

    With "close" as `connection` each request has a connection of its own.
    """
    command = ["wrk", "-t2", f"-c{connections}", f"-d{seconds}s", "-s", str(script), f"http://127.0.0.1:{port}"]
    told = subprocess.run(
        [*command, "--", str(requests), topic, connection], capture_output=True, text=True, check=True
    ).stdout
    found = re.search(r"RESULT (\d+) (\d+) ([\d.]+) ([\d.]+) (\d+)", told)
    if not found or found[5] != "0":
        raise SystemExit(f"wrk saw answers other than 200:\n{told}")
    return int(found[1]) / (int(found[2]) / 1e6), float(found[3]), float(found[4])


def run(environment: dict[str, str], databases: dict[str, str], folder: Path, say: Callable[[str], None]) -> None:
    """Print the rates of baseline and connector on each database, interleaved, and the medians of their ratio."""
    if not shutil.which("wrk"):
        say("\nIntake: left out, for there is no wrk (apt-get install wrk)")
        return
    say(f"\nIntake: orders of Shopify, {CONNECTIONS} connections; baseline: Flask reads the body, in threads")
    (folder / "bare.py").write_text(BARE)
    (folder / "ceiling.py").write_text(CEILING)
    script = folder / "load.lua"
    script.write_text(SCRIPT)
    bare, ceiling = _command(folder, "bare:app", "'gthread'"), _command(folder, "ceiling:app", "worker_class")
    requests = folder / "orders.bin"
    prepare(requests, environment, 0)
    with server(bare, environment):
        base, _, _ = load_it(script, requests, environment["PORT"])
    with server(ceiling, environment):
        most, _, _ = load_it(script, requests, environment["PORT"])
    say(f"  {'bare ASGI':11} {most:6.0f}/s  ratio {most / base:.2f}: the ceiling, on the connector's own worker")
    for name, url in databases.items():
        engine = connect(url)
        migrate(engine)
        for topic, kind in TOPICS.items():
            rounds = [_round(engine, bare, environment, folder, topic, turn) for turn in range(ROUNDS)]
            rates, ratios, tails, slowest, repeated = zip(*rounds, strict=True)
            say(
                f"  {name:11} {statistics.median(rates):6.0f}/s  ratio {statistics.median(ratios):.2f}  "
                f"p99 {statistics.median(tails):.0f} ms  slowest {max(slowest):.0f} ms; "
                f"{statistics.median(repeated):.0f}/s of those that bring nothing new ({kind} each)"
            )
        prepare(requests, environment, 99)
        with server(WEB, environment | {"DATABASE_URL": url}):
            rate, tail, slow = load_it(script, requests, environment["PORT"], 3 * SECONDS, connections=MANY)
        say(f"  {name:11} {rate:6.0f}/s over {MANY} connections: p99 {tail:.0f} ms, slowest {slow:.0f} ms")
        engine.dispose()


def _round(
    engine: sa.Engine, bare: list[str], environment: dict[str, str], folder: Path, topic: str, turn: int
) -> tuple[float, float, float, float, float]:
    """The rate, its ratio to the baseline, p99 and slowest in milliseconds, and the rate of repeated webhooks."""
    script, requests, port = folder / "load.lua", folder / "orders.bin", environment["PORT"]
    url, number = engine.url.render_as_string(hide_password=False), 1 if topic == "orders/create" else 2
    prepare(requests, environment, hash((topic, turn)), topic)
    with server(bare, environment):
        base, _, _ = load_it(script, requests, port, topic=topic)
    before = _stored(engine)
    with server(WEB, environment | {"DATABASE_URL": url}):
        rate, tail, slow = load_it(script, requests, port, topic=topic)
        stored = _stored(engine) - before
        again, _, _ = load_it(script, requests, port, AGAIN, topic)
    if stored < number * min(rate * SECONDS, PREPARED) * 0.95:
        raise SystemExit(f"{stored} events were stored of {rate * SECONDS:.0f} webhooks that were answered 200")
    if (more := _stored(engine) - before - stored) > number * CONNECTIONS:  # those under way when wrk stopped counting
        raise SystemExit(f"{more} events were stored of webhooks that had come before")
    return rate, rate / base, tail, slow, again


def _command(folder: Path, application: str, worker: str) -> list[str]:
    """Gunicorn with the connector's settings and another application."""
    settings = folder / f"{application.partition(':')[0]}.conf.py"
    settings.write_text(
        "import os\nfrom connector.config.settings import load\n"
        "from connector.server.web_process import gunicorn_settings\n"
        "globals().update(gunicorn_settings(load(os.environ)))\n"
        f"worker_class, threads = {worker}, 16\n"
    )
    return [sys.executable, "-m", "gunicorn", "-c", str(settings), "--pythonpath", str(folder), application]


def _stored(engine: sa.Engine) -> int:
    with engine.connect() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(events)).scalar_one()


def environment_of(base: dict[str, str], port: int) -> dict[str, str]:
    """What the servers are started with."""
    return os.environ | base | {"PORT": str(port), "WEB_CONCURRENCY": "2", "LOG_LEVEL": "ERROR"}
