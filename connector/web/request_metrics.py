"""What the web's processes count of their own requests, for Prometheus.

Several processes count in files of one folder, which is named by the environment before they are forked, for the
library decides once, when it is first imported, where it counts. Without the folder a process counts for itself.
https://prometheus.github.io/client_python/multiprocess/
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.multiprocess import MultiProcessCollector

from connector.core.store import Store
from connector.core.webhook import InvalidSignature, NotJson, Platform, Request
from connector.storage.database import CannotStore
from connector.web.metrics_folder import METRICS_FOLDER

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
OTHER = "other"  # a topic that nobody has heard of: whoever writes them must not make the numbers many
_FAILED: dict[type[Exception], str] = {InvalidSignature: "refused", NotJson: "unreadable", CannotStore: "cannot store"}


class InFlight:
    """One webhook's way under the clock; `outcome` is set when it is known."""

    __slots__ = ("outcome",)

    def __init__(self) -> None:
        self.outcome = ""


class RequestMetrics:
    """The numbers of the webhooks that came in. `elapsed` gives seconds that never jump."""

    def __init__(self, platforms: Mapping[str, Platform], elapsed: Callable[[], float] = time.perf_counter) -> None:
        self._platforms = platforms
        self._elapsed = elapsed
        self._own = CollectorRegistry()
        self._received = Counter(
            "connector_webhooks_received",
            "Webhooks by what became of them: relayed, skipped, recorded, parked, ignored, nothing new, handshake, "
            "refused (a wrong signature), unreadable, cannot store, failed.",
            ("store", "platform", "topic", "outcome"),
            registry=self._own,
        )
        self._seconds = Histogram(
            "connector_intake_seconds",
            "How long a webhook took, from its whole body to its answer.",
            buckets=SECONDS,
            registry=self._own,
        )
        self._bound: dict[tuple[str, str, str], Counter] = {}  # to find labels costs more than to count

    @contextmanager
    def counting(self, store: Store, request: Request) -> Iterator[InFlight]:
        """Around a webhook's way: counts and times it, whatever comes of it."""
        way, begun = InFlight(), self._elapsed()
        try:
            yield way
        except Exception as error:
            way.outcome = _FAILED.get(type(error), "failed")
            raise
        finally:
            self._seconds.observe(self._elapsed() - begun)
            self._counter(store, request, way.outcome).inc()

    def registry(self) -> CollectorRegistry:
        """To be read: what this process counted, or all of them together where they share a folder."""
        if METRICS_FOLDER not in os.environ:
            return self._own
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return registry

    def _counter(self, store: Store, request: Request, outcome: str) -> Counter:
        platform = self._platforms[store.platform]
        topic = platform.topic_of(request)
        if topic not in platform.TOPICS and topic not in platform.RECORDED:
            topic = OTHER
        key = (store.name, topic, outcome)
        if key not in self._bound:
            self._bound[key] = self._received.labels(store.name, store.platform, topic, outcome)
        return self._bound[key]
