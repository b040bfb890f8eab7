"""connector.sync.fetch: what thin webhooks name is fetched once, in its last state, whatever fails; both databases."""

import threading

import pytest
from sqlalchemy import Engine

from connector.core.units import DAY, HOUR
from connector.core.webhook import NotJson, Request
from connector.dashboard.labels import notice_sentence
from connector.monitoring.event_stats import EventStats
from connector.monitoring.problems import ProblemFinder
from connector.outbox.queries import EventFilter, OutboxQueries
from connector.plugin.testing.bench import handle_request
from connector.privacy.erasure import Erasure
from connector.privacy.retention import RetentionStore
from connector.storage.tables import events, ledger, notices, parked
from connector.sync.fetch import LAST_RETRY, LEASE_SECONDS, NoticeFetcher
from connector.web.metrics import DatabaseMetrics
from tests.support.outbox_rows import rows
from tests.support.thin_shop import CHANGED, NOW, SECRET, World, failures, in_threads


@pytest.fixture
def world(engine: Engine) -> World:
    return World(engine)


def names(world: World) -> list[tuple[str, str]]:
    return sorted((row.event, row.event_id) for row in OutboxQueries(world.database).find(EventFilter(), 1000))


class TestTheWay:
    def test_a_notice_becomes_the_order_that_the_shop_has(self, world: World) -> None:
        """Answered without asking the shop, then fetched, and in the ledger like a webhook, with its delivery's id."""
        world.place(250)
        assert world.notify(250) == "noted"
        assert world.api.asked == []
        assert [(row.object_key, row.topic) for row in rows(world.engine, notices)] == [("order:250", CHANGED)]
        assert world.fetch() == 1
        assert names(world) == [("PlaceAnOrder", "acme-order-250")]
        (line,) = rows(world.engine, ledger)
        assert (line.topic, line.delivery, line.outcome, line.object_key) == ("order", "d-250", "relayed", "order:250")
        (event,) = rows(world.engine, events)
        assert event.occurred_at == NOW  # that of the notice, where the shop states none
        assert rows(world.engine, notices) == []
        assert world.fetch() == 0

    def test_a_notice_that_is_not_json_is_counted(self, world: World) -> None:
        """As every signed webhook is that is answered 400: the checklist of the store's setup names them."""
        headers = {"x-token": SECRET, "x-delivery": "d-1"}
        with pytest.raises(NotJson):
            handle_request(
                world.intake, world.store, Request(headers, b'{"topic": "orders/changed", "x": "\xff"}', world.clock())
            )
        world.intake.counters.flush()
        counted = OutboxQueries(world.database).counted()
        assert [(row.topic, row.what, row.count) for row in counted] == [(CHANGED, "not_json", 1)]

    def test_equal_bodies_are_different_changes(self, world: World) -> None:
        """The ledger knows bodies by their digest; a notice is fetched again all the same, and brings what is new."""
        world.place(1)
        world.notify(1)
        world.fetch()
        world.place(1, paid=True)
        world.notify(1)
        assert world.fetch() == 1
        assert names(world) == [("PlaceAnOrder", "acme-order-1"), ("Purchase", "acme-order-1")]
        world.notify(1)
        assert world.fetch() == 1
        assert len(names(world)) == 2

    def test_several_notices_of_one_order_are_fetched_once(self, world: World) -> None:
        world.place(1)
        for _ in range(3):
            world.notify(1)
        assert world.fetch(0.5) == 0  # others may come yet
        assert world.fetch() == 1
        assert world.api.asked == ["order:1"]

    def test_a_notice_during_the_fetch_makes_it_fetch_again(self, world: World) -> None:
        """The answer may be older than the change."""
        world.place(1)
        world.notify(1)

        def change() -> None:
            world.api.wait = lambda: None
            world.place(1, paid=True)
            world.notify(1)

        world.api.wait = change
        assert world.fetch() == 2
        assert ("Purchase", "acme-order-1") in names(world)

    def test_an_order_that_the_shop_no_longer_has_ends_with_a_line(self, world: World) -> None:
        world.notify(404)
        world.fetch()
        (line,) = rows(world.engine, ledger)
        assert (line.object_key, line.outcome) == ("order:404", "recorded")
        assert "no longer has it" in line.reason
        assert rows(world.engine, notices) == []

    def test_what_the_answer_cannot_be_read_as_is_parked_and_replayed(self, world: World) -> None:
        world.api.orders["1"] = {"id": 1}
        world.notify(1)
        world.fetch()
        (item,) = OutboxQueries(world.database).parked()
        assert (item.topic, item.reason) == ("order", "expected an order")
        assert world.intake.replay(item) == "parked"

    def test_a_webhook_that_names_nothing_or_nothing_of_ours(self, world: World) -> None:
        """The first is parked, the second counted; one of another shop is parked as any webhook of it."""
        assert world.notify(None) == "parked"
        assert world.notify("x" * 300) == "parked"
        assert world.notify(5, about="products") == "ignored"
        assert world.notify(5, shop="other") == "parked"
        reasons = {row.reason for row in rows(world.engine, parked)}
        assert "expected an id of 1 to 255 characters in the body of topic orders/changed" in reasons
        assert rows(world.engine, notices) == []
        for item in OutboxQueries(world.database).parked():
            assert world.intake.replay(item) == "parked"

    def test_outcomes_are_counted(self, world: World) -> None:
        world.place(1)
        for number in (1, 404):
            world.notify(number)
        world.fetch()
        found = EventStats(world.database).read(["acme"], ("fetched",), NOW - DAY, NOW + DAY, DAY)
        assert {(one.event, one.detail, one.count) for one in found} == {("order", "relayed", 1), ("order", "gone", 1)}


class TestFaults:
    def test_a_shop_that_is_away_is_asked_after_growing_pauses(self, world: World) -> None:
        """By one notice, while others wait; all arrive when it is back."""
        for number in (1, 2, 3):
            world.place(number)
            world.notify(number)
        world.api.errors = [*failures("unreachable", 9)]
        waited = []
        while world.api.errors:
            before, asked = world.now, len(world.api.asked)
            while len(world.api.asked) == asked:
                world.fetch(1.0)
            waited.append(round(world.now - before))
        assert waited[1:] == [5, 10, 20, 40, 80, 160, 320, LAST_RETRY]
        world.fetch(LAST_RETRY)
        assert len(names(world)) == 3
        world.fetcher = world.hire("two")
        assert rows(world.engine, notices) == []

    def test_an_order_that_is_refused_delays_no_other(self, world: World) -> None:
        for number in (1, 2):
            world.place(number)
            world.notify(number)
        world.api.errors = [*failures("refused", 1)]
        assert world.fetch() == 1
        assert len(names(world)) == 1
        assert world.fetch() == 1

    @pytest.mark.slow
    @pytest.mark.databases("sqlite")
    def test_after_a_day_it_is_left_to_reconciliation(self, world: World) -> None:
        """With a line that says so, the error in it."""
        world.notify(1)
        world.api.errors = [*failures("keys", 1000)]
        for _ in range(int(DAY / LAST_RETRY) + 20):
            world.fetch(LAST_RETRY)
        assert rows(world.engine, notices) == []
        (line,) = rows(world.engine, ledger)
        assert line.reason.startswith("not fetched within a day, so it is left to reconcile or `connector backfill`: ")
        assert "the shop says keys" in line.reason
        found = EventStats(world.database).read(["acme"], ("fetched",), 0, world.now + 1, DAY)
        assert [(one.detail, one.count) for one in found] == [("given_up", 1)]

    def test_it_is_a_problem_after_five_minutes_and_over_with_the_answer(self, world: World) -> None:
        world.place(1)
        world.notify(1)
        world.api.errors = [*failures("keys", 3)]
        finder = ProblemFinder(world.database, {"acme": world.store})

        def problems() -> dict[str, str]:
            return {one.key: one.sentence for one in finder.find(world.now) if one.key.startswith("notices")}

        world.fetch()
        assert problems() == {}
        world.fetch(400)
        assert problems() == {
            "notices:acme": "store acme: 1 order or registration that its webhooks named could not be fetched from the "
            "shop since 2027-01-15 08:00 UTC, will retry for a day: the shop says keys"
        }
        world.fetch(LAST_RETRY)
        world.fetch(LAST_RETRY)
        assert problems() == {}

    @pytest.mark.parametrize("fault", [KeyError("x"), b"not JSON"])
    def test_a_fault_of_the_platform_is_tried_again(self, world: World, fault: object) -> None:
        """It names no value of the answer, and ends no worker."""
        world.place(1)
        world.notify(1)
        if isinstance(fault, bytes):
            world.api.orders["1"] = fault
        else:
            world.api.errors = [KeyError("ada@example.com")]
        assert world.fetch() == 0
        (row,) = rows(world.engine, notices)
        assert row.attempts == 1
        assert row.error
        assert "ada" not in row.error
        world.place(1)
        assert world.fetch() == 1

    def test_a_shop_that_asks_for_patience_gets_it(self, world: World) -> None:
        """A short pause within the attempt, a long one for the whole shop."""
        world.place(1)
        world.notify(1)
        world.api.pauses = [0.001, 90.0]
        assert world.fetch() == 0
        assert world.fetch(80.0) == 0
        assert len(world.api.asked) == 1
        world.api.pauses = []
        assert world.fetch(11.0) == 1

    def test_what_a_killed_process_had_leased_is_fetched_by_another(self, world: World) -> None:
        class Killed(BaseException):
            pass

        world.place(1)
        world.notify(1)
        world.api.errors = [Killed()]  # type: ignore[list-item]
        with pytest.raises(Killed):
            world.fetch()
        world.fetcher = world.hire("two")
        assert world.fetch(LEASE_SECONDS - 1) == 0
        assert world.fetch(2.0) == 1

    def test_a_process_that_ends_gives_its_lease_back(self, world: World) -> None:
        """The next one fetches at once."""
        world.place(1)
        world.notify(1)
        stop = threading.Event()
        world.now += 5
        world.api.pauses = [9.0]
        world.api.wait = stop.set
        world.fetcher.run(stop)
        assert world.api.asked == ["order:1"]
        assert names(world) == []
        world.api.pauses, world.api.wait = [], lambda: None
        assert world.hire("two").fetch_due(world.store) == 1


def test_what_waits_is_in_the_story_and_the_metrics(world: World) -> None:
    """From the moment that it was named, with the error of the last attempt; and gone with the answer."""
    queries = OutboxQueries(world.database)

    def shown() -> tuple[str, dict[str, float]]:
        (row,) = queries.notices("250")
        assert queries.notice("acme", "order:250") == row
        return notice_sentence(row, world.now), metrics()

    def metrics() -> dict[str, float]:
        found = DatabaseMetrics(world.database, ["acme"], lambda: world.now).collect()
        samples = (one for family in found if family.name.startswith("connector_notices") for one in family.samples)
        return {
            " ".join([one.name.removeprefix("connector_notices_"), *one.labels.values()]): one.value for one in samples
        }

    world.place(250)
    world.notify(250)
    begin = "The shop's webhook of 2027-01-15 08:00:00 (orders/changed) only names it; "
    assert shown() == (
        f"{begin}it will be fetched from the shop in a moment.",
        {"waiting acme": 1, "oldest_seconds acme": 0},
    )
    world.api.wait = lambda: texts.append(shown()[0])
    texts: list[str] = []
    world.api.errors = [*failures("throttled", 1)]
    world.fetch()
    assert texts == [f"{begin}it is being fetched from the shop now."]
    assert shown() == (
        f"{begin}it could not be fetched in 1 attempt, will retry for a day: the shop says throttled",
        {"waiting acme": 1, "oldest_seconds acme": 5},
    )
    world.fetch()
    assert queries.notices("250") == []
    assert queries.notice("acme", "order:250") is None
    assert metrics() == {"fetched_total acme order relayed": 1}


@pytest.mark.slow
def test_processes_at_the_same_time_fetch_each_order_once(world: World) -> None:
    for number in range(1, 31):
        world.place(number)
        world.notify(number)
    world.now += 5
    fetchers = [world.hire(name) for name in ("one", "two", "three")]
    in_threads(*(lambda fetcher=fetcher: fetcher.fetch_due(world.store) for fetcher in fetchers))
    assert len(names(world)) == 30
    assert sorted(world.api.asked) == sorted(f"order:{number}" for number in range(1, 31))


def test_the_job_fetches_by_itself_and_ends_with_the_process(world: World) -> None:
    for number in range(1, 6):
        world.place(number)
        world.notify(number)
    world.now += 5
    stop, fetched = threading.Event(), threading.Semaphore(0)
    world.api.wait = fetched.release
    thread = threading.Thread(target=world.fetcher.run, args=(stop,), daemon=True)
    thread.start()
    for _ in range(5):
        assert fetched.acquire(timeout=60)
    stop.set()
    thread.join(60)
    assert not thread.is_alive()
    assert len(names(world)) == 5


def test_without_thin_stores_the_job_ends_at_once(world: World) -> None:
    NoticeFetcher({}, {}, world.intake, world.database, "one").run(threading.Event())


def test_old_notices_and_those_of_an_erased_store_go(world: World) -> None:
    """Of stores that were removed, nobody fetches them."""
    for number in (1, 2):
        world.notify(number)
        world.now += HOUR
    retention = RetentionStore(world.database)
    assert retention.forget_notices(NOW + 1) == 1
    assert [row.object_key for row in rows(world.engine, notices)] == ["order:2"]
    Erasure(world.database).erase_store("acme", world.now, world.now, lambda: None)
    assert rows(world.engine, notices) == []


def test_a_clock_that_had_jumped_delays_no_notice(world: World) -> None:
    """Neither a lease nor a pause that it wrote."""
    world.place(1)
    world.now += 30 * DAY
    world.notify(1)
    world.now = NOW
    assert world.fetch() == 1


def test_a_fault_names_the_platform(world: World) -> None:
    """An API without `fetch` is a fault of the package."""
    world.notify(1)
    world.api.connect = lambda store, pause: object()  # type: ignore[method-assign, assignment, return-value]
    world.fetch()
    assert "has no fetch()" in rows(world.engine, notices)[0].error
