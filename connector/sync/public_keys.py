"""Fetching of the public keys of shops that sign webhooks with a private key (RFC 7517), by the relay's process.

Fetched when they are not known yet, every hour, and when a webhook named an unknown key: then at most once a minute,
because anyone can send a webhook with an invented name.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from threading import Event

import httpx

from connector.core.public_keys import read_keys
from connector.core.store import Store
from connector.core.units import HOUR
from connector.storage.database import Database
from connector.storage.lease import Lease
from connector.storage.periodic import run_periodically
from connector.storage.public_keys import PublicKeyTable, StoredKeys

log = logging.getLogger(__name__)

LOOK_EVERY = 2.0  # seconds
REPEAT_AFTER = 60.0  # seconds between two attempts at one address
FIRST_REPEAT = 10.0  # seconds between them while none has succeeded yet
TIMEOUT = 10.0  # seconds for each read
ANSWERED_WITHIN = 20.0  # seconds for the whole answer; checked after each read, so one read timeout can come on top
MAX_ANSWER = 256 * 1024  # bytes; a key set has one or two keys of a kilobyte


class CannotFetchKeys(Exception):
    """The keys of an address cannot be fetched or read. The message says why."""


def fetch_keys(client: httpx.Client, address: str, elapsed: Callable[[], float] = time.monotonic) -> str:
    """Return the key set at an https address. Raises CannotFetchKeys. `elapsed` returns monotonic seconds."""
    begun = elapsed()
    try:
        with client.stream("GET", address, headers={"accept": "application/json"}) as answer:
            body = b""
            for part in answer.iter_bytes():
                body += part
                if len(body) > MAX_ANSWER:
                    raise CannotFetchKeys(f"{address} answers with more than {MAX_ANSWER} bytes")
                if elapsed() - begun > ANSWERED_WITHIN:
                    raise CannotFetchKeys(f"{address} does not answer within {ANSWERED_WITHIN:.0f} seconds")
    except httpx.HTTPError as error:
        raise CannotFetchKeys(f"{address} cannot be reached ({type(error).__name__})") from None
    if answer.status_code != 200:
        raise CannotFetchKeys(f"{address} answers {answer.status_code}, not 200")
    try:
        text = body.decode()
        read_keys(text)
    except ValueError as error:  # UnicodeDecodeError is one
        reason = "is not text" if isinstance(error, UnicodeDecodeError) else str(error)
        raise CannotFetchKeys(f"{address}: what it answers {reason}") from None
    return text


class KeyFetcher:
    """Fetches the keys of all stores that need it; a lease lets one process at a time do so."""

    def __init__(
        self,
        stores: Mapping[str, Store],
        database: Database,
        client: httpx.Client,
        owner: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._addresses = sorted({address for store in stores.values() for address in store.key_addresses})
        self._table = PublicKeyTable(database)
        self._client = client
        self._lease = Lease(database, "public keys", ANSWERED_WITHIN + TIMEOUT + 3 * LOOK_EVERY)
        self._owner = owner
        self._clock = clock

    def run(self, stop: Event) -> None:
        """Fetch until `stop` is set; end at once if no store needs it."""
        if self._addresses:
            release = self._release
            run_periodically(self.fetch_due, stop, name="public keys", interval=LOOK_EVERY, first=0.0, release=release)

    def fetch_due(self) -> None:
        """Fetch the keys of the addresses that are due. Raises CannotStore."""
        for address in [*self._due()]:
            if not self._lease.take(self._owner, self._clock()):
                return
            try:
                self._table.store(address, fetch_keys(self._client, address), self._clock())
                log.info("public keys fetched from %s", address)
            except CannotFetchKeys as error:
                self._table.fail(address, str(error), self._clock())
                log.warning("public keys: %s", error)

    def _due(self) -> Iterator[str]:
        stored = {row.address: row for row in self._table.read(self._addresses)}
        for address in self._addresses:
            if _is_due(stored.get(address) or StoredKeys(address), self._clock()):
                yield address

    def _release(self) -> None:
        self._lease.release(self._owner)


def _is_due(row: StoredKeys, now: float) -> bool:
    if row.tried_at is None:
        return True
    pause = REPEAT_AFTER if row.fetched_at is not None else FIRST_REPEAT
    if now - row.tried_at < pause:
        return False
    wanted = row.wanted_at is not None and row.wanted_at > row.tried_at
    return wanted or bool(row.error) or row.fetched_at is None or now - row.fetched_at > HOUR
