"""A site with a past, and a browser that is logged in, for the tests of this folder."""

from pathlib import Path

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine

from tests.support.admin_site import Past, Site, entered, lived_past


@pytest.fixture(scope="session")
def past(migrated_sqlite: Path, tmp_path_factory: pytest.TempPathFactory) -> Past:
    return lived_past(migrated_sqlite, tmp_path_factory.mktemp("past"))


@pytest.fixture
def site(engine: Engine, past: Past) -> Site:
    return Site(engine).go_on(past)


@pytest.fixture
def inside(site: Site) -> FlaskClient:
    return entered(site)
