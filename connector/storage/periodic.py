"""Work repeated at an interval until the process ends, such as retention, monitoring and erasure."""

import logging
from collections.abc import Callable
from threading import Event

from connector.storage.database import CannotStore

log = logging.getLogger(__name__)


def run_periodically(
    work: Callable[[], object],
    stop: Event,
    *,
    name: str,
    interval: float,
    first: float | None = None,
    release: Callable[[], None] = lambda: None,
) -> None:
    """Call `work` every `interval` seconds until `stop` is set, the first time after `first` seconds.

    A failed call is logged under `name` and repeated after the interval. `release` is called at the end; it gives up a
    lease, so that another process need not wait until the lease expires.
    """
    pause = interval if first is None else first
    while not stop.wait(pause):
        pause = interval
        try:
            work()
        except CannotStore as error:
            log.warning("%s waits, the database does not answer: %s", name, error)
        except Exception:
            log.exception("%s failed", name)
    try:
        release()
    except CannotStore as error:
        log.info("%s: the lease could not be released and will expire: %s", name, error)
