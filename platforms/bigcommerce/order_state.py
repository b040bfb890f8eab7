"""BigCommerce's orders as sales: what was given back is in `refunds`, which `shop_api` adds to the order.

`refunded_amount` of the order is always 0. https://developer.bigcommerce.com/docs/rest-management/orders,
https://developer.bigcommerce.com/docs/rest-management/orders-v3/payment-actions
"""

from collections.abc import Iterable
from decimal import Decimal

from connector.plugin import (
    Json,
    OrderState,
    Store,
    Webhook,
    identifier,
    json_object,
    json_objects,
    mail_time,
    money,
    text,
)
from connector.plugin.money_sets import added
from platforms.bigcommerce.translate import GONE, INCOMPLETE, ORDER, amounts, rounded, what_it_is

REFUNDED, PARTIALLY_REFUNDED = 4, 14  # statuses
VOID = "void"  # payment_status of a payment that was never taken


def order_state(webhook: Webhook, store: Store) -> OrderState | None:
    """Read an order as the API returns it; None if it was never placed. Raises InvalidPayload."""
    if webhook.topic != ORDER:
        return None
    order = json_object(webhook.data)
    order_id, created, status = what_it_is(order)
    if status in INCOMPLETE:
        return None
    read = amounts(order, store)
    refunds = json_objects(order.get("refunds"))
    return OrderState(
        order_id=order_id,
        placed_at=created,
        changed_at=mail_time(order.get("date_modified")) or created,
        currency=read["currency"],
        total=read["total"],
        breakdown=read["breakdown"],
        refunded=_refunded(order, status, refunds, read["total"], read["currency"]),
        refund_ids=tuple(identifier(refund.get("id")) for refund in refunds),
        cancelled=status in GONE or text(order.get("payment_status")).casefold() == VOID,
        order_number=order_id,
    )


def _refunded(
    order: Json, status: int, refunds: Iterable[Json], total: Decimal | None, currency: str
) -> Decimal | None:
    """Return what was given back; None if something was, but how much is not known."""
    paid_back = added(_amount(refund, currency) for refund in refunds)
    if paid_back:
        return paid_back
    payment = text(order.get("payment_status")).casefold()
    if status == REFUNDED or payment == "refunded":  # set by hand: given back outside of BigCommerce
        return total
    return None if status == PARTIALLY_REFUNDED or payment == "partially refunded" else paid_back


def _amount(refund: Json, currency: str) -> Decimal | None:
    """Return the amount of one refund, without payments that the provider declined."""
    declined = [row for row in json_objects(refund.get("payments")) if row.get("is_declined") is True]
    whole = money(refund.get("total_amount"))
    kept = added(money(row.get("amount")) for row in declined)
    return None if whole is None or kept is None else rounded(max(whole - kept, Decimal(0)), currency)
