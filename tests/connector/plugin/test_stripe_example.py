"""docs/examples/stripe: what Stripe's own rules say, beyond the conformance kit."""

import json
import random
import sys
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from connector.core.store import MappingSettings
from connector.core.webhook import InvalidPayload, Webhook
from connector.intake.examine import parse
from connector.plugin.testing.shoppers import Journey
from tests.support.factories import a_store
from tests.support.third_party import ROOT

NOW = datetime(2026, 11, 23, 15, 4, 5, tzinfo=UTC)
STORE = a_store("signed", mapping=MappingSettings(content_id="sku", value_excludes=("tax",)))
COMPLETED, PAID_LATER = "checkout.session.completed", "checkout.session.async_payment_succeeded"


@pytest.fixture
def stripe(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs" / "examples" / "stripe")
    from connector_stripe import platform

    yield platform
    for name in [name for name in sys.modules if name.startswith("connector_stripe")]:
        del sys.modules[name]


def translated(stripe, topic=COMPLETED, event=None, **changes):
    """What becomes of a session with other fields."""
    body = stripe.samples.sample(topic, Journey.random(random.Random(1), NOW), STORE)
    body["data"]["object"] |= changes
    raw = json.dumps(body | (event or {})).encode()
    return list(stripe.translate(Webhook(topic, raw, NOW, data=parse(raw)), STORE))


def milestones(found):
    return [item.milestone for item in found]


@pytest.mark.parametrize(
    ("topic", "changes", "expected"),
    [
        (COMPLETED, {"payment_status": "paid"}, ["order_placed", "order_paid"]),
        (COMPLETED, {"payment_status": "unpaid"}, ["order_placed"]),
        (COMPLETED, {"payment_status": "no_payment_required", "amount_total": 0}, ["order_placed"]),
        (COMPLETED, {"mode": "setup"}, []),
        (PAID_LATER, {}, ["order_paid"]),
    ],
)
def test_the_status_decides(stripe, topic, changes, expected):
    assert milestones(translated(stripe, topic, **changes)) == expected


def test_what_is_free_and_has_no_total_is_said(stripe):
    (skipped,) = translated(stripe, payment_status="no_payment_required", amount_total=None)
    assert "nothing was bought" in skipped.reason


@pytest.mark.parametrize(
    ("currency", "amount", "total"),
    [
        ("eur", 2980, "29.80"),
        ("jpy", 500, "500"),
        ("kwd", 9270, "9.270"),
        ("isk", 50000, "500.00"),
        ("mga", 500, "500"),
    ],
)
def test_the_smallest_unit_of_each_currency(stripe, currency, amount, total):
    (placed,) = translated(stripe, currency=currency, amount_total=amount)
    assert (placed.currency, placed.total) == (currency.upper(), Decimal(total))
    assert str(placed.total) == total


def test_the_test_mode_and_the_address_of_either_version(stripe):
    (placed,) = translated(stripe, livemode=False)
    assert placed.test
    shipping = {"name": "Ada Archer", "address": {"country": "IE", "city": "Dublin"}}
    for changes in ({"collected_information": {"shipping_details": shipping}}, {"shipping_details": shipping}):
        (placed,) = translated(stripe, **changes)
        assert placed.customer.destination.country == "IE"


@pytest.mark.parametrize("event", [{"object": "v2.core.event", "data": {}}, {"data": {"object": {"object": "charge"}}}])
def test_other_events_are_parked(stripe, event):
    with pytest.raises(InvalidPayload, match="not a thin event"):
        translated(stripe, event=event)


def test_the_signature_is_that_of_stripes_library(stripe):
    """The same vector as in tests/connector/core/test_signature.py, made by stripe 16.1.0."""
    headers = stripe.signed_headers(
        b'{"id":"evt_1","object":"event"}',
        "whsec_example0123456789abcdefABCDEF",
        datetime.fromtimestamp(1795412160, UTC),
    )
    made = "4501399bdf0d3f787829542f0e7826694cf1881e3b63ca79e6dc8c84cc749464"
    assert headers == {"Stripe-Signature": f"t=1795412160,v1={made}"}
