"""Limits on pages' reports. Anybody can post one; all limits are those of one web process."""

import time
from collections.abc import Callable, Mapping

from connector.core.client_ip import rate_limit_key
from connector.core.rate_limit import RateLimiter
from connector.funnel.guard import is_prefetch, is_program

# Reports per address: burst, and rate per second. A browser sends one an hour, and one with each step of an order; an
# office may be behind one address.
ADDRESS_BURST, ADDRESS_RATE = 30, 0.2
# Reports per store. A shop with a million visits a day has a dozen a second.
STORE_BURST, STORE_RATE = 400, 40.0
# Requests of all stores, before anything of them is read: the share of a process that reports may take from webhooks.
PROCESS_BURST, PROCESS_RATE = 200, 100.0
REMEMBERED = 20_000  # addresses, about 4 MB


class ReportGuard:
    """The limits of one web process. `elapsed` returns monotonic seconds."""

    def __init__(self, elapsed: Callable[[], float] = time.monotonic) -> None:
        self._process = RateLimiter(elapsed, PROCESS_RATE, PROCESS_BURST)
        self._addresses = RateLimiter(elapsed, ADDRESS_RATE, ADDRESS_BURST, REMEMBERED)
        self._stores = RateLimiter(elapsed, STORE_RATE, STORE_BURST)

    def admit_request(self) -> bool:
        """Return whether the process has a share left for another request."""
        return self._process.allow("")

    def admit(self, store: str, ip: str) -> bool:
        """Return whether an address may send another report to a store; `ip` is "" if it is not public."""
        # An address that is not public belongs to a proxy, which all browsers share.
        return (not ip or self._addresses.allow(rate_limit_key(ip))) and self._stores.allow(store)


def is_shoppers(headers: Mapping[str, str]) -> bool:
    """Return True unless the page was loaded by a program, or without being shown."""
    return not is_prefetch(headers) and not is_program(headers.get("user-agent", ""))
