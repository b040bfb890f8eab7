"""What shops ask of us about what we keep: noted with the webhook, done by `erasing` beside the relay, and remembered.

A body asks once. Its SHA-256, what it asked for and when stay: an old body that is sent again must find it done, and
somebody may ask whether it was. Times are Unix seconds. Raises CannotStore.
"""

from dataclasses import dataclass
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy import Connection

from connector.core.event import DataRequestKind
from connector.core.units import HOUR
from connector.privacy.data_subject import DataSubject
from connector.storage.database import Database
from connector.storage.tables import counters, demands, ledger

# A platform may ask for a shop's erasure 48 hours after the app's end, and always in the same words.
QUIET = 44 * HOUR


@dataclass(frozen=True, slots=True)
class StoredDataRequest:
    """A demand as it is kept. `person` is None once it is done, and for what is about a whole store."""

    id: int
    store: str
    what: DataRequestKind
    asked_at: float
    done_at: float | None
    person: DataSubject | None


class DataRequestStore:
    """The table's verbs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def note(
        self, store: str, what: DataRequestKind, person: DataSubject, body_sha256: bytes, now: float
    ) -> int | None:
        """Remember what is asked for; its number if it is to be done now, None if this body has asked before."""
        # Nothing is to be done about an uninstalled app: it is told and over.
        row = {
            "store": store,
            "what": what,
            "body_sha256": body_sha256,
            "asked_at": now,
            "done_at": now if what == "uninstalled" else None,
            "person": msgspec.json.encode(person) if person else None,
        }
        with self._database.write() as connection:
            again = {name: row[name] for name in ("asked_at", "done_at", "person")}
            insert = self._database.insert(demands).values(row).on_conflict_do_nothing().returning(demands.c.id)
            if (number := connection.execute(insert).scalar()) is not None:
                return int(number)
            same = [demands.c[name] == row[name] for name in ("store", "what", "body_sha256")]
            if not self._asks_anew(connection, store, what, now):
                return None
            old = demands.c.done_at < now - QUIET
            known = sa.update(demands).where(*same, old).values(again).returning(demands.c.id)
            return connection.execute(known).scalar()

    def _asks_anew(self, connection: Connection, store: str, what: DataRequestKind, now: float) -> bool:
        """Whether the same words may be meant again: a shop that left a second time.

        Whoever has an old body in his hands could else have a shop erased that has come back; but such a shop sends
        webhooks, and one that was let go does not.
        """
        if what == "uninstalled":
            return True
        if what != "erase_store":
            return False
        lines = sa.select(ledger.c.id).where(ledger.c.store == store, ledger.c.outcome != "recorded")
        heard = lines.where(ledger.c.received_at > now - QUIET)
        hours = (counters.c.hour > int(now - QUIET), counters.c.what != "refused")
        counted = sa.select(counters.c.count).where(counters.c.store == store, *hours)
        return all(connection.execute(query.limit(1)).first() is None for query in (heard, counted))

    def waiting(self) -> list[StoredDataRequest]:
        """What is still to be done, the oldest first."""
        return self._find(demands.c.done_at.is_(None))

    def find(self, number: int) -> StoredDataRequest | None:
        """The demand of this number."""
        return next(iter(self._find(demands.c.id == number)), None)

    def finish(self, number: int, now: float) -> None:
        """It is done: whom it was about is forgotten."""
        with self._database.write() as connection:
            done = sa.update(demands).where(demands.c.id == number, demands.c.done_at.is_(None))
            connection.execute(done.values(done_at=now, person=None))

    def _find(self, which: sa.ColumnElement[bool]) -> list[StoredDataRequest]:
        with self._database.read() as connection:
            rows = connection.execute(sa.select(demands).where(which).order_by(demands.c.id)).all()
        return [_noted(row) for row in rows]


def _noted(row: sa.Row[Any]) -> StoredDataRequest:
    person = msgspec.json.decode(row.person, type=DataSubject) if row.person else None
    return StoredDataRequest(row.id, row.store, row.what, row.asked_at, row.done_at, person)
