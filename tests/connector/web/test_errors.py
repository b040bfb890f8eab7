"""The table from exceptions to responses."""

import pytest

from connector.core.registry import BrokenPlatform
from connector.storage.database import CannotStore
from connector.web.errors import flask_response


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (CannotStore("disk full"), "cannot store now, try again"),
        (BrokenPlatform("no such module"), "the platform of this store cannot be loaded"),
    ],
)
def test_503_asks_to_try_again(error: Exception, text: str) -> None:
    """Its text says which of the two it is, and nothing of what the exception says."""
    response = flask_response(error)
    assert (response.status_code, response.headers["Retry-After"]) == (503, "10")
    assert response.get_json()["error"].startswith(text)
    assert str(error) not in response.get_data(as_text=True)


def test_a_bug_is_an_internal_error() -> None:
    """A caller that tries again does not help, and no detail leaves."""
    response = flask_response(KeyError("secret"))
    assert (response.status_code, response.get_json()) == (500, {"error": "internal error"})
