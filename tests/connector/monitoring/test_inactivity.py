"""Silence: few false alarms on invented shops over simulated years, and how soon an outage is noticed."""

import random
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.core.units import HOUR, WEEK
from connector.monitoring.inactivity import Inactivity, detect_inactivity
from tests.support.shop_histories import MONDAY, Shop, Watched, outage

TUESDAY_NOON, TUESDAY_NIGHT, SATURDAY_NOON = 36, 46, 132


def hourly(count: int, weeks: float) -> list[int]:
    return [count] * int(weeks * 168)


def judged(counts: list[int], hours: float) -> Inactivity | None:
    """That many hours after the end of the counts, whose last webhook came at the last hour's end."""
    last = MONDAY + len(counts) * HOUR - 1.0
    return detect_inactivity(counts, MONDAY, last, last + hours * HOUR)


class TestRules:
    """One by one, on shops that are simpler than any."""

    def test_a_silence_says_since_when_and_what_would_be_usual(self) -> None:
        """For the sentence in the alert."""
        counts = hourly(10, 9)
        assert judged(counts, 5) == Inactivity(MONDAY + 9 * WEEK - 1.0, 50)
        assert judged(counts, 0.4) is None

    def test_with_less_than_two_weeks_nothing_is_said(self) -> None:
        """Too little is known of a shop that has just started, even if the connector has been there for long."""
        assert judged(hourly(10, 1.9), 20) is None
        assert judged(hourly(0, 20) + hourly(10, 1.9), 20) is None
        assert judged(hourly(10, 2.1), 20)

    @pytest.mark.parametrize("counts", [[], [0] * 2000])
    def test_a_store_that_never_sent_anything_is_not_silent(self, counts: list[int]) -> None:
        """It may not be connected yet."""
        assert detect_inactivity(counts, MONDAY, MONDAY + len(counts) * HOUR, MONDAY + 9 * WEEK) is None

    def test_nights_are_quiet(self) -> None:
        """Nothing ever comes at night, so nothing is missed then."""
        day = [0] * 8 + [40] * 12 + [0] * 4
        assert judged((day * 70)[:-4], 12.1) is None
        assert judged((day * 70)[:-4], 14)

    def test_clocks_may_change(self) -> None:
        """On its first day of winter time a shop opens, in UTC, an hour later than ever before."""
        summer, winter = [0] * 8 + [40] * 12 + [0] * 4, [0] * 9 + [40] * 12
        assert judged(summer * 69 + winter, 11.9) is None
        assert judged(summer * 69 + winter, 14)

    def test_a_sale_is_no_measure(self) -> None:
        """Neither for what is usual nor for the size of bunches."""
        counts = hourly(10, 9)
        counts[700:724] = [1000] * 24
        assert judged(counts, 3)
        assert judged(counts, 0.6) is None

    def test_an_outage_in_the_past_does_not_hide_the_next(self) -> None:
        """Those who had one are the ones who need to know; also after two weeks of it."""
        for begin, end in ((850, 900), (1000, 1000 + 336)):
            counts = hourly(10, 9)
            counts[begin:end] = [0] * (end - begin)
            assert judged(counts, 5), begin

    def test_a_shop_that_has_become_smaller_is_expected_to_send_less(self) -> None:
        """Within two days, not two weeks."""
        counts = hourly(10, 9) + [1] * 48
        assert judged(counts, 3) is None
        assert judged(hourly(10, 9), 3)

    def test_a_silence_stays_one(self) -> None:
        """However long it lasts."""
        for hours in (3, 24, 167, 168, 169, 24 * 60, 24 * 380):
            assert judged(hourly(10, 9), hours), hours


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shop", "years"),
    [
        pytest.param(Shop(2), 6, id="2 a day"),
        pytest.param(Shop(50), 2, id="50 a day"),
        pytest.param(Shop(5000), 2, id="5,000 a day"),
        pytest.param(Shop(2, night=0, weekend=0), 3, id="2 a day, closed at night and on weekends"),
        pytest.param(Shop(50, night=0, weekend=0), 1, id="50 a day, closed at night and on weekends"),
        pytest.param(Shop(5000, night=0, weekend=0, summer_time=20), 1, id="5,000 a day, closed, clocks change"),
        pytest.param(Shop(50, bodies=1, moods=0.5), 1, id="50 a day, no bunches, moody"),
    ],
)
def test_fewer_than_one_false_alarm_a_year(shop: Shop, years: int) -> None:
    """Of a shop that is up all the time, with sales, good days and bad ones."""
    alarms = [alarm for seed in range(years) for alarm in Watched(shop, 52, seed).alarms]
    assert len(alarms) < years, alarms


@pytest.mark.slow
@pytest.mark.parametrize(
    ("orders", "hour", "usually", "always"),
    [
        (5000, TUESDAY_NOON, 0.75, 1),
        (5000, SATURDAY_NOON, 0.75, 1),
        (5000, TUESDAY_NIGHT, 3, 4),
        (50, TUESDAY_NOON, 6, 12),
        (50, TUESDAY_NIGHT, 18, 24),
        (50, SATURDAY_NOON, 12, 24),
        (2, TUESDAY_NOON, 7 * 24, 10 * 24),
        (2, SATURDAY_NOON, 7 * 24, 10 * 24),
    ],
)
def test_an_outage_is_noticed_in_time(orders: int, hour: int, usually: float, always: float) -> None:
    """In hours: within one at 5,000 orders a day by day, a day at 50, about a week at 2."""
    took = [outage(Shop(orders), 9, seed, hour).noticed_after() / HOUR for seed in range(7)]
    assert median(took) <= usually
    assert max(took) <= always


@given(
    counts=st.lists(st.integers(0, 50), max_size=400),
    weeks=st.integers(0, 9),
    ago=st.floats(0, 3000),
    gap=st.floats(-10, 3000),
)
def test_whatever_came_the_answer_is_sound(counts: list[int], weeks: int, ago: float, gap: float) -> None:
    """No arithmetic breaks, and a silence is one, of as long as it says."""
    rng = random.Random(weeks)
    counts = [rng.choice((0, 0, 5)) for _ in range(weeks * 168)] + counts
    last = MONDAY + len(counts) * HOUR - ago * HOUR
    found = detect_inactivity(counts, MONDAY, last, last + gap * HOUR)
    assert found is None or (found.since == last and found.usual >= 5 and gap >= 0.5)
