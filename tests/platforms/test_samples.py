"""The sample webhooks: shaped like the platforms' own, adding up, fresh each time, and about nobody real."""

import ipaddress
import json
import random
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import ModuleType
from typing import Any

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.core.store import ConsentSource, Store
from connector.plugin.testing.countries import COUNTRIES
from connector.plugin.testing.shoppers import Journey
from platforms.shopify import samples as shopify_samples
from platforms.woocommerce import samples as woocommerce_samples
from tests.support.factories import a_store
from tests.support.rows import each_row

NOW = datetime(2026, 11, 23, 15, 4, 5, 678901, tzinfo=UTC)
SEEDS = st.integers(min_value=0, max_value=2**32)
EVERY_TOPIC = [(module, topic) for module in (shopify_samples, woocommerce_samples) for topic in module.TOPICS]
ORDER_TOPICS = ("orders/create", "orders/paid", "orders/updated")

# fmt: off
ESSENTIAL = {
    "orders/create": """id admin_graphql_api_id app_id browser_ip cart_token checkout_token client_details
        contact_email created_at currency current_total_price_set customer_locale email financial_status
        landing_site line_items name note_attributes number order_number order_status_url phone
        presentment_currency processed_at referring_site source_name subtotal_price_set tags test token
        total_discounts_set total_price total_price_set total_shipping_price_set total_tax_set updated_at
        user_id billing_address shipping_address customer shipping_lines tax_lines refunds returns""",
    "checkouts/create": """token cart_token email created_at updated_at landing_site note_attributes currency
        completed_at customer_locale line_items name abandoned_checkout_url source_name presentment_currency
        total_price total_tax subtotal_price billing_address shipping_address customer phone""",
    "customers/create": """id created_at updated_at first_name last_name state verified_email email phone
        currency addresses tax_exemptions admin_graphql_api_id default_address""",
    "app/uninstalled": "id name email domain myshopify_domain currency",
    "customers/data_request": "shop_id shop_domain orders_requested customer data_request",
    "customers/redact": "shop_id shop_domain orders_to_redact customer",
    "shop/redact": "shop_id shop_domain",
    "order.created": """id parent_id status currency version prices_include_tax date_created date_modified
        discount_total discount_tax shipping_total shipping_tax cart_tax total total_tax customer_id order_key
        billing shipping payment_method payment_method_title transaction_id customer_ip_address
        customer_user_agent created_via customer_note date_completed date_paid cart_hash number meta_data
        line_items tax_lines shipping_lines fee_lines coupon_lines refunds payment_url is_editable
        needs_payment needs_processing date_created_gmt date_modified_gmt date_completed_gmt date_paid_gmt
        currency_symbol _links""",
    "customer.created": """id date_created date_created_gmt date_modified date_modified_gmt email first_name
        last_name role username billing shipping is_paying_customer avatar_url meta_data _links""",
    "action.wc_tiktok_initiate_checkout": "action arg",
}
# fmt: on
GONE_FROM_SHOPIFY = {"checkout_id", "processing_method", "total_price_usd", "orders_count", "accepts_marketing"}


def store(*, country: str = "US", consent: ConsentSource | None = None) -> Store:
    return a_store(consent="required", country=country, consent_source=consent or ConsentSource())


def journey(seed: int) -> Journey:
    return Journey.random(random.Random(seed), NOW)


def body(module: ModuleType, topic: str, of: Journey, shop: Store | None = None) -> Any:
    return json.loads(module.encode(module.sample(topic, of, shop or store())))


@each_row(("module", "topic"), EVERY_TOPIC)
def test_every_topic_has_the_keys_that_the_platform_sends(module: ModuleType, topic: str) -> None:
    like = {"orders/paid": "orders/create", "orders/updated": "orders/create", "order.updated": "order.created"}
    like |= {"checkouts/update": "checkouts/create", "customers/enable": "customers/create"}
    sent = body(module, topic, journey(1))
    assert set(ESSENTIAL[like.get(topic, topic)].split()) <= set(sent)
    customer = sent.get("customer", {}) if module is shopify_samples else {}
    assert not GONE_FROM_SHOPIFY & {*sent, *customer}


@each_row(("module", "topic"), EVERY_TOPIC)
def test_bytes_and_headers_say_the_same_and_are_repeatable(module: ModuleType, topic: str) -> None:
    one, again = (module.encode(module.sample(topic, journey(3), store())) for _ in range(2))
    assert one == again
    assert not re.search(rb'[,:] "', one)
    sent = module.headers(topic, journey(3), store())
    assert sent == module.headers(topic, journey(3), store())
    assert topic in sent.values()
    assert not any("signature" in name.lower() or "hmac" in name.lower() for name in sent)


@pytest.mark.parametrize("module", [shopify_samples, woocommerce_samples])
def test_an_unknown_topic_is_refused_with_those_there_are(module: ModuleType) -> None:
    with pytest.raises(ValueError, match=re.escape(module.TOPICS[0])):
        module.sample("products/create", journey(1), store())


def test_a_journey_needs_to_know_its_time_zone() -> None:
    with pytest.raises(ValueError, match="aware"):
        Journey.random(random.Random(1), datetime(2026, 11, 23))


@given(SEEDS, st.sampled_from(["", "US", "GB", "JP", "BR"]))
def test_shopify_orders_add_up_in_both_currencies(seed: int, country: str) -> None:
    order = body(shopify_samples, "orders/paid", journey(seed), store(country=country))
    for side, currency in (("shop_money", "currency"), ("presentment_money", "presentment_currency")):
        code = order[currency]

        def amount(money: Any, side: str = side, code: str = code) -> Decimal:
            assert money[side]["currency_code"] == code
            assert ("." in money[side]["amount"]) == (code != "JPY")
            return Decimal(money[side]["amount"])

        lines = sum(amount(line["price_set"]) * line["quantity"] for line in order["line_items"])
        taxes = sum(amount(tax["price_set"]) for line in order["line_items"] for tax in line["tax_lines"])
        assert amount(order["subtotal_price_set"]) == lines
        assert amount(order["total_tax_set"]) == taxes
        assert amount(order["total_price_set"]) == lines + taxes + amount(order["total_shipping_price_set"])
    assert order["total_price"] == order["total_price_set"]["shop_money"]["amount"]


@given(SEEDS)
def test_shopify_checkouts_add_up(seed: int) -> None:
    checkout = body(shopify_samples, "checkouts/create", journey(seed))
    lines = sum(Decimal(line["line_price"]) for line in checkout["line_items"])
    shipping = sum(Decimal(line["price"]) for line in checkout["shipping_lines"])
    assert Decimal(checkout["subtotal_price"]) == lines
    assert Decimal(checkout["total_price"]) == lines + shipping + Decimal(checkout["total_tax"])


@given(SEEDS)
def test_woocommerce_orders_add_up(seed: int) -> None:
    order = body(woocommerce_samples, "order.created", journey(seed))
    lines = sum(Decimal(line["total"]) for line in order["line_items"])
    taxes = sum(Decimal(line["total_tax"]) for line in order["line_items"])
    assert all(Decimal(str(i["price"])) * i["quantity"] == Decimal(i["total"]) for i in order["line_items"])
    assert Decimal(order["total_tax"]) == taxes
    assert Decimal(order["total"]) == lines + Decimal(order["shipping_total"]) + taxes
    assert order["total"] == body(woocommerce_samples, woocommerce_samples.TOPICS[-1], journey(seed))["arg"]["total"]


@given(SEEDS, SEEDS)
def test_two_journeys_share_no_id(one: int, other: int) -> None:
    first, second = journey(one), journey(other)
    shared = {"order_id", "customer_id", "checkout_token", "cart_token", "ttp"}
    assert all((getattr(first, name) == getattr(second, name)) == (one == other) for name in shared)


@given(SEEDS)
def test_shoppers_are_reachable_by_nobody_but_look_it(seed: int) -> None:
    way = journey(seed)
    address = ipaddress.ip_address(way.ip)
    assert address.is_global
    assert not address.is_multicast
    assert re.fullmatch(r"[a-z0-9.'+-]+@example\.(com|org|net)", way.person.email)
    number = phonenumbers.parse(way.person.phone, way.person.country.code)
    assert phonenumbers.is_possible_number(number)
    assert phonenumbers.country_code_for_region(way.person.country.code) == number.country_code
    assert re.fullmatch(r"[0-9A-Z]{26}_\.tt\.1", way.ttp)
    assert re.fullmatch(r"(E\.C\.P\.[\w-]+)?", way.ttclid)
    assert way.checkout_at < way.order_at < way.paid_at < way.now <= NOW


def test_journeys_differ_in_country_network_and_click() -> None:
    ways = [journey(seed) for seed in range(500)]
    assert {way.person.country.code for way in ways} == {country.code for country in COUNTRIES}
    assert {ipaddress.ip_address(way.ip).version for way in ways} == {4, 6}
    assert 250 < sum(bool(way.ttclid) for way in ways) < 350
    assert any(len(way.ttclid) > 300 for way in ways)


@given(SEEDS)
def test_one_journey_has_the_same_ids_in_all_shopify_topics(seed: int) -> None:
    way = journey(seed)
    orders = [body(shopify_samples, topic, way) for topic in ORDER_TOPICS]
    checkout = body(shopify_samples, "checkouts/create", way)
    account = body(shopify_samples, "customers/enable", way)
    redact = body(shopify_samples, "customers/redact", way)
    assert {order["id"] for order in orders} == {way.order_id} == set(redact["orders_to_redact"])
    assert {order["checkout_token"] for order in orders} == {checkout["token"]}
    assert {order["cart_token"] for order in orders} == {checkout["cart_token"]}
    customers = {entry["customer"]["id"] for entry in (*orders, checkout, redact)}
    assert customers == {account["id"]} == {way.customer_id}
    sent = [shopify_samples.headers(topic, way, store()) for topic in ORDER_TOPICS]
    assert len({entry["X-Shopify-Event-Id"] for entry in sent}) == 1
    assert len({entry["X-Shopify-Webhook-Id"] for entry in sent}) == 3


@given(SEEDS)
def test_one_journey_has_the_same_ids_in_all_woocommerce_topics(seed: int) -> None:
    way = journey(seed)
    created, updated, account, action = (body(woocommerce_samples, t, way) for t in woocommerce_samples.TOPICS)
    assert created["id"] == updated["id"] == way.order_id
    assert created["customer_id"] == account["id"] == action["arg"]["customer_id"] == way.customer_id
    assert created["cart_hash"] == action["arg"]["cart_hash"]
    assert action["arg"]["token"] == way.checkout_token


def test_shopify_orders_are_pending_then_paid_and_came_from_the_web() -> None:
    orders = [body(shopify_samples, topic, journey(5)) for topic in ORDER_TOPICS]
    assert [order["financial_status"] for order in orders] == ["pending", "paid", "paid"]
    assert {order["source_name"] for order in orders} == {"web"}
    assert not any(order["test"] for order in orders)
    assert orders[0]["client_details"]["user_agent"] == journey(5).user_agent
    assert orders[0]["created_at"].endswith("-05:00")
    assert all(7_000 < len(shopify_samples.encode(order)) < 12_000 for order in orders)
    account = body(shopify_samples, "customers/create", journey(5))
    assert (account["state"], account["created_at"]) == ("enabled", "2026-11-23T10:04:05-05:00")


def test_shopify_headers_carry_nanoseconds_not_of_the_future() -> None:
    for topic in shopify_samples.TOPICS:
        sent = shopify_samples.headers(topic, journey(8), store())
        assert re.fullmatch(r"[\d-]{10}T[\d:]{8}\.\d{9}Z", sent["X-Shopify-Triggered-At"])
        assert NOW - timedelta(minutes=15) < datetime.fromisoformat(sent["X-Shopify-Triggered-At"]) <= NOW
        assert sent["X-Shopify-Shop-Domain"] == "acme.myshopify.com"


def test_woocommerce_orders_are_on_hold_then_paid_and_have_both_times() -> None:
    created, updated = (body(woocommerce_samples, topic, journey(5)) for topic in ("order.created", "order.updated"))
    assert (created["status"], created["date_paid_gmt"]) == ("on-hold", None)
    assert updated["status"] == "processing"
    assert updated["date_paid_gmt"] == f"{journey(5).paid_at:%Y-%m-%dT%H:%M:%S}"
    local, gmt = (datetime.fromisoformat(created[key]) for key in ("date_created", "date_created_gmt"))
    assert gmt - local == timedelta(hours=5)


@given(SEEDS)
def test_woocommerce_writes_ascii_with_escaped_slashes(seed: int) -> None:
    raw = woocommerce_samples.encode(woocommerce_samples.sample("order.created", journey(seed), store()))
    assert raw.isascii()
    assert rb"https:\/\/acme.myshopify.com\/" in raw
    assert not re.search(rb"(?<!\\)/", raw)
    assert not re.search(rb"\\u[0-9a-f]{0,3}[A-F]", raw)


def test_shopify_writes_utf_8() -> None:
    raw = b"".join(
        shopify_samples.encode(shopify_samples.sample("orders/paid", journey(s), store())) for s in range(40)
    )
    assert "世田谷区".encode() in raw
    assert "ß".encode() in raw


def test_the_click_is_found_where_the_shop_keeps_it() -> None:
    way = next(way for way in map(journey, range(50)) if way.ttclid)
    shop = store(consent=ConsentSource(key="marketing", granted=("yes",)))
    order = body(shopify_samples, "orders/paid", way, shop)
    assert order["landing_site"].endswith(f"utm_campaign=autumn_looks&ttclid={way.ttclid}")
    noted = {entry["name"]: entry["value"] for entry in order["note_attributes"]}
    assert noted == {"ttclid": way.ttclid, "_ttp": way.ttp, "marketing": "yes"}
    meta = {m["key"]: m["value"] for m in body(woocommerce_samples, "order.created", way, shop)["meta_data"]}
    assert meta["_tiktok_ttclid"] == way.ttclid
    assert meta["_wc_order_attribution_session_entry"].endswith(f"ttclid={way.ttclid}")
    assert meta["marketing"] == "yes"
