"""PostgreSQL by psycopg: time-outs of the server and of the client, for one that answers slowly or not at all.

No prepared statements or session settings, so that pgbouncer works in transaction mode.
"""

import select
import time
from collections.abc import Callable, Generator
from typing import Any, TypeVar

import psycopg
from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, ManagesConnection

T = TypeVar("T")


def connect(url: str, timeout: float, pool_size: int) -> Engine:
    """Create an engine; see `connector.storage.engine.connect`."""
    engine = create_engine(url, **_settings(timeout, pool_size))

    @event.listens_for(engine, "do_connect")
    def _connect(_dialect: object, _record: object, positional: Any, named: dict[str, Any]) -> psycopg.Connection[Any]:
        return _Connection.connect(*positional, **named)

    _listen(engine, timeout)
    return engine


def connect_async(url: str, timeout: float = 1.0) -> AsyncEngine:
    """Create an engine for PostgreSQL whose statements leave the event loop free; otherwise like `connect`'s."""
    engine = create_async_engine(
        make_url(url).set(drivername="postgresql+psycopg_async"),
        **_settings(timeout, pool_size=2, async_creator_fn=_AsyncConnection.connect),
    )
    _listen(engine.sync_engine, timeout)
    return engine


def _settings(timeout: float, pool_size: int, **arguments: Any) -> dict[str, Any]:
    return {
        "pool_size": pool_size,
        "max_overflow": 0,
        "pool_timeout": timeout,
        "pool_use_lifo": True,
        # With autocommit the driver sends no BEGIN; _begin sends it together with the time-outs.
        "connect_args": {"connect_timeout": max(1, round(timeout)), "prepare_threshold": None, "autocommit": True}
        | arguments,
    }


def _listen(engine: Engine, timeout: float) -> None:
    """Begin each transaction with its time-outs, and replace connections that the server has closed."""
    milliseconds = int(timeout * 1000)

    @event.listens_for(engine, "connect")
    def _connected(_connection: object, record: ConnectionPoolEntry) -> None:
        _deadline(record).idle_timeout = timeout

    @event.listens_for(engine, "checkout")
    def _checkout(_connection: object, record: ConnectionPoolEntry, _proxy: object) -> None:
        # The pool then replaces it. pool_pre_ping would cost each transaction a round trip: a group of webhooks takes
        # four round trips, and took six with a ping and with BEGIN and the time-outs sent separately.
        if _deadline(record).ended():
            raise DisconnectionError

    @event.listens_for(engine, "checkin")
    def _checkin(_connection: object, record: ConnectionPoolEntry) -> None:
        if record.driver_connection is not None:
            _deadline(record).deadline = None

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # The server's own time-outs are shorter, because they leave the connection usable.
        _deadline(connection.connection).deadline = time.monotonic() + timeout + 0.25
        connection.exec_driver_sql(
            f"BEGIN; SET LOCAL statement_timeout = {milliseconds}; SET LOCAL lock_timeout = {milliseconds}"
        )


class _Deadline:
    """A driver's connection with a deadline, for a server that no longer answers.

    The server's own time-outs do not work then, and TCP waits for minutes.
    """

    idle_timeout = 2.5  # seconds for statements outside a transaction, which SQLAlchemy sends first
    deadline: float | None = None  # of the current transaction, by time.monotonic()

    closed: bool  # this and what follows is psycopg's
    fileno: Callable[[], int]
    pgconn: Any

    def ended(self) -> bool:
        """Return True if the server has sent data unasked, which it does only to close the connection."""
        if self.closed:
            return True
        poll = select.poll()
        poll.register(self.fileno(), select.POLLIN)
        return bool(poll.poll(0))

    def until_deadline(self, gen: Generator[Any, Any, T]) -> Generator[Any, Any, T]:
        """Run psycopg's generator, which is resumed several times a second, but not beyond the deadline."""
        deadline = time.monotonic() + self.idle_timeout if self.deadline is None else self.deadline
        try:
            state = next(gen)
            while True:
                ready = yield state
                if not ready and time.monotonic() > deadline:
                    self.pgconn.finish()  # otherwise the pool would reuse it with a stale answer pending
                    raise psycopg.OperationalError("the server does not answer")
                state = gen.send(ready)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]


class _Connection(_Deadline, psycopg.Connection[Any]):
    def wait(self, gen: Generator[Any, Any, T], *arguments: Any, **named: Any) -> T:
        """Wait as psycopg does, but not beyond the deadline."""
        return super().wait(self.until_deadline(gen), *arguments, **named)


class _AsyncConnection(_Deadline, psycopg.AsyncConnection[Any]):
    async def wait(self, gen: Generator[Any, Any, T], *arguments: Any, **named: Any) -> T:
        """Wait as psycopg does, but not beyond the deadline."""
        return await super().wait(self.until_deadline(gen), *arguments, **named)


def _deadline(connection: ManagesConnection) -> _Deadline:
    found = connection.driver_connection
    assert isinstance(found, _Deadline)
    return found


def remove_time_limits(connection: Connection) -> None:
    """Let the current transaction take as long as it needs, as a migration does."""
    _deadline(connection.connection).deadline = float("inf")
    connection.exec_driver_sql("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0")
