"""Writing from an event loop, which a slow database must not stop."""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import Connection, make_url

from connector.storage.database import CannotStore, Database, as_cannot_store, caused_by_one_row
from connector.storage.engine import connect

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

Result = TypeVar("Result")

TIMEOUT = 1.0  # seconds that a transaction waits for a lock or a connection
IN_LOOP = 0.02  # seconds for which the event loop may wait for the write lock of SQLite
SLOW = 0.05  # seconds; after a commit that took longer, the next transaction runs in a thread


class AsyncDatabase(ABC):
    """Runs write transactions for an event loop, one after the other."""

    @abstractmethod
    async def write(self, work: Callable[[Connection], Result]) -> Result:
        """Run `work` in a transaction and return its result once that is committed. Raises CannotStore."""

    @abstractmethod
    async def close(self) -> None:
        """Close all connections."""


def open_async(url: str) -> AsyncDatabase:
    """Return the database at `url` for an event loop. Create it after fork, like an engine."""
    if make_url(url).get_backend_name() == "sqlite":
        return InLoopDatabase(Database(connect(url, IN_LOOP, pool_size=1)), Database(connect(url, TIMEOUT)))
    from connector.storage import postgresql  # noqa: PLC0415 (6 MB that SQLite does not need)

    return PostgresqlDatabase(postgresql.connect_async(url, TIMEOUT))


class PostgresqlDatabase(AsyncDatabase):
    """PostgreSQL: the loop serves other requests while the server works."""

    def __init__(self, engine: "AsyncEngine") -> None:
        self._engine = engine

    async def write(self, work: Callable[[Connection], Result]) -> Result:  # noqa: D102
        with as_cannot_store():
            async with self._engine.connect() as connection:
                result = await connection.run_sync(work)
                await connection.commit()
                return result

    async def close(self) -> None:  # noqa: D102
        await self._engine.dispose()


class InLoopDatabase(AsyncDatabase):
    """SQLite: a transaction runs in the loop if the write lock is free and the disk is quick, otherwise in a thread.

    Measured with 32 connections: a thread for every transaction costs a third of the rate, because loop and thread wait
    for each other's GIL.
    """

    def __init__(self, quick: Database, patient: Database) -> None:
        self._quick = quick
        self._patient = patient
        self._slow = False

    async def write(self, work: Callable[[Connection], Result]) -> Result:  # noqa: D102
        if not self._slow:
            try:
                return self._run(self._quick, work)
            except CannotStore as error:
                if caused_by_one_row(error):
                    raise
        return await asyncio.to_thread(self._run, self._patient, work)

    async def close(self) -> None:  # noqa: D102
        self._quick.engine.dispose()
        self._patient.engine.dispose()

    def _run(self, database: Database, work: Callable[[Connection], Result]) -> Result:
        with database.write() as connection:
            result = work(connection)
            worked = time.monotonic()
        self._slow = time.monotonic() - worked > SLOW
        return result
