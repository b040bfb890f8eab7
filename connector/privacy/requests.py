"""Data requests from shops: stored with their webhook, in the table `demands`, and carried out by the erasure job.

The option `--demand` takes the number of a data request, its id in that table.

Each body counts as one request. Its SHA-256, the kind of request and the time are kept for good, so that a replayed
body is recognised and the erasure can be proved. Times are Unix seconds. Raises CannotStore.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy import Connection

from connector.core.event import DataRequest, DataRequestKind
from connector.core.signature import body_sha256
from connector.core.store import Store
from connector.core.units import HOUR
from connector.core.webhook import Webhook
from connector.privacy.data_subject import DataSubject, data_subject_of
from connector.storage.database import Database
from connector.storage.tables import counters, demands, ledger

log = logging.getLogger(__name__)

# Seconds without webhooks after which an identical request to erase a store counts as a new one. A platform can send
# it 48 hours after the app was uninstalled, always with the same body.
QUIET = 44 * HOUR

_MESSAGES: dict[DataRequestKind, str] = {
    "erase_person": "erasure of a shopper requested; it is done within a minute (data request {0})",
    "erase_store": "erasure of this store requested; it is done within a minute (data request {0})",
    "export": "a shopper requests a copy of their data: run `connector events export --demand {0}`",
    "uninstalled": "the shop has uninstalled the app; queued events are still sent",
}


@dataclass(frozen=True, slots=True)
class StoredDataRequest:
    """A stored request. `person` is None once it is done, and for requests about a whole store."""

    id: int
    store: str
    what: DataRequestKind
    asked_at: float
    done_at: float | None
    person: DataSubject | None


class DataRequestStore:
    """Reads and writes the table `demands`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record_all(self, data_requests: Iterable[DataRequest], webhook: Webhook, store: Store, now: float) -> None:
        """Store and log a webhook's requests. The relay's process fulfils them: that takes longer than a shop waits."""
        extra = {"store": store.name, "topic": webhook.topic}
        for request in data_requests:
            person = data_subject_of(request, store)
            number = self.note(store.name, request.what, person, body_sha256(webhook.body), now)
            if number is None:
                log.info("data-subject request received before; nothing to do", extra=extra)
            else:
                log.warning("%s", _MESSAGES[request.what].format(number), extra=extra)

    def note(self, store: str, what: DataRequestKind, person: DataSubject, digest: bytes, now: float) -> int | None:
        """Store a request; return its number if it must be carried out, None if this body was received before.

        `digest` is the body's SHA-256.
        """
        # An uninstalled app is only reported, so its request is done at once.
        row = {
            "store": store,
            "what": what,
            "body_sha256": digest,
            "asked_at": now,
            "done_at": now if what == "uninstalled" else None,
            "person": msgspec.json.encode(person) if person else None,
        }
        with self._database.write() as connection:
            repeated = {name: row[name] for name in ("asked_at", "done_at", "person")}
            insert = self._database.insert(demands).values(row).on_conflict_do_nothing().returning(demands.c.id)
            if (number := connection.execute(insert).scalar()) is not None:
                return int(number)
            same = [demands.c[name] == row[name] for name in ("store", "what", "body_sha256")]
            if not self._can_repeat(connection, store, what, now):
                return None
            old = demands.c.done_at < now - QUIET
            known = sa.update(demands).where(*same, old).values(repeated).returning(demands.c.id)
            return connection.execute(known).scalar()

    def _can_repeat(self, connection: Connection, store: str, what: DataRequestKind, now: float) -> bool:
        """Return whether the same body can be a new request: a shop can uninstall the app a second time.

        A replayed old body must not erase a shop that has come back; such a shop sends webhooks, so erasure needs QUIET
        seconds without any.
        """
        if what == "uninstalled":
            return True
        if what != "erase_store":
            return False
        lines = sa.select(ledger.c.id).where(ledger.c.store == store, ledger.c.outcome != "recorded")
        recent = lines.where(ledger.c.received_at > now - QUIET)
        hours = (counters.c.hour > int(now - QUIET), counters.c.what != "refused")
        counted = sa.select(counters.c.count).where(counters.c.store == store, *hours)
        return all(connection.execute(query.limit(1)).first() is None for query in (recent, counted))

    def waiting(self) -> list[StoredDataRequest]:
        """Return the requests that are not done, the oldest first."""
        return self._find(demands.c.done_at.is_(None))

    def find(self, number: int) -> StoredDataRequest | None:
        """Return the request of this number, or None."""
        return next(iter(self._find(demands.c.id == number)), None)

    def finish(self, number: int, now: float) -> None:
        """Mark a request as done, and delete the hashes and ids of its person."""
        with self._database.write() as connection:
            done = sa.update(demands).where(demands.c.id == number, demands.c.done_at.is_(None))
            connection.execute(done.values(done_at=now, person=None))

    def _find(self, which: sa.ColumnElement[bool]) -> list[StoredDataRequest]:
        with self._database.read() as connection:
            rows = connection.execute(sa.select(demands).where(which).order_by(demands.c.id)).all()
        return [_from_row(row) for row in rows]


def _from_row(row: sa.Row[Any]) -> StoredDataRequest:
    person = msgspec.json.decode(row.person, type=DataSubject) if row.person else None
    return StoredDataRequest(row.id, row.store, row.what, row.asked_at, row.done_at, person)
