"""Many threads' writes in few transactions."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Condition, Lock
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

MAX_BATCH = 64  # items a transaction; more would keep others waiting
MAX_LINGER = 0.01  # seconds that a transaction waits at most for items that are under way


class WaitTimeout(Exception):
    """The turn did not come within the patience given."""


@dataclass(eq=False, slots=True)
class _Pending(Generic[Item, Result]):
    item: Item
    leads: bool = False  # its thread is the one to write, for itself and whoever waits
    result: Result | None = None
    error: Exception | None = field(default_factory=WaitTimeout)  # until it is known to be stored
    gate: Lock = field(default_factory=Lock)  # its thread waits here, and is woken once: written, or to lead


class GroupCommit(Generic[Item, Result]):
    """Whoever comes first writes for all who have come since: one transaction, one sync of the disk.

    `write` stores the items it is given in one transaction and returns a result for each. If it fails and
    `fault_of_one` says that a single item may be to blame, each is tried alone, so that one costs no other.
    """

    def __init__(
        self,
        write: Callable[[Sequence[Item]], Sequence[Result]],
        patience: float,
        caused_by_one_row: Callable[[Exception], bool],
        linger: float = MAX_LINGER,
    ) -> None:
        self._write = write
        self._linger = linger
        self._patience = patience
        self._caused_by_one_row = caused_by_one_row
        self._waiting: list[_Pending[Item, Result]] = []
        self._under_way = 0
        self._writing = False
        self._lock = Lock()
        self._here = Condition(self._lock)  # all that were under way

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """Around what leads to `add` in a little while, or to nothing: a transaction about to begin waits for it.

        A transaction costs as much as ten items do, so threads that keep each other waiting for the processor write
        together rather than one after the other. Who is alone waits for nobody.
        """
        with self._lock:
            self._under_way += 1
        try:
            yield
        finally:
            with self._lock:
                self._under_way -= 1
                self._tell()

    def add(self, item: Item) -> Result:
        """Store an item; returns when it is committed. Raises what `write` raised for it, or TookTooLong."""
        wish: _Pending[Item, Result] = _Pending(item)
        wish.gate.acquire()
        with self._lock:
            self._waiting.append(wish)
            wish.leads, self._writing = not self._writing, True
            self._tell()
        if not wish.leads and not wish.gate.acquire(timeout=self._patience):
            self._give_up(wish)
        if wish.leads:
            self._lead()
        if wish.error is not None:
            raise wish.error
        return wish.result  # type: ignore[return-value] # set whenever there is no error

    def _give_up(self, wish: _Pending[Item, Result]) -> None:
        """The turn has not come in time. Once it has, the outcome comes within the database's own patience."""
        with self._lock:
            if wish in self._waiting and not wish.leads:
                self._waiting.remove(wish)
                raise WaitTimeout
        wish.gate.acquire()

    def _lead(self) -> None:
        """Write for all who wait, this thread's wish among them, and pass the lead on."""
        group: list[_Pending[Item, Result]] = []
        failed = True
        try:
            with self._lock:
                self._here.wait_for(self._all_here, self._linger)
                group, self._waiting = self._waiting[:MAX_BATCH], self._waiting[MAX_BATCH:]
            error = self._try(group)
            failed = error is not None and not self._caused_by_one_row(error)
            for wish in group if error is not None and not failed else ():
                self._try([wish])
        finally:
            with self._lock:
                if failed:
                    # The database failed others while these waited; asking again would double their wait.
                    group, self._waiting = group + self._waiting, []
                next_one = self._waiting[:1]
                self._writing = bool(next_one)
                for wish in next_one:
                    wish.leads = True
            # Each waits at a gate of its own, so nobody wakes for what only others have got.
            for wish in next_one + group:
                wish.gate.release()

    def _all_here(self) -> bool:
        return len(self._waiting) >= min(self._under_way, MAX_BATCH)

    def _tell(self) -> None:
        if self._all_here():
            self._here.notify()

    def _try(self, group: list[_Pending[Item, Result]]) -> Exception | None:
        try:
            results = self._write([wish.item for wish in group])
        except Exception as error:  # handed to the threads it belongs to
            for wish in group:
                wish.error = error
            return error
        for wish, result in zip(group, results, strict=True):
            wish.result, wish.error = result, None
        return None
