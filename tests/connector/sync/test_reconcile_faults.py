"""connector.sync.reconcile: rounds that fail, what they tell, and the thread that makes them."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Engine

from connector.core.store import ApiKeys
from connector.monitoring.alerts import AlertStore
from connector.storage.database import Database
from connector.storage.lease import Lease
from connector.storage.tables import leases
from connector.sync.checkpoints import Checkpoints
from connector.sync.reconcile import LEASE_SECONDS, STALLED, UNDER_WAY, Reconciler
from tests.support.fakes.living import NOWHERE
from tests.support.healed_shop import EVERY, Healed, names, of_orders, problems
from tests.support.outbox_rows import rows
from tests.support.platforms import PLATFORMS

pytestmark = pytest.mark.databases("sqlite")


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

    @pytest.mark.parametrize("rounds", [0, 1])
    def test_customers_that_are_closed_are_fetched_when_they_are_open(
        self, shop: Healed, engine: Engine, rounds: int
    ) -> None:
        """However long that took, though the orders have gone on, and though no round had ever been good before."""
        for _ in range(rounds):
            shop.visit(engine)
            shop.clock.now += 12 * 3600
        shop.sign_up()
        closed: Any = shop.fake.scopes if shop.platform == "shopify" else shop.fake.forbidden
        closed.discard("read_customers") if shop.platform == "shopify" else closed.add("customers")
        orders = []
        for _ in range(3):
            orders += shop.place()
            shop.later(engine, 8 * 3600)
        assert names(engine) == of_orders(*orders)
        closed.add("read_customers") if shop.platform == "shopify" else closed.discard("customers")
        shop.later(engine)
        assert [event for event, _ in set(names(engine)) - set(of_orders(*orders))] == ["CompleteRegistration"]
        assert of_orders(*orders) == [one for one in names(engine) if one[0] != "CompleteRegistration"]

    def test_problems_of_a_store_that_is_not_visited_any_more_end(self, shop: Healed, engine: Engine) -> None:
        alerts = AlertStore(Database(engine), shop.clock)
        for key in ("shop:gone", "gaps:acme", "denied:gone:C1"):
            alerts.report(key, "words")
        shop.healer(engine).tidy()
        assert set(problems(engine)) == {"gaps:acme", "denied:gone:C1"}


class TestGuarding:
    @pytest.mark.slow
    def test_a_webhook_that_vanished_is_told_until_the_next_round(self, shop: Healed, engine: Engine) -> None:
        shop.register(engine, NOWHERE)
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
    @pytest.mark.slow
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

    @pytest.fixture(autouse=True)
    def _rounds_end(self) -> Iterator[None]:
        """Wait for rounds that hang until their shop closes: they would give back the lease of the next test's."""
        yield
        self.wait(lambda: not any(thread.name.startswith("reconcile-") for thread in threading.enumerate()))

    @pytest.fixture
    def short_grace(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Rounds whose shop never answers are not waited for as long as usual when the process ends."""
        monkeypatch.setattr("connector.sync.reconcile.END_GRACE", 0.1)

    def wait(self, met: Any, seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while not met():
            assert time.monotonic() < deadline
            threading.Event().wait(0.01)

    def test_it_works_beside_the_relay_and_ends_at_once(self, shop: Healed, engine: Engine) -> None:
        orders = shop.place()
        shop.clock.now += EVERY
        stop = threading.Event()
        thread = threading.Thread(target=shop.healer(engine).run, args=(stop, 0.01), daemon=True)
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
        thread = threading.Thread(target=healer.run, args=(stop, 0.01), daemon=True)
        thread.start()
        try:
            self.wait(lambda: set(problems(engine)) == {"denied:gone:PIXEL"})
        finally:
            stop.set()
            thread.join(120)

    @pytest.mark.usefixtures("short_grace")
    @pytest.mark.slow
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
            thread = threading.Thread(target=healer.run, args=(stop, 0.01), daemon=True)
            thread.start()
            self.wait(lambda: names(engine) == of_orders(order))
            stop.set()
            thread.join(20)  # less than the shop is silent
            assert not thread.is_alive()

    @pytest.mark.usefixtures("short_grace")
    @pytest.mark.slow
    def test_a_process_that_ends_gives_its_rounds_back(self, shop: Healed, engine: Engine) -> None:
        """In the middle of a request that the shop does not answer: the next process begins the round anew at once."""
        orders = shop.place()
        shop.fake.fail("hang", times=1)
        shop.clock.now += EVERY
        stop = threading.Event()
        thread = threading.Thread(target=shop.healer(engine).run, args=(stop, 0.01), daemon=True)
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

    @pytest.mark.usefixtures("short_grace")
    @pytest.mark.slow
    def test_a_round_keeps_its_lease_while_a_shop_is_slow(
        self, shop: Healed, engine: Engine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Longer than the lease; but not for ever, or a hung request would stop the healing."""
        monkeypatch.setattr("connector.sync.reconcile.TICK", 0.05)
        shop.fake.fail("hang", times=1)
        shop.clock.now += EVERY
        stop = threading.Event()
        thread = threading.Thread(target=shop.healer(engine).run, args=(stop, 0.01), daemon=True)
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

    @pytest.mark.usefixtures("short_grace")
    @pytest.mark.slow
    def test_a_round_can_begin_while_leases_are_renewed(
        self, shopify: Healed, engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The tick in which that happens goes on to what is due."""
        monkeypatch.setattr("connector.sync.reconcile.TICK", 0.05)
        shopify.fake.fail("hang", times=2)
        beans = replace(shopify.store, name="beans")
        modules = {"shopify": shopify.administration}
        stop, renewed = threading.Event(), threading.Event()
        healer = Reconciler({"acme": shopify.store}, PLATFORMS, modules, Database(engine), "one", shopify.clock)
        runner = threading.Thread(target=healer.run, args=(stop, 0.01), daemon=True)

        class Renewed(Lease):
            def take(self, owner: str, now: float) -> bool:
                taken = super().take(owner, now)
                if threading.current_thread() is runner and not renewed.is_set():
                    round_ = threading.Thread(target=healer.visit, args=(beans,), name="reconcile-beans", daemon=True)
                    round_.start()
                    round_.join(0.5)  # it begins, or waits for the end of the renewal
                    renewed.set()
                return taken

        monkeypatch.setattr("connector.sync.reconcile.Lease", Renewed)
        runner.start()
        try:
            self.wait(renewed.is_set)
            self.wait(lambda: shopify.asked() == 2)
        finally:
            stop.set()
            runner.join(120)
        assert "reconciliation failed" not in caplog.text
        assert rows(engine, leases) == []

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
        relay = threading.Thread(target=healer.run, args=(stop, 0.0), daemon=True)
        relay.start()
        self.wait(lambda: shopify.asked() > 0)
        stop.set()
        relay.join(120)
        self.wait(lambda: "reconcile-acme" not in {thread.name for thread in threading.enumerate()}, 40)
