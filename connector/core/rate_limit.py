"""Token buckets by key: a burst of permits, refilled steadily."""

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

# Requests per second and access token. TikTok allows 1,000, and several relays may share a token without coordination.
PER_SECOND = 50.0
BURST = 50.0
REMEMBERED = 10_000  # keys, some 2 MB; a key that is forgotten has its full burst again


class TokenBuckets:
    """Buckets by key. `elapsed` gives seconds that never jump. Safe to share between threads."""

    def __init__(
        self,
        elapsed: Callable[[], float],
        per_second: float = PER_SECOND,
        burst: float = BURST,
        remembered: int = REMEMBERED,
    ) -> None:
        self._elapsed = elapsed
        self._per_second = per_second
        self._burst = burst
        self._remembered = remembered
        self._buckets: OrderedDict[str, tuple[float, float]] = (
            OrderedDict()
        )  # permits left (below zero: reserved), when
        self._lock = Lock()

    def __len__(self) -> int:
        """Return the number of keys that are remembered: those used last."""
        return len(self._buckets)

    def reserve(self, key: str) -> float:
        """Take a permit, if need be one of the future; return how many seconds to wait until it is valid."""
        now = self._elapsed()
        with self._lock:
            left = self._left(key, now) - 1
            self._store(key, left, now)
        return max(0.0, -left / self._per_second)

    def allow(self, key: str) -> bool:
        """Take a permit if there is one; return whether there was."""
        now = self._elapsed()
        with self._lock:
            left = self._left(key, now)
            allowed = left >= 1
            self._store(key, left - 1 if allowed else left, now)
        return allowed

    def _left(self, key: str, now: float) -> float:
        left, at = self._buckets.pop(key, (self._burst, now))
        return min(left + (now - at) * self._per_second, self._burst)

    def _store(self, key: str, left: float, now: float) -> None:
        self._buckets[key] = (left, now)
        if len(self._buckets) > self._remembered:
            self._buckets.popitem(last=False)
