"""Saleor's orders as events: the statuses that count as placed and as paid."""

import json
import random
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from connector.core.event import Event
from connector.core.store import OrderSettings
from connector.core.webhook import Webhook
from connector.intake.examine import parse
from connector.plugin.testing.shoppers import Journey
from platforms.saleor import platform, samples
from tests.support.factories import a_store
from tests.support.rows import each_row

AT = datetime(2026, 11, 23, 15, 4, 5, tzinfo=UTC)
STORE = a_store("saleor")
NOT_PAID = {
    "isPaid": False, "chargeStatus": "NONE", "totalCharged": {"amount": 0, "currency": "USD"}, "payments": [],
    "transactions": [],
}  # fmt: skip


def seen(orders: OrderSettings, **changes: Any) -> list[str]:
    """The milestones of an order, and the reasons of what is skipped."""
    body = samples.sample("order_updated", Journey.random(random.Random(1), AT), STORE)
    body["order"] |= changes
    raw = json.dumps(body).encode()
    found = platform.translate(Webhook("order_updated", raw, AT, data=parse(raw)), replace(STORE, orders=orders))
    return [item.milestone if isinstance(item, Event) else item.reason for item in found]


@each_row(
    ("settings", "changes", "expected"),
    [
        ({}, {"status": "UNFULFILLED"}, ["order_placed", "order_paid"]),
        ({}, {"status": "UNFULFILLED", **NOT_PAID}, ["order_placed"]),
        (
            {"placed_statuses": ("fulfilled",)},
            {"status": "UNFULFILLED", **NOT_PAID},
            ["status unfulfilled does not count as placed (placed_statuses)"],
        ),
        ({"placed_statuses": ("fulfilled",)}, {"status": "UNFULFILLED"}, ["order_placed", "order_paid"]),
        ({"placed_statuses": ("fulfilled",)}, {"status": "FULFILLED", **NOT_PAID}, ["order_placed"]),
        (
            {"placed_statuses": ("partially fulfilled",)},
            {"status": "PARTIALLY_FULFILLED", **NOT_PAID},
            ["order_placed"],
        ),
        ({"placed_statuses": ("returned",)}, {"status": "RETURNED", **NOT_PAID}, ["order_placed"]),
        ({"paid_statuses": ("fulfilled",)}, {"status": "UNFULFILLED"}, ["order_placed"]),
        ({"paid_statuses": ("fulfilled",)}, {"status": "FULFILLED", **NOT_PAID}, ["order_placed", "order_paid"]),
        ({}, {"status": "CANCELED"}, ["the order was already canceled when first seen"]),
    ],
)
def test_the_merchants_own_statuses_decide_where_they_are_set(
    settings: dict[str, Any], changes: dict[str, Any], expected: list[str]
) -> None:
    assert seen(OrderSettings(**settings), **changes) == expected
