"""Reading of public keys from the database into the key rings of the stores, in a thread beside the event loop."""

import logging
import time
from collections.abc import Callable, Mapping

from connector.core.store import Store
from connector.storage.public_keys import PublicKeyTable

log = logging.getLogger(__name__)

READ_EVERY = 2.0  # seconds: a shop repeats a webhook that was answered 503 after 10 seconds


class KeyReader:
    """Reads the keys of the stores whose settings name an address of them; one for each process that verifies."""

    def __init__(
        self, stores: Mapping[str, Store], table: PublicKeyTable, clock: Callable[[], float] = time.time
    ) -> None:
        self._stores = [store for store in stores.values() if store.key_addresses]
        self._table = table
        self._clock = clock
        self._read: dict[str, str] = {}

    @property
    def needed(self) -> bool:
        """True if a store's keys are fetched; without one, `read` costs nothing."""
        return bool(self._stores)

    def read(self) -> None:
        """Ask for the keys that webhooks named and nobody knows, and take over what has been fetched.

        Raises CannotStore; the next call asks again.
        """
        if not self._stores:
            return
        unknown = {address for store in self._stores if store.keys.wanted for address in store.key_addresses}
        if unknown:
            self._table.want(unknown, self._clock())
            for store in self._stores:
                store.keys.wanted = False
        addresses = {address for store in self._stores for address in store.key_addresses}
        stored = {row.address: row.keys for row in self._table.read(addresses) if row.keys}
        if stored == self._read:
            return
        for store in self._stores:
            try:
                store.keys.replace(stored[address] for address in store.key_addresses if address in stored)
            except ValueError as error:  # only if somebody changed the table: they were read when they were fetched
                log.error("the stored public keys cannot be read: %s", error, extra={"store": store.name})
        self._read = stored
