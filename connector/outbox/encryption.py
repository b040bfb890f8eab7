"""Encryption of parked webhooks with keys derived from the store's own secrets (`Store.parking_secrets`)."""

import base64
from collections.abc import Iterable

import msgspec
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from connector.core.store import Store
from connector.core.webhook import Webhook


class CannotDecrypt(Exception):
    """None of the store's current secrets decrypts this body."""


def encrypt(webhook: Webhook, store: Store) -> bytes:
    """Encrypt a webhook's body and header values with a key derived from the store's first secret."""
    content = {
        "topic": webhook.topic,
        "shop": webhook.shop,
        "delivery": webhook.delivery,
        "received_at": webhook.received_at,
        "triggered_at": webhook.triggered_at,
        "body": webhook.body,
    }
    return _keys(store.parking_secrets, store.name).encrypt(msgspec.msgpack.encode(content))


def decrypt(sealed: bytes, store: Store) -> Webhook:
    """Return the webhook as it was parked. Raises CannotDecrypt if no current secret fits."""
    try:
        content = _keys(store.parking_secrets, store.name).decrypt(sealed)
    except InvalidToken:
        kind, key = ("webhook_secret", "webhook_secrets") if store.webhook_secrets else ("access_token", "access_token")
        raise CannotDecrypt(f"no current {kind} opens it; put the old one back into {key}") from None
    return msgspec.msgpack.decode(content, type=Webhook)


def _keys(secrets: Iterable[str], store: str) -> MultiFernet:
    return MultiFernet([Fernet(base64.urlsafe_b64encode(_derive(secret, store))) for secret in secrets])


def _derive(secret: str, store: str) -> bytes:
    # One key for each store and purpose: the secret itself signs webhooks, so it must not encrypt anything.
    hkdf = HKDF(algorithm=SHA256(), length=32, salt=b"connector.parked.v1", info=store.encode())
    return hkdf.derive(secret.encode())
