"""A database, read and written in short transactions, with one exception for all its failures."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import Lock
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError

from connector.storage.engine import timeout_of
from connector.storage.write_lock import WaitTimeout, exclusive_writer

YIELD_FACTOR = 4  # a writer that yields pauses this many times as long as it wrote
MAX_YIELD = 0.25  # seconds; the longest such pause
MAX_TURN = 2.0  # seconds that a thread waits for its pause: with many of them, a process must still end in time
_YIELDING = Lock()  # threads that yield pause one after another; otherwise many of them would write all the time


class CannotStore(Exception):
    """The database is unreachable, locked or full. Nothing was stored; try again later."""


def caused_by_one_row(error: Exception) -> bool:
    """Return True if a failed transaction may succeed without one of its rows."""
    cause = error.__cause__
    if isinstance(cause, DBAPIError):
        # PostgreSQL reports these as operational errors, but one row causes them: deadlock, text too long for an index.
        is_row_error = type(cause.orig).__name__ in ("DeadlockDetected", "ProgramLimitExceeded")
        return is_row_error or isinstance(cause, DataError | IntegrityError)
    return not isinstance(error, CannotStore)


class Database:
    """SQLite or PostgreSQL behind one engine. Safe to share between threads.

    `timeout` is how many seconds a transaction waits for a connection or a lock. While `yields_to` returns True, which
    is asked in each writing transaction that may yield, the thread pauses after the commit and leaves the database to
    others.
    """

    def __init__(self, engine: Engine, yields_to: Callable[[Connection], bool] | None = None) -> None:
        self.engine = engine
        self.is_postgresql = engine.dialect.name == "postgresql"
        self.timeout = timeout_of(engine)
        self._yields_to = yields_to

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a transaction that only reads. Raises CannotStore."""
        with as_cannot_store(), self.engine.connect().execution_options(reading=True) as connection:
            yield connection
            connection.commit()

    @contextmanager
    def write(self, may_yield: bool = True) -> Iterator[Connection]:
        """Open a transaction that writes; it is committed at the end of the block. Raises CannotStore."""
        with (
            as_cannot_store(),
            self._write_lock(),
            self.engine.connect().execution_options(reading=False) as connection,
        ):
            begun = time.monotonic()
            yield connection
            yields = may_yield and self._yields_to is not None and self._yields_to(connection)
            connection.commit()
            wrote = time.monotonic() - begun
        if yields and _YIELDING.acquire(timeout=MAX_TURN):
            try:
                time.sleep(min(YIELD_FACTOR * wrote, MAX_YIELD))
            finally:
                _YIELDING.release()

    def first_rows(self, table: sa.Table, *which: sa.ColumnElement[bool], limit: int, order: Any = None) -> Any:
        """Return the condition that a row is one of the first `limit` of these rows, to change rows in batches.

        By their place in the table: for keys of several columns, `(a, b) IN (VALUES …)`, SQLite reads the whole table.
        """
        place: sa.ColumnClause[Any] = sa.literal_column("ctid" if self.is_postgresql else "rowid")
        first = place.in_(sa.select(place).select_from(table).where(*which).order_by(order).limit(limit))
        # On PostgreSQL a row may change between the search and its lock; SQLite would use an index of `which` again.
        return sa.and_(first, *which) if self.is_postgresql else first

    def insert(self, table: sa.Table) -> Any:
        """Return the dialect's INSERT, which supports ON CONFLICT."""
        return insert_into(table, self.engine.dialect.name)

    def _write_lock(self) -> AbstractContextManager[None]:
        """Return the lock that queues the writers of SQLite, which allows one at a time."""
        file = self.engine.url.database
        if self.is_postgresql or not file:
            return nullcontext()
        return exclusive_writer(f"{file}.lock", self.timeout)


def insert_into(table: sa.Table, dialect: str) -> Any:
    """Return the INSERT of "sqlite" or "postgresql", which supports ON CONFLICT."""
    return postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)


@contextmanager
def as_cannot_store() -> Iterator[None]:
    """Raise CannotStore for every failure of the database in the block."""
    try:
        yield
    except SQLAlchemyError as error:
        raise CannotStore(_cause(error)) from error
    except WaitTimeout as error:
        raise CannotStore(str(error)) from None
    except OSError as error:
        raise CannotStore(f"{type(error).__name__}: {error.strerror}") from error


def _cause(error: SQLAlchemyError) -> str:
    """Return the driver's own message, without the statement and its parameters, which hold a shop's data."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return f"{type(cause).__name__}: {str(cause).splitlines()[0][:200] if str(cause) else ''}"
