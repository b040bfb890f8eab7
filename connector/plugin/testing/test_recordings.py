"""The conformance kit's tests of a platform's own recordings."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import structs

from connector.core.platform import Platform
from connector.core.registry import installed_platforms
from connector.core.webhook import Handshake, InvalidPayload, InvalidSignature, Request, UnknownKey, Webhook
from connector.intake.examine import parse, read_notice
from connector.plugin.testing.bench import NOW, Bench, new_key
from connector.plugin.testing.recordings import Recording, as_expected, names, read

BenchOf = Callable[..., Bench]


def recordings_of(platform: Platform) -> Path:
    """Return the folder of the platform's recordings, or skip the test."""
    if platform.recordings is None:
        pytest.skip(f"platform {platform.name} has no recordings (Platform.recordings)")
    return platform.recordings


def test_recordings_are_complete_both_ways(name: str) -> None:
    """Every recorded request has an expectation, and every expectation a request."""
    folder = recordings_of(installed_platforms()[name])
    requests, expected = names(folder, "requests"), names(folder, "expected")
    assert requests, f"{folder / 'requests'} has no recording; is it among the package's data?"
    assert requests == expected, (
        f"without expectation: {sorted(requests - expected)}; without request: {sorted(expected - requests)}"
    )


def test_a_recording_becomes_what_is_expected_of_it(name: str, recording: str, bench_of: BenchOf) -> None:
    """It is verified, answered 200, and makes exactly the events of its expectation, or none for the stated reason."""
    folder = recordings_of(installed_platforms()[name])
    recorded = read(folder, recording)
    bench = bench_of(name, **recorded.store_settings)
    if recorded.fetched:
        webhook: Webhook | Handshake = Webhook(recorded.fetched, recorded.raw(), NOW, triggered_at=NOW)
    else:
        request = _request(bench, recorded)
        # A recording of any shop counts as one of the store's own.
        bench = bench.with_store(shops=(bench.platform.shop_of(request) or bench.store.shops[0],))
        _refused_with_another_secret(bench, recorded, request)
        webhook = bench.platform.receive(request, bench.store)
    found = _outcome(bench, webhook)
    if isinstance(webhook, Webhook):
        assert webhook.topic == (recorded.topic or recorded.fetched), "received under another topic"
        answer = bench.intake.handle(webhook, bench.store)  # raises for what would not be answered 200
        assert (answer == "parked") == ("parked" in found), (answer, bench.reasons())
    text = msgspec.json.format(msgspec.json.encode(found), indent=1).decode()
    file = folder / "expected" / f"{recording}.json"
    assert file.exists(), f"{file} is missing. Review what became of the recording, and keep it there:\n{text}"
    assert msgspec.json.decode(text) == msgspec.json.decode(file.read_bytes()), f"not as in {file}:\n{text}"


def _request(bench: Bench, recorded: Recording) -> Request:
    """Return the request as it came, or signed here if the recording has no secret."""
    body, at = recorded.raw(), recorded.received_at or NOW
    headers = dict(recorded.headers)
    if not recorded.store_settings:
        headers |= bench.platform.signed_headers(body, bench.signer.secret, at, recorded.url)
    return Request({key.lower(): value for key, value in headers.items()}, body, at, recorded.url)


def _refused_with_another_secret(bench: Bench, recorded: Recording, request: Request) -> None:
    """Prove that the shop's own signature is what lets it in."""
    if not recorded.store_settings:
        return
    settings = {"webhook_keys": (new_key()[1],)} if recorded.jwks else {"webhook_secrets": ("another-secret",)}
    with pytest.raises((InvalidSignature, UnknownKey)):
        bench.platform.receive(request, bench.with_store(**settings).store)


def _outcome(bench: Bench, webhook: Webhook | Handshake) -> dict[str, Any]:
    """Return what the platform makes of a webhook, in the words of expected/."""
    platform, store = bench.platform, bench.store
    if isinstance(webhook, Handshake):
        return {"handshake": webhook.body.decode()}
    try:
        if webhook.topic in platform.notice_topics:
            notice = read_notice(webhook, platform, store)
            return {"noted": notice.object_key if notice else None}
        if webhook.topic not in platform.event_topics | platform.recorded_topics:
            return {"ignored": webhook.topic}
        return as_expected(list(platform.translate(structs.replace(webhook, data=parse(webhook.body)), store)))
    except InvalidPayload as error:
        return {"parked": str(error)}
