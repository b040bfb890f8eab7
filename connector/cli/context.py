"""Functions for several commands: configuration, store lookup, database, times, progress, errors in one sentence."""

import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn, TextIO, TypeVar

import click

if TYPE_CHECKING:
    from connector.config.settings import Config
    from connector.core.platform import Platform
    from connector.core.store import Store
    from connector.outbox.queries import OutboxQueries
    from connector.storage.database import Database

T = TypeVar("T")
Command = TypeVar("Command", bound=Callable[..., Any])
LONG = 500  # items from which on progress is shown
PROGRESS_INTERVAL = 10.0  # seconds between two lines of progress if stderr is not a terminal


def configuration() -> "Config":
    """Load the settings and set up logging; if they are invalid, print every error and exit with code 1."""
    from connector.config.settings import ConfigError, load
    from connector.core import logs

    try:
        config = load(os.environ)
    except ConfigError as error:
        click.echo(f"Invalid configuration:\n{error}", err=True)
        sys.exit(1)
    logs.set_up(config.log_format, config.log_level)
    return config


def store_named(config: "Config", name: str) -> "Store":
    """Return a configured store. Raises UsageError, which lists the configured names."""
    if name not in config.stores:
        raise click.UsageError(f"there is no store {name!r}; there are: {', '.join(config.stores)}")
    return config.stores[name]


def platform_of(store: "Store") -> "Platform":
    """Return the store's platform; if it cannot be loaded, exit with code 1."""
    from connector.core.registry import BrokenPlatform, installed_platforms

    try:
        return installed_platforms()[store.platform]
    except BrokenPlatform as error:
        fail(f"store {store.name}: {error}")


def ready_database(config: "Config", migrate_sqlite: bool) -> None:
    """Require the current database schema, or exit with code 1; `migrate_sqlite` migrates a SQLite database first."""
    from connector.storage.engine import connect, require_current
    from connector.storage.engine import migrate as run

    engine = connect(config.database_url, timeout=10.0)
    sqlite = engine.dialect.name == "sqlite"
    database(lambda: run(engine) if migrate_sqlite and sqlite else require_current(engine))
    engine.dispose()


def database(work: Callable[[], T]) -> T:
    """Call `work`; if the database or its schema prevents it, exit with code 1 and a sentence."""
    from connector.storage.database import CannotStore
    from connector.storage.engine import SchemaError

    try:
        return work()
    except (SchemaError, CannotStore) as error:
        fail(str(error))
    except Exception as error:
        if type(error).__module__.startswith(("sqlalchemy", "psycopg", "sqlite3")):
            from connector.config.settings import load
            from connector.storage.unreachable import why_unreachable

            fail(why_unreachable(load(os.environ).database_url, error))
        raise


def parse_time(text: str | None) -> float | None:
    """Parse a date, a time (UTC unless it has a zone) or an age such as 2d into Unix seconds. Raises UsageError."""
    if not text:
        return None
    units = {"m": "minutes", "h": "hours", "d": "days"}
    try:
        if text[:-1].isdecimal() and text[-1] in units:
            return (datetime.now(UTC) - timedelta(**{units[text[-1]]: int(text[:-1])})).timestamp()
        parsed = datetime.fromisoformat(text)
    except (ValueError, OverflowError):  # OverflowError: an age that reaches before year 1
        raise click.UsageError(
            f"{text!r} is not a date, time or age; examples: 2026-11-24, 2026-11-24T10:00, 2d, 3h"
        ) from None
    return (parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed).timestamp()


class Duration(click.ParamType[float]):
    """A duration such as 30s, 5m, 2h; seconds as a float."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Parse the text of the command line; a default in seconds stays."""
        match = re.fullmatch("([1-9][0-9]{0,4})([smh])", str(value))
        if match is None:
            self.fail(f"{value!r} is not a duration; examples: 30s, 5m, 1h")
        return float(int(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]])


def wait_option(default: str) -> Callable[[Command], Command]:
    """Return the option --wait, which limits the wait for a shop that does not answer."""
    return click.option(
        "--wait", type=Duration(), default=default, show_default=True, help="How long to wait for a shop's answer."
    )


def say_of(store: str) -> Callable[[str], None]:
    """Return a function that prints a line about a store on standard error."""
    return lambda sentence: click.echo(f"store {store}: {sentence}", err=True)


def fail(sentence: str) -> NoReturn:
    """Print a sentence that says what to do, and exit with code 1."""
    click.echo(f"connector: {sentence}", err=True)
    sys.exit(1)


def open_database(config: "Config") -> "Database":
    """Open the configured database. Raises SchemaError if its schema is not current."""
    from connector.storage.database import Database
    from connector.storage.engine import connect, require_current

    engine = connect(config.database_url, timeout=10.0)
    require_current(engine)
    return Database(engine)


def open_queries() -> "OutboxQueries":
    """Return the queries of the configured database. Raises SchemaError if its schema is not current."""
    from connector.outbox.queries import OutboxQueries

    return OutboxQueries(open_database(configuration()))


@contextmanager
def progress(length: int, label: str) -> Iterator[Callable[[int], None]]:
    """Show progress (`counting`) if there are at least LONG items; the yielded function takes the number just done."""
    if length < LONG:
        yield lambda _: None
        return
    with counting(label) as show:
        yield lambda number: show(number, length)


@contextmanager
def counting(
    label: str, stream: TextIO | None = None, elapsed: Callable[[], float] = time.monotonic
) -> Iterator[Callable[[int, int | None], None]]:
    """Show progress on stderr: a bar on a terminal, otherwise a line every PROGRESS_INTERVAL seconds.

    The yielded function takes the number of items just done and the total, None if unknown. `elapsed` returns seconds
    that never jump.
    """
    stream = stream or sys.stderr
    if not stream.isatty():
        yield _line_printer(label, stream, elapsed)
        return
    with click.progressbar((_ for _ in ()), label=label, show_pos=True, file=stream) as bar:

        def show(number: int, total: int | None) -> None:
            bar.length = max(total, bar.pos + number) if total is not None else None
            bar.update(number)

        yield show


def _line_printer(label: str, stream: TextIO, elapsed: Callable[[], float]) -> Callable[[int, int | None], None]:
    done, printed_at = 0, elapsed()

    def show(number: int, total: int | None) -> None:
        nonlocal done, printed_at
        done += number
        if (now := elapsed()) - printed_at >= PROGRESS_INTERVAL:
            printed_at = now
            click.echo(f"{label}: {done}{f' of {max(total, done)}' if total is not None else ''} so far", file=stream)

    return show
