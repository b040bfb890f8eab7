"""Engines for SQLite and PostgreSQL, their durability and time-outs, and the schema's version."""

import select
import sqlite3
import time
from collections.abc import Callable, Generator
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import psycopg
from sqlalchemy import Connection, Engine, create_engine, event, inspect, make_url
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, ManagesConnection, QueuePool

MIGRATIONS = Path(__file__).parent / "migrations"
MIGRATION_LOCK = 7_316_920_114  # any number that no other application uses


T = TypeVar("T")


class SchemaError(Exception):
    """The tables are not those that this release works with; the message names the command to run."""


def connect(url: str, timeout: float = 1.0, pool_size: int = 8) -> Engine:
    """Create an engine that commits durably and waits `timeout` seconds at most for a connection or a lock.

    Create it after fork. SQLite: WAL with synchronous=FULL, writers BEGIN IMMEDIATE. PostgreSQL: no
    prepared statements or session settings, so that pgbouncer works in transaction mode.
    """
    if make_url(url).get_backend_name() == "sqlite":
        return _sqlite(url, timeout, pool_size)
    return _postgresql(url, timeout, pool_size)


def _sqlite(url: str, timeout: float, pool_size: int) -> Engine:
    engine = create_engine(
        url,
        poolclass=QueuePool,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=timeout,
        pool_use_lifo=True,  # the last used connection has its pages in cache
        connect_args={"timeout": timeout, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # transactions begin explicitly, in _begin
        _write_ahead(connection, timeout)
        # 4 MB of cache: each process has up to eight connections, and the operating system caches the file, too.
        for pragma in ("synchronous=FULL", "temp_store=MEMORY", "cache_size=-4000"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        reading = connection.get_execution_options().get("reading", False)
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine


def _write_ahead(connection: sqlite3.Connection, timeout: float) -> None:
    """Turn the WAL on, with retries: when several processes open a new file at once, SQLite refuses all but one."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def connect_async(url: str, timeout: float = 1.0) -> AsyncEngine:
    """Create an engine for PostgreSQL whose statements leave the event loop free; otherwise like `connect`'s."""
    engine = create_async_engine(
        make_url(url).set(drivername="postgresql+psycopg_async"),
        **_postgresql_settings(timeout, pool_size=2, async_creator_fn=_AsyncConnection.connect),
    )
    _listen(engine.sync_engine, timeout)
    return engine


def _postgresql(url: str, timeout: float, pool_size: int) -> Engine:
    engine = create_engine(url, **_postgresql_settings(timeout, pool_size))

    @event.listens_for(engine, "do_connect")
    def _connect(_dialect: object, _record: object, positional: Any, named: dict[str, Any]) -> psycopg.Connection[Any]:
        return _Connection.connect(*positional, **named)

    _listen(engine, timeout)
    return engine


def _postgresql_settings(timeout: float, pool_size: int, **arguments: Any) -> dict[str, Any]:
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


def timeout_of(engine: Engine) -> float:
    """Return the time-out an engine was created with, in seconds."""
    return float(engine.pool.timeout()) if isinstance(engine.pool, QueuePool) else 2.0


def migrate(engine: Engine) -> tuple[str | None, str]:
    """Migrate the schema to this release's version, one process at a time; return (old version, new version)."""
    # Imported here only: Alembic takes 10 MB, and servers and relays do not need it.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config as AlembicConfig  # noqa: PLC0415

    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            _deadline(connection.connection).deadline = float("inf")
            connection.exec_driver_sql("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0")
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")
        before = _revision(connection)
        if _is_newer(before):
            return before, before or ""
        settings = AlembicConfig()
        settings.set_main_option("script_location", str(MIGRATIONS))
        settings.attributes["connection"] = connection
        command.upgrade(settings, "head")
        after = _revision(connection)
    return before, after or ""


def require_current(engine: Engine) -> None:
    """Raise SchemaError unless the tables are those of this release, or of a later one, which also works."""
    with engine.connect().execution_options(reading=True) as connection:
        found = _revision(connection)
    if found is None:
        raise SchemaError("the database has no tables yet: run `connector migrate`")
    if found != _latest() and not _is_newer(found):
        raise SchemaError(f"the database's schema is {found}, this release needs {_latest()}: run `connector migrate`")


def _revision(connection: Connection) -> str | None:
    """Return the version that Alembic stored: https://alembic.sqlalchemy.org/en/latest/tutorial.html"""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()


def _is_newer(found: str | None) -> bool:
    """Compare revision numbers. A migration never breaks the release before it, which may still be running."""
    return found is not None and found.isdecimal() and found > _latest()


@cache
def _latest() -> str:
    return max(file.name.partition("_")[0] for file in (MIGRATIONS / "versions").glob("[0-9]*.py"))
