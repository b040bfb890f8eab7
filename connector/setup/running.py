"""The settings that run, as a fingerprint of each store: how a command sees that the server has not read a change yet.

The relay's process writes it to the table `setup`, about "running"; the dashboard, which reads the stores file itself,
does not need it. Raises CannotStore.
"""

import hashlib
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import sqlalchemy as sa

from connector.config.settings import Config
from connector.core.store import Store
from connector.storage.database import Database
from connector.storage.tables import setup

ABOUT = "running"
NOTED_EVERY = 60.0  # seconds; written again so that a database that was away at the start does not matter


class RunningSettings:
    """Writes and compares the fingerprints."""

    def __init__(self, database: Database, config: Config) -> None:
        self._database = database
        self._config = config

    def note(self) -> None:
        """Store that this process runs with these settings, in place of those of the last one."""
        now, stores = time.time(), self._config.stores.values()
        rows = [{"store": one.name, "about": ABOUT, "value": "true", "settings": self._digest(one)} for one in stores]
        insert = self._database.insert(setup)
        replaced = {name: insert.excluded[name] for name in ("settings", "at")}
        upsert = insert.on_conflict_do_update(index_elements=["store", "about"], set_=replaced)
        gone = sa.delete(setup).where(setup.c.about == ABOUT, setup.c.store.not_in([*self._config.stores]))
        with self._database.write() as connection:
            connection.execute(gone)
            connection.execute(upsert, [{**row, "at": now} for row in rows])

    def are_those_of(self, store: Store) -> bool:
        """Return True if the process that noted its settings last has the store with these."""
        of_store = (setup.c.store == store.name, setup.c.about == ABOUT)
        with self._database.read() as connection:
            noted = connection.execute(sa.select(setup.c.settings).where(*of_store)).scalar()
        return noted == self._digest(store)

    def _digest(self, store: Store) -> str:
        plain = _plain([self._config.public_url, self._config.events_api_url, store])
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    """Return settings as JSON can write them, the same in every process: a set has no order of its own."""
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: _plain(getattr(value, one.name)) for one in fields(value) if one.compare}
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(str(one) for one in value)
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [_plain(one) for one in value]
    return str(value)
