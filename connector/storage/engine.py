"""Engines for SQLite and PostgreSQL, their durability and time-outs, and the schema's version."""

import sqlite3
import time
from functools import cache
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event, inspect, make_url
from sqlalchemy.pool import QueuePool

MIGRATIONS = Path(__file__).parent / "migrations"
MIGRATION_LOCK = 7_316_920_114  # any number that no other application uses


class SchemaError(Exception):
    """The tables are not those that this release works with; the message names the command to run."""


def connect(url: str, timeout: float = 1.0, pool_size: int = 8) -> Engine:
    """Create an engine that commits durably and waits `timeout` seconds at most for a connection or a lock.

    Create it after fork. SQLite: WAL with synchronous=FULL, writers BEGIN IMMEDIATE. PostgreSQL: no
    prepared statements or session settings, so that pgbouncer works in transaction mode.
    """
    if make_url(url).get_backend_name() == "sqlite":
        return _sqlite(url, timeout, pool_size)
    # Imported here only: the driver takes 6 MB, and a tenth of a second, which SQLite does not need.
    from connector.storage import postgresql  # noqa: PLC0415

    return postgresql.connect(url, timeout, pool_size)


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
        for pragma in ("synchronous=FULL", "temp_store=MEMORY"):
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


def timeout_of(engine: Engine) -> float:
    """Return the time-out an engine was created with, in seconds."""
    return float(engine.pool.timeout()) if isinstance(engine.pool, QueuePool) else 2.0


def migrate(engine: Engine) -> tuple[str | None, str]:
    """Migrate the schema to this release's version, one process at a time; return (old version, new version)."""
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            from connector.storage import postgresql  # noqa: PLC0415

            postgresql.remove_time_limits(connection)
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")
        before = _revision(connection)
        if before == _latest() or _is_newer(before):
            return before, before or ""
        # Imported here only: Alembic takes 10 MB and 0.1 s, and a start with a current schema does not need it.
        from alembic import command  # noqa: PLC0415
        from alembic.config import Config as AlembicConfig  # noqa: PLC0415

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
