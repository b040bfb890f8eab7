"""Intake's books: a line of the ledger for each webhook that brought something, a count of those that did not.

Each verb is part of the caller's transaction, and asks once for all the webhooks that are stored together: most of what
a shop sends are updates of orders that are known already.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy import Connection

from connector.core.units import HOUR
from connector.mapping.tiktok_event import OutboundEvent
from connector.storage.bulk_insert import BulkInsert
from connector.storage.database import Database
from connector.storage.tables import counters, events, ledger, storable


class Decision(Struct, frozen=True):
    """What intake decided about one webhook: the ledger's line and the events to send."""

    store: str
    topic: str
    body_sha256: bytes
    received_at: float
    delivery: str = ""
    object_key: str = ""
    order_number: str = ""
    outcome: str = "relayed"
    reason: str = ""
    events: tuple[OutboundEvent, ...] = ()

    @property
    def body(self) -> tuple[str, str, bytes]:
        """What is the same when a webhook comes again."""
        return self.store, self.topic, self.body_sha256


_LINE = (
    "store", "topic", "body_sha256", "object_key", "order_number", "delivery", "outcome", "reason", "received_at",
)  # fmt: skip
_RETOLD = ("object_key", "order_number", "outcome", "reason")


def _asked(*columns: sa.Column[Any]) -> list[sa.ColumnElement[bool]]:
    """Any of the values of each, which an index on them finds; of pairs of values SQLite would read the whole table."""
    return [column.in_(sa.bindparam(column.name, expanding=True)) for column in columns]


_SENT = sa.select(events.c.store, events.c.object_key).where(*_asked(events.c.store, events.c.object_key))
_SAID = sa.select(ledger.c.store, ledger.c.object_key, ledger.c.reason).where(
    *_asked(ledger.c.store, ledger.c.object_key)
)
_PARKED = sa.select(ledger.c.store, ledger.c.topic, ledger.c.body_sha256).where(
    *_asked(ledger.c.store, ledger.c.topic, ledger.c.body_sha256), ledger.c.outcome == "parked"
)


class Ledger:
    """The books of one database."""

    def __init__(self, database: Database) -> None:
        # A body that was parked and now, replayed, is handled, or that was skipped and, sent again after the settings
        # changed, becomes events: its line tells the newer story.
        retold = ", ".join(f"{name} = excluded.{name}" for name in _RETOLD)
        stale = "ledger.outcome = 'parked' OR ledger.outcome = 'skipped' AND excluded.outcome = 'relayed'"
        told = f"ON CONFLICT (store, topic, body_sha256) DO UPDATE SET {retold} WHERE {stale}"
        self._new_lines = BulkInsert(ledger, _LINE, told, database.engine.dialect)
        new = database.insert(counters)
        self._more = new.on_conflict_do_update(
            index_elements=[column.name for column in counters.primary_key],
            set_={"count": counters.c.count + new.excluded["count"]},
        )

    def note(self, connection: Connection, decisions: Sequence[Decision], new: Sequence[int]) -> None:
        """A line or a count for each decision; `new` says how many of its events are."""
        quiet = self._nothing_new(connection, decisions, new)
        pairs = [*zip(decisions, quiet, strict=True)]
        known = [decision for decision, is_quiet in pairs if is_quiet]
        self.count(connection, Counter((d.store, d.topic, "duplicate", hour_at(d.received_at)) for d in known))
        self._retell(connection, known)
        self.write(connection, [decision for decision, is_quiet in pairs if not is_quiet])

    def write(self, connection: Connection, decisions: Iterable[Decision]) -> None:
        """A line for each; for a body that has one already none, unless there is a newer story to tell."""
        # The same body twice at the same time is one line, and PostgreSQL lets a statement change it only once.
        once = {decision.body: decision for decision in reversed([*decisions])}
        if once:
            self._new_lines.run(connection, [_line(once[body]) for body in sorted(once)])

    def count(self, connection: Connection, numbers: Mapping[tuple[str, str, str, int], int]) -> None:
        """Add to the counters: (store, topic, what, hour) → how many."""
        names = ("store", "topic", "what", "hour")
        if numbers:
            # In one order whoever counts, or two would lock each other out.
            rows = [dict(zip(names, key, strict=True), count=number) for key, number in sorted(numbers.items())]
            connection.execute(self._more, rows)

    def _nothing_new(self, connection: Connection, decisions: Sequence[Decision], new: Sequence[int]) -> Sequence[bool]:
        """For each decision whether it tells nothing that is not known.

        An order that was sent and is cancelled now has its story; that it would not be sent today is none.
        """
        skipped = [(d.store, storable(d.object_key)) for d in decisions if d.object_key and not d.events]
        asked = _values(("store", "object_key"), skipped)
        sent = {tuple(row) for row in connection.execute(_SENT, asked)} if skipped else set()
        said = {tuple(row) for row in connection.execute(_SAID, asked)} if skipped else set()

        def is_known(d: Decision) -> bool:
            about = (d.store, storable(d.object_key))
            return bool(d.events) or about in sent or (*about, storable(d.reason)) in said

        return [
            not number and decision.outcome != "recorded" and is_known(decision)
            for decision, number in zip(decisions, new, strict=True)
        ]

    def _retell(self, connection: Connection, decisions: Sequence[Decision]) -> None:
        """A body that was parked and, replayed, brings nothing new is handled all the same: its line says so."""
        handled = {decision.body: decision for decision in decisions}
        asked = _values(("store", "topic", "body_sha256"), handled)
        for body in connection.execute(_PARKED, asked).all() if handled else ():
            if again := handled.get(tuple(body)):
                line = (ledger.c.store == body.store, ledger.c.topic == body.topic)
                changed = {name: getattr(again, name) for name in _RETOLD}
                update = sa.update(ledger).where(*line, ledger.c.body_sha256 == body.body_sha256)
                connection.execute(update.values(changed))


def hour_of(moment: datetime) -> int:
    """The hour a moment lies in, as the counters name it."""
    return hour_at(moment.astimezone(UTC).timestamp())


def hour_at(now: float) -> int:
    """The same of Unix seconds."""
    return int(now) // HOUR * HOUR


def _values(names: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> dict[str, list[Any]]:
    """What `_asked` is given: the values of each column, none twice."""
    return {name: sorted(set(found)) for name, found in zip(names, zip(*rows, strict=True), strict=False)}


def _line(decision: Decision) -> dict[str, Any]:
    return {name: getattr(decision, name) for name in _LINE}
