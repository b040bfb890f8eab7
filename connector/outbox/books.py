"""The books: what is left of each order, and what of it TikTok was told. Amounts are in ten-thousandths.

    orders   one row per order, as its latest body shows it
    sold     one row per accepted event of an order with a value: what was sent, under which name, to which pixel

Bodies arrive in any sequence and repeated: of two states the one that the shop wrote later counts; a refund counts
once, and not at all once a body includes it. Methods run in the caller's transaction. Times are Unix seconds.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec
import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy import Connection

from connector.core.currencies import stored_amount
from connector.core.order_state import OrderRefund, OrderState
from connector.core.store import Store
from connector.core.units import DAY
from connector.mapping.order_value import remaining_value
from connector.outbox.settlement import LeasedEvent, Settlement
from connector.storage.database import insert_into
from connector.storage.tables import orders, sold, storable

log = logging.getLogger(__name__)

MAX_REFUNDS = 250  # of one order whose ids are remembered


class BookEntry(Struct, frozen=True):
    """The state of an order according to one body, for its row. `outcome` and `reason` come from reconciliation only.

    A state has `changed_at`; a refund alone has `refund`: its id, amount in ten-thousandths, and time.
    """

    store: str
    object_key: str
    seen_at: float
    currency: str = ""
    order_number: str = ""
    placed_at: float = 0.0
    changed_at: float | None = None
    remaining: int | None = None
    cancelled: bool = False
    refund_ids: tuple[str, ...] | None = None
    refund: tuple[str, int, float] | None = None
    outcome: str = ""
    reason: str = ""


class _Refunds(Struct, omit_defaults=True):
    """The refunds of an order: those its latest body includes, and those that came alone since.

    `unlisted`: that body does not say which it includes, so it is taken to include the earlier ones.
    """

    counted: list[str] = msgspec.field(default_factory=list)
    later: dict[str, tuple[int, float]] = msgspec.field(default_factory=dict)
    unlisted: bool = False


def book_entry(found: OrderState | OrderRefund, store: Store, now: float) -> BookEntry | None:
    """Return the entry of an order's state or refund; None for a refund whose amount is not certain."""
    key = f"order:{found.order_id}"
    if isinstance(found, OrderRefund):
        amount = stored_amount(found.amount)
        if amount is None:
            return None
        refund = (found.refund_id, amount, found.refunded_at.timestamp())
        return BookEntry(store.name, key, now, currency=found.currency, refund=refund)
    return BookEntry(
        store=store.name,
        object_key=key,
        seen_at=now,
        currency=found.currency,
        order_number=found.order_number,
        placed_at=found.placed_at.timestamp(),
        changed_at=found.changed_at.timestamp(),
        remaining=stored_amount(remaining_value(found, store)),
        cancelled=found.cancelled,
        refund_ids=found.refund_ids,
    )


def write_entries(connection: Connection, entries: Iterable[BookEntry]) -> None:
    """Bring the rows of these orders up to date."""
    by_key: dict[tuple[str, str], list[BookEntry]] = {}
    for entry in entries:
        by_key.setdefault((entry.store, storable(entry.object_key)), []).append(entry)
    if not by_key:
        return
    keys = sorted(by_key)  # in a fixed order, so that two transactions cannot deadlock
    new = [_empty_row(store, key, by_key[store, key][0].seen_at) for store, key in keys]
    connection.execute(insert_into(orders, connection.dialect.name).on_conflict_do_nothing(), new)
    stores, names = {store for store, _ in keys}, {key for _, key in keys}
    query = sa.select(orders).where(orders.c.store.in_(stores), orders.c.object_key.in_(names))
    found = connection.execute(query.order_by(orders.c.store, orders.c.object_key).with_for_update()).all()
    for row in found:
        mapping = dict(row._mapping)
        changed = mapping
        for entry in by_key.get((row.store, row.object_key), ()):
            changed = _with_entry(changed, entry)
        if changed != mapping:
            same = (orders.c.store == row.store, orders.c.object_key == row.object_key)
            connection.execute(sa.update(orders).where(*same).values(changed))


def _empty_row(store: str, key: str, now: float) -> dict[str, Any]:
    return {
        "store": store, "object_key": key, "order_number": "", "currency": "", "placed_at": now, "changed_at": 0.0,
        "remaining": None, "later": 0, "cancelled": 0, "refunds": "", "seen_at": now, "outcome": "", "reason": "",
    }  # fmt: skip


def _with_entry(row: Mapping[str, Any], entry: BookEntry) -> dict[str, Any]:
    """Return the row with what an entry says: of a refund, of a state if it is not older, and of reconciliation."""
    changed = dict(row)
    if entry.seen_at > row["seen_at"] + DAY:  # not with every webhook
        changed["seen_at"] = entry.seen_at
    if entry.outcome:
        changed |= {"outcome": entry.outcome, "reason": entry.reason}
        if not row["outcome"] and entry.placed_at:  # of an unreadable body, when it was first seen
            changed["placed_at"] = entry.placed_at
    refunds = msgspec.json.decode(row["refunds"], type=_Refunds) if row["refunds"] else _Refunds()
    if entry.refund is not None:
        return changed | _with_refund(row, refunds, entry, entry.refund)
    if entry.changed_at is not None:
        return changed | _with_state(row, refunds, entry, entry.changed_at)
    return changed


def _with_refund(
    row: Mapping[str, Any], refunds: _Refunds, entry: BookEntry, refund: tuple[str, int, float]
) -> dict[str, Any]:
    """Return the columns that a refund changes; none if it is counted already, or in another currency."""
    number, amount, at = refund
    in_state = number in refunds.counted or (refunds.unlisted and at < row["changed_at"])
    other = row["currency"] and row["currency"] != entry.currency
    if in_state or other:
        return {}
    return _refund_columns(_Refunds(refunds.counted, refunds.later | {number: (amount, at)}, refunds.unlisted))


def _with_state(row: Mapping[str, Any], refunds: _Refunds, entry: BookEntry, changed_at: float) -> dict[str, Any]:
    """Return the columns that a state changes; none if it is older than the row's. Of one second, more refunds win."""
    if (changed_at, len(entry.refund_ids or ())) < (row["changed_at"], len(refunds.counted)):
        return {}
    later = {
        number: refund
        for number, refund in refunds.later.items()
        if (refund[1] > changed_at if entry.refund_ids is None else number not in entry.refund_ids)
    }
    unlisted = entry.refund_ids is None
    return _refund_columns(_Refunds(sorted(entry.refund_ids or ())[-MAX_REFUNDS:], later, unlisted)) | {
        "order_number": entry.order_number or row["order_number"],
        "currency": entry.currency[:8],
        "placed_at": entry.placed_at,
        "changed_at": changed_at,
        "remaining": entry.remaining,
        "cancelled": int(entry.cancelled),
    }


def _refund_columns(refunds: _Refunds) -> dict[str, Any]:
    has_any = refunds.counted or refunds.later or refunds.unlisted
    return {
        "later": sum(amount for amount, _ in refunds.later.values()),
        "refunds": msgspec.json.encode(refunds).decode() if has_any else "",
    }


# --- what was sent ----------------------------------------------------------------------------------------------


class _Properties(Struct, frozen=True):
    value: Decimal | None = None
    currency: str = ""
    order_id: str = ""


class _Item(Struct, frozen=True):
    properties: _Properties = _Properties()


_decode = msgspec.json.Decoder(_Item).decode


class SoldEvents:
    """The accepted events of orders among a lane's settlements, written for the rows actually settled."""

    def __init__(
        self, store: Store, pixel: str, claimed: Iterable[LeasedEvent], settlements: Sequence[Settlement]
    ) -> None:
        self._rows: dict[int, dict[str, Any]] = {}
        if not store.books:
            return
        accepted = {one.row for one in settlements if one.state == "accepted"}
        for item in claimed:
            if item.id in accepted and not item.test_code and (row := _sold_row(item, store.name, pixel)):
                self._rows[item.id] = row

    def write(self, connection: Connection, rows: Iterable[int]) -> None:
        """Store what was sent, in the caller's transaction. An event that was accepted before is known."""
        found = [self._rows[row] for row in rows if row in self._rows]
        if found:
            found.sort(key=lambda row: (row["pixel"], row["event"], row["event_id"]))
            connection.execute(insert_into(sold, connection.dialect.name).on_conflict_do_nothing(), found)


def _sold_row(item: LeasedEvent, store: str, pixel: str) -> dict[str, Any] | None:
    try:
        properties = _decode(item.payload).properties
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    value = stored_amount(properties.value)
    if value is None or not properties.order_id:
        return None
    return {
        "store": store,
        "object_key": f"order:{properties.order_id}",
        "pixel": pixel,
        "event": item.event,
        "event_id": item.event_id,
        "currency": properties.currency[:8],
        "value": value,
        "occurred_at": item.occurred_at,
    }
