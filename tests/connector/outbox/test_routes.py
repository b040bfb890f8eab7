"""Routes on the whole way, on both databases: orders that change, offline sets beside signals, what TikTok has."""

import json
from collections import Counter
from dataclasses import replace

import pytest
from sqlalchemy import Engine

from connector.core.store import OrderSettings, Pixel
from connector.outbox.outbox import Outbox
from tests.support.checkouts import ASKING, SHOP, Way
from tests.support.outbox_rows import OTHER_PIXEL, PIXEL, decision, mapped, rows

HOME, ABROAD = Pixel("CHOME000000000000000", "token", countries=("US",)), Pixel("CABROAD0000000000000", "token")
SET = Pixel("7012345678901234567", "token", source="offline", milestones=("order_paid",))
MARKETS = replace(SHOP, pixels=(HOME, replace(ABROAD, countries=("FR",))), signals=None)
FRANCE = {"country_code": "FR", "country": "France", "city": "Paris", "zip": "75001", "province_code": None}


def arrived(way: Way) -> Counter[tuple[str, str]]:
    """Pixel code and event name of all that TikTok's side has."""
    return Counter((one.event_source_id, json.loads(one.item)["event"]) for one in way.sandbox.received())


def at_route(pixel: Pixel, event: str = "Purchase", others: tuple[tuple[str, str], ...] = (), number: int = 1):
    return mapped(number, event, pixel, other_routes=frozenset(others))


class TestAnOrderThatChanges:
    """The first webhook that shows a milestone decides."""

    def test_another_address_moves_no_event(self, engine: Engine) -> None:
        """The Purchase was the American pixel's; it stays that when the order is sent to France instead."""
        way = Way(engine, MARKETS)
        assert way.webhook("orders/paid") == "relayed"
        assert way.webhook("orders/updated", shipping_address=FRANCE, financial_status="paid") == "duplicate"
        way.step(120)
        assert arrived(way) == {(HOME.code, "PlaceAnOrder"): 1, (HOME.code, "Purchase"): 1}

    def test_an_event_that_was_skipped_holds_no_other_route(self, engine: Engine) -> None:
        """It was never sent. A later webhook brings the shopper's yes, and sends the order where it goes then, once."""
        way = Way(engine, replace(ASKING, pixels=MARKETS.pixels))
        way.webhook("orders/paid", note_attributes=[])
        way.step(600)
        assert {row.state for row in way.rows()} == {"skipped"}
        france = {"shipping_address": FRANCE, "financial_status": "paid"}
        yes = {"note_attributes": [{"name": "tiktok_consent", "value": "yes"}]}
        assert way.webhook("orders/updated", **france, **yes) == "relayed"
        assert way.webhook("orders/updated", financial_status="paid", tags="back", **yes) == "duplicate"
        way.step(120)
        assert arrived(way) == {(ABROAD.code, "PlaceAnOrder"): 1, (ABROAD.code, "Purchase"): 1}

    def test_what_comes_later_goes_where_the_order_goes_then(self, engine: Engine) -> None:
        """Placed for America, paid for France: each event once, the later one at the French pixel."""
        way = Way(engine, MARKETS)
        way.webhook("orders/create", financial_status="pending")
        way.webhook("orders/paid", shipping_address=FRANCE, financial_status="paid")
        way.step(120)
        assert arrived(way) == {(HOME.code, "PlaceAnOrder"): 1, (ABROAD.code, "Purchase"): 1}

    def test_an_order_that_an_app_tags_as_a_renewal_afterwards_is_not_sent_again(self, engine: Engine) -> None:
        """The Purchase is sent; a Subscribe of the same order would count it twice."""
        names = {"renewal": {"order_paid": ("Subscribe",), "order_placed": ()}}
        include = OrderSettings(include=("web", "renewal"))
        way = Way(engine, replace(SHOP, signals=None, orders=include, events_of_kinds=names))
        way.webhook("orders/paid")
        tagged = {"tags": "Subscription Recurring Order", "financial_status": "paid"}
        assert way.webhook("orders/updated", **tagged) == "duplicate"
        way.step(120)
        assert {name for _, name in arrived(way)} == {"PlaceAnOrder", "Purchase"}

    def test_a_renewal_is_a_subscribe(self, engine: Engine) -> None:
        names = {"renewal": {"order_paid": ("Subscribe",), "order_placed": ()}}
        include = OrderSettings(include=("web", "renewal"))
        way = Way(engine, replace(SHOP, signals=None, orders=include, events_of_kinds=names))
        way.webhook("orders/paid", tags="Subscription Recurring Order")
        way.step(120)
        assert [name for _, name in arrived(way)] == ["Subscribe"]
        assert way.lines() == [("orders/paid", "relayed", "order_placed: events.renewal.order_placed is off")]

    def test_an_order_that_no_pixel_wants_can_find_one_later(self, engine: Engine) -> None:
        way = Way(engine, MARKETS)
        britain = FRANCE | {"country_code": "GB"}
        assert way.webhook("orders/create", shipping_address=britain, financial_status="pending") == "skipped"
        reason = "order_placed: no pixel takes order_placed of web orders to GB (pixels.countries)"
        assert way.lines() == [("orders/create", "skipped", reason)]
        assert way.webhook("orders/updated", shipping_address=FRANCE, financial_status="pending") == "relayed"
        way.step(120)
        assert arrived(way) == {(ABROAD.code, "PlaceAnOrder"): 1}

    def test_two_webhooks_in_one_transaction(self, outbox: Outbox, engine: Engine) -> None:
        """Group commit stores both at once; the first decides here, too."""
        first = at_route(PIXEL, others=((OTHER_PIXEL.code, "Purchase"),))
        second = at_route(OTHER_PIXEL, others=((PIXEL.code, "Purchase"),))
        assert outbox.record_all([decision("a", first), decision("b", second)]) == [1, 0]
        assert [row.pixel for row in rows(engine)] == [PIXEL.code]

    @pytest.mark.parametrize("number", ["2", "\ud800", "a\0b"])
    def test_another_order_is_not_concerned(self, outbox: Outbox, engine: Engine, number: str) -> None:
        """Also not if its id is one that a database cleans."""
        outbox.record(decision("a", at_route(PIXEL, others=((OTHER_PIXEL.code, "Purchase"),))))
        moved = mapped(number, pixel=OTHER_PIXEL, other_routes=frozenset({(PIXEL.code, "Purchase")}))
        assert outbox.record(decision("b", moved)) == 1
        back = mapped(number, pixel=PIXEL, other_routes=frozenset({(OTHER_PIXEL.code, "Purchase")}))
        assert outbox.record(decision("c", back)) == 0
        assert len(rows(engine)) == 2


class TestOffline:
    """An offline event set beside a web pixel."""

    def test_each_source_is_sent_by_its_own_rules(self, engine: Engine) -> None:
        """The sandbox, which checks both, accepts both; nothing is sent twice."""
        web = SHOP.pixels[0]
        way = Way(engine, replace(SHOP, pixels=(web, SET), signals=None))
        for _ in range(2):
            way.webhook("orders/paid")
        way.step(120)
        assert arrived(way) == {(web.code, "PlaceAnOrder"): 1, (web.code, "Purchase"): 1, (SET.code, "Purchase"): 1}
        assert {(one.event_source, one.event_source_id) for one in way.sandbox.received()} == {
            ("web", web.code),
            ("offline", SET.code),
        }
        assert way.sandbox.counts()["refused"] == 0

    def test_a_beacon_gives_it_consent_and_nothing_else(self, engine: Engine) -> None:
        """The event waits for the shopper's yes, and then goes without the browser's data."""
        way = Way(engine, replace(ASKING, pixels=(SET,)))
        way.webhook("orders/paid")
        way.step(1)
        assert not arrived(way)
        way.beacon(consent="granted")
        way.step(1)
        (row,) = way.rows()
        assert row.state == "accepted"
        assert set(json.loads(row.payload)) == {"event", "event_time", "event_id", "user", "properties"}
        assert set(json.loads(row.payload)["user"]) <= {"email", "phone"}
        (receipt,) = way.sandbox.received()
        assert receipt.item == row.payload

    def test_a_no_keeps_it_back(self, engine: Engine) -> None:
        way = Way(engine, replace(ASKING, pixels=(SET,)))
        way.webhook("orders/paid")
        way.beacon(consent="denied")
        way.step(600)
        assert [row.state for row in way.rows()] == ["skipped"]

    def test_a_pixel_whose_source_is_corrected_sends_no_web_only_field(self, engine: Engine) -> None:
        """TikTok refuses the set's id as a pixel's; what waited for the correction was made for the web."""
        wrong = replace(SET, source="web")
        way = Way(engine, replace(SHOP, pixels=(wrong,), signals=None))
        way.webhook("orders/paid")
        way.step(120)
        assert [row.state for row in way.rows()] == ["due"]
        corrected = Way(engine, replace(SHOP, pixels=(SET,), signals=None))
        corrected.now = way.now + 700
        corrected.step()
        assert [row.state for row in corrected.rows()] == ["accepted"]
        (receipt,) = corrected.sandbox.received()
        assert set(json.loads(receipt.item)) == {"event", "event_time", "event_id", "user", "properties"}
