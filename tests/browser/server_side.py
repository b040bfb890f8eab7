"""What the server makes of the webhooks that belong to what a browser showed."""

import json
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from connector.core.store import Pixel, SignalSettings
from connector.core.webhook import Webhook
from connector.intake.examine import examine
from connector.plugin.testing.shoppers import Journey
from platforms.shopify import samples as shopify_samples
from tests.support.factories import CODE, OTHER_CODE, SECRET, a_store
from tests.support.platforms import PLATFORMS

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
OTHER = OTHER_CODE
SECRETS = (SECRET, "token-example-0123456789")
CHOICES = {"pixels": (Pixel(CODE, SECRETS[1]),), "country": "US", "browser_pixel": "snippet"}
SHOPIFY = a_store(**CHOICES, signals=SignalSettings(timedelta(seconds=20), timedelta(seconds=5)))
WOOCOMMERCE = a_store("woocommerce", **CHOICES)


def choose(store, table=None, **changes):
    """The store with other choices, of itself or of one of its tables."""
    return replace(store, **({table: replace(getattr(store, table), **changes)} if table else changes))


def shopper(market="US", seed=1):
    rng = random.Random(seed)
    while True:
        found = Journey.random(rng, NOW)
        if found.person.country.code == market:
            return found


def shopify_body(topic, store=SHOPIFY, market="US", **changes):
    return {**shopify_samples.sample(topic, shopper(market), store), **changes}


def examined(store, topic, body):
    """The events and skips of one webhook."""
    raw = json.dumps(body, ensure_ascii=False).encode()
    return examine(Webhook(topic=topic, body=raw, received_at=NOW), PLATFORMS[store.platform], store, NOW, None)


def served(store, topic, body):
    """The items as sent to TikTok, by event name."""
    return {item["event"]: item for item in (json.loads(one.payload) for one in examined(store, topic, body).events)}
