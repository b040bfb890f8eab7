"""Samples: webhooks of an invented shopper, for `simulate`, `demo` and the contract tests."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, cast

from connector.core.store import Store
from connector.plugin.testing.fake_api import FakeApi
from connector.plugin.testing.shoppers import Journey, shop_currency

if TYPE_CHECKING:
    from connector.core.platform import Platform

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


class ThinSamplesModule(SamplesModule, Protocol):
    """The samples of a platform with `notice_topics`. REQUIRED and DECISIVE are about what the API answers."""

    def fetched(self, topic: str, journey: Journey, store: Store) -> tuple[str, dict[str, Any]]:
        """Return topic and body of what the shop's API answers after a notice of `topic`."""

    def fake_api(self) -> FakeApi:
        """Return a new fake of the shop's API, which `connect` opens at the store's api.url."""


def thin_samples(platform: "Platform") -> ThinSamplesModule | None:
    """Return the samples of a platform whose webhooks only name what changed; None for other platforms."""
    return cast(ThinSamplesModule, platform.samples) if platform.notice_topics and platform.samples else None


def fresh_journey(store: Store, now: datetime, rng: random.Random) -> Journey:
    """Return a new journey in the shop's currency, so that amounts without a currency are unambiguous."""
    while True:
        journey = Journey.random(rng, now)
        if journey.currency == shop_currency(store.country):
            return journey
