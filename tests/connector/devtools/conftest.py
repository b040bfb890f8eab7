"""A sandbox for the tests of this folder."""

import pytest

from connector.devtools.sandbox.server import Sandbox
from tests.support.sandbox_requests import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sandbox(clock: Clock) -> Sandbox:
    return Sandbox(clock)
