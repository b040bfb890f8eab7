"""The signed event as a sale: an order as it stands, by the latest of its events."""

from decimal import Decimal

from connector.plugin import (
    InvalidPayload,
    OrderState,
    Store,
    Webhook,
    identifier,
    json_object,
    money,
    text,
)
from platforms.signed.translate import UPDATED, breakdown, required_id, required_time

BOOK_TOPICS = frozenset({UPDATED})
ORDER_TOPICS = BOOK_TOPICS | {"order_placed", "order_paid"}


def order_state(webhook: Webhook, store: Store) -> OrderState | None:
    """Read the event of an order; None for others.

    Raises InvalidPayload for a change without a new total that cancels nothing either.
    """
    if webhook.topic not in ORDER_TOPICS:
        return None
    body = json_object(webhook.data)
    order, total = json_object(body.get("order")), money(body.get("total"))
    order_id, at = required_id(body, webhook.topic, "order", "id"), required_time(body)
    cancelled = order.get("cancelled") is True
    if webhook.topic == UPDATED and total is None and not cancelled:
        raise InvalidPayload("an event of type order_updated needs total, or order.cancelled")
    return OrderState(
        order_id=order_id,
        placed_at=at,
        changed_at=at,
        currency=text(body.get("currency")).upper(),
        total=total,
        breakdown=breakdown(body) if store.mapping.needs_breakdown else None,
        refunded=money(order.get("refunded")) if "refunded" in order else Decimal(0),
        cancelled=cancelled,
        order_number=identifier(order.get("number")),
    )
