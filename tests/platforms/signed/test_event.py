"""The event of platform = "signed": its schema, its samples, and that every field of the schema is read."""

import copy
import json
import random
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from connector.core.store import ConsentSource, MappingSettings, OrderSettings
from connector.core.webhook import InvalidPayload, Webhook
from connector.intake.examine import examine, parse
from connector.plugin.testing.shoppers import Journey
from platforms.signed import platform, samples
from platforms.signed.event import SignedEvent, schema
from tests.support.factories import a_store
from tests.support.rows import each_row

NOW = datetime(2026, 11, 23, 15, 4, 5, tzinfo=UTC)
PAGE = Path(__file__).parents[3] / "docs" / "signed-event.schema.json"
STORE = a_store(
    "signed",
    mapping=MappingSettings(content_id="sku", value="items"),
    consent="required",
    consent_source=ConsentSource("consent"),
    orders=OrderSettings(paid_when_placed=("cod",)),
    external_id="{customer_id}",
)


def sample(topic="order_paid", seed=1):
    return samples.sample(topic, Journey.random(random.Random(seed), NOW), STORE)


def translated(body, store=STORE):
    raw = samples.encode(body)
    return list(platform.translate(Webhook(body.get("type", ""), raw, NOW, data=parse(raw)), store))


def left(body, store=STORE):
    return platform.order_state(Webhook(body["type"], b"", NOW, data=parse(samples.encode(body))), store)


def sent(body, store=STORE):
    return [json.loads(event.payload) for event in see(body, store).events]


def see(body, store=STORE):
    return examine(Webhook(body["type"], samples.encode(body), NOW), platform, store, NOW, None)


def test_the_published_schema_is_that_of_the_code(pytestconfig):
    if pytestconfig.getoption("regenerate"):
        PAGE.write_bytes(schema())
    assert PAGE.read_bytes() == schema(), "run pytest tests/platforms/signed/test_event.py --regenerate"


@each_row("topic", samples.TOPICS)
@each_row("seed", range(20))
def test_every_sample_is_valid(topic, seed):
    msgspec.json.decode(samples.encode(sample(topic, seed)), type=SignedEvent)


def fields(struct, at=()):
    """Every field of the event that has no fields of its own, as a path."""
    for field in msgspec.inspect.type_info(struct).fields:
        kind = field.type
        kinds = kind.types if isinstance(kind, msgspec.inspect.UnionType) else (kind,)
        kinds = [one.type if isinstance(one, msgspec.inspect.Metadata) else one for one in kinds]
        inner = [one for one in kinds if isinstance(one, msgspec.inspect.StructType)]
        listed = [one for one in kinds if isinstance(one, msgspec.inspect.ListType)]
        rows = [one.item_type for one in listed if isinstance(one.item_type, msgspec.inspect.StructType)]
        if inner:
            yield from fields(inner[0].cls, (*at, field.encode_name))
        elif rows:
            yield from fields(rows[0].cls, (*at, field.encode_name, 0))
        else:
            yield (*at, field.encode_name)


def changed(body, path, value):
    found = inner = copy.deepcopy(body)
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return found


OTHER = {
    "occurred_at": "2026-11-20T00:00:00Z",
    "kind": "pos",
    "test": True,
    "cancelled": True,
    "tags": ["other"],
    "payment_methods": ["cod"],
    "quantity": 77,
    "consent": False,
    "meta": {"consent": "no"},
    "priced_with_tax": True,
    "currency": "SEK",
    "country": "SE",
}


@each_row("path", list(fields(SignedEvent)), ids=lambda path: ".".join(map(str, path)))
def test_every_field_of_the_schema_is_read(path):
    """Another value makes another event; a field that nobody reads would be a promise."""
    before = sample() | {"meta": {}}
    if path[0] == "customer" and "address" not in path and path[-1].endswith("name"):
        value = "Otherwise"
    else:
        value = OTHER.get(path[-1], "7.77")
    after = changed(before, path, value)
    if path == ("shop",):
        request = platform.shop_of(type("Request", (), {"body": samples.encode(after)}))
        assert request == "7.77"
        return
    if path == ("type",):
        with pytest.raises(InvalidPayload, match="type must be one of order_placed"):
            translated(after)
        return
    read = left if path[-1] in ("refunded", "cancelled") else translated
    assert read(after) != read(before)


@each_row(
    ("topic", "gone", "why"),
    [
        ("order_paid", "order", "an event of type order_paid needs order.id"),
        ("order_placed", "order", "an event of type order_placed needs order.id"),
        ("checkout_started", "checkout", "an event of type checkout_started needs checkout.token"),
        ("customer_registered", "customer", "an event of type customer_registered needs customer.id"),
        ("order_paid", "occurred_at", "occurred_at is missing or is no time such as 2026-11-24T10:00:00Z"),
    ],
)
def test_what_an_event_needs_is_said(topic, gone, why):
    body = sample(topic)
    del body[gone]
    with pytest.raises(InvalidPayload, match=why):
        translated(body)


@each_row(
    ("answer", "meta", "outcome"),
    [
        *((True, {}, "relayed"), (False, {}, "skipped"), (None, {}, "skipped"), ("yes", {}, "skipped")),
        *((None, {"consent": "yes"}, "relayed"), (True, {"consent": "no"}, "skipped")),
    ],
)
def test_consent_is_in_the_body(answer, meta, outcome):
    """Where it is required; nobody's answer is none."""
    body = changed(sample(), ("browser", "consent"), answer) | {"meta": meta}
    assert see(body).outcome == outcome


def test_the_browsers_keys_are_sent():
    body = changed(sample(), ("browser", "ttclid"), "E.C.P.abc")
    (item,) = sent(body)
    assert (item["user"]["ttclid"], item["user"]["ttp"]) == ("E.C.P.abc", body["browser"]["ttp"])
    assert (item["user"]["ip"], item["user"]["user_agent"]) == (body["browser"]["ip"], body["browser"]["user_agent"])
    assert item["page"]["url"] == body["browser"]["url"]


def test_cash_on_delivery_counts_as_paid_at_once():
    body = changed(sample("order_placed"), ("order", "payment_methods"), ["COD"])
    assert [item["event"] for item in sent(body)] == ["PlaceAnOrder", "Purchase"]


def test_a_value_of_parts():
    body = sample()
    store = replace(STORE, mapping=MappingSettings(content_id="sku", value_excludes=("tax", "shipping")))
    (item,) = sent(body, store)
    assert item["properties"]["value"] == float(body["breakdown"]["goods"])
