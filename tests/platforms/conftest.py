"""A store's intake for the tests of this folder."""

import pytest
from sqlalchemy import Engine

from connector.outbox.outbox import Outbox
from connector.storage.database import Database
from tests.support.webhook_bench import PLATFORM_NAMES, Bench, bench_of


@pytest.fixture
def outbox(sqlite_engine: Engine) -> Outbox:
    return Outbox(Database(sqlite_engine))


@pytest.fixture(params=PLATFORM_NAMES)
def bench(request: pytest.FixtureRequest, outbox: Outbox) -> Bench:
    return bench_of(outbox, request.param)
