"""A flowing lane beside a refused and a hanging one: how long its orders take, with real processes.

    python -m tests.faults.lanes [--seconds S] [--database sqlite|postgresql]

Prints the flowing lane's delay, from the webhook's answer to TikTok's, first alone and then beside the other two.
"""

import argparse
import json
import random
import statistics
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import httpx

from connector.setup.samples import webhooks
from tests.faults.machinery import Machinery, until


@dataclass(frozen=True)
class Delays:
    """Seconds from the webhook's answer until the sandbox had the event, of each order of the flowing lane."""

    alone: list[float]
    beside: list[float]
    waiting: dict[str, int]  # what the other two lanes still had to send meanwhile

    def __str__(self) -> str:
        found = (("alone", self.alone), ("beside a refused and a hanging one", self.beside))
        return "\n".join([*(_told(name, delays) for name, delays in found), f"meanwhile waiting: {self.waiting}"])


def _told(name: str, delays: list[float]) -> str:
    spread = [round(seconds * 1000) for seconds in sorted(delays)]
    return (
        f"flowing lane {name}: {len(spread)} orders, median {round(statistics.median(spread))} ms, "
        f"95 of 100 within {spread[int(len(spread) * 0.95)]} ms, slowest {spread[-1]} ms"
    )


def measure(kind: str, seconds: float) -> Delays:
    """Start everything, measure, end everything."""
    with tempfile.TemporaryDirectory(prefix="lanes-") as folder:
        machinery = Machinery(Path(folder), kind)
        try:
            machinery.start()
            alone = _orders(machinery, seconds, seed=1)
            machinery.fault(kind="revoke", token="token-of-acme")
            machinery.fault(kind="hang", token="token-of-beans", seconds=3600, after=False)
            for name, topic in (("acme", "orders/create"), ("beans", "order.created")):
                store = machinery.config.stores[name]
                for body, headers in webhooks(store, [topic], 20, random.Random(name)):
                    _post(machinery, name, body, headers)
            beside = _orders(machinery, seconds, seed=2)
            until(lambda: "clogs" not in _waiting(machinery), "the last order of the flowing lane is settled")
            waiting = _waiting(machinery)
            machinery.heal()
            until(lambda: not machinery.queries().waiting(), "the others flow again")
        finally:
            machinery.close()
    return Delays(alone, beside, waiting)


def _waiting(machinery: Machinery) -> dict[str, int]:
    return {lane.store: number for lane, number in machinery.queries().waiting().items()}


def _orders(machinery: Machinery, seconds: float, seed: int) -> list[float]:
    store = machinery.config.stores["clogs"]
    answered: dict[str, float] = {}
    pause, until_then = threading.Event(), time.monotonic() + seconds
    for body, headers in webhooks(store, ["orders/create"], 100_000, random.Random(seed)):
        if time.monotonic() > until_then:
            break
        _post(machinery, "clogs", body, headers)
        answered[f"clogs-order-{json.loads(body)['id']}"] = time.time()
        pause.wait(0.05)

    def arrived() -> dict[str, float]:
        found = ((receipt["item"]["event_id"], receipt["accepted_at"]) for receipt in machinery.received())
        return {event_id: at for event_id, at in found if event_id in answered}

    until(lambda: len(arrived()) == len(answered), "every order of the flowing lane arrives")
    return [max(0.0, at - answered[event_id]) for event_id, at in arrived().items()]


def _post(machinery: Machinery, name: str, body: bytes, headers: dict[str, str]) -> None:
    httpx.post(f"{machinery.url}/webhooks/{name}", content=body, headers=headers, timeout=15).raise_for_status()


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    words = parser.parse_args()
    print(measure(words.database, words.seconds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
