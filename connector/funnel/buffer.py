"""A buffer of browsers' events: gathered in memory, written in groups by a thread of its own, and only counted.

A webhook is answered after its commit; such an event is not: at most what arrived in the last moments is lost if a
process is killed, and the browser's own copy still reaches TikTok. What does not fit into the buffer is dropped, so a
flood fills neither memory nor database, and takes from the webhooks' writes no more than a group every WRITE_EVERY.
"""

import time
from collections import Counter, deque
from collections.abc import Callable
from threading import Lock

from connector.core.units import HOUR
from connector.funnel.queue import MAX_ROWS, FunnelEvent, FunnelQueue
from connector.monitoring.event_stats import add_counts
from connector.storage.database import CannotStore, Database

MAX_BUFFERED = 5000  # events, about 5 MB
WRITE_EVERY = 0.25  # seconds between two groups
COUNT_EVERY = 5.0  # seconds between two writes of counts without events: a flood that is refused costs no more

# What became of an event, in `tallies` under the name "funnel".
TAKEN, FULL, NO_CONSENT, INVALID = "taken", "buffer full", "no consent", "invalid"
PROGRAM, LIMITED, NO_TOKEN = "bot or prefetch", "rate limit", "no valid token"
STATISTIC = "funnel"


class FunnelBuffer:
    """Buffers events and counts until `flush` writes them. Safe to share between threads. Times are Unix seconds."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._queue = FunnelQueue(database)
        self._clock = clock
        self._lock = Lock()
        self._events: deque[FunnelEvent] = deque()
        self._counts: Counter[tuple[str, str, str]] = Counter()  # by store, milestone and outcome
        self._written_at = 0.0

    def __len__(self) -> int:
        """Return the number of events that are not written yet."""
        return len(self._events)

    def add(self, store: str, milestone: str, events: list[FunnelEvent]) -> None:
        """Buffer the items of one reported event."""
        with self._lock:
            fits = len(self._events) + len(events) <= MAX_BUFFERED
            if fits:
                self._events.extend(events)
            self._counts[store, milestone, TAKEN if fits else FULL] += 1

    def count(self, store: str, outcome: str, milestone: str = "", number: int = 1) -> None:
        """Count events of which nothing is stored."""
        with self._lock:
            self._counts[store, milestone, outcome] += number

    def flush(self) -> None:
        """Write a group of events, if there are any, and the counts.

        Raises CannotStore; all is kept for the next time then.
        """
        now = self._clock()
        if not self._events and 0 <= now - self._written_at < COUNT_EVERY:
            return
        self._written_at = now
        with self._lock:
            group = [self._events.popleft() for _ in range(min(MAX_ROWS, len(self._events)))]
            counts, self._counts = self._counts, Counter()
        if not group and not counts:
            return
        try:
            with self._database.write() as connection:
                self._queue.write(connection, group)
                add_counts(connection, int(now) // HOUR * HOUR, {_key(*key): number for key, number in counts.items()})
        except CannotStore:
            with self._lock:
                self._events.extendleft(reversed(group))
                self._counts.update(counts)
            raise

    def drain(self) -> None:
        """Write everything, at the end of a process. Raises CannotStore."""
        while self._events or self._counts:
            self._written_at = 0.0
            self.flush()


def _key(store: str, milestone: str, outcome: str) -> tuple[str, str, str, str, str]:
    return store, "", STATISTIC, milestone, outcome
