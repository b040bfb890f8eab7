"""Shopify's orders and refunds as sales.

https://shopify.dev/docs/api/admin-rest/latest/resources/refund
"""

from collections.abc import Iterable
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
    numeric_id,
    parse_time,
    text,
)
from connector.plugin.money_sets import added
from platforms.shopify.money import order_money
from platforms.shopify.translate import ORDER_TOPICS, placed_at

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
    order_id, placed = numeric_id(body.get("id")), placed_at(body)
    if not order_id or placed is None or "line_items" not in body:
        raise InvalidPayload(f"expected an order body for topic {webhook.topic}")
    read = order_money(body, store.mapping)
    refunds = json_objects(body.get("refunds"))
    # Current versions state what is left; in older ones the total stays as it was when the order was placed.
    states_rest = body.get("current_total_price_set") or body.get("current_total_price")
    return OrderState(
        order_id=order_id,
        placed_at=placed,
        changed_at=parse_time(body.get("updated_at")) or placed,
        currency=read["currency"],
        total=read["total"],
        breakdown=read["breakdown"],
        refunded=Decimal(0) if states_rest else added(_amount(refund, read["currency"]) for refund in refunds),
        refund_ids=tuple(identifier(refund.get("id")) for refund in refunds) if "refunds" in body else None,
        cancelled=bool(body.get("cancelled_at")) or text(body.get("financial_status")).lower() == "voided",
        order_number=text(body.get("name")),
    )


def _refund(body: Json) -> OrderRefund:
    order_id, refund_id = numeric_id(body.get("order_id")), identifier(body.get("id"))
    at = parse_time(body.get("created_at"))
    if not order_id or not refund_id or at is None:
        raise InvalidPayload(f"expected a refund body for topic {REFUND_TOPIC}")
    currency = next((text(row.get("currency")).upper() for row in _payments(body)), "")
    return OrderRefund(order_id, refund_id, at, currency, _amount(body, currency) if currency else None)


def _amount(refund: Json, currency: str) -> Decimal | None:
    """Return what was paid back; None if a part of it is in another currency, or nothing was (cash on delivery)."""
    payments = [*_payments(refund)]
    if not payments or any(text(row.get("currency")).upper() not in ("", currency) for row in payments):
        return None
    return added(money(row.get("amount")) for row in payments)


def _payments(refund: Json) -> Iterable[Json]:
    for row in json_objects(refund.get("transactions")):
        if row.get("kind") == "refund" and row.get("status") == "success":
            yield row
