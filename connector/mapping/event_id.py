"""Event ids: built from a store's templates and an event's ids, and parsed back into their subject. Pure functions."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from connector.core.event import Event, Milestone
from connector.core.store import PLACEHOLDER, Store
from connector.mapping import hashing

MAX_EVENT_ID = 512  # characters; longer texts do not fit into an index
PLACEHOLDER_PATTERNS = {
    "order_id": r"\d+",
    "customer_id": r"\d+",
    "order_number": r"\S+",
    "checkout_token": "[0-9A-Za-z_-]{8,}",
}
# By kind of object: the placeholders that identify it, most reliable first, with the prefix of its key.
_KEY_PREFIXES: Mapping[str, Mapping[str, str]] = {
    "order": {"order_id": "order:", "order_name": "", "order_number": ""},
    "checkout": {"checkout_token": "checkout:"},
    "customer": {"customer_id": "customer:"},
}


# --- from ids to an event_id ----------------------------------------------------------------------------------


def event_id_of(event: Event, store: Store) -> str:
    """Return the event_id by the store's template, or "" if the event has no value for a placeholder.

    An event_id longer than MAX_EVENT_ID is replaced by its SHA-256: cart attributes can have any length.
    """
    event_id = fill_template(event_id_template(event.milestone, store), event.ids)
    return hashing.sha256(event_id) if len(event_id) > MAX_EVENT_ID else event_id


def event_id_template(milestone: Milestone, store: Store) -> str:
    """Return the store's template for events of this milestone."""
    if milestone == "checkout_started":
        return store.event_id.checkout
    return store.event_id.customer if milestone == "customer_registered" else store.event_id.order


def fill_template(template: str, ids: Mapping[str, str]) -> str:
    """Fill a template's placeholders; return "" if one of them has no value."""
    found = [ids.get(piece, "") if is_name else piece for piece, is_name in _pieces(template)]
    return "".join(found) if all(found) else ""


@lru_cache
def _pieces(template: str) -> tuple[tuple[str, bool], ...]:
    """Split a template into literal texts and placeholder names, in order; True marks a name."""
    return tuple((piece, index % 2 == 1) for index, piece in enumerate(PLACEHOLDER.split(template)) if piece)


def object_key(milestone: Milestone, ids: Mapping[str, str]) -> str:
    """Return the key of an event's order, checkout or customer in outbox and ledger; "" without its id."""
    kind, placeholder = {
        "checkout_started": ("checkout", "checkout_token"),
        "customer_registered": ("customer", "customer_id"),
    }.get(milestone, ("order", "order_id"))
    return f"{kind}:{ids[placeholder]}" if placeholder in ids else ""


# --- from an event_id to its subject ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EventSubject:
    """An order, checkout or customer of a store. `key` finds it in the outbox; "" if the event_id does not name it."""

    store: str
    kind: str
    key: str

    def __str__(self) -> str:
        unnamed = "an order" if self.kind == "order" else f"a {self.kind}"
        named = f"{self.kind} {self.key.removeprefix(f'{self.kind}:')}" if self.key else unnamed
        return f"{named} of {self.store}"


def subjects_of(event_id: str, stores: Iterable[Store]) -> Iterator[EventSubject]:
    """Yield every possible subject of an event_id, by each store's templates for orders, checkouts and customers."""
    for store in stores:
        for kind, prefixes in _KEY_PREFIXES.items():
            template: str = getattr(store.event_id, kind)
            names = PLACEHOLDER.findall(template)
            patterns = {name: PLACEHOLDER_PATTERNS.get(name, ".+") for name in names}
            if match := template_pattern(template, patterns).fullmatch(event_id):
                values = dict(zip(names, match.groups(), strict=True))
                key = next((prefix + values[name] for name, prefix in prefixes.items() if name in values), "")
                yield EventSubject(store.name, kind, key)


def template_pattern(template: str, patterns: Mapping[str, str]) -> re.Pattern[str]:
    """Return a regular expression for filled templates: a group for each placeholder, with its pattern."""
    pieces = PLACEHOLDER.split(template)
    return re.compile(
        "".join(f"({patterns[piece]})" if at % 2 else re.escape(piece) for at, piece in enumerate(pieces)), re.DOTALL
    )
