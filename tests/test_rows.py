"""tests.support.rows: many cases in one test."""

import inspect
from collections.abc import Callable

import pytest

from tests.support.rows import each_row

SEEN: list[tuple[int, int]] = []


@each_row("number", [1, 2, 3])
@each_row("half, double", [(1, 4), (2, 8)], ids=hex)
def halves(tmp_path: str, half: int, double: int, number: int) -> None:
    """A test of a table for each of three numbers."""
    SEEN.append((half, number))
    assert (half, number) != (2, 3), tmp_path
    assert double


def test_every_row_is_run_and_those_that_fail_are_named() -> None:
    """Also those after a failure."""
    SEEN.clear()
    with pytest.raises(ExceptionGroup, match="1 of 3 rows") as raised:
        halves(tmp_path="here")
    assert SEEN == [(1, 1), (2, 1), (1, 2), (2, 2), (1, 3), (2, 3)]
    assert raised.value.message.splitlines() == ["1 of 3 rows", "row: number=3 → 1 of 2 rows"]
    (third,) = raised.value.exceptions
    assert third.__notes__ == ["row: number=3"]
    assert isinstance(third, ExceptionGroup)
    (second,) = third.exceptions
    assert "here" in str(second)
    assert second.__notes__ == ["row: half=0x2, double=0x8"]


def test_pytest_is_asked_for_fixtures_alone() -> None:
    assert [*inspect.signature(halves).parameters] == ["tmp_path"]


def test_a_row_has_a_value_for_each_name() -> None:
    with pytest.raises(ValueError, match="shorter"):
        each_row("one, two", [("one",)])


def test_a_table_without_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="without rows"):
        each_row("one", [])


@pytest.mark.parametrize("end", [pytest.fail, pytest.skip])
def test_a_row_that_is_skipped_or_raises_nothing_fails(end: Callable[[str], None]) -> None:
    """A row's skip would hide those after it."""
    with pytest.raises(ExceptionGroup) as raised:
        each_row("reason", ["why", "because"])(end)()
    assert [str(error) for error in raised.value.exceptions] == [
        f"{end.Exception.__name__}: {reason}"
        for reason in ("why", "because")  # type: ignore[attr-defined]
    ]
