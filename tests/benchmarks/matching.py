"""The memory of clicks: what it gains and never does, by simulated shoppers, and what it costs intake.

The simulation checks every event against a model. The cost is measured as rates in turn, with and without the setting,
of orders of which each brings keys or looks for some.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from connector.storage.database import Database
from connector.storage.engine import connect, migrate
from tests.benchmarks.intake import SCRIPT, WEB, load_it, prepare, server
from tests.support.click_simulation import DAYS, Simulation

SHOPPERS = 100_000
TURNS = 4
SECONDS = 3
REMEMBERING = '\n[defaults.matching]\nremember_clicks = "28d"\n'


def run(
    environment: dict[str, str],
    simulated: str,
    databases: dict[str, tuple[str, str]],
    folder: Path,
    say: Callable[[str], None],
    parts: Sequence[str] = ("simulation", "intake"),
) -> None:
    """Print the coverage of `ttclid` with and without memory, and the rate of intake with memory as a ratio.

    `simulated` is an empty database; of each of the `databases` there are two, for intake without and with memory.
    """
    say(f"\nMatching: {SHOPPERS:,} simulated shoppers in {DAYS} days, each event compared with a model")
    if "simulation" in parts:
        _simulate(simulated, say)
    for name, urls in databases.items() if "intake" in parts else ():
        ratios, rates = _measure(environment, urls, folder)
        rate, ratio = statistics.median(rates), statistics.median(ratios)
        between = f"{min(ratios):.2f} to {max(ratios):.2f}"
        say(f"  {name:11} {rate:6.0f}/s with memory, ratio {ratio:.2f} ({between}) to the rate without")


def _measure(environment: dict[str, str], urls: tuple[str, str], folder: Path) -> tuple[list[float], list[float]]:
    """The ratios of the rates with memory to those without, and the rates with it; the same orders for both."""
    script, requests = folder / "load.lua", folder / "orders.bin"
    script.write_text(SCRIPT)
    for url in urls:
        engine = connect(url)
        migrate(engine)
        engine.dispose()
    ratios, rates = [], []
    for turn in range(TURNS):
        prepare(requests, environment, turn + 1000)
        settings = [*zip(("", REMEMBERING), urls, strict=True)]
        measured = {}
        for setting, url in settings if turn % 2 else reversed(settings):
            with server(WEB, environment | {"DATABASE_URL": url, "STORES_TOML": environment["STORES_TOML"] + setting}):
                measured[setting], _, _ = load_it(script, requests, environment["PORT"], SECONDS)
        rates.append(measured[REMEMBERING])
        ratios.append(measured[REMEMBERING] / measured[""])
    return ratios, rates


def _simulate(url: str, say: Callable[[str], None]) -> None:
    engine = connect(url)
    migrate(engine)
    begun = time.perf_counter()
    simulation = Simulation(Database(engine), SHOPPERS)
    simulation.run()
    engine.dispose()
    counts, seconds = simulation.counts, time.perf_counter() - begun
    own, with_memory = (
        counts[name] / counts["order events"] for name in ("with a click id of their own", "with a click id")
    )
    say(
        f"  {counts['webhooks']:,} webhooks, {counts['refusals']:,} refusals, {counts['erasures']:,} erasures in "
        f"{seconds:.0f} s; no key crossed persons, pixels, its time, a refusal or an erasure"
    )
    say(f"  ttclid in {own:.1%} of {counts['order events']:,} order events without memory, {with_memory:.1%} with it")
