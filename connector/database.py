"""Engines for SQLite and PostgreSQL, their durability and time-outs, and the schema's version."""

import sqlite3
import time
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.pool import QueuePool

MIGRATION_LOCK = 7_316_920_114  # any number that is only ours


class SchemaError(Exception):
    """The database's tables are not those this release works with; the message names the command to run."""


def connect(url: str, patience: float = 2.0, pool_size: int = 8) -> Engine:
    """An engine that commits durably and gives up after `patience` seconds of waiting (pool, connection, lock).

    Create it after fork. SQLite: WAL with synchronous=FULL, writers BEGIN IMMEDIATE. PostgreSQL: nothing that a
    pgbouncer in transaction mode would break (no prepared statements, no session settings).
    """
    if make_url(url).get_backend_name() == "sqlite":
        return _sqlite(url, patience, pool_size)
    return _postgresql(url, patience, pool_size)


def _sqlite(url: str, patience: float, pool_size: int) -> Engine:
    engine = create_engine(
        url,
        poolclass=QueuePool,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=patience,
        connect_args={"timeout": patience, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # transactions begin where we say so, below
        _write_ahead(connection, patience)
        for pragma in ("synchronous=FULL", "temp_store=MEMORY", "cache_size=-16000"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        reading = connection.get_execution_options().get("reading", False)
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine


def _write_ahead(connection: sqlite3.Connection, patience: float) -> None:
    """Turn the WAL on. Of several that open a new file at once SQLite refuses all but one, without waiting."""
    deadline = time.monotonic() + patience
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _postgresql(url: str, patience: float, pool_size: int) -> Engine:
    arguments: dict[str, Any] = {"connect_timeout": max(1, round(patience)), "prepare_threshold": None}
    engine = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=patience,
        pool_pre_ping=True,
        connect_args=arguments,
    )
    milliseconds = int(patience * 1000)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(
            f"SET LOCAL statement_timeout = {milliseconds}; SET LOCAL lock_timeout = {milliseconds}"
        )

    return engine


def migrate(engine: Engine) -> tuple[str | None, str]:
    """Bring the schema to this release's version, one process at a time; (version before, version now)."""
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0")
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")
        before = MigrationContext.configure(connection).get_current_revision()
        settings = _alembic()
        settings.attributes["connection"] = connection
        command.upgrade(settings, "head")
        after = MigrationContext.configure(connection).get_current_revision()
    return before, after or ""


def require_current(engine: Engine) -> None:
    """Raise SchemaError unless the tables are exactly those of this release."""
    with engine.connect().execution_options(reading=True) as connection:
        found = MigrationContext.configure(connection).get_current_revision()
    wanted = ScriptDirectory.from_config(_alembic()).get_current_head()
    if found is None:
        raise SchemaError("the database has no tables yet: run `connector migrate`")
    if found != wanted:
        raise SchemaError(f"the database's schema is {found}, this release needs {wanted}: run `connector migrate`")


def _alembic() -> AlembicConfig:
    settings = AlembicConfig()
    settings.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return settings
