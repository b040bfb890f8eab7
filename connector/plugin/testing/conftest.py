"""Fixtures of the conformance kit: the platforms chosen by --platform, and an empty database for each test."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from sqlalchemy import Engine

from connector.core.registry import installed_platforms
from connector.plugin.testing import recordings
from connector.plugin.testing.bench import Bench, event_topics, signers, thin_shop
from connector.plugin.testing.empty_database import delete_all_rows, shared_engine
from connector.storage.database import Database


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test for every chosen platform, and where it says so for each topic, way of signing or recording."""
    if "name" not in metafunc.fixturenames:
        return
    names = metafunc.config.getoption("--platform", default=None) or list(installed_platforms())
    if "topic" in metafunc.fixturenames:
        pairs = [(name, topic) for name in names for topic in _event_topics(name)]
        metafunc.parametrize(("name", "topic"), pairs)
    elif "way" in metafunc.fixturenames:
        metafunc.parametrize(("name", "way"), [(name, way) for name in names for way in range(_ways(name))])
    elif "recording" in metafunc.fixturenames:
        metafunc.parametrize(("name", "recording"), [(name, one) for name in names for one in _recordings(name)])
    else:
        metafunc.parametrize("name", names)


def _event_topics(name: str) -> list[str]:
    """Return the sampled topics of a platform that make events; none for one that another test reports as broken."""
    try:
        platform = installed_platforms()[name]
        samples = platform.samples
    except Exception:
        return []
    return event_topics(platform, samples) if samples else []


def _ways(name: str) -> int:
    try:
        return len(signers(installed_platforms()[name]))
    except Exception:
        return 0


def _recordings(name: str) -> list[str]:
    """Return the names of a platform's recorded requests; one that is empty without any, for the test to say so."""
    try:
        folder = installed_platforms()[name].recordings
    except Exception:
        return []
    return sorted(recordings.names(folder, "requests")) if folder else [""]


@pytest.fixture(scope="session")
def conformance_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An SQLite database for all tests."""
    with shared_engine(tmp_path_factory.mktemp("conformance") / "conformance.db") as engine:
        yield engine


@pytest.fixture
def database(conformance_engine: Engine) -> Database:
    """An empty SQLite database."""
    delete_all_rows(conformance_engine)
    return Database(conformance_engine)


@pytest.fixture
def bench_of(database: Database) -> Iterator[Callable[..., Bench]]:
    """Call it with a platform's name for its bench."""
    with ExitStack() as stack:

        def make(name: str, **settings: Any) -> Bench:
            return Bench.of(name, database, stack.enter_context(thin_shop(installed_platforms()[name])), **settings)

        yield make
