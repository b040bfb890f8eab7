"""Random lives of orders: placed, paid, edited, refunded in parts, cancelled, reopened; and the bodies of each step.

The truth is the shop's own: what an order is worth after each step, in its currency's decimals.
"""

import json
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from connector.core.store import Store
from tests.support.platforms import SAMPLES
from tests.support.sample_bodies import NOW, PAID, PLACED, journey

DECIMALS = {"JPY": 0, "USD": 2, "KWD": 3}
REOPENS = {"shopify": False, "woocommerce": True}  # a cancelled order of Shopify stays cancelled


@dataclass
class Life:
    """One order. `left` is what is left of it; `bodies` are its webhooks, the oldest first: topic and JSON."""

    store: Store
    rng: random.Random
    number: int
    currency: str
    total: Decimal = Decimal(0)  # as placed and edited, before refunds
    refunds: list[Decimal] = field(default_factory=list)
    paid: bool = False
    cancelled: bool = False
    at: datetime = NOW - timedelta(days=2)
    bodies: list[tuple[str, bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.at += timedelta(minutes=self.number)
        self.placed_at = self.at
        self.total = self.amount(1, 900)

    @property
    def left(self) -> Decimal:
        """What the shop says is left."""
        return Decimal(0) if self.cancelled else self.total - sum(self.refunds, Decimal(0))

    def amount(self, low: int, high: int) -> Decimal:
        """A random amount with all the decimals of the currency."""
        return Decimal(self.rng.randint(low * 10_000, high * 10_000)).scaleb(-4).quantize(self.step)

    @property
    def step(self) -> Decimal:
        return Decimal(1).scaleb(-DECIMALS[self.currency])

    def live(self) -> "Life":
        """Place the order, pay it, and let some things happen to it."""
        self.deliver("placed")
        self.later()
        self.paid = True
        self.deliver("paid")
        for _ in range(self.rng.randint(0, 5)):
            self.later()
            self.rng.choice((self._refund, self._refund, self._edit, self._touch, self._cancel))()
        return self

    def later(self) -> None:
        self.at += timedelta(seconds=self.rng.choice((1, 2, 60, 3600)))

    def _refund(self) -> None:
        if not self.cancelled and self.left > self.step:
            part = (
                self.left if self.rng.random() < 0.2 else (self.left * self.rng.randint(1, 9) / 10).quantize(self.step)
            )
            if part:
                self.refunds.append(part)
                self.deliver("refunded")

    def _edit(self) -> None:
        if not self.cancelled:
            self.total = max(self.total + self.amount(-20, 20), sum(self.refunds, Decimal(0)) + self.step)
            self.deliver("edited")

    def _touch(self) -> None:
        self.deliver("edited")

    def _cancel(self) -> None:
        if not self.cancelled:
            self.cancelled = True
            self.deliver("cancelled")
        elif REOPENS[self.store.platform]:
            self.cancelled = False
            self.deliver("edited")

    def deliver(self, step: str) -> None:
        write = self._shopify if self.store.platform == "shopify" else self._woocommerce
        self.bodies += [(topic, json.dumps(body).encode()) for topic, body in write(step)]

    # --- bodies as the platforms write them -----------------------------------------------------------------

    def _shopify(self, step: str) -> list[tuple[str, Any]]:
        body = SAMPLES["shopify"].sample(PAID["shopify"], journey(), self.store)

        def both(name: str, amount: Decimal) -> dict[str, Any]:
            money = {"amount": str(amount), "currency_code": self.currency}
            return {name: str(amount), f"{name}_set": {"shop_money": money, "presentment_money": money}}

        rest = self.total - sum(self.refunds, Decimal(0))
        status = "voided" if self.cancelled and not self.paid else "refunded" if self.refunds and not rest else (
            "partially_refunded" if self.refunds else "paid" if self.paid else "pending"
        )  # fmt: skip
        body |= {
            "id": 1000 + self.number,
            "name": f"#{self.number}",
            "currency": self.currency,
            "presentment_currency": self.currency,
            "created_at": self.placed_at.isoformat(),
            "processed_at": self.placed_at.isoformat(),
            "updated_at": self.at.isoformat(),
            "cancelled_at": self.at.isoformat() if self.cancelled else None,
            "financial_status": status,
            "refunds": [self._shopify_refund(number, amount) for number, amount in enumerate(self.refunds)],
            **both("total_price", self.total),
            **both("current_total_price", rest),
        }
        if step == "refunded":
            last = len(self.refunds) - 1
            return [("refunds/create", self._shopify_refund(last, self.refunds[last])), ("orders/updated", body)]
        topics = {"placed": ["orders/create"], "paid": ["orders/paid"], "cancelled": ["orders/cancelled"]}
        return [(topic, body) for topic in [*topics.get(step, []), "orders/updated"]]

    def _shopify_refund(self, number: int, amount: Decimal) -> dict[str, Any]:
        return {
            "id": self.number * 100 + number,
            "order_id": 1000 + self.number,
            "created_at": self.at.isoformat(),
            "refund_line_items": [],
            "transactions": [
                {"kind": "refund", "status": "success", "amount": str(amount), "currency": self.currency},
                {"kind": "refund", "status": "failure", "amount": str(amount), "currency": self.currency},
            ],
        }

    def _woocommerce(self, step: str) -> list[tuple[str, Any]]:
        body = SAMPLES["woocommerce"].sample(PLACED["woocommerce"], journey(), self.store)

        def gmt(moment: datetime) -> str:
            return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S}"

        whole = self.refunds and sum(self.refunds) == self.total
        body |= {
            "id": 1000 + self.number,
            "number": str(self.number),
            "currency": self.currency,
            "total": str(self.total),
            "status": "cancelled"
            if self.cancelled
            else "refunded"
            if whole
            else "processing"
            if self.paid
            else "on-hold",
            "date_created_gmt": gmt(self.placed_at),
            "date_modified_gmt": gmt(self.at),
            "date_paid_gmt": gmt(self.placed_at) if self.paid else None,
            "refunds": [
                {"id": self.number * 100 + number, "reason": "", "total": str(-amount)}
                for number, amount in enumerate(self.refunds)
            ],
        }
        return [(topic, body) for topic in (["order.created"] if step == "placed" else []) + ["order.updated"]]
