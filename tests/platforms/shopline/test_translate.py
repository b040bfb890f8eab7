"""SHOPLINE beyond the recordings: its signature in both encodings, the other currency, what makes up a total."""

import base64
import json
import random
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from connector.core.store import MappingSettings
from connector.core.webhook import InvalidSignature, Request, Webhook
from connector.intake.examine import parse
from connector.mapping.filters import data_use_is_limited
from connector.mapping.properties import value_of
from connector.plugin.testing.shoppers import Journey
from platforms.shopline import platform, samples
from tests.support.factories import a_store
from tests.support.rows import each_row

NOW = datetime(2026, 11, 23, 15, 4, 5, tzinfo=UTC)
STORE = a_store("shopline", mapping=MappingSettings(content_id="variant_id", value_excludes=("tax",)))
CASES = Path(__file__).parents[2] / "fixtures" / "shopline" / "requests"


def case(name):
    return json.loads((CASES / f"{name}.json").read_text())["body"]


def translated(body, topic="orders/paid", store=STORE, delivery=""):
    raw = json.dumps(body).encode()
    return list(platform.translate(Webhook(topic, raw, NOW, data=parse(raw), delivery=delivery), store))


def test_the_vendors_own_vector_in_either_encoding():
    """Hex is the SDK's, base64 that of the page."""
    digest = bytes.fromhex("edf64f4c46a9cb2c8aaa6c7034b77899aca1b63ad0c461901417a42b1cf139b0")
    store = replace(STORE, webhook_secrets=("LDLLJJLflja2039203flaflaLLFLE",))
    body = b'{"body_html":"BodyHtml","id":"32398389389389"}'
    for given in (digest.hex(), base64.b64encode(digest).decode()):
        assert platform.receive(Request({"x-shopline-hmac-sha256": given}, body, NOW), store).body == body
    with pytest.raises(InvalidSignature):
        platform.receive(Request({"x-shopline-hmac-sha256": digest.hex().upper()}, body, NOW), store)


def test_the_shops_currency_if_the_store_chose_it():
    store = replace(STORE, mapping=MappingSettings(content_id="variant_id", currency="shop"))
    placed, _ = translated(case("14_two_currencies"), store=store)
    shown, _ = translated(case("14_two_currencies"))
    assert (placed.currency, shown.currency) == ("HKD", "USD")
    assert placed.total == (shown.total * Decimal("7.8")).quantize(Decimal("0.01"))


@each_row("seed", range(20))
def test_the_parts_of_a_total_add_up(seed):
    """Goods, tax, shipping: what value_excludes takes away."""
    body = samples.sample("orders/paid", Journey.random(random.Random(seed), NOW), STORE)
    placed, _ = translated(body)
    parts = placed.breakdown
    named = (
        parts.goods,
        parts.gift_cards,
        parts.goods_tax,
        parts.shipping,
        parts.shipping_tax,
        parts.tips,
        parts.duties,
    )
    assert sum(named) == placed.total
    assert parts.tax == parts.goods_tax + parts.shipping_tax


def test_a_price_that_is_missing_in_the_buyers_currency_is_read_in_the_shops():
    body = case("14_two_currencies")
    del body["line_items"][0]["price_set"]["presentment_money"]
    placed, _ = translated(body)
    assert placed.currency == "HKD"
    assert all(item.price for item in placed.items)


def test_a_checkouts_value_without_its_tax():
    """Checkouts have `total_tax` in place of `current_total_tax`."""
    (checkout,) = translated(case("04_checkout"), "checkouts/create")
    assert checkout.breakdown.tax == Decimal("12.69")
    assert value_of(checkout, STORE) == (Decimal("202.95"), ())


@each_row(
    ("shipping", "excluded", "expected"),
    [
        ("5.00", "tax", "202.95"),
        ("5.00", "shipping", None),
        ("0.00", "shipping", "215.64"),
    ],
)
def test_tax_that_is_stated_in_total_alone(shipping, excluded, expected):
    """It may be on the goods or on shipping; without a price of shipping it is on the goods."""
    both = {name: {"amount": shipping, "currency_code": "USD"} for name in ("shop_money", "presentment_money")}
    lines = [line | {"tax_lines": []} for line in case("02_paid")["line_items"]]
    store = replace(STORE, mapping=MappingSettings(content_id="variant_id", value_excludes=(excluded,)))
    placed, _ = translated(case("02_paid") | {"line_items": lines, "total_shipping_price_set": both}, store=store)
    value, notes = value_of(placed, store)
    assert (value and str(value), bool(notes)) == (expected, expected is None)
    items = replace(STORE, mapping=MappingSettings(content_id="variant_id", value="items"))
    assert str(value_of(*translated(case("02_paid") | {"line_items": lines}, store=items)[:1], items)[0]) == "202.95"


def test_an_empty_amount_of_a_set_does_not_hide_the_plain_one():
    empty = {name: {"amount": "", "currency_code": "USD"} for name in ("shop_money", "presentment_money")}
    placed, _ = translated(case("02_paid") | {"current_total_price_set": empty})
    assert (placed.currency, str(placed.total)) == ("USD", "215.64")


def test_a_number_in_place_of_a_states_code_is_not_sent():
    """SHOPLINE's own numbers of provinces stand beside their names."""
    address = case("02_paid")["shipping_address"] | {"province": "California", "province_code": "4500006"}
    body = case("02_paid") | {"shipping_address": address, "billing_address": address}
    store = replace(STORE, limited_data_use=("CA",))
    placed, _ = translated(body, store=store)
    assert placed.customer.address.state == "California"
    assert data_use_is_limited(placed, store)


def test_each_phone_has_the_code_beside_it():
    person = case("02_paid")["customer"] | {"phone": "13800138000", "area_code": "+86"}
    body = case("02_paid") | {"customer": person, "phone": "91234567", "phone_area_code": "+65"}
    phones = [number for number, _ in translated(body)[0].customer.phones]
    assert phones[:2] == ["+86 13800138000", "+65 91234567"]


def test_only_the_webhook_of_the_payment_has_its_time():
    """An update that shows it first is corrected by it; what is read without a delivery is not waited for."""
    body = case("17_paid_later_first_seen_by_an_update")
    for topic, delivery, source in (
        ("orders/paid", "d", "stated"),
        ("orders/updated", "d", "assumed"),
        ("orders/updated", "", ""),
    ):
        _, paid = translated(body, topic, delivery=delivery)
        assert paid.time_source == source
        assert (paid.occurred_at.hour == 17) == (topic == "orders/paid")


@each_row(
    ("changes", "kind"),
    [
        ({"draft_order_seq": "7"}, "draft"),
        ({"contract_seq": "7"}, "web"),
        ({"contract_seq": "7", "client_details": {}}, "renewal"),
        ({"company": {"id": "5"}}, "b2b"),
        ({"order_source": "POS"}, "pos"),
    ],
)
def test_the_kind_of_an_order(changes, kind):
    placed, *_ = translated(case("02_paid") | changes)
    assert placed.kind == kind


def test_placed_statuses_and_cash_on_delivery():
    """The store's own rules, as for any platform."""
    orders = replace(STORE.orders, placed_statuses=("authorized",), paid_when_placed=("SLpayments",))
    (skipped,) = translated(case("01_placed"), store=replace(STORE, orders=orders))
    assert "status unpaid does not count as placed" in skipped.reason
    orders = replace(STORE.orders, paid_when_placed=("SLpayments",))
    assert [event.milestone for event in translated(case("01_placed"), store=replace(STORE, orders=orders))] == [
        "order_placed",
        "order_paid",
    ]
