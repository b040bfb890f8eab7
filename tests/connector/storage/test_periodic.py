"""connector.storage.periodic: one loop for all work that is repeated."""

import logging
from threading import Event

import pytest

from connector.storage.database import CannotStore
from connector.storage.periodic import run_periodically


class Waits(Event):
    """An event that is set after so many waits, and remembers how long each was to last."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.waited: list[float | None] = []
        self._number = number

    def wait(self, timeout: float | None = None) -> bool:
        self.waited.append(timeout)
        if len(self.waited) > self._number:
            self.set()
        return self.is_set()


def test_the_first_pause_is_its_own() -> None:
    stop, done = Waits(3), []
    run_periodically(lambda: done.append(len(stop.waited)), stop, name="work", interval=10.0, first=2.0)
    assert done == [1, 2, 3]
    assert stop.waited == [2.0, 10.0, 10.0, 10.0]


def test_without_a_first_pause_the_interval_comes_first() -> None:
    stop = Waits(1)
    run_periodically(lambda: None, stop, name="work", interval=10.0)
    assert stop.waited == [10.0, 10.0]


def test_a_failure_is_logged_and_the_work_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    failures = iter([CannotStore("locked"), KeyError("x")])
    done = []

    def work() -> None:
        if failure := next(failures, None):
            raise failure
        done.append(True)

    with caplog.at_level(logging.WARNING):
        run_periodically(work, Waits(3), name="work", interval=1.0)
    assert [record.getMessage() for record in caplog.records] == [
        "work waits, the database does not answer: locked",
        "work failed",
    ]
    assert done == [True]


def test_the_lease_is_released_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[str] = []
    run_periodically(lambda: calls.append("work"), Waits(1), name="w", interval=1, release=lambda: calls.append("end"))
    assert calls == ["work", "end"]

    def away() -> None:
        raise CannotStore("locked")

    with caplog.at_level(logging.INFO):
        run_periodically(lambda: None, Waits(0), name="work", interval=1.0, release=away)
    assert "will expire: locked" in caplog.text
