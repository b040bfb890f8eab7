"""Bars: nothing leaves the picture, and the table says the same."""

from hypothesis import given
from hypothesis import strategies as st

from connector.core.units import DAY, HOUR
from connector.dashboard.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Chart, scale, spans
from tests.support.rows import each_row

KINDS = {"good": "went well", "bad": "went badly"}
NOW = 1_780_000_000.0

COUNTS = st.lists(st.dictionaries(st.sampled_from([*KINDS, "other"]), st.integers(0, 10**9)), min_size=1, max_size=24)


def chart(*counts: dict[str, int], span: int = HOUR) -> Chart:
    return Chart("Title", KINDS, spans(NOW, span, len(counts)), counts, span)


@given(COUNTS)
def test_every_bar_is_inside_the_picture(counts: list[dict[str, int]]) -> None:
    """But for a hair, where one of thousands is made visible; parts of a bar stand on each other."""
    drawn = chart(*counts)
    for bar in drawn.bars():
        assert LEFT <= bar.x <= bar.x + bar.width <= WIDTH - RIGHT + 0.1
        assert TOP - 1.2 <= bar.y <= bar.y + bar.height <= HEIGHT - BOTTOM + 0.2
        assert bar.height >= 1
    assert len(list(drawn.bars())) == sum(count.get(kind, 0) > 0 for count in counts for kind in KINDS)


@given(COUNTS)
def test_the_table_has_all_that_the_bars_have(counts: list[dict[str, int]]) -> None:
    """Times and kinds without anything are left out; what is of no kind is in neither."""
    drawn = chart(*counts)
    rows = [[cell.value for cell in numbers] for _, *numbers in drawn.table("numbers").rows]
    assert [numbers for numbers in rows if not any(numbers)] == []
    sums = [sum(numbers[place] for numbers in rows) for place in range(len(drawn.shown))]
    assert dict(zip(drawn.shown, sums, strict=True)) == {kind: n for kind, n in drawn.total.items() if n}


@given(COUNTS)
def test_the_pointer_finds_the_numbers_of_every_bar(counts: list[dict[str, int]]) -> None:
    """Of an empty one too; the places stand side by side over the whole picture."""
    drawn = chart(*counts)
    hovers = list(drawn.hovers())
    assert len(hovers) == len(counts)
    for hover, count in zip(hovers, counts, strict=True):
        words = [f"{count[kind]:,} {label}" for kind, label in KINDS.items() if count.get(kind)]
        assert hover.text.endswith(f" UTC: {', '.join(words) or 'nothing'}")
        assert hover.y == TOP
        assert hover.y + hover.height == HEIGHT - BOTTOM
    assert abs(sum(hover.width for hover in hovers) - (WIDTH - LEFT - RIGHT)) <= 0.1 * len(hovers)


def test_a_chart_is_told_in_a_sentence() -> None:
    """The sums and the highest bar, for who cannot see it."""
    hours = chart({"good": 3}, {"good": 1200, "bad": 1}, {})
    assert hours.describe() == "1,203 went well, 1 went badly. The highest hour: 1,201, 28 May, 19:00 UTC"
    assert chart({}, {"good": 2}, span=DAY).describe() == "2 went well. The highest day: 2, 28 May (UTC)"
    assert chart({"other": 4}).describe() == "nothing"


@given(st.integers(0, 10**12))
def test_the_scale_is_round_and_high_enough(most: int) -> None:
    """And not so high that the bars look small."""
    top = scale(most)
    assert most <= top <= max(2, 3 * most)
    assert str(top).rstrip("0") in {"1", "2", "4", "6", "8"}


def test_times_are_named_in_utc() -> None:
    """Hours by the clock, days by the date; the one under way is the last."""
    assert spans(NOW, HOUR, 2) == [1_779_994_800, 1_779_998_400]
    assert chart({}, span=HOUR).format_start(1_779_998_400) == "20:00"
    assert chart({}, span=DAY).format_start(1_779_926_400) == "28 May"


@each_row(("number", "shown"), [(0, "0"), (500, "600"), (2000, "2k"), (400_000, "400k"), (10**7, "10m")])
def test_large_numbers_are_short_beside_the_axis(number: int, shown: str) -> None:
    """There is room for few characters."""
    assert [mark.text for mark in chart({"good": number}).scale_labels()][-1] == (shown if number else "2")
