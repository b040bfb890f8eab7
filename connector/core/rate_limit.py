"""Token buckets by key: a burst of permits, refilled steadily."""

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

# Requests per second and access token. TikTok allows 1,000, and several relays may share a token without coordination.
PER_SECOND = 50.0
BURST = 50.0
REMEMBERED = 10_000  # keys, about 2 MB; a forgotten key starts again with a full burst


class RateLimiter:
    """Token buckets by key. `elapsed` returns monotonic seconds. Safe to share between threads."""

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
        # By key: permits left (negative: reserved), and the time of that count.
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        """Return the number of remembered keys, those used last."""
        return len(self._buckets)

    def reserve(self, key: str) -> float:
        """Take a permit, if necessary a future one; return the seconds to wait until it is valid."""
        now = self._elapsed()
        with self._lock:
            left = self._left(key, now) - 1
            self._store(key, left, now)
        return max(0.0, -left / self._per_second)

    def allow(self, key: str) -> bool:
        """Take a permit if one is left; return False otherwise."""
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
