"""A bucket of permits per token."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.core.rate_limit import BURST, PER_SECOND, RateLimiter


def test_a_burst_is_free_and_then_they_come_steadily() -> None:
    """Each promised permit is one interval later than the last."""
    pace = RateLimiter(lambda: 0.0, per_second=10, burst=3)
    assert [round(pace.reserve("a"), 6) for _ in range(6)] == [0, 0, 0, 0.1, 0.2, 0.3]
    assert pace.reserve("b") == 0  # another token is another bucket


def test_time_refills_no_more_than_the_burst() -> None:
    """An idle night is no licence."""
    now = [0.0]
    pace = RateLimiter(lambda: now[0], per_second=10, burst=3)
    for _ in range(3):
        pace.reserve("a")
    now[0] = 1e6
    assert [pace.reserve("a") for _ in range(4)] == [0, 0, 0, pytest.approx(0.1)]


@given(st.lists(st.floats(0, 2), max_size=200))
def test_never_faster_than_promised(gaps: list[float]) -> None:
    """In any second after any gaps: no more than the burst and a second's worth."""
    now, times = 0.0, []
    clock = [now]
    pace = RateLimiter(lambda: clock[0], per_second=5, burst=4)
    for gap in gaps:
        clock[0] += gap
        times.append(clock[0] + pace.reserve("a"))
    for start in times:
        assert sum(start <= at < start + 1 for at in times) <= 4 + 5 + 1


def test_threads_share_a_bucket() -> None:
    """No permit is given twice."""
    pace = RateLimiter(lambda: 0.0, per_second=1, burst=1)
    waits: list[float] = []
    threads = [threading.Thread(target=lambda: waits.append(pace.reserve("a"))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(waits) == list(range(20))


def test_far_below_what_tiktok_allows() -> None:
    """Several relays may share a token and do not ask each other."""
    assert PER_SECOND + BURST <= 100


def test_a_limit_fills_again_with_time() -> None:
    """A burst, then so many a second; a key that is quiet has its burst again."""
    now = [0.0]
    limit = RateLimiter(lambda: now[0], per_second=0.5, burst=3)
    assert [limit.allow("a") for _ in range(4)] == [True, True, True, False]
    assert limit.allow("b")
    now[0] = 2.0
    assert [limit.allow("a") for _ in range(2)] == [True, False]
    now[0] = 1000.0
    assert [limit.allow("a") for _ in range(4)] == [True, True, True, False]


def test_a_limit_remembers_so_many_keys_and_no_more() -> None:
    """A flood from ever new addresses must not fill the memory; those heard last are remembered."""
    limit = RateLimiter(lambda: 0.0, per_second=0.0, burst=1, remembered=10)
    assert limit.allow("kept")
    for number in range(1000):
        assert limit.allow(f"new {number}")
        assert not limit.allow("kept")
    assert len(limit) == 10
