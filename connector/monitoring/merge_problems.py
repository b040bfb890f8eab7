"""Problems that pages' reports show, of stores with a meter.

    foreign   other code sends an event under event_ids of its own, so TikTok counts it twice
    values    the browser's copies have other values than the server's
    snippet   no page has reported for longer than the store's orders explain

Times are Unix seconds. Raises CannotStore.
"""

import math
from collections.abc import Iterator, Mapping

from connector.core.store import Store
from connector.core.text import utc_minute
from connector.core.units import DAY, HOUR
from connector.monitoring.alerts import Problem
from connector.monitoring.merges import MergeLine, Merges
from connector.monitoring.snippets import last_report
from connector.storage.database import Database

KINDS = frozenset({"foreign", "values", "snippet"})
FEWEST = 3  # orders of the last day; fewer can be a test
DISAGREE = 0.05  # share of the orders with both copies
HISTORY = 14 * DAY  # before the last report, from which the usual share of reports is taken
SHORTEST = HOUR  # seconds; a shorter silence is never reported
# Reports come with orders independently of each other, so the chance of none where x are expected is at most e^-x. A
# silence can begin after each order of the history, so x must exceed 6 + ln(orders): by chance once in 15 years.
CERTAINTY = 6.0


class MergeProblemFinder:
    """Finds the problems of the configured stores."""

    def __init__(self, database: Database, stores: Mapping[str, Store]) -> None:
        self._database = database
        self._stores = [store for store in stores.values() if store.meter]
        self._merges = Merges(database)

    def find(self, now: float) -> Iterator[Problem]:
        """Yield all problems of KINDS."""
        for store in self._stores:
            for line in self._merges.lines(store, now - DAY, now):
                yield from _line_problems(line)
            yield from self._silent(store, now)

    def _silent(self, store: Store, now: float) -> Iterator[Problem]:
        last = last_report(self._database, store.name)
        if last is None or now - last < SHORTEST:
            return
        begin = int(last) // HOUR * HOUR + HOUR  # orders are known by the hour
        missed = sum(self._reports_expected(store, begin, now))
        if missed:
            yield Problem(
                f"snippet:{store.name}",
                f"store {store.name}: the snippet has gone silent: no page has reported since {utc_minute(last)}, "
                f"although {missed} orders came since; see that it is still in the shop's pages; print and paste it "
                f"again (`connector snippet {store.name}`)",
            )

    def _reports_expected(self, store: Store, begin: int, now: float) -> Iterator[int]:
        """Yield the number of orders since `begin`, if pages would have reported some of them."""
        usual = {
            (line.pixel, line.event): line
            for line in self._merges.lines(store, begin - HISTORY, begin)
            if line.both + line.blocked
        }
        for line in self._merges.lines(store, begin, now):
            before = usual.get((line.pixel, line.event))
            if before is None or not before.orders:
                continue
            orders = before.both + before.server
            expected = line.server * (before.both + before.blocked) / orders
            if expected > CERTAINTY + math.log(orders):
                yield line.server
                return


def _line_problems(line: MergeLine) -> Iterator[Problem]:
    place = f"store {line.store}, pixel {line.pixel}"
    if line.twice >= FEWEST:
        yield Problem(
            f"foreign:{line.store}:{line.pixel}:{line.event}",
            f"{place}: TikTok's own app, or other code, fires {line.event} under other event_ids on this pixel "
            f"({line.twice} in the last day), so TikTok counts these orders twice; switch its data sharing off, or "
            "give it another pixel (docs/merging.md)",
        )
    compared = line.same + line.differs
    if line.differs >= FEWEST and line.differs >= DISAGREE * compared:
        yield Problem(
            f"values:{line.store}:{line.pixel}:{line.event}",
            f"{place}: browser and server disagree on the value of {line.event} in {line.differs} of the last day's "
            f"{compared} orders with both copies, and TikTok keeps the one that arrives first; print and paste the "
            f"snippet again (`connector snippet {line.store}`), or see docs/merging.md",
        )
