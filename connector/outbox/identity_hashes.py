"""Further hashes of an event's person, for payloads with several e-mails or phones; search and erasure use them.

Few events have any. They are kept as long as a payload of the same order, checkout or customer.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from connector.storage.tables import events, identities

FurtherHash = tuple[str, str, str]  # store, object_key, SHA-256 in hex


def store_hashes(connection: Connection, insert: Callable[[sa.Table], Any], hashes: Iterable[FurtherHash]) -> None:
    """Store hashes, except for events erased in the meantime. `insert` builds the dialect's INSERT."""
    for store, key, digest in sorted(set(hashes)):
        about = (events.c.store == store, events.c.object_key == key, events.c.payload.is_not(None))
        if connection.execute(sa.select(events.c.id).where(*about).limit(1)).first() is not None:
            row = {"digest": bytes.fromhex(digest), "store": store, "object_key": key}
            connection.execute(insert(identities).values(row).on_conflict_do_nothing())


def delete_hashes(connection: Connection, ids: Sequence[int]) -> None:
    """Delete the hashes of these events' objects, unless another event of the object still has its payload."""
    about = sa.select(events.c.store, events.c.object_key).where(events.c.id.in_(ids))
    kept = sa.select(events.c.id).where(
        events.c.store == identities.c.store,
        events.c.object_key == identities.c.object_key,
        events.c.payload.is_not(None),
    )
    key = sa.tuple_(identities.c.store, identities.c.object_key)
    connection.execute(sa.delete(identities).where(key.in_(about), ~kept.exists()))
