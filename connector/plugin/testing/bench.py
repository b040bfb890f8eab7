"""A store of any platform with its intake and a database, and signed requests to it: for the conformance kit."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from msgspec import structs

from connector.core.json_fields import host
from connector.core.platform import Platform
from connector.core.public_keys import DetachedJws, as_jwks
from connector.core.registry import installed_platforms
from connector.core.shop_api import NoticeApi
from connector.core.store import ApiKeys, ConsentSource, EventIdTemplates, MappingSettings, Pixel, Store
from connector.core.webhook import Handshake, Notice, Request, Webhook
from connector.intake.examine import read_notice
from connector.intake.intake import Intake
from connector.outbox.outbox import Outbox
from connector.outbox.queries import EventFilter, OutboxQueries
from connector.plugin.testing.fake_api import FakeApi, serving
from connector.plugin.testing.samples import SamplesModule, thin_samples
from connector.plugin.testing.shoppers import Journey
from connector.privacy.requests import DataRequestStore
from connector.storage.database import Database

NOW = datetime(2026, 11, 23, 15, 4, 5, tzinfo=UTC)
SECRET = "whsec_example_0123456789"  # noqa: S105 (invented)


@dataclass(frozen=True)
class Signer:
    """One of the ways in which a platform's shops sign: the secret or private key, and the store's settings for it."""

    kind: str
    secret: str
    settings: dict[str, Any]


def signers(platform: Platform) -> list[Signer]:
    """Return the ways in which the platform's shops sign."""
    found = []
    if not isinstance(platform.signature, DetachedJws):
        found.append(Signer("secret", SECRET, {"webhook_secrets": (SECRET,)}))
    if platform.facts.key_address:
        private, jwks = _own_key()
        found.append(Signer("key", private, {"webhook_secrets": (), "webhook_keys": (jwks,)}))
    return found


@cache
def _own_key() -> tuple[str, str]:
    """Return the key of all shops that sign with one: to make an RSA key takes a tenth of a second."""
    return new_key()


def new_key() -> tuple[str, str]:
    """Return a new private key in PEM and the JWKS of its public half."""
    key = generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return private, as_jwks(key.public_key())


@lru_cache
def _journey(seed: int) -> Journey:
    """Return a journey, the same one for each of a test's thousand requests."""
    return Journey.random(random.Random(seed), NOW)


@dataclass
class ThinShop:
    """The API of a platform's invented shop, and what it answers after each notice, by the notice's body."""

    api: FakeApi
    url: str
    answers: dict[bytes, tuple[str, bytes]] = field(default_factory=dict)


@contextmanager
def thin_shop(platform: Platform) -> Iterator[ThinShop | None]:
    """Serve the fake API of a platform whose webhooks only name what changed; None for others."""
    samples = thin_samples(platform)
    if samples is None:
        yield None
        return
    api = samples.fake_api()
    with serving(api) as url:
        yield ThinShop(api, url)


@dataclass
class Bench:
    """A platform's store, its intake, and the database behind them."""

    platform: Platform
    samples: SamplesModule
    signer: Signer
    store: Store
    intake: Intake
    database: Database
    shop: ThinShop | None = None

    @classmethod
    def of(
        cls, name: str, database: Database, shop: ThinShop | None = None, signer: Signer | None = None, **settings: Any
    ) -> "Bench":
        """Return the bench of an installed platform. `settings` are fields of its Store."""
        platform = installed_platforms()[name]
        samples = platform.samples
        assert samples is not None, f"platform {name} has no samples, which the kit sends"
        signer = signer or signers(platform)[0]
        demo = samples.DEMO_SHOP
        values: dict[str, Any] = {
            "name": "acme",
            "platform": name,
            "url": demo.url,
            "shops": (host(demo.shop),),
            "api": ApiKeys(access_token="token", url=shop.url) if shop else None,  # noqa: S106 (of a fake)
            "pixels": (Pixel("CABCDEFGHIJKLMNOPQR0", "token", "TEST12345"),),
            "consent": "not_required",
            "event_id": EventIdTemplates.of_store("acme"),
            "mapping": MappingSettings(content_id=platform.facts.content_id),
            "consent_source": ConsentSource(platform.facts.consent_key),
        }
        store = Store(**(values | signer.settings | settings))
        intake = Intake(
            {store.name: store}, {name: platform}, Outbox(database), DataRequestStore(database), lambda: NOW
        )
        return cls(platform, samples, signer, store, intake, database, shop)

    def receive(self, request: Request) -> str:
        """Handle a request as the server does, and return its outcome."""
        return handle_request(self.intake, self.store, request)

    def take(self, request: Request) -> str:
        """Handle a request, and fetch what it names, as the relay's process does; return the last outcome."""
        outcome = self.receive(request)
        if outcome != "noted" or self.shop is None:
            return outcome
        self.shop.api.put(*self.shop.answers[request.body])
        webhook = self.platform.receive(request, self.store)
        assert not isinstance(webhook, Handshake)
        notice = read_notice(webhook, self.platform, self.store)
        assert notice is not None, f"{webhook.topic} names nothing"
        return self.fetch(notice)

    def fetch(self, notice: Notice) -> str:
        """Ask the shop's API for what a notice names, and handle it; return the outcome, "gone" if there is none."""
        module = self.platform.shop_api
        assert module is not None, "a platform with notice_topics needs a shop_api"
        shop_api = module.connect(self.store)
        assert isinstance(shop_api, NoticeApi), "a platform with notice_topics needs a shop_api with fetch()"
        page = shop_api.fetch(notice)
        outcomes = [
            self.intake.handle(Webhook(page.topic, body, NOW, triggered_at=NOW), self.store) for body in page.bodies
        ]
        return outcomes[-1] if outcomes else "gone"

    def journey(self, seed: int = 1) -> Journey:
        """Return an invented shopper's journey."""
        return _journey(seed)

    def body(self, topic: str, seed: int = 1, journey: Journey | None = None) -> Any:
        """Return the sample body of a topic; of a customer with an account, as a registration needs one."""
        body = self.samples.sample(topic, journey or self.journey(seed), self.store)
        if self.shop:
            fetched, answer = self._fetched(topic, journey or self.journey(seed))
            self.shop.answers[self.samples.encode(body)] = fetched, self.samples.encode(answer)
        return {**body, "state": "enabled"} if topic.startswith("customers/") and "state" in body else body

    def _fetched(self, topic: str, journey: Journey) -> tuple[str, Any]:
        samples = thin_samples(self.platform)
        assert samples is not None
        return samples.fetched(topic, journey, self.store)

    def translated_body(self, topic: str, seed: int = 1, journey: Journey | None = None) -> Any:
        """Return the body that `translate` reads: the sample, or what the shop's API answers after it."""
        if self.shop:
            return self._fetched(topic, journey or self.journey(seed))[1]
        return self.body(topic, seed, journey)

    def webhook(self, topic: str, body: bytes) -> Webhook:
        """Return a body as `translate` gets it: in a signed request, or from the shop's API after a notice."""
        if self.shop:
            return Webhook(self._fetched(topic, self.journey())[0], body, NOW, triggered_at=NOW)
        webhook = self.platform.receive(self.request(topic, body), self.store)
        assert not isinstance(webhook, Handshake)
        return webhook

    def handle(self, topic: str, body: bytes) -> str:
        """Handle such a body and return the outcome. Raises NotJson."""
        if self.shop:
            return self.intake.handle(self.webhook(topic, body), self.store)
        return self.take(self.request(topic, body))

    def request(self, topic: str, body: bytes, secret: str = "", at: datetime = NOW) -> Request:
        """Return the signed request with this body, made and received at `at`."""
        headers = self.samples.headers(topic, self.journey(), self.store)
        headers |= self.platform.signed_headers(body, secret or self.signer.secret, at)
        return Request({name.lower(): value for name, value in headers.items()}, body, at)

    def sample(self, topic: str, seed: int = 1) -> Request:
        """Return the signed request of a topic."""
        return self.request(topic, self.samples.encode(self.body(topic, seed)))

    @property
    def event_topics(self) -> list[str]:
        """The sampled topics that make events."""
        return event_topics(self.platform, self.samples)

    def events(self) -> list[tuple[str, str, bytes]]:
        """Return name, event_id and payload of all events that wait to be sent."""
        queries = OutboxQueries(self.database)
        rows = queries.find(EventFilter(), 10_000)
        return sorted((row.event, row.event_id, _payload(self.database, row.id)) for row in rows)

    def reasons(self) -> list[str]:
        """Return why webhooks were parked."""
        return [item.reason for item in OutboxQueries(self.database).parked()]

    def with_store(self, **settings: Any) -> "Bench":
        """Return a bench on the same database whose store has other settings."""
        store = replace(self.store, **settings)
        intake = Intake(
            {store.name: store},
            {self.platform.name: self.platform},
            Outbox(self.database),
            DataRequestStore(self.database),
            lambda: NOW,
        )
        return replace(self, store=store, intake=intake)


def event_topics(platform: Platform, samples: SamplesModule) -> list[str]:
    """Return the sampled topics that make events, at once or when what they name is fetched."""
    return [topic for topic in samples.TOPICS if topic in platform.event_topics | platform.notice_topics]


def _payload(database: Database, number: int) -> bytes:
    import sqlalchemy as sa

    from connector.storage.tables import events

    with database.read() as connection:
        return bytes(connection.execute(sa.select(events.c.payload).where(events.c.id == number)).scalar_one())


def flipped(content: bytes, bit: int) -> bytes:
    """Return the bytes with one bit changed."""
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def with_header(request: Request, name: str, value: str) -> Request:
    """Return the request with another value of one header."""
    return structs.replace(request, headers={**request.headers, name: value})


def handle_request(intake: Intake, store: Store, request: Request) -> str:
    """Verify, examine and store one webhook, each in turn, as the web process does with many; return the outcome.

    Raises InvalidSignature, UnknownKey, NotJson, CannotStore, BrokenPlatform.
    """
    webhook = intake.verify(store, request)
    return "handshake" if isinstance(webhook, Handshake) else intake.handle(webhook, store)
