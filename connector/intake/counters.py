"""Counts of webhooks of which nothing is stored: refused, ignored, duplicate."""

import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from threading import Lock, Timer

from connector.outbox.ledger import hour_of
from connector.outbox.outbox import Outbox
from connector.storage.database import CannotStore

WRITE_SECONDS = 1.0  # seconds between two writes
TOPICS_COUNTED = 100  # more than any platform has


def _start_timer(seconds: float, work: Callable[[], None]) -> None:
    timer = Timer(seconds, work)
    timer.daemon = True
    timer.start()


class OutcomeCounters:
    """Counts by store, topic, outcome and hour, gathered in memory and written at most once a second.

    A flood of refused requests thus costs the database next to nothing. Safe to share between threads.
    """

    def __init__(
        self,
        outbox: Outbox,
        clock: Callable[[], datetime],
        start_timer: Callable[[float, Callable[[], None]], None] = _start_timer,
    ) -> None:
        self._outbox = outbox
        self._clock = clock
        self._start_timer = start_timer
        self._lock = Lock()
        self._counts: Counter[tuple[str, str, str, int]] = Counter()
        self._written_at = 0.0
        self._timer_runs = False
        self._unknown_topics: set[str] = set()

    def add(self, store: str, topic: str, outcome: str) -> None:
        """Count one webhook. `store` is the platform's name if the store is unknown."""
        with self._lock:
            self._counts[store, topic, outcome, hour_of(self._clock())] += 1
            if time.monotonic() - self._written_at < WRITE_SECONDS:
                if not self._timer_runs:
                    self._timer_runs = True
                    self._start_timer(WRITE_SECONDS, self._write)
                return
        self._write()

    def bounded_topic(self, topic: str) -> str:
        """Return an unknown topic, or "(others)" after the first 100: anyone can invent topics."""
        if len(self._unknown_topics) < TOPICS_COUNTED:
            self._unknown_topics.add(topic)
        return topic if topic in self._unknown_topics else "(others)"

    def flush(self) -> None:
        """Write the counts since the last write, at the end of a process. Raises CannotStore."""
        if counts := self._take():
            self._outbox.count(counts)

    def _take(self) -> Counter[tuple[str, str, str, int]]:
        with self._lock:
            counts, self._counts = self._counts, Counter()
        return counts

    def _write(self) -> None:
        with self._lock:
            self._timer_runs = False
            self._written_at = time.monotonic()
        counts = self._take()
        try:
            if counts:
                self._outbox.count(counts)
        except CannotStore:
            with self._lock:
                self._counts.update(counts)
