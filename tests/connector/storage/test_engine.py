"""Engines, migrations and the schema's version, on SQLite and PostgreSQL."""

import multiprocessing
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Engine

from connector.storage.engine import MIGRATIONS, SchemaError, connect, migrate, require_current
from connector.storage.postgresql import remove_time_limits
from connector.storage.tables import alert_deliveries, metadata, signals

REVISION = "0021"


@pytest.fixture
def empty(database_url: str) -> Iterator[Engine]:
    engine = connect(database_url)
    yield engine
    engine.dispose()


@contextmanager
def at_revision(empty: Engine, revision: str) -> Iterator[sa.Connection]:
    """Begin with the tables of an older release, however long the machine takes to create them."""
    settings = Config()
    settings.set_main_option("script_location", str(MIGRATIONS))
    with empty.begin() as connection:
        if connection.dialect.name == "postgresql":
            remove_time_limits(connection)
        settings.attributes["connection"] = connection
        command.upgrade(settings, revision)
        yield connection


def test_migrates_from_nothing_and_then_changes_nothing(empty: Engine) -> None:
    """The first run creates the tables and says so; the second finds them."""
    assert migrate(empty) == (None, REVISION)
    partition = {"funnel_events_default"} if empty.dialect.name == "postgresql" else set()
    assert set(sa.inspect(empty).get_table_names()) == {*metadata.tables, "alembic_version", *partition}
    assert migrate(empty) == (REVISION, REVISION)


def test_migrating_again_keeps_what_is_stored(engine: Engine) -> None:
    """A second migration leaves the rows alone."""
    with engine.begin() as connection:
        connection.execute(sa.text("INSERT INTO stores VALUES ('acme', 1)"))
    migrate(engine)
    with engine.connect() as connection:
        assert connection.execute(sa.text("SELECT name, started_at FROM stores")).all() == [("acme", 1.0)]


def test_stores_that_run_already_count_as_set_up(empty: Engine) -> None:
    """An update does not ask an administrator to set up again what has been running for months."""
    with at_revision(empty, "0014") as connection:
        connection.execute(sa.text("INSERT INTO stores VALUES ('acme', 1)"))
    migrate(empty)
    with empty.connect() as connection:
        assert connection.execute(sa.text("SELECT store, about, at FROM setup")).all() == [("acme", "complete", 1.0)]


def test_signals_of_orders_are_assigned_to_them(empty: Engine) -> None:
    """A no that was given before the update lasts, whether its signal is still there or only the event knows it."""
    with at_revision(empty, "0008") as connection:
        for number, (checkout, key, consent) in enumerate(
            (
                ("one-of-today", "order:1", ""),
                ("denied-long-ago", "order:2", "denied"),
                ("denied-long-ago", "order:2", "granted"),
                ("granted-long-ago", "order:3", "granted"),
                ("no-order", "checkout:no-order", "denied"),
                ("asked-nothing", "order:4", ""),
            )
        ):
            row = f"'acme', 'C', 'E', '{number}', '{key}', '', 'skipped', 0, 0, 0, 50, '{checkout}', '{consent}'"
            names = "store, pixel, event, event_id, object_key, test_code, state, due_at, attempts, occurred_at"
            connection.exec_driver_sql(f"INSERT INTO events ({names}, created_at, checkout, consent) VALUES ({row})")
        for token in ("one-of-today", "no-order"):
            connection.exec_driver_sql(
                f"INSERT INTO signals VALUES ('acme', '{token}', 'E.C.P.x', '', '', '', '', '', 'granted', 60)"
            )
    assert migrate(empty) == ("0008", REVISION)
    columns = (signals.c.ttclid, signals.c.consent, signals.c.seen_at, signals.c.order_key, signals.c.order_seen_at)
    with empty.connect() as connection:
        found = {row.token: tuple(row[1:]) for row in connection.execute(sa.select(signals.c.token, *columns))}
    assert found == {
        "one-of-today": ("E.C.P.x", "granted", 60, "order:1", 60),
        "no-order": ("E.C.P.x", "granted", 60, None, None),
        "denied-long-ago": ("", "denied", 0, "order:2", 50),
        "granted-long-ago": ("", "granted", 0, "order:3", 50),
    }


def test_alerts_that_were_sent_are_not_sent_again(empty: Engine) -> None:
    """The update notes them as delivered; the first address takes them over."""
    with at_revision(empty, "0014") as connection:
        names = "key, sentence, since, noted_at, told_at, attempts, due_at"
        connection.exec_driver_sql(
            f"INSERT INTO alerts ({names}) VALUES ('told', 'x', 1, 1, 5, 0, 1), ('not told', 'x', 1, 1, NULL, 0, 1)"
        )
    migrate(empty)
    with empty.connect() as connection:
        assert [tuple(row) for row in connection.execute(sa.select(alert_deliveries))] == [("", "told", 5.0)]


def test_two_threads_migrate_one_after_the_other(database_url: str) -> None:
    """Of several migrations at the same time one does the work and the others find it done."""
    barrier = threading.Barrier(4)

    def run() -> tuple[str | None, str]:
        engine = connect(database_url, timeout=10)
        barrier.wait()
        try:
            return migrate(engine)
        finally:
            engine.dispose()

    with ThreadPoolExecutor(4) as pool:
        found = [future.result() for future in [pool.submit(run) for _ in range(4)]]
    assert sorted(found, key=str) == [(REVISION, REVISION)] * 3 + [(None, REVISION)]


@pytest.mark.processes
def test_two_processes_migrate_one_after_the_other(database_url: str) -> None:
    """The lock is the database's, so it holds between processes too."""
    spawn = multiprocessing.get_context("spawn")
    with spawn.Pool(2) as pool:
        found = pool.map(_migrate, [database_url] * 2, chunksize=1)
    assert sorted(found, key=str) == [(REVISION, REVISION), (None, REVISION)]


def _migrate(url: str) -> tuple[str | None, str]:
    engine = connect(url, timeout=10)
    try:
        return migrate(engine)
    finally:
        engine.dispose()


def test_an_empty_database_is_refused_with_the_command_to_run(empty: Engine) -> None:
    """Whoever needs the tables does not create them."""
    with pytest.raises(SchemaError, match="no tables yet: run `connector migrate`"):
        require_current(empty)
    assert sa.inspect(empty).get_table_names() == []


def test_another_releases_schema_is_refused_with_both_versions(empty: Engine) -> None:
    """A schema of another release is named, and so is the command."""
    migrate(empty)
    require_current(empty)
    with empty.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = 'abcd'"))
    with pytest.raises(SchemaError, match=f"is abcd, this release needs {REVISION}: run `connector migrate`"):
        require_current(empty)


@pytest.mark.processes
@pytest.mark.parametrize("function", ["require_current", "migrate"])
def test_a_current_schema_costs_no_alembic(migrated_sqlite_url: str, function: str) -> None:
    """Each server and relay would carry its ten megabytes, and each start take 0.1 s longer."""
    look = (
        f"import sys; from connector.storage.engine import connect, {function}; "
        f"{function}(connect(sys.argv[1])); sys.exit('alembic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", look, migrated_sqlite_url], check=False).returncode == 0


def test_the_migrated_schema_is_the_one_the_code_works_with(engine: Engine) -> None:
    """Migrations and `tables.metadata` describe the same tables, columns, types, keys and indexes."""
    with engine.connect() as connection:
        # Partitions come and go; their columns and indexes are those of their table.
        is_part = {"include_object": lambda _object, name, kind, *_: kind != "table" or "funnel_events_" not in name}
        context = MigrationContext.configure(connection, opts={"compare_type": True} | is_part)
        assert compare_metadata(context, metadata) == []


def test_partial_indexes_are_partial(engine: Engine) -> None:
    """Alembic does not compare an index's condition, so it is compared here."""
    wanted = {
        index.name: str(index.dialect_options[engine.dialect.name]["where"])
        for table in metadata.tables.values()
        for index in table.indexes
        if index.dialect_options[engine.dialect.name]["where"] is not None
    }
    found = {
        index["name"]: str(index["dialect_options"][f"{engine.dialect.name}_where"])
        for table in metadata.tables
        for index in sa.inspect(engine).get_indexes(table)
        if f"{engine.dialect.name}_where" in index.get("dialect_options", {})
    }
    assert found.keys() == wanted.keys()
    if engine.dialect.name == "sqlite":  # PostgreSQL prints a condition in words of its own
        assert found == wanted


def test_sqlite_commits_durably(sqlite_url: str) -> None:
    """200 means stored: a committed transaction survives a power cut."""
    engine = connect(sqlite_url)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL
    engine.dispose()


def test_postgresql_time_outs_hold_inside_a_transaction_only(postgresql_url: str) -> None:
    """Statements and locks give up after the patience; nothing is left on the session, as pgbouncer needs it."""
    engine = connect(postgresql_url, timeout=1.5)
    with engine.connect() as connection:
        for name in ("statement_timeout", "lock_timeout"):
            assert connection.exec_driver_sql(f"SHOW {name}").scalar() == "1500ms"
        connection.rollback()
        raw = connection.connection.cursor()
        raw.execute("SHOW statement_timeout")
        assert raw.fetchone() == ("0",)
    engine.dispose()


def test_a_transaction_asks_postgresql_for_its_beginning_and_end_only(postgresql_url: str, tmp_path: Path) -> None:
    """Each way there and back costs a webhook's group as much as a row does."""
    engine, trace = connect(postgresql_url), tmp_path / "trace"
    with trace.open("wb") as file:
        with engine.connect() as connection:
            driver = connection.connection.driver_connection
            assert driver is not None
            driver.pgconn.trace(file.fileno())
        for _ in range(2):
            with engine.begin() as connection:
                connection.exec_driver_sql("SELECT 1")
        driver.pgconn.untrace()
    engine.dispose()
    asked = [line.split("\t")[-1].strip()[:8] for line in trace.read_text().splitlines() if "\tQuery\t" in line]
    assert asked == ['"BEGIN; ', '"SELECT ', '"COMMIT"'] * 2


@pytest.mark.processes
def test_sqlite_loads_no_driver_of_postgresql(sqlite_url):
    """It takes 6 MB in each process, and a tenth of a second at each start."""
    code = (
        "import sys\n"
        "import connector.server.relay_process, connector.web.application\n"
        "from connector.storage.async_database import open_async\n"
        "open_async(sys.argv[1])\n"
        "sys.exit('psycopg' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code, sqlite_url], check=False).returncode == 0
