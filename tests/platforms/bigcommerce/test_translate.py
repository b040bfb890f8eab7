"""BigCommerce's orders and customers as events: states, money, people, kinds."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from connector.core.event import Event, Skipped
from connector.core.store import MappingSettings, OrderSettings
from connector.core.webhook import InvalidPayload, Webhook
from connector.intake.examine import examine, parse
from connector.mapping.properties import value_of
from platforms.bigcommerce import platform
from tests.support.bigcommerce_bodies import a_cart, a_customer, a_line, an_order
from tests.support.factories import a_store
from tests.support.rows import each_row

AT = datetime(2026, 11, 23, 15, 4, 5, tzinfo=UTC)
STORE = a_store("bigcommerce")


def translated(body, store=STORE, topic="order"):
    text = json.dumps(body).encode()
    return list(platform.translate(Webhook(topic, text, AT, data=parse(text)), store))


def milestones(body, store=STORE):
    return [item.milestone for item in translated(body, store) if isinstance(item, Event)]


def test_a_paid_order_with_all_that_is_known():
    placed, paid = translated(an_order())
    assert (placed.milestone, paid.milestone) == ("order_placed", "order_paid")
    assert placed.occurred_at == paid.occurred_at == datetime(2026, 11, 23, 14, 56, tzinfo=UTC)
    assert placed.ids == {
        "order_id": "250",
        "order_number": "250",
        "order_name": "250",
        "checkout_token": "a8458391-ef68-4fe5-9ec1-442e6a767364",
        "customer_id": "32",
    }
    assert (placed.currency, str(placed.total), placed.kind) == ("USD", "48.30", "web")
    customer = placed.customer
    assert (customer.id, customer.emails, customer.phones) == ("32", ("ada@example.com",), (("512-555-0123", "US"),))
    assert (customer.ip, customer.country, customer.locale) == ("203.0.113.9", "US", "en")
    assert (customer.address.city, customer.address.postcode, customer.first_name) == ("Austin", "78751", "Ada")
    assert [(item.product_id, item.variant_id, item.sku, item.quantity, str(item.price)) for item in placed.items] == [
        ("77", "1077", "TOWEL", 1, "20.00"),
        ("78", "1078", "SOAP", 2, "10.00"),
    ]
    assert placed.gateways == ("Credit Card", "authorizenet")


@each_row(
    ("status", "payment", "expected"),
    [
        (0, "", []),  # the payment page was reached
        (1, "", []),
        (7, "", ["order_placed"]),  # awaiting payment
        (12, "authorized", ["order_placed"]),  # manual verification
        (11, "", ["order_placed", "order_paid"]),
        (2, "", ["order_placed", "order_paid"]),
        (10, "", ["order_placed", "order_paid"]),
        (7, "captured", ["order_placed", "order_paid"]),
        (4, "refunded", ["order_placed", "order_paid"]),
        (14, "partially refunded", ["order_placed", "order_paid"]),
        (13, "", ["order_placed"]),
        (7, "declined", ["order_placed"]),
    ],
)
def test_the_status_and_the_payment_decide(status, payment, expected):
    assert milestones(an_order(status_id=status, status="x", payment_status=payment)) == expected


@pytest.mark.parametrize(("status", "word"), [(5, "cancelled"), (6, "declined")])
def test_an_order_that_is_gone_when_first_seen_is_skipped_with_the_reason(status, word):
    (skip,) = translated(an_order(status_id=status, payment_status="void"))
    assert isinstance(skip, Skipped)
    assert skip.reason == f"the order was already {word} when first seen"
    assert skip.ids["order_id"] == "250"


def test_the_merchants_own_statuses_decide_where_they_are_set():
    store = replace(STORE, orders=OrderSettings(placed_statuses=("awaiting payment",), paid_statuses=("my status",)))
    assert milestones(an_order(status="Awaiting Payment", status_id=7), store) == ["order_placed"]
    paid = an_order(custom_status="My Status", status="Shipped")
    assert milestones(paid, store) == ["order_placed", "order_paid"]  # a paid order counts as placed
    (skip,) = translated(an_order(status="Pending Review", status_id=12, payment_status=""), store)
    assert skip.reason == "status pending review does not count as placed (placed_statuses)"
    cash = replace(STORE, orders=OrderSettings(paid_when_placed=("cash on delivery",)))
    order = an_order(status_id=7, payment_status="", payment_method="Cash on Delivery")
    assert milestones(order, cash) == ["order_placed", "order_paid"]


@each_row(
    ("changes", "kind"),
    [
        ({}, "web"),
        ({"order_source": "iphone"}, "app"),
        ({"order_source": "checkout_api"}, "web"),
        ({"order_source": "manual"}, "staff"),
        ({"order_source": "external"}, "api"),
        ({"order_source": "manual", "external_source": "POS (Square)"}, "pos"),
        ({"order_source": "external", "external_source": "Amazon"}, "marketplace"),
        ({"order_source": "ebay"}, "marketplace"),
        ({"order_source": "external", "external_source": "M-MIG"}, "api"),
    ],
)
def test_the_source_is_the_kind(changes, kind):
    assert {item.kind for item in translated(an_order(**changes))} == {kind}


def test_an_order_through_the_test_gateway_is_a_test():
    assert all(item.test for item in translated(an_order(payment_method="Test Payment Gateway")))


@pytest.mark.parametrize(
    ("currency", "written", "expected"),
    [("JPY", "4830.0000", "4830"), ("KWD", "48.3000", "48.300"), ("EUR", "48.3", "48.30")],
)
def test_amounts_have_the_decimals_of_the_currency_that_is_paid(currency, written, expected):
    """Not of the one that the storefront displays."""
    order = an_order(default_currency_code=currency, currency_code="AUD", total_inc_tax=written)
    (placed, _) = translated(order)
    assert (placed.currency, str(placed.total)) == (currency, expected)


def test_a_discount_is_taken_off_the_price_and_parts_of_bundles_are_left_out():
    lines = [
        a_line(65, 77, "SET", 2, "20.0000", "21.6500", discounted_total_inc_tax="21.6500"),
        a_line(66, 86, "PART", 2, "0.0000", "0.0000", parent_order_product_id=65),
    ]
    order = an_order(consignments={"pickups": [{"line_items": lines}]})
    (placed, _) = translated(order)
    assert [(item.sku, str(item.price)) for item in placed.items] == [("SET", "10.00")]
    gross = translated(order | {"is_tax_inclusive_pricing": True})[0]
    assert [str(item.price) for item in gross.items] == ["10.83"]


def test_a_discount_that_leaves_many_decimals_is_rounded_to_the_cent():
    """Without tax, 55.99 less the same share as 65.23 to 63.64."""
    line = a_line(65, 77, "TOWEL", 1, "55.9900", "65.2300", discounted_total_inc_tax="63.6400")
    three = a_line(66, 78, "SOAP", 3, "10.0000", "10.0000", discounted_total_inc_tax="20.0000")
    (placed, _) = translated(an_order(consignments={"shipping": [{"line_items": [line, three]}]}))
    assert [str(item.price) for item in placed.items] == ["54.63", "6.67"]


def test_all_consignments_are_read_and_links_are_no_lines():
    """Digital products, gift certificates, and an order without consignments."""
    link = {
        "url": "https://api.bigcommerce.com/stores/acme/v2/orders/129/products/12",
        "resource": "/orders/129/products/12",
    }
    order = an_order(
        consignments={
            "shipping": [{"line_items": [link]}],
            "downloads": [{"line_items": [a_line(1, 10, "FILE")]}],
            "email": {"gift_certificates": [{"line_items": [a_line(2, 11, "GIFT", type="giftcertificate")]}]},
        }
    )
    assert [item.sku for item in translated(order)[0].items] == ["FILE", "GIFT"]
    listed = an_order(consignments=None, products=[a_line(1, 10, "FILE")])
    assert [item.sku for item in translated(listed)[0].items] == ["FILE"]


def test_the_breakdown_adds_up_to_the_total():
    store = replace(STORE, mapping=MappingSettings(value_excludes=("tax", "shipping"), content_id="product_id"))
    breakdown = translated(an_order(), store)[0].breakdown
    assert (breakdown.goods, breakdown.shipping, breakdown.tax) == (Decimal("40.00"), Decimal("5.00"), Decimal("3.30"))
    body = json.dumps(an_order()).encode()
    seen = examine(Webhook("order", body, AT), platform, store, AT, None)
    assert {json.loads(event.payload)["properties"]["value"] for event in seen.events} == {40}


def test_items_priced_with_tax_without_it():
    """A line states both its total with tax and without."""
    order = an_order(is_tax_inclusive_pricing=True)
    store = replace(STORE, mapping=MappingSettings(content_id="product_id", value="items", value_excludes=("tax",)))
    placed = translated(order, store)[0]
    assert value_of(placed, store) == (Decimal("40.00"), ())
    assert placed.breakdown.goods_tax == Decimal("3.30")


def test_a_registration_and_an_account_that_nobody_registered():
    """Staff, imports and apps make accounts, too; only a shopper's has the address it came from."""
    (event,) = translated(a_customer(), topic="customer")
    assert (event.milestone, event.ids) == ("customer_registered", {"customer_id": "32"})
    assert event.occurred_at == datetime(2026, 11, 23, 14, 50, tzinfo=UTC)
    assert (event.customer.ip, event.customer.phones) == ("203.0.113.9", (("512-555-0123", "US"),))
    (skip,) = translated(a_customer(registration_ip_address=""), topic="customer")
    assert skip.reason == "staff, an import or an app made the account"


@pytest.mark.parametrize("gone", ["id", "date_created", "status_id"])
def test_a_body_that_is_no_order_says_so(gone):
    with pytest.raises(InvalidPayload, match="expected an order: id, date_created or status_id is missing"):
        translated({name: value for name, value in an_order().items() if name != gone})
    with pytest.raises(InvalidPayload, match="expected a customer"):
        translated({}, topic="customer")


# --- carts --------------------------------------------------------------------------------------------------------


def test_a_guests_cart_with_an_address_is_a_checkout_that_was_begun():
    """Under the name by which the order knows it; with the amounts so far."""
    (started,) = translated(a_cart(), topic="cart")
    assert (started.milestone, started.ids) == ("checkout_started", {"checkout_token": a_cart()["id"]})
    assert started.ids["checkout_token"] == translated(an_order())[0].ids["checkout_token"]
    assert started.occurred_at == datetime(2026, 11, 23, 14, 52, 10, tzinfo=UTC)
    assert (started.currency, str(started.total), started.customer.emails) == ("USD", "36.50", ("ada@example.com",))
    assert [(item.product_id, item.quantity, str(item.price)) for item in started.items] == [("77", 2, "18.25")]
    assert started.breakdown.goods == Decimal("36.50")
    assert started.breakdown.tax is None


@pytest.mark.parametrize("changes", [{"email": ""}, {"email": None}, {"customer_id": 32}])
def test_a_cart_without_an_address_or_of_somebody_signed_in_tells_nothing(changes):
    """Who is signed in has an address in the cart from the first item on."""
    assert translated(a_cart(**changes), topic="cart") == []


@pytest.mark.parametrize("changes", [{"id": ""}, {"updated_time": "soon"}])
def test_what_is_no_cart_is_said(changes):
    with pytest.raises(InvalidPayload, match="expected a cart"):
        translated(a_cart(**changes), topic="cart")


@pytest.mark.parametrize(("currency", "total"), [("JPY", "37"), ("KWD", "36.500")])
def test_a_cart_has_the_decimals_of_its_currency(currency, total):
    (started,) = translated(a_cart(currency={"code": currency}), topic="cart")
    assert str(started.total) == total
