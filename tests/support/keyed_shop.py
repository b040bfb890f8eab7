"""A shop system that signs with a private key, names its shops by number and tries addresses with a challenge."""

from functools import cached_property

from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from connector.core import registry
from connector.core.public_keys import as_jwks
from connector.plugin import (
    Customer,
    DetachedJws,
    Event,
    Handshake,
    InvalidPayload,
    Platform,
    PlatformFacts,
    body_text,
    json_object,
    text,
    unix_time,
)

REFERENCE = "tests.support.keyed_shop:platform"
ADDRESS = "https://keys.example/7/jwks.json"


class KeyedShop(Platform):
    """Topic and shop are in the signed body."""

    name = "keyed"
    title = "Keyed"
    facts = PlatformFacts(
        shop_id="[0-9]+", shop_error="must be the shop's number", key_address="https://keys.example/{shop}/jwks.json"
    )
    signature = DetachedJws("Keyed-Signature")
    event_topics = frozenset({"sold"})

    def receive(self, request, store):
        if challenge := body_text(request.body, "challenge"):
            return Handshake(challenge.encode(), "text/x-challenge", 201)
        return super().receive(request, store)

    def greeting(self, query, store):
        if query.get("token") == "broken":
            raise KeyError("token")
        challenge = query.get("challenge", "")
        return Handshake(challenge.encode()) if query.get("token") == "agreed" and challenge else None

    def translate(self, webhook, store):
        order = json_object(json_object(webhook.data).get("order"))
        sold_at = unix_time(order.get("sold"))
        if sold_at is None:
            raise InvalidPayload("the order has no time")
        ids = {"order_id": text(order.get("id"))}
        yield Event("order_placed", sold_at, ids, Customer(emails=(text(order.get("email")),)))

    def topic_of(self, request):
        return body_text(request.body, "type")

    def shop_of(self, request):
        return body_text(request.body, "shop")


platform = KeyedShop()


class Signer:
    """A private key, as a shop has it, and the texts in which others get its public half."""

    def __init__(self, bits=2048):
        self.bits = bits

    @cached_property
    def key(self):
        """Made for the first test that needs it: it takes a tenth of a second, and other workers need none."""
        return generate_private_key(public_exponent=65537, key_size=self.bits)

    @property
    def private(self):
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()

    @property
    def jwks(self):
        return as_jwks(self.key.public_key())

    @property
    def pem(self):
        return self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode().strip()


def install(monkeypatch):
    """Let the shop system be found beside the built-in ones, until the test ends."""
    found = registry.find_platforms() | {"keyed": (REFERENCE,)}
    monkeypatch.setattr(registry, "find_platforms", lambda: found)
    registry.installed_platforms.cache_clear()
