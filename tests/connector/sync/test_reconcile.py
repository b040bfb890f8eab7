"""connector.sync.reconcile: rounds by schedule, one process at a time, what they heal and what they tell."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from connector.core.store import ApiKeys
from connector.monitoring.alerts import AlertStore
from connector.outbox.outbox import Outbox
from connector.outbox.queries import OutboxQueries
from connector.storage.database import Database
from connector.storage.lease import Lease
from connector.storage.tables import events, leases, ledger
from connector.sync.checkpoints import Checkpoints
from connector.sync.reconcile import FIRST, GAPS_END, LEASE_SECONDS, OVERLAP, PIECE, STALLED, UNDER_WAY, Reconciler
from tests.support.fakes.living import NOTHING_TO_MATCH, Clock, Living, server
from tests.support.filled import rows
from tests.support.platforms import PLATFORMS

EVERY = 900.0


class Healed(Living):
    """A shop with reconciliation every quarter of an hour, started long ago."""

    def __init__(self, platform: str) -> None:
        super().__init__(platform, Clock())
        started = datetime.fromtimestamp(self.clock.now - 30 * 86_400, UTC)
        self.store = replace(self.store, reconcile=timedelta(seconds=EVERY), go_live=started)

    def healer(self, engine: Engine, owner: str = "one") -> Reconciler:
        stores, administrations = {"acme": self.store}, {self.platform: self.administration}
        return Reconciler(stores, PLATFORMS, administrations, Database(engine), owner, self.clock)

    def visit(self, engine: Engine, owner: str = "one") -> bool:
        return self.healer(engine, owner).visit(self.store)

    def later(self, engine: Engine, seconds: float = EVERY) -> bool:
        """A round when so much time has passed."""
        self.clock.now += seconds
        return self.visit(engine)


def living(platform: str) -> Iterator[Healed]:
    shop = Healed(platform)
    with shop.fake:
        yield shop


@pytest.fixture(params=["shopify", "woocommerce"])
def shop(request: pytest.FixtureRequest) -> Iterator[Healed]:
    yield from living(request.param)


@pytest.fixture
def woocommerce() -> Iterator[Healed]:
    yield from living("woocommerce")


@pytest.fixture
def shopify() -> Iterator[Healed]:
    yield from living("shopify")


def names(engine: Engine) -> list[tuple[str, str]]:
    return sorted((row.event, row.event_id) for row in rows(engine, events))


def of_orders(*numbers: int) -> list[tuple[str, str]]:
    return sorted((event, f"acme-order-{number}") for number in numbers for event in ("PlaceAnOrder", "Purchase"))


def problems(engine: Engine) -> dict[str, str]:
    return {problem.key: problem.sentence for problem in OutboxQueries(Database(engine)).open_problems()}


class TestGaps:
    def test_what_no_webhook_brought_is_queued_and_told(self, shop: Healed, engine: Engine) -> None:
        orders = shop.place(3)
        shop.sign_up()
        assert shop.later(engine)
        assert set(of_orders(*orders)) < set(names(engine))
        told = problems(engine)["gaps:acme"]
        assert told.startswith("store acme: 3 orders and 1 sign-up had not arrived by webhook")

    def test_the_next_rounds_bring_nothing_twice(self, shop: Healed, engine: Engine) -> None:
        """Although they overlap. Their number stays what it was, and a day without any ends it."""
        orders = shop.place(2)
        for _ in range(3):
            shop.later(engine)
        assert names(engine) == of_orders(*orders)
        assert "2 orders or sign-ups had not" in problems(engine)["gaps:acme"]
        shop.later(engine, GAPS_END)
        assert "gaps:acme" not in problems(engine)
        shop.place()
        shop.later(engine)
        assert "1 order had not" in problems(engine)["gaps:acme"]
        shop.later(engine)
        assert "1 order or sign-up had not" in problems(engine)["gaps:acme"]

    def test_what_came_by_webhook_is_no_gap(self, shop: Healed, engine: Engine) -> None:
        with server(shop.store, Outbox(Database(engine))) as address:
            shop.register(engine, address)
            shop.place(2)
        shop.later(engine)
        assert problems(engine) == {}
        assert all(line.delivery != "reconcile" for line in rows(engine, ledger))

    def test_what_is_young_is_left_to_its_webhook(self, shop: Healed, engine: Engine) -> None:
        """A webhook under way knows more, and is no gap; one round later it is."""
        shop.visit(engine)
        shop.clock.now += EVERY - UNDER_WAY / 2
        orders = shop.place()
        shop.later(engine, UNDER_WAY / 2)
        assert names(engine) == []
        assert "gaps:acme" not in problems(engine)
        shop.later(engine)
        assert names(engine) == of_orders(*orders)

    def test_history_before_go_live_stays_history(self, shop: Healed, engine: Engine) -> None:
        """Without a date, what was ordered before the store's first start is not sent, nor walked."""
        shop.place()
        shop.clock.now += 3600
        shop.store = replace(shop.store, go_live=None)
        Outbox(Database(engine)).start_stores(["acme"], shop.clock.now)
        (new,) = shop.place()
        shop.later(engine)
        assert names(engine) == of_orders(new)

    def test_a_shop_whose_clock_differs_loses_nothing(self, shop: Healed, engine: Engine) -> None:
        """It dates an order up to the overlap's length before our time."""
        shop.visit(engine)
        shop.clock.now -= OVERLAP - EVERY - UNDER_WAY - 60
        orders = shop.place()
        shop.clock.now += OVERLAP - EVERY - UNDER_WAY - 60
        shop.later(engine)
        assert names(engine) == of_orders(*orders)


class TestSchedule:
    def test_a_round_is_due_by_its_interval_even_over_a_restart(self, shop: Healed, engine: Engine) -> None:
        assert shop.visit(engine)
        assert not shop.visit(engine)
        assert not shop.later(engine, EVERY - 1)
        assert shop.healer(engine).due() == []
        assert shop.later(engine, 1)

    def test_a_store_without_the_setting_is_not_visited(self, shop: Healed, engine: Engine) -> None:
        shop.store = replace(shop.store, reconcile=None)
        assert shop.healer(engine).due() == []
        assert not shop.visit(engine)

    def test_a_clock_that_jumped_holds_nothing_up(self, woocommerce: Healed, engine: Engine) -> None:
        shop = woocommerce
        shop.clock.now += 30 * 86_400
        shop.visit(engine)
        shop.clock.now -= 30 * 86_400
        orders = shop.place()
        assert shop.later(engine)
        assert names(engine) == of_orders(*orders)

    def test_after_an_outage_the_walk_begins_where_it_ended(self, shop: Healed, engine: Engine) -> None:
        """Piece by piece, but never further back than anything is sent."""
        shop.visit(engine)
        orders = []
        for _ in range(3):
            shop.clock.now += PIECE
            orders += shop.place()
        shop.later(engine)
        assert names(engine) == of_orders(*orders)
        asked = shop.asked()
        shop.later(engine, 60 * 86_400)
        assert shop.asked() - asked <= 2 * 7 * 86_400 / PIECE + 20

    def test_the_first_round_looks_back_a_day(self, shop: Healed, engine: Engine) -> None:
        shop.place()
        shop.clock.now += FIRST + OVERLAP
        (order,) = shop.place()
        shop.later(engine, UNDER_WAY + 60)
        assert names(engine) == of_orders(order)

    def test_two_at_once_visit_once(self, shop: Healed, engine: Engine) -> None:
        """Both find it due; the one whose turn it is not leaves it alone, on whichever host."""
        shop.place(4)
        shop.clock.now += EVERY
        visited: list[bool] = []
        together = threading.Barrier(2)

        def one(owner: str) -> None:
            healer = shop.healer(engine, owner)
            assert healer.due()
            together.wait(120)
            visited.append(healer.visit(shop.store))

        threads = [threading.Thread(target=one, args=(owner,)) for owner in ("one", "two")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert sorted(visited) == [False, True]
        assert len(names(engine)) == 8

    def test_a_round_whose_process_died_is_done_within_a_minute(self, shop: Healed, engine: Engine) -> None:
        """Its lease ends by itself, and a round that was begun and never ended is due."""
        orders = shop.place()
        shop.clock.now += EVERY
        Checkpoints(Database(engine)).begin("acme", shop.clock.now, FIRST)
        Lease(Database(engine), "reconcile:acme", LEASE_SECONDS).take("dead", shop.clock.now)
        assert not shop.visit(engine)
        assert LEASE_SECONDS <= 60
        assert shop.later(engine, 61)
        assert names(engine) == of_orders(*orders)
        assert not shop.later(engine, 61)

    def test_a_walk_that_was_left_goes_on(self, shopify: Healed, engine: Engine) -> None:
        """Ended in the middle, it has queued what it saw, and the next round queues the rest."""
        shopify.fake.rules.page_size = 2
        orders = shopify.place(6)
        shopify.clock.now += EVERY
        healer = shopify.healer(engine)
        ended = threading.Event()
        ended.set()
        healer.run(ended)  # the relay ends, and with it the walk that begins now
        assert healer.visit(shopify.store)
        assert 0 < len(names(engine)) < 12
        assert [store.name for store in shopify.healer(engine, "two").due()] == ["acme"]
        assert shopify.visit(engine, "two")  # at once, not after the interval
        assert names(engine) == of_orders(*orders)
        assert shopify.healer(engine).due() == []

    def test_a_round_that_fails_is_not_repeated_at_once(
        self, shopify: Healed, engine: Engine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A fault of ours would call the shop every ten seconds."""
        shopify.clock.now += EVERY
        healer = shopify.healer(engine)
        monkeypatch.setattr(healer, "_read", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            healer.visit(shopify.store)
        assert healer.due() == []
        shopify.clock.now += EVERY
        assert healer.due()


class TestFaults:
    def test_wrong_keys_are_told_at_once_and_their_end_too(self, shop: Healed, engine: Engine) -> None:
        """With the remedy and without the key; nothing is lost meanwhile."""
        orders = shop.place()
        right = shop.store
        keys = ApiKeys(access_token="shpat_wrong", consumer_key="ck_wrong", consumer_secret="cs_wrong")
        shop.store = replace(shop.store, api=keys)
        assert shop.later(engine)
        told = problems(engine)["shop:acme"]
        assert told.startswith("store acme: cannot fetch missed orders from the shop, will retry: ")
        assert "key" in told
        assert "wrong" not in told
        shop.store = right
        shop.later(engine)
        assert "shop:acme" not in problems(engine)
        assert names(engine) == of_orders(*orders)

    def test_a_shop_that_is_away_is_told_of_at_the_second_round(self, shopify: Healed, engine: Engine) -> None:
        orders = shopify.place()
        shopify.fake.fail(503, times=2)
        shopify.later(engine)
        assert problems(engine) == {}
        shopify.later(engine)
        assert "acme.myshopify.com does not answer (status 503)" in problems(engine)["shop:acme"]
        shopify.later(engine)
        assert "shop:acme" not in problems(engine)
        assert names(engine) == of_orders(*orders)

    def test_webhooks_that_our_keys_may_not_see_keep_nobody_from_the_orders(
        self, woocommerce: Healed, engine: Engine
    ) -> None:
        """It is told all the same."""
        orders = woocommerce.place()
        woocommerce.fake.forbidden.add("webhooks")
        woocommerce.later(engine)
        assert names(engine) == of_orders(*orders)
        assert "the keys' user may not do this" in problems(engine)["shop:acme"]

    def test_customers_that_are_closed_keep_nobody_from_the_orders(self, shop: Healed, engine: Engine) -> None:
        orders = shop.place()
        if shop.platform == "shopify":
            shop.fake.scopes.discard("read_customers")
        else:
            shop.fake.forbidden.add("customers")
        shop.later(engine)
        assert names(engine) == of_orders(*orders)
        assert "shop:acme" in problems(engine)
        before = Checkpoints(Database(engine)).last("acme")
        assert before
        assert before.upto == shop.clock.now - UNDER_WAY

    def test_orders_that_are_closed_are_fetched_when_they_are_open(self, shop: Healed, engine: Engine) -> None:
        """However long that took, and though no round had ever been good before."""
        orders = shop.place()
        reopened: Any = shop.fake.scopes if shop.platform == "shopify" else shop.fake.forbidden
        reopened.discard("read_orders") if shop.platform == "shopify" else reopened.add("orders")
        for _ in range(3):
            shop.later(engine, 18 * 3600)
        assert names(engine) == []
        reopened.add("read_orders") if shop.platform == "shopify" else reopened.discard("orders")
        shop.later(engine)
        assert names(engine) == of_orders(*orders)

    def test_problems_of_a_store_that_is_not_visited_any_more_end(self, shop: Healed, engine: Engine) -> None:
        alerts = AlertStore(Database(engine), shop.clock)
        for key in ("shop:gone", "gaps:acme", "denied:gone:C1"):
            alerts.report(key, "words")
        shop.healer(engine).tidy()
        assert set(problems(engine)) == {"gaps:acme", "denied:gone:C1"}


class TestGuarding:
    def test_a_webhook_that_vanished_is_told_until_the_next_round(self, shop: Healed, engine: Engine) -> None:
        shop.register(engine, NOTHING_TO_MATCH)
        wanted = shop.active()
        topic = "orders/paid" if shop.platform == "shopify" else "order.updated"
        shop.visit(engine)
        shop.switch_off(topic)
        orders = shop.place()
        shop.later(engine)
        assert shop.active() == wanted
        assert topic in problems(engine)["webhooks:acme"]
        assert names(engine) == of_orders(*orders)
        shop.later(engine)
        assert "webhooks:acme" not in problems(engine)


class TestWithheld:
    def test_an_app_that_sees_no_persons_is_told_of_after_some_orders(self, shopify: Healed, engine: Engine) -> None:
        """Over several rounds of one process, until an order says who bought."""
        shopify.fake.withholding = True
        healer = shopify.healer(engine)
        for number in (3, 3):
            assert "withheld:acme" not in problems(engine)
            shopify.place(number)
            shopify.clock.now += EVERY
            healer.visit(shopify.store)
        assert "access to protected customer data" in problems(engine)["withheld:acme"]
        shopify.fake.withholding = False
        shopify.place()
        shopify.clock.now += EVERY
        healer.visit(shopify.store)
        assert "withheld:acme" not in problems(engine)


class TestRun:
    """The schedule's thread, with real time."""

    def wait(self, met: Any, seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while not met():
            assert time.monotonic() < deadline
            threading.Event().wait(0.01)

    def test_it_works_beside_the_relay_and_ends_at_once(self, shop: Healed, engine: Engine) -> None:
        orders = shop.place()
        shop.clock.now += EVERY
        stop = threading.Event()
        thread = threading.Thread(target=shop.healer(engine).run, args=(stop, 0.01))
        thread.start()
        self.wait(lambda: names(engine) == of_orders(*orders))
        stop.set()
        thread.join(120)
        assert not thread.is_alive()

    def test_it_ends_the_problems_of_stores_that_are_no_longer_reconciled(self, engine: Engine) -> None:
        alerts = AlertStore(Database(engine))
        for key in ("gaps:gone", "shop:gone", "denied:gone:PIXEL"):
            alerts.report(key, "a sentence")
        healer = Reconciler({}, PLATFORMS, {}, Database(engine), "one")
        stop = threading.Event()
        thread = threading.Thread(target=healer.run, args=(stop, 0.01))
        thread.start()
        try:
            self.wait(lambda: set(problems(engine)) == {"denied:gone:PIXEL"})
        finally:
            stop.set()
            thread.join(120)

    def test_a_shop_that_never_answers_holds_nobody_up(self, shopify: Healed, engine: Engine) -> None:
        """Neither the other stores nor the end."""
        shopify.fake.fail("hang", times=100)
        with Healed("woocommerce").fake as fake:
            other = Healed("woocommerce")
            other.fake, other.clock = fake, shopify.clock
            fake.now = shopify.clock.moment
            keys = ApiKeys(consumer_key=fake.key, consumer_secret=fake.secret)
            other.store = replace(other.store, name="beans", url=fake.url, api=keys)
            (order,) = other.place()
            shopify.clock.now += EVERY
            stores = {"acme": shopify.store, "beans": other.store}
            modules = {"shopify": shopify.administration, "woocommerce": other.administration}
            healer = Reconciler(stores, PLATFORMS, modules, Database(engine), "one", shopify.clock)
            stop = threading.Event()
            thread = threading.Thread(target=healer.run, args=(stop, 0.01))
            thread.start()
            self.wait(lambda: names(engine) == of_orders(order))
            stop.set()
            thread.join(20)  # less than the shop is silent
            assert not thread.is_alive()

    def test_a_process_that_ends_gives_its_rounds_back(self, shop: Healed, engine: Engine) -> None:
        """In the middle of a request that the shop does not answer: the next process begins the round anew at once."""
        orders = shop.place()
        shop.fake.fail("hang", times=1)
        shop.clock.now += EVERY
        stop = threading.Event()
        thread = threading.Thread(target=shop.healer(engine).run, args=(stop, 0.01))
        thread.start()
        self.wait(lambda: [row.name for row in rows(engine, leases)] == ["reconcile:acme"])
        self.wait(lambda: shop.asked() > 0)
        assert not shop.visit(engine, "two")
        stop.set()
        thread.join(20)
        assert not thread.is_alive()
        assert rows(engine, leases) == []
        assert shop.visit(engine, "two")
        assert names(engine) == of_orders(*orders)

    def test_a_round_keeps_its_lease_while_a_shop_is_slow(
        self, shop: Healed, engine: Engine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Longer than the lease; but not for ever, or a hung request would stop the healing."""
        monkeypatch.setattr("connector.sync.reconcile.TICK", 0.05)
        shop.fake.fail("hang", times=1)
        shop.clock.now += EVERY
        stop = threading.Event()
        thread = threading.Thread(target=shop.healer(engine).run, args=(stop, 0.01))
        thread.start()

        def lease_until() -> float:
            return max((row.until for row in rows(engine, leases)), default=0.0)

        try:
            self.wait(lambda: shop.asked() > 0)
            for _ in range(3):
                shop.clock.now += LEASE_SECONDS / 2
                self.wait(lambda: lease_until() >= shop.clock.now + LEASE_SECONDS)
                assert not shop.visit(engine, "two")
            shop.clock.now += STALLED + 1
            assert shop.visit(engine, "two")
        finally:
            stop.set()
            thread.join(20)

    def test_a_pause_the_shop_asks_for_ends_with_the_process(self, shopify: Healed, engine: Engine) -> None:
        """A minute's wait is not waited for."""
        shopify.fake.fail(429, times=5, headers={"Retry-After": "50"})
        shopify.clock.now += EVERY
        administration = shopify.administration
        administration.connect = shopify.connect  # with the pause that it is given
        stores = {"acme": shopify.store}
        healer = Reconciler(
            stores,
            PLATFORMS,
            {"shopify": administration},
            Database(engine),
            "one",
            shopify.clock,
        )
        stop = threading.Event()
        relay = threading.Thread(target=healer.run, args=(stop, 0.0))
        relay.start()
        self.wait(lambda: shopify.asked() > 0)
        stop.set()
        relay.join(120)
        self.wait(lambda: "reconcile-acme" not in {thread.name for thread in threading.enumerate()}, 40)
