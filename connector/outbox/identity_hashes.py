"""Further hashes of whom an event is about, when its payload has several e-mails or phones: so that they are found too.

Few events have any. They are there as long as a payload of the same order, checkout or customer is.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from connector.storage.tables import events, identities

Further = tuple[str, str, str]  # store, object_key, SHA-256 in hex


def store_hashes(connection: Connection, insert: Callable[[sa.Table], Any], found: Iterable[Further]) -> None:
    """Store them, but none of what was erased meanwhile. `insert` makes the database's own kind of INSERT."""
    for store, key, digest in sorted(set(found)):
        about = (events.c.store == store, events.c.object_key == key, events.c.payload.is_not(None))
        if connection.execute(sa.select(events.c.id).where(*about).limit(1)).first() is not None:
            row = {"digest": bytes.fromhex(digest), "store": store, "object_key": key}
            connection.execute(insert(identities).values(row).on_conflict_do_nothing())


def delete_hashes(connection: Connection, ids: Sequence[int]) -> None:
    """Drop those of whom these events were about, unless another event of the same object still has its payload."""
    about = sa.select(events.c.store, events.c.object_key).where(events.c.id.in_(ids))
    kept = sa.select(events.c.id).where(
        events.c.store == identities.c.store,
        events.c.object_key == identities.c.object_key,
        events.c.payload.is_not(None),
    )
    key = sa.tuple_(identities.c.store, identities.c.object_key)
    connection.execute(sa.delete(identities).where(key.in_(about), ~kept.exists()))
