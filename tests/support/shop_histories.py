"""Invented shops: when their webhooks come, over many weeks, with nights, weekends, bunches, good days and bad ones."""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass

from connector.core.units import HOUR
from connector.monitoring.inactivity import Inactivity, detect_inactivity

MONDAY = 1_767_571_200  # a Monday, 00:00 UTC


@dataclass(frozen=True)
class Shop:
    """How many orders a day, by what shape; each order brings about `bodies` webhooks within minutes."""

    orders: float
    night: float = 0.03  # of the busiest hour, from 23 to 7 o'clock
    weekend: float = 0.5
    bodies: int = 3
    moods: float = 0.3  # how much days differ, as the deviation of a logarithm
    sale_every: int = 23  # days; then five times as much
    summer_time: int = -1  # the week in which clocks go forward an hour

    def rate(self, hour: int) -> float:
        """Orders in this hour (counted from a Monday's midnight) of an average week."""
        local = hour + (1 if 0 <= self.summer_time <= hour // 168 else 0)
        day, clock = local // 24 % 7, local % 24
        shape = 0.25 + 0.75 * math.sin(math.pi * (clock - 6) / 17) if 7 <= clock < 23 else self.night
        average = (5 + 2 * self.weekend) / 7 * (8 * self.night + 16 * 0.72) / 24
        return self.orders / 24 * shape * (self.weekend if day >= 5 else 1.0) / average


def arrivals(shop: Shop, weeks: int, seed: int) -> Iterator[tuple[int, int, list[float]]]:
    """Hour by hour: its number, how many webhooks, and when; in a busy hour only roughly when."""
    rng = random.Random(seed)
    late: list[float] = []  # updates that fall into later hours
    mood = 1.0
    for hour in range(weeks * 168):
        if hour % 24 == 0:
            sale = 5.0 if (hour // 24) % shop.sale_every == shop.sale_every - 1 else 1.0
            mood = math.exp(rng.gauss(0, shop.moods)) * sale
        start = MONDAY + hour * HOUR
        mean = shop.rate(hour) * mood
        if mean > 60:
            late.clear()
            number = max(1, round(rng.gauss(mean, math.sqrt(mean)) * shop.bodies))
            yield hour, number, [start + n * HOUR / 30 for n in range(30)]
            continue
        moment = start + (rng.expovariate(mean / HOUR) if mean else HOUR)
        while moment < start + HOUR:
            late.append(moment)
            late += [moment + rng.expovariate(1 / 240) for _ in range(rng.randint(0, 2 * (shop.bodies - 1)))]
            moment += rng.expovariate(mean / HOUR)
        now = sorted(at for at in late if at < start + HOUR)
        late = [at for at in late if at >= start + HOUR]
        yield hour, len(now), now


class Watched:
    """A shop that is watched: the longest moment of every gap is judged, for a gap only gets stranger with time."""

    def __init__(self, shop: Shop, weeks: int, seed: int) -> None:
        self.counts: list[int] = []
        self.alarms: list[Inactivity] = []
        self.last = 0.0
        for _, number, moments in arrivals(shop, weeks, seed):
            before = self.last
            for moment in moments:
                if before and moment - before >= 1800:
                    self._judge(before, moment)
                before = moment
            self.counts.append(number)
            self.last = before

    def _judge(self, last: float, now: float) -> None:
        if found := detect_inactivity(self.counts, MONDAY, last, now):
            self.alarms.append(found)

    def noticed_after(self) -> float:
        """Seconds of an outage that begins with the last webhook until it is noticed; to five minutes."""
        low, high = 0, 12 * 24 * 60  # sixty days
        while low < high:
            middle = (low + high) // 2
            if detect_inactivity(self.counts, MONDAY, self.last, self.last + middle * 300):
                high = middle
            else:
                low = middle + 1
        return low * 300.0


def outage(shop: Shop, weeks: int, seed: int, hour: int) -> Watched:
    """The shop falls silent for good after so many weeks, in this hour of the week."""
    watched = Watched(shop, 0, seed)
    for number, count, moments in arrivals(shop, weeks + 1, seed):
        if number >= weeks * 168 + hour:
            break
        watched.counts.append(count)
        watched.last = moments[-1] if moments else watched.last
    return watched
