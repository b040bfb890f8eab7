"""The order of the tests: those that wait come first, while others use the processors."""

from collections.abc import Sequence
from itertools import chain, groupby

import pytest

# First the tests that wait longest, such as for a dead relay's lease of two minutes: others run meanwhile.
WAITING = ("test_way.py", "end_to_end", "faults", "browser")


def dealt(items: Sequence[pytest.Item], workers: int) -> list[pytest.Item]:
    """Deal the files of waiting tests to the beginnings of runs of neighbours, one for each worker but the last.

    By `--dist worksteal` each worker begins with a run of an equal part of the tests, and at the end takes tests of
    another's: quick ones then. The last begins with those: were all waiting at once, the processors would be idle.
    """
    items = sorted(items, key=_turn)
    waiting = [item for item in items if _turn(item) < len(WAITING)]
    others = [item for item in items if _turn(item) == len(WAITING)]
    files = [[*file] for _, file in groupby(waiting, key=lambda item: item.path)]
    found: list[pytest.Item] = []
    hands = max(1, workers - 1)
    for number in range(workers):
        run = [*chain(*files[number::hands])] if number < hands else []
        room = (len(items) - len(found)) // (workers - number) - len(run)
        found += run + others[: max(0, room)]
        del others[: max(0, room)]
    return found


def _turn(item: pytest.Item) -> int:
    parts = item.path.parts
    return next((turn for turn, name in enumerate(WAITING) if name in parts), len(WAITING))
