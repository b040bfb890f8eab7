"""How fast one token may be used: a bucket of permits per token, refilled steadily."""

from collections.abc import Callable
from threading import Lock

PER_SECOND = (
    50.0  # requests a token; TikTok allows 1,000, and several relays may share a token without asking each other
)
BURST = 50.0


class TokenBuckets:
    """Buckets of permits by key. `elapsed` gives seconds that never jump. Safe to share by threads."""

    def __init__(self, elapsed: Callable[[], float], per_second: float = PER_SECOND, burst: float = BURST) -> None:
        self._elapsed = elapsed
        self._per_second = per_second
        self._burst = burst
        self._buckets: dict[str, tuple[float, float]] = {}  # permits left (below zero: promised), as of when
        self._lock = Lock()

    def take(self, key: str) -> float:
        """Take one permit; how many seconds to wait until it is good."""
        with self._lock:
            now = self._elapsed()
            left, at = self._buckets.get(key, (self._burst, now))
            left = min(left + (now - at) * self._per_second, self._burst) - 1
            self._buckets[key] = (left, now)
        return max(0.0, -left / self._per_second)
