"""connector.core.signature: the schemes of shop systems, with the vendors' own vectors, and what each refuses."""

import base64
import hmac
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from connector.core.signature import (
    BodySignature,
    HeaderToken,
    StandardWebhooks,
    TimedSignature,
    body_sha256,
    new_secret,
    standard_key,
)
from connector.core.webhook import InvalidSignature, Request
from platforms.woocommerce.receive import SIGNATURE as WOOCOMMERCE
from platforms.woocommerce.receive import decode_secret
from tests.support.factories import a_store
from tests.support.rows import each_row

BODY = b'{"id":1}'
SECRET = "a-shared-secret"
NOW = datetime(2026, 11, 23, 15, 4, 5, tzinfo=UTC)
STORE = a_store(webhook_secrets=("another-secret", SECRET))
URL = "https://connector.example/webhooks/acme"
RECORDED = Path(__file__).parents[2] / "fixtures" / "woocommerce" / "requests"
SCHEMES = {
    "base64": BodySignature("X-Sign"),
    "hex": BodySignature("X-Sign", ("hex",)),
    "either": BodySignature("X-Sign", ("hex", "base64")),
    "prefixed": BodySignature("X-Sign", ("hex",), prefix="sha256="),
    "url": BodySignature("X-Sign", over_url=True),
    "timed": TimedSignature("X-Sign"),
    "timed by header": TimedSignature("X-Sign", time_header="X-Time"),
    "standard": StandardWebhooks(),
    "token": HeaderToken("X-Sign", prefix="Bearer "),
}
UNSIGNED_BODY = {"token"}


def request_of(scheme, secret=SECRET, at=NOW, body=BODY):
    request = Request({}, body, at, URL)
    signed = scheme.sign(request, secret)
    return structs.replace(request, headers={name.lower(): value for name, value in signed.items()})


def at_once(text):
    """Vectors are older than any tolerance."""
    return datetime.fromtimestamp(int(text), UTC)


# --- vectors ------------------------------------------------------------------------------------------------------


def test_base64_of_the_body():
    """RFC 4231, test case 2."""
    expected = bytes.fromhex("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
    (made,) = SCHEMES["base64"].sign(Request({}, b"what do ya want for nothing?", NOW), "Jefe").values()
    assert base64.b64decode(made) == expected


def test_hex_of_the_body():
    """The vector in the test of SHOPLINE's own SDK: client/webhook_client_test.go of shopline-sdk-go."""
    given_hex = "edf64f4c46a9cb2c8aaa6c7034b77899aca1b63ad0c461901417a42b1cf139b0"
    store = a_store(webhook_secrets=("LDLLJJLflja2039203flaflaLLFLE",))
    body = b'{"body_html":"BodyHtml","id":"32398389389389"}'
    for found in (given_hex, base64.b64encode(bytes.fromhex(given_hex)).decode()):
        SCHEMES["either"].verify(Request({"x-sign": found}, body, NOW), store)
    with pytest.raises(InvalidSignature):
        SCHEMES["base64"].verify(Request({"x-sign": given_hex}, body, NOW), store)


def test_time_and_body_in_one_header():
    """Made by Stripe's own library, with a second signature as while a secret is replaced."""
    made = "4501399bdf0d3f787829542f0e7826694cf1881e3b63ca79e6dc8c84cc749464"
    header = f"t=1795412160,v1={'0' * 64},v1={made},v0=ignored"
    request = Request({"x-sign": header}, b'{"id":"evt_1","object":"event"}', at_once(1795412160))
    store = a_store(webhook_secrets=("whsec_example0123456789abcdefABCDEF",))
    SCHEMES["timed"].verify(request, store)
    with pytest.raises(InvalidSignature, match="fits none"):  # only v1 counts
        SCHEMES["timed"].verify(structs.replace(request, headers={"x-sign": header.replace("v1", "v0")}), store)


def test_the_standard_webhooks():
    """Made by the package standardwebhooks 1.1.0, with BigCommerce's key: the client secret as text."""
    headers = {
        "webhook-id": "msg_0001",
        "webhook-timestamp": "1795412160",
        "webhook-signature": "v1a,xxx v1,AAAA v1,yqx79As8uSZIP1wQacvXh1Etr8F0jewbWFRJKBNcmH0=",
    }
    body = b'{"scope":"store/order/created","data":{"type":"order","id":250}}'
    request = Request(headers, body, at_once(1795412160))
    SCHEMES["standard"].verify(request, a_store(webhook_secrets=("bigcommerce-client-secret-example",)))
    assert SCHEMES["standard"].delivery(request) == "msg_0001"


def test_the_key_of_a_standard_secret():
    """The text after the prefix is base64; what is not is taken as it is, not refused inside a request."""
    assert standard_key("whsec_" + base64.b64encode(b"\x00\xff key").decode()) == b"\x00\xff key"
    assert standard_key("no prefix") == b"no prefix"
    assert standard_key("whsec_not base64!") == b"whsec_not base64!"


def test_the_url_is_signed_too():
    """As Square does: the same body for another address is refused."""
    scheme, request = SCHEMES["url"], request_of(SCHEMES["url"])
    expected = hmac.digest(SECRET.encode(), URL.encode() + BODY, "sha256")
    assert base64.b64decode(request.headers["x-sign"]) == expected
    scheme.verify(request, STORE)
    with pytest.raises(InvalidSignature):
        scheme.verify(structs.replace(request, url=URL + "2"), STORE)


# --- every scheme -------------------------------------------------------------------------------------------------


@each_row("name", SCHEMES)
def test_any_of_a_stores_secrets_signs(name):
    for secret in STORE.webhook_secrets:
        SCHEMES[name].verify(request_of(SCHEMES[name], secret), STORE)
    with pytest.raises(InvalidSignature, match="fits none"):
        SCHEMES[name].verify(request_of(SCHEMES[name], "a third"), STORE)


@pytest.mark.parametrize("name", SCHEMES)
def test_no_bit_may_differ(name):
    """Neither of the body nor of what signs it."""
    scheme, good = SCHEMES[name], request_of(SCHEMES[name])
    headers = {scheme.header.lower(), "x-time", "webhook-id", "webhook-timestamp"} & set(good.headers)
    tried = 0
    for header in headers:
        value = good.headers[header].encode("latin-1")
        for position in range(8 * len(value)):
            flipped = bytearray(value)
            flipped[position // 8] ^= 1 << position % 8
            changed = {**good.headers, header: flipped.decode("latin-1")}
            with pytest.raises(InvalidSignature):
                scheme.verify(structs.replace(good, headers=changed), STORE)
            tried += 1
    for position in range(8 * len(BODY) if name not in UNSIGNED_BODY else 0):
        flipped = bytearray(BODY)
        flipped[position // 8] ^= 1 << position % 8
        with pytest.raises(InvalidSignature):
            scheme.verify(structs.replace(good, body=bytes(flipped)), STORE)
    assert tried > 100
    scheme.verify(good, STORE)


@each_row("name", SCHEMES)
def test_a_missing_header_is_told(name):
    request = request_of(SCHEMES[name])
    for header in request.headers:
        left = {key: value for key, value in request.headers.items() if key != header}
        why = "missing" if header == SCHEMES[name].header.lower() else "fits none"
        with pytest.raises(InvalidSignature, match=why):
            SCHEMES[name].verify(structs.replace(request, headers=left), STORE)


@each_row("name", SCHEMES)
def test_without_secrets_nothing_verifies(name):
    """Not even what an empty secret signed."""
    for secret in ("", SECRET):
        with pytest.raises(InvalidSignature):
            SCHEMES[name].verify(request_of(SCHEMES[name], secret), replace(STORE, webhook_secrets=()))


@pytest.mark.parametrize("name", SCHEMES)
@given(value=st.text(max_size=200))
def test_no_header_raises_another_error(name, value):
    """Whatever it is; a long one costs no more than ten comparisons."""
    for junk in (value, value * 100, f"t={value},v1={value}", f"v1,{value}", "v1,a " * 5000):
        request = Request({SCHEMES[name].header.lower(): junk, "webhook-timestamp": value, "x-time": value}, BODY, NOW)
        with pytest.raises(InvalidSignature):
            SCHEMES[name].verify(request, STORE)


@pytest.mark.parametrize("name", ["timed", "timed by header", "standard"])
def test_an_old_signature_is_refused(name):
    """And one of the future, with the difference; at the limit it counts."""
    scheme = SCHEMES[name]
    for age, why in ((timedelta(seconds=301), "5 minutes before it arrived"), (timedelta(hours=-3), "3 hours after")):
        with pytest.raises(
            InvalidSignature, match=f"was made {why}.*it counts for 5 minutes; check this server's clock"
        ):
            scheme.verify(structs.replace(request_of(scheme), received_at=NOW + age), STORE)
    for age in (-300, 0, 300):
        scheme.verify(structs.replace(request_of(scheme), received_at=NOW + timedelta(seconds=age)), STORE)


def test_a_signature_without_a_time_is_refused():
    """A secret's owner alone can make one, but a replay of it would never end."""
    made = hmac.digest(SECRET.encode(), b"soon." + BODY, "sha256").hex()
    with pytest.raises(InvalidSignature, match="has no time"):
        SCHEMES["timed"].verify(Request({"x-sign": f"t=soon,v1={made}"}, BODY, NOW), STORE)


# --- of the body --------------------------------------------------------------------------------------------------


def test_white_space_around_it_is_none_of_it():
    good = request_of(SCHEMES["base64"]).headers["x-sign"]
    SCHEMES["base64"].verify(Request({"x-sign": f" {good}\r\n"}, BODY, NOW), STORE)


@each_row(
    ("given_header", "message"),
    [("", "missing"), *((other, "fits none") for other in (" ", "é" * 44, "東" * 44, "a b", "A" * 100_000))],
)
def test_a_wrong_signature_is_refused_with_a_reason(given_header, message):
    with pytest.raises(InvalidSignature, match=message):
        SCHEMES["base64"].verify(Request({"x-sign": given_header}, BODY, NOW), STORE)


def test_a_signature_in_another_spelling_is_another():
    """Base64 can spell the same bytes in four ways, and hex in capitals: only the usual one counts."""
    good = request_of(SCHEMES["base64"]).headers["x-sign"]
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    for spelled in (good[:-2] + last[last.index(good[-2]) ^ 1] + "=", good.rstrip("=")):
        with pytest.raises(InvalidSignature):
            SCHEMES["base64"].verify(Request({"x-sign": spelled}, BODY, NOW), STORE)
    capitals = request_of(SCHEMES["hex"]).headers["x-sign"].upper()
    with pytest.raises(InvalidSignature):
        SCHEMES["hex"].verify(Request({"x-sign": capitals}, BODY, NOW), STORE)


def test_a_prefix_is_part_of_it():
    good = request_of(SCHEMES["prefixed"]).headers["x-sign"]
    assert good.startswith("sha256=")
    with pytest.raises(InvalidSignature, match="does not begin with sha256="):
        SCHEMES["prefixed"].verify(Request({"x-sign": good.removeprefix("sha256=")}, BODY, NOW), STORE)


def test_a_header_of_two_names():
    scheme = BodySignature("X-New", aliases=("X-Old",))
    good = scheme.sign(Request({}, BODY, NOW), SECRET)["X-New"]
    for name in ("x-new", "x-old"):
        scheme.verify(Request({name: good}, BODY, NOW), STORE)


def test_a_new_secret_is_one_that_shops_do_not_change():
    assert new_secret(lambda size: b"\xff" * size) == "_" * 42 + "8"
    assert len(body_sha256(BODY)) == 32


# --- WooCommerce's secrets ----------------------------------------------------------------------------------------


@each_row(
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
    headers = {"x-wc-webhook-signature": recording["headers"]["X-WC-Webhook-Signature"]}
    request = Request(headers, base64.b64decode(recording["body_base64"]), NOW)
    WOOCOMMERCE.verify(request, a_store(webhook_secrets=(recording["secret"],)))
    if decode_secret(recording["secret"]) != recording["secret"]:
        with pytest.raises(InvalidSignature):
            replace(WOOCOMMERCE, key=str.encode).verify(request, a_store(webhook_secrets=(recording["secret"],)))
