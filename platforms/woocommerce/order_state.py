"""WooCommerce's orders as sales: `total` stays as it was, and `refunds` lists what was given back since.

https://woocommerce.github.io/woocommerce-rest-api-docs/#order-properties
"""

from decimal import Decimal

from connector.plugin import (
    InvalidPayload,
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
from platforms.woocommerce.translate import DRAFTS, ORDER_TOPICS, breakdown, meta_of, placed_at

CANCELLED = frozenset({"cancelled", "failed", "trash"})
BOOK_TOPICS = frozenset({"order.updated"})


def order_state(webhook: Webhook, store: Store) -> OrderState | OrderRefund | None:
    """Read an order; None for a draft, an error in place of an order, and other topics. Raises InvalidPayload."""
    body = json_object(webhook.data)
    status = text(body.get("status")).lower().removeprefix("wc-")
    if webhook.topic not in ORDER_TOPICS or status in DRAFTS or ("code" in body and "id" not in body):
        return None
    order_id, created = numeric_id(body.get("id")), parse_time(body.get("date_created_gmt"))
    if not order_id or not status or created is None or "line_items" not in body:
        raise InvalidPayload(f"expected an order body for topic {webhook.topic}")
    paid = parse_time(body.get("date_paid_gmt"))
    refunds = json_objects(body.get("refunds"))
    given = [money(refund.get("total")) for refund in refunds]  # negative
    return OrderState(
        order_id=order_id,
        placed_at=placed_at(webhook.topic, body, meta_of(body), created, paid),
        changed_at=parse_time(body.get("date_modified_gmt")) or created,
        currency=text(body.get("currency")).upper(),
        total=money(body.get("total")),
        breakdown=breakdown(body) if store.mapping.needs_breakdown else None,
        refunded=None if None in given else sum((abs(one) for one in given if one is not None), Decimal(0)),
        refund_ids=tuple(identifier(refund.get("id")) for refund in refunds) if "refunds" in body else None,
        cancelled=status in CANCELLED,
        order_number=identifier(body.get("number")),
    )
