"""Counts of webhooks of which nothing is stored: refused, ignored, duplicate."""

from collections import Counter
from collections.abc import Callable
from datetime import datetime
from threading import Lock

from connector.outbox.ledger import hour_of
from connector.outbox.outbox import Outbox
from connector.storage.database import CannotStore

TOPICS_COUNTED = 100  # more than any platform has


class OutcomeCounters:
    """Counts by store, topic, outcome and hour in memory, until `flush` writes them.

    A flood of refused requests thus costs the database next to nothing. Safe to share between threads.
    """

    def __init__(self, outbox: Outbox, clock: Callable[[], datetime]) -> None:
        self._outbox = outbox
        self._clock = clock
        self._lock = Lock()
        self._counts: Counter[tuple[str, str, str, int]] = Counter()
        self._unknown_topics: set[str] = set()

    def add(self, store: str, topic: str, outcome: str) -> None:
        """Count one webhook. `store` is the platform's name if the store is unknown."""
        with self._lock:
            self._counts[store, topic, outcome, hour_of(self._clock())] += 1

    def bounded_topic(self, topic: str) -> str:
        """Return an unknown topic, or "(others)" after the first 100: anyone can invent topics."""
        if len(self._unknown_topics) < TOPICS_COUNTED:
            self._unknown_topics.add(topic)
        return topic if topic in self._unknown_topics else "(others)"

    def flush(self) -> None:
        """Write the counts since the last write. Raises CannotStore; they are kept for the next one then."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
        try:
            if counts:
                self._outbox.count(counts)
        except CannotStore:
            with self._lock:
                self._counts.update(counts)
            raise
