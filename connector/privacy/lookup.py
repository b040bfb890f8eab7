"""Read-only search for the data stored about a person, by their hashes and ids. Raises CannotStore."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import sqlalchemy as sa

from connector.core.store import Store
from connector.outbox.encryption import CannotDecrypt, decrypt
from connector.outbox.queries import OutboxQueries
from connector.privacy.data_subject import DataSubject, mentions
from connector.signals.click_memory import NOT_ERASED, clicks_of_person, identities, identities_of, recalled_by
from connector.storage.database import Database
from connector.storage.tables import clicks, events, signals, stores
from connector.storage.tables import identities as further_hashes

T = TypeVar("T")
CHUNK = 500  # rows per statement
PAGE = 50  # parked bodies in memory at once; each can have megabytes
PERSONAL = ("payload", "email", "phone", "external_id")


@dataclass(frozen=True, slots=True)
class PersonalData:
    """Ids of the rows about a person in one store.

    `unopenable` are parked bodies that no configured secret decrypts, so they may name the person.
    """

    waiting: tuple[int, ...] = ()
    finished: tuple[int, ...] = ()
    parked: tuple[int, ...] = ()
    unopenable: tuple[int, ...] = ()
    checkouts: tuple[str, ...] = ()  # tokens of checkouts with browser signals
    clicks: tuple[int, ...] = ()  # remembered clicks
    recalled: tuple[int, ...] = ()  # events of any store, not yet sent, with a click that may have been this store's

    def __bool__(self) -> bool:
        found = (self.waiting, self.finished, self.parked, self.unopenable, self.checkouts, self.clicks, self.recalled)
        return any(found)


class PersonalDataLookup:
    """Finds the data of a person. `configured` are the stores whose secrets are known."""

    def __init__(self, database: Database, configured: Mapping[str, Store]) -> None:
        self._database = database
        self.configured = configured
        self._queries = OutboxQueries(database)

    def stores(self) -> list[str]:
        """Return the names of all stores that were ever configured, and so can have data."""
        with self._database.read() as connection:
            return sorted({*connection.execute(sa.select(stores.c.name)).scalars(), *self.configured})

    def find(self, store: str, person: DataSubject) -> PersonalData:
        """Return the data stored about a person in a store."""
        with self._database.read() as connection:
            ids, tokens = self._events_of(connection, store, person)
            waiting, finished = self._with_personal_data(connection, ids)
            checkouts = self._with_signals(connection, store, tokens)
            clicks = self._clicks_of(connection, store, person, ids)
            recalled = self._recalled_of(connection, store, person)
        named, unopenable = self._parked_of(store, person)
        return PersonalData(
            tuple(waiting),
            tuple(finished),
            tuple(named),
            tuple(unopenable),
            tuple(checkouts),
            tuple(clicks),
            tuple(recalled),
        )

    def _events_of(self, connection: sa.Connection, store: str, person: DataSubject) -> tuple[set[int], set[str]]:
        """Return the ids of the person's events and the tokens of their checkouts.

        All events about the same order, checkout or customer are theirs, because one event can lack the e-mail that
        another one has; so are the events of the checkout that led to an order, if it is known.
        """
        by_hash = dict(self._by_hash(connection, store, person))
        ids, keys = {*by_hash}, {*by_hash.values(), *person.object_keys}
        keys |= set(self._keys_by_more_hashes(connection, store, person))
        for object_keys in in_chunks(sorted(keys - {""})):
            about = (events.c.store == store, events.c.object_key.in_(object_keys))
            ids |= set(connection.execute(sa.select(events.c.id).where(*about)).scalars())
        tokens = {key.removeprefix("checkout:") for key in keys if key.startswith("checkout:")}
        for object_keys in in_chunks(sorted(keys - {""})):
            of_orders = sa.select(signals.c.token).where(signals.c.store == store, signals.c.order_key.in_(object_keys))
            tokens |= set(connection.execute(of_orders).scalars())
        for numbers in in_chunks(sorted(ids)):
            known = sa.select(events.c.checkout).where(events.c.id.in_(numbers), events.c.checkout.is_not(None))
            tokens |= set(connection.execute(known).scalars())
        for checkouts in in_chunks(sorted(tokens)):
            same = (events.c.store == store, events.c.checkout.in_(checkouts))
            ids |= set(connection.execute(sa.select(events.c.id).where(*same)).scalars())
        return ids, tokens

    def _with_personal_data(self, connection: sa.Connection, ids: set[int]) -> tuple[list[int], list[int]]:
        """Return those of the events that still have personal data: the waiting and the finished ones."""
        found: tuple[list[int], list[int]] = ([], [])
        for chunk in in_chunks(sorted(ids)):
            query = sa.select(events.c.id, events.c.settled_at).where(events.c.id.in_(chunk), something_left())
            for row in connection.execute(query.order_by(events.c.id)):
                found[row.settled_at is not None].append(row.id)
        return found

    def _with_signals(self, connection: sa.Connection, store: str, tokens: set[str]) -> list[str]:
        """Return those of the checkouts that have browser signals to erase."""
        found: list[str] = []
        for chunk in in_chunks(sorted(tokens)):
            of_store = (signals.c.store == store, signals.c.token.in_(chunk))
            found += connection.execute(sa.select(signals.c.token).where(*of_store, ~is_consent_denial())).scalars()
        return found

    def _clicks_of(self, connection: sa.Connection, store: str, person: DataSubject, event_ids: set[int]) -> list[int]:
        """Return the ids of the person's remembered clicks: by their hashes, those of their events, and their orders.

        A click remembered with the same phone number is theirs, too, even if it came with another e-mail.
        """
        hashes = {"email": person.emails, "phone": person.phones, "external_id": person.external_ids}
        people, keys = identities(hashes, store), {*person.object_keys}
        for numbers in in_chunks(sorted(event_ids)):
            rows = connection.execute(sa.select(events).where(events.c.id.in_(numbers))).all()
            people |= {identity for row in rows for identity in identities_of(row._mapping)}
            keys |= {row.object_key for row in rows}
        for object_keys in in_chunks(sorted(keys - {""})):
            about = (clicks.c.store == store, clicks.c.object_key.in_(object_keys), NOT_ERASED)
            rows = connection.execute(sa.select(clicks).where(*about)).all()
            people |= {identity for row in rows for identity in identities_of(row._mapping)}
        found, _ = clicks_of_person(connection, people, clicks.c.store == store)
        return sorted(row.id for row in found)

    def _recalled_of(self, connection: sa.Connection, store: str, person: DataSubject) -> list[int]:
        """Return the ids of the person's events that wait with a remembered click, on the pixels of the store.

        Such an event may wait longer than the memory of where its click came from is kept.
        """
        known = self.configured.get(store)
        hashes = {"email": person.emails, "phone": person.phones, "external_id": person.external_ids}
        pixels = [pixel.code for pixel in known.pixels] if known else []
        return recalled_by(connection, identities(hashes, store), pixels) if pixels else []

    def _keys_by_more_hashes(self, connection: sa.Connection, store: str, person: DataSubject) -> Iterator[str]:
        digests = _bytes(person.emails | person.phones)
        query = sa.select(further_hashes.c.store, further_hashes.c.object_key)
        query = query.where(further_hashes.c.digest.in_(digests))
        yield from (row.object_key for row in connection.execute(query) if row.store == store)

    def _by_hash(self, connection: sa.Connection, store: str, person: DataSubject) -> Iterator[tuple[int, str]]:
        """Yield the ids and object keys of events that have one of the person's hashes."""
        for column, digests in (
            (events.c.email, person.emails),
            (events.c.phone, person.phones),
            (events.c.external_id, person.external_ids),
        ):
            # By the hash alone: with the store in the condition a database may read all rows of the store instead.
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
                except (KeyError, CannotDecrypt):
                    unopenable.append(item.id)
        return named, unopenable


def something_left() -> sa.ColumnElement[bool]:
    """Return the condition that an event waits or has personal data."""
    return sa.or_(events.c.settled_at.is_(None), *(events.c[name].is_not(None) for name in PERSONAL))


def is_consent_denial() -> sa.ColumnElement[bool]:
    """Return the condition that of an order's signals only the no is left.

    It is kept like the key of an event, so that no later webhook sends what the shopper has refused.
    """
    return sa.and_(signals.c.order_key.is_not(None), signals.c.consent == "denied")


def in_chunks(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield the rows in chunks of at most CHUNK."""
    for start in range(0, len(rows), CHUNK):
        yield rows[start : start + CHUNK]


def _bytes(digests: Iterable[str]) -> list[bytes]:
    return [bytes.fromhex(digest) for digest in sorted(digests)]
