"""What every platform must stand: one set of tests through the real intake on a real database file."""

import base64
import random
import re
from collections.abc import Iterator
from dataclasses import replace
from operator import itemgetter
from typing import Any

import pytest
from msgspec import structs

from connector.core.event import Event, Skipped
from connector.core.registry import installed_platforms
from connector.core.store import Store
from connector.core.webhook import InvalidSignature, Request, Webhook
from connector.intake.examine import parse
from connector.mapping.event_id import object_key
from connector.outbox.encryption import decrypt
from connector.outbox.outbox import Outbox
from connector.outbox.queries import OutboxQueries
from tests.support.effort import first_of
from tests.support.platforms import LEFT_OUT, PLATFORMS, SAMPLES
from tests.support.rows import each_row
from tests.support.webhook_bench import (
    EVENT_TOPICS,
    HANDSHAKES,
    HEADER_NAMED,
    NOW,
    PLATFORM_NAMES,
    SECRET,
    STORES,
    TOPICS,
    Bench,
    bench_of,
    body_of,
    first_topic,
    journey,
    of_another,
    request_of,
    resigned,
    sample_request,
    signature_header,
)

ONE_TOPIC_EACH = first_of(EVENT_TOPICS, itemgetter(0))  # in `make unit`


@pytest.mark.parametrize("name", installed_platforms())
def test_every_installed_platform_is_tested(name: str) -> None:
    """Or it is said why it is not."""
    if name in LEFT_OUT:
        pytest.skip(LEFT_OUT[name])
    assert name in PLATFORM_NAMES


@each_row(("name", "topic"), EVENT_TOPICS)
def test_the_facts_cover_what_the_events_have(name: str, topic: str) -> None:
    """`check` warns of other placeholders, kinds and milestones, so none may be missing."""
    platform, store = PLATFORMS[name], STORES[name]
    webhook = platform.receive(sample_request(name, topic), store)
    assert webhook
    for item in platform.translate(structs.replace(webhook, data=parse(webhook.body)), store):
        assert isinstance(item, Event | Skipped)
        assert item.milestone in platform.facts.milestones
        if isinstance(item, Event) and item.kind:
            assert item.kind in platform.facts.order_kinds
        kind = object_key(item.milestone, item.ids).partition(":")[0]
        assert kind
        known = platform.facts.placeholders.get(kind)
        assert known is None or set(item.ids) <= set(known)


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
    start, digest = re.fullmatch(r"(.*?)([A-Za-z0-9+/]{43}=|[0-9a-f]{64})", good).groups()
    spelled = base64.b64decode(digest) if digest.endswith("=") else bytes.fromhex(digest)
    for bad in (
        *("", " ", "junk", "=", "====", "é" * 44, "ÿþ", "\x00", digest[:-1], digest[:20], digest[:40], digest + digest),
        *(f"sha256={digest}", spelled[:-1].hex(), base64.urlsafe_b64encode(spelled + b"\xff").decode()),
        *("€" * 44, base64.b64encode(spelled[:-1]).decode(), base64.b64encode(spelled[::-1]).decode(), "A" * 100_000),
    ):
        yield resigned(request, bad)
        yield resigned(request, start + bad)


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
    if name not in HEADER_NAMED:
        pytest.skip("its topic is in the signed body")
    for topic in ("products/update", "product.updated", "", "orders/create/x", "nul\x00", "\ud800"):
        assert bench.take(request_of(name, "", b"not even JSON", **{SAMPLES[name].TOPIC_HEADER: topic})) == "ignored"
    with pytest.raises(InvalidSignature):
        bench.take(request_of(name, "", b"{}", "another secret", **{SAMPLES[name].TOPIC_HEADER: "products/update"}))
    assert bench.is_empty()
    assert bench.counted("ignored") == 6


@pytest.mark.parametrize("name", [name for name in PLATFORM_NAMES if name not in HEADER_NAMED])
def test_an_unknown_topic_in_a_signed_body_costs_nothing_else(name: str, outbox: Outbox) -> None:
    """It is counted, or parked for a person to see; the next webhook is relayed."""
    bench = bench_of(outbox, name)
    for topic in ("products/update", "", "nul\x00"):
        assert bench.take(of_another(name, "topic", topic, first_topic(bench))) in ("ignored", "parked")
    assert not bench.events()
    assert bench.take(sample_request(name, first_topic(bench))) == "relayed"


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
@pytest.mark.parametrize("seed", first_of(range(6)))
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


# --- parked and replayed -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "topic"), first_of([pair for pair in TOPICS if pair[0] in HEADER_NAMED], itemgetter(0))
)
def test_a_topic_that_does_not_fit_its_body_is_parked(name: str, topic: str, outbox: Outbox) -> None:
    """The topic header is not signed: an order's body under a customer's topic verifies."""
    bench = bench_of(outbox, name)
    family = topic.split("/", maxsplit=1)[0].split(".", maxsplit=1)[0]
    for other in SAMPLES[name].TOPICS:
        alike = other.split("/")[0].split(".")[0] == family and {topic, other} <= PLATFORMS[name].event_topics
        if other != topic and not alike:
            assert bench.take(request_of(name, topic, SAMPLES[name].encode(body_of(name, other)))) == "parked", other
    assert not bench.events()


@pytest.mark.parametrize(("name", "topic"), first_of(TOPICS, itemgetter(0)))
def test_a_webhook_of_another_shop_is_parked(name: str, topic: str, outbox: Outbox) -> None:
    bench = bench_of(outbox, name)
    for other in ("https://staging.example/", "other.myshopify.com"):
        assert bench.take(of_another(name, "shop", other, topic)) == "parked"
    item = OutboxQueries(outbox.database).parked()[0]
    assert "another shop, staging.example" in item.reason
    assert not bench.events()


def test_a_shop_is_known_by_its_host_however_it_is_spelled(bench: Bench) -> None:
    host = bench.store.shops[0]
    for seed, spelling in enumerate((f"https://www.{host.upper()}/shop/", f"http://{host}:8080", host, "")):
        request = of_another(bench.store.platform, "shop", spelling, first_topic(bench), seed)
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
@pytest.mark.parametrize(("name", "topic"), ONE_TOPIC_EACH)
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
    named = {key: first_topic(bench) for key in SAMPLES[name].TOPIC_PATH}
    body = SAMPLES[name].encode(named) if named else b"[]"
    request = request_of(name, first_topic(bench), body)
    assert bench.take(request) == "parked"
    (item,) = OutboxQueries(bench.outbox.database).parked()
    assert body not in item.sealed
    assert decrypt(item.sealed, bench.store) == PLATFORMS[name].receive(request, bench.store)
