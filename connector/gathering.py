"""Many threads' writes in few transactions, and processes that queue for SQLite instead of jostling."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Condition, Lock
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

AT_ONCE = 64  # items a transaction; more would keep others waiting
LINGER = 0.01  # seconds that a transaction waits at most for items that are under way
GLANCE = 0.001  # seconds between two looks at a lock another process holds


class TookTooLong(Exception):
    """The turn did not come within the patience given."""


@dataclass(eq=False, slots=True)
class _Wish(Generic[Item, Result]):
    item: Item
    done: bool = False
    result: Result | None = None
    error: Exception | None = field(default_factory=TookTooLong)  # until it is known to be stored


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
        linger: float = LINGER,
    ) -> None:
        self._write = write
        self._linger = linger
        self._patience = patience
        self._fault_of_one = fault_of_one
        self._waiting: list[_Wish[Item, Result]] = []
        self._under_way = 0
        self._writing = False
        self._failures = 0
        lock = Lock()
        self._here = Condition(lock)  # all that were under way
        self._done = Condition(lock)  # a transaction

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """Around what leads to `add` in a little while, or to nothing: a transaction about to begin waits for it.

        A transaction costs as much as ten items do, so threads that keep each other waiting for the processor write
        together rather than one after the other. Who is alone waits for nobody.
        """
        with self._here:
            self._under_way += 1
        try:
            yield
        finally:
            with self._here:
                self._under_way -= 1
                self._tell()

    def add(self, item: Item) -> Result:
        """Store an item; returns when it is committed. Raises what `write` raised for it, or TookTooLong."""
        wish: _Wish[Item, Result] = _Wish(item)
        with self._here:
            self._waiting.append(wish)
            self._tell()
        while group := self._wait(wish):
            self._lead(group)
        if wish.error is not None:
            raise wish.error
        return wish.result  # type: ignore[return-value] # set together with done

    def _wait(self, wish: "_Wish[Item, Result]") -> list["_Wish[Item, Result]"]:
        """Until somebody has written it; or the group to write, if that is this thread's to do."""
        with self._done:
            failures, deadline = self._failures, time.monotonic() + self._patience
            while not wish.done:
                # Once taken, the outcome comes within the database's own patience.
                left = deadline - time.monotonic() if wish in self._waiting else None
                if left is not None and (left <= 0 or self._failures != failures):
                    # The database failed somebody else while this one waited; asking again would double the wait.
                    self._waiting.remove(wish)
                    raise TookTooLong
                if not self._writing:
                    self._writing = True
                    self._here.wait_for(self._all_here, self._linger)
                    group, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
                    return group
                self._done.wait(left)
        return []

    def _lead(self, group: list["_Wish[Item, Result]"]) -> None:
        failed = True
        try:
            error = self._try(group)
            failed = error is not None and not self._fault_of_one(error)
            for wish in group if error is not None and not failed else ():
                self._try([wish])
        finally:
            with self._done:
                for wish in group:
                    wish.done = True
                self._failures += failed
                self._writing = False
                self._done.notify_all()

    def _all_here(self) -> bool:
        return len(self._waiting) >= min(self._under_way, AT_ONCE)

    def _tell(self) -> None:
        if self._all_here():
            self._here.notify_all()

    def _try(self, group: list[_Wish[Item, Result]]) -> Exception | None:
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
