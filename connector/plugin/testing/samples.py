"""Samples: the webhooks a platform sends of an invented shopper, for `simulate`, `demo` and the contract tests."""

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
    """The shop that `demo` invents for a platform: the store's name, its storefront, and what the platform calls it."""

    store: str
    url: str
    shop: str


class SamplesModule(Protocol):
    """A platform's samples, as a module. The tables in capitals are what the contract tests go by."""

    TOPICS: tuple[str, ...]
    FUNNEL: tuple[str, str, str, str]  # the topics of a registration, a checkout, an unpaid order, its payment
    DEMO_SHOP: DemoShop

    TOPIC_HEADER: str  # in lower case, as are all header names here
    SHOP_HEADER: str
    HANDSHAKE: bytes  # an unsigned body that `receive` answers None; b"" if there is none
    REQUIRED: Mapping[str, RequiredFields]  # by topic: fields without which a body is parked
    DECISIVE: frozenset[str]  # keys anywhere in a body that decide whether there is an event, and of which kind

    def sample(self, topic: str, journey: Journey, store: Store) -> dict[str, Any]:
        """Return the body the platform would send for this step of a shopper's journey."""

    def encode(self, body: dict[str, Any]) -> bytes:
        """Serialise a body as the platform does."""

    def headers(self, topic: str, journey: Journey, store: Store) -> dict[str, str]:
        """Return every header the platform sends but the signature."""


def fresh_journey(store: Store, now: datetime, rng: random.Random) -> Journey:
    """A new shopper who pays in the shop's own currency, so that amounts without a currency are unambiguous."""
    while True:
        journey = Journey.random(rng, now)
        if journey.currency == shop_currency(store.country):
            return journey
