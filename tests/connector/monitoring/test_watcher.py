"""The watcher's rounds: from what is in the database to one message."""

import logging
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from connector.core.units import HOUR
from connector.monitoring.alerts import CALM, AlertStore
from connector.monitoring.channels import PlainWebhook
from connector.monitoring.notifier import LEASE_SECONDS, Notifier
from connector.monitoring.problems import NO_RELAY, Problem, ProblemFinder
from connector.monitoring.recipients import Recipient
from connector.monitoring.watcher import SETTLING, RelayAbsenceReporter, SlowFinder, Watcher
from connector.outbox.outbox import Outbox
from connector.outbox.queries import OutboxQueries
from connector.storage.database import CannotStore, Database
from connector.storage.tables import alerts, arrivals, leases
from tests.connector.monitoring.test_problems import STORE
from tests.support.alert_receiver import Receiver, receiver
from tests.support.outbox_rows import LANE, NOW, PIXEL, fill, rows

pytestmark = pytest.mark.databases("sqlite")


class Bench:
    """A database, a receiver, the watchers of two relays and the web's part, with a clock that the test sets."""

    def __init__(self, engine: Engine, server: Receiver, client: httpx.Client) -> None:
        self.engine = engine
        self.server = server
        self.client = client
        self.now = NOW
        self.outbox = Outbox(Database(engine))
        self.alerts = AlertStore(Database(engine), self.clock)

    def clock(self) -> float:
        return self.now

    def watcher(
        self, name: str, finder: type[ProblemFinder] = ProblemFinder, slow: Sequence[SlowFinder] = ()
    ) -> Watcher:
        found = finder(Database(self.engine), {"acme": STORE})
        return Watcher(found, self.alerts, self._notifier(name), self.clock, self.clock, slow)

    def no_relay(self, name: str) -> RelayAbsenceReporter:
        return RelayAbsenceReporter(self.alerts, self._notifier(name))

    def _notifier(self, name: str) -> Notifier:
        channels = {Recipient(self.server.url, "ALERT_URL"): PlainWebhook(self.server.url, self.client)}
        return Notifier(Database(self.engine), channels, name, self.clock)


@pytest.fixture(scope="module")
def server() -> Iterator[Receiver]:
    with receiver() as server:
        yield server


@pytest.fixture
def bench(engine: Engine, server: Receiver) -> Iterator[Bench]:
    server.answers.clear()
    server.texts.clear()
    with httpx.Client(timeout=5) as client:
        yield Bench(engine, server, client)


@pytest.mark.slow
def test_two_relays_tell_once(bench: Bench) -> None:
    """From the database to the receiver, and its end too."""
    watchers = [bench.watcher("one"), bench.watcher("two")]
    fill(bench.outbox, 1)
    bench.outbox.suspend(LANE, NOW + 9e9, NOW, "f", "40105 no permission")
    for _ in range(10):
        for watcher in watchers:
            bench.outbox.heartbeat("one", bench.now)
            watcher.round()
        bench.now += 60
    bench.outbox.resume(LANE, bench.now)
    with bench.engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM events"))
    for _ in range(15):
        for watcher in watchers:
            watcher.round()
        bench.now += 60
    first, last = bench.server.texts
    assert first.startswith(f"Problem: store acme, pixel {PIXEL.code}: TikTok has denied")
    assert last.startswith(f"Over after 10 minutes: store acme, pixel {PIXEL.code}: TikTok has denied")


def test_a_silence_is_told_when_the_watcher_has_watched_for_a_while(bench: Bench) -> None:
    """After an outage of our own the shops were not heard, which is not their fault."""
    hour = int(NOW) // HOUR * HOUR - 5 * HOUR
    past = [{"store": "acme", "hour": hour - n * HOUR, "count": 20, "last_at": hour - n * HOUR} for n in range(840)]
    with bench.engine.begin() as connection:
        connection.execute(sa.insert(arrivals), past)
    watcher = bench.watcher("one")
    watcher.round()
    bench.now += SETTLING - 1
    watcher.round()
    assert bench.server.texts == []
    bench.now += 1
    watcher.round()
    (text,) = bench.server.texts
    assert text.startswith("Problem: store acme: no webhook since")
    later = bench.watcher("one")  # a new release: what is known stays known
    bench.now += 60
    later.round()
    bench.now += CALM + 60
    later.round()
    assert [problem.key for problem in OutboxQueries(Database(bench.engine)).open_problems()] == ["silent:acme"]


class TestNoRelay:
    """A dead relay cannot report itself."""

    def test_the_web_reports_it_once_and_the_next_relay_ends_it(self, bench: Bench) -> None:
        """Of several web processes one tells, however often they look."""
        reporters = [bench.no_relay("web-1"), bench.no_relay("web-2")]
        for _ in range(5):
            for thread in [reporter.report() for reporter in reporters]:
                assert thread
                thread.join(120)
            bench.now += 60
        assert bench.server.texts == [f"Problem: {NO_RELAY.sentence}"]
        bench.now += LEASE_SECONDS + 1
        bench.outbox.heartbeat("one", bench.now)
        watcher = bench.watcher("one")
        watcher.round()
        bench.now += CALM
        bench.outbox.heartbeat("one", bench.now)
        watcher.round()
        assert bench.server.texts[1:] == [f"Over after 7 minutes: {NO_RELAY.sentence}"]
        assert rows(bench.engine, alerts) == []

    def test_nobody_waits_for_it(self, bench: Bench) -> None:
        """The receiver hangs: the call returns, and the next does not begin a second thread."""
        bench.server.answers = [(0, {})]
        reporter = bench.no_relay("web-1")
        thread = reporter.report()
        assert thread
        assert thread.daemon
        assert reporter.report() is None
        assert thread.is_alive()
        bench.server.free.set()
        thread.join(120)
        bench.server.free.clear()
        again = reporter.report()
        assert again
        again.join(120)

    @pytest.mark.parametrize("error", [CannotStore("away"), RuntimeError("a bug")])
    def test_it_survives_whatever_happens(
        self, bench: Bench, error: Exception, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The next look may have better luck."""
        caplog.set_level(logging.INFO)

        def broken(*_: Any) -> None:
            raise error

        reporter = bench.no_relay("web-1")
        bench.alerts.note = broken  # type: ignore[method-assign]
        for _ in range(2):
            thread = reporter.report()
            assert thread
            thread.join(120)
        assert "could not report that no relay is running" in caplog.text


def test_run_ends_when_told_and_gives_the_turn_back(bench: Bench) -> None:
    """So that the next release's watcher may begin at once."""
    stop, looked = threading.Event(), threading.Event()

    class Noticed(ProblemFinder):
        def find_silent(self, now: float) -> Iterable[Problem]:
            looked.set()
            return super().find_silent(now)

    watcher = bench.watcher("one", Noticed)
    thread = threading.Thread(target=watcher.run, args=(stop, 0.0), daemon=True)
    thread.start()
    assert looked.wait(120)
    stop.set()
    thread.join(40)  # less than the pause between two rounds
    assert not thread.is_alive()
    assert rows(bench.engine, leases) == []


@pytest.mark.parametrize("error", [CannotStore("away"), RuntimeError("a bug")])
def test_watching_outlives_whatever_happens(bench: Bench, error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    """The relay's work is more important."""
    caplog.set_level(logging.INFO)
    asked: list[float] = []

    class Twice(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            return len(asked) >= 2

    class Broken(ProblemFinder):
        def find(self, now: float) -> Any:
            asked.append(now)
            raise error

    bench.watcher("one", Broken).run(Twice())
    assert len(asked) == 2
    assert "watching" in caplog.text


@pytest.mark.databases("sqlite", "postgresql")
def test_what_changes_slowly_is_looked_at_seldom(bench: Bench) -> None:
    """In the first round, and then every five minutes; its problems are noted like all others."""
    asked: list[float] = []

    def find(now: float) -> list[Problem]:
        asked.append(now)
        return [Problem("slow:acme", "store acme: slow")] if len(asked) == 1 else []

    watcher = bench.watcher("one", slow=[(find, {"slow"})])
    for seconds in (0.0, 60.0, 299.0, 300.0):
        bench.now = NOW + seconds
        watcher.round()
    assert asked == [NOW, NOW + 300]
    with bench.engine.connect() as connection:
        (row,) = connection.execute(sa.select(alerts).where(alerts.c.key == "slow:acme"))
    assert row.over_at is not None
