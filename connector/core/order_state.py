"""An order as a sale: what a body says of its money, whatever became of its events. For the books and for accuracy."""

from datetime import datetime
from decimal import Decimal

from msgspec import Struct

from connector.core.event import TotalBreakdown


class OrderState(Struct, frozen=True):
    """An order as its body shows it. Amounts are in major units of `currency`.

    `total` is what is left of the order, except that it may still include `refunded`. `changed_at` is when the body was
    written, so that of two bodies the later one counts, in any sequence of arrival. `refund_ids` names the refunds that
    are already in these amounts; None if the shop does not list them. `cancelled`: nothing of it is left.
    """

    order_id: str
    placed_at: datetime
    changed_at: datetime
    currency: str
    total: Decimal | None
    breakdown: TotalBreakdown | None = None
    refunded: Decimal | None = Decimal(0)
    refund_ids: tuple[str, ...] | None = ()
    cancelled: bool = False
    order_number: str = ""


class OrderRefund(Struct, frozen=True):
    """One refund of an order, which comes alone; the order's next body includes it. `amount` is None if not certain."""

    order_id: str
    refund_id: str
    refunded_at: datetime
    currency: str
    amount: Decimal | None
