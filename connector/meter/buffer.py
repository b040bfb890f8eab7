"""A buffer of pages' reports: gathered in memory, and written in groups by a thread of its own.

Whatever a flood brings, it costs a few small transactions every WRITE_EVERY seconds: a store's reports of one version
are one row, each copy is one, and what does not fit into the buffer is dropped.
"""

import time
from collections.abc import Callable
from threading import Lock
from typing import Any

import sqlalchemy as sa

from connector.meter.report import BrowserCopy, Report
from connector.storage.database import CannotStore, Database
from connector.storage.tables import browser_copies, snippet_reports

WRITE_EVERY = 5.0  # seconds between two groups
MAX_VERSIONS = 20  # of one store, in the buffer and in the database: a page reports one, and anybody can invent more
MAX_ROWS = 200  # copies in a transaction
MAX_COPIES = 2000  # in the buffer; a shop with a million orders a day has 60 in five seconds

_Row = dict[str, Any]
_Key = tuple[str, ...]


class ReportBuffer:
    """Buffers reports until `flush` writes them. Safe to share between threads. `clock` returns Unix seconds."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        self._lock = Lock()
        self._versions: dict[_Key, _Row] = {}  # by store and version
        self._copies: dict[_Key, _Row] = {}  # by pixel, event and event_id
        self._upsert_version, self._upsert_copy = _version_upsert(database), _copy_upsert(database)

    def add(self, store: str, report: Report) -> None:
        """Buffer a report."""
        now = self._clock()
        with self._lock:
            self._add_version(store, report, now)
            for copy in report.copies:
                self._add_copy(store, copy, report.loaded, now)

    def flush(self) -> None:
        """Write what is buffered. Raises CannotStore; all is kept for the next time then."""
        with self._lock:
            versions, self._versions = self._versions, {}
            copies, self._copies = self._copies, {}
        try:
            # In a fixed order, so that two processes cannot deadlock.
            if versions:
                with self._database.write() as connection:
                    connection.execute(self._upsert_version, [versions[key] for key in sorted(versions)])
                    for store in sorted({store for store, _ in versions}):
                        _forget_oldest(connection, store)
                versions = {}
            while group := sorted(copies)[:MAX_ROWS]:
                with self._database.write() as connection:
                    connection.execute(self._upsert_copy, [copies[key] for key in group])
                copies = {key: copies[key] for key in copies.keys() - set(group)}
        except CannotStore:
            with self._lock:  # what came meanwhile is the newer
                self._versions, self._copies = versions | self._versions, copies | self._copies
            raise

    def _add_version(self, store: str, report: Report, now: float) -> None:
        key = store, report.version
        if key not in self._versions and sum(known == store for known, _ in self._versions) >= MAX_VERSIONS:
            return
        new = {"store": store, "version": report.version, "first_at": now, "loaded_at": None, "others_at": None}
        row = self._versions.setdefault(key, new)
        row["seen_at"] = now
        if report.loaded:
            row["loaded_at"] = now
        if report.others:
            row["others_at"] = now

    def _add_copy(self, store: str, copy: BrowserCopy, loaded: bool, now: float) -> None:
        key = copy.pixel, copy.event, copy.event_id
        row = {
            "store": store,
            "pixel": copy.pixel,
            "event": copy.event,
            "event_id": copy.event_id,
            "sender": copy.sender,
            "loaded": int(loaded),
            "sent_at": now - copy.after,
            "value": copy.value,
            "currency": copy.currency,
            "state": "foreign" if copy.is_foreign else "open",
        }
        if known := self._copies.get(key):
            known["sender"] = known["sender"] if known["sender"] == copy.sender else "both"
            known["loaded"] = max(known["loaded"], row["loaded"])
        elif len(self._copies) < MAX_COPIES:
            self._copies[key] = row


def _version_upsert(database: Database) -> Any:
    insert, old = database.insert(snippet_reports), snippet_reports.c
    return insert.on_conflict_do_update(
        index_elements=["store", "version"],
        set_={
            "seen_at": insert.excluded.seen_at,
            "loaded_at": sa.func.coalesce(insert.excluded.loaded_at, old.loaded_at),
            "others_at": sa.func.coalesce(insert.excluded.others_at, old.others_at),
        },
    )


def _copy_upsert(database: Database) -> Any:
    """Return the insert of copies; of one that is known the time stays that of the first."""
    insert, old = database.insert(browser_copies), browser_copies.c
    return insert.on_conflict_do_update(
        index_elements=["pixel", "event", "event_id"],
        set_={
            "sender": sa.case((old.sender == insert.excluded.sender, old.sender), else_="both"),
            "loaded": sa.case((insert.excluded.loaded == 1, 1), else_=old.loaded),
        },
    )


def _forget_oldest(connection: sa.Connection, store: str) -> None:
    """Keep the MAX_VERSIONS versions that were seen last."""
    of_store = snippet_reports.c.store == store
    kept = sa.select(snippet_reports.c.seen_at).where(of_store).order_by(snippet_reports.c.seen_at.desc())
    oldest: Any = connection.execute(kept.offset(MAX_VERSIONS - 1).limit(1)).scalar()
    if oldest is not None:
        connection.execute(sa.delete(snippet_reports).where(of_store, snippet_reports.c.seen_at < oldest))
