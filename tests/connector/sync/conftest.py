"""Shops with reconciliation, for the tests of this folder."""

from collections.abc import Iterator

import pytest

from tests.support.effort import first_of
from tests.support.healed_shop import Healed, living


@pytest.fixture(params=first_of(["shopify", "woocommerce"]))
def shop(request: pytest.FixtureRequest) -> Iterator[Healed]:
    yield from living(request.param)


@pytest.fixture
def woocommerce() -> Iterator[Healed]:
    yield from living("woocommerce")


@pytest.fixture
def shopify() -> Iterator[Healed]:
    yield from living("shopify")
