"""Bodies of an order's life as each platform writes them: `WRITERS` takes a life and the step that it has just taken.

Steps are "placed", "paid", "edited", "refunded" and "cancelled".
"""

import base64
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

from platforms.bigcommerce import samples as bigcommerce
from tests.support.platforms import SAMPLES
from tests.support.sample_bodies import PAID, PLACED, journey

if TYPE_CHECKING:
    from tests.support.order_lives import Life

REOPENS = frozenset({"woocommerce", "bigcommerce", "signed"})  # elsewhere a cancelled order stays cancelled
REFUND_STEPS = {"bigcommerce": Decimal("0.01")}  # its API rounds refunds of every currency to two decimals
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


def _saleor(life: "Life", step: str) -> Bodies:
    topics = {"placed": ["order_created", "order_confirmed"], "paid": ["order_fully_paid"]}
    topics["cancelled"] = ["order_cancelled"]
    names = [*topics.get(step, []), *(["order_updated"] if step != "placed" else [])]
    types = {"order_cancelled": "OrderCancelled"} | {name: name.title().replace("_", "") for name in names}
    like = SAMPLES["saleor"].sample("order_updated", journey(), life.store)["order"]

    def money(amount: Decimal) -> dict[str, Any]:
        return {"amount": float(amount), "currency": life.currency}

    order = like | {
        "id": base64.b64encode(f"Order:{life.id}".encode()).decode(),
        "number": str(life.number),
        "created": life.placed_at.isoformat(),
        "updatedAt": life.at.isoformat(),
        "status": "CANCELED" if life.cancelled else "UNFULFILLED",
        "isPaid": life.paid and not life.refunds,
        "chargeStatus": "NONE" if not life.paid else "PARTIAL" if life.refunds else "FULL",
        "total": {
            "currency": life.currency,
            **{"gross": money(life.total), "net": money(life.total), "tax": money(Decimal(0))},
        },
        "totalCharged": money(life.total - life.refunded if life.paid else Decimal(0)),
        "totalRefunded": money(life.refunded),
    }
    at = life.at.isoformat()
    return [(name, {"__typename": types[name], "issuedAt": at, "version": "3.23", "order": order}) for name in names]


def _bigcommerce(life: "Life", step: str) -> Bodies:
    """Return the API's answer to a notice; a status that was set by hand stays with the next refund."""
    _, like = bigcommerce.fetched("store/order/created", journey(), life.store)
    refunds = [
        {
            "id": life.number * 100 + number,
            "order_id": life.id,
            "total_amount": float(amount + 5),
            "payments": [{"amount": float(amount), "is_declined": False}, {"amount": 5, "is_declined": True}],
        }
        for number, amount in enumerate(life.refunds)
    ]
    status, payment = (11, "captured") if life.paid else (7, "")
    if refunds:
        status, payment = (14, "partially refunded") if life.left else (4, "refunded")
    body = like | {
        "id": life.id,
        "date_created": format_datetime(life.placed_at),
        "date_modified": format_datetime(life.at),
        "status_id": 5 if life.cancelled else 10 if step == "edited" and life.paid else status,
        "payment_status": payment,
        "currency_code": life.currency,
        "default_currency_code": life.currency,
        "total_inc_tax": f"{life.total:.4f}",
        "refunds": refunds,
    }
    return [("order", body)]


def _signed(life: "Life", step: str) -> Bodies:
    topic = f"order_{step}" if step in ("placed", "paid") else "order_updated"
    body = SAMPLES["signed"].sample("order_paid", journey(), life.store)
    body |= {
        "type": topic,
        "occurred_at": life.at.isoformat(),
        "currency": life.currency,
        "total": str(life.total),
        "order": {
            **body["order"],
            **{"id": str(life.id), "number": str(life.number), "cancelled": life.cancelled},
            **({"refunded": str(life.refunded)} if life.refunds else {}),
        },
    }
    return [(topic, body)]


def _shopline(life: "Life", step: str) -> Bodies:
    """An order's total does not change with refunds; a partly refunded order lists them without amounts."""
    topics = {"placed": ["orders/create"], "paid": ["orders/paid"], "cancelled": ["orders/cancelled"]}
    like = SAMPLES["shopline"].sample("orders/updated", journey(), life.store)
    total = {"amount": str(life.total), "currency_code": life.currency}
    status = "voided" if life.cancelled and not life.paid else "refunded" if life.refunds and not life.left else (
        "partially_refunded" if life.refunds else "paid" if life.paid else "unpaid"
    )  # fmt: skip
    body = like | {
        "id": str(life.id),
        "name": f"D{life.number}",
        "currency": life.currency,
        "presentment_currency": life.currency,
        "created_at": life.placed_at.isoformat(),
        "order_at": life.placed_at.isoformat(),
        "updated_at": life.at.isoformat(),
        "cancelled_at": life.at.isoformat() if life.cancelled else "",
        "financial_status": status,
        "refunds": [
            {"id": f"R{life.number}-{number}", "order_id": str(life.id)} for number in range(len(life.refunds))
        ],
        "current_total_price": str(life.total),
        "current_total_price_set": {"shop_money": total, "presentment_money": total},
    }
    if step != "refunded":
        return [(topic, body) for topic in [*topics.get(step, []), "orders/updated"]]
    payment = {"amount": str(life.refunds[-1]), "currency": life.currency}
    refund = {
        "id": f"R{life.number}-{len(life.refunds) - 1}",
        "order_id": str(life.id),
        "created_at": life.at.isoformat(),
        "transactions": [payment | {"status": "success"}, payment | {"status": "fail"}],
    }
    return [("refunds/create", refund), ("orders/updated", body)]


WRITERS: Mapping[str, Callable[["Life", str], Bodies]] = {
    "shopify": _shopify,
    "woocommerce": _woocommerce,
    "saleor": _saleor,
    "bigcommerce": _bigcommerce,
    "signed": _signed,
    "shopline": _shopline,
}
