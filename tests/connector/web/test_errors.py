"""The table from exceptions to responses."""

import pytest

from connector.core.registry import BrokenPlatform
from connector.storage.database import CannotStore
from connector.web.errors import error_response


@pytest.mark.parametrize("error", [CannotStore("disk full"), BrokenPlatform("no such module")])
def test_503_asks_to_try_again(error: Exception) -> None:
    response = error_response(error)
    assert (response.status_code, response.headers["Retry-After"]) == (503, "10")
    assert response.get_json() == {"error": "cannot store now, try again"}


def test_a_bug_is_an_internal_error() -> None:
    """A caller that tries again does not help, and no detail leaves."""
    response = error_response(KeyError("secret"))
    assert (response.status_code, response.get_json()) == (500, {"error": "internal error"})
