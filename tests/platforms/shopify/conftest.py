"""A fake Shopify shop for the tests of this folder."""

import pytest

from tests.support.fakes.shopify import FakeShopify
from tests.support.shopify_api import Clock, connect


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def fake(clock):
    with FakeShopify(clock=clock) as running:
        yield running


@pytest.fixture
def shop(fake, clock):
    """The admin, with a legacy token."""
    return connect(fake, clock)
