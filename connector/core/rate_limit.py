"""Token buckets: a rate limit per key."""

from collections.abc import Callable
from threading import Lock

# Requests per second and access token. TikTok allows 1,000; several relays may share a token without coordination.
PER_SECOND = 50.0
BURST = 50.0


class TokenBuckets:
    """One bucket of permits per key. `elapsed` returns monotonic seconds. Safe to share by threads."""

    def __init__(self, elapsed: Callable[[], float], per_second: float = PER_SECOND, burst: float = BURST) -> None:
        self._elapsed = elapsed
        self._per_second = per_second
        self._burst = burst
        self._buckets: dict[str, tuple[float, float]] = {}  # permits left (below zero: promised), and when
        self._lock = Lock()

    def take(self, key: str) -> float:
        """Take one permit; the seconds to wait before using it."""
        with self._lock:
            now = self._elapsed()
            left, at = self._buckets.get(key, (self._burst, now))
            left = min(left + (now - at) * self._per_second, self._burst) - 1
            self._buckets[key] = (left, now)
        return max(0.0, -left / self._per_second)
