"""The relay's world on one database, and on each."""

import pytest
from sqlalchemy import Engine

from tests.support.relay_world import World


@pytest.fixture
def world(sqlite_engine: Engine) -> World:
    return World(sqlite_engine)


@pytest.fixture
def both(engine: Engine) -> World:
    """The same over each database."""
    return World(engine)
