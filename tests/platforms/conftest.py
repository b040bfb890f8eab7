"""A store's intake for the tests of this folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.event import listen

from connector.outbox.outbox import Outbox
from connector.storage.database import Database
from connector.storage.engine import connect
from tests.support.webhook_bench import PLATFORM_NAMES, Bench, bench_of


@pytest.fixture(scope="module")
def empty_database(migrated_sqlite: Path) -> bytes:
    return migrated_sqlite.read_bytes()


@pytest.fixture
def outbox(tmp_path: Path, empty_database: bytes) -> Iterator[Outbox]:
    path = tmp_path / "connector.db"
    path.write_bytes(empty_database)
    engine = connect(f"sqlite:///{path}")
    # No power is cut in these tests, and waiting for the disk is most of their time.
    listen(engine, "connect", lambda connection, _record: connection.execute("PRAGMA synchronous=OFF"))
    yield Outbox(Database(engine))
    engine.dispose()


@pytest.fixture(params=PLATFORM_NAMES)
def bench(request: pytest.FixtureRequest, outbox: Outbox) -> Bench:
    return bench_of(outbox, request.param)
