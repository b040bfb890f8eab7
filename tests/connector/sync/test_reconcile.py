"""connector.sync.reconcile: rounds by schedule, one process at a time, what they heal and what they tell."""

import threading
from dataclasses import replace

import pytest
from sqlalchemy import Engine

from connector.outbox.outbox import Outbox
from connector.storage.database import Database
from connector.storage.lease import Lease
from connector.storage.tables import ledger
from connector.sync.checkpoints import Checkpoints
from connector.sync.reconcile import FIRST, GAPS_END, LEASE_SECONDS, OVERLAP, PIECE, UNDER_WAY
from tests.support.fakes.living import server
from tests.support.healed_shop import EVERY, Healed, names, of_orders, problems
from tests.support.outbox_rows import rows

pytestmark = pytest.mark.databases("sqlite")


class TestGaps:
    def test_what_no_webhook_brought_is_queued_and_told(self, shop: Healed, engine: Engine) -> None:
        orders = shop.place(3)
        shop.sign_up()
        assert shop.later(engine)
        assert set(of_orders(*orders)) < set(names(engine))
        told = problems(engine)["gaps:acme"]
        assert told.startswith("store acme: 3 orders and 1 registration had not arrived by webhook")

    @pytest.mark.slow
    def test_the_next_rounds_bring_nothing_twice(self, shop: Healed, engine: Engine) -> None:
        """Although they overlap. Their number stays what it was, and a day without any ends it."""
        orders = shop.place(2)
        for _ in range(3):
            shop.later(engine)
        assert names(engine) == of_orders(*orders)
        assert "2 orders or registrations had not" in problems(engine)["gaps:acme"]
        shop.later(engine, GAPS_END)
        assert "gaps:acme" not in problems(engine)
        shop.place()
        shop.later(engine)
        assert "1 order had not" in problems(engine)["gaps:acme"]
        shop.later(engine)
        assert "1 order or registration had not" in problems(engine)["gaps:acme"]

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

    @pytest.mark.databases("sqlite", "postgresql")
    @pytest.mark.slow
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
