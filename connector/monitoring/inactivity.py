"""Silence: whether a store that sends nothing is quieter than its own past explains.

The method, in words. A shop that has sent nothing for a while is compared with itself: how much arrived in the same
hours of each of the eight weeks before? Of these numbers the second lowest counts, so that a sale in one week and an
outage in another do not matter; weeks without anything are left out. The hours may lie an hour earlier or later,
whichever gives less, for clocks change. If the last two days were poorer than usual, less is expected now too. Nights,
weekends and opening hours need no settings, they are in the numbers.

Webhooks come in bunches: an order's creation, payment and updates, several orders after a newsletter. How much the
hours differ from their neighbours says how large the bunches are, and what is missing is counted in bunches. If bunches
come by chance, none where x are expected has the probability e^-x; a busy shop has more gaps in which this may happen.
So x must exceed 5 + ln(all bunches of the eight weeks), which chance alone reaches once in twenty years. Last, the gap
must be clearly longer, measured in what was missed, than any but one of the gaps of these eight weeks.

Two weeks must be known before anything is said. Everything here is pure; times are Unix seconds.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from connector.core.units import HOUR, WEEK

WEEKS = 8  # that are looked back on
FEWEST_WEEKS = 2
SHORTEST = 1800.0  # seconds; less is never called a silence
RECENT = 48 * HOUR
CERTAINTY = 5.0
UNLIKE_ANY = 1.5  # times as much must be missing as in the longest gap but one
UNUSUAL = 0.9  # of the hours are usual; openings and sales are no measure of bunches


@dataclass(frozen=True, slots=True)
class Inactivity:
    """Since when a store has been silent, and how many webhooks usually come in so many such hours."""

    since: float
    usual: int


def detect_inactivity(counts: Sequence[int], first: int, last_at: float, now: float) -> Inactivity | None:
    """A silence that the store's past does not explain, or None; None too as long as too little is known.

    `counts` are the webhooks of consecutive hours, the first of which begins at `first`; `last_at` is when the last
    one came.
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
    bunch = _bunch(past.counts)
    usual *= _level(past, weeks, bunch)
    if usual / bunch < CERTAINTY + math.log(max(past.sums[-1] / bunch, 1.0)):
        return None
    if usual < UNLIKE_ANY * _longest_but_one(past, len(weeks)):
        return None
    return Inactivity(last_at, round(usual))


@dataclass(frozen=True, slots=True)
class _Past:
    """The hours that are looked back on, the last of them being that of the last webhook."""

    counts: Sequence[int]
    sums: list[int]  # of all hours before
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
        """How many came; within an hour as if evenly."""
        return self._until(end) - self._until(start)

    def _until(self, moment: float) -> float:
        hours = min(max((moment - self.first) / HOUR, 0.0), float(len(self.counts)))
        whole = int(hours)
        part = hours - whole
        return self.sums[whole] + (part * self.counts[whole] if part else 0.0)

    def weeks(self) -> list[float]:
        """The beginnings of the whole weeks before the last webhook in which anything came."""
        starts = [self.last_at - n * WEEK for n in range(1, WEEKS + 1)]
        return [start for start in starts if start >= self.first and self.between(start, start + WEEK) > 0]


def _usual(past: _Past, weeks: Sequence[float], gap: float) -> float:
    """How many webhooks came in other weeks in as long a time, on the low side."""
    whole, rest = divmod(gap, WEEK)
    whole_week = _low([past.between(start, start + WEEK) for start in weeks]) if whole else 0.0
    shifts = (-HOUR, 0, HOUR)
    rests = [min(past.between(start + shift, start + shift + rest) for shift in shifts) for start in weeks]
    return whole * whole_week + _low(rests)


def _low(values: Sequence[float]) -> float:
    ordered = sorted(values)
    return ordered[0] if len(ordered) < 4 else ordered[1]


def _bunch(counts: Sequence[int]) -> float:
    """How many webhooks come together: 1 if each comes by itself.

    Of independent bunches the number in an hour varies by its root. An hour's distance from the mean of its
    neighbours shows that, and hardly the shape of the day.
    """
    found: list[float] = []
    for before, here, after in zip(counts, counts[1:], counts[2:], strict=False):
        if total := before + here + after:
            found.append((here - (before + after) / 2) ** 2 / (total / 2))  # 1.5 times the mean of the three
    usual = sorted(found)[: math.ceil(len(found) * UNUSUAL)]
    return max(1.0, sum(usual) / len(usual)) if usual else 1.0


def _level(past: _Past, weeks: Sequence[float], bunch: float) -> float:
    """The last two days as a part of what was usual, 1 at most; ten bunches more on both sides steady small numbers."""
    end = past.first + len(past.counts) * HOUR
    lately = past.between(past.last_at - RECENT, end)
    before = _low([past.between(start - RECENT, start) for start in weeks])
    return min(1.0, (lately + 10 * bunch) / (before + 10 * bunch))


def _longest_but_one(past: _Past, weeks: int) -> float:
    """What usually comes in the hours of the longest gap but one; the longest may have been an outage."""
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
