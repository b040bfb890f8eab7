"""What an event_id is of: the stores' templates (`event_id`) read backwards. Pure."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from connector.core.store import PLACEHOLDER, Store

PLACEHOLDER_PATTERNS = {
    "order_id": r"\d+",
    "customer_id": r"\d+",
    "order_number": r"\S+",
    "checkout_token": "[0-9A-Za-z_-]{8,}",
}
# By which of an id's parts the desk finds an order, checkout or customer, the surest first.
_KNOWN_BY: Mapping[str, Mapping[str, str]] = {
    "order": {"order_id": "order:", "order_name": "", "order_number": ""},
    "checkout": {"checkout_token": "checkout:"},
    "customer": {"customer_id": "customer:"},
}


@dataclass(frozen=True, slots=True)
class EventSubject:
    """An order, checkout or customer of a store. `key` is what the desk knows it by; "" if the id does not tell."""

    store: str
    kind: str
    key: str

    def __str__(self) -> str:
        some = "an order" if self.kind == "order" else f"a {self.kind}"
        which = f"{self.kind} {self.key.removeprefix(f'{self.kind}:')}" if self.key else some
        return f"{which} of {self.store}"


def subjects_of(event_id: str, stores: Iterable[Store]) -> Iterator[EventSubject]:
    """All that an event of this id could be about: each store's templates for orders, checkouts and customers."""
    for store in stores:
        for kind, parts in _KNOWN_BY.items():
            template: str = getattr(store.event_id, kind)
            asked = PLACEHOLDER.findall(template)
            found = template_pattern(
                template, {name: PLACEHOLDER_PATTERNS.get(name, ".+") for name in asked}
            ).fullmatch(event_id)
            if found:
                values = dict(zip(asked, found.groups(), strict=True))
                key = next((prefix + values[name] for name, prefix in parts.items() if name in values), "")
                yield EventSubject(store.name, kind, key)


def template_pattern(template: str, shapes: Mapping[str, str]) -> re.Pattern[str]:
    """What a filled template looks like, if its placeholders are filled with what has these shapes: a group each."""
    pieces = PLACEHOLDER.split(template)
    return re.compile(
        "".join(f"({shapes[piece]})" if at % 2 else re.escape(piece) for at, piece in enumerate(pieces)), re.DOTALL
    )
