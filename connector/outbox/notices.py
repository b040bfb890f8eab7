"""Notices: what webhooks without data have named, until the shop's API has answered.

Intake writes them, the relay's process fetches them (`connector.sync.fetch`). They have a table of their own, a row for
each order, checkout or customer: equal bodies can mean different changes, so the ledger's key does not tell them apart.
A notice of what already waits only moves its time. Times are Unix seconds. Raises CannotStore.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy import Connection

from connector.storage.database import Database
from connector.storage.tables import notices

GATHER = 1.0  # seconds before the first attempt: shops send several webhooks about one change
MAX_AHEAD = 3600.0  # seconds, longer than any pause or lease: a wrong clock wrote a time further ahead


class NoticeEntry(Struct, frozen=True):
    """A verified webhook as the table stores it. `object_key` is "order:250"; `noted_at` the time of its arrival."""

    store: str
    object_key: str
    topic: str
    delivery: str
    noted_at: float


class LeasedNotice(Struct, frozen=True):
    """A row leased to one worker. `since` is when the first of its webhooks arrived, `noted_at` when the last did."""

    store: str
    object_key: str
    topic: str
    delivery: str
    since: float
    noted_at: float
    attempts: int


class WaitingNotices(Struct, frozen=True):
    """The waiting notices of a store: their number (at least), the oldest's arrival, and an error, if there was one."""

    store: str
    number: int
    since: float
    error: str


class NoticeTable:
    """Stores, leases and settles notices. Safe to share between threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        insert = database.insert(notices)
        # Taking the lease away makes a worker that is just fetching the old state fetch again.
        moved = {name: insert.excluded[name] for name in ("topic", "delivery", "noted_at")} | {"lease_owner": None}
        self._note = insert.on_conflict_do_update(index_elements=["store", "object_key"], set_=moved)

    def record(self, entry: NoticeEntry) -> None:
        """Store one notice."""
        with self._database.write() as connection:
            self.write(connection, [entry])

    def write(self, connection: Connection, entries: Sequence[NoticeEntry]) -> list[None]:
        """Store notices in the caller's transaction."""
        latest = {(entry.store, entry.object_key): entry for entry in entries}
        rows = [
            {
                "store": entry.store,
                "object_key": entry.object_key,
                "topic": entry.topic,
                "delivery": entry.delivery,
                "since": entry.noted_at,
                "noted_at": entry.noted_at,
                "due_at": entry.noted_at + GATHER,
                "attempts": 0,
                "error": "",
            }
            for _, entry in sorted(latest.items())  # in a fixed order, so that two transactions do not deadlock
        ]
        connection.execute(self._note, rows)
        return [None] * len(entries)

    def due(self, store: str, now: float, most: int) -> int:
        """Return the number of a store's notices that can be claimed, `most` at most."""
        found = sa.select(notices.c.object_key).where(*_claimable(store, now)).limit(most).subquery()
        with self._database.read() as connection:
            return int(connection.execute(sa.select(sa.func.count()).select_from(found)).scalar() or 0)

    def claim(self, store: str, owner: str, now: float, lease: float) -> LeasedNotice | None:
        """Lease the longest due notice of a store to `owner` for `lease` seconds; None if none is due."""
        first = sa.select(notices.c.object_key).where(*_claimable(store, now)).order_by(notices.c.due_at).limit(1)
        if self._database.is_postgresql:
            first = first.with_for_update(skip_locked=True)
        chosen = first.cte("chosen")  # evaluated once; a plain subquery may run again and lock another row
        update = (
            sa.update(notices)
            .where(notices.c.store == store, notices.c.object_key.in_(sa.select(chosen.c.object_key)))
            .values(lease_owner=owner, lease_until=now + lease)
            .returning(*(notices.c[name] for name in LeasedNotice.__struct_fields__))
        )
        with self._database.write() as connection:
            row = connection.execute(update).first()
        return LeasedNotice(*row) if row else None

    def finish(self, notice: LeasedNotice, owner: str) -> bool:
        """Delete a fetched notice; return False if it was noted again meanwhile, so that it stays due."""
        with self._database.write() as connection:
            return connection.execute(sa.delete(notices).where(*_leased(notice, owner))).rowcount > 0

    def postpone(self, notice: LeasedNotice, owner: str, due_at: float, error: str) -> None:
        """End the lease after a failed attempt; the next one is at `due_at`."""
        failed = {"due_at": due_at, "attempts": notices.c.attempts + 1, "error": error[:1000], "lease_owner": None}
        self._update(notice, owner, failed)

    def release(self, notice: LeasedNotice, owner: str) -> None:
        """Give the lease back, so that another process need not wait until it expires."""
        self._update(notice, owner, {"lease_owner": None})

    def _update(self, notice: LeasedNotice, owner: str, values: dict[str, Any]) -> None:
        with self._database.write() as connection:
            connection.execute(sa.update(notices).where(*_leased(notice, owner)).values(values))

    def waiting(self, stores: Iterable[str], most: int) -> list[WaitingNotices]:
        """Return the waiting notices of these stores that have any, counted up to `most` each."""
        found = []
        columns = (notices.c.since, notices.c.error)
        with self._database.read() as connection:
            for store in stores:
                query = sa.select(*columns).where(notices.c.store == store).order_by(notices.c.due_at).limit(most)
                if rows := connection.execute(query).all():
                    error = next((row.error for row in rows if row.error), "")
                    found.append(WaitingNotices(store, len(rows), min(row.since for row in rows), error))
        return found


def _claimable(store: str, now: float) -> tuple[sa.ColumnElement[bool], ...]:
    """Return the conditions of a due notice without a lease; times too far ahead come from a wrong clock."""
    due, until = notices.c.due_at, notices.c.lease_until
    free = sa.or_(notices.c.lease_owner.is_(None), until <= now, until > now + MAX_AHEAD)
    return notices.c.store == store, sa.or_(due <= now, due > now + MAX_AHEAD), free


def _leased(notice: LeasedNotice, owner: str) -> tuple[sa.ColumnElement[bool], ...]:
    named = (notices.c.store == notice.store, notices.c.object_key == notice.object_key)
    return (*named, notices.c.lease_owner == owner)
