"""Writers of one SQLite file, which has room for one at a time: they queue instead of jostling."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from connector.storage.group_commit import WaitTimeout

POLL_INTERVAL = 0.001  # seconds between two looks at a lock another process holds
YIELD_FACTOR = 3  # times as long as it wrote does a writer that comes behind pause, if others had to wait for it
MAX_YIELD = 0.25  # seconds; it writes now and then all the same
_BEHIND = Lock()
_not_before = 0.0


@contextmanager
def exclusive_writer(path: str, patience: float, behind: bool = False) -> Iterator[None]:
    """Hold the lock file at `path`: one writer at a time among all processes and threads. Raises WaitTimeout.

    SQLite's own waiting sleeps up to 100 ms between tries, and whoever sleeps longest is overtaken again and again.
    Whoever comes `behind`, as a relay does, leaves webhooks most of the time: see GIVE_WAY.
    """
    deadline = time.monotonic() + patience
    with _opened(path) as lock, _opened(f"{path}.wanted") as wanted:
        if behind:
            with _behind(lock, wanted, deadline):
                yield
            return
        _take(lock, deadline, seen=wanted)
        yield


@contextmanager
def _behind(lock: int, wanted: int, deadline: float) -> Iterator[None]:
    """One of this process's threads at a time, and not too soon after the last that made others wait."""
    global _not_before  # noqa: PLW0603 # there is one file that a process writes to, and one lock around this
    if not _BEHIND.acquire(timeout=max(0.0, deadline - time.monotonic())):
        raise WaitTimeout
    try:
        time.sleep(max(0.0, min(_not_before, deadline) - time.monotonic()))
        _take(lock, deadline)
        begun = time.monotonic()
        yield
        if not _takes(wanted, fcntl.LOCK_EX):
            ended = time.monotonic()
            _not_before = ended + min(YIELD_FACTOR * (ended - begun), MAX_YIELD)
    finally:
        _BEHIND.release()


@contextmanager
def _opened(path: str) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)  # gives its lock back, also when the process is killed


def _take(lock: int, deadline: float, seen: int | None = None) -> None:
    while not _takes(lock, fcntl.LOCK_EX):
        if time.monotonic() >= deadline:
            raise WaitTimeout
        if seen is not None:
            _takes(seen, fcntl.LOCK_SH)  # again and again: not while one who came behind looks whether anybody waits
        time.sleep(POLL_INTERVAL)
    if seen is not None:
        fcntl.flock(seen, fcntl.LOCK_UN)


def _takes(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
