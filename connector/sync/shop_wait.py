"""A limit to the time that a command waits for a shop, and the lines that say that it waits."""

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

from connector.core.shop_api import ShopApiError
from connector.core.text import how_many

TICK = 0.25  # seconds between two looks
FIRST_LINE, MORE_LINES = 5.0, 15.0  # seconds of silence before the first line, and between later ones
SHORT = 2.0  # seconds; a shorter pause is not worth a line


class ShopWait:
    """Limits the silence of a shop to `limit` seconds within a `with` block: then ShopApiError is raised there.

    `say` is called with lines for the user. A request that hangs is interrupted by a timer's signal, which only the
    main thread of a process can have; in another thread only the pauses between attempts count.
    """

    def __init__(
        self, limit: float, say: Callable[[str], object], elapsed: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit = limit
        self._say = say
        self._elapsed = elapsed
        self._since = self._said_at = elapsed()
        self._over = False
        self._in_main_thread = threading.current_thread() is threading.main_thread()
        self._handler: Any = None

    def __enter__(self) -> "ShopWait":
        self._since = self._said_at = self._elapsed()
        if self._in_main_thread:
            self._handler = signal.signal(signal.SIGALRM, self._look)
            signal.setitimer(signal.ITIMER_REAL, TICK, TICK)
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self._in_main_thread:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, self._handler)

    def progress(self) -> None:
        """Restart the wait: the shop has answered."""
        if not self._over:
            self._since = self._said_at = self._elapsed()

    def pause(self, seconds: float) -> None:
        """Sleep before the next attempt, as a shop's client asks. Raises ShopApiError if that would be too long."""
        if self._over or self._elapsed() - self._since + seconds > self._limit:
            raise self._end()
        if seconds >= SHORT:
            self._said_at = self._elapsed() + seconds
            self._say(f"the shop is busy or does not answer; the next attempt is in {seconds:.0f} s")
        time.sleep(seconds)

    def _look(self, _number: int, _frame: FrameType | None) -> None:
        now = self._elapsed()
        silent = now - self._since
        if silent >= self._limit:
            raise self._end()
        pause = FIRST_LINE if self._said_at == self._since else MORE_LINES
        if now - self._said_at >= pause:
            self._said_at = now
            self._say(f"waiting for the shop's answer ({silent:.0f} s so far)")

    def _end(self) -> ShopApiError:
        self._over = True
        within = how_many(round(self._limit), "second")
        return ShopApiError(
            "unreachable",
            f"the shop gave no usable answer within {within}: see whether it opens in a browser, then try again, or "
            "wait longer with --wait 5m",
        )
