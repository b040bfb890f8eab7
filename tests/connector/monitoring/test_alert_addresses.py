"""Several addresses: who is sent what, and that a failing one keeps nobody waiting. Real receivers, both databases."""

import logging
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import httpx
import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from connector.config.settings import Config
from connector.core.units import HOUR
from connector.monitoring import notifier as module
from connector.monitoring.alerts import CALM, AlertStore, Problem
from connector.monitoring.channels import channel
from connector.monitoring.notifier import Notifier
from connector.monitoring.problems import ProblemFinder
from connector.monitoring.recipients import alert_recipients
from connector.storage.database import Database
from connector.storage.tables import alert_addresses, alert_deliveries, alerts
from tests.support.alert_receiver import Receiver, receiver
from tests.support.outbox_rows import NOW, rows
from tests.support.stores_file import OTHER_CODE, loaded, store

DENIED = Problem("denied:acme:C1", "store acme: denied")
BEANS = Problem("denied:beans:C2", "store beans: denied")
NO_RELAY = Problem("relay", "no relay is running")


class Bench:
    """A database and three receivers, with a clock that the test sets."""

    def __init__(self, engine: Engine, receivers: list[Receiver], client: httpx.Client) -> None:
        self.engine, self.receivers, self.client, self.now = engine, receivers, client, NOW
        self.alerts = AlertStore(Database(engine), self.clock)
        self.notifier = self.configured("one", "two")

    def clock(self) -> float:
        return self.now

    def url(self, name: str) -> str:
        return self.receivers[["one", "two", "three"].index(name)].url

    def config(self, *everybody: str, acme: tuple[str, ...] = ()) -> Config:
        ours = f"alerts = {[self.url(name) for name in acme]}"
        beans = store("beans", url='"https://beans.example"', shop='"beans.myshopify.com"', pixel=f'"{OTHER_CODE}"')
        toml = store(more=ours) + "\n" + beans
        return loaded(toml, ALERT_URL=" ".join(self.url(name) for name in everybody))

    def configured(self, *everybody: str, acme: tuple[str, ...] = ()) -> Notifier:
        recipients = alert_recipients(self.config(*everybody, acme=acme))
        channels = {recipient: channel(recipient.address, self.client) for recipient in recipients}
        return Notifier(Database(self.engine), channels, "process", self.clock)

    def tell(self, *problems: Problem, after: float = 0.0) -> list[list[str]]:
        """What each receiver gets in a round in which these problems are seen."""
        self.now += after
        self.alerts.note(problems, {"denied", "relay", "alerts"})
        before = [len(one.texts) for one in self.receivers]
        assert self.notifier.acquire_lease()
        self.notifier.notify()
        return [one.texts[start:] for one, start in zip(self.receivers, before, strict=True)]


@pytest.fixture(scope="module")
def receivers() -> Iterator[list[Receiver]]:
    with ExitStack() as stack:
        yield [stack.enter_context(receiver()) for _ in range(3)]


@pytest.fixture
def bench(engine: Engine, receivers: list[Receiver]) -> Iterator[Bench]:
    for one in receivers:
        one.answers.clear()
        one.texts.clear()
        one.free.clear()
    with httpx.Client(timeout=60) as client:
        yield Bench(engine, receivers, client)
    for one in receivers:
        one.free.set()


def test_every_address_is_told_once_and_of_the_end_once(bench: Bench) -> None:
    """Each by itself."""
    begun, over = [f"Problem: {DENIED.sentence}"], [f"Over after 2 minutes: {DENIED.sentence}"]
    assert bench.tell(DENIED) == [begun, begun, []]
    assert bench.tell(DENIED, after=60) == [[], [], []]
    assert bench.tell(after=60) == [[], [], []]
    assert bench.tell(after=CALM) == [over, over, []]
    assert rows(bench.engine, alerts) == rows(bench.engine, alert_deliveries) == []


def test_a_store_has_addresses_of_its_own(bench: Bench) -> None:
    """They are sent its problems alone; those of ALERT_URL all, and what concerns no single store."""
    bench.notifier = bench.configured("one", acme=("two", "three"))
    everything = "\n".join(f"Problem: {problem.sentence}" for problem in (DENIED, BEANS, NO_RELAY))
    ours = [f"Problem: {DENIED.sentence}"]
    assert bench.tell(DENIED, BEANS, NO_RELAY) == [[everything], ours, ours]


def test_an_address_that_is_set_twice_is_told_once(bench: Bench) -> None:
    """Of everything, if ALERT_URL has it."""
    bench.notifier = bench.configured("one", "one", "two", acme=("two", "three"))
    assert bench.tell(BEANS) == [[f"Problem: {BEANS.sentence}"]] * 2 + [[]]
    labels = [recipient.label for recipient in alert_recipients(bench.config("one", "two", acme=("two", "three")))]
    assert labels == ["ALERT_URL 1 (webhook)", "ALERT_URL 2 (webhook)", "stores.acme.alerts 2 (webhook)"]


class TestFailing:
    """One address does not take its messages."""

    def test_the_others_get_theirs_at_once(self, bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
        """And it gets its own later, with its own pauses; the log names the place, not the address."""
        caplog.set_level(logging.INFO, "connector")
        bench.receivers[0].answers = [(500, {})] * 2
        first = [f"Problem: {DENIED.sentence}"]
        assert bench.tell(DENIED) == [first, first, []]
        assert bench.tell(DENIED, BEANS, after=30) == [[], [f"Problem: {BEANS.sentence}"], []]
        both = [f"Problem: {DENIED.sentence}\nProblem: {BEANS.sentence}"]
        assert bench.tell(DENIED, BEANS, after=30) == [both, [], []]  # refused, too
        assert bench.tell(DENIED, BEANS, after=60) == [[], [], []]
        assert bench.tell(DENIED, BEANS, after=60) == [both, [], []]
        assert "could not send a message to ALERT_URL 1 (webhook): HTTP 500" in caplog.text
        assert "SECRET" not in caplog.text
        assert rows(bench.engine, alert_addresses) == []

    @pytest.mark.slow
    def test_one_that_does_not_answer_holds_up_nobody(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        """The round ends; while the request hangs, no second one is made; when it is answered, that counts."""
        monkeypatch.setattr(module, "PATIENCE", 0.2)
        hanging = bench.receivers[0]
        hanging.answers = [(0, {})]
        begun = f"Problem: {DENIED.sentence}"
        bench.tell(DENIED)
        assert bench.tell(DENIED, BEANS, after=60)[1] == [f"Problem: {BEANS.sentence}"]
        assert hanging.texts in ([], [begun])
        hanging.free.set()
        for thread in threading.enumerate():
            if thread.name == "alert":
                thread.join(60)
        monkeypatch.setattr(module, "PATIENCE", 60)
        assert bench.tell(DENIED, BEANS, after=60)[0] == [f"{begun}\nProblem: {BEANS.sentence}"]

    def test_after_an_hour_it_is_a_problem_by_itself(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        """On the dashboard, in `check`, and at the other addresses; over with the first message that is taken."""
        finder = ProblemFinder(Database(bench.engine), {})
        bench.receivers[0].answers = [(404, {})] * 6

        def undelivered() -> list[Problem]:
            return [problem for problem in finder.find(bench.now) if problem.kind == "alerts"]

        bench.tell(DENIED)
        assert undelivered() == []
        for _ in range(5):
            bench.tell(DENIED, after=HOUR)
        (problem,) = undelivered()
        assert re.fullmatch(
            r"messages to ALERT_URL 1 \(webhook\) have not been delivered since 20\S+ \S+ UTC \(HTTP 404\); "
            "`connector alerts test` says what to do",
            problem.sentence,
        )
        assert bench.tell(DENIED, problem, after=1)[1] == [f"Problem: {problem.sentence}"]
        bench.tell(DENIED, problem, after=HOUR)
        assert undelivered() == []


class TestChangingTheSettings:
    """Addresses come and go with restarts."""

    def test_a_new_address_gets_what_is_still_wrong(self, bench: Bench) -> None:
        """The old ones are not told again."""
        bench.tell(DENIED)
        bench.notifier = bench.configured("one", "two", "three")
        assert bench.tell(DENIED, after=60) == [[], [], [f"Problem: {DENIED.sentence}"]]

    def test_an_address_that_is_gone_is_forgotten(self, bench: Bench) -> None:
        """With its failures; and the problem ends for the others."""
        bench.receivers[1].answers = [(500, {})]
        bench.tell(DENIED)
        bench.notifier = bench.configured("one")
        bench.tell(DENIED, after=60)
        assert rows(bench.engine, alert_addresses) == []
        bench.notifier = bench.configured("three")
        assert bench.tell(after=60) == [[], [], []]
        bench.tell(after=CALM)
        assert rows(bench.engine, alerts) == rows(bench.engine, alert_deliveries) == []

    def test_the_first_address_takes_over_what_the_previous_release_has_sent(self, bench: Bench) -> None:
        """After the migration it is not told again, and of the end once."""
        bench.alerts.note([DENIED], ())
        with bench.engine.begin() as connection:
            connection.execute(sa.insert(alert_deliveries).values(address="", key=DENIED.key, sent_at=NOW))
        assert bench.tell(DENIED, after=60) == [[], [f"Problem: {DENIED.sentence}"], []]
        bench.tell(after=60)
        assert [len(texts) for texts in bench.tell(after=CALM)] == [1, 1, 0]


def test_one_process_sends(bench: Bench, make: Callable[[str], Notifier]) -> None:
    """The other finds the lease taken."""
    assert bench.notifier.acquire_lease()
    assert not make("other").acquire_lease()
    bench.notifier.leave()
    assert make("other").acquire_lease()


@pytest.fixture
def make(bench: Bench) -> Callable[[str], Notifier]:
    return lambda name: Notifier(Database(bench.engine), {}, name, bench.clock)
