"""connector.core.public_keys: detached JWS with RS256, and the keys by which a store verifies it."""

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from connector.core.public_keys import DetachedJws, KeyRing, read_keys, thumbprint
from connector.core.webhook import InvalidSignature, Request, UnknownKey
from tests.support.factories import a_store
from tests.support.keyed_shop import Signer
from tests.support.rows import each_row

NOW = datetime(2026, 11, 23, 15, 4, 5, tzinfo=UTC)
BODY = b'{"id": 1}'
SCHEME = DetachedJws("X-Sign")
SHOP, STRANGER = Signer(), Signer()
STORE = a_store(webhook_secrets=(), webhook_keys=(SHOP.jwks,))
# RFC 7638, 3.1
RFC_KEY = {
    "kty": "RSA",
    "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjB"
    "ZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8"
    "KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_"
    "xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
    "e": "AQAB",
}


def request_of(signer=SHOP, body=BODY):
    request = Request({}, body, NOW)
    return structs.replace(request, headers={"x-sign": SCHEME.sign(request, signer.private)["X-Sign"]})


def with_header(**fields):
    """A request whose JWS header has other fields, signed by the shop over just this header."""
    protected = base64.urlsafe_b64encode(json.dumps(fields).encode()).rstrip(b"=").decode()
    return with_signature(f"{protected}..{request_of().headers['x-sign'].rpartition('.')[2]}")


def with_signature(text):
    return Request({"x-sign": text}, BODY, NOW)


def test_the_id_of_a_key_is_its_thumbprint():
    ((key_id, key),) = read_keys(json.dumps({"keys": [RFC_KEY]})).items()
    assert key_id == thumbprint(key) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


@pytest.mark.parametrize("written", [SHOP.jwks, SHOP.pem])
def test_a_shops_key_verifies_in_either_form(written):
    SCHEME.verify(request_of(), replace(STORE, webhook_keys=(written,)))


@pytest.mark.slow
def test_one_of_several_keys_while_they_are_replaced():
    store = replace(STORE, webhook_keys=(STRANGER.pem, SHOP.jwks))
    for signer in (SHOP, STRANGER):
        SCHEME.verify(request_of(signer), store)


def test_an_unknown_key_is_told_apart_and_wanted():
    """It can be a new one: 503, not 401, which the shop would not repeat."""
    store = replace(STORE)
    assert not store.keys.wanted
    with pytest.raises(UnknownKey, match="not known yet"):
        SCHEME.verify(request_of(STRANGER), store)
    assert store.keys.wanted
    store.keys.replace([STRANGER.jwks])
    for signer in (SHOP, STRANGER):  # those of the settings stay
        SCHEME.verify(request_of(signer), store)
    store.keys.replace([])
    with pytest.raises(UnknownKey):
        SCHEME.verify(request_of(STRANGER), store)


@pytest.mark.slow
def test_no_bit_may_differ():
    good = request_of()
    for field, value in (("body", BODY), ("header", good.headers["x-sign"].encode())):
        for position in range(8 * len(value)):
            flipped = bytearray(value)
            flipped[position // 8] ^= 1 << position % 8
            changed = (
                structs.replace(good, body=bytes(flipped))
                if field == "body"
                else with_signature(flipped.decode("latin-1"))
            )
            with pytest.raises((InvalidSignature, UnknownKey)):
                SCHEME.verify(changed, STORE)
    SCHEME.verify(good, STORE)


@each_row(
    "fields",
    [
        {"alg": "none"},
        {"alg": "HS256", "b64": False, "crit": ["b64"]},
        {"alg": "RS256", "b64": True, "crit": ["b64"]},
        {"alg": "RS256", "crit": ["b64"]},
        {"alg": "RS256", "b64": False, "crit": []},
        {"alg": "RS256", "b64": False},
        {"alg": "RS256", "b64": 0, "crit": ["b64"]},
    ],
)
def test_the_scheme_is_not_the_senders_choice(fields):
    (key_id,) = read_keys(SHOP.jwks)
    with pytest.raises(InvalidSignature, match="not RS256"):
        SCHEME.verify(with_header(**fields, kid=key_id), STORE)


def test_a_key_must_be_named():
    with pytest.raises(InvalidSignature, match="kid"):
        SCHEME.verify(with_header(alg="RS256", b64=False, crit=["b64"]), STORE)


@each_row("text", ["a.b.c", "..", "a..", "a..b.c", "é..é", "W10..AAAA", "x" * 9000, "e30..", "東..東"])
def test_a_header_that_is_no_detached_jws(text):
    with pytest.raises(InvalidSignature):
        SCHEME.verify(with_signature(text), STORE)


def test_a_missing_header():
    with pytest.raises(InvalidSignature, match="missing"):
        SCHEME.verify(Request({}, BODY, NOW), STORE)


@given(st.text(max_size=300), st.text(max_size=300))
def test_no_header_raises_another_error(one, other):
    for text in (
        one,
        f"{one}..{other}",
        base64.urlsafe_b64encode(one.encode("utf-8", "replace")).decode() + ".." + other,
    ):
        with pytest.raises((InvalidSignature, UnknownKey)):
            SCHEME.verify(with_signature(text), STORE)


@each_row(
    ("text", "why"),
    [
        ("", "not a JWKS"),
        ("{}", "not a JWKS"),
        ('{"keys": 7}', "not a JWKS"),
        ('{"keys": ["x"]}', "not a JWKS"),
        ('{"keys": [{"kty": "RSA"}]}', "not a JWKS"),
        ('{"keys": [{"kty": "RSA", "n": "é", "e": "AQAB"}]}', "not a JWKS"),
        ('{"keys": ' + "[" * 5000, "not a JWKS"),
        ('{"keys": []}', "no RSA key"),
        ('{"keys": [{"kty": "EC", "crv": "P-256"}]}', "no RSA key"),
        (json.dumps({"keys": [RFC_KEY | {"use": "enc"}]}), "no RSA key"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "not a public key"),
        (SHOP.private, "not a public key"),
    ],
)
def test_a_text_that_is_no_key_set(text, why):
    with pytest.raises(ValueError, match=why):
        read_keys(text)


def test_a_short_key_is_refused():
    """A key of 1,024 bits can be broken, and whoever breaks it forges orders."""
    short = Signer(1024)
    for text in (short.jwks, short.pem):
        with pytest.raises(ValueError, match="1024 bits; fewer than 2048"):
            read_keys(text)


def test_a_ring_without_keys():
    ring = KeyRing()
    assert len(ring) == 0
    assert len(KeyRing([SHOP.pem])) == 1
    with pytest.raises(UnknownKey):
        ring.find("any")
