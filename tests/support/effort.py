"""How much a test tries: everything in `make test`, less in `make unit`, which is for a quick look before a commit."""

from typing import Any

import pytest
from hypothesis import settings

USUAL = 100  # examples of a property test that says nothing of them


def examples(number: int) -> settings:
    """Return the settings of a property test that tries so many examples, and in `make unit` a fifth of them."""
    return settings(max_examples=max(1, number * settings.default.max_examples // USUAL))


def seeds(number: int) -> list[Any]:
    """Return the parameters 0, 1, 2 … of a test with random data; `make unit` runs the first one alone."""
    return [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, number))]
