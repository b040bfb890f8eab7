"""Writers that yield to others, on both databases."""

import threading

import pytest
from sqlalchemy import Engine, select

from connector.storage import database as module
from connector.storage.database import MAX_YIELD, YIELD_FACTOR, Database
from connector.storage.tables import relays
from tests.support.outbox_rows import rows

LONG = 30.0


class Clock:
    """Replaces the module `time`; `slept` holds the pauses in seconds."""

    def __init__(self):
        self.now, self.slept = 1000.0, []

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def write(database, clock, seconds=0.0, name="relay-1"):
    """Write a row in a transaction that takes so many seconds."""
    with database.write() as connection:
        connection.execute(database.insert(relays).values(name=name, seen_at=1.0))
        clock.now += seconds


def test_a_writer_with_nobody_to_yield_to_does_not_pause(engine, clock):
    """A relay alone is as fast as it can be, and intake never pauses."""
    write(Database(engine), clock, 1.0, "web")
    write(Database(engine, yields_to=lambda _: False), clock, 1.0)
    assert clock.slept == []


def test_a_transaction_that_may_not_yield_does_not_pause(engine, clock):
    """Nor does it ask."""
    database = Database(engine, yields_to=lambda _: pytest.fail("asked"))
    with database.write(may_yield=False):
        clock.now += 1.0
    assert clock.slept == []


@pytest.mark.parametrize(("wrote", "pause"), [(0.02, 0.02 * YIELD_FACTOR), (1.0, MAX_YIELD)])
def test_a_writer_that_yields_pauses_in_proportion_to_its_writing(engine, clock, wrote, pause):
    """Up to a limit, because events must go out, too."""
    write(Database(engine, yields_to=lambda _: True), clock, wrote)
    assert clock.slept == [pytest.approx(pause)]


def test_a_pause_comes_after_the_commit_and_locks_nothing(engine, clock, monkeypatch):
    """Otherwise it would hold up those for whom it is made."""
    seen = []

    def sleep(_seconds):
        monkeypatch.setattr(clock, "sleep", seen.append)
        write(Database(engine), clock, name="web")
        seen.append(sorted(row.name for row in rows(engine, relays)))

    monkeypatch.setattr(clock, "sleep", sleep)
    write(Database(engine, yields_to=lambda _: True), clock, 1.0)
    assert seen == [["relay-1", "web"]]


def test_the_question_is_asked_in_the_transaction(engine: Engine, clock):
    """It costs no connection of its own, and a failed transaction asks and pauses for nothing."""
    seen = []

    def asked(connection):
        seen.append(connection.execute(select(relays.c.name)).scalar())
        return True

    write(Database(engine, yields_to=asked), clock)
    with pytest.raises(LookupError), Database(engine, yields_to=asked).write():
        raise LookupError
    assert seen == ["relay-1"]
    assert len(clock.slept) == 1


def test_threads_pause_one_after_another(engine, clock, monkeypatch):
    """Otherwise many of them, each with its pause, would together write all the time."""
    pausing, overlaps, go = [], [], threading.Event()

    def sleep(_seconds):
        overlaps.extend(pausing)
        pausing.append("one")
        go.wait(LONG)
        pausing.pop()

    monkeypatch.setattr(clock, "sleep", sleep)
    database = Database(engine, yields_to=lambda _: True)
    names = [f"relay-{number}" for number in range(3)]
    threads = [threading.Thread(target=write, args=(database, clock, 0.1, name)) for name in names]
    for thread in threads:
        thread.start()
    while len(rows(engine, relays)) < len(names):  # all have committed, and pause or wait for their pause
        assert all(thread.is_alive() for thread in threads)
    go.set()
    for thread in threads:
        thread.join(LONG)
    assert overlaps == []


def test_a_thread_whose_turn_to_pause_does_not_come_goes_on(engine, clock, monkeypatch):
    """A process with many threads must end in time."""
    monkeypatch.setattr(module, "MAX_TURN", 0.01)
    pausing, go = threading.Event(), threading.Event()

    def sleep(_seconds):
        pausing.set()
        go.wait(LONG)

    monkeypatch.setattr(clock, "sleep", sleep)
    database = Database(engine, yields_to=lambda _: True)
    first = threading.Thread(target=write, args=(database, clock, 0.1))
    first.start()
    assert pausing.wait(LONG)
    write(database, clock, 0.1, "relay-2")  # returns although the first one still pauses
    assert first.is_alive()
    go.set()
    first.join(LONG)
