"""What Shopify asks of us: only a body of its topic's exact shape, of this very shop, is believed."""

import copy
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.core.event import DataRequest
from connector.core.webhook import InvalidPayload, Webhook
from platforms.shopify import translate
from platforms.shopify.data_requests import DATA_REQUEST_TOPICS
from tests.support.factories import a_store
from tests.support.rows import each_row

STORE = a_store()
SHOP = {"shop_id": 66001, "shop_domain": "acme.myshopify.com"}
CUSTOMER = {"id": 8123, "email": "Ann@Example.com", "phone": "+12025550147"}
BODIES: dict[str, dict[str, Any]] = {
    "customers/redact": {**SHOP, "customer": CUSTOMER, "orders_to_redact": [501, 502]},
    "customers/data_request": {
        **SHOP,
        "customer": CUSTOMER,
        "orders_requested": [501, 502],
        "data_request": {"id": 9001},
    },
    "shop/redact": SHOP,
    "app/uninstalled": {
        "id": 66001,
        "name": "Acme",
        "email": "owner@example.com",
        "domain": "acme.example",
        "myshopify_domain": "acme.myshopify.com",
        "plan_name": "basic",
    },
}
ANN = {"customer_id": "8123", "emails": ("Ann@Example.com",), "phones": ("+12025550147",), "order_ids": ("501", "502")}


def asked(topic: str, body: Any, shop: str = "acme.myshopify.com") -> DataRequest:
    webhook = Webhook(topic, b"", datetime(2026, 11, 24, tzinfo=UTC), shop=shop, data=body)
    (demand,) = translate.translate(webhook, STORE)
    assert isinstance(demand, DataRequest)
    return demand


def changed(topic: str, **fields: Any) -> dict[str, Any]:
    return copy.deepcopy(BODIES[topic]) | fields


def test_each_topic_says_what_it_asks_for() -> None:
    """Erase somebody, tell somebody, erase all, and good-bye."""
    assert asked("customers/redact", BODIES["customers/redact"]) == DataRequest("erase_person", **ANN)
    assert asked("customers/data_request", BODIES["customers/data_request"]) == DataRequest("export", **ANN)
    assert asked("shop/redact", BODIES["shop/redact"]) == DataRequest("erase_store")
    assert asked("app/uninstalled", BODIES["app/uninstalled"]) == DataRequest("uninstalled")
    assert set(BODIES) == DATA_REQUEST_TOPICS


@pytest.mark.parametrize("customer", [{"email": "ann@example.com"}, {"id": 8123, "email": None, "phone": None}, {}])
def test_a_customer_may_be_known_by_little(customer: dict[str, Any]) -> None:
    """By the e-mail alone, by the id alone, or by the orders."""
    assert asked("customers/redact", changed("customers/redact", customer=customer)).what == "erase_person"


@pytest.mark.parametrize("topic", sorted(DATA_REQUEST_TOPICS - {"app/uninstalled"}))
def test_a_field_more_or_less_is_not_believed(topic: str) -> None:
    """The topic is an unsigned header: another topic's signed body must never erase anything."""
    for key in BODIES[topic]:
        with pytest.raises(InvalidPayload, match=r"expected a .* body: "):
            asked(topic, {name: value for name, value in BODIES[topic].items() if name != key})
    with pytest.raises(InvalidPayload, match=r"expected a .* body: "):
        asked(topic, changed(topic, more=1))


@each_row("topic", sorted(DATA_REQUEST_TOPICS))
@each_row("other", sorted(DATA_REQUEST_TOPICS))
def test_no_topics_body_passes_for_anothers(topic: str, other: str) -> None:
    """Each asks for something else."""
    if topic != other:
        with pytest.raises(InvalidPayload):
            asked(topic, BODIES[other])


@each_row("topic", sorted(DATA_REQUEST_TOPICS))
def test_another_shops_body_is_not_believed(topic: str) -> None:
    """One app's secret signs for all of its shops, and the header that names the shop is not signed."""
    field = "myshopify_domain" if topic == "app/uninstalled" else "shop_domain"
    with pytest.raises(InvalidPayload, match="another shop"):
        asked(topic, changed(topic, **{field: "other.myshopify.com"}))


def test_a_shop_without_a_name_in_its_body_is_that_of_the_header() -> None:
    """Shopify's own sample of an uninstalled app has none; with none in either nothing is believed."""
    body = changed("app/uninstalled", myshopify_domain=None)
    assert asked("app/uninstalled", body).what == "uninstalled"
    with pytest.raises(InvalidPayload, match="another shop"):
        asked("app/uninstalled", body, shop="")


@each_row(
    ("topic", "fields"),
    [
        ("customers/redact", {"customer": {}, "orders_to_redact": []}),
        ("customers/redact", {"customer": {"email": ""}, "orders_to_redact": []}),
        ("customers/redact", {"orders_to_redact": 501}),
        ("customers/redact", {"orders_to_redact": [501, "all"]}),
        ("customers/redact", {"orders_to_redact": [None]}),
        ("customers/data_request", {"data_request": {}}),
        ("shop/redact", {"shop_id": "acme"}),
        ("app/uninstalled", {"line_items": []}),
    ],
)
def test_what_names_nobody_or_anything_else_is_not_believed(topic: str, fields: dict[str, Any]) -> None:
    """Rather look at it than erase on a guess."""
    with pytest.raises(InvalidPayload):
        asked(topic, changed(topic, **fields))


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(topic=st.sampled_from(sorted(DATA_REQUEST_TOPICS)), where=st.integers(0, 20), value=ANY)
def test_any_value_in_any_field_is_believed_or_parked(topic: str, where: int, value: Any) -> None:
    """A Misfit and nothing else, so that it is kept; and never a demand about nobody."""
    body = changed(topic)
    body[sorted(body)[where % len(body)]] = value
    try:
        demand = asked(topic, body)
    except InvalidPayload:
        return
    if demand.what in ("erase_person", "export"):
        assert demand.customer_id or demand.emails or demand.phones or demand.order_ids
