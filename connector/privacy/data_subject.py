"""The person that an erasure or an export is about, as hashes and ids, and the search for them in a webhook's body."""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from msgspec import Struct

from connector.core.event import DataRequest
from connector.core.json_fields import UNSTORABLE
from connector.core.store import Store
from connector.mapping import hashing
from connector.mapping.event_id import fill_template, object_key

# What stands around an address. Split at, not searched for an address by: a search begins anew at each character of a
# long word, such as an image in a note attribute, and that takes quadratic time.
_AROUND_ADDRESS = re.compile(r"[\s\"'<>(),;:\\\[\]]+")
_MIN_DIGITS, _MAX_DIGITS, _MAX_LENGTH = 6, 15, 40  # of a phone number; the length counts separators too


class DataSubject(Struct, frozen=True):
    """Hex SHA-256 of e-mails, phones and external_ids, normalised as in the payloads; ids as the shop has them."""

    emails: frozenset[str] = frozenset()
    phones: frozenset[str] = frozenset()
    external_ids: frozenset[str] = frozenset()
    customer_id: str = ""
    order_ids: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return any((self.emails, self.phones, self.external_ids, self.customer_id, self.order_ids))

    @property
    def object_keys(self) -> list[str]:
        """Return the object keys of the orders and the customer in the outbox."""
        keys = [object_key("order_placed", {"order_id": found}) for found in sorted(self.order_ids)]
        return keys + (
            [object_key("customer_registered", {"customer_id": self.customer_id})] if self.customer_id else []
        )


def data_subject_of(request: DataRequest, store: Store | None) -> DataSubject:
    """Return the person of a request, hashed like the store's events.

    A phone number without a country code is taken to be of the store's country. Without a store there is no
    external_id, because its template is part of the store's settings.
    """
    country = store.country if store else ""
    ids = {"customer_id": request.customer_id} if request.customer_id else {}
    external = hashing.external_id(fill_template(store.external_id, ids)) if store else ""
    return DataSubject(
        emails=_non_empty(hashing.email(raw) for raw in request.emails),
        phones=_non_empty(hashing.phone(raw, country) for raw in request.phones),
        external_ids=_non_empty([external]),
        customer_id=request.customer_id,
        order_ids=frozenset(request.order_ids),
    )


def mentions(person: DataSubject, topic: str, body: bytes, store: Store) -> bool:
    """Return whether a webhook's body names the person; True for a body that cannot be parsed, to be safe."""
    try:
        leaves = list(_leaves(json.loads(body)))
    except (ValueError, RecursionError):
        return True
    countries = {store.country} | {value.upper() for path, value in leaves if _is_country(path, value)}
    return any(
        _is_their_id(person, topic, path, value)
        or (isinstance(value, str) and (_has_email(person, value) or _has_phone(person, value, countries)))
        for path, value in leaves
    )


def _leaves(body: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield each key and value with the last two keys above it. Bodies can be deep, so without recursion."""
    waiting: list[tuple[tuple[str, ...], Any]] = [((), body)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, dict):
            yield from ((path, key) for key in value)
            waiting += (((*path[-1:], key), inner) for key, inner in value.items())
        elif isinstance(value, list):
            waiting += ((path, inner) for inner in value)
        else:
            yield path, value


def _is_country(path: tuple[str, ...], value: object) -> bool:
    return bool(path) and "country" in path[-1] and isinstance(value, str) and len(value) == 2


def _is_their_id(person: DataSubject, topic: str, path: tuple[str, ...], value: object) -> bool:
    """Return whether a value is the id of the customer or of one of the orders.

    Its path must fit too: in small shops ids are small numbers, which occur elsewhere.
    """
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
    # Without what intake removes, too: a lone surrogate cannot be hashed.
    words = _AROUND_ADDRESS.split(UNSTORABLE.sub("", value)) if "@" in value else ()
    return any(hashing.email(word.rstrip(".@")) in person.emails for word in words if "@" in word)


def _has_phone(person: DataSubject, value: str, countries: Iterable[str]) -> bool:
    if not person.phones or len(value) > _MAX_LENGTH or not _MIN_DIGITS <= sum(map(str.isdigit, value)) <= _MAX_DIGITS:
        return False
    return any(hashing.phone(value, country) in person.phones for country in countries)


def _non_empty(digests: Iterable[str]) -> frozenset[str]:
    return frozenset(digest for digest in digests if digest)
