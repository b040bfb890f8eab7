"""The ledger: a line for each webhook that brought something new, and counts of the others.

Each method runs in the caller's transaction and queries once for all webhooks that are stored together: most webhooks
are updates of known orders.
"""

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy import Connection

from connector.core.units import HOUR
from connector.mapping.click_use import ConsentDenial
from connector.mapping.consent import CONSENT_DENIED
from connector.mapping.tiktok_event import OutboundEvent
from connector.outbox.books import BookEntry
from connector.storage.bulk_insert import BulkInsert
from connector.storage.database import Database, insert_into
from connector.storage.tables import counters, events, ledger, storable

# in the column delivery: lines that no webhook caused; the last is the old name of "repair"
NO_ARRIVAL = ("backfill", "reconcile", "repair", "guardian")


class ParkedWebhook(Struct, frozen=True):
    """A signed webhook that could not be handled, encrypted with a key from the store's own secrets."""

    store: str
    topic: str
    body_sha256: bytes
    reason: str
    parked_at: float
    sealed: bytes
    id: int = 0

    def __repr__(self) -> str:
        """Leave out the encrypted body."""
        return f"<ParkedWebhook {self.id} of {self.store}: {self.reason}>"


class Decision(Struct, frozen=True):
    """The decision of intake about one webhook: the ledger's line and the events to send, or the body to park.

    `received_at` (Unix seconds) is the time of the decision: for a replay, that of the replay.
    `checkout_token` is that of the order's checkout, if its browser may send beacons. `consent_denial` is set only
    for a store that remembers clicks.
    """

    store: str
    topic: str
    body_sha256: bytes
    received_at: float
    delivery: str = ""
    object_key: str = ""
    order_number: str = ""
    checkout_token: str = ""
    outcome: str = "relayed"
    reason: str = ""
    events: tuple[OutboundEvent, ...] = ()
    parked: ParkedWebhook | None = None
    book_entry: BookEntry | None = None
    consent_denial: ConsentDenial | None = None

    @property
    def body(self) -> tuple[str, str, bytes]:
        """The key that a repeated delivery of the webhook shares."""
        return self.store, self.topic, self.body_sha256


def park_decision(item: ParkedWebhook, delivery: str = "") -> Decision:
    """Return the decision to park a webhook."""
    line = (item.store, item.topic, item.body_sha256, item.parked_at, delivery)
    return Decision(*line, outcome="parked", reason=item.reason, parked=item)


_COLUMNS = (
    "store", "topic", "body_sha256", "object_key", "order_number", "delivery", "outcome", "reason", "received_at",
)  # fmt: skip
_UPDATED = ("object_key", "order_number", "outcome", "reason")


def _in_any(*columns: sa.Column[Any]) -> list[sa.ColumnElement[bool]]:
    """Return conditions that each column has any of its values.

    The caller compares the tuples, for which SQLite would scan the whole table.
    """
    return [column.in_(sa.bindparam(column.name, expanding=True)) for column in columns]


_KNOWN_OBJECTS = sa.select(events.c.store, events.c.object_key).where(*_in_any(events.c.store, events.c.object_key))
_KNOWN_REASONS = sa.select(ledger.c.store, ledger.c.object_key, ledger.c.reason).where(
    *_in_any(ledger.c.store, ledger.c.object_key)
)
_PARKED_LINES = sa.select(ledger.c.store, ledger.c.topic, ledger.c.body_sha256).where(
    *_in_any(ledger.c.store, ledger.c.topic, ledger.c.body_sha256), ledger.c.outcome == "parked"
)

FREQUENT = 20  # webhooks a second
_RECENT_LINE = sa.select(ledger.c.received_at).order_by(ledger.c.received_at.desc()).limit(1).offset(FREQUENT - 1)


@cache
def _add_to_counter(dialect: str) -> Any:
    new = insert_into(counters, dialect)
    return new.on_conflict_do_update(
        index_elements=[column.name for column in counters.primary_key],
        set_={"count": counters.c.count + new.excluded["count"]},
    )


class Ledger:
    """The ledger and the counters of one database."""

    def __init__(self, database: Database) -> None:
        # A parked body may be handled by a replay, and a skipped one may yield events when it is sent again after a
        # change of settings: its line is updated then.
        updates = ", ".join(f"{name} = excluded.{name}" for name in _UPDATED)
        stale = "ledger.outcome = 'parked' OR ledger.outcome = 'skipped' AND excluded.outcome = 'relayed'"
        ending = f"ON CONFLICT (store, topic, body_sha256) DO UPDATE SET {updates} WHERE {stale}"
        self._new_lines = BulkInsert(ledger, _COLUMNS, ending, database.engine.dialect)
        self._add_to_counter = _add_to_counter(database.engine.dialect.name)

    def note(self, connection: Connection, decisions: Sequence[Decision], new: Sequence[int]) -> None:
        """Write a line or a count for each decision; `new` is the number of its new events."""
        pairs = [*zip(decisions, self._repeats(connection, decisions, new), strict=True)]
        known = [decision for decision, is_known in pairs if is_known]
        self.count(connection, Counter((d.store, d.topic, "duplicate", hour_at(d.received_at)) for d in known))
        self._update_parked_lines(connection, known)
        self.write(connection, [decision for decision, is_known in pairs if not is_known])

    def write(self, connection: Connection, decisions: Iterable[Decision]) -> None:
        """Write a line for each decision; a body that has one gets no second line, but an update if it is stale."""
        # A body that occurs twice is one line, and PostgreSQL lets a statement change a row only once.
        once = {decision.body: decision for decision in reversed([*decisions])}
        if once:
            self._new_lines.run(connection, [_line(once[body]) for body in sorted(once)])

    def count(self, connection: Connection, counts: Mapping[tuple[str, str, str, int], int]) -> None:
        """Add to the counters, by (store, topic, what, hour)."""
        names = ("store", "topic", "what", "hour")
        if counts:
            # Always in the same order, or two transactions could deadlock.
            rows = [dict(zip(names, key, strict=True), count=number) for key, number in sorted(counts.items())]
            connection.execute(self._add_to_counter, rows)

    def knows_consent_denial(self, connection: Connection, decision: Decision) -> bool:
        """Return whether the last line about this order says already that the shopper said no."""
        about = (ledger.c.store == decision.store, ledger.c.object_key == decision.object_key)
        query = sa.select(ledger.c.reason).where(*about).order_by(ledger.c.id.desc()).limit(1)
        return CONSENT_DENIED in (connection.execute(query).scalar() or "")

    def _repeats(self, connection: Connection, decisions: Sequence[Decision], new: Sequence[int]) -> Sequence[bool]:
        """Return for each decision whether it repeats what the ledger already says.

        A skip of an order that was sent counts as a repeat.
        """
        skipped = [(d.store, storable(d.object_key)) for d in decisions if d.object_key and not d.events]
        values = _distinct_values(("store", "object_key"), skipped)
        known_objects = {tuple(row) for row in connection.execute(_KNOWN_OBJECTS, values)} if skipped else set()
        known_reasons = {tuple(row) for row in connection.execute(_KNOWN_REASONS, values)} if skipped else set()

        def is_known(d: Decision) -> bool:
            key = (d.store, storable(d.object_key))
            return bool(d.events) or key in known_objects or (*key, storable(d.reason)) in known_reasons

        return [
            not number and decision.outcome != "recorded" and is_known(decision)
            for decision, number in zip(decisions, new, strict=True)
        ]

    def _update_parked_lines(self, connection: Connection, decisions: Sequence[Decision]) -> None:
        """Update the lines of parked bodies whose replay brought nothing new: they are handled, too."""
        handled = {decision.body: decision for decision in decisions}
        values = _distinct_values(("store", "topic", "body_sha256"), handled)
        for body in connection.execute(_PARKED_LINES, values).all() if handled else ():
            if again := handled.get(tuple(body)):
                is_line = (ledger.c.store == body.store, ledger.c.topic == body.topic)
                changed = {name: getattr(again, name) for name in _UPDATED}
                update = sa.update(ledger).where(*is_line, ledger.c.body_sha256 == body.body_sha256)
                connection.execute(update.values(changed))


def webhooks_are_frequent(connection: Connection) -> bool:
    """Return True if the ledger has grown by 20 lines or more in the last second.

    The relay yields to such traffic: while it drains a backlog, intake on PostgreSQL keeps 0.56 of its rate, and kept
    0.38 before.
    """
    line = connection.execute(_RECENT_LINE).scalar()
    return line is not None and line > time.time() - 1


def hour_of(moment: datetime) -> int:
    """Return the hour of a moment, as the counters store it: Unix seconds of its start."""
    return hour_at(moment.astimezone(UTC).timestamp())


def hour_at(now: float) -> int:
    """Return the hour of a time in Unix seconds."""
    return int(now) // HOUR * HOUR


def _distinct_values(names: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> dict[str, list[Any]]:
    """Return the parameters of `_in_any`: the distinct values of each column."""
    return {name: sorted(set(found)) for name, found in zip(names, zip(*rows, strict=True), strict=False)}


def _line(decision: Decision) -> dict[str, Any]:
    return {name: getattr(decision, name) for name in _COLUMNS}
