"""connector.mapping.offline: what an offline event set gets, and what it never gets."""

import json
from dataclasses import replace as changed
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from connector.core.event import Address, Customer, Event, Item, Skipped
from connector.core.store import OrderSettings, Pixel
from connector.devtools.sandbox.rules import validate_request
from connector.mapping.offline import LIMITED_DATA_USE, NOTHING_TO_MATCH_OFFLINE, offline_item
from connector.mapping.tiktok_event import OutboundEvent, map_events
from tests.support.factories import CODE, a_store

NOW = datetime(2026, 11, 23, 15, 0, tzinfo=UTC)
SET = Pixel("7012345678901234567", "token", source="offline", milestones=("order_paid",))
STORE = a_store(pixels=(SET,), country="US", orders=OrderSettings(include=("web", "pos")))
BUYER = Customer(
    id="77",
    emails=("Ann@example.com", "ann@work.example.com"),
    phones=(("(212) 555-0123", "US"),),
    first_name="Ann",
    last_name="Lee",
    address=Address(city="New York", state="NY", postcode="10001", country="US"),
    ip="8.8.8.8",
    user_agent="Mozilla/5.0",
    locale="en-US",
    ttclid="E.C.P.x",
    ttp="ttp-1",
)
SALE = Event(
    milestone="order_paid",
    occurred_at=NOW - timedelta(minutes=5),
    ids={"order_id": "1001", "customer_id": "77"},
    customer=BUYER,
    kind="pos",
    currency="USD",
    total=Decimal("44.50"),
    items=(Item("10", "11", "SKU-1", "Shirt", "Acme", 2, Decimal("22.25")),),
    page_url="https://acme.example/?ttclid=1",
    referrer="https://www.tiktok.com/",
)


def mapped(event=SALE, store=STORE, go_live=NOW - timedelta(days=30)):
    return list(map_events([event], store, NOW, go_live))


def reason(event=SALE, store=STORE):
    (found,) = mapped(event, store)
    assert isinstance(found, Skipped), found
    return found.reason


def test_a_sale_at_the_till():
    """Event, time, id, hashed e-mails and phone, properties; the money as the shop wrote it."""
    (found,) = mapped()
    item = json.loads(found.payload)
    assert set(item) == {"event", "event_time", "event_id", "user", "properties"}
    assert set(item["user"]) == {"email", "phone"}
    assert len(item["user"]["email"]) == 2
    assert (item["event"], item["event_id"]) == ("Purchase", "acme-order-1001")
    assert b'"value":44.50' in found.payload
    assert item["properties"]["contents"][0]["content_id"] == "11"
    assert found.external_id_hash  # which is not sent, and finds the event for an erasure


def test_a_web_pixel_of_the_same_store_gets_everything():
    web = Pixel(CODE, "token")
    first, second = mapped(store=changed(STORE, pixels=(SET, web)))
    assert (first.pixel, second.pixel) == (SET, web)
    assert {"ttclid", "ip", "external_id", "country"} <= set(json.loads(second.payload)["user"])
    assert "page" in json.loads(second.payload)


TEXTS = st.text(max_size=12)
BUYERS = st.builds(
    Customer,
    id=TEXTS,
    emails=st.lists(TEXTS | st.just("ann@example.com"), max_size=2).map(tuple),
    phones=st.lists(st.tuples(TEXTS | st.just("+12125550123"), st.sampled_from(["", "US"])), max_size=2).map(tuple),
    first_name=TEXTS,
    address=st.builds(Address, city=TEXTS, state=TEXTS, postcode=TEXTS, country=st.sampled_from(["", "US", "DE"])),
    ip=TEXTS | st.just("8.8.8.8"),
    user_agent=TEXTS,
    locale=TEXTS,
    ttclid=TEXTS,
    ttp=TEXTS,
)


@given(BUYERS, TEXTS, st.sampled_from([(), ("CA",), ("NY",)]))
def test_an_offline_pixel_never_sends_a_web_only_field(buyer, url, states):
    """For any shopper: an item that the sandbox accepts by the rules of the source offline, or none."""
    store = changed(STORE, limited_data_use=states)
    for found in mapped(replace(SALE, customer=buyer, page_url=url, referrer=url), store):
        if isinstance(found, OutboundEvent):
            head = {"event_source": "offline", "event_source_id": SET.code}
            body = json.dumps(head)[:-1].encode() + b',"data":[' + found.payload + b"]}"
            assert validate_request(body, NOW.timestamp()).refusal is None
            assert set(json.loads(found.payload)["user"]) <= {"email", "phone"}
            assert offline_item(found.payload) == found.payload
        else:
            assert found.reason in (NOTHING_TO_MATCH_OFFLINE, LIMITED_DATA_USE)


def test_what_cannot_be_matched_offline_is_skipped():
    """A click id, an ip and a customer's id do not help there."""
    assert reason(replace(SALE, customer=replace(BUYER, emails=(), phones=()))) == NOTHING_TO_MATCH_OFFLINE


def test_limited_data_use_cannot_be_told_to_an_offline_set():
    assert reason(store=changed(STORE, limited_data_use=("NY",))) == LIMITED_DATA_USE
    assert isinstance(mapped(store=changed(STORE, limited_data_use=("CA",)))[0], OutboundEvent)


@pytest.mark.parametrize(("days", "is_sent"), [(27, True), (29, False)])
def test_events_of_28_days_are_sent_even_beside_a_browser(days, is_sent):
    """No browser sends to an offline set, so its 47 hours do not apply."""
    store = changed(STORE, max_event_age=timedelta(days=28), browser_pixel="own")
    (found,) = mapped(replace(SALE, occurred_at=NOW - timedelta(days=days)), store)
    assert isinstance(found, OutboundEvent) == is_sent


def test_a_web_only_property_is_left_out():
    """TikTok documents customer_type for web and app."""
    item = b'{"event":"Purchase","user":{"email":"x"},"properties":{"value":1.50,"customer_type":"new"}}'
    assert offline_item(item) == b'{"event":"Purchase","user":{"email":"x"},"properties":{"value":1.50}}'
