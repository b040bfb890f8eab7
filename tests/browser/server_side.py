"""What the server makes of the webhooks that belong to what a browser showed."""

import json
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from connector.core.store import EventIdTemplates, MappingSettings, Pixel, SignalSettings, Store
from connector.core.webhook import Webhook
from connector.intake.examine import examine
from connector.plugin.testing.shoppers import Journey
from platforms import PLATFORMS
from platforms.shopify import samples as shopify_samples

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
CODE, OTHER = "CABCDEFGHIJKLMNOPQR0", "CABCDEFGHIJKLMNOPQR1"
SECRETS = ("whsec_example_0123456789", "token-example-0123456789")
SHOPIFY = Store(
    name="acme",
    platform="shopify",
    url="https://acme.example",
    shops=("acme.myshopify.com",),
    webhook_secrets=(SECRETS[0],),
    pixels=(Pixel(CODE, SECRETS[1]),),
    consent="not_required",
    country="US",
    browser_pixel="snippet",
    signals=SignalSettings(timedelta(seconds=20), timedelta(seconds=5)),
    event_id=EventIdTemplates("acme-order-{order_id}", "acme-checkout-{checkout_token}", "acme-customer-{customer_id}"),
    mapping=MappingSettings(content_id="variant_id"),
)
WOOCOMMERCE = replace(
    SHOPIFY, platform="woocommerce", shops=("acme.example",), mapping=MappingSettings(content_id="sku"), signals=None
)


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
