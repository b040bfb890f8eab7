"""Many threads' writes in few transactions, and processes that queue for SQLite instead of jostling."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

AT_ONCE = 64  # items a transaction; more would keep others waiting
GLANCE = 0.001  # seconds between two looks at a lock another process holds


class TookTooLong(Exception):
    """The turn did not come within the patience given."""


@dataclass(eq=False, slots=True)
class _Wish(Generic[Item, Result]):
    item: Item
    done: bool = False
    result: Result | None = None
    error: Exception | None = None


class Gathering(Generic[Item, Result]):
    """Whoever comes first writes for all who have come since: one transaction, one sync of the disk.

    `write` stores the items it is given in one transaction and returns a result for each. If it fails and
    `fault_of_one` says that a single item may be to blame, each is tried alone, so that one costs no other.
    """

    def __init__(
        self,
        write: Callable[[Sequence[Item]], Sequence[Result]],
        patience: float,
        fault_of_one: Callable[[Exception], bool],
    ) -> None:
        self._write = write
        self._patience = patience
        self._fault_of_one = fault_of_one
        self._waiting: list[_Wish[Item, Result]] = []
        self._listing = Lock()
        self._leading = Lock()
        self._failures = 0

    def add(self, item: Item) -> Result:
        """Store an item; returns when it is committed. Raises what `write` raised for it, or TookTooLong."""
        wish: _Wish[Item, Result] = _Wish(item)
        failures = self._failures
        with self._listing:
            self._waiting.append(wish)
        if not self._leading.acquire(timeout=self._patience):
            with self._listing:
                if wish in self._waiting:
                    self._waiting.remove(wish)
                    raise TookTooLong
            # Somebody is writing it this moment: wait for the outcome, which comes within the database's own patience.
            self._leading.acquire()
        try:
            while not wish.done:
                if self._failures != failures:
                    # The database failed somebody else while this one waited; asking again would double the wait.
                    with self._listing:
                        self._waiting.remove(wish)
                    raise TookTooLong
                self._lead()
        finally:
            self._leading.release()
        if wish.error is not None:
            raise wish.error
        return wish.result  # type: ignore[return-value] # set together with done

    def _lead(self) -> None:
        with self._listing:
            group, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
        error = self._try(group)
        if error is None:
            return
        if not self._fault_of_one(error):
            self._failures += 1
            return
        for wish in group:
            self._try([wish])

    def _try(self, group: list[_Wish[Item, Result]]) -> Exception | None:
        for wish in group:
            wish.done = True
        try:
            results = self._write([wish.item for wish in group])
        except Exception as error:  # handed to the threads it belongs to
            for wish in group:
                wish.error = error
            return error
        for wish, result in zip(group, results, strict=True):
            wish.result, wish.error = result, None
        return None


@contextmanager
def turn(path: str, patience: float) -> Iterator[None]:
    """Hold the lock file at `path`: one writer at a time among all processes and threads. Raises TookTooLong.

    SQLite's own waiting sleeps up to 100 ms between tries, and whoever sleeps longest is overtaken again and again.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise TookTooLong from None
                time.sleep(GLANCE)
        yield
    finally:
        os.close(descriptor)  # gives the lock back, also when the process is killed
