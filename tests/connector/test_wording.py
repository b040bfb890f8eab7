"""connector.wording: one thing is not told as several."""

import pytest

from connector.wording import how_many


@pytest.mark.parametrize(
    ("number", "said"), [(0, "0 events"), (1, "1 event"), (2, "2 events"), (1000, "1000 events")]
)  # fmt: skip
def test_only_one_is_singular(number: int, said: str) -> None:
    """None is many, in English."""
    assert how_many(number, "event") == said


def test_a_plural_of_its_own() -> None:
    """Of words that take no s, and where the verb changes too."""
    assert [how_many(number, "webhook is", "webhooks are") for number in (1, 2)] == ["1 webhook is", "2 webhooks are"]
