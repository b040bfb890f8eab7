"""connector.sync.backfill: what a shop's history becomes, read through the vendors' packages from fake shops."""

import json
import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from connector.core.event import PERSONAL_DATA_WITHHELD
from connector.core.shop_api import Page, ShopApiError
from connector.core.store import Pixel
from connector.monitoring.webhook_stats import WebhookStats
from connector.outbox.outbox import Outbox
from connector.plugin.testing.samples import fresh_journey
from connector.storage.database import Database
from connector.storage.tables import arrivals, counters, events, ledger, parked
from connector.sync.backfill import HistoryImport, KnownRecords
from tests.support.effort import examples, first_of
from tests.support.fakes.living import Clock, Living, server
from tests.support.outbox_rows import rows
from tests.support.platforms import PLATFORMS

pytestmark = pytest.mark.databases("sqlite")

ALWAYS = datetime.fromtimestamp(0, UTC)
DAY = timedelta(days=1)


@pytest.fixture(params=first_of(["shopify", "woocommerce"]))
def shop(request: pytest.FixtureRequest) -> Iterator[Living]:
    living = Living(request.param, Clock())
    with living.fake:
        yield living


@pytest.fixture
def shopify() -> Iterator[Living]:
    living = Living("shopify", Clock())
    with living.fake:
        yield living


@pytest.fixture
def woocommerce() -> Iterator[Living]:
    living = Living("woocommerce", Clock())
    with living.fake:
        yield living


def history(shop: Living, outbox: Outbox, **how: Any) -> HistoryImport:
    values: dict[str, Any] = {"kind": "backfill", "go_live": ALWAYS, "clock": shop.clock.moment} | how
    return HistoryImport(shop.store, PLATFORMS[shop.platform], outbox, KnownRecords(outbox.database), **values)


def walk(shop: Living, outbox: Outbox, back: timedelta = DAY, **how: Any) -> HistoryImport:
    """The whole history of the last day."""
    walked, admin = history(shop, outbox, **how), shop.connect(shop.store)
    now = shop.clock.moment()
    for _ in (*walked.orders(admin, now - back, now), *walked.customers(admin, now - back, now)):
        pass
    return walked


def offered(shop: Living, outbox: Outbox, *bodies: bytes, **how: Any) -> HistoryImport:
    """A history of just these bodies."""

    class Odd:
        def orders(self, *_: Any) -> Iterator[Page]:
            yield Page("orders/updated" if shop.platform == "shopify" else "order.updated", bodies)

    walked = history(shop, outbox, **how)
    assert len(list(walked.orders(Odd(), ALWAYS, ALWAYS))) == 1  # type: ignore[arg-type]
    return walked


def _json(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)


def names(engine: Engine) -> list[tuple[str, str]]:
    return sorted((row.event, row.event_id) for row in rows(engine, events))


def of_orders(*numbers: int) -> list[tuple[str, str]]:
    return sorted((event, f"acme-order-{number}") for number in numbers for event in ("PlaceAnOrder", "Purchase"))


class TestWhatIsQueued:
    @pytest.mark.databases("sqlite", "postgresql")
    def test_orders_and_sign_ups_once_each(self, shop: Living, outbox: Outbox, engine: Engine) -> None:
        """With the event_ids that their webhooks would have had; a second walk finds them there."""
        orders, people = shop.place(3), shop.sign_up(2)
        tally = walk(shop, outbox).summary
        assert names(engine) == sorted(
            [*of_orders(*orders), *(("CompleteRegistration", f"acme-customer-{number}") for number in people)]
        )
        assert (tally.found, tally.queued["order"], tally.queued["customer"], tally.events) == (5, 3, 2, 8)
        again = walk(shop, outbox).summary
        assert (again.found, again.already_stored, again.queued.total()) == (5, 5, 0)
        assert len(rows(engine, ledger)) == 5

    def test_what_came_by_webhook_is_there(self, shop: Living, outbox: Outbox, engine: Engine) -> None:
        """And the webhook that comes after its history changes nothing either."""
        with server(shop.store, outbox) as address:
            shop.register(engine, address)
            orders = shop.place(2)
            tally = walk(shop, outbox).summary
            assert (tally.already_stored, tally.queued.total()) == (2, 0)
            shop.lose(1.0)
            late = shop.place()
            assert walk(shop, outbox).summary.queued["order"] == 1
            shop.lose(0.0)
            shop.fake.update(late[0], note="changed")
        assert names(engine) == of_orders(*orders, *late)

    def test_an_order_that_was_paid_later_brings_its_payment(
        self, shop: Living, outbox: Outbox, engine: Engine
    ) -> None:
        (order,) = shop.place(paid=False)
        walk(shop, outbox)
        assert names(engine) == [("PlaceAnOrder", f"acme-order-{order}")]
        shop.clock.now += 3600
        shop.fake.pay(order)
        assert walk(shop, outbox).summary.events == 1
        assert names(engine) == of_orders(order)

    def test_milestones_that_are_off_are_not_asked_for(self, shop: Living, outbox: Outbox) -> None:
        """Neither orders nor customers, if no event of theirs is sent."""
        shop.place()
        shop.sign_up()
        shop.store = replace(shop.store, events=dict.fromkeys(shop.store.events, ()))
        assert walk(shop, outbox).summary.found == 0
        assert shop.asked() == 0

    def test_only_what_happened_in_the_time_asked_for(self, shop: Living, outbox: Outbox, engine: Engine) -> None:
        """An order of last week that was changed today was perhaps sent by another sender then."""
        (old,) = shop.place()
        shop.clock.now += 3 * 86_400
        shop.fake.update(old, note="changed")
        (new,) = shop.place()
        now = shop.clock.moment()
        tally = walk(shop, outbox, between=(now - DAY, now)).summary
        assert (tally.found, tally.outside, tally.queued["order"]) == (2, 1, 1)
        assert names(engine) == of_orders(new)

    @pytest.mark.databases("sqlite", "postgresql")
    def test_nothing_beyond_the_age_limits(self, shop: Living, outbox: Outbox, engine: Engine) -> None:
        """47 hours where the browser sends too, whatever is asked for; the ledger says why."""
        shop.store = replace(shop.store, browser_pixel="own")
        shop.place()
        shop.clock.now += 2 * 86_400
        tally = walk(shop, outbox, back=5 * DAY).summary
        assert (tally.skipped, tally.queued.total()) == (1, 0)
        assert names(engine) == []
        (line,) = rows(engine, ledger)
        assert (line.outcome, line.delivery) == ("skipped", "backfill")
        assert "older than 47h" in line.reason
        assert {"order_placed", "order_paid"} == {reason.partition(":")[0] for reason in tally.reasons}
        walk(shop, outbox, back=5 * DAY)
        assert len(rows(engine, ledger)) == 1

    @pytest.mark.databases("sqlite", "postgresql")
    def test_a_dry_run_says_the_same_and_stores_nothing(self, shop: Living, outbox: Outbox, engine: Engine) -> None:
        shop.place(2)
        shop.place(status="cancelled", cancelled_at=shop.clock.moment().isoformat(), date_paid_gmt=None)
        dry = walk(shop, outbox, dry_run=True).summary
        assert [rows(engine, table) for table in (events, ledger, parked, counters)] == [[], [], [], []]
        wet = walk(shop, outbox).summary
        assert dry == wet
        assert (wet.queued["order"], wet.skipped) == (2, 1)

    @pytest.mark.databases("sqlite", "postgresql")
    def test_a_pixel_that_is_new_gets_what_the_others_have(self, shop: Living, outbox: Outbox, engine: Engine) -> None:
        (order,) = shop.place()
        walk(shop, outbox)
        shop.store = replace(shop.store, pixels=(*shop.store.pixels, Pixel("CSECOND0000000000000", "t")))
        assert walk(shop, outbox).summary.events == 2
        assert len(names(engine)) == 4
        assert set(names(engine)) == set(of_orders(order))


class TestWhatItLeaves:
    def test_it_is_told_where_an_event_came_from(self, shop: Living, outbox: Outbox, engine: Engine) -> None:
        shop.place()
        walk(shop, outbox, kind="reconcile")
        (line,) = rows(engine, ledger)
        assert (line.outcome, line.delivery) == ("relayed", "reconcile")
        assert line.reason.startswith("from the shop's history: its webhook had not arrived")

    def test_it_is_no_arrival(self, shop: Living, outbox: Outbox, engine: Engine) -> None:
        """Or a shop whose webhooks have all gone would never count as silent."""
        shop.place(2)
        shop.place(status="cancelled", cancelled_at=shop.clock.moment().isoformat(), date_paid_gmt=None)
        walk(shop, outbox)
        walk(shop, outbox)
        assert len(rows(engine, ledger)) == 3
        WebhookStats(Database(engine)).count_up(shop.clock.now + 1)
        assert rows(engine, arrivals) == []

    def test_a_body_that_does_not_fit_is_parked_and_costs_no_other(
        self, shop: Living, outbox: Outbox, engine: Engine
    ) -> None:
        """Once, however often it is walked."""
        (bad, good) = shop.place(2)
        del shop.fake.orders[bad]["line_items"]
        for _ in range(2):
            tally = walk(shop, outbox).summary
            assert tally.parked == 1
            assert any("expected an order body" in reason for reason in tally.reasons)
        assert names(engine) == of_orders(good)
        assert len(rows(engine, parked)) == 1

    @pytest.mark.parametrize("body", [b"[]", b"{}", b'{"id": NaN}', b"[" * 2000, b'{"id": 1, "line_items": 5}'])
    def test_an_odd_body_is_parked(self, shop: Living, outbox: Outbox, engine: Engine, body: bytes) -> None:
        """Once, though two pages show it."""
        walked = offered(shop, outbox, body, body)
        assert (walked.summary.found, walked.summary.parked) == (1, 1)
        assert len(rows(engine, parked)) == 1

    @examples(10)
    @given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), _json, max_leaves=8))
    def test_no_body_ends_a_walk(self, shop: Living, outbox: Outbox, value: object) -> None:
        """Whatever a plugin makes of an order: as itself, and in place of each of an order's fields."""
        topic = "orders/paid" if shop.platform == "shopify" else "order.updated"
        journey = fresh_journey(shop.store, shop.clock.moment(), random.Random(1))
        order = shop.samples.sample(topic, journey, shop.store)
        bodies = [json.dumps(each).encode() for each in (value, *({**order, name: value} for name in order))]
        tally = offered(shop, outbox, *bodies, dry_run=True).summary
        handled = tally.already_stored + tally.queued.total() + tally.empty + tally.skipped + tally.parked
        assert tally.found == handled == len(set(bodies))


class TestWhenItIsInterrupted:
    def test_a_walk_that_was_killed_goes_on_when_it_is_run_again(
        self, shopify: Living, outbox: Outbox, engine: Engine
    ) -> None:
        """What was queued is there; the rest is queued then."""
        shopify.fake.rules.page_size = 2
        orders = shopify.place(6)
        now = shopify.clock.moment()
        first = history(shopify, outbox).orders(shopify.connect(shopify.store), now - DAY, now)
        next(first)
        first.close()
        assert len(names(engine)) == 4
        tally = walk(shopify, outbox).summary
        assert (tally.already_stored, tally.queued["order"]) == (2, 4)
        assert names(engine) == of_orders(*orders)

    def test_a_limit_is_waited_for(self, shop: Living, outbox: Outbox, engine: Engine) -> None:
        orders = shop.place(3)
        shop.fail(2, 429)
        assert walk(shop, outbox).summary.queued["order"] == 3
        assert shop.clock.pauses
        assert names(engine) == of_orders(*orders)

    def test_a_failure_in_the_middle_costs_only_another_run(
        self, shopify: Living, outbox: Outbox, engine: Engine
    ) -> None:
        shopify.fake.rules.page_size = 2
        orders = shopify.place(5)
        shopify.fake.fail(503, times=3, on="page_info")
        with pytest.raises(ShopApiError):
            walk(shopify, outbox)
        assert len(names(engine)) == 4
        walk(shopify, outbox)
        assert names(engine) == of_orders(*orders)

    def test_a_shop_that_stumbles_is_asked_again(self, shopify: Living, outbox: Outbox, engine: Engine) -> None:
        shopify.fake.rules.page_size = 2
        orders = shopify.place(5)
        shopify.fake.fail(503, times=2, on="page_info")
        assert walk(shopify, outbox).summary.queued["order"] == 5
        assert shopify.clock.pauses == [2.0, 10.0]
        assert names(engine) == of_orders(*orders)

    @pytest.mark.slow
    def test_a_slow_host_is_asked_again(self, woocommerce: Living, outbox: Outbox, engine: Engine) -> None:
        orders = woocommerce.place(120, paid=True)
        after = [0]

        def fail_once(endpoint: str) -> None:
            after[0] += endpoint == "orders"
            if after[0] == 2:
                woocommerce.fail(1, 502)

        woocommerce.fake.before = fail_once
        assert walk(woocommerce, outbox).summary.queued["order"] == 120
        assert names(engine) == of_orders(*orders)


class TestWithheld:
    def test_orders_that_do_not_say_who_bought_are_counted(
        self, shopify: Living, outbox: Outbox, engine: Engine
    ) -> None:
        """Until one does; the ledger notes it, of webhooks too."""
        shopify.fake.withholding = True
        with server(shopify.store, outbox) as address:
            shopify.register(engine, address)
            shopify.place()
        assert PERSONAL_DATA_WITHHELD in rows(engine, ledger)[0].reason
        shopify.place(2)
        assert len(walk(shopify, outbox).summary.withheld) == 3
        assert all(PERSONAL_DATA_WITHHELD in line.reason for line in rows(engine, ledger) if line.outcome == "relayed")
        shopify.fake.withholding = False
        shopify.clock.now += 60
        shopify.place()
        assert walk(shopify, outbox).summary.withheld == set()

    def test_woocommerce_withholds_nothing(self, woocommerce: Living, outbox: Outbox) -> None:
        woocommerce.place()
        assert walk(woocommerce, outbox).summary.withheld == set()


def test_dates_are_the_shops_and_not_ours(woocommerce: Living, outbox: Outbox) -> None:
    """WooCommerce's filters take local time, unless told otherwise."""
    woocommerce.place()
    woocommerce.clock.now += 3 * 3600
    (new,) = woocommerce.place()
    woocommerce.clock.now += 60
    now = woocommerce.clock.moment()
    walked = history(woocommerce, outbox)
    list(walked.orders(woocommerce.connect(woocommerce.store), now - timedelta(hours=1), now))
    assert walked.summary.found == 1
    assert new in woocommerce.fake.orders
