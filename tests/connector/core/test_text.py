"""connector.core.text: one thing is not told as several."""

from datetime import timedelta

from connector.core.text import duration_setting, how_many, percent
from tests.support.rows import each_row


@each_row(
    ("number", "said"), [(0, "0 events"), (1, "1 event"), (2, "2 events"), (1000, "1,000 events")]
)  # fmt: skip
def test_only_one_is_singular(number: int, said: str) -> None:
    """None is many, in English."""
    assert how_many(number, "event") == said


def test_a_plural_of_its_own() -> None:
    """Of words that take no s, and where the verb changes too."""
    assert [how_many(number, "webhook is", "webhooks are") for number in (1, 2)] == ["1 webhook is", "2 webhooks are"]


def test_a_span_is_told_as_the_stores_file_has_it() -> None:
    """In days where they are whole."""
    told = [duration_setting(timedelta(hours=hours)) for hours in (48, 36, 1, 0.5)]
    assert told == ["2d", "36h", "1h", "0.5h"]


@each_row(
    ("part", "whole", "decimals", "said"),
    [
        (0, 0, 0, "–"), (0, 3, 0, "0%"), (2, 3, 0, "67%"), (2, 3, 1, "66.7%"), (1, 8, 0, "13%"), (3, 3, 2, "100.00%"),
        (999, 1000, 0, "99%"), (99_999, 100_000, 2, "99.99%"), (1, 1000, 0, "1%"), (1, 100_000, 2, "0.01%"),
        (1001, 1000, 0, "101%"), (-1, 1000, 1, "-0.1%"), (3, 2, 1, "150.0%"),
    ],
)  # fmt: skip
def test_a_share_is_rounded_alike_everywhere(part: int, whole: int, decimals: int, said: str) -> None:
    """Half up; but only all is 100%, and only nothing is 0%."""
    assert percent(part, whole, decimals) == said
