"""`connector simulate`: posts sample webhooks, signed with the store's secret, to a running server."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import httpx

from connector.core.store import Store
from connector.setup.samples import webhooks

CONCURRENCY = 8


@dataclass
class Report:
    """The server's answers: their number by HTTP status (0: no answer), durations in milliseconds, the first error."""

    statuses: Counter[int] = field(default_factory=Counter)
    milliseconds: list[float] = field(default_factory=list)
    error: str = ""

    @property
    def good(self) -> bool:
        """True if every webhook was answered 200."""
        return set(self.statuses) <= {200}

    def failure(self, store: str, address: str) -> str:
        """Return why not every webhook was accepted, and what to do."""
        if set(self.statuses) == {0}:
            return f"no server answers at {address} ({self.error}): start `connector serve`, or name another with --url"
        if set(self.statuses) == {404} and address.endswith(f"/webhooks/{store}"):
            return (
                f"the server at {address} does not know this store: restart `connector serve`, or send it HUP, so that "
                "it reads the stores file again; or give the address of another with --url"
            )
        return f"not every webhook was accepted: {self.error}"


def simulate(
    store: Store, url: str, topics: Sequence[str], count: int, rng: random.Random, tick: Callable[[], None]
) -> Report:
    """Post the webhooks of `count` shoppers to `url`, CONCURRENCY at a time, and call `tick` after each.

    Raises httpx.HTTPError if the sandbox does not take what a shop's API is to answer.
    """
    report, lock = Report(), threading.Lock()
    with httpx.Client(timeout=30) as client, ThreadPoolExecutor(CONCURRENCY) as pool:

        def put(topic: str, body: bytes) -> None:
            if store.api and store.api.url:
                client.put(store.api.url, content=body, headers={"X-Topic": topic}).raise_for_status()

        def post(body: bytes, headers: dict[str, str]) -> None:
            started = time.perf_counter()
            try:
                answer = client.post(url, content=body, headers=headers)
                status, error = answer.status_code, answer.text[:200]
            except httpx.HTTPError as exception:
                status, error = 0, f"{type(exception).__name__}: {exception}"
            with lock:
                report.statuses[status] += 1
                report.milliseconds.append((time.perf_counter() - started) * 1000)
                if status != 200:
                    report.error = report.error or error
                tick()

        # Only a few webhooks are created ahead of sending, so that a large count needs no memory.
        slots = threading.Semaphore(CONCURRENCY * 2)
        for body, headers in webhooks(store, topics, count, rng, put):
            slots.acquire()
            pool.submit(post, body, headers).add_done_callback(lambda _done: slots.release())
    return report
