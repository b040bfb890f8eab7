"""Guards of browsers' events: programs out, a few events for each browser and address, a share for each store.

Anybody can post such an event. All limits are those of one web process.
"""

import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import lru_cache

from connector.core.client_ip import rate_limit_key
from connector.core.funnel_token import address_prefix, check_token
from connector.core.rate_limit import RateLimiter
from connector.core.store import Store

# Events per address: burst, and rate per second; at most 1,860 in an hour. A browser reports a few a minute, and behind
# one address there may be an office, or some of a mobile network's shoppers.
ADDRESS_BURST, ADDRESS_RATE = 60, 0.5
# Tokens per address: a browser needs two in an hour.
TOKEN_BURST, TOKEN_RATE = 20, 0.1
USES = 60  # events per token
# Events per store, of those that pass all other guards. Ten million a day are 116 a second.
STORE_BURST, STORE_RATE = 1500, 150.0
# Requests of all stores, valid or not: the share of a process that browsers' events may take from webhooks.
PROCESS_BURST, PROCESS_RATE = 400, 200.0
REMEMBERED = 20_000  # addresses, about 4 MB
TOKENS_REMEMBERED = 50_000  # about 10 MB; a forgotten token starts again

# Words by which programs name themselves, as most do. "cubot" is a brand of phones.
_PROGRAM = re.compile(
    r"(?<!cu)bot(?![a-z])|bot[/;_-]|crawl|spider|slurp|archiver|headless|lighthouse|prerender|preview|scrape|fetcher|"
    r"monitor|pingdom|uptime|checker|validator|facebookexternalhit|whatsapp|mediapartners|apis-google|feedburner|"
    r"phantomjs|selenium|puppeteer|playwright|electron/|curl|wget|python|httpx|aiohttp|okhttp|java/|go-http|libwww|"
    r"node-fetch|axios|ruby|perl|php/|^mozilla/5\.0$"
)


@lru_cache(maxsize=4096)  # browsers of one version share their name
def is_program(user_agent: str) -> bool:
    """Return True if a user agent is not a shopper's browser: a crawler, a monitor, a library, or none at all."""
    return not user_agent or _PROGRAM.search(user_agent.lower()) is not None


def is_prefetch(headers: Mapping[str, str]) -> bool:
    """Return True if a browser loads the page without showing it. https://developer.mozilla.org/docs/Web/HTTP/Reference/Headers/Sec-Purpose"""
    purposes = (headers.get(name, "") for name in ("sec-purpose", "purpose", "x-moz", "x-purpose"))
    return any(word in purpose.lower() for purpose in purposes for word in ("prefetch", "prerender", "preview"))


class Guard:
    """The limits of one web process. `elapsed` returns monotonic seconds."""

    def __init__(self, elapsed: Callable[[], float] = time.monotonic) -> None:
        self._process = RateLimiter(elapsed, PROCESS_RATE, PROCESS_BURST)
        self._stores = RateLimiter(elapsed, STORE_RATE, STORE_BURST)
        self._addresses = RateLimiter(elapsed, ADDRESS_RATE, ADDRESS_BURST, REMEMBERED)
        self._token_requests = RateLimiter(elapsed, TOKEN_RATE, TOKEN_BURST, REMEMBERED)
        self._uses: OrderedDict[str, tuple[str, int]] = OrderedDict()  # by nonce: the network, and the events so far

    def admit(self) -> bool:
        """Return whether the process has a share left for another request."""
        return self._process.allow("")

    def admit_address(self, ip: str, number: int) -> bool:
        """Return whether a browser's address may report so many events; `ip` is "" if it is not public."""
        # An address that is not public belongs to a proxy, which all browsers share.
        return not ip or all(self._addresses.allow(rate_limit_key(ip)) for _ in range(number))

    def admit_token_request(self, ip: str) -> bool:
        """Return whether a browser's address may get another token."""
        return not ip or self._token_requests.allow(rate_limit_key(ip))

    def admit_events(self, store: Store, number: int) -> bool:
        """Return whether the store has a share left for so many events that have passed all other guards."""
        return all(self._stores.allow(store.name) for _ in range(number))

    def use_token(self, token: str, store: Store, address: str, number: int, now: float) -> bool:
        """Use a token for so many events; return False if it is not valid, or used up.

        `address` is that of the connection. A token of the shop's server is bound to the first network that uses it.
        """
        found = check_token(token, store, address, now)
        if found is None:
            return False
        key, network = f"{store.name} {found.nonce}", address_prefix(address)
        bound, used = self._uses.pop(key, (network, 0))
        allowed = bound == network and used + number <= USES
        self._uses[key] = (bound, used + number if allowed else used)
        if len(self._uses) > TOKENS_REMEMBERED:
            self._uses.popitem(last=False)
        return allowed
