"""Saleor's orders as sales: `total` stays as it was, and `totalRefunded` is what was given back since.

https://docs.saleor.io/api-reference/orders/objects/order
"""

from collections.abc import Mapping
from decimal import Decimal

from connector.plugin import (
    InvalidPayload,
    Json,
    OrderState,
    Store,
    Webhook,
    identifier,
    json_object,
    money,
    parse_time,
    text,
)
from platforms.saleor.translate import ORDER_TYPES, WITHOUT_QUERY, amounts, local_id

CANCEL_TOPIC = "order_cancelled"
BOOK_TOPICS = frozenset({"order_updated", CANCEL_TOPIC})
TYPES: Mapping[str, str] = {**ORDER_TYPES, CANCEL_TOPIC: "OrderCancelled"}
CANCELLED = frozenset({"CANCELED", "EXPIRED"})


def order_state(webhook: Webhook, store: Store) -> OrderState | None:
    """Read an order; None for a draft and for other topics. Raises InvalidPayload if the body is none."""
    if webhook.topic not in TYPES:
        return None
    if isinstance(webhook.data, list):
        raise InvalidPayload(WITHOUT_QUERY)
    body = json_object(webhook.data)
    order = json_object(body.get("order"))
    order_id, created = local_id(order.get("id")), parse_time(order.get("created"))
    if body.get("__typename") != TYPES[webhook.topic] or not order_id or created is None or "lines" not in order:
        raise InvalidPayload(f"expected an order in the body of topic {webhook.topic}: id, created or lines is missing")
    status = text(order.get("status")).upper()
    if status == "DRAFT":
        return None
    read = amounts(order, "total", store)
    refunded = _paid(order, "totalRefunded")
    return OrderState(
        order_id=order_id,
        placed_at=created,
        # issuedAt can be later than the next change, which a body made of the order in memory does not have.
        changed_at=parse_time(order.get("updatedAt")) or created,
        currency=read["currency"],
        total=read["total"],
        breakdown=read["breakdown"],
        refunded=refunded,
        cancelled=status in CANCELLED or (status == "RETURNED" and not refunded and _paid(order, "totalCharged") == 0),
        order_number=identifier(order.get("number")),
    )


def _paid(order: Json, name: str) -> Decimal | None:
    """Return what was charged or refunded; None if the body does not say, as with an older subscription query."""
    return money(json_object(order.get(name)).get("amount"))
