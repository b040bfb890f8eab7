"""Sealing bodies that could not be handled."""

import base64
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cryptography.fernet import Fernet, InvalidToken
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from connector.core.webhook import Webhook
from connector.outbox.encryption import CannotDecrypt, decrypt, encrypt
from tests.support.factories import a_store
from tests.support.rows import each_row

ACME = a_store(webhook_secrets=("first-secret",))
BODY = b'{"id": 1001, "email": "ann@example.com", "name": "Ann Archer"}'
WEBHOOK = Webhook(
    topic="orders/create",
    body=BODY,
    received_at=datetime(2026, 5, 1, 12, 30, 15, 250_000, UTC),
    shop="acme.myshopify.com",
    delivery="delivery-1",
    triggered_at=datetime(2026, 5, 1, 12, 30, 14, tzinfo=UTC),
)


def test_comes_back_as_it_was_parked() -> None:
    """Body, claims of the headers and aware times survive, bit by bit."""
    assert decrypt(encrypt(WEBHOOK, ACME), ACME) == WEBHOOK


@given(body=st.binary(max_size=500), topic=st.text(st.characters(exclude_categories=["Cs"])))
def test_any_body_comes_back(body: bytes, topic: str) -> None:
    """What could not be handled is often not even text."""
    webhook = Webhook(topic, body, WEBHOOK.received_at)
    assert decrypt(encrypt(webhook, ACME), ACME) == webhook


def test_the_parsed_body_is_not_kept_beside_the_raw_one() -> None:
    """Only the raw bytes are stored; parsing is the current code's business."""
    assert decrypt(encrypt(structs.replace(WEBHOOK, data={"id": 1001}), ACME), ACME).data is None


def test_opens_after_the_secret_was_rotated() -> None:
    """A new secret in front seals; the old one behind it still opens."""
    rotated = replace(ACME, webhook_secrets=("second-secret", "first-secret"))
    assert decrypt(encrypt(WEBHOOK, ACME), rotated) == WEBHOOK
    with pytest.raises(CannotDecrypt):
        decrypt(encrypt(WEBHOOK, rotated), ACME)  # sealed with the new one


def test_does_not_open_once_its_secret_is_gone() -> None:
    """The message says what to do, and holds neither the secret nor the body."""
    with pytest.raises(CannotDecrypt, match="put the old one back into webhook_secrets") as caught:
        decrypt(encrypt(WEBHOOK, ACME), replace(ACME, webhook_secrets=("second-secret",)))
    assert "secret-" not in str(caught.value)
    assert "ann" not in str(caught.value)


def test_another_store_with_the_same_secret_does_not_open_it() -> None:
    """One app's secret serves several shops, yet each has a key of its own."""
    with pytest.raises(CannotDecrypt):
        decrypt(encrypt(WEBHOOK, ACME), replace(ACME, name="other"))


@each_row("damage", [b"", b"x", b"gAAAAA==", "cut", "flipped"])
def test_damaged_bytes_do_not_open(damage: bytes | str) -> None:
    """Whatever was changed at rest is noticed, and is no other exception."""
    sealed = encrypt(WEBHOOK, ACME)
    broken = {"cut": sealed[:-5], "flipped": sealed[:40] + bytes([sealed[40] ^ 1]) + sealed[41:]}.get(damage, damage)
    assert isinstance(broken, bytes)
    with pytest.raises(CannotDecrypt):
        decrypt(broken, ACME)


def test_nothing_of_the_body_is_readable() -> None:
    """Neither raw nor after decoding what Fernet writes around it; sealing twice looks different."""
    sealed = encrypt(WEBHOOK, ACME)
    for readable in (sealed, base64.urlsafe_b64decode(sealed)):
        for word in (b"ann@example.com", b"Archer", b"1001", b"orders/create", b"acme", b"first-secret"):
            assert word not in readable
    assert encrypt(WEBHOOK, ACME) != sealed


def test_the_secret_itself_is_not_the_key() -> None:
    """A secret that happens to be a Fernet key signs webhooks only; the key is derived."""
    key = Fernet.generate_key().decode()
    sealed = encrypt(WEBHOOK, replace(ACME, webhook_secrets=(key,)))
    with pytest.raises(InvalidToken):
        Fernet(key).decrypt(sealed)
