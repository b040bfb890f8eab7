"""What every platform must stand: bodies that nobody would send, and any value in any optional field."""

import copy
import json
import re
from decimal import Decimal
from functools import cache
from operator import itemgetter
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from connector.core.webhook import NotJson
from connector.intake.examine import examine
from connector.outbox.encryption import decrypt
from connector.outbox.outbox import Outbox
from connector.outbox.queries import OutboxQueries
from tests.support.effort import examples, first_of
from tests.support.outbox_rows import rows
from tests.support.platforms import PLATFORMS, SAMPLES
from tests.support.webhook_bench import (
    EVENT_TOPICS,
    HEADER_NAMED,
    NOW,
    PLATFORM_NAMES,
    STORES,
    Bench,
    bench_of,
    body_of,
    first_topic,
    journey,
    request_of,
)

ONE_TOPIC_EACH = first_of(EVENT_TOPICS, itemgetter(0))  # in `make unit`

# --- hostile bodies ----------------------------------------------------------------------------------

NO_JSON = [b"", b" ", b"{", b"webhook_id=", b"\xff\xfe\xfd", b"<xml/>", b"{'a': 1}", b'{"a": "\xc3"}', b"\x00"]
MISFITS = [
    *(b"null", b"[]", b'"x"', b"1", b"true", b"{}", b'{"id": 1}', b"NaN", b"Infinity", b"[-Infinity]"),
    *(b'{"id": "\\ud800"}', b'{"\\udfff": 1}', b"[" * 100_000, b'{"a":' * 100_000, b"[" * 100_000 + b"]" * 100_000),
    *(b"1" + b"0" * 5_000, b"1e999", b"-1e999", b"1e99999999999999999999", b"\xef\xbb\xbf{}"),
    *(b'{"code": "rest_error", "message": "Sorry", "data": {"status": 401}}', b"[" + b'{"a": 1},' * 9_000 + b"{}]"),
]


@pytest.mark.parametrize("body", NO_JSON)
def test_a_signed_body_that_is_no_json_is_unreadable(bench: Bench, body: bytes) -> None:
    name = bench.store.platform
    if name not in HEADER_NAMED and not PLATFORMS[name].recorded_topics:
        pytest.skip("without a topic in its body it is counted")
    for topic in SAMPLES[name].TOPICS:
        with pytest.raises(NotJson):
            bench.take(request_of(name, topic, body))
    assert bench.is_empty()


@pytest.mark.parametrize("body", MISFITS, ids=lambda body: body[:24].decode(errors="replace"))
@pytest.mark.parametrize("name", first_of(HEADER_NAMED))
def test_signed_json_that_is_no_such_webhook_is_parked_and_opens_again(name: str, body: bytes, outbox: Outbox) -> None:
    bench = bench_of(outbox, name)
    for topic in SAMPLES[name].TOPICS:
        assert bench.take(request_of(name, topic, body)) == "parked"
        assert bench.take(request_of(name, topic, body)) == "parked"
    assert not bench.events()
    parked = OutboxQueries(outbox.database).parked()
    assert [item.topic for item in parked] == list(SAMPLES[name].TOPICS)
    assert not any("bug" in item.reason for item in parked), parked[0].reason
    for item in parked:
        assert decrypt(item.sealed, bench.store).body == body
        assert bench.intake.replay(item) == "parked"
    assert len(OutboxQueries(outbox.database).parked()) == len(parked)


HOSTILE_NUMBERS = (b"1e999", b"1" + b"0" * 400, b"1e1000000", b"1e99999999999999999999", b"-1e-999", b"-0.0", b"-7")


def replaced_everywhere(body: Any, marker: object, kind: type, required: set[tuple[str, ...]], at: tuple = ()) -> Any:
    """The body with every optional leaf of a kind replaced."""
    if isinstance(body, dict):
        return {
            key: value
            if (*at, key) in required and not isinstance(value, dict | list)
            else replaced_everywhere(value, marker, kind, required, (*at, key))
            for key, value in body.items()
        }
    if isinstance(body, list):
        return [replaced_everywhere(item, marker, kind, required, (*at, "*")) for item in body]
    return marker if isinstance(body, kind) and not isinstance(body, bool) else body


def kept(name: str, topic: str) -> set[tuple[str, ...]]:
    """The fields that decide what a body is, and whose it is."""
    decisive = {(key,) for key in SAMPLES[name].DECISIVE}
    customer = {("arg", "customer_id"), ("customer_id",), ("customer", "id"), ("order", "user", "id")}
    return decisive | SAMPLES[name].REQUIRED[topic] | customer | {("checkout", "user", "id"), ("checkout", "email")}


@pytest.mark.parametrize(("name", "topic"), ONE_TOPIC_EACH)
def test_hostile_numbers_in_every_number_cost_those_fields_only(name: str, topic: str, outbox: Outbox) -> None:
    bench = bench_of(outbox, name)
    for seed, number in enumerate(HOSTILE_NUMBERS):
        # Ids of lines and addresses, quantities, prices: all of them; those of the object itself stay.
        body = replaced_everywhere(body_of(name, topic, seed), "@", int | float, kept(name, topic))
        text = SAMPLES[name].encode(body).replace(b'"@"', number)
        assert bench.take(request_of(name, topic, text)) == "relayed", OutboxQueries(outbox.database).parked()[:1]
    for payload in bench.payloads():
        check_payload(payload)


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity"])
def test_a_body_that_only_a_lenient_parser_reads_is_kept_for_a_person_to_see(bench: Bench, number: bytes) -> None:
    text = SAMPLES[bench.store.platform].encode(body_of(bench.store.platform, first_topic(bench)))
    text = text.replace(b"{", b'{"more":' + number + b",", 1)
    assert bench.take(request_of(bench.store.platform, first_topic(bench), text)) == "parked"


@pytest.mark.parametrize(("name", "topic"), ONE_TOPIC_EACH)
def test_hostile_text_in_every_text_costs_those_fields_only(name: str, topic: str, outbox: Outbox) -> None:
    bench = bench_of(outbox, name)
    for seed, hostile in enumerate(("\x00", "a\x00b", "\x00" * 5000, "x" * 100_000, "\u202e𝕏\ufffd", "1E+1000000")):
        body = replaced_everywhere(body_of(name, topic, seed), "@", str, kept(name, topic))
        text = SAMPLES[name].encode(body).replace(b'"@"', json.dumps(hostile).encode())
        assert bench.take(request_of(name, topic, text)) == "relayed", OutboxQueries(outbox.database).parked()[:1]
    for payload in bench.payloads():
        assert b"\\u0000" not in payload
        check_payload(payload)


@cache
def thirty_thousand() -> bytes:
    return json.dumps([{"key": f"k{index}", "value": index} for index in range(30_000)]).encode()


@pytest.mark.parametrize(("name", "topic"), ONE_TOPIC_EACH)
def test_a_megabyte_of_json_is_an_order_like_any_other(name: str, topic: str, outbox: Outbox) -> None:
    bench = bench_of(outbox, name)
    body = body_of(name, topic)
    body["note"] = "n" * 400_000
    body["more"] = "@"
    text = SAMPLES[name].encode(body).replace(b'"@"', thirty_thousand())
    assert len(text) > 1_000_000
    assert bench.take(request_of(name, topic, text)) == "relayed"


@pytest.mark.parametrize("name", PLATFORM_NAMES)
def test_raw_nul_bytes_in_a_body_are_no_json(name: str, outbox: Outbox) -> None:
    bench = bench_of(outbox, name)
    body = SAMPLES[name].encode(body_of(name, first_topic(bench)))
    with pytest.raises(NotJson):
        bench.take(request_of(name, first_topic(bench), body.replace(b":", b":\x00", 1)))


# --- any optional field, any value -------------------------------------------------------------------

ANY_TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=40)
ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.decimals(allow_nan=False, allow_infinity=False).map(lambda number: Statistic(str(number)))
    | ANY_TEXT
    | st.sampled_from(["", " ", "0", "-1", "1e5", "12.50", "2026-01-01T00:00:00", "//[", "https://x:99999/", "é@ü.de"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
    max_leaves=6,
)


class Statistic(str):
    """A JSON number with any digits, as `json.dumps` could not write it."""


def written(value: Any) -> bytes:
    """JSON of a body in which a Number is written as it is."""
    if isinstance(value, Statistic):
        return value.encode()
    if isinstance(value, dict):
        return b"{" + b",".join(json.dumps(key).encode() + b":" + written(item) for key, item in value.items()) + b"}"
    if isinstance(value, list):
        return b"[" + b",".join(written(item) for item in value) + b"]"
    return json.dumps(value).encode()


def paths(body: Any, at: tuple = ()) -> list[tuple]:
    """Every place in a body, objects and lists included."""
    inside = body.items() if isinstance(body, dict) else enumerate(body) if isinstance(body, list) else ()
    return [found for key, value in inside for found in [(*at, key), *paths(value, (*at, key))]]


def with_value(body: Any, path: tuple, value: Any) -> Any:
    key, *rest = path
    changed = copy.copy(body)
    changed[key] = with_value(body[key], tuple(rest), value) if rest else value
    return changed


HEX = re.compile(r"[0-9a-f]{64}")
HASHED = ("email", "phone", "external_id", "first_name", "last_name", "zip_code")


def check_payload(payload: bytes) -> None:
    """Nothing that TikTok refuses, nothing empty, nobody's name in plain."""
    item = json.loads(payload, parse_float=Decimal, parse_int=Decimal)

    def check(value: Any) -> None:
        assert value not in ("", None, [], {}), item
        for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            check(inner)

    check(item)
    assert isinstance(item["event_id"], str)
    assert item["event_time"] == int(item["event_time"])
    assert item["page"]["url"].startswith("http")
    user, properties = item["user"], item.get("properties", {})
    for field in HASHED:
        for digest in [user[field]] if isinstance(user.get(field), str) else user.get(field, []):
            assert HEX.fullmatch(digest), field
    assert isinstance(properties.get("order_id", ""), str)
    assert isinstance(properties.get("value", Decimal(0)), Decimal)
    assert ("value" in properties) <= ("currency" in properties)
    for content in properties.get("contents", []):
        assert isinstance(content["content_id"], str)
        assert isinstance(content.get("price", Decimal(0)), Decimal)
        assert content["quantity"] >= 1
    plain = json.dumps(user, default=str)
    assert "@example" not in plain


@pytest.mark.parametrize(("name", "topic"), ONE_TOPIC_EACH)
@examples(30)
@given(seed=st.integers(2, 10**9), where=st.integers(0, 10**6), value=ANY_JSON)
@example(seed=2, where=0, value=None)
@example(seed=3, where=1, value=Statistic("1e99999999999999999999"))
@example(seed=4, where=2, value=[{"key": "_subscription_renewal", "value": "1"}])
def test_any_value_in_any_optional_field_never_costs_the_event(
    name: str, topic: str, outbox: Outbox, seed: int, where: int, value: Any
) -> None:
    bench = bench_of(outbox, name)
    body = body_of(name, topic, seed)
    optional = [path for path in paths(body) if path not in SAMPLES[name].REQUIRED[topic]]
    path = optional[where % len(optional)]
    request = request_of(name, topic, written(with_value(body, path, value)))
    outcome = bench.take(request)
    assert outcome != "parked", OutboxQueries(outbox.database).parked()[-1].reason
    if not SAMPLES[name].DECISIVE.isdisjoint(path):
        return
    assert outcome in ("relayed", "duplicate"), path
    stored = {(row.event, row.event_id): row.payload for row in rows(outbox.database.engine)}
    for key in seen_usually(name, topic, body):
        check_payload(stored[key])
        assert journey(seed).person.email.encode() not in stored[key]


def seen_usually(name: str, topic: str, body: Any) -> list[tuple[str, str]]:
    """The events of the body as the platform would send it."""
    webhook = PLATFORMS[name].receive(request_of(name, topic, SAMPLES[name].encode(body)), STORES[name])
    assert webhook is not None
    seen = examine(webhook, PLATFORMS[name], STORES[name], NOW, None)
    assert seen.events
    return [(item.event, item.event_id) for item in seen.events]


# Whose total is a text at the top of the body; the conformance kit compares the value of all others.
WITH_TOTAL = [
    pair for pair in EVENT_TOPICS if pair[1].startswith("order") and pair[0] in ("shopify", "signed", "woocommerce")
]


@pytest.mark.parametrize(("name", "topic"), WITH_TOTAL)
def test_the_value_is_a_json_number_with_the_digits_of_the_shop(name: str, topic: str) -> None:
    """44.50 stays 44.50, and 9278 yen get no decimals that the shop did not write."""
    for seed in range(12):
        body = body_of(name, topic, seed)
        total = body["total_price_set"]["presentment_money"]["amount"] if "total_price_set" in body else body["total"]
        webhook = PLATFORMS[name].receive(request_of(name, topic, SAMPLES[name].encode(body)), STORES[name])
        assert webhook is not None
        for item in examine(webhook, PLATFORMS[name], STORES[name], NOW, None).events:
            assert re.findall(rb'"value":([^,}]+)', item.payload) == [total.encode()]
