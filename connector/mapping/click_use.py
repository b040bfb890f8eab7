"""The part of an event in the memory of clicks: its own keys, and whether it takes a customer's last ones."""

from collections.abc import Iterable

from msgspec import Struct

from connector.core.event import Event, OrderKind, Skipped
from connector.core.store import Store

# No click has caused these: a subscription pays by itself, and an exchange replaces what was bought.
WITHOUT_CLICK: frozenset[OrderKind] = frozenset({"renewal", "exchange"})


class ClickUse(Struct, frozen=True):
    """The keys that an event adds to `connector.signals.click_memory`, and the age of those it may take from there.

    `ttclid` and `ttp` are its own, "" if it lacks one. `given_at` (Unix seconds) is when the shopper brought them, at
    the latest. A remembered key is at most `seconds` old.
    """

    seconds: float
    given_at: float
    ttclid: str = ""
    ttp: str = ""

    def __repr__(self) -> str:
        """Leave out personal data."""
        return f"<ClickUse {self.seconds:g} s>"


class ConsentDenial(Struct, frozen=True):
    """A shopper's denial of consent: the keys remembered of them for these pixels must go.

    The hashes are hex SHA-256 of every e-mail, phone and external_id.
    """

    store: str
    pixels: tuple[str, ...]
    emails: tuple[str, ...] = ()
    phones: tuple[str, ...] = ()
    external_ids: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Leave out personal data."""
        return f"<ConsentDenial {self.store}>"


def clicks_given_at(milestones: Iterable[Event | Skipped], store: Store, now: float) -> float | None:
    """Return when the shopper of a webhook brought its keys, at the latest; None if the store remembers no clicks.

    That is the earliest of its milestones: an order that is paid later came with its keys when it was placed.
    """
    if store.matching.remember_clicks is None:
        return None
    return min((item.occurred_at.timestamp() for item in milestones if isinstance(item, Event)), default=now)


def click_use(event: Event, store: Store, given_at: float | None) -> ClickUse | None:
    """Return an event's part in the memory of clicks, or None if it has none."""
    if given_at is None or store.matching.remember_clicks is None or event.kind in WITHOUT_CLICK:
        return None
    seconds = store.matching.remember_clicks.total_seconds()
    return ClickUse(seconds, given_at, event.customer.ttclid, event.customer.ttp)
