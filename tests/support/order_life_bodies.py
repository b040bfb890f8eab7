"""Bodies of an order's life as each platform writes them: `WRITERS` takes a life and the step that it has just taken.

Steps are "placed", "paid", "edited", "refunded" and "cancelled".
"""

import base64
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

from tests.support.platforms import SAMPLES
from tests.support.sample_bodies import PAID, PLACED, journey

if TYPE_CHECKING:
    from tests.support.order_lives import Life

REOPENS = frozenset({"woocommerce"})  # elsewhere a cancelled order stays cancelled
REFUND_STEPS: Mapping[str, Decimal] = {}
Bodies = list[tuple[str, Any]]


def _shopify(life: "Life", step: str) -> Bodies:
    body = SAMPLES["shopify"].sample(PAID["shopify"], journey(), life.store)

    def both(name: str, amount: Decimal) -> dict[str, Any]:
        money = {"amount": str(amount), "currency_code": life.currency}
        return {name: str(amount), f"{name}_set": {"shop_money": money, "presentment_money": money}}

    rest = life.total - life.refunded
    status = "voided" if life.cancelled and not life.paid else "refunded" if life.refunds and not rest else (
        "partially_refunded" if life.refunds else "paid" if life.paid else "pending"
    )  # fmt: skip
    body |= {
        "id": life.id,
        "name": f"#{life.number}",
        "currency": life.currency,
        "presentment_currency": life.currency,
        "created_at": life.placed_at.isoformat(),
        "processed_at": life.placed_at.isoformat(),
        "updated_at": life.at.isoformat(),
        "cancelled_at": life.at.isoformat() if life.cancelled else None,
        "financial_status": status,
        "refunds": [_shopify_refund(life, number, amount) for number, amount in enumerate(life.refunds)],
        **both("total_price", life.total),
        **both("current_total_price", rest),
    }
    if step == "refunded":
        last = len(life.refunds) - 1
        return [("refunds/create", _shopify_refund(life, last, life.refunds[last])), ("orders/updated", body)]
    topics = {"placed": ["orders/create"], "paid": ["orders/paid"], "cancelled": ["orders/cancelled"]}
    return [(topic, body) for topic in [*topics.get(step, []), "orders/updated"]]


def _shopify_refund(life: "Life", number: int, amount: Decimal) -> dict[str, Any]:
    return {
        "id": life.number * 100 + number,
        "order_id": life.id,
        "created_at": life.at.isoformat(),
        "refund_line_items": [],
        "transactions": [
            {"kind": "refund", "status": "success", "amount": str(amount), "currency": life.currency},
            {"kind": "refund", "status": "failure", "amount": str(amount), "currency": life.currency},
        ],
    }


def _woocommerce(life: "Life", step: str) -> Bodies:
    body = SAMPLES["woocommerce"].sample(PLACED["woocommerce"], journey(), life.store)

    def gmt(moment: datetime) -> str:
        return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S}"

    status = "cancelled" if life.cancelled else "refunded" if life.refunds and not life.left else (
        "processing" if life.paid else "on-hold"
    )  # fmt: skip
    body |= {
        "id": life.id,
        "number": str(life.number),
        "currency": life.currency,
        "total": str(life.total),
        "status": status,
        "date_created_gmt": gmt(life.placed_at),
        "date_modified_gmt": gmt(life.at),
        "date_paid_gmt": gmt(life.placed_at) if life.paid else None,
        "refunds": [
            {"id": life.number * 100 + number, "reason": "", "total": str(-amount)}
            for number, amount in enumerate(life.refunds)
        ],
    }
    return [(topic, body) for topic in (["order.created"] if step == "placed" else []) + ["order.updated"]]


WRITERS: Mapping[str, Callable[["Life", str], Bodies]] = {
    "shopify": _shopify,
    "woocommerce": _woocommerce,
}
