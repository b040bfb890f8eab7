"""One writer at a time among processes and threads, and who goes first."""

import fcntl
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest
from click.testing import CliRunner

from connector.cli.main import main
from connector.outbox.outbox import Outbox
from connector.storage import write_lock
from connector.storage.database import Database
from connector.storage.engine import connect, migrate
from connector.storage.write_lock import MAX_YIELD, YIELD_FACTOR, WaitTimeout, exclusive_writer

LONG = 30.0
STORES = """
[stores.acme]
platform = "shopify"
url = "https://acme.example"
shop = "acme.myshopify.com"
webhook_secrets = "whsec-writers-test"
access_token = "token-writers-test"
consent = "not_required"
pixel = "CACME000000000000000"
"""


HOLDER = """
import sys
from connector.storage.write_lock import exclusive_writer
with exclusive_writer(sys.argv[1], 30):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.processes
def test_a_turn_excludes_other_processes_and_ends_with_its_holder(tmp_path):
    """Also when the holder is killed."""
    path = str(tmp_path / "queue")
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(WaitTimeout), exclusive_writer(path, 0.02):
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait(LONG)
    with exclusive_writer(path, LONG):
        pass


def test_a_turn_excludes_other_threads(tmp_path):
    """Each turn opens the file anew, so threads of one process queue like processes."""
    path = str(tmp_path / "queue")
    with exclusive_writer(path, LONG), pytest.raises(WaitTimeout), exclusive_writer(path, 0.02):
        pass


class Clock:
    """In place of the module `time`: who sleeps is at once where they wanted to be."""

    def __init__(self):
        self.now, self.slept = 1000.0, []

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds
        self.slept.append(round(seconds, 6))


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(write_lock, "time", clock)
    return clock


@contextmanager
def somebody_waiting(path):
    """As a webhook does whose turn has not come."""
    with open(f"{path}.wanted", "w") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield


def test_who_comes_behind_and_keeps_nobody_waiting_need_not_wait(tmp_path, clock):
    """A relay alone is as fast as it can be."""
    for _ in range(3):
        with exclusive_writer(str(tmp_path / "queue"), LONG, low_priority=True):
            clock.now += 0.02
    assert clock.slept == []


@pytest.mark.parametrize(("wrote", "pause"), [(0.02, 0.02 * YIELD_FACTOR), (1.0, MAX_YIELD)])
def test_who_comes_behind_pauses_after_having_kept_others_waiting(tmp_path, clock, wrote, pause):
    """The longer it wrote the longer, but not for ever: events are to go out, too."""
    path = str(tmp_path / "queue")
    with somebody_waiting(path), exclusive_writer(path, LONG, low_priority=True):
        clock.now += wrote
    assert clock.slept == [pytest.approx(pause)]


def test_the_lock_is_free_during_the_pause(tmp_path, clock, monkeypatch):
    """Otherwise the pause would help nobody."""
    path, written = str(tmp_path / "queue"), []

    def write(_seconds):
        with exclusive_writer(path, 0.01):
            written.append("meanwhile")

    monkeypatch.setattr(clock, "sleep", write)
    with somebody_waiting(path), exclusive_writer(path, LONG, low_priority=True):
        clock.now += 1.0
    assert written == ["meanwhile"]


def test_one_at_a_time_comes_behind(tmp_path, clock):
    """Threads that take turns at giving way would together write all the time."""
    one, another = str(tmp_path / "one"), str(tmp_path / "another")
    with (
        exclusive_writer(one, LONG, low_priority=True),
        pytest.raises(WaitTimeout),
        exclusive_writer(another, 0.01, low_priority=True),
    ):
        pass
    with exclusive_writer(another, LONG, low_priority=True):
        pass


def test_whoever_waits_can_be_seen_to_wait_until_their_turn(tmp_path):
    """That is how one who comes behind knows."""
    path, taken, go = str(tmp_path / "queue"), threading.Event(), threading.Event()

    def write():
        with exclusive_writer(path, LONG):
            taken.set()
            go.wait(LONG)

    with open(f"{path}.wanted", "w") as file:

        def is_wanted():
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            fcntl.flock(file, fcntl.LOCK_UN)
            return False

        with exclusive_writer(path, LONG):
            assert not is_wanted()
            waiting = threading.Thread(target=write)
            waiting.start()
            while not is_wanted():
                assert waiting.is_alive()
        assert taken.wait(LONG)
        assert not is_wanted()
        go.set()
        waiting.join(LONG)


def test_a_relay_that_is_stopped_as_it_looks_who_waits_holds_nobody_for_ever(tmp_path):
    """Whoever waits is told in time, as with any lock that is not given back."""
    path = str(tmp_path / "queue")
    with open(f"{path}.wanted", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with exclusive_writer(path, LONG), pytest.raises(WaitTimeout), exclusive_writer(path, 0.02):
            pass


def test_a_database_says_whether_its_writers_have_low_priority(engine, monkeypatch):
    """The relay's do; PostgreSQL has room for all."""
    asked = []

    @contextmanager
    def spy(path, timeout, low_priority=False):
        asked.append(low_priority)
        yield

    monkeypatch.setattr("connector.storage.database.exclusive_writer", spy)
    for one in (Database(engine), Database(engine, low_priority=True)):
        Outbox(one).heartbeat("relay-1", 1.0)
    assert asked == ([False, True] if engine.dialect.name == "sqlite" else [])


def test_the_relay_has_low_priority(sqlite_url, monkeypatch):
    """What it writes is much at a time, and no shop waits for it."""
    migrate(connect(sqlite_url))
    seen = []

    def spy(_stores, outbox, _api):
        seen.append(outbox.database.low_priority)
        raise SystemExit

    monkeypatch.setattr("connector.server.relay_process.Relay", spy)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    CliRunner().invoke(main, ["relay"], env={"STORES_TOML": STORES, "DATABASE_URL": sqlite_url})
    assert seen == [True]
