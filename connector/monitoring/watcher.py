"""The watcher finds and reports problems once a minute in the relay's process, in one process at a time.

`RelayAbsenceReporter` runs in the web processes, because a dead relay cannot report itself.
"""

import logging
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from threading import Event, Lock, Thread

from connector.monitoring.alerts import AlertStore, Problem
from connector.monitoring.notifier import Notifier
from connector.monitoring.problems import KINDS, NO_RELAY, SILENT, ProblemFinder
from connector.storage.database import CannotStore
from connector.storage.periodic import run_periodically

log = logging.getLogger(__name__)

EVERY = 60.0  # seconds between rounds
SELDOM = 300.0  # seconds between looks at what changes slowly
SETTLING = 1800.0  # seconds after the start during which a silent store is not reported: shops retry with delays

SlowFinder = tuple[Callable[[float], Iterable[Problem]], Collection[str]]  # finds the problems of some kinds


class Watcher:
    """Finds and reports problems while the relay runs. `clock` returns Unix seconds, `elapsed` monotonic seconds.

    `slow` finders are asked every SELDOM seconds.
    """

    def __init__(
        self,
        finder: ProblemFinder,
        alerts: AlertStore,
        notifier: Notifier,
        clock: Callable[[], float] = time.time,
        elapsed: Callable[[], float] = time.monotonic,
        slow: Sequence[SlowFinder] = (),
    ) -> None:
        self._finder = finder
        self._alerts = alerts
        self._notifier = notifier
        self._slow = slow
        self._clock = clock
        self._elapsed = elapsed
        self._began = elapsed()
        self._looked_at = float("-inf")

    def run(self, stop: Event, first: float = 15.0) -> None:
        """Run until `stop` is set; the first round begins after `first` seconds, when the relay has begun to send."""
        run_periodically(self.round, stop, name="watching", interval=EVERY, first=first, release=self._notifier.leave)

    def round(self) -> None:
        """Find problems, store them and send a message. Does nothing while another process holds the lease."""
        if not self._notifier.acquire_lease():
            return
        now = self._clock()
        self._alerts.note(self._finder.find(now), KINDS)
        silent = list(self._finder.find_silent(now))
        if self._elapsed() - self._began >= SETTLING:
            self._alerts.note(silent, {SILENT})
        if self._elapsed() - self._looked_at >= SELDOM:
            self._looked_at = self._elapsed()
            for find, kinds in self._slow:
                self._alerts.note(find(now), kinds)
        self._notifier.notify()


class RelayAbsenceReporter:
    """Reports from a web process that no relay is running, in a separate thread so that no request waits."""

    def __init__(self, alerts: AlertStore, notifier: Notifier) -> None:
        self._alerts = alerts
        self._notifier = notifier
        self._busy = Lock()

    def report(self) -> Thread | None:
        """Start a thread that reports, and return it; None while the previous one still runs."""
        if not self._busy.acquire(blocking=False):
            return None
        thread = Thread(target=self._report, daemon=True, name="no-relay")
        thread.start()
        return thread

    def _report(self) -> None:
        try:
            self._alerts.report(NO_RELAY.key, NO_RELAY.sentence)
            if self._notifier.acquire_lease():
                self._notifier.notify()
        except CannotStore as error:
            log.warning("could not report that no relay is running: %s", error)
        except Exception:
            log.exception("could not report that no relay is running")
        finally:
            self._busy.release()
