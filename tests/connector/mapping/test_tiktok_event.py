"""connector.mapping.tiktok_event: an event and a store's choices become EAPI items, or the reason why not."""

import dataclasses
import hashlib
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from msgspec.structs import replace

from connector.core.currencies import TIKTOK_CURRENCIES
from connector.core.event import Address, Customer, Event, Item, Skipped
from connector.core.store import MappingSettings, OrderSettings, Pixel
from connector.mapping.properties import content_id
from connector.mapping.tiktok_event import OutboundEvent, map_events
from tests.support.factories import a_store
from tests.support.rows import each_row

NOW = datetime(2026, 11, 23, 15, 0, tzinfo=UTC)
LIVE = NOW - timedelta(days=30)
CODE, OTHER = "CABCDEFGHIJKLMNOPQR0", "CABCDEFGHIJKLMNOPQR1"
STORE = a_store()
CUSTOMER = Customer(
    id="77",
    emails=("Jane@example.com",),
    phones=(("(212) 555-0123", "US"),),
    first_name="Jane",
    last_name="Doe",
    address=Address(city="New York", state="NY", postcode="10001-1234", country="US"),
    ip="8.8.8.8",
    user_agent="Mozilla/5.0",
    locale="en-US",
    ttclid="E.C.P.x",
    ttp="ttp-1",
)
EVENT = Event(
    milestone="order_placed",
    occurred_at=NOW - timedelta(minutes=5),
    ids={"order_id": "1001", "customer_id": "77", "checkout_token": "abc"},
    customer=CUSTOMER,
    currency="USD",
    total=Decimal("44.50"),
    items=(Item("10", "11", "SKU-1", "Shirt", "Acme", 2, Decimal("18.50")), Item(sku="GIFT", quantity=1)),
    page_url="/shirts?utm_source=tiktok&key=secret",
    referrer="https://www.tiktok.com/?q=1",
)


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


def results(event=EVENT, store=STORE, go_live=LIVE):
    return list(map_events([event], store, NOW, go_live))


def only(event=EVENT, store=STORE, go_live=LIVE):
    (found,) = results(event, store, go_live)
    assert isinstance(found, OutboundEvent), found
    return found


def item(event=EVENT, store=STORE):
    return json.loads(only(event, store).payload)


def reason(event=EVENT, store=STORE, go_live=LIVE):
    (found,) = results(event, store, go_live)
    assert isinstance(found, Skipped), found
    assert found.milestone == event.milestone
    assert found.ids == event.ids
    return found.reason


def shopper(**changes):
    return replace(EVENT, customer=replace(CUSTOMER, **changes))


NOTHING_TO_MATCH = {"emails": (), "phones": (), "ip": "", "user_agent": "", "ttclid": "", "ttp": "", "locale": ""}


def anonymous(**changes):
    return replace(EVENT, ids={"order_id": "1001"}, customer=replace(CUSTOMER, **{**NOTHING_TO_MATCH, **changes}))


def test_the_whole_item():
    assert item() == {
        "event": "PlaceAnOrder",
        "event_time": int(EVENT.occurred_at.timestamp()),
        "event_id": "acme-order-1001",
        "user": {
            "email": digest("jane@example.com"),
            "phone": digest("+12125550123"),
            "external_id": digest("77"),
            "ttclid": "E.C.P.x",
            "ttp": "ttp-1",
            "ip": "8.8.8.8",
            "user_agent": "Mozilla/5.0",
            "locale": "en-US",
            "first_name": digest("jane"),
            "last_name": digest("doe"),
            "zip_code": digest("10001"),
            "city": "newyork",
            "state": "ny",
            "country": "us",
        },
        "properties": {
            "contents": [
                {"content_id": "11", "content_name": "Shirt", "brand": "Acme", "quantity": 2, "price": 18.5},
                {"content_id": "GIFT", "quantity": 1},
            ],
            "content_type": "product",
            "num_items": 3,
            "order_id": "1001",
            "currency": "USD",
            "value": 44.5,
        },
        "page": {"url": "https://acme.example/shirts?utm_source=tiktok", "referrer": "https://www.tiktok.com/"},
    }


def test_two_orders_of_one_customer_are_described_each():
    """Also when a platform gives both the same Customer object."""
    other = replace(EVENT, ids={"order_id": "1002"}, total=Decimal("7.00"), items=())
    payloads = [json.loads(found.payload) for found in map_events([EVENT, other], STORE, NOW, LIVE)]
    assert [payload["properties"]["order_id"] for payload in payloads] == ["1001", "1002"]
    assert [payload["properties"]["value"] for payload in payloads] == [44.5, 7.0]


def test_a_registration_beside_an_order_of_the_same_customer_has_no_properties():
    registered = replace(EVENT, milestone="customer_registered")
    payloads = [json.loads(found.payload) for found in map_events([EVENT, registered], STORE, NOW, LIVE)]
    assert ["properties" in payload for payload in payloads] == [True, False]


def test_what_the_outbox_keeps_beside_the_bytes():
    found = only(shopper(emails=("a@example.com", "b@example.com")))
    assert (found.email_hash, found.phone_hash, found.external_id_hash) == (
        digest("a@example.com"),
        digest("+12125550123"),
        digest("77"),
    )
    assert found.object_key == "order:1001"
    assert found.occurred_at == EVENT.occurred_at
    assert b'"value":44.50' in found.payload
    assert b'"price":18.50' in found.payload


def test_absent_stays_absent():
    bare = Event("order_placed", NOW, {"order_id": "1"}, Customer(emails=("a@example.com",)))
    assert item(bare) == {
        "event": "PlaceAnOrder",
        "event_time": int(NOW.timestamp()),
        "event_id": "acme-order-1",
        "user": {"email": digest("a@example.com")},
        "properties": {"order_id": "1"},
        "page": {"url": "https://acme.example/"},
    }


def test_a_value_of_zero_is_one():
    assert item(replace(EVENT, total=Decimal("0.00")))["properties"]["value"] == 0


def test_several_addresses_are_a_list_without_doubles_and_blanks():
    emails = ("Jane@example.com", "jane@example.com ", "nobody", "b@example.com")
    assert item(shopper(emails=emails))["user"]["email"] == [digest("jane@example.com"), digest("b@example.com")]


def test_a_phone_is_read_in_its_own_country_then_the_address_then_the_shop():
    assert item(shopper(phones=(("020 7946 0123", "GB"),)))["user"]["phone"] == digest("+442079460123")
    assert item(shopper(phones=(("(212) 555-0123", ""),)))["user"]["phone"] == digest("+12125550123")
    homeless = shopper(phones=(("020 7946 0123", ""),), address=Address())
    assert item(homeless, dataclasses.replace(STORE, country="GB"))["user"]["phone"] == digest("+442079460123")
    assert "phone" not in item(homeless)["user"]


def test_the_shop_s_own_country_is_never_told_as_the_shopper_s():
    assert "country" not in item(shopper(address=Address()), dataclasses.replace(STORE, country="GB"))["user"]


def test_unusable_ips_are_dropped():
    assert "ip" not in item(shopper(ip="10.0.0.1"))["user"]


@each_row(
    "key",
    [
        {"emails": ("a@example.com",)},
        {"phones": (("+12125550123", ""),)},
        {"ttclid": "x"},
        {"ttp": "x"},
        {"ip": "8.8.8.8", "user_agent": "x"},
    ],
)
def test_one_match_key_is_enough(key):
    assert isinstance(only(anonymous(**key)), OutboundEvent)


@each_row("key", [{}, {"ip": "8.8.8.8"}, {"user_agent": "x"}, {"ip": "10.0.0.1", "user_agent": "x"}, {"locale": "en"}])
def test_without_a_match_key_nothing_is_sent(key):
    assert "nothing to match on" in reason(anonymous(**key))


def test_an_external_id_comes_of_its_template_and_alone_is_enough():
    known = replace(anonymous(), ids=EVENT.ids)
    assert item(known)["user"]["external_id"] == digest("77")
    assert item(known, dataclasses.replace(STORE, external_id="u-{customer_id}"))["user"]["external_id"] == digest(
        "u-77"
    )


def test_names_of_events_are_the_store_s_and_one_pixel_gets_each():
    store = dataclasses.replace(
        STORE,
        events={**STORE.events, "order_placed": ("PlaceAnOrder", "Lead")},
        pixels=(Pixel(CODE, "t"), Pixel(OTHER, "t")),
    )
    found = [(mapped.pixel.code, mapped.event) for mapped in results(store=store)]
    assert found == [(CODE, "PlaceAnOrder"), (CODE, "Lead"), (OTHER, "PlaceAnOrder"), (OTHER, "Lead")]


def test_an_event_that_is_off_is_skipped():
    assert (
        reason(store=dataclasses.replace(STORE, events={**STORE.events, "order_placed": ()}))
        == "events.order_placed is off"
    )


def test_only_included_kinds_of_orders_are_relayed():
    assert reason(replace(EVENT, kind="pos")) == "pos orders are not relayed (orders.include)"
    assert only(replace(EVENT, kind="pos"), dataclasses.replace(STORE, orders=OrderSettings(include=("pos",))))
    assert only(replace(EVENT, kind="app"))


def test_registrations_are_no_orders_of_any_kind():
    event = replace(EVENT, milestone="customer_registered")
    found = item(event, dataclasses.replace(STORE, orders=OrderSettings(include=("pos",))))
    assert found["event_id"] == "acme-customer-77"
    assert "properties" not in found


def test_event_ids_come_of_their_templates():
    assert only().event_id == "acme-order-1001"
    assert only(replace(EVENT, milestone="order_paid")).event == "Purchase"
    checkout = only(replace(EVENT, milestone="checkout_started"))
    assert (checkout.event_id, checkout.object_key) == ("acme-checkout-abc", "checkout:abc")
    assert "has no value here" in reason(replace(EVENT, milestone="checkout_started", ids={"order_id": "1"}))


@pytest.mark.parametrize(
    ("age", "expected"),
    [
        (timedelta(days=7), ""),
        (timedelta(days=7, seconds=1), "older than max_event_age (7d)"),
        (timedelta(days=-1), ""),
    ],
)
def test_age(age, expected):
    event = replace(EVENT, occurred_at=NOW - age)
    assert reason(event) == expected if expected else only(event)


def test_age_in_hours_is_said_in_hours():
    store = dataclasses.replace(STORE, max_event_age=timedelta(hours=47))
    assert reason(replace(EVENT, occurred_at=NOW - timedelta(hours=48)), store) == "older than max_event_age (47h)"


def test_orders_older_than_go_live_are_history():
    assert reason(go_live=NOW) == "older than go_live (2026-11-23 15:00 UTC)"
    assert only(go_live=EVENT.occurred_at)
    assert only(replace(EVENT, occurred_at=NOW - timedelta(days=400)), go_live=None)


def test_the_future_is_now():
    found = only(replace(EVENT, occurred_at=NOW + timedelta(hours=3)))
    assert found.occurred_at == NOW
    assert json.loads(found.payload)["event_time"] == int(NOW.timestamp())


def test_old_orders_and_test_orders_go_to_test_events_only():
    both = dataclasses.replace(STORE, pixels=(Pixel(CODE, "t", "TEST1"), Pixel(OTHER, "t")))
    for event, why in (
        (replace(EVENT, test=True), "a test order of the shop"),
        (replace(EVENT, occurred_at=NOW - timedelta(days=400)), "older than max_event_age"),
    ):
        sent, skipped = results(event, both)
        assert sent.pixel.code == CODE
        assert skipped.reason.startswith(why)
    assert reason(replace(EVENT, test=True), go_live=None).startswith("a test order")


def test_an_unlisted_currency_costs_value_and_prices_not_the_event():
    found = only(replace(EVENT, currency="XXX"))
    properties = json.loads(found.payload)["properties"]
    assert not {"currency", "value"} & set(properties)
    assert not any("price" in content for content in properties["contents"])
    assert found.notes == ("value left out: TikTok does not list the currency XXX",)
    silent = json.loads(only(replace(EVENT, currency="", total=None)).payload)["properties"]
    assert not any("price" in content for content in silent["contents"])


def test_without_a_value_there_is_no_currency_and_the_reverse():
    bare = replace(EVENT, total=None, items=tuple(replace(i, price=None) for i in EVENT.items))
    assert not {"currency", "value"} & set(item(bare)["properties"])
    assert item(replace(EVENT, total=None))["properties"]["currency"] == EVENT.currency  # the prices are in it
    assert only(replace(EVENT, currency="")).notes[0].endswith("(none)")


def test_the_listed_currencies():
    assert len(TIKTOK_CURRENCIES) == 62
    assert {"USD", "EUR", "JPY", "KWD", "BRL"} <= TIKTOK_CURRENCIES


@each_row(
    ("choice", "known", "expected"),
    [
        ("variant_id", Item("p", "v", "s"), "v"),
        ("variant_id", Item("p", "", "s"), "p"),
        ("variant_id", Item("", "", "s"), "s"),
        ("product_id", Item("p", "v", "s"), "p"),
        ("product_id", Item("", "v", "s"), "s"),
        ("sku", Item("p", "v", "s"), "s"),
        ("sku", Item("p", "v", ""), "v"),
        ("sku", Item("p", "", ""), "p"),
        ("shopify_US_{product_id}_{variant_id}", Item("p", "v", "s"), "shopify_US_p_v"),
        ("x_{sku}", Item("p", "v", ""), ""),
        ("gla_{item_id}", Item("p", "v", "s"), "gla_v"),
        ("gla_{item_id}", Item("p", "", "s"), "gla_p"),
        ("gla_{item_id}", Item("", "", "s"), ""),
        ("sku", Item(), ""),
    ],
)
def test_content_id(choice, known, expected):
    assert content_id(known, dataclasses.replace(STORE, mapping=MappingSettings(content_id=choice))) == expected


def test_content_ids_are_sent_where_a_store_asks_for_them():
    """Each once, in the sequence of `contents`; nothing where there is none."""
    store = dataclasses.replace(STORE, mapping=MappingSettings(content_id="sku", content_ids=True))
    items = tuple(Item(sku=sku) for sku in ("b", "a", "b", ""))
    assert item(replace(EVENT, items=items), store)["properties"]["content_ids"] == ["b", "a"]
    assert "content_ids" not in item(replace(EVENT, items=(Item(),)), store)["properties"]
    assert "content_ids" not in item(replace(EVENT, items=items))["properties"]


def test_product_ids_are_product_groups():
    store = dataclasses.replace(STORE, mapping=MappingSettings(content_id="product_id"))
    assert item(store=store)["properties"]["content_type"] == "product_group"


def test_items_without_any_id_are_counted_but_not_listed():
    properties = item(replace(EVENT, items=(Item(name="Gift wrap", quantity=2),)))["properties"]
    assert properties["num_items"] == 2
    assert not {"contents", "content_type"} & set(properties)


@each_row("page", ["", "mailto:a@example.com", "https://[", "//cdn.example/x"])
def test_there_is_always_a_page_because_tiktok_asks_for_one(page):
    assert item(replace(EVENT, page_url=page, referrer=""))["page"] == {"url": "https://acme.example/"}


def test_notes_travel_with_the_event():
    assert only(replace(EVENT, notes=("a note",))).notes == ("a note",)


def test_an_unknown_us_state_may_be_one_with_limited_data_use():
    limited = dataclasses.replace(STORE, limited_data_use=("CA",))
    known = replace(EVENT, customer=replace(CUSTOMER, destination=Address(country="US", state="NY")))
    unknown = replace(EVENT, customer=replace(CUSTOMER, destination=Address(country="US")))
    elsewhere = replace(EVENT, customer=replace(CUSTOMER, destination=Address(country="CA")))
    marked = [
        json.loads(next(map_events([event], limited, NOW, None)).payload).get("limited_data_use")
        for event in (known, unknown, elsewhere)
    ]
    assert marked == [None, True, None]


@each_row(("own", "marked"), [("US", True), ("DE", None), ("", None)])
def test_an_unknown_country_is_that_of_the_store_for_limited_data_use(own, marked):
    """As for consent: a checkout often has no address yet."""
    store = dataclasses.replace(STORE, limited_data_use=("CA",), country=own)
    event = replace(EVENT, customer=replace(CUSTOMER, address=Address(), destination=Address()))
    found = json.loads(next(map_events([event], store, NOW, None)).payload).get("limited_data_use")
    assert found is marked
