"""Alerts: one message when a problem begins, and one when it is over, whichever process sends them."""

import logging
from collections.abc import Iterator
from itertools import pairwise

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from connector.monitoring.alert_messages import MAX_LINES
from connector.monitoring.alerts import CALM, AlertStore, Problem
from connector.monitoring.channels import Line, Message, PlainWebhook
from connector.monitoring.notifier import LEASE_SECONDS, PAUSES, Notifier
from connector.monitoring.recipients import Recipient
from connector.outbox.queries import OutboxQueries
from connector.storage.database import Database
from connector.storage.tables import alerts
from tests.support.alert_receiver import Receiver, receiver
from tests.support.effort import examples, first_of
from tests.support.outbox_rows import NOW, rows

pytestmark = pytest.mark.databases("sqlite")

SENTENCE = "store acme: the token is refused; make a new one"


class Bench:
    """A database, a receiver and a notifier, with a clock that the test sets."""

    def __init__(self, engine: Engine, server: Receiver, client: httpx.Client) -> None:
        self.engine = engine
        self.server = server
        self.now = NOW
        self.channels = {Recipient(server.url, "ALERT_URL"): PlainWebhook(server.url, client)}
        self.alerts = AlertStore(Database(engine), self.clock)
        self.notifier = self.hire("one")

    def clock(self) -> float:
        return self.now

    def hire(self, name: str) -> Notifier:
        return Notifier(Database(self.engine), self.channels, name, self.clock)

    def tell(self, *problems: Problem, after: float = 0.0) -> list[str]:
        """The messages of a round in which these problems are seen, some seconds after the last."""
        self.now += after
        self.alerts.note(problems, {"denied", "lag"})
        before = len(self.server.texts)
        if self.notifier.acquire_lease():
            self.notifier.notify()
        return self.server.texts[before:]


@pytest.fixture(scope="module")
def server() -> Iterator[Receiver]:
    with receiver() as server:
        yield server


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=60) as client:
        yield client


@pytest.fixture
def bench(engine: Engine, server: Receiver, client: httpx.Client) -> Bench:
    server.answers.clear()
    server.texts.clear()
    return Bench(engine, server, client)


DENIED = Problem("denied:acme:C1", SENTENCE)


class TestOnce:
    """One message, one when it is over."""

    def test_a_problem_is_told_once_and_its_end_once(self, bench: Bench) -> None:
        """However often it is seen; and nothing of it is left."""
        assert bench.tell(DENIED) == [f"Problem: {SENTENCE}"]
        assert [bench.tell(DENIED, after=60) for _ in range(5)] == [[]] * 5
        assert bench.tell(after=60) == []
        assert bench.tell(after=CALM) == [f"Over after 6 minutes: {SENTENCE}"]
        assert bench.tell(after=CALM) == []
        assert rows(bench.engine, alerts) == []

    def test_what_comes_and_goes_is_one_problem(self, bench: Bench) -> None:
        """A lane that is denied, opened and denied again floods nobody."""
        assert bench.tell(DENIED)
        for _ in range(5):
            assert bench.tell(after=CALM - 60) == []
            assert bench.tell(DENIED, after=30) == []

    def test_after_its_end_it_is_a_new_problem(self, bench: Bench) -> None:
        """And told anew."""
        bench.tell(DENIED)
        bench.tell(after=60)
        assert bench.tell(after=CALM)
        assert bench.tell(DENIED, after=60) == [f"Problem: {SENTENCE}"]

    def test_the_memory_survives_a_restart_and_is_shared(self, bench: Bench) -> None:
        """Another process, or the same one later, does not tell again."""
        bench.tell(DENIED)
        bench.now += LEASE_SECONDS + 1
        bench.notifier = bench.hire("two")
        assert bench.tell(DENIED) == []
        bench.tell(after=60)
        assert bench.tell(after=CALM) == [f"Over after 3 minutes: {SENTENCE}"]

    def test_only_one_process_has_the_turn(self, bench: Bench) -> None:
        """Others find it taken until it is given back, or ends with its process."""
        two = bench.hire("two")
        assert bench.notifier.acquire_lease()
        assert not two.acquire_lease()
        bench.notifier.leave()
        assert two.acquire_lease()
        bench.now += LEASE_SECONDS + 1
        assert bench.notifier.acquire_lease()

    def test_a_problem_may_have_to_last(self, bench: Bench) -> None:
        """Before it counts it is neither told nor shown, and if it ends nobody hears of it."""
        testing = Problem("denied:x", "a test code is set", after=86_400)
        assert bench.tell(testing) == []
        assert OutboxQueries(Database(bench.engine)).open_problems() == []
        assert bench.tell(testing, after=86_300) == []
        assert bench.tell(testing, after=100) == ["Problem: a test code is set"]
        assert [problem.since for problem in OutboxQueries(Database(bench.engine)).open_problems()] == [NOW]
        other = Problem("denied:y", "another", after=100)
        bench.tell(testing, other)
        bench.tell(testing, after=10)
        assert bench.tell(testing, after=CALM) == []
        assert [row.key for row in rows(bench.engine, alerts)] == ["denied:x"]

    def test_others_report_and_resolve(self, bench: Bench) -> None:
        """From any process; the watcher does not take for over what it does not look for."""
        AlertStore(Database(bench.engine), bench.clock).report("webhooks:acme", "store acme: a webhook is switched off")
        assert bench.tell() == ["Problem: store acme: a webhook is switched off"]
        assert bench.tell(after=9999) == []
        AlertStore(Database(bench.engine), bench.clock).resolve("webhooks:acme")
        AlertStore(Database(bench.engine), bench.clock).resolve("webhooks:other")
        assert bench.tell(after=60) == []
        (text,) = bench.tell(after=CALM)
        assert text == "Over after 3 hours: store acme: a webhook is switched off"

    def test_many_problems_are_few_messages(self, bench: Bench) -> None:
        """Some lines each, one message a round."""
        many = [Problem(f"denied:{n:02}", f"sentence {n:02}") for n in range(MAX_LINES + 5)]
        first, second = bench.tell(*many), bench.tell(*many, after=60)
        assert bench.tell(*many, after=60) == []
        assert [len(text.splitlines()) for text in first + second] == [MAX_LINES, 5]
        assert len({line for text in first + second for line in text.splitlines()}) == MAX_LINES + 5

    @pytest.mark.databases("sqlite", "postgresql")
    def test_the_newest_sentence_is_kept(self, bench: Bench) -> None:
        """Numbers in it grow, and that is no new problem."""
        bench.tell(DENIED)
        assert bench.tell(Problem(DENIED.key, "worse"), after=60) == []
        assert [problem.sentence for problem in OutboxQueries(Database(bench.engine)).open_problems()] == ["worse"]

    def test_mentions_and_links_are_taken_apart(self, bench: Bench) -> None:
        """A shop's or TikTok's words must not call everybody in the channel."""
        assert bench.tell(Problem("denied:x", "<!channel> & co")) == ["Problem: &lt;!channel&gt; &amp; co"]


class TestFailing:
    """The receiver does not take a message: later again, and never lost."""

    @pytest.mark.parametrize("status", first_of([500, 404]))
    @pytest.mark.slow
    def test_a_refused_message_comes_again_with_growing_pauses(self, bench: Bench, status: int) -> None:
        """Up to an hour."""
        bench.server.answers = [(status, {})] * 9
        tried = [bench.now for _ in range(250) if bench.tell(DENIED, after=60)]
        pauses = [later - earlier for earlier, later in pairwise(tried)]
        assert pauses[:6] == [60, 120, 240, 480, 960, 1920]
        assert pauses[6:9] == [3600] * 3
        assert len(tried) == 10  # the tenth was taken

    @pytest.mark.slow
    def test_retry_after_is_honoured_but_not_beyond_an_hour(self, bench: Bench) -> None:
        """Slack says it in seconds."""
        bench.server.answers = [
            (429, {"Retry-After": "600"}),
            (429, {"Retry-After": "86400"}),
            (429, {"Retry-After": "x"}),
        ]
        tried = [bench.now for _ in range(100) if bench.tell(DENIED, after=60)]
        assert [later - earlier for earlier, later in pairwise(tried)] == [600, 3600, 240]

    @pytest.mark.databases("sqlite", "postgresql")
    def test_while_one_waits_no_other_is_tried(self, bench: Bench) -> None:
        """A receiver that asked for a pause gets one."""
        bench.server.answers = [(429, {"Retry-After": "600"})]
        bench.tell(DENIED)
        other = Problem("lag:acme:C1", "waiting")
        assert bench.tell(DENIED, other, after=60) == []
        assert bench.tell(DENIED, other, after=540) == [f"Problem: {SENTENCE}\nProblem: waiting"]

    def test_a_redirect_is_not_followed(self, bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
        """It would carry the message to a place nobody has named."""
        caplog.set_level(logging.INFO)
        bench.server.paths.clear()
        bench.server.answers = [(302, {"Location": "/elsewhere"}), (307, {"Location": "/elsewhere"})]
        assert len(bench.tell(DENIED)) == len(bench.tell(DENIED, after=60)) == 1
        assert set(bench.server.paths) == {"/services/SECRET-OF-THE-HOOK"}
        assert "redirects are not followed; it will be retried. Set the final address" in caplog.text

    @pytest.mark.slow
    def test_a_receiver_that_hangs_or_is_away_is_given_up(
        self, bench: Bench, client: httpx.Client, caplog: pytest.LogCaptureFixture
    ) -> None:
        """After the client's time-out; the address is never logged, for who knows it can post."""
        caplog.set_level(logging.INFO, "connector")
        bench.server.answers = [(0, {})]
        with httpx.Client(timeout=httpx.Timeout(60, read=0.2)) as impatient:
            assert len(Bench(bench.engine, bench.server, impatient).tell(DENIED)) == 1
        assert "no answer (ReadTimeout)" in caplog.text
        assert "SECRET" not in caplog.text
        message = Message.of_lines((Line("denied:x", "x"),))
        for address, why in [("http://127.0.0.1:1/SECRET", "no answer (ConnectError)"), ("http://[::1", "no answer (")]:
            failure = PlainWebhook(address, client).send(message)
            assert failure
            assert failure.why.startswith(why)
            assert "SECRET" not in f"{failure}"

    def test_what_nobody_was_told_of_ends_in_silence(self, bench: Bench) -> None:
        """A message about the end would be about nothing."""
        bench.server.answers = [(500, {})]
        bench.tell(DENIED)
        bench.tell(after=10)
        assert bench.tell(after=CALM) == []
        assert rows(bench.engine, alerts) == []

    def test_an_end_is_told_when_it_can_be(self, bench: Bench) -> None:
        """Like a beginning."""
        bench.tell(DENIED)
        bench.tell(after=60)
        bench.server.answers = [(500, {})]
        bench.tell(after=CALM)
        assert bench.tell(after=59) == []
        assert bench.tell(after=1) == [f"Over after a minute: {SENTENCE}"]

    def test_back_again_while_its_end_waits_to_be_told(self, bench: Bench) -> None:
        """Then it has not ended."""
        bench.tell(DENIED)
        bench.tell(after=60)
        bench.server.answers = [(500, {})]
        bench.tell(after=CALM)
        assert bench.tell(DENIED, after=60) == []
        assert [problem.key for problem in OutboxQueries(Database(bench.engine)).open_problems()] == [DENIED.key]

    def test_a_pause_from_the_future_holds_nothing_back(self, bench: Bench) -> None:
        """A clock jumped."""
        bench.server.answers = [(500, {})]
        bench.now = NOW + 9 * PAUSES[1]
        bench.tell(DENIED)
        bench.now = NOW
        bench.notifier = bench.hire("two")
        assert len(bench.tell(DENIED)) == 1


class TestWithoutAnAddress:
    """Nothing is sent; the log and the desk know."""

    def test_a_line_when_it_begins_and_one_when_it_ends(self, bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
        """Structured, by the problem's key."""
        caplog.set_level(logging.INFO)
        bench.notifier = Notifier(Database(bench.engine), {}, "one", bench.clock)
        for _ in range(3):
            assert bench.tell(DENIED, after=60) == []
        assert [(p.key, p.sentence, p.since) for p in OutboxQueries(Database(bench.engine)).open_problems()] == [
            (DENIED.key, SENTENCE, NOW + 60)
        ]
        bench.tell(after=60)
        assert OutboxQueries(Database(bench.engine)).open_problems() == []
        bench.tell(after=CALM)
        assert [(r.levelname, r.message, r.problem) for r in caplog.records] == [  # type: ignore[attr-defined]
            ("ERROR", f"problem: {SENTENCE}", DENIED.key),
            ("INFO", f"problem is over after 3 minutes: {SENTENCE}", DENIED.key),
        ]
        assert rows(bench.engine, alerts) == []
        assert bench.server.texts == []

    @pytest.mark.databases("sqlite", "postgresql")
    def test_with_an_address_the_lines_are_the_same(self, bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
        """Also then the log is what tells the whole story."""
        caplog.set_level(logging.INFO, "connector")
        bench.tell(DENIED)
        bench.tell(after=60)
        bench.tell(after=CALM)
        assert [r.levelname for r in caplog.records if r.name == "connector.monitoring.alerts"] == ["ERROR", "INFO"]

    @pytest.mark.databases("sqlite", "postgresql")
    def test_an_address_that_is_set_later_gets_what_is_still_wrong(self, bench: Bench) -> None:
        """Not what is over."""
        bench.notifier = Notifier(Database(bench.engine), {}, "one", bench.clock)
        bench.tell(DENIED, Problem("lag:x", "waited"))
        bench.tell(DENIED, after=60)
        bench.notifier = bench.hire("one")
        assert bench.tell(DENIED, after=60) == [f"Problem: {SENTENCE}"]


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([30, 60, 700]), st.sampled_from([200, 500])), max_size=15))
@examples(12)
def test_beginnings_and_ends_alternate(bench: Bench, story: list[tuple[bool, int, int]]) -> None:
    """Whatever happens: no end without a beginning that was taken, no second beginning without an end."""
    bench.alerts.note([], {"denied"})
    bench.now += 99_999
    bench.server.answers.clear()
    bench.tell()
    taken: list[str] = []
    for there, seconds, status in story:
        bench.server.answers = [(status, {})]
        texts = bench.tell(*[DENIED] * there, after=seconds)
        taken += texts if status == 200 else []
    kinds = [text.split()[0] for text in taken]
    assert kinds == ["Problem:", "Over"] * (len(kinds) // 2) + ["Problem:"] * (len(kinds) % 2)
