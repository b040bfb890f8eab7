"""A sandbox, and stores that are being set up against it."""

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Engine

from connector.devtools.sandbox.server import Sandbox
from tests.support.new_store import NewStore, a_sandbox


@pytest.fixture(scope="module")
def _sandbox() -> Iterator[tuple[Sandbox, str]]:
    with a_sandbox() as found:
        yield found


@pytest.fixture
def sandbox(_sandbox: tuple[Sandbox, str]) -> Sandbox:
    return _sandbox[0]


@pytest.fixture
def new_store(_sandbox: tuple[Sandbox, str], sqlite_engine: Engine) -> Callable[..., NewStore]:
    """Call it for a new store; the database decides nothing here."""
    return lambda platform="shopify", **changes: NewStore(sqlite_engine, _sandbox[1], platform, **changes)
