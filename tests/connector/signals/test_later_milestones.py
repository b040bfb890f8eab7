"""An order keeps its browser's signals after the checkout, for days."""

import threading
from dataclasses import replace

import pytest

from connector.mapping.consent import CONSENT_DENIED
from connector.privacy.retention import KEY_OUTLIVES, RetentionJob, RetentionPolicy, RetentionStore
from connector.storage.database import Database
from connector.storage.tables import signals
from tests.support.checkouts import ASKING, SHOP, START, UNTOLD, Way, joined
from tests.support.effort import first_of

pytestmark = pytest.mark.databases("sqlite")

DAY = 86_400.0
PAYLOADS = 7 * DAY
YES = {"note_attributes": [{"name": "tiktok_consent", "value": "yes"}]}
KEYS = ("ttclid", "ttp", "ip", "user_agent", "url", "referrer")


class Quick(threading.Event):
    """A stop that nobody sets and that is not waited for."""

    def wait(self, timeout: float | None = None) -> bool:
        return self.is_set()


def later(way: Way, days: float) -> None:
    """So many days after the start, with housekeeping once a day until then."""
    policy = RetentionPolicy(payloads=PAYLOADS, ledger=90 * DAY, parked=14 * DAY)
    keeper = RetentionJob(RetentionStore(Database(way.engine)), policy, way.stores, "me", clock=lambda: way.now)
    while way.now < START + days * DAY:
        way.now = min(way.now + DAY, START + days * DAY)
        keeper.round(Quick())


def paid(way: Way, **changes):
    """The shop's webhook of a payment at this moment."""
    return way.webhook("orders/paid", processed_at=way.moment().isoformat(), **(UNTOLD | changes))


@pytest.fixture
def asking(engine):
    """A shop whose shoppers must say yes, and that sends events of any age TikTok takes."""
    return Way(engine, ASKING)


class TestAnswer:
    """The shopper's answer lasts as long as milestones may come."""

    @pytest.mark.parametrize("days", first_of([1.5, 8, 40]))
    def test_a_no_lasts(self, asking, days):
        """The cart said yes, the browser no: no later webhook revives the skipped events, or adds one."""
        asking.webhook("orders/create", **UNTOLD | YES)
        asking.beacon(consent="denied")
        asking.step()
        assert asking.states() == {"PlaceAnOrder": "skipped"}
        later(asking, days)
        paid(asking, **YES)
        asking.step(60)
        assert asking.sent() == {}
        assert {(row.state, row.message) for row in asking.rows()} == {("skipped", CONSENT_DENIED)}

    @pytest.mark.slow
    def test_a_no_lasts_as_long_as_the_orders_keys(self, asking):
        """And goes with them."""
        asking.webhook("orders/create", **UNTOLD | YES)
        asking.beacon(consent="denied")
        asking.step()
        later(asking, (PAYLOADS + KEY_OUTLIVES) / DAY - 0.1)
        (row,) = asking.signals()
        assert (row.consent, row.order_key) == ("denied", f"order:{asking.journey.order_id}")
        later(asking, (PAYLOADS + KEY_OUTLIVES) / DAY + 1)
        assert (asking.rows(), asking.signals()) == ([], [])

    @pytest.mark.parametrize("days", first_of([1.5, 8, 40]))
    def test_a_yes_lasts(self, asking, days):
        """A bank transfer that comes days later is a Purchase, although only the browser has said yes."""
        asking.beacon(consent="granted")
        asking.webhook("orders/create", financial_status="pending", **UNTOLD)
        asking.step()
        later(asking, days)
        paid(asking)
        asking.step()
        assert "Purchase" in asking.sent()

    def test_of_a_store_that_sends_no_placed_orders(self, engine):
        """The order's first webhook brings no event, and yet the answer is the order's."""
        way = Way(engine, replace(ASKING, events=ASKING.events | {"order_placed": ()}))
        way.beacon(consent="granted")
        way.webhook("orders/create", financial_status="pending", **UNTOLD)
        later(way, 3)
        assert way.rows() == []
        paid(way)
        way.step()
        assert joined(way.sent()["Purchase"])

    @pytest.mark.databases("sqlite", "postgresql")
    def test_a_beacon_after_the_order(self, asking):
        """Whichever comes first, and however long the order has been known."""
        asking.webhook("orders/create", **UNTOLD | YES)
        asking.step(60)
        asking.beacon(consent="denied")
        later(asking, 3)
        paid(asking, **YES)
        asking.step(60)
        assert asking.sent().keys() == {"PlaceAnOrder"}

    @pytest.mark.slow
    def test_an_order_that_lives_on_keeps_its_answer(self, asking):
        """Each webhook of the order prolongs it."""
        asking.beacon(consent="denied")
        for days in (0, 20, 40, 60, 80):
            later(asking, days)
            asking.webhook("orders/updated", note=str(days), financial_status="pending", **UNTOLD | YES)
        asking.step(60)
        assert asking.sent() == {}
        assert [row.consent for row in asking.signals()] == ["denied"]

    def test_a_checkout_without_an_order_is_forgotten_after_a_day(self, asking):
        """Its webhook is no order's."""
        asking.beacon(consent="granted")
        asking.webhook("checkouts/create", **UNTOLD)
        asking.step()
        later(asking, 1.5)
        assert asking.signals() == []


class TestKeys:
    """The browser's keys last as long as the payload of the order."""

    @pytest.mark.slow
    def test_an_order_paid_days_later_has_them(self, engine):
        """Purchase has the same keys as PlaceAnOrder."""
        way = Way(engine)
        way.webhook("orders/create", financial_status="pending", **UNTOLD)
        way.beacon()
        way.step()
        later(way, 5)
        paid(way)
        way.step()
        assert joined(way.sent()["Purchase"])
        assert way.sent()["Purchase"]["page"] == way.sent()["PlaceAnOrder"]["page"]

    @pytest.mark.slow
    def test_they_go_with_the_payload(self, engine):
        """The answer alone stays."""
        way = Way(engine)
        way.beacon(consent="granted")
        way.webhook("orders/create", financial_status="pending", **UNTOLD)
        way.step()
        later(way, 6.9)
        (row,) = way.signals()
        assert all(getattr(row, name) for name in KEYS)
        later(way, 8)
        (row,) = way.signals()
        assert not any(getattr(row, name) for name in KEYS)
        assert row.consent == "granted"
        assert [row.payload for row in way.rows()] == [None]

    @pytest.mark.slow
    def test_they_stay_while_a_payload_of_the_order_is_kept(self, engine):
        """Paid after six days: the Purchase's payload is younger."""
        way = Way(engine)
        way.beacon()
        way.webhook("orders/create", financial_status="pending", **UNTOLD)
        way.step()
        later(way, 6)
        paid(way)
        way.step()
        later(way, 12.9)
        assert [row.ttclid for row in way.signals()] == ["E.C.P.click"]
        later(way, 14)
        assert [row.ttclid for row in way.signals()] == [""]

    @pytest.mark.slow
    def test_without_events_they_are_kept_as_long_as_a_payload_would_be(self, engine):
        """After the last beacon."""
        way = Way(engine, replace(SHOP, events=SHOP.events | {"order_placed": ()}))
        way.beacon()
        way.webhook("orders/create", financial_status="pending", **UNTOLD)
        later(way, 6.9)
        assert [row.ttclid for row in way.signals()] == ["E.C.P.click"]
        later(way, 8)
        assert [row.ttclid for row in way.signals()] == [""]

    @pytest.mark.databases("sqlite", "postgresql")
    def test_what_a_clock_that_had_jumped_wrote_goes_too(self, engine):
        """A row of the year 2400 is not kept until then."""
        way = Way(engine)
        way.now = START + 140_000 * DAY
        way.beacon()
        way.webhook("orders/create", **UNTOLD)
        way.now = START
        with engine.begin() as connection:
            connection.exec_driver_sql("DELETE FROM events")
        later(way, 1)
        assert way.signals() == []


def test_a_store_without_signals_learns_nothing(engine):
    """No row, no statement."""
    way = Way(engine, replace(SHOP, signals=None))
    way.webhook("orders/create", **UNTOLD)
    assert way.rows(signals) == []


def test_an_order_known_already_is_not_written_again(engine):
    """A shop tells of each order many times."""
    way = Way(engine)
    way.webhook("orders/create", **UNTOLD)
    (first,) = way.signals()
    way.now += 3600
    way.webhook("orders/updated", note="x", **UNTOLD)
    assert way.signals() == [first]
    way.now += DAY
    way.webhook("orders/updated", note="y", **UNTOLD)
    (second,) = way.signals()
    assert second.order_seen_at == way.now
