"""Settlement: what an attempt at a leased event leads to: a final state, or another attempt."""

from collections.abc import Iterable, Iterator
from typing import Any, Literal

import sqlalchemy as sa
from msgspec import Struct

State = Literal["held", "due", "accepted", "rejected", "expired", "skipped"]
STATES: tuple[State, ...] = ("held", "due", "accepted", "rejected", "expired", "skipped")


class LeasedEvent(Struct, frozen=True):
    """An event leased to one relay until `lease_until`. Times are Unix seconds.

    `maybe_sent_at` (the column `sent_at`) is the first moment at which it may have reached TikTok. `object_key` is that
    of its order, checkout or customer; an event that a browser reports has none, and its event_id takes the place.
    """

    id: int
    event: str
    event_id: str
    object_key: str
    test_code: str
    payload: bytes
    attempts: int
    tried_at: float
    maybe_sent_at: float
    occurred_at: float
    created_at: float
    lease_until: float

    def __repr__(self) -> str:
        """Leave out the payload, which has personal data."""
        return f"<LeasedEvent {self.event} {self.event_id}>"


class Settlement(Struct, frozen=True):
    """The new state of one leased event, by its row id. Times are Unix seconds.

    `maybe_sent_at` is None if TikTok certainly did not receive the event. An attempt with `counts` False is taken back:
    the event was not sent, or the lane is at fault.
    """

    row: int
    state: State
    due_at: float
    maybe_sent_at: float | None
    settled_at: float | None = None
    code: int | None = None
    message: str = ""
    request_id: str = ""
    counts: bool = True

    @property
    def has_answer(self) -> bool:
        """True if there is an answer to store; otherwise the row keeps that of the previous attempt."""
        return self.code is not None or bool(self.message)


def settled(
    event: LeasedEvent, state: State, now: float, code: int | None, message: str, request_id: str
) -> Settlement:
    """Settle an event for good."""
    return Settlement(event.id, state, now, event.maybe_sent_at, now, code, message, request_id)


def due_again(
    event: LeasedEvent, due_at: float, maybe_sent_at: float | None, code: int | None, message: str, counts: bool = True
) -> Settlement:
    """Make an event due for another attempt at `due_at`."""
    return Settlement(event.id, "due", due_at, maybe_sent_at, None, code, message, "", counts)


def settlement_update(table: sa.Table, owner: str, lease_until: float) -> sa.Executable:
    """Return the UPDATE of `table` for `settlement_parameters`.

    It returns the ids of the rows written: those whose lease is still this one.
    """
    attempts = table.c.attempts - sa.bindparam("uncounted")
    kept = sa.bindparam("kept", type_=sa.Integer) == 1
    return (
        sa.update(table)
        .where(
            table.c.id.in_(sa.bindparam("rows", expanding=True)),
            table.c.lease_owner == owner,
            table.c.lease_until == lease_until,
        )
        .values(
            lease_owner=None,
            lease_until=None,
            state=sa.bindparam("new_state"),
            due_at=sa.bindparam("new_due_at"),
            sent_at=sa.bindparam("new_sent_at"),
            attempts=attempts,
            tried_at=sa.case((attempts == 0, sa.null()), else_=table.c.tried_at),
            settled_at=sa.bindparam("new_settled_at"),
            **{
                name: sa.case((kept, table.c[name]), else_=sa.bindparam(f"new_{name}", type_=table.c[name].type))
                for name in ("code", "message", "request_id")
            },
        )
        .returning(table.c.id)
    )


def settlement_parameters(settlements: Iterable[Settlement]) -> Iterator[dict[str, Any]]:
    """Yield the parameters of an UPDATE for each group of rows with the same result, such as those of one request."""
    groups: dict[tuple[object, ...], list[Settlement]] = {}
    for settlement in settlements:
        groups.setdefault(_result(settlement), []).append(settlement)
    for group in groups.values():
        first = group[0]
        yield {
            "rows": [settlement.row for settlement in group],
            "new_state": first.state,
            "new_due_at": first.due_at,
            "new_sent_at": first.maybe_sent_at,
            "new_settled_at": first.settled_at,
            "new_code": first.code,
            "new_message": first.message or None,
            "new_request_id": first.request_id or None,
            "kept": int(not first.has_answer),
            "uncounted": int(not first.counts),
        }


def _result(one: Settlement) -> tuple[object, ...]:
    """Return all fields but the row."""
    answer = (one.code, one.message, one.request_id, one.counts)
    return (one.state, one.due_at, one.maybe_sent_at, one.settled_at, *answer)
