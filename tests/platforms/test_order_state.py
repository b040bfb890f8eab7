"""Orders as sales: any value in any field, beyond the random lives of `tests/connector/outbox`."""

import base64
import json
import random
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from connector.core.currencies import MAX_STORED
from connector.core.order_state import OrderRefund
from connector.core.registry import installed_platforms
from connector.core.store import MappingSettings
from connector.core.webhook import InvalidPayload, Webhook
from connector.outbox.books import book_entry
from connector.storage.tables import orders, parked
from platforms import bigcommerce, saleor, shopline, signed
from platforms.bigcommerce.receive import BOOK_SCOPES
from tests.support.bigcommerce_bodies import an_order
from tests.support.book_world import STORES, World
from tests.support.effort import first_of
from tests.support.order_lives import Life
from tests.support.outbox_rows import rows
from tests.support.rows import each_row
from tests.support.sample_bodies import NOW

EXCLUDED: Any = st.sampled_from([(), ("tax",), ("shipping", "tax")])
RECORDED = Path(__file__).parents[1] / "fixtures" / "saleor" / "requests"


# --- every platform -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("platform", sorted(STORES))
def test_what_only_the_books_read_is_parked_if_it_cannot_be_read(platform: str, sqlite_engine: Engine) -> None:
    """So that it is seen, and counts after a correction."""
    world = World(sqlite_engine, STORES[platform])
    known = installed_platforms()[platform]
    topics = known.book_topics - known.event_topics
    for topic in topics:
        assert world.deliver(topic, b'{"order": {"id": "1"}}') == "parked"
    assert len(rows(sqlite_engine, parked)) == len(topics)
    assert rows(sqlite_engine, orders) == []


@pytest.mark.parametrize("platform", sorted(STORES))
def test_without_books_these_topics_are_ignored(platform: str, sqlite_engine: Engine) -> None:
    world = World(sqlite_engine, replace(STORES[platform], books=False))
    known = installed_platforms()[platform]
    for topic in known.book_topics - known.event_topics:
        assert world.deliver(topic, b"{}") == "ignored"


ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(), st.decimals(), st.text(max_size=20), st.just([]), st.just({}),
    st.lists(st.dictionaries(st.sampled_from(["id", "amount", "total", "status", "payments"]), st.text(max_size=5))),
    st.sampled_from(["NaN", "1e999", "-0", "2026-13-01T00:00:00Z", "9999-12-31T23:59:59Z", Decimal("1E+40")]),
)  # fmt: skip


@pytest.mark.parametrize("platform", first_of(sorted(STORES)))
@given(data=st.data())
def test_any_value_in_any_field_is_read_or_refused(platform: str, data: st.DataObject) -> None:
    """An order of a strange body is in the books with an amount that fits, without one, or not at all."""
    store = replace(STORES[platform], mapping=MappingSettings(value_excludes=data.draw(EXCLUDED)))
    life = Life(store, random.Random(data.draw(st.integers(0, 20))), 1, "USD").live()
    topic, raw = data.draw(st.sampled_from(life.bodies))
    body = json.loads(raw, parse_float=Decimal)
    for _ in range(data.draw(st.integers(1, 3))):
        part = body
        while (key := data.draw(st.sampled_from(sorted(part)))) and isinstance(part[key], dict) and part[key]:
            part = part[key]
        part[key] = data.draw(ANYTHING)
    try:
        found = installed_platforms()[platform].order_state(Webhook(topic, raw, NOW, data=body), store)
    except InvalidPayload:
        return
    if found is not None and (entry := book_entry(found, store, NOW.timestamp())):
        assert entry.object_key.removeprefix("order:")
        assert entry.remaining is None or abs(entry.remaining) <= MAX_STORED
        assert entry.refund is None or abs(entry.refund[1]) <= MAX_STORED


# --- BigCommerce --------------------------------------------------------------------------------------------------


def of_bigcommerce(**changes: Any) -> Any:
    body = an_order(250, total_inc_tax="100.0000", **changes)
    return bigcommerce.platform.order_state(Webhook("order", b"", NOW, data=body), STORES["bigcommerce"])


def refund(number: int, amount: str, **changes: Any) -> dict[str, Any]:
    return {"id": number, "order_id": 250, "total_amount": Decimal(amount), "payments": []} | changes


@each_row(
    ("changes", "refunded"),
    [
        ({"refunds": []}, "0"),
        ({}, "0"),
        ({"refunds": [refund(1, "30"), refund(2, "12.5")], "status_id": 14}, "42.5"),
        ({"refunds": [refund(1, "30")], "status_id": 10}, "30"),  # a status set by hand since
        ({"refunds": [refund(1, "30", payments=[{"amount": Decimal(30), "is_declined": True}])]}, "0"),
        ({"refunds": [], "status_id": 4}, "100"),  # set by hand: given back outside of BigCommerce
        ({"payment_status": "refunded"}, "100"),
        ({"refunds": [], "status_id": 14}, None),
        ({"payment_status": "partially refunded"}, None),
        ({"refunds": [refund(1, "30") | {"total_amount": "?"}]}, None),
    ],
)
def test_what_bigcommerce_gave_back(changes: dict[str, Any], refunded: str | None) -> None:
    assert of_bigcommerce(**changes).refunded == (None if refunded is None else Decimal(refunded))


def test_bigcommerce_orders_of_which_nothing_is_left() -> None:
    assert [of_bigcommerce(status_id=status).cancelled for status in (5, 6, 11)] == [True, True, False]
    assert of_bigcommerce(payment_status="void").cancelled
    assert [of_bigcommerce(status_id=status) for status in (0, 1)] == [None, None]


def test_a_refund_notice_concerns_stores_with_books_only() -> None:
    data = {"data": {"type": "order", "id": 250}}
    webhook = Webhook("store/order/refund/created", b"", NOW, data=data)
    store = STORES["bigcommerce"]
    notice = bigcommerce.platform.notice(webhook, store)
    assert notice is not None
    assert notice.object_key == "order:250"
    assert bigcommerce.platform.notice(webhook, replace(store, books=False)) is None
    assert bigcommerce.platform.notice_topics >= BOOK_SCOPES


# --- Saleor -------------------------------------------------------------------------------------------------------


def recorded(name: str) -> Webhook:
    body = base64.b64decode(json.loads((RECORDED / name).read_text())["body_base64"])
    return Webhook(name[4:].partition("__")[0], body, NOW, data=json.loads(body, parse_float=Decimal))


def test_a_recorded_life_of_a_saleor_order() -> None:
    """Placed unpaid, marked as paid, cancelled. The third was changed before the second, without that, was issued."""
    names = [
        "025_order_created__jws.json", "030_order_fully_paid__jws.json", "032_order_updated__jws.json",
        "034_order_cancelled__jws.json", "036_order_updated__jws.json",
    ]  # fmt: skip
    states = [saleor.platform.order_state(recorded(name), STORES["saleor"]) for name in names]
    found = [state for state in states if state is not None]
    assert [state.cancelled for state in found] == [False, False, False, True, True]
    assert {(state.order_id, state.total, state.refunded, state.currency) for state in found} == {
        (found[0].order_id, Decimal("51.17"), Decimal("0.0"), "USD")
    }
    times = [state.changed_at for state in found]
    assert times == sorted(times)
    assert times[2] < datetime.fromisoformat(recorded(names[1]).data["issuedAt"])


@each_row(
    ("changes", "cancelled", "refunded"),
    [
        ({"status": "EXPIRED"}, True, "0"),
        ({"status": "RETURNED", "totalCharged": {"amount": 0}}, True, "0"),  # cash on delivery, refused at the door
        ({"status": "RETURNED"}, False, "0"),  # it was paid, and nothing was given back yet
        ({"status": "RETURNED", "totalCharged": {"amount": 0}, "totalRefunded": {"amount": 9}}, False, "9"),
        ({"totalRefunded": None}, False, None),  # an older subscription query
    ],
)
def test_what_is_left_of_a_saleor_order(changes: dict[str, Any], cancelled: bool, refunded: str | None) -> None:
    webhook = recorded("032_order_updated__jws.json")
    webhook.data["order"].update(changes)
    state = saleor.platform.order_state(webhook, STORES["saleor"])
    assert state is not None
    assert state.cancelled == cancelled
    assert state.refunded == (None if refunded is None else Decimal(refunded))


def test_a_saleor_draft_is_no_sale_and_a_webhook_without_query_says_so(sqlite_engine: Engine) -> None:
    webhook = recorded("032_order_updated__jws.json")
    webhook.data["order"]["status"] = "DRAFT"
    assert saleor.platform.order_state(webhook, STORES["saleor"]) is None
    world = World(sqlite_engine, STORES["saleor"])
    assert world.deliver("order_cancelled", b'[{"id": "T3JkZXI6MQ=="}]') == "parked"
    assert "no subscription query" in rows(sqlite_engine, parked)[0].reason


# --- SHOPLINE -----------------------------------------------------------------------------------------------------


def test_shopline_orders_that_were_refunded_without_a_webhook(sqlite_engine: Engine) -> None:
    """As a whole, which the order itself says; its refunds that come late count no second time."""
    world = World(sqlite_engine, STORES["shopline"])
    life = Life(world.store, random.Random(1), 1, "USD")
    life.deliver("placed")
    life.later()
    life.refunds = [life.step, life.total - life.step]
    life.deliver("refunded")
    refund, order = life.bodies[-2:]
    for webhook in (*life.bodies[:-2], order, refund, refund):
        world.deliver(*webhook)
    (row,) = rows(sqlite_engine, orders)
    assert (row.remaining, row.later, row.cancelled) == (0, 0, 0)


@each_row(
    ("payments", "amount"),
    [
        ([{"amount": "5.00", "currency": "USD"}, {"amount": "1.50", "currency": "usd"}], "6.50"),
        ([{"amount": "5.00", "currency": "USD"}, {"amount": "1.50", "currency": "SGD"}], None),
        ([{"amount": "?", "currency": "USD"}], None),
        ([], None),
    ],
)
def test_the_amount_of_a_shopline_refund(payments: list[dict[str, Any]], amount: str | None) -> None:
    rows_ = [payment | {"status": "success"} for payment in payments]
    body = {"id": "R1", "order_id": "1", "created_at": "2026-11-22T10:00:00+08:00", "transactions": rows_}
    found = shopline.platform.order_state(Webhook("refunds/create", b"", NOW, data=body), STORES["shopline"])
    assert isinstance(found, OrderRefund)
    assert found.amount == (None if amount is None else Decimal(amount))


# --- signed -------------------------------------------------------------------------------------------------------


def test_a_signed_change_says_what_is_left_or_is_parked(sqlite_engine: Engine) -> None:
    world = World(sqlite_engine, STORES["signed"])
    event: dict[str, Any] = {
        "type": "order_updated",
        "occurred_at": "2026-11-22T10:00:00Z",
        "order": {"id": "1", "refunded": "4.50"},
        "currency": "eur",
    }
    assert world.deliver("order_updated", json.dumps(event).encode()) == "parked"
    assert rows(sqlite_engine, parked)[0].reason == "an event of type order_updated needs total, or order.cancelled"
    assert world.deliver("order_updated", json.dumps(event | {"total": "10"}).encode()) == "recorded"
    (row,) = rows(sqlite_engine, orders)
    assert (row.object_key, row.currency, row.remaining, row.cancelled) == ("order:1", "EUR", 55_000, 0)
    later = {"occurred_at": "2026-11-22T11:00:00Z", "order": {"id": "1", "cancelled": True}}
    assert world.deliver("order_updated", json.dumps(event | later).encode()) == "recorded"
    assert [(row.remaining, row.cancelled) for row in rows(sqlite_engine, orders)] == [(0, 1)]


def test_a_signed_change_sends_nothing(sqlite_engine: Engine) -> None:
    world = World(sqlite_engine, STORES["signed"])
    life = Life(world.store, random.Random(1), 1, "USD")
    life.deliver("edited")
    assert [world.deliver(topic, body) for topic, body in life.bodies] == ["recorded"]
    world.send()
    assert not world.sandbox.received()
    assert signed.platform.book_topics.isdisjoint(signed.platform.event_topics)
