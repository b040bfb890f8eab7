"""Match keys that fall below their own past: found, and not found where nothing has changed."""

import random

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from connector.core.units import DAY, HOUR
from connector.monitoring.key_trends import GAP, NEEDED, KeyProblemFinder, KeyTrends, detect_fall
from connector.storage.tables import tallies
from tests.benchmarks.match_keys import days_until_found, false_alarms
from tests.support.factories import CODE, a_store

PAST_DAYS = 42
TODAY = 1_790_035_200 // DAY * DAY
NOW = TODAY + 9 * HOUR


@pytest.mark.slow
@pytest.mark.parametrize(("orders", "years"), [(2, 40), (50, 20), (5000, 40)])
def test_a_shop_without_a_change_is_left_alone(orders, years):
    """Whatever chance, weekends and campaigns do to it; the whole measurement is tests/benchmarks/match_keys.py."""
    rng = random.Random(7)
    alarms = sum(
        false_alarms(orders, share, 365, rng) for share in (0.98, 0.9, 0.6, 0.35, 0.1) for _ in range(years // 5)
    )
    assert alarms <= years // 10


@pytest.mark.parametrize(("orders", "fall", "within"), [(2, 0.5, 21), (50, 0.5, 3), (5000, 0.5, 2)])
def test_a_fall_is_found(orders, fall, within):
    """Half of all orders lose a key: a large shop knows the next day, a tiny one when it has enough orders."""
    rng = random.Random(7)
    found = sorted(days_until_found(orders, 0.9, fall, rng) or 99 for _ in range(20))
    assert found[12] <= within


def steady(days, events=100, having=80):
    return [(events, having)] * days


def test_the_bounds_of_a_fall():
    """Ten points at least, more than chance explains, and enough of a past to judge by."""
    past = steady(NEEDED - 1)
    assert detect_fall([*past, (1000, 690)]).present == 0.69
    assert detect_fall([*past, (1000, 710)]) is None
    assert detect_fall([*past, (30, 20)]) is None  # 67 %, as can happen by chance
    assert detect_fall([*past[1:], (5, 0), (19, 0)]).days == 2  # one of them alone would be too few
    assert detect_fall([*steady(GAP + 13), (1000, 0)]) is None
    fall = detect_fall([*steady(GAP + 14), (1000, 0)])
    assert (fall.past, fall.present, fall.days) == (0.8, 0.0, 1)
    assert detect_fall([*[(0, 0)] * 60, (1000, 0)]) is None
    assert detect_fall([]) is None
    assert detect_fall([*steady(NEEDED - 1, 100, 100), (1000, 1000)]) is None


def test_a_share_that_wanders_by_itself_is_given_more_room():
    """Every other day has half as much: such a day is none to tell of."""
    rng = random.Random(1)
    past = [(100, rng.choice((40, 80))) for _ in range(NEEDED - 1)]
    assert detect_fall([*past, (1000, 300)]) is None
    assert detect_fall([*steady(NEEDED - 1, 100, 60), (1000, 300)])


def test_a_fall_stays_one_for_two_weeks():
    """The past ends two weeks before, so a fall does not become the usual at once."""
    falls = [
        detect_fall([*steady(NEEDED), *steady(after, 100, 20)]) is not None for after in (1, 7, GAP, GAP + PAST_DAYS)
    ]
    assert falls == [True, True, True, False]


@given(st.lists(st.integers(0, 50).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))), max_size=90))
def test_no_history_breaks_it(days):
    """Days without an event, and a key that none or all have."""
    fall = detect_fall(days)
    assert fall is None or 0 <= fall.present < fall.past <= 1


# --- from the database ----------------------------------------------------------------------------------------


def tally(database, numbers, event="Purchase"):
    """Hourly numbers of `keys`: (days ago, combination, number)."""
    with database.write() as connection:
        for ago, keys, number in numbers:
            row = {"store": "acme", "what": "keys", "pixel": CODE, "event": event, "detail": keys, "count": number}
            connection.execute(sa.insert(tallies).values(row | {"hour": TODAY - ago * DAY + 5 * HOUR}))


def test_the_days_of_a_store(database):
    """Combinations become keys; a day without events is there, and today, which is not over, is not."""
    tally(database, [(3, "email phone", 4), (3, "email", 1), (1, "", 2), (0, "email", 50)])
    found = KeyTrends(database).daily("acme", TODAY - 3 * DAY, NOW)
    days = found[CODE, "Purchase"]
    assert [(day.total, day.keys["email"], day.keys["phone"]) for day in days] == [(5, 5, 4), (0, 0, 0), (2, 0, 0)]
    assert days[0].day == TODAY - 3 * DAY
    assert KeyTrends(database).daily("beans", TODAY - 3 * DAY, NOW) == {}


def test_a_fall_is_a_problem(database):
    """In one sentence for an event, with all keys that fell; others are not told of."""
    tally(database, [(ago, "email phone ip+user_agent", 100) for ago in range(2, 60)])
    tally(database, [(1, "ip+user_agent", 600), (1, "email ip+user_agent", 400), (1, "phone ip+user_agent", 2)])
    finder = KeyProblemFinder(database, {"acme": a_store()})
    (problem,) = finder.find(NOW)
    assert problem.key == f"keys:acme:{CODE}:Purchase"
    assert "email from 100% to 40%, phone from 100% to 1% of them on the last day" in problem.sentence
    assert [*KeyProblemFinder(database, {"beans": a_store(name="beans")}).find(NOW)] == []
    assert [*finder.find(NOW - 3 * DAY)] == []
