"""The conformance kit's tests of platforms whose webhooks only name what changed."""

from collections.abc import Callable

import pytest

from connector.core.webhook import Handshake
from connector.intake.examine import examine, read_notice
from connector.plugin.testing.bench import NOW, Bench, with_header

BenchOf = Callable[..., Bench]


def test_a_notice_names_what_the_events_are_about(name: str, topic: str, bench_of: BenchOf) -> None:
    """Its key is that of the order, checkout or customer of its events, so that both are one story."""
    bench = bench_of(name)
    if bench.shop is None:
        pytest.skip("its webhooks have data")
    request = bench.sample(topic)
    assert bench.receive(request) == "noted"
    webhook = bench.platform.receive(request, bench.store)
    assert not isinstance(webhook, Handshake)
    notice = read_notice(webhook, bench.platform, bench.store)
    assert notice is not None
    body = bench.samples.encode(bench.translated_body(topic))
    assert examine(bench.webhook(topic, body), bench.platform, bench.store, NOW, None).object_key == notice.object_key
    assert bench.fetch(notice) == "gone", "the API must answer without bodies for what it does not have"
    assert bench.take(request) == "relayed"


def test_no_webhook_passes_for_what_the_api_answers(name: str, topic: str, bench_of: BenchOf) -> None:
    """A signed order with the topic of a fetched one is not believed: the signature need not cover the body."""
    bench = bench_of(name)
    if bench.shop is None:
        pytest.skip("its webhooks have data")
    fetched = bench.webhook(topic, b"{}").topic
    body, path = bench.translated_body(topic), bench.samples.TOPIC_PATH
    for place in path[:-1]:
        body = body.setdefault(place, {})
    request = bench.request(topic, bench.samples.encode({**body, **({path[-1]: fetched} if path else {})}))
    if bench.samples.TOPIC_HEADER:
        request = with_header(request, bench.samples.TOPIC_HEADER, fetched)
    assert bench.receive(request) in ("ignored", "parked")
    assert not bench.events()
