"""connector.core.signature, and the two ways in which a platform makes a key of a secret."""

import base64
import json
from pathlib import Path

import pytest

from connector.core.signature import sign, verify
from connector.core.webhook import InvalidSignature
from platforms.woocommerce.receive import decode_secret

BODY = b'{"id":1}'
KEY = b"key"
RECORDED = Path(__file__).parents[2] / "fixtures" / "woocommerce" / "requests"


def test_sign_is_base64_of_hmac_sha256():
    """RFC 4231, test case 2."""
    expected = bytes.fromhex("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
    assert base64.b64decode(sign(b"what do ya want for nothing?", b"Jefe")) == expected


def test_any_of_several_keys_verifies():
    verify(BODY, sign(BODY, KEY), [b"new", KEY])
    verify(BODY, sign(BODY, b"new"), [b"new", KEY])
    verify(BODY, f" {sign(BODY, KEY)}\r\n", [KEY])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        *(
            ("", "missing"),
            ("é" * 44, "not base64"),
            ("東" * 44, "not base64"),
            ("a b", "not base64"),
            ("abc", "not base64"),
        ),
        *((sign(BODY, KEY)[:-4], "fits none"), (sign(BODY, b"other"), "fits none"), (sign(b"x", KEY), "fits none")),
        *((" ", "fits none"), (sign(BODY, KEY)[:-1], "not base64"), ("A" * 100_000, "fits none")),
    ],
)
def test_a_wrong_signature_is_refused_with_a_reason(given, message):
    with pytest.raises(InvalidSignature, match=message):
        verify(BODY, given, [KEY])


def test_without_keys_nothing_verifies():
    with pytest.raises(InvalidSignature):
        verify(BODY, sign(BODY, b""), [])


@pytest.mark.parametrize(
    ("secret", "key"),
    [
        *(("plain-Secret_1", "plain-Secret_1"), ("&amp;&lt;&gt;&quot;", '&<>"'), ("&#39;&#039;&#0039;", "'''")),
        *(("&#x27;&#X27;&#x027;", "'''"), ("&#34;&#60;&#62;&#38;", '"<>&'), ("&#x22;&#x26;", '"&')),
        *(("&amp;lt;", "&lt;"), ("&amp;amp;", "&amp;")),  # one pass
        *(("&nbsp;&eacute;&#65;&amp", "&nbsp;&eacute;&#65;&amp"), ("&AMP;", "&AMP;")),  # and no others
        ("a&amp;b&lt;c&quot;d&#039;e&#39;f&nbsp;g", "a&b<c\"d'e'f&nbsp;g"),
    ],
)
def test_woocommerce_decodes_five_entities_in_a_secret(secret, key):
    assert decode_secret(secret) == key


@pytest.mark.parametrize("name", ["100_secret-special-raw__order.created", "102_secret-entity__order.created"])
def test_recorded_signatures_of_unusual_secrets_verify(name):
    recording = json.loads((RECORDED / f"{name}.json").read_text())
    body = base64.b64decode(recording["body_base64"])
    given = recording["headers"]["X-WC-Webhook-Signature"]
    verify(body, given, [decode_secret(recording["secret"]).encode()])
    raw = recording["secret"].encode()
    if decode_secret(recording["secret"]) != recording["secret"]:
        with pytest.raises(InvalidSignature):
            verify(body, given, [raw])
