"""A fake WooCommerce shop and the store, API and orders to try on it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from connector.core.store import ApiKeys
from platforms.woocommerce.rest_client import RestClient
from platforms.woocommerce.shop_api import WooCommerceApi
from platforms.woocommerce.shop_api import connect as connect_shop
from tests.support.fakes.woocommerce import FakeWooCommerce
from tests.support.sample_bodies import WOOCOMMERCE

NOW = datetime(2026, 11, 23, 15, 4, 5, tzinfo=UTC)
SECOND = timedelta(seconds=1)
SINCE, UNTIL = NOW - timedelta(days=2), NOW


def fake(**how):
    """A shop whose clock stands at NOW."""
    return FakeWooCommerce(lambda: NOW, **how)


def store_of(shop, key=None, secret=None):
    keys = ApiKeys(consumer_key=key or shop.key, consumer_secret=secret or shop.secret)
    return replace(WOOCOMMERCE, url=shop.url, api=keys)


def connect(shop, key=None, secret=None, pauses=None):
    """The shop's API; pauses are noted instead of made."""
    return connect_shop(store_of(shop, key, secret), (pauses if pauses is not None else []).append, lambda: NOW)


def impatient(shop, timeout=0.2, elapsed=lambda: 0.0, pauses=None):
    """One that waits less than a real one for a byte."""
    pause = (pauses if pauses is not None else []).append
    return WooCommerceApi(RestClient(shop.url, shop.key, shop.secret, pause, elapsed, timeout), lambda: NOW)


def put(shop, number, modified, created=None, **changes):
    """An order with little in it but its dates, without webhooks."""
    dates = shop.dates("created", created or modified) | shop.dates("modified", modified)
    return shop.place({"id": number, "status": "processing", **dates, **changes}, deliver=False)
