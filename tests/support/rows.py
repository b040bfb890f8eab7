"""A table of cases within one test: for those that are quicker than what pytest does around a test."""

import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest

Test = Callable[..., None]


def each_row(
    names: str | Sequence[str], table: Iterable[Any], ids: Callable[[Any], object] | None = None
) -> Callable[[Test], Test]:
    """Run the test with each row of a table, and raise an ExceptionGroup of all rows that fail, each with its values.

    To be written like `pytest.mark.parametrize`, for functions without side effects: as a test of its own, a row costs
    3 ms of pytest's and pytest-xdist's time. `ids` makes the text of a value that is too long to be shown.
    """
    columns = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
    rows = [dict(zip(columns, row if len(columns) > 1 else (row,), strict=True)) for row in table]
    if not rows:
        raise ValueError("a table without rows tests nothing")

    def decorate(test: Test) -> Test:
        @functools.wraps(test)
        def run(*arguments: Any, **fixtures: Any) -> None:
            failed = [error for row in rows if (error := _failure(test, arguments, fixtures | row, row, ids or _short))]
            if failed:
                lines = [_line(error) for error in failed]
                raise ExceptionGroup("\n".join((f"{len(failed)} of {len(rows)} rows", *lines)), failed)

        signature = inspect.signature(test)
        left = [parameter for name, parameter in signature.parameters.items() if name not in columns]
        run.__signature__ = signature.replace(parameters=left)  # type: ignore[attr-defined]
        return run

    return decorate


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}…"


def _line(error: Exception) -> str:
    """Return the row and the beginning of what is wrong with it; of the exceptions pytest shows the first 15."""
    return f"{error.__notes__[-1]} → {str(error).partition(chr(10))[0] or type(error).__name__}"


def _failure(
    test: Test,
    arguments: tuple[Any, ...],
    named: dict[str, Any],
    row: dict[str, Any],
    shown: Callable[[Any], object],
) -> Exception | None:
    failure: Exception
    try:
        test(*arguments, **named)
    except (pytest.fail.Exception, pytest.skip.Exception) as outcome:  # a row that is skipped would not be seen
        failure = AssertionError(f"{type(outcome).__name__}: {outcome}").with_traceback(outcome.__traceback__)
    except Exception as error:
        failure = error
    else:
        return None
    failure.add_note("row: " + ", ".join(f"{name}={shown(value)}" for name, value in row.items()))
    return failure
