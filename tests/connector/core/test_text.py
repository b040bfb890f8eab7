"""connector.core.text: one thing is not told as several."""

from datetime import timedelta

import pytest

from connector.core.text import how_long, how_many


@pytest.mark.parametrize(
    ("number", "said"), [(0, "0 events"), (1, "1 event"), (2, "2 events"), (1000, "1000 events")]
)  # fmt: skip
def test_only_one_is_singular(number: int, said: str) -> None:
    """None is many, in English."""
    assert how_many(number, "event") == said


def test_a_plural_of_its_own() -> None:
    """Of words that take no s, and where the verb changes too."""
    assert [how_many(number, "webhook is", "webhooks are") for number in (1, 2)] == ["1 webhook is", "2 webhooks are"]


def test_a_span_is_told_as_the_stores_file_has_it() -> None:
    """In days where they are whole."""
    told = [how_long(timedelta(hours=hours)) for hours in (48, 36, 1, 0.5)]
    assert told == ["2d", "36h", "1h", "0.5h"]
