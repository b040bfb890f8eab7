"""connector.monitoring.accuracy: shops of known truth, and what the figure says before and after a round."""

import json
import random
from collections import Counter
from dataclasses import replace
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from connector.core.units import DAY, HOUR
from connector.devtools.sandbox.server import Sandbox
from connector.monitoring.accuracy import DAYS, Accuracy, DayAccuracy
from connector.monitoring.problems import ProblemFinder
from connector.outbox.outbox import Outbox
from connector.outbox.queries import OutboxQueries
from connector.relay.events_api import EventsApi
from connector.relay.relay import Relay
from connector.storage.database import Database
from connector.web.metrics import DatabaseMetrics
from tests.support.effort import first_of
from tests.support.fakes.living import server
from tests.support.healed_shop import EVERY, Healed, living
from tests.support.platforms import PLATFORMS

pytestmark = pytest.mark.databases("sqlite")


@pytest.fixture(params=first_of(["shopify", "woocommerce"]))
def shop(request: pytest.FixtureRequest) -> Any:
    yield from living(request.param)


class TikTok:
    """A sandbox behind a relay; events of the orders in `refused` are rejected."""

    def __init__(self, shop: Healed, engine: Engine) -> None:
        self.refused: set[int] = set()
        self.away = False
        self.sandbox = Sandbox(shop.clock)
        client = httpx.Client(transport=httpx.MockTransport(self._answer))
        outbox = Outbox(Database(engine))
        self.relay = Relay({"acme": shop.store}, outbox, EventsApi("https://tiktok.example", client), shop.clock)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if self.away:
            return httpx.Response(200, json={"code": 40100, "message": "Too many requests.", "request_id": "1"})
        for index, item in enumerate(json.loads(request.content)["data"]):
            if int(item["event_id"].rpartition("-")[2]) in self.refused:
                words = f"Invalid value for data.{index}.event_time: not valid."
                return httpx.Response(200, json={"code": 40002, "message": words, "request_id": "1"})
        answer = self.sandbox.answer(request.headers, request.content)
        return httpx.Response(answer.status, content=answer.body)

    def send(self) -> None:
        while self.relay.step():
            pass


def begin_day(shop: Healed, engine: Engine) -> int:
    """Reconcile from the evening before, and go on to the next day's first hour; return that day."""
    shop.clock.now = shop.clock.now // DAY * DAY - 2 * HOUR - 3 * DAY
    shop.visit(engine)
    shop.clock.now += 3 * HOUR
    shop.visit(engine)
    return int(shop.clock.now) // DAY * DAY


def day_of(engine: Engine, day: int) -> DayAccuracy:
    return next(one for one in Accuracy(Database(engine)).days("acme", day) if one.day == day)


def to_the_next_day(shop: Healed, engine: Engine) -> None:
    shop.clock.now = (shop.clock.now // DAY + 1) * DAY + EVERY
    shop.visit(engine)


@pytest.mark.parametrize("seed", first_of(range(3)))
@pytest.mark.slow
def test_the_figure_of_a_shop_of_known_truth(shop: Healed, engine: Engine, seed: int) -> None:
    """Deliveries dropped, late, refused and skipped: not known before the next round, exact after it."""
    rng = random.Random(seed)
    day = begin_day(shop, engine)
    tiktok = TikTok(shop, engine)
    with server(shop.store, Outbox(Database(engine))) as address:
        shop.register(engine, address)
        arrived, refused = shop.place(rng.randint(1, 5)), shop.place(rng.randint(0, 2))
        skipped = shop.place(rng.randint(1, 3), **SKIPPED[shop.platform])
        shop.clock.now += HOUR
        shop.lose(1.0)
        dropped = shop.place(rng.randint(1, 5))
        parked = shop.place(rng.randint(0, 2), **UNREADABLE[shop.platform])
        shop.lose(0)
        tiktok.refused |= {*refused}
        tiktok.send()
        assert day_of(engine, day).share is None
        shop.later(engine, HOUR)
        tiktok.send()
        to_the_next_day(shop, engine)
    found = day_of(engine, day)
    total = len(arrived) + len(refused) + len(skipped) + len(dropped) + len(parked)
    assert (found.orders, found.complete, found.waiting) == (total, True, 0)
    assert found.sent == len(arrived) + len(dropped)
    assert sum(found.skipped.values()) == len(skipped)
    expected = Counter(
        {"TikTok rejected it (code 40002)": len(refused), "its webhook could not be processed": len(parked)}
    )
    assert Counter(found.missing) == +expected
    assert found.share == (len(arrived) + len(dropped) + len(skipped)) / total
    assert found.low == (found.share < 0.99)
    problems = {problem.key for problem in ProblemFinder(Database(engine), {"acme": shop.store}).find(shop.clock.now)}
    assert ("accuracy:acme" in problems) == found.low


SKIPPED = {"shopify": {"source_name": "pos"}, "woocommerce": {"created_via": "rest-api"}}
# What no rule foresees: of the shop's own list, but nothing the connector can read an order from.
UNREADABLE = {"shopify": {"created_at": None, "processed_at": None}, "woocommerce": {"date_created_gmt": None}}


def test_a_platform_that_says_nothing_of_sales_is_counted_by_its_events(
    shop: Healed, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`order_state` is optional: orders are counted by their events' time, skipped ones when they were first seen."""
    monkeypatch.delattr(type(PLATFORMS[shop.platform]), "order_state")
    day = begin_day(shop, engine)
    shop.place(2)
    shop.place(1, **SKIPPED[shop.platform])
    shop.later(engine, HOUR)
    TikTok(shop, engine).send()
    to_the_next_day(shop, engine)
    found = day_of(engine, day)
    assert (found.orders, found.sent, sum(found.skipped.values()), found.share) == (3, 2, 1, 1.0)


@pytest.mark.slow
def test_late_events_are_waited_for(shop: Healed, engine: Engine) -> None:
    """While TikTok is away nothing is known; once it is back, all is there."""
    day = begin_day(shop, engine)
    tiktok = TikTok(shop, engine)
    shop.place(3)
    tiktok.away = True
    shop.later(engine, HOUR)
    tiktok.send()
    to_the_next_day(shop, engine)
    assert (day_of(engine, day).waiting, day_of(engine, day).share) == (3, None)
    shop.clock.now += HOUR
    TikTok(shop, engine).send()
    assert day_of(engine, day).share is None
    shop.later(engine)
    assert (day_of(engine, day).sent, day_of(engine, day).share) == (3, 1.0)


@pytest.mark.slow
def test_days_before_the_first_round_and_today_are_not_known(shop: Healed, engine: Engine) -> None:
    day = begin_day(shop, engine)
    shop.place()
    shop.later(engine, HOUR)
    TikTok(shop, engine).send()
    shop.later(engine)
    assert day_of(engine, day).waiting == 0  # but the day is not over
    days = {one.day: one for one in Accuracy(Database(engine)).days("acme", 0)}
    assert [start for start, one in days.items() if one.complete] == [day - DAY]  # of which the first round saw all
    assert (days[day].orders, days[day].share) == (1, None)
    assert Accuracy(Database(engine)).latest("acme", shop.clock.now) is None  # a day without an order has no share
    to_the_next_day(shop, engine)
    known = [one.day for one in Accuracy(Database(engine)).days("acme", 0) if one.complete]
    assert known == [day, day - DAY]


@pytest.mark.slow
def test_a_hole_in_reconciliation_is_a_hole_in_what_is_known(shop: Healed, engine: Engine) -> None:
    """Reconciliation was off for longer than events are sent: the days of the hole are not known."""
    day = begin_day(shop, engine)
    shop.clock.now += 10 * DAY
    shop.visit(engine)
    to_the_next_day(shop, engine)
    known = {one.day for one in Accuracy(Database(engine)).days("acme", 0) if one.complete}
    assert day + 10 * DAY in known
    assert day + 2 * DAY not in known
    assert len(known) < 9


def test_a_replayed_body_is_no_longer_missing(shop: Healed, engine: Engine) -> None:
    """It was parked under its bytes; when its parked row is gone, its order counts by what became of it."""
    day = begin_day(shop, engine)
    shop.place(**UNREADABLE[shop.platform])
    shop.later(engine, HOUR)
    to_the_next_day(shop, engine)
    assert day_of(engine, day).missing == {"its webhook could not be processed": 1}
    outbox = Outbox(Database(engine))
    for item in OutboxQueries(Database(engine)).parked():
        outbox.unpark(item)
    shop.later(engine)
    assert (day_of(engine, day).orders, day_of(engine, day).missing) == (0, {})


def stored(engine: Engine, shop: Healed, sent: int, rejected: int) -> int:
    day = begin_day(shop, engine)
    tiktok = TikTok(shop, engine)
    shop.place(sent)
    tiktok.refused |= {*shop.place(rejected)}
    shop.later(engine, HOUR)
    tiktok.send()
    to_the_next_day(shop, engine)
    return day


@pytest.mark.slow
def test_metrics_name_the_latest_day_that_is_known(shop: Healed, engine: Engine) -> None:
    stored(engine, shop, 3, 1)
    found = {
        sample.name: sample.value
        for metric in DatabaseMetrics(Database(engine), ["acme", "beans"], shop.clock).collect()
        for sample in metric.samples
        if sample.name.startswith("connector_orders")
    }
    assert found == {"connector_orders_arrived_ratio": 0.75, "connector_orders_missing": 1.0}


@pytest.mark.slow
def test_the_alert_says_how_many_and_why(shop: Healed, engine: Engine) -> None:
    day = stored(engine, shop, 3, 1)
    finder = ProblemFinder(Database(engine), {"acme": shop.store})
    (problem,) = [one for one in finder.find(shop.clock.now) if one.key == "accuracy:acme"]
    assert "1 of the 4 orders of " in problem.sentence
    assert (
        "did not reach TikTok (1 × TikTok rejected it (code 40002)); see `connector accuracy acme`" in problem.sentence
    )
    assert day
    without = replace(shop.store, reconcile=None)
    assert not [
        one for one in ProblemFinder(Database(engine), {"acme": without}).find(shop.clock.now) if "accuracy" in one.key
    ]


def test_a_large_shops_days_are_read_one_by_one(sqlite_engine: Engine) -> None:
    """All at once they exceeded PostgreSQL's time limit, with 14,000 orders a day."""
    spans: list[float] = []

    def look(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        if "FROM orders" in statement:
            compiled = context.compiled_parameters[0]
            spans.append(compiled["placed_at_2"] - compiled["placed_at_1"])

    sa.event.listen(sqlite_engine, "before_cursor_execute", look)
    Accuracy(Database(sqlite_engine)).count("acme", 1_780_000_000.0)
    sa.event.remove(sqlite_engine, "before_cursor_execute", look)
    assert spans == [DAY] * DAYS
