"""When an order was placed and paid: of late payments, imports and net terms."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.support.rows import each_row
from tests.support.sample_bodies import NOW, PAID, PLACED, SHOPIFY, sample, see

ORDERED = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
PAYMENT = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)


def order(created=ORDERED, processed=ORDERED, updated=PAYMENT, **changes):
    times = {"created_at": created, "processed_at": processed, "updated_at": updated}
    return sample(SHOPIFY, **{name: at and at.isoformat() for name, at in times.items()}, **changes)


def times(topic, body, triggered_at=PAYMENT):
    return {
        mapped.event: (mapped.occurred_at, mapped.time_source)
        for mapped in see(SHOPIFY, topic, body, triggered_at=triggered_at).events
    }


def test_a_late_payment_is_stated_by_orders_paid_and_assumed_from_any_other_topic():
    body = order()
    assert times("orders/updated", body) == {"PlaceAnOrder": (ORDERED, ""), "Purchase": (ORDERED, "assumed")}
    assert times("orders/paid", body) == {"PlaceAnOrder": (ORDERED, ""), "Purchase": (PAYMENT, "stated")}


def test_an_order_from_the_history_waits_for_no_webhook():
    """It has no headers; its webhooks have come, or never will."""
    assert times("orders/updated", order(), None)["Purchase"] == (ORDERED, "")


def test_a_payment_at_once_needs_no_other_webhook():
    """A card is charged within seconds, and the order's own time is near enough."""
    soon = ORDERED + timedelta(seconds=20)
    body = order(updated=soon)
    assert times("orders/updated", body, soon)["Purchase"] == (ORDERED, "")
    assert times("orders/paid", body, soon)["Purchase"] == (soon, "")


def test_net_terms_state_when_they_were_paid():
    """So does the body of any topic, and a webhook of later adds nothing."""
    completed = PAYMENT - timedelta(hours=5)
    schedules = [{"completed_at": (PAYMENT - timedelta(days=1)).isoformat()}, {"completed_at": completed.isoformat()}]
    terms = {"payment_terms_type": "net", "payment_schedules": schedules}
    for topic in ("orders/create", "orders/updated", "orders/paid"):
        assert times(topic, order(payment_terms=terms))["Purchase"] == (completed, "stated")


@each_row("schedules", [None, [], "junk", [{"completed_at": None}], [{"completed_at": "2026-11-22T00:00:00Z"}, {}]])
def test_net_terms_that_are_not_all_completed_state_nothing(schedules):
    terms = {"payment_terms_type": "net", "payment_schedules": schedules}
    assert times("orders/updated", order(payment_terms=terms))["Purchase"] == (ORDERED, "assumed")


@pytest.mark.parametrize("topic", ["orders/create", "orders/updated", "orders/paid"])
def test_an_imported_order_is_as_old_as_it_says(topic):
    """Made through the API today, with the date it was really placed; its payment is no sale of today either."""
    old, now = datetime(2021, 3, 4, 10, 0, tzinfo=UTC), NOW - timedelta(minutes=5)
    body = order(created=now, processed=old, updated=now + timedelta(seconds=3))
    assert times(topic, body, now + timedelta(seconds=4)) == {"PlaceAnOrder": (old, ""), "Purchase": (old, "")}
    live = see(SHOPIFY, topic, body, go_live=NOW - timedelta(days=1), triggered_at=now + timedelta(seconds=4))
    assert not live.events


def test_an_imported_order_on_net_terms_was_paid_when_they_say():
    old, now = datetime(2026, 10, 4, 10, 0, tzinfo=UTC), NOW - timedelta(minutes=5)
    completed = old + timedelta(days=29)
    terms = {"payment_terms_type": "net", "payment_schedules": [{"completed_at": completed.isoformat()}]}
    body = order(created=now, processed=old, updated=now, payment_terms=terms)
    assert times("orders/paid", body, now)["Purchase"] == (completed, "stated")


def test_an_imported_order_that_is_paid_later_is_paid_then():
    yesterday = NOW - timedelta(days=1)
    body = order(created=yesterday, processed=yesterday - timedelta(days=3), updated=NOW - timedelta(minutes=1))
    assert times("orders/paid", body, NOW)["Purchase"] == (NOW, "stated")


@pytest.mark.parametrize("name", ["created_at", "processed_at"])
def test_the_earlier_of_the_two_times_is_the_order_s_and_one_is_enough(name):
    body = order(created=ORDERED, processed=ORDERED - timedelta(seconds=2))
    assert times(PLACED["shopify"], body)["PlaceAnOrder"][0] == ORDERED - timedelta(seconds=2)
    (mapped, *_) = see(SHOPIFY, PAID, {**order(), name: None}).events
    assert mapped.occurred_at == ORDERED
