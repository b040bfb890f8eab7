"""A late payment is sent with the moment of payment, whichever of its webhooks comes first."""

from dataclasses import replace
from datetime import timedelta

import pytest

from connector.outbox.event_times import ASSUMED_TIME_WAIT
from connector.outbox.lanes import Lane
from tests.support.checkouts import SHOP, Way, holding
from tests.support.factories import a_store

LATE = timedelta(days=3)
WITHOUT_SIGNALS = a_store(pixels=SHOP.pixels, webhook_secrets=SHOP.webhook_secrets)


@pytest.fixture(params=["signals", "none"])
def way(request, engine):
    """An order three days ago, pending then; its PlaceAnOrder is sent."""
    way = Way(engine, SHOP if request.param == "signals" else WITHOUT_SIGNALS)
    way.webhook("orders/create", financial_status="pending", **placed(way))
    way.step(10)
    assert way.states() == {"PlaceAnOrder": "accepted"}
    way.ordered = way.now - 10
    way.now += LATE.total_seconds()
    return way


def placed(way):
    at = getattr(way, "ordered", way.now)
    stamp = (way.moment() - timedelta(seconds=way.now - at)).isoformat()
    return {"created_at": stamp, "processed_at": stamp}


def paid(way, topic, **changes):
    return way.webhook(topic, financial_status="paid", **placed(way), **changes)


def purchase(way):
    return way.sent()["Purchase"]["event_time"]


def test_the_update_first(way):
    """It waits for the webhook that states the time, and that releases it."""
    paid(way, "orders/updated", tags="paid")
    way.step(3)
    assert way.states()["Purchase"] == "due"
    paid(way, "orders/paid")
    at = int(way.now)
    way.step(10)
    assert purchase(way) == at


def test_the_payment_first(way):
    """An update after it changes nothing."""
    at = int(way.now)
    paid(way, "orders/paid")
    paid(way, "orders/updated", tags="paid")
    way.step(10)
    assert purchase(way) == at


def test_both_at_once(way):
    """They are stored in one transaction, in whichever order."""
    at = int(way.now)
    decisions = []
    record = way.outbox.record
    way.outbox.record = lambda decision: decisions.append(decision) or 1
    paid(way, "orders/updated", tags="paid")
    paid(way, "orders/paid")
    way.outbox.record = record
    assert len(decisions) == 2
    way.outbox.record_all(decisions)
    way.step(10)
    assert purchase(way) == at


def test_without_the_other_webhook_it_is_sent_after_the_wait(way):
    """With the time of the order, as ever: that of an edit would make an old order a sale of today."""
    paid(way, "orders/updated")
    way.step(ASSUMED_TIME_WAIT - 1)
    assert way.states()["Purchase"] == "due"
    way.step(1)
    assert purchase(way) == int(way.ordered)


def test_what_was_sent_stays(way):
    """The payment's webhook came too late."""
    paid(way, "orders/updated")
    way.step(ASSUMED_TIME_WAIT)
    row = way.rows()[-1]
    assert paid(way, "orders/paid") == "duplicate"
    assert way.rows()[-1] == row


def test_a_leased_event_is_left_alone(way):
    """A relay may be sending it."""
    paid(way, "orders/updated")
    way.now += ASSUMED_TIME_WAIT
    pixel = way.store.pixels[0].code
    (leased,) = way.outbox.claim(Lane("acme", pixel), 10, "another", way.now, 60)
    paid(way, "orders/paid")
    assert way.rows()[-1].payload == leased.payload


def test_only_the_time_changes(way):
    """Fields from a beacon or an earlier webhook stay in the payload, byte for byte."""
    paid(way, "orders/updated", tags="paid")
    before = way.stored("Purchase")
    way.now += 2
    paid(way, "orders/paid", tags="paid")
    assert way.stored("Purchase") == before | {"event_time": int(way.now)}


def test_a_held_payment_is_corrected_and_still_waits_for_consent(engine):
    """The wait for a yes ends when it would have ended."""
    way = Way(engine, replace(SHOP, consent="required", signals=holding(20, 200)))
    way.ordered = way.now
    way.now += LATE.total_seconds()
    untold = {"note_attributes": []}
    paid(way, "orders/updated", **untold)
    end = {row.event: row.due_at for row in way.rows()}["Purchase"]
    way.now += 5
    paid(way, "orders/paid", **untold)
    (row,) = (row for row in way.rows() if row.event == "Purchase")
    assert (row.state, row.due_at, row.occurred_at) == ("held", end, way.now)
