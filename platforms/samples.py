"""The sample webhooks of every platform, for `simulate` and `demo`; never loaded by the server."""

import random
from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from connector.core.store import Store
from connector.plugin.testing.shoppers import Journey, shop_currency
from platforms.shopify import samples as shopify_samples
from platforms.woocommerce import samples as woocommerce_samples


class Samples(Protocol):
    """What a platform's samples module offers."""

    TOPICS: tuple[str, ...]
    FUNNEL: tuple[str, ...]  # the topics that together bring one of each milestone

    def sample(self, topic: str, journey: Journey, store: Store) -> dict[str, object]:
        """The body the platform would send for this step of a shopper's journey."""

    def encode(self, body: dict[str, object]) -> bytes:
        """The body's bytes as this platform serialises JSON."""

    def headers(self, topic: str, journey: Journey, store: Store) -> dict[str, str]:
        """Every header the platform sends but the signature."""


SAMPLES: Mapping[str, Samples] = {"shopify": shopify_samples, "woocommerce": woocommerce_samples}


def fresh_journey(store: Store, now: datetime, rng: random.Random) -> Journey:
    """A new shopper who pays in the shop's own currency, so that Shopify's checkout amounts are unambiguous."""
    while True:
        journey = Journey.random(rng, now)
        if journey.currency == shop_currency(store.country):
            return journey
