"""The table of public keys: written by the relay's process, read by those that receive webhooks."""

from collections.abc import Collection
from dataclasses import dataclass

import sqlalchemy as sa

from connector.storage.database import Database
from connector.storage.tables import public_keys


@dataclass(frozen=True, slots=True)
class StoredKeys:
    """The keys of one address as stored; times in Unix seconds, None for never."""

    address: str
    keys: str = ""
    fetched_at: float | None = None
    tried_at: float | None = None
    wanted_at: float | None = None
    error: str = ""


class PublicKeyTable:
    """Reads and writes the table. Methods raise CannotStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def read(self, addresses: Collection[str]) -> list[StoredKeys]:
        """Return what is stored of these addresses."""
        query = sa.select(public_keys).where(public_keys.c.address.in_(addresses))
        with self._database.read() as connection:
            return [StoredKeys(**row) for row in connection.execute(query).mappings()]

    def want(self, addresses: Collection[str], now: float) -> None:
        """Note that a webhook named a key that these addresses did not have."""
        self._write([{"address": address, "wanted_at": now} for address in sorted(addresses)])

    def store(self, address: str, keys: str, now: float) -> None:
        """Store the keys that were fetched."""
        self._write([{"address": address, "keys": keys, "fetched_at": now, "tried_at": now, "error": ""}])

    def fail(self, address: str, error: str, now: float) -> None:
        """Note a failed attempt; the keys fetched before stay in use."""
        self._write([{"address": address, "tried_at": now, "error": error[:500]}])

    def _write(self, rows: list[dict[str, str | float]]) -> None:
        with self._database.write() as connection:
            for row in rows:
                insert = self._database.insert(public_keys).values({"keys": "", "error": ""} | row)
                changed = {name: value for name, value in row.items() if name != "address"}
                connection.execute(insert.on_conflict_do_update(index_elements=["address"], set_=changed))
