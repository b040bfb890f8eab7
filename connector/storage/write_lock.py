"""The write lock of a SQLite file: writers queue for it, instead of polling SQLite's own lock.

SQLite allows one writer at a time. Its busy waiting sleeps up to 100 ms between tries, and later writers overtake the
one that sleeps longest: with 32 connections some webhooks were answered 503, and none with this lock.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from threading import Lock

POLL_INTERVAL = 0.001  # seconds between two tries of a lock that another process holds
YIELD_FACTOR = 3  # a low-priority writer that made others wait pauses this many times as long as it wrote
MAX_YIELD = 0.25  # seconds; the longest such pause
_LOW_PRIORITY = Lock()  # one low-priority writer of a process at a time, with its pause


class WaitTimeout(Exception):
    """The lock was not obtained within the time-out."""

    def __str__(self) -> str:
        """Return the message, the same everywhere."""
        return "other writers held the lock for too long"


@contextmanager
def exclusive_writer(path: str, timeout: float, low_priority: bool = False) -> Iterator[None]:
    """Hold the lock file at `path`: one writer at a time among all processes and threads. Raises WaitTimeout.

    A `low_priority` writer, such as the relay, leaves the lock to webhooks most of the time. While the relay sent 7,400
    events a second, intake kept 0.58 of its rate without a relay; with equal priority, 0.28.
    """
    deadline = time.monotonic() + timeout
    with _one_at_a_time(deadline) if low_priority else nullcontext(), _opened(f"{path}.wanted") as wanted:
        with _opened(path) as lock:
            _take(lock, deadline, wanted=None if low_priority else wanted)
            begun = time.monotonic()
            yield
        if low_priority and not _try_lock(wanted, fcntl.LOCK_EX):
            time.sleep(min(YIELD_FACTOR * (time.monotonic() - begun), MAX_YIELD))


@contextmanager
def _one_at_a_time(deadline: float) -> Iterator[None]:
    if not _LOW_PRIORITY.acquire(timeout=max(0.0, deadline - time.monotonic())):
        raise WaitTimeout
    try:
        yield
    finally:
        _LOW_PRIORITY.release()


@contextmanager
def _opened(path: str) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)  # releases its lock, as does a kill of the process


def _take(lock: int, deadline: float, wanted: int | None = None) -> None:
    """Wait for the lock; meanwhile hold a shared lock on `wanted`, which tells a low-priority writer to yield."""
    while not _try_lock(lock, fcntl.LOCK_EX):
        if time.monotonic() >= deadline:
            raise WaitTimeout
        if wanted is not None:
            _try_lock(wanted, fcntl.LOCK_SH)  # each time: it fails while a low-priority writer checks for waiters
        time.sleep(POLL_INTERVAL)
    if wanted is not None:
        fcntl.flock(wanted, fcntl.LOCK_UN)


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
