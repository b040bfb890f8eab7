"""Sample webhooks of a store, signed with its secret, and whether they may be sent. Loaded only where they are used."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from connector.config.settings import Config
from connector.core.platform import Platform
from connector.core.registry import BrokenPlatform, installed_platforms, part
from connector.core.store import Store
from connector.plugin.testing.samples import SamplesModule, fresh_journey, thin_samples
from connector.setup.live import is_tiktok

SHOPS_ADDRESS = "http://127.0.0.1:9090/shops"  # of `connector sandbox` with its usual port
Put = Callable[[str, bytes], object]


class NoSamples(Exception):
    """A platform has no sample webhooks, so there is nothing to send."""


def samples_of(platform: Platform) -> SamplesModule:
    """Return the platform's samples. Raises NoSamples, also if they cannot be loaded."""
    try:
        samples = part(platform, lambda one: one.samples)
    except BrokenPlatform as error:
        raise NoSamples(str(error)) from None
    if samples is None:
        raise NoSamples(f"{platform.title} has no sample webhooks")
    return samples


def refusal(config: Config, store: Store, live_pixel: bool = False) -> str:
    """Return why sending samples is refused, or "": invented orders must not count, unless `live_pixel`."""
    if not store.webhook_secrets:
        return (
            f"store {store.name} has no webhook_secrets, and only the shop can sign with its private key; set "
            "webhook_secrets and simulate again"
        )
    if installed_platforms().facts(store.platform).thin and not (store.api and store.api.url):
        return (
            f"webhooks of store {store.name} only name an order, and its shop does not have invented ones; let the "
            f'sandbox answer in its place: api = {{ access_token = "any", url = "{SHOPS_ADDRESS}/{store.platform}/'
            f'{store.shops[0]}" }}'
        )
    if live_pixel or not is_tiktok(config.events_api_url) or store.only_tests:
        return ""
    return (
        f"EVENTS_API_URL is TikTok's and store {store.name} has no test_event_code: invented orders would count. "
        "Set a test_event_code, point EVENTS_API_URL at `connector sandbox`, or override with --live-pixel"
    )


def webhooks(
    store: Store, topics: Sequence[str], count: int, rng: random.Random, put: Put = lambda topic, body: None
) -> Iterator[tuple[bytes, dict[str, str]]]:
    """Yield signed bodies with their headers: for each of `count` shoppers one of each topic, in this order.

    Before a body that only names what changed, `put` is called with the topic and body that the shop's API then has.
    """
    platform = installed_platforms()[store.platform]
    samples, thin = samples_of(platform), thin_samples(platform)
    for _ in range(count):
        journey = fresh_journey(store, datetime.now(UTC), rng)
        for topic in topics:
            if thin:
                fetched, answer = thin.fetched(topic, journey, store)
                put(fetched, samples.encode(answer))
            body = samples.encode(samples.sample(topic, journey, store))
            signature = platform.signed_headers(body, store.signing_secret)
            yield body, samples.headers(topic, journey, store) | signature


def translated_bodies(store: Store, topics: Sequence[str], rng: random.Random) -> Iterator[tuple[str, bytes]]:
    """Yield topic and body of a shopper's samples as `translate` reads them: of thin ones what the shop's API has."""
    fetched: list[tuple[str, bytes]] = []
    signer = store if store.webhook_secrets else replace(store, webhook_secrets=("-",))
    sent = webhooks(signer, topics, 1, rng, lambda topic, body: fetched.append((topic, body)))
    for topic, (body, _) in zip(topics, sent, strict=True):
        yield fetched.pop() if fetched else (topic, body)
