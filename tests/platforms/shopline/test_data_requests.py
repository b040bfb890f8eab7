"""SHOPLINE's requests by law: a body must have its topic's shape and name this very shop."""

import copy
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.core.event import DataRequest
from connector.core.webhook import InvalidPayload, Webhook
from platforms.shopline import platform
from platforms.shopline.data_requests import DATA_REQUEST_TOPICS
from tests.support.factories import a_store
from tests.support.rows import each_row

STORE = a_store("shopline")
BODIES: dict[str, dict[str, Any]] = {
    "customers/redact": {
        "customer": {"id": "4201057495", "email": "Ann@Example.com", "phone": "0012025550147"},
        "orders_to_redact": ["#72348"],
        "shop_domain": "acme.myshopline.com",
        "shop_id": "1644828244663",
        "update_time": "2026-11-24T15:32:46+08:00",
    },
    "merchants/redact": {
        "store_domain": "acme.myshopline.com",
        "store_id": "1644828244663",
        "update_time": "2026-11-24T15:32:46+08:00",
    },
    "apps/installed_uninstalled": {
        "appkey": "35f91ba37b941e6ce5fcc67975ab7aafb0a12345",
        "country_code": "SG",
        "created_at": "2026-11-24T15:32:46+08:00",
        "handle": "acme",
        "merchant_id": "2000001234",
        "name": "Acme",
        "operate": "UNINSTALL",
        "store_id": "1644828244663",
        "timestamp": 1795505566000,
        "timezone": "Asia/Singapore",
    },
}


def asked(topic: str, body: Any) -> list[Any]:
    webhook = Webhook(topic, b"", datetime(2026, 11, 24, tzinfo=UTC), shop="acme.myshopline.com", data=body)
    return list(platform.translate(webhook, STORE))


def changed(topic: str, **fields: Any) -> dict[str, Any]:
    return copy.deepcopy(BODIES[topic]) | fields


def test_each_topic_says_what_it_asks_for() -> None:
    """Orders are named by their numbers, which are no ids, so the person is found by id, e-mail and phone."""
    person = DataRequest("erase_person", "4201057495", ("Ann@Example.com",), ("+12025550147",))
    assert asked("customers/redact", BODIES["customers/redact"]) == [person]
    assert asked("merchants/redact", BODIES["merchants/redact"]) == [DataRequest("erase_store")]
    assert asked("apps/installed_uninstalled", BODIES["apps/installed_uninstalled"]) == [DataRequest("uninstalled")]
    assert asked("apps/installed_uninstalled", changed("apps/installed_uninstalled", operate="INSTALL")) == []
    assert set(BODIES) == DATA_REQUEST_TOPICS == platform.recorded_topics


@pytest.mark.parametrize("topic", ["customers/redact", "merchants/redact"])
def test_a_field_more_or_less_is_not_believed(topic: str) -> None:
    """The topic is an unsigned header: another topic's signed body must never erase anything."""
    for key in BODIES[topic]:
        body = {name: value for name, value in BODIES[topic].items() if name != key}
        if key == "update_time":
            assert asked(topic, body)
            continue
        with pytest.raises(InvalidPayload, match=r"expected a .* body: "):
            asked(topic, body)
    with pytest.raises(InvalidPayload, match=r"expected a .* body: "):
        asked(topic, changed(topic, more=1))


@each_row("topic", sorted(DATA_REQUEST_TOPICS))
@each_row("other", sorted(DATA_REQUEST_TOPICS))
def test_no_topics_body_passes_for_anothers(topic: str, other: str) -> None:
    if topic != other:
        with pytest.raises(InvalidPayload):
            asked(topic, BODIES[other])


@each_row(
    ("topic", "fields"),
    [
        ("customers/redact", {"shop_domain": "other.myshopline.com"}),
        ("customers/redact", {"customer": {}}),
        ("customers/redact", {"customer": {"email": "", "phone": "00120255***47"}}),
        ("customers/redact", {"orders_to_redact": "all"}),
        ("customers/redact", {"shop_id": None}),
        ("merchants/redact", {"store_domain": "other.myshopline.com"}),
        ("merchants/redact", {"store_id": {}}),
        ("apps/installed_uninstalled", {"handle": "other"}),
        ("apps/installed_uninstalled", {"handle": "acme.myshopline.com/"}),
        ("apps/installed_uninstalled", {"operate": "UPDATE"}),
    ],
)
def test_another_shops_body_or_one_that_names_nobody_is_not_believed(topic: str, fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidPayload):
        asked(topic, changed(topic, **fields))


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(topic=st.sampled_from(sorted(DATA_REQUEST_TOPICS)), where=st.integers(0, 20), value=ANY)
def test_any_value_in_any_field_is_believed_or_parked(topic: str, where: int, value: Any) -> None:
    """InvalidPayload and nothing else, so that it is kept; and never a request about nobody."""
    body = changed(topic)
    body[sorted(body)[where % len(body)]] = value
    try:
        found = asked(topic, body)
    except InvalidPayload:
        return
    for request in found:
        assert request.what != "erase_person" or request.customer_id or request.emails or request.phones
