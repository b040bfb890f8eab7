"""An SQLite database that all tests of a run share: emptied for each, so that each statement is compiled once."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Engine

from connector.storage.engine import connect, migrate
from connector.storage.tables import metadata

BUSY = 60.0  # seconds that a database may take on a busy machine; the engine's usual limit is one


@contextmanager
def shared_engine(file: Path) -> Iterator[Engine]:
    """Open an engine over an SQLite file, which is migrated first unless it is.

    It does not wait for the disk, which would be most of the tests' time: no power is cut in them.
    """
    engine = connect(f"sqlite:///{file}", BUSY)

    @sa.event.listens_for(engine, "connect")
    def _hurry(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA synchronous=OFF")

    migrate(engine)
    yield engine
    engine.dispose()


def delete_all_rows(engine: Engine) -> None:
    """Empty the tables that have rows; a statement for each of them all would take most of a millisecond."""
    names = " UNION ALL ".join(f"SELECT * FROM (SELECT '{name}' FROM {name} LIMIT 1)" for name in metadata.tables)  # noqa: S608 # the connector's own
    with engine.begin() as connection:
        for name in connection.exec_driver_sql(names).scalars().all():
            connection.exec_driver_sql(f"DELETE FROM {name}")  # noqa: S608 # one of them
