"""tests.support.effort: what `make unit` leaves out."""

from operator import itemgetter

from hypothesis import settings

from tests.support.effort import USUAL, examples, first_of


def test_the_first_of_each_group_is_quick() -> None:
    """All of them are the test's parameters."""
    marked = first_of([("a", 1), ("a", 2), ("b", 1)], itemgetter(0))
    assert [(one.values, [mark.name for mark in one.marks]) for one in marked] == [
        (("a", 1), []), (("a", 2), ["slow"]), (("b", 1), []),
    ]  # fmt: skip
    assert [len(one.marks) for one in first_of(range(3))] == [0, 1, 1]


def test_examples_are_a_share_of_those_of_this_run() -> None:
    """All in `make test`, a tenth in `make unit`, and at least one."""
    assert examples(USUAL).max_examples == settings.default.max_examples
    assert examples(2 * USUAL).max_examples == 2 * settings.default.max_examples
    assert examples(1).max_examples == 1
