"""The value of an order after refunds."""

from datetime import UTC, datetime
from decimal import Decimal

from connector.core.event import TotalBreakdown
from connector.core.order_state import OrderState
from connector.core.store import MappingSettings
from connector.mapping.order_value import remaining_value
from tests.support.factories import a_store

NOW = datetime(2026, 11, 23, 15, 4, 5, tzinfo=UTC)


def test_what_is_left_after_a_refund_has_the_digits_of_the_currency() -> None:
    """However few the shop writes: 100.0 less 33.33, without the tax of 20.0."""
    store = a_store("saleor", mapping=MappingSettings(content_id="sku", value_excludes=("tax",)))
    state = OrderState(
        order_id="1",
        placed_at=NOW,
        changed_at=NOW,
        currency="EUR",
        total=Decimal("100.0"),
        breakdown=TotalBreakdown(goods=Decimal("80.0"), tax=Decimal("20.0")),
        refunded=Decimal("33.33"),
    )
    assert str(remaining_value(state, store)) == "53.34"
