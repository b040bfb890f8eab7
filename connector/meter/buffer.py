"""The short way of pages' reports: gathered in memory, and written in groups by a thread of its own.

Whatever a flood brings, it costs one small transaction every WRITE_EVERY seconds: a store's reports of one version are
one row, and what does not fit into the buffer is dropped.
"""

import time
from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any

import sqlalchemy as sa

from connector.meter.report import Report
from connector.storage.database import CannotStore, Database
from connector.storage.tables import snippet_reports

WRITE_EVERY = 5.0  # seconds between two groups
MAX_VERSIONS = 20  # of one store, in the buffer and in the database: a page reports one, and anybody can invent more


class ReportBuffer:
    """Buffers reports until `flush` writes them. Safe to share between threads. `clock` returns Unix seconds."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        self._lock = Lock()
        self._versions: dict[str, dict[str, dict[str, float | None]]] = {}  # by store and version
        insert = database.insert(snippet_reports)
        self._upsert = insert.on_conflict_do_update(
            index_elements=["store", "version"],
            set_={
                "seen_at": insert.excluded.seen_at,
                "loaded_at": sa.func.coalesce(insert.excluded.loaded_at, snippet_reports.c.loaded_at),
            },
        )

    def add(self, store: str, report: Report) -> None:
        """Buffer a report."""
        now = self._clock()
        with self._lock:
            versions = self._versions.setdefault(store, {})
            if report.version not in versions and len(versions) >= MAX_VERSIONS:
                return
            times = versions.setdefault(report.version, {"first_at": now, "seen_at": now, "loaded_at": None})
            times["seen_at"] = now
            if report.loaded:
                times["loaded_at"] = now

    def flush(self) -> None:
        """Write what is buffered. Raises CannotStore; all is kept for the next time then."""
        with self._lock:
            found, self._versions = self._versions, {}
        rows = [
            {"store": store, "version": version, **times}
            for store, versions in sorted(found.items())
            for version, times in sorted(versions.items())
        ]
        if not rows:
            return
        try:
            with self._database.write() as connection:
                connection.execute(self._upsert, rows)
                for store in found:
                    _forget_oldest(connection, store)
        except CannotStore:
            self._put_back(found)
            raise

    def _put_back(self, found: Mapping[str, dict[str, dict[str, float | None]]]) -> None:
        with self._lock:
            for store, versions in found.items():
                newer = self._versions.setdefault(store, {})
                for version, times in versions.items():
                    newer.setdefault(version, times)


def _forget_oldest(connection: sa.Connection, store: str) -> None:
    """Keep the MAX_VERSIONS versions that were seen last."""
    of_store = snippet_reports.c.store == store
    kept = sa.select(snippet_reports.c.seen_at).where(of_store).order_by(snippet_reports.c.seen_at.desc())
    oldest: Any = connection.execute(kept.offset(MAX_VERSIONS - 1).limit(1)).scalar()
    if oldest is not None:
        connection.execute(sa.delete(snippet_reports).where(of_store, snippet_reports.c.seen_at < oldest))
