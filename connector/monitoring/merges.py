"""Figures of the merge meter: what became of the two copies of each event, by store, pixel and event.

They are read from hourly numbers (`connector.meter.matching` counts them) and from the copies that still wait for the
server's; the cost does not grow with the number of events. Times are Unix seconds. Raises CannotStore.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa

from connector.core.store import BROWSER_MILESTONES, Store
from connector.monitoring.event_stats import EventStats, Statistic, quantile
from connector.storage.database import Database
from connector.storage.tables import browser_copies

EXPECTED_SOON = (
    600.0  # seconds in which the server's copy usually follows; a browser's copy does not count as alone before
)
KINDS = ("merged", "dropped", "server", "browser", "twice")
WHAT = ("sent", "copies", "distance", "amounts")
_NUMBERS = (*KINDS, "blocked", "same", "differs")


@dataclass(frozen=True, slots=True)
class MergeLine:
    """The copies of one event on one pixel in a period. Shares are of `orders`, what at least one side sent."""

    store: str
    pixel: str
    event: str
    merged: int = 0  # both, within 5 minutes
    dropped: int = 0  # both, later: TikTok ignores the second
    server: int = 0  # the server's alone
    browser: int = 0  # the browser's alone
    twice: int = 0  # further copies, under event_ids that are not the store's
    blocked: int = 0  # of `server`: a page reported that TikTok's script did not load
    same: int = 0  # both, with the same value
    differs: int = 0  # both, with another value or currency
    distances: Mapping[str, int] = field(default_factory=dict)  # by bucket

    @property
    def both(self) -> int:
        """The events that TikTok got from both sides under one event_id."""
        return self.merged + self.dropped

    @property
    def orders(self) -> int:
        """The events that at least one side sent."""
        return self.both + self.server + self.browser

    def share(self, number: int) -> float | None:
        """Return a number as a share of `orders`; None without any."""
        return number / self.orders if self.orders else None

    @property
    def median(self) -> float | None:
        """The median of the seconds between the two copies; None without any."""
        return quantile(self.distances, 0.5)

    @property
    def p95(self) -> float | None:
        """The 95th percentile of the seconds between the two copies."""
        return quantile(self.distances, 0.95)


def total(days: Iterable[Sequence[MergeLine]]) -> list[MergeLine]:
    """Return the sums of several days' figures by pixel and event."""
    sums: dict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)
    distances: dict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)
    for line in (line for lines in days for line in lines):
        place = line.store, line.pixel, line.event
        sums[place].update({name: getattr(line, name) for name in _NUMBERS})
        distances[place].update(line.distances)
    return [
        MergeLine(
            *place,
            merged=found["merged"],
            dropped=found["dropped"],
            server=found["server"],
            browser=found["browser"],
            twice=found["twice"],
            blocked=found["blocked"],
            same=found["same"],
            differs=found["differs"],
            distances=dict(distances[place]),
        )
        for place, found in sorted(sums.items())
    ]


class Merges:
    """Reads the figures."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._stats = EventStats(database)

    def lines(self, store: Store, since: float, until: float) -> list[MergeLine]:
        """Return the figures of a period for each web pixel and event that a browser sends, too."""
        return self._by_span(store, since, until, 400 * 86_400).get(0, [])

    def daily(self, store: Store, since: float, until: float) -> dict[int, list[MergeLine]]:
        """Return the figures by the start of each day, UTC."""
        return self._by_span(store, since, until, 86_400)

    def _by_span(self, store: Store, since: float, until: float, span: int) -> dict[int, list[MergeLine]]:
        counts: dict[tuple[int, str, str], dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
        names, pixels = browser_events(store), {pixel.code for pixel in store.pixels if pixel.source == "web"}
        whole = span > until - since
        for one in self._stats.read([store.name], WHAT, since, until, span):
            if one.event in names and one.pixel in pixels:
                counts[0 if whole else one.at, one.pixel, one.event][one.what][_detail(one)] += one.count
        for pixel, event, at, number in self._open(store.name, since, until - EXPECTED_SOON):
            start = 0 if whole else int(at) // span * span
            if event in names and pixel in pixels:
                counts[start, pixel, event]["copies"]["browser"] += number
        found: dict[int, list[MergeLine]] = defaultdict(list)
        for (start, pixel, event), group in sorted(counts.items()):
            found[start].append(_line(store.name, pixel, event, group))
        return dict(found)

    def _open(self, store: str, since: float, until: float) -> Iterable[tuple[str, str, int, int]]:
        """Return the copies that have waited for the server's for a while, by the start of their day."""
        copy = browser_copies.c
        days = copy.sent_at / 86_400
        # Not every SQLite has floor; its cast truncates, PostgreSQL's rounds.
        day = sa.cast(sa.func.floor(days) if self._database.is_postgresql else days, sa.BigInteger)
        waiting = (copy.store == store, copy.sent_at >= since, copy.sent_at < until, copy.state == "open")
        index = sa.text("browser_copies.state <> 'done'")  # its condition, in the same words, for SQLite
        query = sa.select(copy.pixel, copy.event, day, sa.func.count()).where(*waiting, index, copy.loaded == 1)
        with self._database.read() as connection:
            rows = connection.execute(query.group_by(copy.pixel, copy.event, day)).all()
        return [(row[0], row[1], int(row[2]) * 86_400, int(row[3])) for row in rows]


def browser_events(store: Store) -> set[str]:
    """Return the names of the events that the shop's browsers send, too."""
    return {name for milestone in BROWSER_MILESTONES for name in store.all_event_names(milestone)}


def _detail(one: Statistic) -> str:
    return one.detail.partition(" ")[0] if one.what == "sent" else one.detail


def _line(store: str, pixel: str, event: str, group: Mapping[str, Counter[str]]) -> MergeLine:
    copies, amounts = group["copies"], group["amounts"]
    merged, dropped = copies["merged"], copies["dropped"]
    return MergeLine(
        store,
        pixel,
        event,
        merged,
        dropped,
        server=max(0, group["sent"]["accepted"] - merged - dropped),
        browser=copies["browser"],
        twice=copies["twice"],
        blocked=copies["blocked"],
        same=amounts["same"],
        differs=amounts["differs"],
        distances=dict(group["distance"]),
    )
