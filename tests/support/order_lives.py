"""Random lives of orders: placed, paid, edited, refunded in parts, cancelled, reopened; and the bodies of each step.

The truth is the shop's own: what an order is worth after each step, in its currency's decimals.
"""

import json
import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from connector.core.store import Store
from tests.support import order_life_bodies
from tests.support.sample_bodies import NOW

DECIMALS = {"JPY": 0, "USD": 2, "KWD": 3}


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
    def id(self) -> int:
        return 1000 + self.number

    @property
    def refunded(self) -> Decimal:
        return sum(self.refunds, Decimal(0))

    @property
    def left(self) -> Decimal:
        """What the shop says is left."""
        return Decimal(0) if self.cancelled else self.total - self.refunded

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
        step = max(self.step, order_life_bodies.REFUND_STEPS.get(self.store.platform, self.step))
        if not self.cancelled and self.left > step:
            part = self.left if self.rng.random() < 0.2 else self.left * self.rng.randint(1, 9) / 10
            part = min(part.quantize(step), self.left)
            if part:
                self.refunds.append(part)
                self.deliver("refunded")

    def _edit(self) -> None:
        if not self.cancelled:
            self.total = max(self.total + self.amount(-20, 20), self.refunded + self.step)
            self.deliver("edited")

    def _touch(self) -> None:
        self.deliver("edited")

    def _cancel(self) -> None:
        if not self.cancelled:
            self.cancelled = True
            self.deliver("cancelled")
        elif self.store.platform in order_life_bodies.REOPENS:
            self.cancelled = False
            self.deliver("edited")

    def deliver(self, step: str) -> None:
        write = order_life_bodies.WRITERS[self.store.platform]
        self.bodies += [(topic, json.dumps(body).encode()) for topic, body in write(self, step)]
