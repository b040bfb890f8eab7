"""Prometheus metrics of the webhook requests that the web processes answer.

Several processes share one folder of metric files. The environment names it before the workers are forked, because
prometheus_client reads the variable when it is first imported. Without a folder a process counts only for itself.
https://prometheus.github.io/client_python/multiprocess/
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.multiprocess import MultiProcessCollector

from connector.core.platform import Platform
from connector.core.registry import BrokenPlatform
from connector.core.store import Store
from connector.core.webhook import InvalidSignature, NotJson, Request, UnknownKey
from connector.storage.database import CannotStore
from connector.web.metrics_variable import METRICS_FOLDER

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
OTHER = "other"  # for every unknown topic, so that arbitrary header values do not create time series
_OUTCOME_OF_ERROR: dict[type[Exception], str] = {
    InvalidSignature: "refused",
    NotJson: "unreadable",
    CannotStore: "unavailable",
    BrokenPlatform: "unavailable",
    UnknownKey: "unavailable",
}


class Measurement:
    """One webhook being measured; the caller sets `outcome` once it is known."""

    __slots__ = ("outcome",)

    def __init__(self) -> None:
        self.outcome = ""


class RequestMetrics:
    """Counts webhooks by outcome and measures how long each takes. `elapsed` returns seconds that never jump."""

    def __init__(self, platforms: Mapping[str, Platform], elapsed: Callable[[], float] = time.perf_counter) -> None:
        self._platforms = platforms
        self._elapsed = elapsed
        self._registry = CollectorRegistry()
        self._received = Counter(
            "connector_webhooks_received",
            "Webhooks by outcome: relayed, skipped, recorded, noted, parked, ignored, duplicate, handshake, refused "
            "(invalid signature), unreadable, unavailable (not stored: database, platform, public key), failed.",
            ("store", "platform", "topic", "outcome"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "connector_intake_seconds",
            "Seconds from the last byte of a webhook's body to its answer.",
            buckets=SECONDS,
            registry=self._registry,
        )
        self._bound: dict[tuple[str, str, str], Counter] = {}  # looking labels up costs more than counting

    @contextmanager
    def measure(self, store: Store, request: Request) -> Iterator[Measurement]:
        """Count and time one webhook, also if it raises."""
        measurement, start = Measurement(), self._elapsed()
        try:
            yield measurement
        except Exception as error:
            measurement.outcome = _OUTCOME_OF_ERROR.get(type(error), "failed")
            raise
        finally:
            self._seconds.observe(self._elapsed() - start)
            self._counter(store, request, measurement.outcome).inc()

    def registry(self) -> CollectorRegistry:
        """Return what this process counted, or the sum over all processes that share the folder."""
        if METRICS_FOLDER not in os.environ:
            return self._registry
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return registry

    def _counter(self, store: Store, request: Request, outcome: str) -> Counter:
        topic = self._topic(store.platform, request)
        key = (store.name, topic, outcome)
        if key not in self._bound:
            self._bound[key] = self._received.labels(store.name, store.platform, topic, outcome)
        return self._bound[key]

    def _topic(self, name: str, request: Request) -> str:
        try:
            platform = self._platforms[name]
        except BrokenPlatform:
            return OTHER
        try:
            topic = platform.topic_of(request)
        except Exception:  # of a package's own code; `receive` has failed on it, too
            return OTHER
        known = (platform.event_topics, platform.recorded_topics, platform.notice_topics, platform.book_topics)
        return topic if any(topic in topics for topics in known) else OTHER
