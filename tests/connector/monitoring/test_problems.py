"""Problems found in the database: each is found while it is there, and only then."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from connector.core.store import FunnelSettings
from connector.core.units import DAY, HOUR, MERGE_WINDOW
from connector.core.webhook import BrokenWebhook
from connector.funnel.queue import FunnelQueue
from connector.monitoring.event_stats import add_counts
from connector.monitoring.problems import COUNTED, KINDS, NO_RELAY, ProblemFinder
from connector.monitoring.skips import ENOUGH
from connector.outbox.lanes import Lane
from connector.outbox.ledger import ParkedWebhook, park_decision
from connector.outbox.notices import NoticeEntry, NoticeTable
from connector.outbox.outbox import Outbox
from connector.outbox.queries import OutboxQueries
from connector.outbox.settlement import due_again, settled
from connector.privacy.data_subject import DataSubject
from connector.privacy.requests import DataRequestStore
from connector.storage.database import Database
from connector.storage.lease import Lease
from connector.storage.tables import accuracy, alert_addresses, arrivals
from connector.sync.checkpoints import Checkpoints
from connector.sync.reconcile import TICK
from tests.support.factories import SECRET, a_store
from tests.support.outbox_rows import LANE, NOW, OTHER_PIXEL, PIXEL, claim, decision, fill, mapped, sha

pytestmark = pytest.mark.databases("sqlite")

STORE = a_store("woocommerce", pixels=(PIXEL,))


class Bench:
    """A database with a relay that is alive at the moment that is looked at."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.outbox = Outbox(Database(engine))
        self.finder = ProblemFinder(Database(engine), {"acme": STORE})

    def found(self, at: float, relay: bool = True) -> dict[str, str]:
        if relay:
            self.outbox.heartbeat("one", at)
        return {problem.key: problem.sentence for problem in self.finder.find(at)}


@pytest.fixture
def bench(engine: Engine) -> Bench:
    return Bench(engine)


def test_a_system_that_works_has_no_problems(bench: Bench) -> None:
    """Events due for a moment are none."""
    fill(bench.outbox, 1, 2)
    assert bench.found(NOW + 10) == {}


def test_a_refused_pixel_is_a_problem_until_it_opens(bench: Bench) -> None:
    """Its waiting events are no second one, and a pixel that nobody configured is none at all."""
    fill(bench.outbox, 1)
    bench.outbox.add_lanes([Lane("gone", PIXEL.code)])
    for lane in (LANE, Lane("gone", PIXEL.code)):
        bench.outbox.suspend(lane, NOW + 60, NOW, "f", "40105 no permission")
    (found,) = bench.found(NOW + DAY).items()
    assert found[0] == f"denied:acme:{PIXEL.code}"
    assert found[1].startswith(
        f"store acme, pixel {PIXEL.code}: TikTok has denied the token or pixel since 2026-05-28 20:26"
    )
    assert "(40105 no permission)" in found[1]
    assert PIXEL.access_token not in found[1]
    bench.outbox.resume(LANE, NOW + DAY)
    assert f"denied:acme:{PIXEL.code}" not in bench.found(NOW + DAY)


def test_refused_events_of_browsers_are_a_problem_beside_orders_that_are_sent(bench: Bench) -> None:
    """Only of a store that has a funnel; if the orders are refused, too, that says it all."""
    bench.finder = ProblemFinder(Database(bench.engine), {"acme": replace(STORE, funnel=FunnelSettings())})
    queue = FunnelQueue(Database(bench.engine))
    queue.add_lanes([LANE])
    queue.suspend(LANE, NOW + 60, NOW, "f", "40002 no such event")
    (found,) = bench.found(NOW + DAY).items()
    assert found[0] == f"denied:acme:{PIXEL.code}:funnel"
    assert "(40002 no such event), so they wait, a day at most; orders are sent" in found[1]
    bench.outbox.add_lanes([LANE])
    bench.outbox.suspend(LANE, NOW + 60, NOW, "f", "40105 no permission")
    assert set(bench.found(NOW + DAY)) == {f"denied:acme:{PIXEL.code}"}
    bench.finder = ProblemFinder(Database(bench.engine), {"acme": STORE})
    bench.outbox.resume(LANE, NOW + DAY)
    assert bench.found(NOW + DAY) == {}


class TestRounds:
    """An overdue round of reconciliation is reported; a running one is not late."""

    EVERY = 900.0

    @pytest.fixture
    def rounds(self, bench: Bench) -> Checkpoints:
        store = replace(STORE, reconcile=timedelta(seconds=self.EVERY))
        bench.outbox.start_stores(["acme", "other"], NOW)
        bench.finder = ProblemFinder(Database(bench.engine), {"acme": store, "other": replace(STORE, name="other")})
        return Checkpoints(Database(bench.engine))

    def test_by_three_intervals(self, bench: Bench, rounds: Checkpoints) -> None:
        """After the time when it was due; it ends with the next round."""
        rounds.begin("acme", NOW, 0)
        rounds.finish("acme", NOW + 10)
        late = NOW + 10 + 4 * self.EVERY
        assert bench.found(late) == {}
        told = bench.found(late + 1)
        assert set(told) == {"reconcile:acme"}
        assert "missed orders have not been fetched since 2026-05-28 20:26 UTC" in told["reconcile:acme"]
        rounds.begin("acme", late + 1, 0)
        rounds.finish("acme", late + 1)
        assert bench.found(late + 2) == {}

    def test_one_that_never_came(self, bench: Bench, rounds: Checkpoints) -> None:
        """Counted from the store's first start."""
        assert bench.found(NOW + 3 * self.EVERY) == {}
        assert set(bench.found(NOW + 5 * self.EVERY)) == {"reconcile:acme"}

    def test_a_long_one_is_not_late_and_one_that_died_is(self, bench: Bench, rounds: Checkpoints) -> None:
        """As long as its process renews the lease."""
        rounds.begin("acme", NOW, 0)
        lease = Lease(Database(bench.engine), "reconcile:acme", 60)
        lease.take("one", NOW + 5 * self.EVERY)
        assert bench.found(NOW + 5 * self.EVERY + 1) == {}
        assert set(bench.found(NOW + 5 * self.EVERY + 61)) == {"reconcile:acme"}

    def test_a_start_after_a_long_outage_has_time_to_begin_one(self, bench: Bench, rounds: Checkpoints) -> None:
        """The problem counts only when it lasts."""
        bench.outbox.heartbeat("one", NOW + DAY)
        (found,) = [problem for problem in bench.finder.find(NOW + DAY) if problem.kind == "reconcile"]
        assert found.after > TICK


class TestLag:
    """TikTok merges the browser's and the server's copies only within five minutes."""

    KEY = f"lag:acme:{PIXEL.code}"

    def test_an_event_that_was_never_tried(self, bench: Bench) -> None:
        """The relay does not keep up."""
        fill(bench.outbox, 1)
        assert self.KEY not in bench.found(NOW + 1 + MERGE_WINDOW)
        assert "have waited for TikTok since 2026-05-28" in bench.found(NOW + 2 + MERGE_WINDOW)[self.KEY]

    def test_an_event_that_is_tried_again_and_again(self, bench: Bench) -> None:
        """It is due only in a while, but has waited since its first attempt."""
        fill(bench.outbox, 1)
        (item,) = claim(bench.outbox, at=NOW + 2)
        bench.outbox.settle("one", item.lease_until, [due_again(item, NOW + 900, NOW, None, "busy")])
        assert self.KEY not in bench.found(NOW + 300)
        assert self.KEY in bench.found(NOW + 303)

    def test_an_event_that_is_replayed_has_not_waited(self, bench: Bench) -> None:
        """Nor one that is held back on purpose; and what is settled waits no more."""
        fill(bench.outbox, 1)
        (item,) = claim(bench.outbox, at=NOW + 2)
        bench.outbox.settle("one", item.lease_until, [settled(item, "rejected", NOW + 3, 40002, "bad", "r")])
        assert self.KEY not in bench.found(NOW + 9000)
        assert OutboxQueries(bench.outbox.database).replay([item.id], NOW + 9000) == 1
        assert self.KEY not in bench.found(NOW + 9001)
        assert self.KEY in bench.found(NOW + 9301)

    def test_another_stores_queue_is_another_matter(self, bench: Bench) -> None:
        """One whose store is no longer configured waits for that."""
        fill(bench.outbox, 1, store="gone")
        assert bench.found(NOW + 9000) == {}


def test_rejected_events_are_counted_with_tiktoks_last_words(bench: Bench) -> None:
    """For a day; those of the day before have been told."""
    fill(bench.outbox, 1, 2, 3)
    items = claim(bench.outbox)
    words = ["first", "second", "third"]
    results = [settled(i, "rejected", NOW + 50, 40002, word, "r") for i, word in zip(items, words, strict=True)]
    bench.outbox.settle("one", items[0].lease_until, results)
    (sentence,) = bench.found(NOW + 60).values()
    assert sentence.startswith(
        "store acme: TikTok has rejected 3 events within the last day, the last with: 40002 third; see"
    )
    assert bench.found(NOW + 49 + DAY)
    assert bench.found(NOW + 51 + DAY) == {}


def test_an_event_that_waited_for_days_is_a_problem_when_it_is_rejected(bench: Bench) -> None:
    """As one of a suspended pixel, or one that is replayed; its words are the last, though its order is older."""
    fill(bench.outbox, 1)
    items = claim(bench.outbox, at=NOW + 3 * DAY)
    bench.outbox.settle("one", items[0].lease_until, [settled(items[0], "rejected", NOW + 3 * DAY, 40002, "late", "r")])
    assert (
        "has rejected 1 event within the last day, the last with: 40002 late"
        in bench.found(NOW + 3 * DAY + 60)["rejected:acme"]
    )
    fill(bench.outbox, int(2 * DAY))
    (item,) = claim(bench.outbox, at=NOW + 2 * DAY + 9)
    bench.outbox.settle("one", item.lease_until, [settled(item, "rejected", NOW + 2.5 * DAY, 40002, "early", "r")])
    assert (
        "has rejected 2 events within the last day, the last with: 40002 late"
        in bench.found(NOW + 3 * DAY + 60)["rejected:acme"]
    )


def test_parked_webhooks_are_counted(bench: Bench) -> None:
    """Of each store, for a day."""
    bench.outbox.record(park_decision(ParkedWebhook("acme", "t", sha("first"), "no id", NOW - 10, b"sealed")))
    (sentence,) = bench.found(NOW).values()
    assert sentence.startswith("store acme: 1 webhook of the last day could not be processed and is parked;")
    for number, store in enumerate(("acme", "gone")):
        bench.outbox.record(
            park_decision(ParkedWebhook(store, "t", sha(str(number)), "no id", NOW + number, b"sealed"))
        )
    (sentence,) = bench.found(NOW + 60).values()
    assert sentence.startswith("store acme: 2 webhooks of the last day could not be processed and are parked;")
    assert bench.found(NOW + 2 + DAY) == {}


@pytest.mark.databases("sqlite", "postgresql")
def test_a_flood_is_counted_only_so_far(bench: Bench) -> None:
    """A minute's look costs the same on the worst of days."""
    rows = [{"store": "acme", "topic": "t", "body_sha256": sha(str(n)), "reason": "", "parked_at": NOW, "sealed": b""}
            for n in range(COUNTED + 5)]  # fmt: skip
    with bench.engine.begin() as connection:
        connection.execute(sa.text(
            "INSERT INTO parked (store, topic, body_sha256, reason, parked_at, sealed) "
            "VALUES (:store, :topic, :body_sha256, :reason, :parked_at, :sealed)"
        ), rows)  # fmt: skip
    assert "1000 or more webhooks" in bench.found(NOW + 60)["parked:acme"]


@pytest.mark.databases("sqlite", "postgresql")
def test_several_refused_signatures_within_an_hour_or_two(bench: Bench) -> None:
    """One or two may be a stranger's; those of a store that nobody configured are nobody's."""
    hour = int(NOW) // HOUR * HOUR
    bench.outbox.count({("acme", "", "refused", hour): 1, ("acme", "", "refused", hour - HOUR): 1})
    bench.outbox.count({("acme", "", "ignored", hour): 9, ("nobody", "", "refused", hour): 9})
    bench.outbox.count({("acme", "", "refused", hour - 2 * HOUR): 9})
    assert bench.found(NOW) == {}
    bench.outbox.count({("acme", "", "refused", hour): 1})
    (found,) = bench.found(NOW).items()
    assert found[0] == "signatures:acme"
    assert "compare webhook_secrets" in found[1]
    assert SECRET not in found[1]
    assert bench.found(hour + 2 * HOUR) == {}


def test_refused_signatures_at_the_address_that_shops_share(bench: Bench) -> None:
    """Which store was meant is not known there."""
    hour = int(NOW) // HOUR * HOUR
    bench.outbox.count({("shopify", "", "refused", hour): 3})
    assert bench.found(NOW) == {}  # no store of that kind
    finder = ProblemFinder(Database(bench.engine), {"acme": replace(STORE, platform="shopify")})
    (found,) = [problem for problem in finder.find(NOW) if problem.key.startswith("signatures")]
    assert (found.key, "/webhooks/shopify are refused" in found.sentence) == ("signatures:shopify", True)


def test_a_test_event_code_counts_after_a_day(bench: Bench) -> None:
    """The alerts remember since when."""
    finder = ProblemFinder(Database(bench.engine), {"acme": replace(STORE, pixels=(PIXEL, OTHER_PIXEL))})
    bench.outbox.heartbeat("one", NOW)
    (found,) = finder.find(NOW)
    assert (found.key, found.after) == (f"testing:acme:{OTHER_PIXEL.code}", DAY)
    assert OTHER_PIXEL.test_event_code not in found.sentence


def test_no_relay_while_events_are_due(bench: Bench) -> None:
    """Without events nobody misses it; a heartbeat of the future is one all the same, if not from far."""
    assert bench.found(NOW + 500, relay=False) == {}
    fill(bench.outbox, 1)
    assert bench.found(NOW + 61, relay=False) == {}
    assert bench.found(NOW + 62, relay=False) == {NO_RELAY.key: NO_RELAY.sentence}
    bench.outbox.heartbeat("one", NOW + 70)
    assert bench.found(NOW + 62, relay=False) == {}
    assert NO_RELAY.key in bench.found(NOW + 131, relay=False)


@pytest.mark.databases("sqlite", "postgresql")
def test_all_kinds_are_known(bench: Bench) -> None:
    """A kind that is not in KINDS would never be over."""
    fill(bench.outbox, 1, 2)
    fill(bench.outbox, 3, pixel=OTHER_PIXEL)
    (item,) = claim(bench.outbox, limit=1)
    bench.outbox.settle("one", item.lease_until, [settled(item, "rejected", NOW, 40002, "bad", "r")])
    bench.outbox.suspend(Lane("acme", OTHER_PIXEL.code), NOW, NOW, "f", "no")
    bench.outbox.record(park_decision(ParkedWebhook("acme", "t", sha("x"), "no id", NOW, b"sealed")))
    bench.outbox.record(park_decision(ParkedWebhook("acme", "t", sha("y"), str(BrokenWebhook("gone")), NOW, b"sealed")))
    bench.outbox.count({("acme", "", "refused", int(NOW) // HOUR * HOUR): 5})
    for what in ("uninstalled", "export", "erase_person"):
        DataRequestStore(Database(bench.engine)).note(
            "acme", what, DataSubject(order_ids=frozenset({"1"})), sha(what), NOW - 2 * HOUR
        )
    store = replace(STORE, pixels=(PIXEL, OTHER_PIXEL), reconcile=timedelta(minutes=1))
    bench.outbox.start_stores(["acme"], NOW)
    day = {"store": "acme", "day": int(NOW) // DAY * DAY - DAY, "orders": 2, "sent": 1, "waiting": 0, "counted_at": NOW}
    with bench.engine.begin() as connection:
        row = day | {"skipped": "{}", "missing": '{"rejected":1}', "complete": 1}
        connection.execute(sa.insert(accuracy).values(row))
        failing = {"address": "f", "label": "ALERT_URL (slack)", "attempts": 9, "due_at": NOW, "error": "HTTP 404"}
        connection.execute(sa.insert(alert_addresses).values(**failing, failing_since=NOW - 2 * HOUR))
        add_counts(connection, int(NOW) // HOUR * HOUR, {("acme", "", "skipped", "order", "nobody's choice"): ENOUGH})
    gone = replace(STORE, name="gone", platform="not-installed")
    NoticeTable(Database(bench.engine)).record(NoticeEntry("acme", "order:1", "t", "", NOW))
    finder = ProblemFinder(Database(bench.engine), {"acme": store, "gone": gone})
    assert {problem.kind for problem in finder.find(NOW + 400)} == KINDS


def test_a_shop_that_has_uninstalled_the_app_is_told_of_for_a_day(bench: Bench) -> None:
    """Its queue is still sent; and in which order its data and then the store go."""
    DataRequestStore(Database(bench.engine)).note("acme", "uninstalled", DataSubject(), sha("body"), NOW)
    told = bench.found(NOW + 60)["uninstalled:acme:1"]
    assert "leave the store in the stores file until" in told
    assert "`connector erase --store acme --all`" in told
    assert bench.found(NOW + DAY + 1) == {}


def test_a_shoppers_question_is_a_problem_until_it_is_answered(bench: Bench) -> None:
    """With the command that answers, and without the shopper."""
    asked = DataRequestStore(Database(bench.engine))
    asked.note("acme", "export", DataSubject(emails=frozenset({"ab" * 32}), customer_id="8123"), sha("body"), NOW)
    (sentence,) = bench.found(NOW + 20 * DAY).values()
    assert "`connector events export --demand 1`" in sentence
    assert "8123" not in sentence
    asked.finish(1, NOW + 20 * DAY)
    assert bench.found(NOW + 20 * DAY) == {}


def test_what_is_not_erased_within_an_hour_is_a_problem(bench: Bench) -> None:
    """Only a relay erases; and the shop was told that it would be done."""
    asked = DataRequestStore(Database(bench.engine))
    asked.note("acme", "erase_store", DataSubject(), sha("body"), NOW)
    assert bench.found(NOW + HOUR - 1) == {}
    assert "is not done" in bench.found(NOW + HOUR + 1)["erasing:acme:1"]
    asked.finish(1, NOW + HOUR + 2)
    assert bench.found(NOW + HOUR + 3) == {}


class TestSilent:
    """The pattern is the database's, the judgement `silence`'s."""

    def history(self, bench: Bench, weeks: int, store: str = "acme") -> None:
        start = int(NOW) // HOUR * HOUR
        rows = [
            {"store": store, "hour": start - n * HOUR, "count": 20, "last_at": start - n * HOUR + 3600.0}
            for n in range(weeks * 168)
        ]
        with bench.engine.begin() as connection:
            connection.execute(sa.insert(arrivals), rows)

    def test_a_silent_store_is_named_with_what_is_usual(self, bench: Bench) -> None:
        """And what to do."""
        self.history(bench, 5)
        self.history(bench, 5, "gone")
        end = int(NOW) // HOUR * HOUR + 3600
        assert list(bench.finder.find_silent(end + 600)) == []
        (found,) = bench.finder.find_silent(end + 3 * HOUR)
        assert found.key == "silent:acme"
        assert found.sentence == (
            "store acme: no webhook since 2026-05-28 21:00 UTC, when about 60 are usual; "
            "check that the shop is up and its webhooks are active (woocommerce disables webhooks that fail)"
        )
        bench.outbox.record(decision("new", mapped(1), at=end + 3 * HOUR))
        assert list(bench.finder.find_silent(end + 3 * HOUR + 60)) == []

    @pytest.mark.databases("sqlite", "postgresql")
    def test_a_store_without_a_past_is_not_silent(self, bench: Bench) -> None:
        """Whether it never sent anything or has just begun to."""
        assert list(bench.finder.find_silent(NOW)) == []
        bench.outbox.record(decision("first", mapped(1)))
        assert list(bench.finder.find_silent(NOW + 60)) == []
        assert list(bench.finder.find_silent(NOW + 9 * DAY)) == []


# Few rows, or what a query limited
SCANS: tuple[str, ...] = ("SCAN lanes", "SCAN relays", "SCAN alert_addresses", "SCAN first", "SCAN anon_1")


def test_every_look_goes_by_an_index(sqlite_engine: Engine, plans: Callable[[], list[str]]) -> None:
    """A million finished rows cost nothing."""
    bench = Bench(sqlite_engine)
    fill(bench.outbox, 1)
    steps = plans()
    list(bench.finder.find(NOW + 100))
    for index in ("events_due", "events_failed", "parked_at", "counters_hour"):
        assert any(index in step for step in steps), (index, steps)
    assert [step for step in steps if step.startswith("SCAN") and not step.startswith(SCANS)] == []
