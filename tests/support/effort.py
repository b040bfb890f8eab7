"""How much a test tries: everything in `make test`, less in `make unit`, which is for a quick look before a commit."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import settings

USUAL = 100  # examples of a property test that says nothing of them


def examples(number: int) -> settings:
    """Return the settings of a property test that tries so many examples, and in `make unit` a tenth of them."""
    return settings(max_examples=max(1, number * settings.default.max_examples // USUAL))


def first_of(parameters: Iterable[Any], group: Callable[[Any], Any] = lambda _: None) -> list[Any]:
    """Return the parameters of a test that takes long, such as seeds; `make unit` runs the first one of each group."""
    marked, seen = [], set()
    for one in parameters:
        values = one if isinstance(one, tuple) else (one,)
        marked.append(pytest.param(*values, marks=[pytest.mark.slow] if group(one) in seen else []))
        seen.add(group(one))
    return marked
