"""Whom an erasure or an export is about: by hashes and ids, never in plain; and whether a body names them."""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from msgspec import Struct

from connector.core.event import DataRequest
from connector.core.store import Store
from connector.mapping import hashing
from connector.mapping.event_id import fill_template, object_key

_ADDRESS = re.compile(r"[^\s\"'<>(),;:\\\[\]]+@[^\s\"'<>(),;:\\\[\]@]+")
_FEWEST, _MOST, _LONGEST = 6, 15, 40  # digits of a phone number, and characters of one however it is written


class DataSubject(Struct, frozen=True):
    """SHA-256 in hex of e-mails, phones and external_ids as the payloads have them; ids as the shop has them."""

    emails: frozenset[str] = frozenset()
    phones: frozenset[str] = frozenset()
    external_ids: frozenset[str] = frozenset()
    customer_id: str = ""
    order_ids: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return any((self.emails, self.phones, self.external_ids, self.customer_id, self.order_ids))

    @property
    def object_keys(self) -> list[str]:
        """The orders and the customer, as the outbox names them."""
        keys = [object_key("order_placed", {"order_id": found}) for found in sorted(self.order_ids)]
        return keys + (
            [object_key("customer_registered", {"customer_id": self.customer_id})] if self.customer_id else []
        )


def data_subject_of(demand: DataRequest, store: Store | None) -> DataSubject:
    """Hashed as this store's events are; a phone without country code is taken for one of the store's country.

    Without a store only what is the same in all of them is known: no external_id.
    """
    country = store.country if store else ""
    ids = {"customer_id": demand.customer_id} if demand.customer_id else {}
    external = hashing.external_id(fill_template(store.external_id, ids)) if store else ""
    return DataSubject(
        emails=_some(hashing.email(raw) for raw in demand.emails),
        phones=_some(hashing.phone(raw, country) for raw in demand.phones),
        external_ids=_some([external]),
        customer_id=demand.customer_id,
        order_ids=frozenset(demand.order_ids),
    )


def mentions(person: DataSubject, topic: str, body: bytes, store: Store) -> bool:
    """Whether a webhook's body names them. One that cannot be read may: nobody could say that it does not."""
    try:
        leaves = list(_leaves(json.loads(body), ()))
    except (ValueError, RecursionError):
        return True
    countries = {store.country} | {value.upper() for path, value in leaves if _is_country(path, value)}
    return any(
        _is_theirs(person, topic, path, value)
        or (isinstance(value, str) and (_has_email(person, value) or _has_phone(person, value, countries)))
        for path, value in leaves
    )


def _leaves(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield path, key
            yield from _leaves(inner, (*path, key))
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner, path)
    else:
        yield path, value


def _is_country(path: tuple[str, ...], value: object) -> bool:
    return bool(path) and "country" in path[-1] and isinstance(value, str) and len(value) == 2


def _is_theirs(person: DataSubject, topic: str, path: tuple[str, ...], value: object) -> bool:
    """Whether it is the id of the customer or of one of the orders. Small shops' ids are small: the place decides."""
    if not path or not isinstance(value, int | str):
        return False
    known = {"customer": {person.customer_id} - {""}, "order": person.order_ids}
    about = {
        "customer": path[-1] == "customer_id" or path[-2:] == ("customer", "id"),
        "order": path[-1] == "order_id" or path[-2:] == ("order", "id"),
    }
    return any(
        str(value) in known[kind] and (about[kind] or (path == ("id",) and topic.startswith(kind))) for kind in known
    )


def _has_email(person: DataSubject, value: str) -> bool:
    return any(hashing.email(found.rstrip(".")) in person.emails for found in _ADDRESS.findall(value))


def _has_phone(person: DataSubject, value: str, countries: Iterable[str]) -> bool:
    if not person.phones or len(value) > _LONGEST or not _FEWEST <= sum(map(str.isdigit, value)) <= _MOST:
        return False
    return any(hashing.phone(value, country) in person.phones for country in countries)


def _some(found: Iterable[str]) -> frozenset[str]:
    return frozenset(digest for digest in found if digest)
