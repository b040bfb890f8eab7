"""Shared by all tests: command-line options, the databases, and what is restored after each test.

A test of SQL (statements, types, order, locks) runs on SQLite and PostgreSQL: it takes `engine`, `database`, `outbox`
or `migrated_url`. A test of logic that only needs a database runs on SQLite, the quicker: it takes `sqlite_engine`, or
its file is marked `databases("sqlite")`, except tests whose statements hardly any other test runs on PostgreSQL.
"""

import fcntl
import functools
import gc
import logging
import math
import multiprocessing.util
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hypothesis
import psycopg
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck
from sqlalchemy import Engine, make_url
from sqlalchemy.pool import QueuePool

from connector.core.registry import installed_platforms
from connector.outbox.outbox import Outbox
from connector.plugin.testing.empty_database import BUSY, delete_all_rows, shared_engine
from connector.storage.database import Database
from connector.storage.engine import connect, migrate
from connector.storage.tables import metadata
from tests.support.order import dealt
from tests.support.postgresql import PostgreSQL, administer, create_database

TESTS = Path(__file__).parent
NOT_UNIT = [TESTS / name for name in ("benchmarks", "browser", "end_to_end", "faults")]
KIT = TESTS.parent / "connector" / "plugin" / "testing"  # for a quick look tests/platforms/test_contract.py says enough
RUN_FOLDER = pytest.StashKey[str]()
RUN_PID = pytest.StashKey[int]()  # of the process that ends last: pytest-xdist's controller

# No time limit decides, for both processors may be busy. In CI the examples are the same in every run, so that a change
# is judged by itself; everywhere else they are new ones, and what they find is kept in .hypothesis.
hypothesis.settings.register_profile(
    "suite",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    derandomize="CI" in os.environ,
    print_blob=True,
)
# For a quick look: new examples in each run, so that they add up.
hypothesis.settings.register_profile("unit", hypothesis.settings.get_profile("suite"), max_examples=10)
hypothesis.settings.load_profile("suite")

# No test trusts a public authority. To read the 150 there are takes each HTTP client 28 ms, those of processes as well.
os.environ["SSL_CERT_FILE"] = str(TESTS / "fixtures" / "tls" / "nobody.pem")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--regenerate", action="store_true", help="rewrite tests/fixtures/*/expected; review the result as a diff"
    )
    parser.addoption(
        "--unit",
        action="store_true",
        help="a quick look: only what needs no other process (no server, no browser, SQLite only), no test marked as "
        "slow, not the conformance kit, and a tenth of the examples of property tests",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "processes: starts other processes, so it is no unit test")
    config.addinivalue_line(
        "markers", "slow: lives through days, compares with brute force, floods, races or waits; left out of --unit"
    )
    config.addinivalue_line("markers", "databases(*kinds): on which it runs, `sqlite` or `postgresql`; else on both")
    given = getattr(config, "workerinput", None)
    config.stash[RUN_FOLDER] = given["run_folder"] if given else tempfile.mkdtemp(prefix="tests")
    config.stash[RUN_PID] = given["run_pid"] if given else os.getpid()
    if config.getoption("unit"):
        hypothesis.settings.load_profile("unit")
        _forbid_processes()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """With `-n auto`: half as many again as there are processors, for many tests wait for processes or sockets.

    Unit tests hardly wait, and each worker takes 4 s of CPU time to collect them: there one per processor.
    """
    processors = len(os.sched_getaffinity(0))
    return processors if config.getoption("unit") else math.ceil(1.5 * processors)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Called by pytest-xdist before it starts a worker."""
    node.workerinput["run_folder"] = node.config.stash[RUN_FOLDER]
    node.workerinput["run_pid"] = node.config.stash[RUN_PID]


def pytest_unconfigure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        return
    run_folder = Path(config.stash[RUN_FOLDER])
    if (started := run_folder / "postgresql").exists():
        PostgreSQL(Path(started.read_text())).remove()
    shutil.rmtree(run_folder, ignore_errors=True)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    return True if config.getoption("unit") and collection_path in NOT_UNIT else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test that takes a database with this release's tables on those that its closest mark names."""
    mark = metafunc.definition.get_closest_marker("databases")
    kinds = mark.args if mark else ("sqlite", "postgresql")
    if metafunc.config.getoption("unit") and "sqlite" in kinds:
        kinds = ("sqlite",)
    for name in ("engine", "migrated_url"):
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, kinds, indirect=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("unit"):
        left_out = {item for item in items if _is_no_unit_test(item)}
        config.hook.pytest_deselected(items=[*left_out])
        items[:] = [item for item in items if item not in left_out]
    items[:] = dealt(items, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))


def pytest_collection_finish() -> None:
    """Keep the collector away from what lives until the end, and from its many small rounds: 5 % of the CPU time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if config.getoption("unit"):
        terminalreporter.write_line(
            "A quick look: without PostgreSQL, browser and other processes, without the tests marked as slow and "
            "the conformance kit, and with a tenth of the examples of property tests. `make test` runs everything."
        )
    python = f"{platform.python_implementation()} {platform.python_version()}"
    terminalreporter.write_line(f"Tested on {python}, {platform.system()} {platform.machine()}")


def _is_no_unit_test(item: pytest.Item) -> bool:
    return KIT in item.path.parents or item.get_closest_marker("slow") is not None or _needs_a_process(item)


def _needs_a_process(item: pytest.Item) -> bool:
    parameters = (
        item.callspec.params.values() if isinstance(item, pytest.Function) and hasattr(item, "callspec") else ()
    )
    return (
        item.get_closest_marker("processes") is not None
        or "postgresql" in parameters
        or any(name.startswith(("postgresql", "migrated_postgresql")) for name in getattr(item, "fixturenames", ()))
    )


def _forbid_processes() -> None:
    """Replace whatever starts a process; an audit hook costs 2 % of the CPU time, for SQLAlchemy asks for many an id().

    The other functions of `os` and the modules that start processes call these.
    """
    for owner, name in (
        *((os, name) for name in ("fork", "forkpty", "posix_spawn", "posix_spawnp", "system")),
        (subprocess.Popen, "__init__"),
        (multiprocessing.util, "spawnv_passfds"),
    ):
        setattr(owner, name, _forbidden(getattr(owner, name), name))


def _forbidden(start: Callable[..., Any], name: str) -> Callable[..., Any]:
    @functools.wraps(start)
    def refuse(*arguments: Any, **named: Any) -> Any:
        if "PYTEST_CURRENT_TEST" in os.environ:
            raise AssertionError(f"a unit test starts no process ({name}): mark it with @pytest.mark.processes")
        return start(*arguments, **named)

    return refuse


@pytest.fixture(autouse=True)
def _process_state() -> Iterator[None]:
    """Restore what a command changes for its whole process: logging, the environment, the platforms found."""
    root = logging.getLogger()
    before = {logger: (logger.level, logger.disabled, logger.propagate) for logger in (root, *_loggers())}
    handlers, environ, platforms = list(root.handlers), _environ(), installed_platforms()
    yield
    root.handlers[:] = handlers
    for logger in (root, *_loggers()):
        level, logger.disabled, logger.propagate = before.get(logger, (logging.NOTSET, False, True))
        if logger.level != level:
            logger.setLevel(level)  # also empties the caches of all loggers
    if (after := _environ()) != environ:
        for name in after.keys() - environ.keys():
            del os.environ[name]
        os.environ.update(environ)
    if installed_platforms() is not platforms:
        installed_platforms.cache_clear()


def _environ() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}  # pytest's own


def _loggers() -> list[logging.Logger]:
    return [logger for logger in logging.Logger.manager.loggerDict.values() if isinstance(logger, logging.Logger)]


@pytest.fixture(scope="session")
def postgresql_server(request: pytest.FixtureRequest) -> str:
    """The URL of a PostgreSQL that may create databases: TEST_DATABASE_URL's, or one for all workers of this run."""
    if "TEST_DATABASE_URL" in os.environ:
        return _spelled(os.environ["TEST_DATABASE_URL"])
    started = Path(request.config.stash[RUN_FOLDER]) / "postgresql"
    with started.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not started.exists():
            server = PostgreSQL.create(durable=False, owner=request.config.stash[RUN_PID])
            started.write_text(str(server.folder))
        server = PostgreSQL(Path(started.read_text()))
    return server.url.render_as_string(hide_password=False)


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
        engine = connect(url, BUSY)
        migrate(engine)
        yield engine
        engine.dispose()


@pytest.fixture(scope="session")
def shared_sqlite(migrated_sqlite: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An SQLite database to be emptied for every test; with one engine for all, each statement is compiled once."""
    file = shutil.copy(migrated_sqlite, tmp_path_factory.mktemp("shared") / "connector.db")
    with shared_engine(Path(file)) as engine:
        yield engine


@pytest.fixture
def migrated_sqlite_url(migrated_sqlite: Path, sqlite_url: str, tmp_path: Path) -> str:
    """An SQLite database with this release's tables, empty, for those who open it themselves."""
    shutil.copy(migrated_sqlite, tmp_path / "connector.db")
    return sqlite_url


@pytest.fixture(scope="session")
def postgresql_emptier(migrated_postgresql: Engine) -> Iterator[Callable[[], object]]:
    """Call it to empty the PostgreSQL database of all tests.

    With a connection of its own, because a busy machine may exceed the engine's time limit of a second. TRUNCATE makes
    new files: 25 ms of the server's CPU time, DELETE takes 1.
    """
    sequences = [
        f"pg_get_serial_sequence('{table.name}', 'id')" for table in metadata.tables.values() if "id" in table.c
    ]
    statements = [f"DELETE FROM {name}" for name in metadata.tables]
    statements += [f"SELECT setval({sequence}, 1, false)" for sequence in sequences]
    address = migrated_postgresql.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(address, autocommit=True, options="-c lock_timeout=60s") as connection:
        yield lambda: connection.execute("; ".join(statements).encode())


@pytest.fixture
def migrated_postgresql_url(migrated_postgresql: Engine, postgresql_emptier: Callable[[], object]) -> str:
    """The PostgreSQL database of all tests, emptied."""
    postgresql_emptier()
    return migrated_postgresql.url.render_as_string(hide_password=False)


@pytest.fixture
def migrated_url(request: pytest.FixtureRequest) -> str:
    """A database of each kind with this release's tables, empty, for those who open it themselves."""
    return str(request.getfixturevalue(f"migrated_{request.param}_url"))


@pytest.fixture
def sqlite_engine(shared_sqlite: Engine) -> Iterator[Engine]:
    """An engine over an SQLite database with this release's tables, empty."""
    delete_all_rows(shared_sqlite)
    yield shared_sqlite
    assert isinstance(shared_sqlite.pool, QueuePool)
    if shared_sqlite.pool.checkedout():  # by a thread that the test has left behind, or a traceback
        shared_sqlite.dispose()


@pytest.fixture
def postgresql_engine(migrated_postgresql: Engine, migrated_postgresql_url: str) -> Engine:
    """An engine over a PostgreSQL database with this release's tables, empty."""
    return migrated_postgresql


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> Engine:
    """An engine over a database of each kind with this release's tables, empty."""
    found: Engine = request.getfixturevalue(f"{request.param}_engine")
    return found


@pytest.fixture
def database(engine: Engine) -> Database:
    """An empty database of each kind with this release's tables."""
    return Database(engine)


@pytest.fixture
def outbox(database: Database) -> Outbox:
    """An empty outbox on each database."""
    return Outbox(database)


@pytest.fixture
def plans(sqlite_engine: Engine) -> Iterator[Callable[[], list[str]]]:
    """Call it to collect SQLite's plan of every query of `sqlite_engine` from then on."""
    steps: list[str] = []

    def explain(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        if statement.startswith("SELECT"):
            plan = connection.connection.cursor().execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            steps.extend(step[-1] for step in plan.fetchall())

    def begin() -> list[str]:
        sa.event.listen(sqlite_engine, "before_cursor_execute", explain)
        return steps

    yield begin
    if sa.event.contains(sqlite_engine, "before_cursor_execute", explain):
        sa.event.remove(sqlite_engine, "before_cursor_execute", explain)


@contextmanager
def _database(server: str) -> Iterator[str]:
    url = create_database(make_url(server))
    yield url
    if "TEST_DATABASE_URL" in os.environ:  # our own server is thrown away whole
        administer(make_url(server), f"DROP DATABASE {make_url(url).database} WITH (FORCE)")


def _spelled(url: str) -> str:
    return make_url(url).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
