"""SHOPLINE's orders and refunds as sales.

`current_total_price` is by its document goods less discounts, with shipping and tax: what was paid back is not taken
from it, and orders state no amounts of refunds, so they are added up from `refunds/create`.
https://developer.shopline.com/docs/webhooks/webhook-topics
"""

from decimal import Decimal

from connector.plugin import (
    InvalidPayload,
    Json,
    OrderRefund,
    OrderState,
    Store,
    Webhook,
    identifier,
    json_object,
    json_objects,
    money,
    parse_time,
    text,
)
from connector.plugin.money_sets import added
from platforms.shopline.money import order_money
from platforms.shopline.translate import ORDER_TOPICS, order_time

REFUND_TOPIC = "refunds/create"
CANCEL_TOPIC = "orders/cancelled"
BOOK_TOPICS = frozenset({"orders/updated", CANCEL_TOPIC, REFUND_TOPIC})


def order_state(webhook: Webhook, store: Store) -> OrderState | OrderRefund | None:
    """Read an order or a refund. Raises InvalidPayload if the body is of neither kind, though its topic is."""
    body = json_object(webhook.data)
    if webhook.topic == REFUND_TOPIC:
        return _refund(body)
    if webhook.topic not in ORDER_TOPICS and webhook.topic != CANCEL_TOPIC:
        return None
    order_id, placed = identifier(body.get("id")), order_time(body)
    if not order_id or placed is None or "line_items" not in body:
        raise InvalidPayload(f"expected an order body for topic {webhook.topic}")
    read = order_money(body, store.mapping)
    status = text(body.get("financial_status")).lower()
    all_refunds = tuple(identifier(refund.get("id")) for refund in json_objects(body.get("refunds")))
    return OrderState(
        order_id=order_id,
        placed_at=placed,
        changed_at=parse_time(body.get("updated_at")) or placed,
        currency=read["currency"],
        total=read["total"],
        breakdown=read["breakdown"],
        # Of an order that was refunded as a whole all is known, also without its refunds' webhooks.
        refunded=read["total"] if status == "refunded" else Decimal(0),
        refund_ids=all_refunds if status == "refunded" else (),
        cancelled=status == "voided"
        or bool(text(body.get("cancelled_at")))
        or text(body.get("status")).lower() == "cancelled",
        order_number=text(body.get("name")),
    )


def _refund(body: Json) -> OrderRefund:
    order_id, refund_id = identifier(body.get("order_id")), identifier(body.get("id"))
    at = parse_time(body.get("created_at")) or parse_time(body.get("processed_at"))
    if not order_id or not refund_id or at is None:
        raise InvalidPayload(f"expected a refund body for topic {REFUND_TOPIC}")
    payments = [row for row in json_objects(body.get("transactions")) if text(row.get("status")).lower() == "success"]
    currencies = {text(row.get("currency")).upper() for row in payments}
    certain = len(currencies) == 1 and "" not in currencies
    amount = added(money(row.get("amount")) for row in payments) if certain else None
    return OrderRefund(order_id, refund_id, at, currencies.pop() if certain else "", amount)
