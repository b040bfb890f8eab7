"""The relay's world on one database, and on each."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from connector.storage.engine import connect
from tests.support.relay_world import World


@pytest.fixture
def sqlite_engine(migrated_sqlite: Path, tmp_path: Path) -> Iterator[Engine]:
    shutil.copy(migrated_sqlite, tmp_path / "connector.db")
    engine = connect(f"sqlite:///{tmp_path / 'connector.db'}")
    yield engine
    engine.dispose()


@pytest.fixture
def world(sqlite_engine: Engine) -> World:
    return World(sqlite_engine)


@pytest.fixture
def both(engine: Engine) -> World:
    """The same over each database."""
    return World(engine)
