"""`connector simulate`: posts sample webhooks, signed with the store's secret, to a running server."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import urlsplit

import httpx

from connector.config.settings import Config
from connector.core.platform import Platform
from connector.core.registry import BrokenPlatform, installed_platforms, part
from connector.core.store import Store
from connector.plugin.testing.samples import SamplesModule, fresh_journey

TIKTOK = "tiktok.com"
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


class NoSamples(Exception):
    """A platform has no sample webhooks, so there is nothing to simulate."""


def samples_of(platform: Platform) -> SamplesModule:
    """Return the platform's samples. Raises NoSamples, also if they cannot be loaded."""
    try:
        samples = part(platform, lambda one: one.samples)
    except BrokenPlatform as error:
        raise NoSamples(str(error)) from None
    if samples is None:
        raise NoSamples(f"{platform.title} has no sample webhooks")
    return samples


def refusal(config: Config, store: Store, live_pixel: bool = False) -> str:
    """Return why simulating is refused, or "": invented orders must not count on a real pixel, unless `live_pixel`."""
    if not store.webhook_secrets:
        return (
            f"store {store.name} has no webhook_secrets, and only the shop can sign with its private key; set "
            "webhook_secrets and simulate again"
        )
    real = (urlsplit(config.events_api_url).hostname or "").endswith(TIKTOK)
    if live_pixel or not real or store.only_tests:
        return ""
    return (
        f"EVENTS_API_URL is TikTok's and store {store.name} has no test_event_code: invented orders would count. "
        "Set a test_event_code, point EVENTS_API_URL at `connector sandbox`, or override with --live-pixel"
    )


def webhooks(
    store: Store, topics: Sequence[str], count: int, rng: random.Random
) -> Iterator[tuple[bytes, dict[str, str]]]:
    """Yield signed bodies with their headers: for each of `count` shoppers one of each topic, in this order."""
    platform = installed_platforms()[store.platform]
    samples = samples_of(platform)
    for _ in range(count):
        journey = fresh_journey(store, datetime.now(UTC), rng)
        for topic in topics:
            body = samples.encode(samples.sample(topic, journey, store))
            signature = platform.signed_headers(body, store.signing_secret)
            yield body, samples.headers(topic, journey, store) | signature


def simulate(
    store: Store, url: str, topics: Sequence[str], count: int, rng: random.Random, tick: Callable[[], None]
) -> Report:
    """Post the webhooks of `count` shoppers to `url`, CONCURRENCY at a time, and call `tick` after each."""
    report, lock = Report(), threading.Lock()
    with httpx.Client(timeout=30) as client, ThreadPoolExecutor(CONCURRENCY) as pool:

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
        for body, headers in webhooks(store, topics, count, rng):
            slots.acquire()
            pool.submit(post, body, headers).add_done_callback(lambda _done: slots.release())
    return report
