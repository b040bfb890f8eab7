"""The web process's check of the relay, because a dead relay cannot report itself."""

import logging
import time
from collections.abc import Callable
from threading import Lock

from connector.config.settings import Config
from connector.core.text import utc_minute
from connector.monitoring.problems import OVERDUE, alive
from connector.monitoring.rounds import RoundWatch
from connector.outbox.lanes import Lane
from connector.outbox.outbox import Outbox
from connector.outbox.queries import OutboxQueries

log = logging.getLogger(__name__)

LOOK_EVERY = 60.0  # seconds


class RelayWatch:
    """Logs an error and calls `report` when events are due and no relay has been running for OVERDUE seconds.

    The time before this process does not count: it may have started with the relay, after an outage. `clock` returns
    Unix seconds, `elapsed` seconds that never jump. `report` must not block.
    """

    def __init__(
        self,
        config: Config,
        outbox: Outbox,
        queries: OutboxQueries,
        clock: Callable[[], float] = time.time,
        elapsed: Callable[[], float] = time.monotonic,
        report: Callable[[], object] = lambda: None,
    ) -> None:
        self._lanes = {Lane(store.name, pixel.code) for store in config.stores.values() for pixel in store.pixels}
        self._lanes_added = False
        self._outbox = outbox
        self._queries = queries
        self._rounds = RoundWatch(outbox.database, config.stores)
        self._clock = clock
        self._elapsed = elapsed
        self._report = report
        self._began = self._alive_at = elapsed()
        self._logged_at = float("-inf")
        self._lock = Lock()

    def look(self) -> dict[str, str | int]:
        """Return the state of the relay and the number of refused pixels, for /readyz. Raises CannotStore."""
        now = self._clock()
        if not self._lanes_added:  # before the first relay starts, nothing else has added them
            self._outbox.add_lanes(self._lanes)
            self._lanes_added = True
        seen = self._queries.relay_seen()
        relay = _relay(seen, now)
        body: dict[str, str | int] = {"relay": relay, "refused_pixels": self._queries.suspended_lanes()}
        is_missing = self._missing_for(seen, now) >= OVERDUE
        due = self._queries.oldest_due(self._lanes, now) if is_missing else None
        if due is not None and now - due > OVERDUE:
            body["overdue"] = f"events have been due for {now - due:.0f} s and no relay is running"
            self._report_overdue(f"{body['overdue']} ({relay}); start `connector serve` or `connector relay`")
        if late := self._rounds.overdue(now):
            last = ", ".join(f"{store} ({utc_minute(since)})" for store, since in late.items())
            body["reconcile_overdue"] = f"missed orders have not been fetched since: {last}"
        return body

    def _missing_for(self, seen: float | None, now: float) -> float:
        """Return the seconds without a relay since this process began; `seen` is the last heartbeat, if one is left."""
        if alive(seen, now):
            self._alive_at = self._elapsed()
            return 0.0
        # A relay that ends in good order takes its heartbeat away.
        return min(abs(now - seen), self._elapsed() - self._began) if seen else self._elapsed() - self._alive_at

    def _report_overdue(self, message: str) -> None:
        with self._lock:
            if self._elapsed() - self._logged_at < LOOK_EVERY:
                return
            self._logged_at = self._elapsed()
        log.error("%s", message)
        self._report()


def _relay(seen: float | None, now: float) -> str:
    if not seen:
        return "never seen"
    return "alive" if alive(seen, now) else f"silent for {abs(now - seen):.0f} s"
