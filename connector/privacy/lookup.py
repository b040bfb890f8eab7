"""What is kept of a person, found by their hashes and ids, in events and in parked bodies. Nothing is changed here.

Raises CannotStore.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import sqlalchemy as sa

from connector.core.store import Store
from connector.outbox.encryption import CannotDecrypt, decrypt
from connector.outbox.queries import OutboxQueries
from connector.privacy.data_subject import DataSubject, mentions
from connector.storage.database import Database
from connector.storage.tables import events, identities, signals, stores

T = TypeVar("T")
CHUNK = 500  # rows a statement
PAGE = 50  # parked bodies in memory at once; each may have megabytes
PERSONAL = ("payload", "email", "phone", "external_id")


@dataclass(frozen=True, slots=True)
class PersonalData:
    """Rows about a person in one store: events by whether they wait, and parked bodies by whether they open."""

    waiting: tuple[int, ...] = ()
    finished: tuple[int, ...] = ()
    parked: tuple[int, ...] = ()
    unopenable: tuple[int, ...] = ()
    checkouts: tuple[str, ...] = ()  # tokens of those that a browser has told of

    def __bool__(self) -> bool:
        return bool(self.waiting or self.finished or self.parked or self.unopenable or self.checkouts)


class PersonalDataLookup:
    """All that is kept, as one who looks for a person sees it. `configured` are the stores whose secrets are known."""

    def __init__(self, database: Database, configured: Mapping[str, Store]) -> None:
        self._database = database
        self.configured = configured
        self._queries = OutboxQueries(database)

    def stores(self) -> list[str]:
        """All that were ever started here, and so may have left something."""
        with self._database.read() as connection:
            return sorted({*connection.execute(sa.select(stores.c.name)).scalars(), *self.configured})

    def find(self, store: str, person: DataSubject) -> PersonalData:
        """What is kept of a person in a store."""
        with self._database.read() as connection:
            ids, tokens = self._events_of(connection, store, person)
            waiting, finished = self._left(connection, ids)
            told = self._told(connection, store, tokens)
        named, unopenable = self._parked_of(store, person)
        return PersonalData(tuple(waiting), tuple(finished), tuple(named), tuple(unopenable), tuple(told))

    def _events_of(self, connection: sa.Connection, store: str, person: DataSubject) -> tuple[set[int], set[str]]:
        """Numbers of events, and tokens of checkouts.

        All that is about the same order, checkout or customer is about the same person: an event may lack the e-mail
        that its neighbour has. So is an event of the checkout that the order came from, where that is known.
        """
        theirs = dict(self._by_hash(connection, store, person))
        ids, keys = {*theirs}, {*theirs.values(), *person.object_keys}
        keys |= set(self._keys_by_more_hashes(connection, store, person))
        for some in in_chunks(sorted(keys - {""})):
            about = (events.c.store == store, events.c.object_key.in_(some))
            ids |= set(connection.execute(sa.select(events.c.id).where(*about)).scalars())
        tokens = {key.removeprefix("checkout:") for key in keys if key.startswith("checkout:")}
        for numbers in in_chunks(sorted(ids)):
            known = sa.select(events.c.checkout).where(events.c.id.in_(numbers), events.c.checkout.is_not(None))
            tokens |= set(connection.execute(known).scalars())
        for some in in_chunks(sorted(tokens)):
            same = (events.c.store == store, events.c.checkout.in_(some))
            ids |= set(connection.execute(sa.select(events.c.id).where(*same)).scalars())
        return ids, tokens

    def _left(self, connection: sa.Connection, ids: set[int]) -> tuple[list[int], list[int]]:
        """Of these events those with anything personal in them that wait, and those that have ended."""
        found: tuple[list[int], list[int]] = ([], [])
        for some in in_chunks(sorted(ids)):
            query = sa.select(events.c.id, events.c.settled_at).where(events.c.id.in_(some), something_left())
            for row in connection.execute(query.order_by(events.c.id)):
                found[row.settled_at is not None].append(row.id)
        return found

    def _told(self, connection: sa.Connection, store: str, tokens: set[str]) -> list[str]:
        """Those of the checkouts that a browser has told of."""
        told: list[str] = []
        for some in in_chunks(sorted(tokens)):
            query = sa.select(signals.c.token).where(signals.c.store == store, signals.c.token.in_(some))
            told += connection.execute(query).scalars()
        return told

    def _keys_by_more_hashes(self, connection: sa.Connection, store: str, person: DataSubject) -> Iterator[str]:
        digests = _bytes(person.emails | person.phones)
        query = sa.select(identities.c.store, identities.c.object_key).where(identities.c.digest.in_(digests))
        yield from (row.object_key for row in connection.execute(query) if row.store == store)

    def _by_hash(self, connection: sa.Connection, store: str, person: DataSubject) -> Iterator[tuple[int, str]]:
        """Numbers of events, and what they are about."""
        for column, digests in (
            (events.c.email, person.emails),
            (events.c.phone, person.phones),
            (events.c.external_id, person.external_ids),
        ):
            # By the hash alone: with the store in the question a database may rather read all of the store's rows.
            query = sa.select(events.c.id, events.c.store, events.c.object_key).where(column.in_(_bytes(digests)))
            for row in connection.execute(query):
                if row.store == store:
                    yield row.id, row.object_key

    def _parked_of(self, store: str, person: DataSubject) -> tuple[list[int], list[int]]:
        named, unopenable, last = [], [], 0
        while page := self._queries.parked(store, PAGE, after=last):
            for item in page:
                last = item.id
                try:
                    shop = self.configured[store]
                    if mentions(person, item.topic, decrypt(item.sealed, shop).body, shop):
                        named.append(item.id)
                except (KeyError, CannotDecrypt):  # nobody can say that it does not name them, nor ever use it
                    unopenable.append(item.id)
        return named, unopenable


def something_left() -> sa.ColumnElement[bool]:
    """Whether anything of an event is to be erased."""
    return sa.or_(events.c.settled_at.is_(None), *(events.c[name].is_not(None) for name in PERSONAL))


def in_chunks(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    """Some rows at a time."""
    for start in range(0, len(rows), CHUNK):
        yield rows[start : start + CHUNK]


def _bytes(digests: Iterable[str]) -> list[bytes]:
    return [bytes.fromhex(digest) for digest in sorted(digests)]
