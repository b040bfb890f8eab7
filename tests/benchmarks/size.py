"""The memory of `connector serve` with two web workers and a relay, and how long `connector --help` takes."""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from connector.config.settings import Config
from connector.storage.engine import connect, migrate
from tests.benchmarks.mapping import requests
from tests.benchmarks.relay import SANDBOX, accepted, answers, running, wait_for
from tests.benchmarks.steady import post, serves, serving

STAGES = (10_000, 50_000)
AT_ONCE = 10_000  # webhooks made and posted at a time
HELP = 9


def pss(pid: int) -> int:
    """Bytes of a process and all its descendants, what they share counted once."""
    found = 0
    for child in Path(f"/proc/{pid}/task").glob("*/children"):
        found += sum(pss(int(number)) for number in child.read_text().split())
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return found + sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def run(config: Config, environment: dict[str, str], url: str, say: Callable[[str], None]) -> None:
    """Print the proportional set size (PSS) after each stage, when all events have gone out."""
    say("\nSize: `connector serve` with two web workers and a relay, SQLite")
    migrate(connect(url))
    settings = serving(environment) | {"DATABASE_URL": url}
    posted = 0
    with running("sandbox", settings, "--port", str(SANDBOX)), running("serve", settings) as served:
        wait_for(answers, 20, "the sandbox")
        wait_for(serves, 30, "the server")
        for number in STAGES:
            for _ in range(0, number, AT_ONCE):
                post(requests(config, "acme", AT_ONCE, seed=time.time()), rate=0)
                posted += AT_ONCE
                wait_for(lambda wanted=2 * posted: accepted() == wanted, 120, "the last events")
            say(f"  after {posted:6} webhooks, all events accepted: {pss(served.pid) / 1e6:.0f} MB PSS")
    times = []
    for _ in range(HELP):
        begun = time.monotonic()
        subprocess.run([sys.executable, "-m", "connector", "--help"], check=True, stdout=subprocess.DEVNULL)
        times.append(time.monotonic() - begun)
    say(f"  connector --help: median {statistics.median(times):.2f} s")
