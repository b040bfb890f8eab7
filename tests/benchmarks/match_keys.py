"""How often the alert about match keys is wrong, and how soon it comes, on simulated shops.

    python -m tests.benchmarks.match_keys [--years 300]

A shop has its orders a day, at random, with fewer at weekends; a key has its usual share, which differs at weekends and
wanders from day to day as campaigns come and go. The figures are in docs/merging.md.
"""

import argparse
import math
import random
from collections.abc import Iterator

from connector.monitoring.key_trends import NEEDED, detect_fall

ORDERS = (2, 50, 5000)  # a day
KEYS = (0.98, 0.9, 0.6, 0.35, 0.1)  # the usual share
WANDERS = 0.3  # standard deviation of the share's day-to-day change of course, in logits
WEEKEND = 0.3  # logits by which it differs at weekends
FALLS = (0.2, 0.5)  # points


class Shop:
    """A shop's days: (orders, those with the key). From day `falls_on`, the share is lower by `fall`."""

    def __init__(self, orders: int, share: float, rng: random.Random, wanders: float = WANDERS) -> None:
        self.orders, self.share, self.rng = orders, share, rng
        self.wanders, self.course = wanders, 0.0

    def days(self, number: int, falls_on: int = 10**9, fall: float = 0.0) -> Iterator[tuple[int, int]]:
        for day in range(number):
            # The course returns to the usual: half of a deviation is gone after five days.
            self.course = 0.87 * self.course + self.rng.gauss(0, self.wanders * math.sqrt(1 - 0.87**2))
            weekend = day % 7 in (5, 6)
            logit = math.log(self.share / (1 - self.share)) + self.course - WEEKEND * weekend
            share = max(0.0, 1 / (1 + math.exp(-logit)) - (fall if day >= falls_on else 0.0))
            events = self._events(self.orders * (0.7 if weekend else 1.12))
            yield events, self._having(events, share)

    def _events(self, mean: float) -> int:
        if mean > 100:
            return max(0, round(self.rng.gauss(mean, math.sqrt(mean))))
        chance, number = self.rng.random(), 0
        weight = math.exp(-mean)
        while chance > weight and number < 10 * mean + 50:
            chance -= weight
            number += 1
            weight *= mean / number
        return number

    def _having(self, events: int, share: float) -> int:
        if events > 100:
            found = self.rng.gauss(events * share, math.sqrt(events * share * (1 - share)))
            return min(events, max(0, round(found)))
        return sum(self.rng.random() < share for _ in range(events))


def false_alarms(orders: int, share: float, days: int, rng: random.Random) -> int:
    """The alerts that begin in so many days, though nothing has changed."""
    found = [*Shop(orders, share, rng).days(NEEDED + days)]
    alarms, open_ = 0, False
    for end in range(NEEDED, len(found) + 1):
        now = detect_fall(found[end - NEEDED : end]) is not None
        alarms += now and not open_
        open_ = now
    return alarms


def days_until_found(orders: int, share: float, fall: float, rng: random.Random) -> int | None:
    """The days from a fall to its alert; None if there is none in four weeks."""
    found = [*Shop(orders, share, rng).days(NEEDED + 28, NEEDED, fall)]
    ends = range(NEEDED + 1, len(found) + 1)
    return next((end - NEEDED for end in ends if detect_fall(found[end - NEEDED : end])), None)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--years", type=int, default=300, help="simulated years for each kind of shop")
    years = parser.parse_args().years
    rng = random.Random(1)
    for orders in ORDERS:
        each = max(1, years // len(KEYS))
        alarms = sum(false_alarms(orders, share, 365 * each, rng) for share in KEYS)
        print(f"{orders} orders a day: {alarms} false alarms in {each * len(KEYS)} years of a key")
        for fall in FALLS:
            for share in (share for share in KEYS if share > fall):
                tries = [days_until_found(orders, share, fall, rng) for _ in range(100)]
                known = sorted(one for one in tries if one is not None)
                median = known[len(known) // 2] if len(known) > 50 else "–"
                falls = f"from {share:.0%} to {share - fall:.0%}"
                print(f"  {falls}: found in {len(known)} of 100, after {median} days (median)")


if __name__ == "__main__":
    main()
