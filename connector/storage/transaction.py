"""One transaction at a time on either database, and the one exception for all that can go wrong with it."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError

from connector.storage.engine import patience_of
from connector.storage.group_commit import WaitTimeout
from connector.storage.write_lock import exclusive_writer


class CannotStore(Exception):
    """The database is away, locked or full. What was to be stored was not; try again later."""


def caused_by_one_row(error: Exception) -> bool:
    """Whether a failed transaction may succeed without one of its rows: no fault of the database's as a whole."""
    cause = error.__cause__
    if isinstance(cause, DBAPIError):
        # PostgreSQL calls these faults of its own, but one row brings them about: a clash, a text no index can hold.
        by_a_row = type(cause.orig).__name__ in ("DeadlockDetected", "ProgramLimitExceeded")
        return by_a_row or isinstance(cause, DataError | IntegrityError)
    return not isinstance(error, CannotStore)


class Transactions:
    """What the classes of verbs share: writing and reading transactions over an engine, and upserts."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._postgresql = engine.dialect.name == "postgresql"

    def _insert(self, table: sa.Table) -> Any:
        return postgresql.insert(table) if self._postgresql else sqlite.insert(table)

    @contextmanager
    def _write(self) -> Iterator[Connection]:
        with self._transaction(reading=False) as connection:
            yield connection

    @contextmanager
    def _read(self) -> Iterator[Connection]:
        with self._transaction(reading=True) as connection:
            yield connection

    @contextmanager
    def _transaction(self, reading: bool) -> Iterator[Connection]:
        try:
            with (
                self._turn() if not reading else nullcontext(),
                self.engine.connect().execution_options(reading=reading) as connection,
            ):
                yield connection
                connection.commit()
        except SQLAlchemyError as error:
            raise CannotStore(_cause(error)) from error
        except WaitTimeout:
            raise CannotStore("others have been writing for too long") from None
        except OSError as error:
            raise CannotStore(f"{type(error).__name__}: {error.strerror}") from error

    def _turn(self) -> AbstractContextManager[None]:
        """SQLite has one writer at a time, so its writers queue."""
        file = self.engine.url.database
        if self._postgresql or not file:
            return nullcontext()
        behind = bool(self.engine.get_execution_options().get("behind"))
        return exclusive_writer(f"{file}.lock", patience_of(self.engine), behind)


def _cause(error: SQLAlchemyError) -> str:
    """The driver's own sentence, without the statement and its parameters (they hold a shop's data)."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return f"{type(cause).__name__}: {str(cause).splitlines()[0][:200] if str(cause) else ''}"
