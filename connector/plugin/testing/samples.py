"""Samples: webhooks of an invented shopper, for `simulate`, `demo` and the contract tests."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from connector.core.store import Store
from connector.plugin.testing.shoppers import Journey, shop_currency

RequiredFields = frozenset[tuple[str, ...]]  # paths: ("arg", "token") is body["arg"]["token"]


@dataclass(frozen=True, slots=True)
class DemoShop:
    """The invented shop for `demo`: the store's name, the storefront's URL, and the shop's name on the platform."""

    store: str
    url: str
    shop: str


class SamplesModule(Protocol):
    """A platform's samples, as a module. The contract tests read the constants."""

    TOPICS: tuple[str, ...]
    FUNNEL: tuple[
        str, ...
    ]  # topics of a registration, a checkout, an unpaid order, its payment, of those that there are
    DEMO_SHOP: DemoShop

    TOPIC_HEADER: str  # in lower case, as is SHOP_HEADER; "" if the body names it
    SHOP_HEADER: str
    TOPIC_PATH: tuple[str, ...]  # where the body names it; () if a header does
    SHOP_PATH: tuple[str, ...]
    HANDSHAKE: bytes  # an unsigned body for which `receive` returns a Handshake; b"" without one
    REQUIRED: Mapping[str, RequiredFields]  # by topic: fields that a body must have, and rightly, or it is parked
    DECISIVE: frozenset[str]  # keys anywhere in a body that decide about the event and its kind

    def sample(self, topic: str, journey: Journey, store: Store) -> dict[str, Any]:
        """Return the body that the platform would send for this step of a shopper's journey."""

    def encode(self, body: dict[str, Any]) -> bytes:
        """Serialise a body as the platform does."""

    def headers(self, topic: str, journey: Journey, store: Store) -> dict[str, str]:
        """Return the platform's headers without the signature."""


def fresh_journey(store: Store, now: datetime, rng: random.Random) -> Journey:
    """Return a new journey in the shop's currency, so that amounts without a currency are unambiguous."""
    while True:
        journey = Journey.random(rng, now)
        if journey.currency == shop_currency(store.country):
            return journey
