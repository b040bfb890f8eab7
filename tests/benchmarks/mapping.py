"""Raw order bytes → verified, translated, mapped, hashed EAPI bytes, against the bare parse of the same bodies."""

import json
import random
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime

from connector.config.settings import Config
from connector.core.webhook import Request
from connector.intake.examine import examine
from connector.plugin.testing.samples import fresh_journey
from tests.support.platforms import PLATFORMS, SAMPLES

BODIES = 1500
ROUNDS = 5
TOPICS = {"shopify": "orders/paid", "woocommerce": "order.updated"}


def requests(config: Config, name: str, number: int = BODIES, seed: float = 1) -> list[Request]:
    """Signed orders of one store that are placed and paid, every one another shopper's."""
    store, rng, now = config.stores[name], random.Random(seed), datetime.now(UTC)
    samples, platform, topic = SAMPLES[store.platform], PLATFORMS[store.platform], TOPICS[store.platform]
    made = []
    for _ in range(number):
        journey = fresh_journey(store, now, rng)
        body = samples.encode(samples.sample(topic, journey, store))
        headers = samples.headers(topic, journey, store) | platform.signed_headers(body, store.webhook_secrets[0])
        made.append(Request({key.lower(): value for key, value in headers.items()}, body, now))
    return made


def run(config: Config, say: Callable[[str], None]) -> None:
    """Print bodies per second of both, and the median of their ratio, interleaved round by round."""
    say("\nMapping, one process: two events out of each order; baseline: json.loads of the same bytes")
    for name, store in config.stores.items():
        bodies, platform, now = requests(config, name), PLATFORMS[store.platform], datetime.now(UTC)

        def bare(bodies: list[Request] = bodies) -> int:
            return sum(2 for request in bodies if json.loads(request.body))

        def whole(bodies=bodies, platform=platform, store=store, now=now) -> int:
            return sum(
                len(examine(platform.receive(request, store), platform, store, now, None).events) for request in bodies
            )

        rates: dict[str, list[float]] = {"bare": [], "whole": []}
        for _ in range(ROUNDS):
            for label, work in (("bare", bare), ("whole", whole)):
                begun = time.perf_counter()
                made = work()
                rates[label].append(BODIES / (time.perf_counter() - begun))
                if made != 2 * BODIES:
                    raise SystemExit(f"{label}: {made} events out of {BODIES} orders, not {2 * BODIES}")
        ratio = statistics.median(w / b for w, b in zip(rates["whole"], rates["bare"], strict=True))
        size = sum(len(request.body) for request in bodies) // len(bodies)
        say(
            f"  {store.platform:12} {size:6} bytes  bare {statistics.median(rates['bare']):7.0f}/s  "
            f"whole {statistics.median(rates['whole']):6.0f}/s  ratio {ratio:.2f}"
        )
