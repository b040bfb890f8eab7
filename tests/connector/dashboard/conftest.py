"""A site with a past, and a browser that is logged in, for the tests of this folder."""

import shutil
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine

from connector.storage.engine import connect
from tests.support.admin_site import Past, Site, entered


@pytest.fixture(scope="session")
def past(migrated_sqlite: Path, tmp_path_factory: pytest.TempPathFactory) -> Past:
    engine = connect(f"sqlite:///{shutil.copy(migrated_sqlite, tmp_path_factory.mktemp('past'))}")
    found = Site(engine).live().past()
    engine.dispose()
    return found


@pytest.fixture
def site(engine: Engine, past: Past) -> Site:
    return Site(engine).go_on(past)


@pytest.fixture
def inside(site: Site) -> FlaskClient:
    return entered(site)
