"""Who is meant: by the hashes of each store, and whether a parked body names them."""

import json
import time
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from connector.core.event import DataRequest
from connector.mapping import hashing
from connector.privacy.data_subject import DataSubject, data_subject_of, mentions
from tests.support.factories import a_store
from tests.support.rows import each_row

STORE = a_store(country="US", external_id="c-{customer_id}")
DEMAND = DataRequest("erase_person", "8123", ("Ann@Example.com ",), ("(202) 555-0147",), ("501",))
ANN = data_subject_of(DEMAND, STORE)


def named(body: Any, topic: str = "orders/create", person: DataSubject = ANN) -> bool:
    return mentions(person, topic, json.dumps(body).encode(), STORE)


def test_a_person_is_hashed_as_the_stores_events_are() -> None:
    """E-mail normalised, phone in the store's country, external_id by the store's template; nothing in plain."""
    assert ANN.emails == {hashing.email("ann@example.com")}
    assert ANN.phones == {hashing.phone("+12025550147", "")}
    assert ANN.external_ids == {hashing.external_id("c-8123")}
    assert ANN.object_keys == ["order:501", "customer:8123"]
    assert "example" not in repr(ANN)
    assert data_subject_of(DEMAND, replace(STORE, external_id="{order_id}")).external_ids == frozenset()
    assert data_subject_of(DEMAND, None).external_ids == frozenset()
    assert not data_subject_of(DataRequest("export"), STORE)


@each_row(
    "body",
    [
        {"email": "ANN@example.com"},
        {"note": "please write to ann@example.com."},
        {"customer": {"default_address": {"phone": "202-555-0147"}}},
        {"billing": {"phone": "+1 202 555 0147"}},
        {"a": [[{"deep": ["x", "<ann@example.com>"]}]]},
        {"customer": {"id": 8123}},
        {"customer_id": "8123"},
        {"arg": {"customer_id": 8123}},
        {"id": 501},
        {"order": {"id": 501}},
        {"ann@example.com": True},
        {"note": "ann@example.com@"},
        {"email": "\ud800ann@exam\0ple.com"},
        {"note": "data:image/png;base64," + "iVBORw0KGgo" * 2_000 + " ann@example.com"},
    ],
)
def test_a_body_that_names_the_person_anywhere_is_found(body: Any) -> None:
    """However it is written, and wherever a plugin put it."""
    assert named(body)


@each_row(
    "body",
    [
        {"email": "anna@example.com"},
        {"email": "ann@example.com.au"},
        {"phone": "202-555-0148"},
        {"line_items": [{"id": 8123, "product_id": 501, "quantity": 8123}]},
        {"customer": {"id": 501}},
        {"note": "order 501"},
        {"id": 8123},
        [],
        None,
    ],
)
def test_somebody_else_is_not(body: Any) -> None:
    """A small shop's ids are small numbers, which are everywhere: only their place makes them an id."""
    assert not named(body)


def test_the_topic_says_whose_id_the_body_has() -> None:
    """An order's is an order's, a customer's a customer's."""
    assert named({"id": 8123}, "customers/create")
    assert not named({"id": 501}, "customers/create")


def test_a_phone_is_read_in_the_bodys_countries_too() -> None:
    """The mapping reads it in the country of its address."""
    berlin = replace_phone("+493055501234")
    assert named({"address": {"phone": "030 55501234", "country_code": "DE"}}, person=berlin)
    assert not named({"address": {"phone": "030 55501234", "country_code": "FR"}}, person=berlin)


def replace_phone(number: str) -> DataSubject:
    return DataSubject(phones=frozenset({hashing.phone(number, "")}))


@each_row(
    "value",
    ["iVBORw0KGgo" * 5_000, "@" * 55_000, "@a.b" * 15_000, "ann@" * 15_000],
)
def test_long_texts_take_no_quadratic_time(value: str) -> None:
    """An image in a note attribute, say. The search must not stop the process that sends events: CPU seconds."""
    begun = time.process_time()
    assert not named({"note_attributes": [{"name": "photo", "value": value}]})
    assert time.process_time() - begun < 5


def test_deep_bodies_take_no_more_time_than_flat_ones() -> None:
    """An app's metafield, say: CPU seconds."""
    begun = time.process_time()
    assert not named(json.loads("[" * 900 + "1," * 300_000 + '{"customer":{"x":{"id":8123}}}' + "]" * 900))
    assert time.process_time() - begun < 5


@each_row("body", [b"", b"\xff", b"{", b"[" * 100_000])
def test_what_cannot_be_read_may_name_anybody(body: bytes) -> None:
    """Nobody can say that it does not."""
    assert mentions(ANN, "orders/create", body, STORE)


TEXTS = st.text() | st.from_regex(r"\A.*@.*\..*\Z") | st.text("\0\ud800@.a1")


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | TEXTS, st.lists, max_leaves=9))
def test_any_json_is_looked_through(value: Any) -> None:
    """And somebody else is named by nothing."""
    assert not named({"x": value})
