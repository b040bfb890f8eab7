"""The event_id of orders, checkouts and registrations, by the store's templates."""

import pytest

from connector.core.store import EventIdTemplates
from tests.support.rows import each_row
from tests.support.sample_bodies import (
    BOTH,
    CHECKOUT,
    PAID,
    PLACED,
    REGISTERED,
    SHOPIFY,
    WOOCOMMERCE,
    choose,
    item,
    journey,
    names,
    reasons,
    sample,
    see,
)

each_platform = pytest.mark.parametrize("store", BOTH, ids=lambda store: store.platform)


def ids_of(store, order="x-{order_id}", checkout="x-{checkout_token}", customer="x-{customer_id}"):
    return choose(store, event_id=EventIdTemplates(order, checkout, customer))


WAY = journey()
MARKS = {
    "shopify": {"note_attributes": [{"name": "My Key", "value": "abc"}, {"name": "n", "value": 7}]},
    "woocommerce": {"meta_data": [{"id": 1, "key": "My Key", "value": "abc"}, {"id": 2, "key": "n", "value": 7}]},
}
WORD = {"shopify": "attribute", "woocommerce": "meta"}


@each_row(
    ("store", "template", "expected"),
    [
        (SHOPIFY, "{order_id}", str(WAY.order_id)),
        (SHOPIFY, "{order_number}", str(WAY.order_number)),
        (SHOPIFY, "{order_name}", f"#{WAY.order_number}"),
        (SHOPIFY, "{checkout_token}", WAY.checkout_token),
        (SHOPIFY, "{cart_token}", WAY.cart_token),
        (SHOPIFY, "{customer_id}-{order_id}", f"{WAY.customer_id}-{WAY.order_id}"),
        (SHOPIFY, "a {attribute:My Key}!", "a abc!"),
        (SHOPIFY, "{attribute:n}", "7"),
        (SHOPIFY, "{meta:My Key}", None),
        (WOOCOMMERCE, "{order_id}", str(WAY.order_id)),
        (WOOCOMMERCE, "{order_number}", "SO-1001"),
        (WOOCOMMERCE, "{order_name}", "SO-1001"),
        (WOOCOMMERCE, "{checkout_token}", None),
        (WOOCOMMERCE, "{cart_token}", None),
        (WOOCOMMERCE, "{customer_id}-{order_id}", f"{WAY.customer_id}-{WAY.order_id}"),
        (WOOCOMMERCE, "a {meta:My Key}!", "a abc!"),
        (WOOCOMMERCE, "{meta:n}", "7"),
        (WOOCOMMERCE, "{attribute:My Key}", None),
    ],
)
def test_event_ids_of_orders(store, template, expected):
    """A placeholder that has nothing makes the event skipped, never an id that others share."""
    body = sample(store, **MARKS[store.platform], **({"number": "SO-1001"} if store is WOOCOMMERCE else {}))
    seen = see(ids_of(store, order=template), PAID, body)
    if expected is None:
        assert set(reasons(seen)) == {f"event_id template {template!r} has no value here"}
        assert not seen.events
    else:
        assert {mapped.event_id for mapped in seen.events} == {expected}


@each_platform
@each_row(("template", "missing"), [("{customer_id}", True), ("{checkout_token}", False)])
def test_event_ids_of_checkouts(store, template, missing):
    guest = {"customer": None} if store.platform == "shopify" else {"customer_id": 0}
    seen = see(ids_of(store, checkout=f"c-{template}"), CHECKOUT, sample(store, CHECKOUT, **guest))
    if missing:
        assert reasons(seen) == [f"event_id template 'c-{template}' has no value here"]
    else:
        assert [mapped.event_id for mapped in seen.events] == [f"c-{WAY.checkout_token}"]


def test_event_ids_of_checkouts_by_what_the_shop_left_there():
    store = ids_of(SHOPIFY, checkout="{cart_token}-{attribute:My Key}")
    body = sample(store, CHECKOUT, **MARKS["shopify"])
    assert [mapped.event_id for mapped in see(store, CHECKOUT, body).events] == [f"{WAY.cart_token}-abc"]
    store = ids_of(WOOCOMMERCE, checkout="{meta:visit}")
    assert item(store, sample(store, CHECKOUT, visit="v1"), CHECKOUT)["event_id"] == "v1"


@each_platform
def test_event_ids_of_registrations(store):
    store = ids_of(store, customer="r-{customer_id}")
    assert item(store, sample(store, REGISTERED), REGISTERED)["event_id"] == f"r-{WAY.customer_id}"


def test_event_ids_of_registrations_by_meta():
    store = ids_of(WOOCOMMERCE, customer="{meta:crm}")
    meta = [{"id": 1, "key": "crm", "value": "77"}]
    assert item(store, sample(store, REGISTERED, meta_data=meta), REGISTERED)["event_id"] == "77"
    assert names(see(store, REGISTERED, sample(store, REGISTERED))) == []


@each_platform
def test_one_order_has_one_event_id_in_whatever_topic_and_state(store):
    found = {
        mapped.event_id for topics in (PLACED, PAID) for mapped in see(store, topics, sample(store, topics)).events
    }
    assert found == {f"acme-order-{WAY.order_id}"}
