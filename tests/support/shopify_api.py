"""A fake Shopify shop, and the API, orders and faults to try on it."""

import json
import random
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import strategies as st

from connector.core.shop_api import ShopApiError
from connector.core.store import ApiKeys
from connector.plugin.testing.samples import fresh_journey
from platforms.shopify import samples as shopify_samples
from platforms.shopify.shop_api import connect as connect_shop
from tests.support.sample_bodies import NOW, SHOPIFY

URL = "https://connector.example/webhooks/acme"
HOST = "acme.myshopify.com"
CLIENT_CREDENTIALS = "client_credentials"
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)


class Clock:
    """A clock that only pauses move; what was paused is kept."""

    def __init__(self) -> None:
        self.now = NOW.timestamp()
        self.pauses: list[float] = []

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


def connect(fake, clock, kind="legacy", limit=20.0, **keys):
    given = {"access_token": fake.access_token}
    if kind == CLIENT_CREDENTIALS:
        given = {"client_id": fake.client_id, "client_secret": fake.secret}
    store = replace(SHOPIFY, api=ApiKeys(**{**given, **keys}))
    return connect_shop(store, pause=clock.pause, base=fake.url, clock=clock, limit=limit)


def order(seed=1, topic="orders/create", **changes):
    """A sample order, of its own shopper for each seed."""
    journey = fresh_journey(SHOPIFY, NOW, random.Random(seed))
    return {**shopify_samples.sample(topic, journey, SHOPIFY), **changes}


def customer(seed=1, **changes):
    journey = fresh_journey(SHOPIFY, NOW, random.Random(seed))
    return {**shopify_samples.sample("customers/create", journey, SHOPIFY), **changes}


def at(minutes):
    return (NOW + timedelta(minutes=minutes)).isoformat(timespec="seconds")


def ids(pages):
    return [json.loads(body)["id"] for page in pages for body in page.bodies]


def fault_of(call):
    with pytest.raises(ShopApiError) as caught:
        call()
    return caught.value


def last_day(shop):
    return list(shop.orders(NOW - timedelta(days=1), NOW, "modified"))


def is_a_sentence(words):
    return "\n" not in words and 20 < len(words) < 400 and "Traceback" not in words and "  " not in words
