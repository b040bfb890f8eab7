"""What becomes of recorded webhooks, event by event, as files that a merchant could check.

`tests/fixtures/<platform>/requests/` holds what a shop sent, `expected/` under the same name what is made of it.
A request without expectation fails, and so does an expectation without request. `pytest --regenerate` rewrites the
expectations; review them as a diff.
"""

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from connector.core.registry import installed_platforms
from connector.core.store import ConsentSource, Pixel
from connector.core.webhook import Handshake, InvalidPayload, InvalidSignature, Request, Webhook
from connector.intake.examine import examine, read_notice
from platforms.woocommerce import receive as woocommerce
from tests.support.factories import a_store
from tests.support.rows import each_row

PLATFORMS = installed_platforms()  # also those whose webhooks only name an order
FIXTURES = Path(__file__).parents[1] / "fixtures"
NOW = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)  # after the last recording
SHOPIFY_SECRET = "shpss_example_0123456789abcdef"

PIXELS = (Pixel("CABCDEFGHIJKLMNOPQR0", "token", "TEST12345"),)
WOOCOMMERCE = a_store(
    "woocommerce",
    url="https://shop.example.test",
    shops=("shop.example.test",),
    webhook_secrets=(
        "whsec_example_0123456789abcdefABCDEF",
        "p&<>\"'x y+/=%é",
        "a&amp;b&lt;c&quot;d&#039;e&#39;f&nbsp;g",
    ),
    pixels=PIXELS,
)
ANSWERS = ConsentSource("consent")
SHOPIFY = a_store(url="https://shop.example.test", webhook_secrets=(SHOPIFY_SECRET,), pixels=PIXELS)
SIGNED = a_store("signed", shops=("mugs.example",), pixels=PIXELS, consent="required_in_europe", consent_source=ANSWERS)
SALEOR = a_store(
    "saleor",
    url="https://shop.example.test",
    shops=("127.0.0.1",),
    webhook_secrets=("hook-secret-1",),
    webhook_keys=((FIXTURES / "saleor" / "jwks.json").read_text(),),
    pixels=PIXELS,
)
BIGCOMMERCE = a_store("bigcommerce", url="https://shop.example.test", shops=("abc123",), pixels=PIXELS)
SHOPLINE = a_store("shopline", url="https://shop.example.test", pixels=PIXELS)
STORES = {
    "bigcommerce": BIGCOMMERCE,
    "saleor": SALEOR,
    "shopify": SHOPIFY,
    "shopline": SHOPLINE,
    "signed": SIGNED,
    "woocommerce": WOOCOMMERCE,
}


def names(platform: str, folder: str) -> set[str]:
    return {path.name for path in (FIXTURES / platform / folder).glob("*.json")}


def recorded(platform: str, name: str) -> Any:
    return json.loads((FIXTURES / platform / "requests" / name).read_text())


def woocommerce_request(recording: Any) -> Request:
    """A recording has the very bytes, signed by a real WooCommerce."""
    headers = {name.lower(): value for name, value in recording["headers"].items()}
    return Request(headers, base64.b64decode(recording["body_base64"]), NOW)


def shopify_request(case: Any) -> Request:
    """A case is written by hand, so it is signed here."""
    body = json.dumps(case["body"], ensure_ascii=False).encode()
    headers = {
        "X-Shopify-Topic": case["topic"],
        "X-Shopify-Shop-Domain": "acme.myshopify.com",
        "X-Shopify-Triggered-At": case["triggered_at"],
        **PLATFORMS["shopify"].signed_headers(body, SHOPIFY_SECRET),
    }
    return Request({name.lower(): value for name, value in headers.items()}, body, NOW)


def signed_request(body: Any) -> Request:
    """An event is written by hand, so it is signed here."""
    raw = json.dumps(body, ensure_ascii=False).encode()
    return Request(PLATFORMS["signed"].signed_headers(raw, SIGNED.webhook_secrets[0], NOW), raw, NOW)


def saleor_request(recording: Any) -> Request:
    """A recording has the very bytes, signed by a real Saleor; its headers are pairs."""
    headers = {name.lower(): value for name, value in recording["headers"]}
    return Request(headers, base64.b64decode(recording["body_base64"]), NOW)


def shopline_request(case: Any) -> Request:
    """A case is written by hand, so it is signed here."""
    body = json.dumps(case["body"], ensure_ascii=False).encode()
    headers = {
        "X-Shopline-Topic": case["topic"],
        "X-Shopline-Shop-Domain": "acme.myshopline.com",
        "X-Shopline-Webhook-Id": "delivery-1",
        **PLATFORMS["shopline"].signed_headers(body, SHOPLINE.webhook_secrets[0]),
    }
    return Request({name.lower(): value for name, value in headers.items()}, body, NOW)


def bigcommerce_request(case: Any) -> Request:
    """A notice is written by hand, so it is signed here."""
    body = json.dumps(case["body"], ensure_ascii=False).encode()
    return Request(PLATFORMS["bigcommerce"].signed_headers(body, BIGCOMMERCE.webhook_secrets[0], NOW), body, NOW)


REQUESTS = {
    "bigcommerce": bigcommerce_request,
    "saleor": saleor_request,
    "shopline": shopline_request,
    "shopify": shopify_request,
    "signed": signed_request,
    "woocommerce": woocommerce_request,
}
CASES = [(platform, name) for platform in STORES for name in sorted(names(platform, "requests"))]


def outcome(webhook: Webhook | Handshake, platform: str) -> dict[str, Any]:
    """What `examine` makes of a webhook, whatever its age, in the words of the expectation files."""
    module = PLATFORMS[platform]
    if isinstance(webhook, Handshake):
        return {"outcome": "handshake"}
    if webhook.topic in module.notice_topics:
        notice = read_notice(webhook, module, STORES[platform])
        return {"outcome": "noted", "object": notice.object_key} if notice else {"outcome": "ignored"}
    if webhook.topic not in module.event_topics | module.recorded_topics:
        return {"outcome": "ignored", "topic": webhook.topic}
    try:
        seen = examine(webhook, module, STORES[platform], NOW, go_live=None)
    except InvalidPayload as error:
        return {"outcome": "parked", "reason": str(error)}
    found: dict[str, Any] = {"outcome": seen.outcome}
    if not seen.events and not seen.skipped and webhook.topic not in module.recorded_topics:
        found["outcome"] = "duplicate"
    if seen.object_key:
        found["object"] = seen.object_key
    if seen.events:
        found["events"] = [msgspec.Raw(mapped.payload) for mapped in seen.events]  # with every digit as it is sent
    if notes := [note for mapped in seen.events for note in mapped.notes]:
        found["notes"] = list(dict.fromkeys(notes))
    if seen.skipped:
        found["skipped"] = [{"milestone": skip.milestone, "reason": skip.reason} for skip in seen.skipped]
    return found


def as_text(found: dict[str, Any]) -> str:
    return msgspec.json.format(msgspec.json.encode(found), indent=1).decode() + "\n"


@each_row(("platform", "name"), CASES)
def test_a_recorded_request_becomes_what_its_expectation_says(
    platform: str, name: str, pytestconfig: pytest.Config
) -> None:
    case = recorded(platform, name)
    if "fetched" in case:  # what the shop's API answered, not a webhook
        webhook: Webhook | Handshake = Webhook(
            case["fetched"], json.dumps(case["body"]).encode(), NOW, triggered_at=NOW
        )
    else:
        webhook = PLATFORMS[platform].receive(REQUESTS[platform](case), STORES[platform])
    found = as_text(outcome(webhook, platform))
    expectation = FIXTURES / platform / "expected" / name
    if pytestconfig.getoption("regenerate"):
        expectation.write_text(found)
    assert expectation.exists(), f"{name} has no expectation: review what --regenerate makes of it"
    assert found == expectation.read_text()


@each_row("platform", sorted(STORES))
def test_no_expectation_outlives_its_request(platform: str, pytestconfig: pytest.Config) -> None:
    left = names(platform, "expected") - names(platform, "requests")
    if pytestconfig.getoption("regenerate"):
        for name in left:
            (FIXTURES / platform / "expected" / name).unlink()
        left = set()
    assert not left


def test_every_platform_of_this_repository_has_recordings() -> None:
    """Others may be installed beside them."""
    ours = {name for name, platform in PLATFORMS.items() if type(platform).__module__.startswith("platforms.")}
    assert set(STORES) == ours
    assert len(names("woocommerce", "requests")) == 179
    assert len(names("shopify", "requests")) >= 20
    assert len(names("signed", "requests")) >= 8
    assert len(names("saleor", "requests")) == 102
    assert len(names("shopline", "requests")) >= 12
    assert len(names("bigcommerce", "requests")) >= 12


@each_row("name", sorted(names("woocommerce", "requests")))
def test_each_signed_recording_verifies_with_its_own_secret_alone_and_each_ping_is_a_handshake(name: str) -> None:
    recording = recorded("woocommerce", name)
    webhook = woocommerce.receive(
        woocommerce_request(recording), replace(WOOCOMMERCE, webhook_secrets=(recording["secret"],))
    )
    if recording["signed"]:
        assert isinstance(webhook, Webhook)
        assert webhook.topic == recording["topic"]
        assert webhook.shop == "shop.example.test"
    else:
        assert isinstance(webhook, Handshake)


def test_the_whole_recorded_shop_yields_one_event_per_milestone_of_its_web_orders() -> None:
    """Most orders were typed in by a program; shoppers placed six, one of which was paid."""
    found = set()
    for name in names("woocommerce", "expected"):
        expected = json.loads((FIXTURES / "woocommerce" / "expected" / name).read_text())
        found |= {(event["event"], event["event_id"]) for event in expected.get("events", [])}
    checkouts = ("ic_4494c9bd98f75467412fb783efd6741d", "33e05d6874acf16a6455b2f045e85a91")
    assert found == {
        *(("PlaceAnOrder", f"acme-order-{number}") for number in (21, 23, 125, 126, 127, 129)),
        ("Purchase", "acme-order-23"),
        *(("InitiateCheckout", f"acme-checkout-{token}") for token in checkouts),
        *(("CompleteRegistration", f"acme-customer-{number}") for number in (2, 3, 4, 6)),
    }


@each_row("name", sorted(names("saleor", "requests")))
def test_each_recording_of_saleor_verifies_by_its_own_kind_of_signature_alone(name: str) -> None:
    recording = recorded("saleor", name)
    by_secret = recording["signature_kind"] == "hmac"
    settings: dict[str, Any] = {"webhook_keys": ()} if by_secret else {"webhook_secrets": ()}
    webhook = PLATFORMS["saleor"].receive(saleor_request(recording), replace(SALEOR, **settings))
    assert isinstance(webhook, Webhook)
    assert webhook.shop == "127.0.0.1"
    other = replace(SALEOR, webhook_secrets=(), webhook_keys=()) if by_secret else replace(SALEOR, webhook_keys=())
    with pytest.raises(InvalidSignature):
        PLATFORMS["saleor"].receive(saleor_request(recording), other)


def test_the_recorded_saleor_yields_one_event_per_milestone_of_its_web_orders() -> None:
    """Both kinds of webhooks tell the same; those without a query are parked with the remedy."""
    found, parked = set(), set()
    for name in names("saleor", "expected"):
        expected = json.loads((FIXTURES / "saleor" / "expected" / name).read_text())
        found |= {(event["event"], event["event_id"]) for event in expected.get("events", [])}
        if expected["outcome"] == "parked":
            parked.add(name.removesuffix(".json").rpartition("__")[2])
            assert "has no subscription query" in expected["reason"]
    assert parked == {"legacy"}
    placed = [event_id for event, event_id in found if event == "PlaceAnOrder"]
    paid = [event_id for event, event_id in found if event == "Purchase"]
    assert (len(placed), len(paid)) == (3, 3)
    assert set(paid) <= set(placed)
    assert len([event for event, _ in found if event == "CompleteRegistration"]) == 1
