"""A store of any platform with its intake and a database, and signed requests to it: for the conformance kit."""

import random
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from msgspec import structs

from connector.core.json_fields import host
from connector.core.platform import Platform
from connector.core.public_keys import DetachedJws, as_jwks
from connector.core.registry import installed_platforms
from connector.core.store import ConsentSource, EventIdTemplates, MappingSettings, Pixel, Store
from connector.core.webhook import Request
from connector.intake.intake import Intake
from connector.outbox.outbox import Outbox
from connector.outbox.queries import EventFilter, OutboxQueries
from connector.plugin.testing.samples import SamplesModule
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
        private, jwks = new_key()
        found.append(Signer("key", private, {"webhook_secrets": (), "webhook_keys": (jwks,)}))
    return found


def new_key() -> tuple[str, str]:
    """Return a new private key in PEM and the JWKS of its public half."""
    key = generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return private, as_jwks(key.public_key())


@dataclass
class Bench:
    """A platform's store, its intake, and the database behind them."""

    platform: Platform
    samples: SamplesModule
    signer: Signer
    store: Store
    intake: Intake
    database: Database

    @classmethod
    def of(cls, name: str, database: Database, signer: Signer | None = None, **settings: Any) -> "Bench":
        """Return the bench of an installed platform. `settings` are fields of its Store."""
        platform = installed_platforms()[name]
        samples = platform.samples
        assert samples is not None, f"platform {name} has no samples, which the kit sends"
        signer = signer or signers(platform)[0]
        shop = samples.DEMO_SHOP
        values: dict[str, Any] = {
            "name": "acme",
            "platform": name,
            "url": shop.url,
            "shops": (host(shop.shop),),
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
        return cls(platform, samples, signer, store, intake, database)

    def take(self, request: Request) -> str:
        """Handle a request as the server does, and return its outcome."""
        return self.intake.take(self.store, request)

    def journey(self, seed: int = 1) -> Journey:
        """Return an invented shopper's journey."""
        return Journey.random(random.Random(seed), NOW)

    def body(self, topic: str, seed: int = 1, journey: Journey | None = None) -> Any:
        """Return the sample body of a topic; of a customer with an account, as a registration needs one."""
        body = self.samples.sample(topic, journey or self.journey(seed), self.store)
        return {**body, "state": "enabled"} if topic.startswith("customers/") and "state" in body else body

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
        return [topic for topic in self.samples.TOPICS if topic in self.platform.event_topics]

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
