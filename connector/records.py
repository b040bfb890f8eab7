"""What is kept of a person, found by their hashes and ids, in events and in parked bodies. Nothing is changed here.

Raises CannotStore.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import sqlalchemy as sa

from connector.desk import Desk
from connector.parking import Unopenable, unseal
from connector.person import Person, is_named
from connector.store import Store
from connector.tables import events, identities, stores
from connector.transactions import Transactions

T = TypeVar("T")
AT_ONCE = 500  # rows a statement
PAGE = 50  # parked bodies in memory at once; each may have megabytes
PERSONAL = ("payload", "email", "phone", "external_id")


@dataclass(frozen=True, slots=True)
class Found:
    """Rows about a person in one store: events by whether they wait, and parked bodies by whether they open."""

    waiting: tuple[int, ...] = ()
    finished: tuple[int, ...] = ()
    parked: tuple[int, ...] = ()
    unopenable: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.waiting or self.finished or self.parked or self.unopenable)


class Records(Transactions):
    """All that is kept, as one who looks for a person sees it. `configured` are the stores whose secrets are known."""

    def __init__(self, engine: sa.Engine, configured: Mapping[str, Store]) -> None:
        super().__init__(engine)
        self.configured = configured
        self._desk = Desk(engine)

    def stores(self) -> list[str]:
        """All that were ever started here, and so may have left something."""
        with self._read() as connection:
            return sorted({*connection.execute(sa.select(stores.c.name)).scalars(), *self.configured})

    def find(self, store: str, person: Person) -> Found:
        """What is kept of a person in a store."""
        waiting, finished = self._events_of(store, person)
        named, unopenable = self._parked_of(store, person)
        return Found(tuple(waiting), tuple(finished), tuple(named), tuple(unopenable))

    def _events_of(self, store: str, person: Person) -> tuple[list[int], list[int]]:
        """Events with anything personal in them: those that wait, and those that have ended.

        All that is about the same order, checkout or customer is about the same person: an event may lack the e-mail
        that its neighbour has.
        """
        with self._read() as connection:
            theirs = dict(self._by_hash(connection, store, person))
            ids, keys = {*theirs}, {*theirs.values(), *person.object_keys}
            keys |= set(self._keys_by_more_hashes(connection, store, person))
            for named in parts(sorted(keys - {""})):
                about = sa.select(events.c.id).where(events.c.store == store, events.c.object_key.in_(named))
                ids |= set(connection.execute(about).scalars())
            found: tuple[list[int], list[int]] = ([], [])
            for some in parts(sorted(ids)):
                query = sa.select(events.c.id, events.c.settled_at).where(events.c.id.in_(some), something_left())
                for row in connection.execute(query.order_by(events.c.id)):
                    found[row.settled_at is not None].append(row.id)
        return found

    def _keys_by_more_hashes(self, connection: sa.Connection, store: str, person: Person) -> Iterator[str]:
        digests = _bytes(person.emails | person.phones)
        query = sa.select(identities.c.store, identities.c.object_key).where(identities.c.digest.in_(digests))
        yield from (row.object_key for row in connection.execute(query) if row.store == store)

    def _by_hash(self, connection: sa.Connection, store: str, person: Person) -> Iterator[tuple[int, str]]:
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

    def _parked_of(self, store: str, person: Person) -> tuple[list[int], list[int]]:
        named, unopenable, last = [], [], 0
        while page := self._desk.parked(store, PAGE, after=last):
            for item in page:
                last = item.id
                try:
                    shop = self.configured[store]
                    if is_named(person, item.topic, unseal(item.sealed, shop).body, shop):
                        named.append(item.id)
                except (KeyError, Unopenable):  # nobody can say that it does not name them, nor ever use it
                    unopenable.append(item.id)
        return named, unopenable


def something_left() -> sa.ColumnElement[bool]:
    """Whether anything of an event is to be erased."""
    return sa.or_(events.c.settled_at.is_(None), *(events.c[name].is_not(None) for name in PERSONAL))


def parts(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    """Some rows at a time."""
    for start in range(0, len(rows), AT_ONCE):
        yield rows[start : start + AT_ONCE]


def _bytes(digests: Iterable[str]) -> list[bytes]:
    return [bytes.fromhex(digest) for digest in sorted(digests)]
