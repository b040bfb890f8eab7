"""The periodic work for browsers' events: partitions, retention and bounds, by one process at a time."""

import logging
import time
from collections.abc import Callable, Mapping
from threading import Event

from connector.core.store import Store
from connector.core.units import HOUR
from connector.funnel.bounds import BoundsStore
from connector.funnel.retention import BATCH, FunnelRetention
from connector.storage.database import Database
from connector.storage.lease import Lease
from connector.storage.periodic import run_periodically

log = logging.getLogger(__name__)

EVERY = 60.0  # seconds between two rounds
SELDOM = float(HOUR)  # seconds; if no store has a funnel: rows can be left from before a change of settings
PAUSE = 0.2  # seconds between transactions, so that webhooks get the write lock
LEASE_SECONDS = 300.0


class FunnelJob:
    """Prepares, erases and measures while the relay runs. `clock` returns Unix seconds."""

    def __init__(
        self, database: Database, stores: Mapping[str, Store], owner: str, clock: Callable[[], float] = time.time
    ) -> None:
        self._retention = FunnelRetention(database)
        self._bounds = BoundsStore(database)
        self._stores = [store.name for store in stores.values() if store.funnel]
        self._lease = Lease(database, "funnel", LEASE_SECONDS)
        self._owner = owner
        self._clock = clock

    def run(self, stop: Event) -> None:
        """Run until `stop` is set."""
        interval = EVERY if self._stores else SELDOM
        release = lambda: self._lease.release(self._owner)  # noqa: E731
        run_periodically(lambda: self.round(stop), stop, name="funnel", interval=interval, first=1.0, release=release)

    def round(self, stop: Event) -> int:
        """Do everything that is due; return the number of erased rows. Nothing while another process does it."""
        erased = 0
        if not self._lease.take(self._owner, self._clock()):
            return erased
        if self._stores:
            self._retention.prepare(self._clock())
            self._bounds.update(self._stores, self._clock())
            self._bounds.forget(self._clock())
        while not stop.is_set() and self._lease.take(self._owner, self._clock()):
            number = self._retention.erase(self._clock())
            erased += number
            if number < BATCH:
                break
            stop.wait(PAUSE)
        return erased
