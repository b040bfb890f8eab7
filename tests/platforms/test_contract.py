"""What every platform must stand: one set of tests through the real intake on a real database file.

The tables they go by are the platform's own: connector/plugin/testing/samples.py says which.
"""

import base64
import copy
import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from msgspec import structs
from sqlalchemy.event import listen

from connector.core.json_fields import host
from connector.core.store import EventIdTemplates, MappingSettings, Pixel, Store
from connector.core.webhook import InvalidSignature, NotJson, Request, Webhook
from connector.intake.examine import examine
from connector.intake.intake import Intake
from connector.outbox.encryption import decrypt
from connector.outbox.lanes import Lane
from connector.outbox.outbox import Outbox
from connector.outbox.queries import EventFilter, OutboxQueries
from connector.plugin.testing.shoppers import Journey
from connector.privacy.requests import DataRequestStore
from connector.storage.database import Database
from connector.storage.engine import connect
from tests.support.platforms import PLATFORMS, SAMPLES

NOW = datetime(2026, 11, 23, 15, 4, 5, tzinfo=UTC)
SECRET = "whsec_example_0123456789"
STORES = {
    name: Store(
        name="acme",
        platform=name,
        url="https://acme.example",
        shops=(host(SAMPLES[name].DEMO_SHOP.shop),),
        webhook_secrets=(SECRET,),
        pixels=(Pixel("CABCDEFGHIJKLMNOPQR0", "token", "TEST12345"),),
        consent="not_required",
        event_id=EventIdTemplates(
            "acme-order-{order_id}", "acme-checkout-{checkout_token}", "acme-customer-{customer_id}"
        ),
        mapping=MappingSettings(content_id=platform.facts.content_id),
    )
    for name, platform in PLATFORMS.items()
}
PLATFORM_NAMES = sorted(PLATFORMS)
TOPICS = [(name, topic) for name in PLATFORM_NAMES for topic in SAMPLES[name].TOPICS]
EVENT_TOPICS = [(name, topic) for name, topic in TOPICS if topic in PLATFORMS[name].event_topics]
HANDSHAKES = {name: samples.HANDSHAKE for name, samples in SAMPLES.items() if samples.HANDSHAKE}


# --- the bench ---------------------------------------------------------------------------------------


@dataclass
class Bench:
    """One store of one platform, its intake and the database behind it."""

    intake: Intake
    outbox: Outbox
    store: Store

    def take(self, request: Request) -> str:
        return self.intake.take(self.store, request)

    def events(self) -> list[tuple[str, str]]:
        return sorted(
            (row.event, row.event_id) for row in OutboxQueries(self.outbox.database).find(EventFilter(), 1000)
        )

    def payloads(self) -> list[bytes]:
        lane = Lane(self.store.name, self.store.pixels[0].code)
        claimed = self.outbox.claim(lane, 1000, "test", NOW.timestamp() + 60, 60)
        assert len(claimed) == len(self.events())
        return [row.payload for row in claimed]

    def lines(self, key: str) -> list[str]:
        """The outcomes of the ledger's lines about an object."""
        return [line.outcome for line in OutboxQueries(self.outbox.database).show(key)[0]]

    def counted(self, what: str) -> int:
        self.intake.flush()
        return sum(row.count for row in OutboxQueries(self.outbox.database).counted() if row.what == what)

    def is_empty(self) -> bool:
        return (
            not self.events()
            and not OutboxQueries(self.outbox.database).parked()
            and not OutboxQueries(self.outbox.database).show("")[0]
        )


def bench_of(outbox: Outbox, name: str, platform: Any = None, store: Store | None = None) -> Bench:
    store = store or STORES[name]
    intake = Intake(
        {store.name: store},
        {name: platform or PLATFORMS[name]},
        outbox,
        DataRequestStore(outbox.database),
        clock=lambda: NOW,
    )
    return Bench(intake, outbox, store)


@pytest.fixture(scope="module")
def empty_database(migrated_sqlite: Path) -> bytes:
    return migrated_sqlite.read_bytes()


@pytest.fixture
def outbox(tmp_path: Path, empty_database: bytes) -> Iterator[Outbox]:
    path = tmp_path / "connector.db"
    path.write_bytes(empty_database)
    engine = connect(f"sqlite:///{path}")
    # No power is cut in these tests, and waiting for the disk is most of their time.
    listen(engine, "connect", lambda connection, _record: connection.execute("PRAGMA synchronous=OFF"))
    yield Outbox(Database(engine))
    engine.dispose()


@pytest.fixture(params=PLATFORM_NAMES)
def bench(request: pytest.FixtureRequest, outbox: Outbox) -> Bench:
    return bench_of(outbox, request.param)


def journey(seed: int = 1) -> Journey:
    return Journey.random(random.Random(seed), NOW)


def body_of(name: str, topic: str, seed: int = 1) -> Any:
    body = SAMPLES[name].sample(topic, journey(seed), STORES[name])
    # Samples are of shoppers without an account; a registration needs one.
    return {**body, "state": "enabled"} if topic.startswith("customers/") and "state" in body else body


def request_of(name: str, topic: str, body: bytes, secret: str = SECRET, **headers: str) -> Request:
    found = SAMPLES[name].headers(topic, journey(), STORES[name]) if topic in SAMPLES[name].TOPICS else {}
    found = {key.lower(): value for key, value in found.items()}
    found |= {SAMPLES[name].TOPIC_HEADER: topic}
    found |= {key.lower(): value for key, value in PLATFORMS[name].signed_headers(body, secret).items()}
    return Request(found | headers, body, NOW)


def sample_request(name: str, topic: str, seed: int = 1, **headers: str) -> Request:
    return request_of(name, topic, SAMPLES[name].encode(body_of(name, topic, seed)), **headers)


def signature_header(name: str) -> str:
    return next(iter(PLATFORMS[name].signed_headers(b"", SECRET))).lower()


def first_topic(bench: Bench) -> str:
    return SAMPLES[bench.store.platform].TOPICS[0]


def resigned(request: Request, signature: str) -> Request:
    name = next(name for name in PLATFORM_NAMES if signature_header(name) in request.headers)
    return structs.replace(request, headers={**request.headers, signature_header(name): signature})


# --- signatures --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "topic"), TOPICS)
def test_a_well_signed_sample_of_every_topic_is_taken(name: str, topic: str, outbox: Outbox) -> None:
    bench = bench_of(outbox, name)
    expected = "relayed" if topic in PLATFORMS[name].event_topics else "recorded"
    assert bench.take(sample_request(name, topic)) == expected
    assert bool(bench.events()) == (expected == "relayed")
    assert not OutboxQueries(outbox.database).parked()


def forgeries(request: Request, good: str) -> Iterator[Request]:
    other = SECRET.replace("e", "f")
    name = next(name for name in PLATFORM_NAMES if signature_header(name) in request.headers)
    header = signature_header(name)
    yield structs.replace(request, headers={**request.headers, **request_of(name, "", request.body, other).headers})
    yield structs.replace(request, body=request.body[:-1] + b" ")
    yield structs.replace(request, body=request.body + b"\n")
    yield structs.replace(request, headers={key: value for key, value in request.headers.items() if key != header})
    digest = base64.b64decode(good)
    for bad in (
        *("", " ", "junk", "=", "====", "é" * 44, "ÿþ", "\x00", good[:-1], good[:20], good[:40], good + good),
        *(f"sha256={good}", good.replace("=", ""), digest.hex(), base64.urlsafe_b64encode(digest + b"\xff").decode()),
        *("€" * 44, base64.b64encode(digest[:-1]).decode(), base64.b64encode(digest[::-1]).decode(), "A" * 100_000),
    ):
        yield resigned(request, bad)


def test_a_forged_signature_is_refused_and_nothing_is_stored(bench: Bench) -> None:
    request = sample_request(bench.store.platform, first_topic(bench))
    tried = 0
    for forged in forgeries(request, request.headers[signature_header(bench.store.platform)]):
        tried += 1
        with pytest.raises(InvalidSignature):
            bench.take(forged)
    assert bench.is_empty()
    assert bench.counted("refused") == tried
    assert bench.take(request) == "relayed"


def test_white_space_around_a_good_signature_is_none_of_it(bench: Bench) -> None:
    request = sample_request(bench.store.platform, first_topic(bench))
    good = request.headers[signature_header(bench.store.platform)]
    assert bench.take(resigned(request, f" {good} ")) == "relayed"


def test_while_secrets_rotate_either_of_two_verifies(outbox: Outbox) -> None:
    for name in PLATFORM_NAMES:
        store = replace(STORES[name], webhook_secrets=("the-new-secret", SECRET))
        bench = bench_of(outbox, name, store=store)
        for secret in store.webhook_secrets:
            body = SAMPLES[name].encode(body_of(name, first_topic(bench)))
            assert bench.take(request_of(name, first_topic(bench), body, secret)) in ("relayed", "duplicate")


# --- what is not for us ------------------------------------------------------------------------------


def test_an_unknown_topic_is_ignored_and_counted_but_must_be_signed(bench: Bench) -> None:
    name = bench.store.platform
    for topic in ("products/update", "product.updated", "", "orders/create/x", "nul\x00", "\ud800"):
        assert bench.take(request_of(name, "", b"not even JSON", **{SAMPLES[name].TOPIC_HEADER: topic})) == "ignored"
    with pytest.raises(InvalidSignature):
        bench.take(request_of(name, "", b"{}", "another secret", **{SAMPLES[name].TOPIC_HEADER: "products/update"}))
    assert bench.is_empty()
    assert bench.counted("ignored") == 6


@pytest.mark.parametrize("name", sorted(HANDSHAKES))
def test_a_handshake_needs_no_signature_and_changes_nothing(name: str, outbox: Outbox) -> None:
    bench = bench_of(outbox, name)
    assert bench.take(Request({}, HANDSHAKES[name], NOW)) == "handshake"
    for almost in (
        HANDSHAKES[name] + b"&x=1",
        b"webhook_id=",
        b"webhook_id=-1",
        b'{"webhook_id":7}',
        b"",
        b"webhook_id=7;",
    ):
        with pytest.raises(InvalidSignature):
            bench.take(Request({}, almost, NOW))
    with pytest.raises(InvalidSignature):
        bench.take(Request({SAMPLES[name].TOPIC_HEADER: "order.created"}, HANDSHAKES[name], NOW))
    assert bench.is_empty()


# --- once each ---------------------------------------------------------------------------------------


def test_the_same_webhook_twice_is_one_event_and_one_line(bench: Bench) -> None:
    request = sample_request(bench.store.platform, first_topic(bench))
    assert bench.take(request) == "relayed"
    events = bench.events()
    assert bench.take(request) == "duplicate"
    assert bench.events() == events
    assert bench.lines(events[0][1]) == ["relayed"]
    assert bench.counted("duplicate") == 1


@pytest.mark.parametrize("name", PLATFORM_NAMES)
@pytest.mark.parametrize("seed", range(6))
def test_in_whatever_order_and_however_often_topics_come_each_event_is_there_once(
    name: str, seed: int, outbox: Outbox
) -> None:
    bench = bench_of(outbox, name)
    requests = [
        sample_request(name, topic) for topic in SAMPLES[name].TOPICS if topic in PLATFORMS[name].event_topics
    ] * 2
    random.Random(seed).shuffle(requests)
    for request in requests:
        assert bench.take(request) in ("relayed", "duplicate")
    of = journey()
    assert bench.events() == sorted(
        [
            ("CompleteRegistration", f"acme-customer-{of.customer_id}"),
            ("InitiateCheckout", f"acme-checkout-{of.checkout_token}"),
            ("PlaceAnOrder", f"acme-order-{of.order_id}"),
            ("Purchase", f"acme-order-{of.order_id}"),
        ]
    )


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
    for topic in SAMPLES[bench.store.platform].TOPICS:
        with pytest.raises(NotJson):
            bench.take(request_of(bench.store.platform, topic, body))
    assert bench.is_empty()


@pytest.mark.parametrize("body", MISFITS, ids=lambda body: body[:24].decode(errors="replace"))
@pytest.mark.parametrize("name", PLATFORM_NAMES)
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
    return decisive | SAMPLES[name].REQUIRED[topic] | {("arg", "customer_id"), ("customer_id",), ("customer", "id")}


@pytest.mark.parametrize(("name", "topic"), EVENT_TOPICS)
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


@pytest.mark.parametrize(("name", "topic"), EVENT_TOPICS)
def test_hostile_text_in_every_text_costs_those_fields_only(name: str, topic: str, outbox: Outbox) -> None:
    bench = bench_of(outbox, name)
    for seed, hostile in enumerate(("\x00", "a\x00b", "\x00" * 5000, "x" * 100_000, "\u202e𝕏\ufffd", "1E+1000000")):
        body = replaced_everywhere(body_of(name, topic, seed), hostile, str, kept(name, topic))
        text = SAMPLES[name].encode(body)
        assert bench.take(request_of(name, topic, text)) == "relayed", OutboxQueries(outbox.database).parked()[:1]
    for payload in bench.payloads():
        assert b"\\u0000" not in payload
        check_payload(payload)


@pytest.mark.parametrize(("name", "topic"), EVENT_TOPICS)
def test_a_megabyte_of_json_is_an_order_like_any_other(name: str, topic: str, outbox: Outbox) -> None:
    bench = bench_of(outbox, name)
    body = body_of(name, topic)
    body["note"] = "n" * 400_000
    body["more"] = [{"key": f"k{index}", "value": index} for index in range(30_000)]
    text = SAMPLES[name].encode(body)
    assert len(text) > 1_000_000
    assert bench.take(request_of(name, topic, text)) == "relayed"


@pytest.mark.parametrize("name", PLATFORM_NAMES)
def test_raw_nul_bytes_in_a_body_are_no_json(name: str, outbox: Outbox) -> None:
    bench = bench_of(outbox, name)
    body = SAMPLES[name].encode(body_of(name, first_topic(bench)))
    with pytest.raises(NotJson):
        bench.take(request_of(name, first_topic(bench), body.replace(b":", b":\x00", 1)))


# --- parked and replayed -----------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "topic"), TOPICS)
def test_a_topic_that_does_not_fit_its_body_is_parked(name: str, topic: str, outbox: Outbox) -> None:
    """The topic header is not signed: an order's body under a customer's topic verifies."""
    bench = bench_of(outbox, name)
    family = topic.split("/", maxsplit=1)[0].split(".", maxsplit=1)[0]
    for other in SAMPLES[name].TOPICS:
        alike = other.split("/")[0].split(".")[0] == family and {topic, other} <= PLATFORMS[name].event_topics
        if other != topic and not alike:
            assert bench.take(request_of(name, topic, SAMPLES[name].encode(body_of(name, other)))) == "parked", other
    assert not bench.events()


@pytest.mark.parametrize(("name", "topic"), TOPICS)
def test_a_webhook_of_another_shop_is_parked(name: str, topic: str, outbox: Outbox) -> None:
    bench = bench_of(outbox, name)
    for other in ("https://staging.example/", "other.myshopify.com"):
        assert bench.take(sample_request(name, topic, **{SAMPLES[name].SHOP_HEADER: other})) == "parked"
    (item,) = OutboxQueries(outbox.database).parked()
    assert "another shop, staging.example" in item.reason
    assert not bench.events()


def test_a_shop_is_known_by_its_host_however_it_is_spelled(bench: Bench) -> None:
    host = bench.store.shops[0]
    for seed, spelling in enumerate((f"https://www.{host.upper()}/shop/", f"http://{host}:8080", host, "")):
        request = sample_request(
            bench.store.platform, first_topic(bench), seed, **{SAMPLES[bench.store.platform].SHOP_HEADER: spelling}
        )
        assert bench.take(request) == "relayed"


class Broken:
    """A platform whose translation has a bug."""

    def __init__(self, platform: Any) -> None:
        self.platform = platform

    def __getattr__(self, name: str) -> Any:
        return getattr(self.platform, name)

    def translate(self, webhook: Webhook, store: Store) -> Any:
        raise KeyError(f"anything about {webhook.data}")


class BrokenHalfway(Broken):
    def translate(self, webhook: Webhook, store: Store) -> Any:
        yield next(iter(self.platform.translate(webhook, store)))
        raise RecursionError


@pytest.mark.parametrize("bug", [Broken, BrokenHalfway])
@pytest.mark.parametrize(("name", "topic"), EVENT_TOPICS)
def test_a_bug_of_ours_parks_the_webhook_and_the_healthy_code_relays_it(
    name: str, topic: str, bug: type[Broken], outbox: Outbox
) -> None:
    bench = bench_of(outbox, name, bug(PLATFORMS[name]))
    request = sample_request(name, topic)
    assert bench.take(request) == "parked"
    assert not bench.events()
    (item,) = OutboxQueries(outbox.database).parked()
    assert re.fullmatch(r"internal error: (KeyError|RecursionError) in translate \(test_contract.py:\d+\)", item.reason)
    healthy = bench_of(outbox, name)
    assert healthy.intake.replay(item) == "relayed"
    assert healthy.events()
    assert not OutboxQueries(outbox.database).parked()
    # The line of the parked body now tells how the story went on.
    assert healthy.lines(healthy.events()[0][1]) == ["relayed"]
    assert healthy.take(request) == "duplicate"


def test_what_is_unsealed_is_the_very_webhook(bench: Bench) -> None:
    name = bench.store.platform
    request = request_of(name, first_topic(bench), b"[]")
    bench.take(request)
    (item,) = OutboxQueries(bench.outbox.database).parked()
    assert b"[]" not in item.sealed
    assert decrypt(item.sealed, bench.store) == PLATFORMS[name].receive(request, bench.store)


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
    changed = copy.deepcopy(body)
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
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


@pytest.mark.parametrize(("name", "topic"), EVENT_TOPICS)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
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
    parked = OutboxQueries(outbox.database).parked()[-1:]
    assert outcome in ("relayed", "duplicate") or not SAMPLES[name].DECISIVE.isdisjoint(path), (path, parked)
    assert outcome != "parked", parked[0].reason
    if not SAMPLES[name].DECISIVE.isdisjoint(path):
        return
    for event, event_id in seen_usually(name, topic, body):
        row = next(row for row in OutboxQueries(outbox.database).show(event_id)[1] if row.event == event)
        check_payload(row.payload)
        assert journey(seed).person.email.encode() not in row.payload


def seen_usually(name: str, topic: str, body: Any) -> list[tuple[str, str]]:
    """The events of the body as the platform would send it."""
    webhook = PLATFORMS[name].receive(request_of(name, topic, SAMPLES[name].encode(body)), STORES[name])
    assert webhook is not None
    seen = examine(webhook, PLATFORMS[name], STORES[name], NOW, None)
    assert seen.events
    return [(item.event, item.event_id) for item in seen.events]


@pytest.mark.parametrize(("name", "topic"), [pair for pair in EVENT_TOPICS if pair[1].startswith("order")])
def test_the_value_is_a_json_number_with_the_digits_of_the_shop(name: str, topic: str) -> None:
    """44.50 stays 44.50, and 9278 yen get no decimals that the shop did not write."""
    for seed in range(12):
        body = body_of(name, topic, seed)
        total = body["total_price_set"]["presentment_money"]["amount"] if "total_price_set" in body else body["total"]
        webhook = PLATFORMS[name].receive(request_of(name, topic, SAMPLES[name].encode(body)), STORES[name])
        assert webhook is not None
        for item in examine(webhook, PLATFORMS[name], STORES[name], NOW, None).events:
            assert re.findall(rb'"value":([^,}]+)', item.payload) == [total.encode()]
