"""Signed webhooks through gunicorn into a durable commit, against a bare Flask app under the same gunicorn settings.

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
from datetime import UTC, datetime
from pathlib import Path

import httpx
import sqlalchemy as sa

from connector.config.settings import load
from connector.plugin.testing.samples import fresh_journey
from connector.storage.engine import connect, migrate
from connector.storage.tables import events
from tests.support.platforms import PLATFORMS, SAMPLES

SECONDS = 5
AGAIN = 2  # seconds in which webhooks come once more that came before
ROUNDS = 3
CONNECTIONS = 32
PREPARED = 15_000
PORT = 18765

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
        ["Content-Type"] = "application/json", ["X-Shopify-Topic"] = "orders/create",
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


def prepare(path: Path, environment: dict[str, str], seed: int) -> int:
    """Write signed orders for wrk's script; how many."""
    store, rng, now = load(environment).stores["acme"], random.Random(seed), datetime.now(UTC)
    samples, platform = SAMPLES["shopify"], PLATFORMS["shopify"]
    with path.open("wb") as file:
        for _ in range(PREPARED):
            body = samples.encode(samples.sample("orders/create", fresh_journey(store, now, rng), store))
            signature = platform.signed_headers(body, store.webhook_secrets[0])["X-Shopify-Hmac-Sha256"].encode()
            file.write(struct.pack("<B3x", len(signature)) + struct.pack("<I", len(body)) + signature + body)
        file.flush()
        os.fsync(file.fileno())  # now, not while commits are measured
    return PREPARED


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
        yield
    finally:
        child.send_signal(signal.SIGTERM)
        child.wait(40)


def load_it(script: Path, requests: Path, port: str, seconds: int = SECONDS) -> tuple[float, float, float]:
    """Requests per second, p99 and slowest in milliseconds. Ends everything on any answer but 200."""
    command = ["wrk", "-t2", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(script), f"http://127.0.0.1:{port}"]
    told = subprocess.run([*command, "--", str(requests)], capture_output=True, text=True, check=True).stdout
    found = re.search(r"RESULT (\d+) (\d+) ([\d.]+) ([\d.]+) (\d+)", told)
    if not found or found[5] != "0":
        raise SystemExit(f"wrk saw answers other than 200:\n{told}")
    return int(found[1]) / (int(found[2]) / 1e6), float(found[3]), float(found[4])


def run(environment: dict[str, str], databases: dict[str, str], folder: Path, say: Callable[[str], None]) -> None:
    """Print the rates of baseline and connector on each database, interleaved, and the medians of their ratio."""
    if not shutil.which("wrk"):
        say("\nIntake: left out, for there is no wrk (apt-get install wrk)")
        return
    say(f"\nIntake: orders/create through gunicorn, {CONNECTIONS} connections; baseline: Flask reads the body")
    (folder / "bare.py").write_text(BARE)
    (folder / "load.lua").write_text(SCRIPT)
    settings = folder / "gunicorn.conf.py"
    settings.write_text(
        "import os\nfrom connector.config.settings import load\n"
        "from connector.server.web_process import gunicorn_settings\n"
        "globals().update(gunicorn_settings(load(os.environ)))\n"
        "worker_class, threads = 'gthread', 16\n"
    )
    bare = [sys.executable, "-m", "gunicorn", "-c", str(settings), "--pythonpath", str(folder), "bare:app"]
    web = [sys.executable, "-m", "connector", "web"]
    for name, url in databases.items():
        rates, tails, slowest, ratios, repeated = [], [], [], [], []
        engine = connect(url)
        migrate(engine)
        for turn in range(ROUNDS):
            requests = folder / f"{name}-{turn}.bin"
            prepare(requests, environment, turn)
            with server(bare, environment):
                base, _, _ = load_it(folder / "load.lua", requests, environment["PORT"])
            before = _stored(engine)
            with server(web, environment | {"DATABASE_URL": url}):
                rate, tail, slow = load_it(folder / "load.lua", requests, environment["PORT"])
                stored = _stored(engine) - before
                again, _, _ = load_it(folder / "load.lua", requests, environment["PORT"], AGAIN)
            requests.unlink()
            if stored < min(rate * SECONDS, PREPARED) * 0.95:
                raise SystemExit(f"{stored} events were stored of {rate * SECONDS:.0f} that were answered 200")
            if (more := _stored(engine) - before - stored) > CONNECTIONS:  # those under way when wrk stopped counting
                raise SystemExit(f"{more} events were stored of webhooks that had come before")
            rates.append(rate)
            tails.append(tail)
            slowest.append(slow)
            ratios.append(rate / base)
            repeated.append(again)
        engine.dispose()
        say(
            f"  {name:11} {statistics.median(rates):6.0f}/s  ratio {statistics.median(ratios):.2f}  "
            f"p99 {statistics.median(tails):.0f} ms  slowest {max(slowest):.0f} ms; "
            f"{statistics.median(repeated):.0f}/s of those that bring nothing new"
        )


def _stored(engine: sa.Engine) -> int:
    with engine.connect() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(events)).scalar_one()


def environment_of(base: dict[str, str], port: int) -> dict[str, str]:
    """What the servers are started with."""
    return os.environ | base | {"PORT": str(port), "WEB_CONCURRENCY": "2", "LOG_LEVEL": "ERROR"}
