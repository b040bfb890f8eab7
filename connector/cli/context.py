"""What commands stand on: the configuration, a store by its name, the database, progress, an error in a sentence."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NoReturn, TextIO, TypeVar

import click

if TYPE_CHECKING:
    from connector.config.settings import Config
    from connector.core.store import Store
    from connector.outbox.queries import OutboxQueries
    from connector.storage.database import Database

T = TypeVar("T")
LONG = 500  # items of work from which on it is shown how far it is
NOW_AND_THEN = 10.0  # seconds between two lines of progress where there is no terminal


def configuration() -> "Config":
    """As the environment and the stores file say; every fault of theirs is printed, and the command ends."""
    from connector.config.settings import ConfigError, load
    from connector.core import logs

    try:
        config = load(os.environ)
    except ConfigError as error:
        click.echo(f"The configuration has faults:\n{error}", err=True)
        sys.exit(1)
    logs.set_up(config.log_format, config.log_level)
    return config


def store_named(config: "Config", name: str) -> "Store":
    """That store; a usage error names those there are."""
    if name not in config.stores:
        raise click.UsageError(f"there is no store {name!r}; there are: {', '.join(config.stores)}")
    return config.stores[name]


def ready_database(config: "Config", migrate_sqlite: bool) -> None:
    """Go on only with tables of this release's version."""
    from connector.storage.engine import connect, require_current
    from connector.storage.engine import migrate as run

    engine = connect(config.database_url, timeout=10.0)
    sqlite = engine.dialect.name == "sqlite"
    database(lambda: run(engine) if migrate_sqlite and sqlite else require_current(engine))
    engine.dispose()


def database(work: Callable[[], T]) -> T:
    """Do it, or say in a sentence why the database does not let us."""
    from connector.storage.database import CannotStore
    from connector.storage.engine import SchemaError

    try:
        return work()
    except (SchemaError, CannotStore) as error:
        fail(str(error))
    except Exception as error:
        if type(error).__module__.startswith(("sqlalchemy", "psycopg", "sqlite3")):
            fail(f"the database cannot be reached ({type(error).__name__}); check DATABASE_URL")
        raise


def moment(text: str | None) -> float | None:
    """Unix seconds of a date, a time or an age."""
    if not text:
        return None
    units = {"m": "minutes", "h": "hours", "d": "days"}
    try:
        if text[:-1].isdecimal() and text[-1] in units:
            return (datetime.now(UTC) - timedelta(**{units[text[-1]]: int(text[:-1])})).timestamp()
        found = datetime.fromisoformat(text)
    except (ValueError, OverflowError):  # the latter of an age before year 1
        raise click.UsageError(f"{text!r} is no date, time or age; e.g. 2026-11-24, 2026-11-24T10:00, 2d, 3h") from None
    return (found.replace(tzinfo=UTC) if found.tzinfo is None else found).timestamp()


def fail(sentence: str) -> NoReturn:
    """End with exit code 1 and a sentence that says what to do."""
    click.echo(f"connector: {sentence}", err=True)
    sys.exit(1)


def open_database(config: "Config") -> "Database":
    """Open the configured database. Raises SchemaError unless its tables are of this release's version."""
    from connector.storage.database import Database
    from connector.storage.engine import connect, require_current

    engine = connect(config.database_url, timeout=10.0)
    require_current(engine)
    return Database(engine)


def open_queries() -> "OutboxQueries":
    """Open the queries over the configured database. Raises SchemaError."""
    from connector.outbox.queries import OutboxQueries

    return OutboxQueries(open_database(configuration()))


@contextmanager
def progress(length: int, label: str) -> Iterator[Callable[[int], None]]:
    """How far it is, for what may take long; see `counting`."""
    if length < LONG:
        yield lambda _: None
        return
    with counting(label) as show:
        yield lambda number: show(number, length)


@contextmanager
def counting(
    label: str, stream: TextIO | None = None, elapsed: Callable[[], float] = time.monotonic
) -> Iterator[Callable[[int, int | None], None]]:
    """How far it is, on stderr, where it disturbs nobody: a bar on a terminal, else a line now and then.

    What is yielded is called with how many more are done, and of how many in all as far as that is known. `elapsed`
    gives seconds that never jump.
    """
    stream = stream or sys.stderr
    if not stream.isatty():
        yield _lines(label, stream, elapsed)
        return
    with click.progressbar((_ for _ in ()), label=label, show_pos=True, file=stream) as bar:

        def show(number: int, total: int | None) -> None:
            bar.length = max(total, bar.pos + number) if total is not None else None
            bar.update(number)

        yield show


def _lines(label: str, stream: TextIO, elapsed: Callable[[], float]) -> Callable[[int, int | None], None]:
    done, told = 0, elapsed()

    def show(number: int, total: int | None) -> None:
        nonlocal done, told
        done += number
        if (now := elapsed()) - told >= NOW_AND_THEN:
            told = now
            click.echo(f"{label}: {done}{f' of {max(total, done)}' if total is not None else ''} so far", file=stream)

    return show
