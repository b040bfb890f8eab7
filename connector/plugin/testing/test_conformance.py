"""The conformance kit: what any platform must stand, through the real intake on a real database.

    pytest --pyargs connector.plugin.testing --platform NAME

Each test says in its docstring what it asks; its assertions name the topic or field at fault. docs/adding-a-platform.md
describes the kit.
"""

import copy
import gc
import random
import re
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from itertools import product
from typing import Any

import msgspec
import pytest
from msgspec import structs

from connector.core.event import MILESTONES, Event, Skipped
from connector.core.registry import installed_platforms
from connector.core.store import DEFAULT_EVENTS
from connector.core.webhook import Handshake, InvalidSignature, NotJson, UnknownKey
from connector.intake.examine import examine, parse, read_notice
from connector.mapping.event_id import object_key
from connector.outbox.encryption import decrypt
from connector.outbox.queries import OutboxQueries
from connector.plugin.testing.bench import NOW, Bench, event_topics, flipped, new_key, signers, with_header
from connector.plugin.testing.countries import COUNTRIES, KUWAIT
from connector.plugin.testing.shoppers import Journey, rounded

BenchOf = Callable[..., Bench]
REFUSALS = (InvalidSignature, UnknownKey)
MAX_FLIPS = 400  # bits of a body that are changed, of all of a short one
FIELDS = 150  # fields that are replaced in each topic, one at a time
ANYTHING: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 7, 10**40, -0.0, "", " ", "0", "-1", "12.50", "1e5", "\x00", "x" * 5000, "é@ü.de"),
    *("//[", "https://x:99999/", "2026-01-01T00:00:00", [], [1, "a", None], {}, {"a": {"b": [1]}}, [[[]]], [{}]),
)
NOTHING: tuple[Any, ...] = (None, [], "", 0, {})
YARDSTICK = "woocommerce"  # whose speed is known; docs/performance.md
TIMES = 2.0  # its time that an order may take


@pytest.fixture
def bench(name: str, bench_of: BenchOf) -> Bench:
    """The platform's store."""
    return bench_of(name)


# --- what it says of itself ---------------------------------------------------------------------------------------


def test_it_can_be_loaded_and_has_samples(name: str) -> None:
    """The platform is installed, loads without error, and its samples cover its topics."""
    registry = installed_platforms()
    assert not registry.fault(name), registry.fault(name)
    platform, samples = registry[name], registry[name].samples
    assert samples is not None, f"platform {name} has no samples, which the kit sends"
    sent = platform.notice_topics & set(samples.TOPICS) if platform.notice_topics else platform.event_topics
    assert sent, "no topic has a sample"
    assert sent <= set(samples.TOPICS), "an event topic has no sample"
    assert set(samples.FUNNEL) <= set(samples.TOPICS)
    assert set(samples.REQUIRED) >= {*event_topics(platform, samples)}, "REQUIRED lacks a topic"
    assert platform.facts.thin == bool(platform.notice_topics), "facts.thin and notice_topics disagree"


def test_the_facts_cover_what_the_events_have(name: str, topic: str, bench_of: BenchOf) -> None:
    """`check` warns of other placeholders, kinds and milestones, so the facts must have all that occur."""
    bench = bench_of(name)
    webhook = bench.webhook(topic, bench.samples.encode(bench.translated_body(topic)))
    for item in bench.platform.translate(structs.replace(webhook, data=parse(webhook.body)), bench.store):
        assert isinstance(item, Event | Skipped), f"{topic} makes {type(item).__name__}"
        assert item.milestone in bench.platform.facts.milestones, item.milestone
        if isinstance(item, Event):
            assert item.kind in bench.platform.facts.order_kinds, item.kind
            assert item.occurred_at.tzinfo is not None, "times must be aware"
        kind = object_key(item.milestone, item.ids).partition(":")[0]
        assert kind, f"{item.milestone} needs an order_id, checkout_token or customer_id in ids"
        known = bench.platform.facts.placeholders.get(kind)
        found = {re.sub("^(meta|attribute):.*", r"\1:KEY", one) for one in item.ids}
        assert known is None or found <= set(known), f"facts.placeholders lacks {found - set(known)}"


# --- signatures ---------------------------------------------------------------------------------------------------


def test_every_sample_is_accepted(name: str, way: int, bench_of: BenchOf) -> None:
    """A well signed webhook of every topic is relayed, or recorded if the topic makes no events."""
    bench = bench_of(name, signer=signers(installed_platforms()[name])[way])
    for seed, topic in enumerate(bench.samples.TOPICS):
        expected = "relayed" if topic in bench.event_topics else "recorded"
        assert bench.take(bench.sample(topic, seed)) == expected, (topic, bench.reasons())


@pytest.mark.slow
def test_no_bit_of_a_signed_request_may_differ(name: str, way: int, bench_of: BenchOf) -> None:
    """Neither of the body nor of the headers that sign it; nothing is stored."""
    bench = bench_of(name, signer=signers(installed_platforms()[name])[way])
    request = bench.sample(bench.samples.TOPICS[0])
    bits = range(8 * len(request.body))
    for bit in random.Random(1).sample(bits, min(MAX_FLIPS, len(bits))):
        with pytest.raises(REFUSALS):
            bench.take(structs.replace(request, body=flipped(request.body, bit)))
    for header in _signing_headers(bench):
        value = request.headers[header].encode("latin-1")
        for bit in range(8 * len(value)):
            with pytest.raises(REFUSALS):
                bench.take(with_header(request, header, flipped(value, bit).decode("latin-1")))
    assert not bench.events()
    assert bench.take(request) in ("relayed", "recorded")


def _signing_headers(bench: Bench) -> set[str]:
    return {name.lower() for name in bench.platform.signed_headers(b"{}", bench.signer.secret, NOW)}


def test_a_missing_or_foreign_signature_is_refused(name: str, way: int, bench_of: BenchOf) -> None:
    """Without one of the headers, with junk in it, or signed by somebody else; an empty secret opens nothing."""
    bench = bench_of(name, signer=signers(installed_platforms()[name])[way])
    topic = bench.samples.TOPICS[0]
    request = bench.sample(topic)
    for header in _signing_headers(bench):
        left = {key: value for key, value in request.headers.items() if key != header}
        with pytest.raises(REFUSALS):
            bench.take(structs.replace(request, headers=left))
    for junk in ("", " ", "=", "é" * 44, "€" * 44, "\x00", "a.b.c", "..", "t=1,v1=", "v1,", "sha256=", "A" * 100_000):
        with pytest.raises(REFUSALS):
            bench.take(with_header(request, bench.platform.signature.header.lower(), junk))
    body = bench.samples.encode(bench.body(topic))
    other = new_key()[0] if bench.signer.kind == "key" else "another-secret-0123456789"
    with pytest.raises(REFUSALS):
        bench.take(bench.request(topic, body, other))
    nothing = bench.with_store(webhook_secrets=(), webhook_keys=())
    with pytest.raises(REFUSALS):
        nothing.take(request)
    assert not bench.events()


def test_while_secrets_rotate_either_verifies(name: str, way: int, bench_of: BenchOf) -> None:
    """A store can have several secrets or keys; its old one counts until it is taken out."""
    bench = bench_of(name, signer=signers(installed_platforms()[name])[way])
    topic = bench.samples.TOPICS[0]
    body = bench.samples.encode(bench.body(topic))
    if bench.signer.kind == "key":
        second, jwks = new_key()
        both = bench.with_store(webhook_keys=(jwks, *bench.store.webhook_keys))
    else:
        second = "a-second-secret-0123456789"
        both = bench.with_store(webhook_secrets=(second, *bench.store.webhook_secrets))
    for secret in (bench.signer.secret, second):
        assert both.take(bench.request(topic, body, secret)) in ("relayed", "duplicate", "recorded")
    with pytest.raises(REFUSALS):
        bench.take(bench.request(topic, body, second))


def test_an_old_signature_is_refused(name: str, bench_of: BenchOf) -> None:
    """Where the scheme signs the time; a webhook that was parked is handled later all the same."""
    bench = bench_of(name)
    tolerance = getattr(bench.platform.signature, "tolerance", None)
    if tolerance is None:
        pytest.skip("its signature has no time")
    topic = bench.samples.TOPICS[0]
    request = bench.sample(topic)
    for age in (tolerance + timedelta(seconds=1), -tolerance - timedelta(seconds=1)):
        with pytest.raises(InvalidSignature):
            bench.take(structs.replace(request, received_at=NOW + age))
    assert bench.take(structs.replace(request, received_at=NOW + tolerance)) in ("relayed", "recorded")


def test_an_unknown_key_is_answered_so_that_the_shop_repeats(name: str, bench_of: BenchOf) -> None:
    """Not as a wrong signature: the shop may have changed its key, and the webhook would be lost."""
    ways = [signer for signer in signers(installed_platforms()[name]) if signer.kind == "key"]
    if not ways:
        pytest.skip("its shops share a secret")
    bench = bench_of(name, signer=ways[0])
    topic = bench.samples.TOPICS[0]
    request = bench.request(topic, bench.samples.encode(bench.body(topic)), new_key()[0])
    with pytest.raises(UnknownKey):
        bench.take(request)
    assert bench.store.keys.wanted


def test_receiving_uses_no_network(name: str, topic: str, bench_of: BenchOf, monkeypatch: pytest.MonkeyPatch) -> None:
    """Intake runs inside the shop's request, in an event loop: a slow host would stop every store."""
    bench = bench_of(name)
    request = bench.sample(topic)

    def refuse(*arguments: object, **named: object) -> None:
        raise AssertionError("a platform must not use the network while a webhook is answered")

    for attribute in ("connect", "connect_ex", "bind", "sendto"):
        monkeypatch.setattr(socket.socket, attribute, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert bench.receive(request) == ("noted" if bench.shop else "relayed"), bench.reasons()


# --- events -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_in_any_sequence_each_milestone_is_sent_once(name: str, seed: int, bench_of: BenchOf) -> None:
    """The samples of one journey, each twice and shuffled, make each milestone of the platform's facts once."""
    bench = bench_of(name)
    requests = [bench.sample(topic) for topic in bench.event_topics] * 2
    random.Random(seed).shuffle(requests)
    for request in requests:
        assert bench.take(request) in ("relayed", "duplicate"), bench.reasons()
    found = [event for event, _, _ in bench.events()]
    expected = [event for milestone in bench.platform.facts.milestones for event in DEFAULT_EVENTS[milestone]]
    assert sorted(found) == sorted(expected)
    assert set(bench.platform.facts.milestones) <= set(MILESTONES)


def test_a_repeated_webhook_adds_nothing(name: str, topic: str, bench_of: BenchOf) -> None:
    """Shops repeat webhooks."""
    bench = bench_of(name)
    assert bench.take(bench.sample(topic)) == "relayed"
    before = bench.events()
    assert bench.take(bench.sample(topic)) == "duplicate"
    assert bench.events() == before


@pytest.mark.parametrize("currency", ["USD", "JPY", "KWD"])
def test_amounts_are_in_major_units(name: str, currency: str, bench_of: BenchOf) -> None:
    """The value is what the shopper paid, in a currency of two, no and three decimals.

    A started checkout may not know shipping and tax yet.
    """
    bench = bench_of(name)
    country = next((one for one in (*COUNTRIES, KUWAIT) if one.currency == currency), None)
    assert country is not None
    journey = _journey_in(bench, country)
    valued = 0
    for topic in bench.event_topics:
        body = bench.samples.encode(bench.translated_body(topic, journey=journey))
        for event in examine(bench.webhook(topic, body), bench.platform, bench.store, NOW, None).events:
            properties = msgspec.json.decode(event.payload, type=dict[str, Any]).get("properties", {})
            if "value" in properties and properties["currency"] == currency:
                valued += 1
                basket = journey.basket(currency)
                begun = event.event in bench.store.events["checkout_started"]
                right = (basket.total, basket.subtotal) if begun else (basket.total,)
                written = re.search(rb'"value":([0-9.]+)', event.payload)
                assert written is not None
                value = Decimal(written[1].decode())
                assert any(abs(value - amount) <= amount / 100 for amount in right), (topic, value, right)
                assert rounded(value, currency) == value, value
    assert valued or currency != "USD", "no sample has a value in US dollars"


def _journey_in(bench: Bench, country: Any) -> Journey:
    journey = bench.journey()
    return replace(journey, person=replace(journey.person, country=country, place=country.places[0]))


# --- hostile bodies -----------------------------------------------------------------------------------------------

MISFITS = (
    *(b"", b"{", b"\xff\xfe", b"null", b"[]", b'"x"', b"1", b"{}", b'{"id": 1}', b"NaN", b"[-Infinity]", b"1e999"),
    *(b"[" * 100_000, b'{"a":' * 100_000, b"1" + b"0" * 5000, b'{"\\udfff": 1}', b"\xef\xbb\xbf{}"),
)


@pytest.mark.parametrize("number", range(len(MISFITS)))
def test_a_signed_body_that_is_no_webhook_is_parked(name: str, number: int, bench_of: BenchOf) -> None:
    """It is kept for a person to see, counted, or answered 400 if it is not JSON; it never raises anything else."""
    bench = bench_of(name)
    for topic, fetched in product(bench.samples.TOPICS, {False, bench.shop is not None}):
        try:
            if fetched:
                outcome = bench.handle(topic, MISFITS[number])
            else:
                outcome = bench.take(bench.request(topic, MISFITS[number]))
        except NotJson:
            continue
        assert outcome in ("parked", "ignored", "handshake"), (topic, outcome)
    assert not bench.events()
    for item in OutboxQueries(bench.database).parked():
        assert "internal error" not in item.reason, item.reason
        assert decrypt(item.sealed, bench.store).body == MISFITS[number]


def test_a_body_without_a_required_field_is_parked(name: str, topic: str, bench_of: BenchOf) -> None:
    """It is kept with a sentence that says what is missing; an exception of another kind is a fault."""
    bench = bench_of(name)
    for path in bench.samples.REQUIRED[topic]:
        for value in NOTHING:
            body = _with_value(bench.translated_body(topic), path, value)
            try:
                bench.handle(topic, bench.samples.encode(body))
            except NotJson:
                continue
    for reason in bench.reasons():
        assert "internal error" not in reason, reason


@pytest.mark.slow
def test_any_value_in_an_optional_field_costs_only_that_field(name: str, topic: str, bench_of: BenchOf) -> None:
    """Every field of the sample that is not in REQUIRED, replaced by any JSON value: the event is sent all the same.

    For a field in DECISIVE the event may be skipped, but the webhook is not parked.
    """
    bench = bench_of(name)
    rng = random.Random(topic)
    body = bench.translated_body(topic)
    usual = _outcomes(bench, topic, body)
    optional = [path for path in _paths(body) if path not in bench.samples.REQUIRED[topic]]
    for path in rng.sample(optional, min(FIELDS, len(optional))):
        for value in rng.sample(ANYTHING, 4):
            found = _outcomes(bench, topic, _with_value(body, path, value))
            if bench.samples.DECISIVE.isdisjoint(path):
                assert found == usual, f"{'.'.join(map(str, path))} = {value!r} costs an event"


def _outcomes(bench: Bench, topic: str, body: Any) -> set[tuple[str, str]]:
    webhook = bench.webhook(topic, msgspec.json.encode(body))
    seen = examine(webhook, bench.platform, bench.store, NOW, None)
    return {(event.event, event.event_id) for event in seen.events}


def _paths(body: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inside = body.items() if isinstance(body, dict) else enumerate(body) if isinstance(body, list) else ()
    return [found for key, value in inside for found in [(*at, key), *_paths(value, (*at, key))]]


def _with_value(body: Any, path: tuple[Any, ...], value: Any) -> Any:
    """Return the body with another value at this place; the rest is shared, for a whole copy takes a millisecond."""
    key, *rest = path
    changed = copy.copy(body)
    changed[key] = _with_value(body[key], tuple(rest), value) if rest else value
    return changed


# --- speed --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_an_order_takes_at_most_twice_the_usual_time(name: str, bench_of: BenchOf) -> None:
    """Verifying and translating run in the event loop of all stores; the best of many runs counts, not the machine."""
    if YARDSTICK not in installed_platforms() or name == YARDSTICK:
        pytest.skip("there is nothing to compare with")
    benches = bench_of(name), bench_of(YARDSTICK)
    best = [float("inf"), float("inf")]
    works = [_handling(bench) for bench in benches]
    gc.disable()
    try:
        for _ in range(60):
            for number, work in enumerate(works):
                began = time.process_time()
                for _ in range(5):
                    work()
                best[number] = min(best[number], time.process_time() - began)
    finally:
        gc.enable()
    assert best[0] <= TIMES * best[1], f"{best[0] / best[1]:.1f} times the time of {YARDSTICK}"


def _handling(bench: Bench) -> Callable[[], object]:
    """Return what is done for a paid order: verify and translate, or verify, read the notice, and translate."""
    topic = bench.samples.FUNNEL[-1]
    request, body = bench.sample(topic), bench.samples.encode(bench.translated_body(topic))
    fetched = bench.webhook(topic, body) if bench.shop else None

    def work() -> None:
        webhook = bench.platform.receive(request, bench.store)
        assert not isinstance(webhook, Handshake)
        if fetched:
            read_notice(webhook, bench.platform, bench.store)
        examine(fetched or webhook, bench.platform, bench.store, NOW, None)

    return work
