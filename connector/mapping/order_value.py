"""The value of an order at present, by the same settings as the value of its events."""

from decimal import ROUND_HALF_UP, Decimal

from connector.core.currencies import minor_digits
from connector.core.event import Customer, Event
from connector.core.order_state import OrderState
from connector.core.store import Store
from connector.mapping.properties import value_of


def remaining_value(state: OrderState, store: Store) -> Decimal | None:
    """Return what is left of an order's value, in major units; None if the shop does not say enough to know it.

    Of refunds that the shop states only in total, a value that is not the total loses its share.
    """
    if state.cancelled:
        return Decimal(0)
    event = Event(
        milestone="order_placed",
        occurred_at=state.placed_at,
        ids={},
        customer=Customer(),
        currency=state.currency,
        total=state.total,
        breakdown=state.breakdown,
    )
    value, _ = value_of(event, store)
    if value is None or state.total is None or state.refunded is None:
        return None
    if not state.refunded or value == state.total:
        return value - state.refunded
    left = value * (state.total - state.refunded) / state.total if state.total else Decimal(0)
    return left.quantize(Decimal(1).scaleb(-minor_digits(state.currency)), ROUND_HALF_UP)
