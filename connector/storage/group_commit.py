"""Group commit: many threads' writes in few transactions."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Condition, Lock
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

MAX_BATCH = 64  # items in a transaction; more would make others wait
MAX_LINGER = 0.01  # seconds that a transaction waits at most for expected items


class WaitTimeout(Exception):
    """A lock or a place in a group was not obtained within the time-out."""

    def __str__(self) -> str:
        """Return the message, the same everywhere."""
        return "other writers held the lock for too long"


@dataclass(eq=False, slots=True)
class _Pending(Generic[Item, Result]):
    """An item that waits to be written, and its result."""

    item: Item
    leads: bool = False  # its thread writes the next batch, including its own item
    result: Result | None = None
    error: Exception | None = field(default_factory=WaitTimeout)  # until the item is known to be stored
    wakeup: Lock = field(default_factory=Lock)  # its thread waits here and is woken once, when written or to lead


class GroupCommit(Generic[Item, Result]):
    """Group commit: the first thread in line writes the whole batch, in one transaction with one sync of the disk.

    `write` stores items in one transaction and returns a result for each. If it fails and `caused_by_one_row` says that
    one item can be the cause, each item is tried alone, so that one bad item fails no other.

    A transaction costs as much as ten items, so the batch size determines the rate. Without group commit, SQLite's busy
    waiting led to answers of 503 with 32 concurrent connections; with it, to none.
    """

    def __init__(
        self,
        write: Callable[[Sequence[Item]], Sequence[Result]],
        timeout: float,
        caused_by_one_row: Callable[[Exception], bool],
        linger: float = MAX_LINGER,
    ) -> None:
        self._write = write
        self._linger = linger
        self._timeout = timeout
        self._caused_by_one_row = caused_by_one_row
        self._waiting: list[_Pending[Item, Result]] = []
        self._expected = 0
        self._writing = False
        self._lock = Lock()
        self._complete = Condition(self._lock)  # notified when every expected item has arrived

    @property
    def waiting(self) -> int:
        """The number of items that wait for the next transaction."""
        return len(self._waiting)

    @property
    def writing(self) -> bool:
        """True if a thread leads: it is writing, or about to."""
        return self._writing

    @contextmanager
    def announce_write(self) -> Iterator[None]:
        """Announce that an item is coming: the next transaction lingers for it, `MAX_LINGER` seconds at most.

        Threads that compete for the processor thus write together, not one after the other. A single thread waits for
        no other. Waiting for 4 or 20 ms was no faster. The block may end without an item.
        """
        with self._lock:
            self._expected += 1
        try:
            yield
        finally:
            with self._lock:
                self._expected -= 1
                self._notify_if_complete()

    def add(self, item: Item) -> Result:
        """Store an item; return when it is committed. Raises what `write` raised for it, or WaitTimeout."""
        pending: _Pending[Item, Result] = _Pending(item)
        pending.wakeup.acquire()
        with self._lock:
            self._waiting.append(pending)
            pending.leads, self._writing = not self._writing, True
            self._notify_if_complete()
        if not pending.leads and not pending.wakeup.acquire(timeout=self._timeout):
            self._withdraw(pending)
        if pending.leads:
            self._lead()
        if pending.error is not None:
            raise pending.error
        return pending.result  # type: ignore[return-value] # set whenever there is no error

    def _withdraw(self, pending: _Pending[Item, Result]) -> None:
        """Give up, unless the item is being written: then the result arrives within the database's own time-out."""
        with self._lock:
            if pending in self._waiting and not pending.leads:
                self._waiting.remove(pending)
                raise WaitTimeout
        pending.wakeup.acquire()

    def _lead(self) -> None:
        """Write a batch that includes this thread's item, and pass the lead on."""
        batch: list[_Pending[Item, Result]] = []
        failed = True
        try:
            with self._lock:
                self._complete.wait_for(self._is_complete, self._linger)
                batch, self._waiting = self._waiting[:MAX_BATCH], self._waiting[MAX_BATCH:]
            error = self._try(batch)
            failed = error is not None and not self._caused_by_one_row(error)
            for pending in batch if error is not None and not failed else ():
                self._try([pending])
        finally:
            with self._lock:
                if failed:
                    # The database failed while these waited; another try would double their wait.
                    batch, self._waiting = batch + self._waiting, []
                next_leader = self._waiting[:1]
                self._writing = bool(next_leader)
                for pending in next_leader:
                    pending.leads = True
            # Each thread has its own wakeup and never wakes for another's result: 14 context switches a webhook
            # instead of 17 with one shared condition.
            for pending in next_leader + batch:
                pending.wakeup.release()

    def _is_complete(self) -> bool:
        return len(self._waiting) >= min(self._expected, MAX_BATCH)

    def _notify_if_complete(self) -> None:
        if self._is_complete():
            self._complete.notify()

    def _try(self, batch: list[_Pending[Item, Result]]) -> Exception | None:
        try:
            results = self._write([pending.item for pending in batch])
        except Exception as error:  # handed to the threads it belongs to
            for pending in batch:
                pending.error = error
            return error
        for pending, result in zip(batch, results, strict=True):
            pending.result, pending.error = result, None
        return None
