"""Detection of inactivity: a store that has sent no webhooks for longer than its own history explains.

The expected number of webhooks is taken from the same hours of each of the eight weeks before. The second lowest of
these numbers is used, so that a sale in one week and an outage in another do not matter; weeks without webhooks are
left out. The hours can be shifted by one, whichever gives less, because of daylight saving time. If the last two days
had fewer webhooks than usual, fewer are expected now. Nights, weekends and opening hours are in the numbers and need
no settings.

Webhooks arrive in bursts: creation, payment and updates of an order, several orders after a newsletter. The variance
between neighbouring hours gives the size of a burst, and the missing webhooks are counted in bursts. If bursts occur at
random, the probability of none where x are expected is e^-x; a busy shop has more gaps in which this can happen. So x
must exceed 5 + ln(number of bursts in the eight weeks), which happens by chance once in twenty years. Finally, the gap
must be clearly longer, measured in expected webhooks, than all but one of the gaps of these eight weeks.

At least two weeks of history are needed. All functions are pure; times are Unix seconds.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from connector.core.units import HOUR, WEEK

WEEKS = 8  # of history
FEWEST_WEEKS = 2
SHORTEST = 1800.0  # seconds; a shorter gap is never reported
RECENT = 48 * HOUR
CERTAINTY = 5.0
UNLIKE_ANY = 1.5  # factor by which the gap must exceed the second longest one
UNUSUAL = 0.9  # share of the hours that measures bursts; the others are openings and sales


@dataclass(frozen=True, slots=True)
class Inactivity:
    """The time since which a store has been silent, and the usual number of webhooks in such a period."""

    since: float
    usual: int


def detect_inactivity(counts: Sequence[int], first: int, last_at: float, now: float) -> Inactivity | None:
    """Return an inactivity that the store's history does not explain, or None; None also with too little history.

    `counts` are the numbers of webhooks in consecutive hours, the first of which begins at `first`; `last_at` is the
    time of the last webhook.
    """
    if now - last_at < SHORTEST:
        return None
    past = _Past.of(counts, first, last_at)
    weeks = past.weeks()
    if len(weeks) < FEWEST_WEEKS:
        return None
    usual = _usual(past, weeks, now - last_at)
    if usual < CERTAINTY:
        return None
    burst = _burst_size(past.counts)
    usual *= _recent_level(past, weeks, burst)
    if usual / burst < CERTAINTY + math.log(max(past.sums[-1] / burst, 1.0)):
        return None
    if usual < UNLIKE_ANY * _second_longest_gap(past, len(weeks)):
        return None
    return Inactivity(last_at, round(usual))


@dataclass(frozen=True, slots=True)
class _Past:
    """The hours of history up to that of the last webhook."""

    counts: Sequence[int]
    sums: list[int]  # cumulative: of all hours before
    first: int
    last_at: float

    @classmethod
    def of(cls, counts: Sequence[int], first: int, last_at: float) -> "_Past":
        end = int(last_at - first) // HOUR + 1
        begin = max(0, end - WEEKS * WEEK // HOUR - 2)
        begin = next((n for n in range(begin, min(end, len(counts))) if counts[n]), end)
        kept = counts[begin:end]
        return cls(kept, [0, *accumulate(kept)], first + begin * HOUR, last_at)

    def between(self, start: float, end: float) -> float:
        """Return the number of webhooks in a period, interpolated linearly within an hour."""
        return self._until(end) - self._until(start)

    def _until(self, moment: float) -> float:
        hours = min(max((moment - self.first) / HOUR, 0.0), float(len(self.counts)))
        whole = int(hours)
        part = hours - whole
        return self.sums[whole] + (part * self.counts[whole] if part else 0.0)

    def weeks(self) -> list[float]:
        """Return the beginnings of the whole weeks before the last webhook that have any webhooks."""
        starts = [self.last_at - n * WEEK for n in range(1, WEEKS + 1)]
        return [start for start in starts if start >= self.first and self.between(start, start + WEEK) > 0]


def _usual(past: _Past, weeks: Sequence[float], gap: float) -> float:
    """Return a low estimate of the webhooks in a gap of this many seconds, from the same time in other weeks."""
    whole, rest = divmod(gap, WEEK)
    whole_week = _second_lowest([past.between(start, start + WEEK) for start in weeks]) if whole else 0.0
    shifts = (-HOUR, 0, HOUR)
    rests = [min(past.between(start + shift, start + shift + rest) for shift in shifts) for start in weeks]
    return whole * whole_week + _second_lowest(rests)


def _second_lowest(values: Sequence[float]) -> float:
    ordered = sorted(values)
    return ordered[0] if len(ordered) < 4 else ordered[1]


def _burst_size(counts: Sequence[int]) -> float:
    """Return the mean number of webhooks in a burst, at least 1.

    For independent bursts, the variance of the number in an hour equals its mean. The difference between an hour and
    the mean of its neighbours measures it almost independently of the time of day.
    """
    ratios: list[float] = []
    for before, here, after in zip(counts, counts[1:], counts[2:], strict=False):
        if total := before + here + after:
            ratios.append((here - (before + after) / 2) ** 2 / (total / 2))  # 1.5 times the mean of the three
    usual = sorted(ratios)[: math.ceil(len(ratios) * UNUSUAL)]
    return max(1.0, sum(usual) / len(usual)) if usual else 1.0


def _recent_level(past: _Past, weeks: Sequence[float], burst: float) -> float:
    """Return the webhooks of the last two days as a share of the usual number, at most 1.

    Ten bursts are added to both numbers to smooth small ones.
    """
    end = past.first + len(past.counts) * HOUR
    recent = past.between(past.last_at - RECENT, end)
    before = _second_lowest([past.between(start - RECENT, start) for start in weeks])
    return min(1.0, (recent + 10 * burst) / (before + 10 * burst))


def _second_longest_gap(past: _Past, weeks: int) -> float:
    """Return the usual number of webhooks in the second longest gap; the longest can have been an outage."""
    slots = WEEK // HOUR
    profile = [sum(past.counts[slot::slots]) / weeks for slot in range(slots)]
    gaps = [0.0, 0.0]
    missed = 0.0
    for number, count in enumerate(past.counts):
        if count:
            gaps.append(missed)
            missed = 0.0
        else:
            missed += profile[number % slots]
    return sorted(gaps)[-2]
