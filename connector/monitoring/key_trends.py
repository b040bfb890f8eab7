"""Match keys over time: the share of an event's accepted copies that had each key, and falls below its own past.

Of whole days (UTC) only. The present is the last day, or as many as have FEWEST events, at most two weeks. The past is
the six weeks that ended GAP days before the present, so that a fall is not soon taken for the usual. A share has fallen
if it is lower than that of the past by more than each of these:

- LEAST points;
- 4 standard errors of the difference, as if each event had the key by chance: what few events explain;
- 6 standard deviations of the past, measured in stretches as long as the present, and 4 of them below its lowest
  stretch: what this shop's weekdays, campaigns and seasons explain. With few stretches the factors are larger.

docs/merging.md has how often this is wrong, measured on simulated shops. Pure functions and one reader; times are Unix
seconds. Raises CannotStore.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from connector.core.store import Store
from connector.core.text import percent
from connector.core.units import DAY
from connector.monitoring.alerts import Problem
from connector.monitoring.event_stats import KEYS, EventStats
from connector.storage.database import Database

KIND = "keys"
FEWEST = 20  # events of the present
LONGEST = 14  # days of the present
GAP = 14  # days between the past and the present
PAST = 42  # days
FEWEST_PAST = 14  # days of the past that must be there
LEAST = 0.1
BY_CHANCE = 4.0  # standard errors
BY_ITSELF, BELOW_LOWEST = 6.0, 4.0  # standard deviations
NEEDED = LONGEST + GAP + PAST  # days


@dataclass(frozen=True, slots=True)
class KeyDay:
    """One day's accepted events of a name, and how many of them had each match key."""

    day: int
    total: int
    keys: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Fall:
    """A share that has fallen, from `past` to `present`, which is of the last `days` days."""

    past: float
    present: float
    days: int


class KeyTrends:
    """Reads the daily numbers of a store."""

    def __init__(self, database: Database) -> None:
        self._stats = EventStats(database)

    def daily(self, store: str, first: int, until: float) -> dict[tuple[str, str], list[KeyDay]]:
        """Return by (pixel, event) a row for each day from that of `first` until the whole one before `until`."""
        first, end = first // DAY * DAY, int(until) // DAY * DAY
        counts: dict[tuple[str, str], dict[int, dict[str, int]]] = defaultdict(lambda: defaultdict(dict))
        for one in self._stats.read([store], ["keys"], first, end, DAY):
            counts[one.pixel, one.event][one.at][one.detail] = one.count
        days = range(first, end, DAY)
        return {place: [_key_day(day, found.get(day, {})) for day in days] for place, found in sorted(counts.items())}


class KeyProblemFinder:
    """Finds the match keys that have fallen, of the configured stores."""

    def __init__(self, database: Database, stores: Mapping[str, Store]) -> None:
        self._trends = KeyTrends(database)
        self._stores = stores

    def find(self, now: float) -> Iterator[Problem]:
        """Yield a problem for each event some of whose keys have fallen."""
        for store in self._stores.values():
            codes = {pixel.code for pixel in store.pixels}
            for (pixel, event), days in self._trends.daily(store.name, int(now) - NEEDED * DAY, now).items():
                fallen = {key: fall for key in KEYS if (fall := detect_fall(_counts(days, key)))}
                if fallen and pixel in codes:
                    yield _problem(store, pixel, event, fallen)


def detect_fall(days: Sequence[tuple[int, int]]) -> Fall | None:
    """Return the fall of a key's share, or None. `days` are (events, those with the key), the last whole day last."""
    length, total, having = 0, 0, 0
    while total < FEWEST and length < min(LONGEST, len(days)):
        length += 1
        total, having = total + days[-length][0], having + days[-length][1]
    end = len(days) - length - GAP
    past = days[max(0, end - PAST) : max(0, end)]
    first = next((number for number, (events, _) in enumerate(past) if events), len(past))
    past = past[first:]
    past_total = sum(events for events, _ in past)
    if total < FEWEST or len(past) < FEWEST_PAST or past_total < 2 * FEWEST:
        return None
    before, share = sum(having for _, having in past) / past_total, having / total
    # Of the two variances the greater: near 0 and 1 the other one takes what few events do by chance for a fall.
    error = math.sqrt(max(before * (1 - before), share * (1 - share)) * (1 / total + 1 / past_total))
    least = max(LEAST, BY_CHANCE * error, _caution(past, length))
    return Fall(before, share, length) if before - share > least else None


def _caution(past: Sequence[tuple[int, int]], length: int) -> float:
    """Return the fall that the share's own ups and downs explain, by stretches of `length` days.

    The standard deviation of few stretches is itself uncertain; 1 + 4 ÷ n is near the ratio of Student's t at this
    level to the normal distribution.
    """
    stretches = [past[start : start + length] for start in range(len(past) % length, len(past), length)]
    sums = [(sum(one[0] for one in stretch), sum(one[1] for one in stretch)) for stretch in stretches]
    shares = [having / events for events, having in sums if events]
    if len(shares) < 2:
        return 1.0
    mean = sum(shares) / len(shares)
    deviation = math.sqrt(sum((share - mean) ** 2 for share in shares) / (len(shares) - 1))
    deviation *= 1 + 4 / len(shares)
    return max(BY_ITSELF * deviation, mean - min(shares) + BELOW_LOWEST * deviation)


def _key_day(day: int, found: Mapping[str, int]) -> KeyDay:
    keys = dict.fromkeys(KEYS, 0)
    for combination, number in found.items():
        for key in combination.split():
            if key in keys:
                keys[key] += number
    return KeyDay(day, sum(found.values()), keys)


def _counts(days: Sequence[KeyDay], key: str) -> list[tuple[int, int]]:
    return [(day.total, day.keys[key]) for day in days]


def _problem(store: Store, pixel: str, event: str, fallen: Mapping[str, Fall]) -> Problem:
    falls = ", ".join(
        f"{key} from {percent(fall.past, 1)} to {percent(fall.present, 1)}" for key, fall in fallen.items()
    )
    days = max(fall.days for fall in fallen.values())
    period = "on the last day" if days == 1 else f"in the last {days} days"
    return Problem(
        f"{KIND}:{store.name}:{pixel}:{event}",
        f"store {store.name}, pixel {pixel}: fewer {event} events have the match keys that TikTok finds people by: "
        f"{falls} of them {period}; see docs/merging.md for the usual causes",
    )
