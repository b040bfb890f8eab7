"""One transaction at a time on either database, and the one exception for all that can go wrong with it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, SQLAlchemyError


class CannotStore(Exception):
    """The database is away, locked or full. What was to be stored was not; try again later."""


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
            with self.engine.connect().execution_options(reading=reading) as connection:
                yield connection
                connection.commit()
        except SQLAlchemyError as error:
            raise CannotStore(_cause(error)) from error


def _cause(error: SQLAlchemyError) -> str:
    """The driver's own sentence, without the statement and its parameters (they hold a shop's data)."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return f"{type(cause).__name__}: {str(cause).splitlines()[0][:200] if str(cause) else ''}"
