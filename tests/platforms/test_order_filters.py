"""Which orders and checkouts are sent: by their kind, and by the store's exclusions."""

import pytest

from connector.core.event import ORDER_KINDS
from tests.support.rows import each_row
from tests.support.sample_bodies import (
    BOTH,
    CHECKOUT,
    PAID,
    REGISTERED,
    SHOPIFY,
    WOOCOMMERCE,
    choose,
    names,
    reasons,
    row,
    sample,
    see,
    shopify_order,
    woo_row,
    woocommerce_order,
)

each_platform = pytest.mark.parametrize("store", BOTH, ids=lambda store: store.platform)


def ordering(store, **choices):
    return choose(store, "orders", **choices)


# --- kinds ----------------------------------------------------------------------------------------------------

NO_BROWSER = {"browser_ip": None, "client_details": None}
NET_30 = {"payment_terms_name": "Net 30", "payment_terms_type": "net", "payment_schedules": []}
RECURRING = (
    "Subscription Recurring Order",
    "appstle_subscription_recurring_order",
    "Kaching Subscription Recurring Order",
)
SHOPIFY_KINDS = [
    ({"source_name": "web"}, "web"),
    ({"source_name": "checkout_next"}, "web"),
    ({"source_name": "web", "user_id": 7}, "web"),  # with a cart token a shopper was at the till
    ({"source_name": "web", "user_id": 7, "cart_token": None}, "staff"),
    ({"source_name": "580112233"}, "app"),
    ({"source_name": "my-headless-shop"}, "app"),
    ({"source_name": "580112233", "client_details": None, "browser_ip": None}, "api"),
    ({"source_name": "my-erp", "client_details": None, "browser_ip": None}, "api"),
    ({"source_name": "my-erp", "user_id": 7}, "staff"),
    ({"source_name": "pos"}, "pos"),
    ({"source_name": "POS", "user_id": 7}, "pos"),
    ({"source_name": "shopify_draft_order", "user_id": 7}, "draft"),
    ({"source_name": "iphone"}, "staff"),
    ({"source_name": "android"}, "staff"),
    ({"source_name": "subscription_contract"}, "renewal"),
    ({"source_name": "subscription_contract", "tags": "Subscription First Order"}, "web"),
    ({"source_name": "subscription_contract_checkout_one", **NO_BROWSER}, "renewal"),
    ({"source_name": "subscription_contract_checkout_one", "tags": f"vip, {RECURRING[0]}"}, "renewal"),
    ({"source_name": "subscription_contract_checkout_one"}, "web"),  # a shopper's browser: the first order
    ({"source_name": "subscription_contract_checkout_one", **NO_BROWSER, "tags": "Subscription First Order"}, "web"),
    ({"source_name": "294517", **NO_BROWSER, "tags": "Subscription, Subscription Recurring Order"}, "renewal"),
    ({"source_name": "294517", "tags": "Subscription, Subscription First Order"}, "web"),
    *(({"source_name": "web", "tags": tag}, "renewal") for tag in RECURRING),
    ({"source_name": "web", "tags": "subscription recurring orders wanted"}, "web"),
    ({"source_name": "3890849"}, "app"),
    ({"source_name": "3890849", **NO_BROWSER}, "app"),
    ({"source_name": "3890849", "client_details": None}, "app"),
    ({"source_name": "580111"}, "web"),
    ({"source_name": "tiktok"}, "marketplace"),
    ({"source_name": "tiktok_shop"}, "marketplace"),
    ({"source_name": "4383523"}, "marketplace"),
    ({"source_name": "2329312"}, "marketplace"),
    ({"source_name": "2775569"}, "marketplace"),
    ({"source_name": "amazon-us"}, "marketplace"),
    ({"source_name": "sell-on-amazon"}, "marketplace"),
    ({"source_name": "eBay"}, "marketplace"),
    ({"source_name": "petsy"}, "app"),
    ({"source_name": "ebayside", **NO_BROWSER}, "api"),
    ({"source_name": "exchange"}, "exchange"),
    ({"source_name": "return_exchange"}, "exchange"),
    ({"source_name": "loop_returns"}, "exchange"),
    ({"source_name": "ReturnGO", **NO_BROWSER}, "exchange"),
    ({"source_name": "1662707", **NO_BROWSER}, "exchange"),
    ({"source_name": "6127321", "name": "#1014A", "order_number": 1027}, "exchange"),
    ({"source_name": "6127321", "name": "1014-B2", "order_number": 1027, **NO_BROWSER}, "exchange"),
    ({"source_name": "6127321", "name": "#1027A", "order_number": 1027}, "app"),  # the shop's own suffix
    ({"source_name": "web", "name": "#1014A", "order_number": 1027}, "web"),
    ({"source_name": "web", "company": {"id": 7, "location_id": 8}}, "b2b"),
    ({"source_name": "web", "company": {"id": 7, "location_id": 8}, "payment_terms": NET_30, "po_number": "9"}, "b2b"),
    ({"source_name": "web", "payment_terms": NET_30}, "b2b"),
    ({"source_name": "my-headless-shop", "company": {"id": 7}}, "b2b"),
    ({"source_name": "web", "payment_terms": {"payment_terms_type": "fulfillment"}}, "web"),  # a pre-order
    ({"source_name": "web", "company": None, "payment_terms": None, "po_number": None}, "web"),
    ({"source_name": "web", "company": [], "payment_terms": "junk"}, "web"),
    ({"source_name": "shopify_draft_order", "user_id": 7, "company": {"id": 7}}, "draft"),
    ({"source_name": "web", "user_id": 7, "cart_token": None, "company": {"id": 7}}, "staff"),
]
RENEWAL = [{"id": 1, "key": "_subscription_renewal", "value": "4711"}]
WOOCOMMERCE_KINDS = [
    ({"created_via": "checkout"}, "web"),
    ({"created_via": "store-api"}, "web"),
    ({"created_via": "some-funnel-plugin"}, "web"),
    ({"created_via": ""}, "web"),
    ({"created_via": "", "customer_ip_address": "", "customer_user_agent": ""}, "api"),
    ({"created_via": "rest-api"}, "api"),
    ({"created_via": "admin"}, "staff"),
    ({"created_via": "pos-rest-api"}, "pos"),
    ({"created_via": "subscription"}, "renewal"),
    ({"created_via": "checkout", "meta_data": RENEWAL}, "renewal"),
]
ALL_KINDS = [(SHOPIFY, *case) for case in SHOPIFY_KINDS] + [(WOOCOMMERCE, *case) for case in WOOCOMMERCE_KINDS]


@each_row(("store", "changes", "kind"), ALL_KINDS)
def test_kinds_of_order(store, changes, kind):
    """By default web, app and b2b are sent; every other kind is, once it is included alone."""
    body = sample(store, **changes)
    default, alone = see(store, PAID, body), see(ordering(store, include=(kind,)), PAID, body)
    assert names(alone) == ["PlaceAnOrder", "Purchase"]
    if kind in ("web", "app", "b2b"):
        assert names(default) == ["PlaceAnOrder", "Purchase"]
    else:
        assert names(default) == []
        assert set(reasons(default)) == {f"{kind} orders are not relayed (orders.include)"}
    others = tuple(name for name in ORDER_KINDS if name != kind)
    assert names(see(ordering(store, include=others), PAID, body)) == []


def test_a_first_order_of_a_subscription_is_a_web_order():
    bought = row("20.00", selling_plan_allocation={"selling_plan": {"name": "Monthly"}})
    assert names(see(SHOPIFY, PAID, shopify_order((bought,), tags="Subscription First Order"))) != []
    meta = [{"id": 1, "key": "_subscription_parent", "value": "1"}]
    assert names(see(WOOCOMMERCE, PAID, woocommerce_order((woo_row("20.00"),), meta_data=meta))) != []


@each_row(
    ("changes", "kind"),
    [
        ({"source_name": "web"}, "web"),
        ({"source_name": None}, "web"),
        ({"source_name": "580112233"}, "app"),
        ({"source_name": "pos"}, "pos"),
        ({"source_name": "shopify_draft_order"}, "draft"),
        ({"source_name": "iphone"}, "staff"),
        ({"user_id": 7}, "staff"),
        ({"source_name": "tiktok"}, "marketplace"),
        ({"source_name": "subscription_contract"}, "renewal"),
    ],
)
def test_checkouts_are_of_the_same_kinds(changes, kind):
    body = sample(SHOPIFY, CHECKOUT, **changes)
    assert names(see(ordering(SHOPIFY, include=(kind,)), CHECKOUT, body)) == ["InitiateCheckout"]
    if kind not in ("web", "app"):
        assert reasons(see(SHOPIFY, CHECKOUT, body)) == [f"{kind} orders are not relayed (orders.include)"]


def test_a_woocommerce_checkout_is_of_the_web():
    store = ordering(WOOCOMMERCE, include=("pos",))
    assert reasons(see(store, CHECKOUT, sample(store, CHECKOUT))) == ["web orders are not relayed (orders.include)"]


# --- exclusions -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("tags", "found"), [("vip, Wholesale", "Wholesale"), ("wholesale", "wholesale")])
def test_orders_with_a_tag_are_excluded(tags, found):
    store = ordering(SHOPIFY, exclude_tags=("wholeSALE", "other"))
    seen = see(store, PAID, sample(store, tags=tags))
    assert set(reasons(seen)) == {f"excluded tag {found} (orders.exclude_tags)"}
    assert names(see(store, PAID, sample(store, tags="wholesaler"))) == ["PlaceAnOrder", "Purchase"]


@each_row(
    ("store", "excluded", "changes"),
    [
        (SHOPIFY, "Invoice", {"payment_gateway_names": ["gift_card", "invoice"]}),
        (SHOPIFY, "bank deposit", {"payment_gateway_names": ["Bank Deposit"]}),
        (WOOCOMMERCE, "BACS", {}),  # by its id
        (WOOCOMMERCE, "direct BANK transfer", {}),  # by its name
    ],
)
def test_orders_by_a_gateway_are_excluded(store, excluded, changes):
    body = sample(store, **changes)
    seen = see(ordering(store, exclude_gateways=(excluded,)), PAID, body)
    assert names(seen) == []
    assert all("(orders.exclude_gateways)" in reason for reason in reasons(seen))
    assert names(see(ordering(store, exclude_gateways=("cheque",)), PAID, body)) != []


def test_checkouts_by_a_gateway_are_excluded():
    store = ordering(SHOPIFY, exclude_gateways=("invoice",))
    assert names(see(store, CHECKOUT, sample(store, CHECKOUT, gateway="Invoice"))) == []
    assert names(see(store, CHECKOUT, sample(store, CHECKOUT, gateway=None))) != []


def with_email(store, topics, address):
    if store.platform == "shopify":
        return sample(store, topics, email=address, contact_email=address)
    body = sample(store, topics)
    if topics is CHECKOUT:
        return sample(store, topics, email=address)
    return {**body, "billing": {**body["billing"], "email": address}}


@each_platform
@pytest.mark.parametrize("topics", [PAID, CHECKOUT, REGISTERED], ids=["order", "checkout", "registration"])
@pytest.mark.parametrize(
    ("address", "sent"),
    [
        ("me@acme.example", False),
        ("me@Mail.ACME.example", False),
        ("me@acme.example.org", True),
        ("me@notacme.example", True),
    ],
)
def test_addresses_of_a_domain_are_excluded_and_of_those_below_it(store, topics, address, sent):
    store = ordering(store, exclude_email_domains=("@Acme.example",))
    seen = see(store, topics, with_email(store, topics, address))
    assert bool(seen.events) is sent
    if not sent:
        assert set(reasons(seen)) == {"excluded e-mail domain acme.example (orders.exclude_email_domains)"}


def free(store, topics):
    if store.platform == "shopify":
        zero = {"shop_money": {"amount": "0.00", "currency_code": "USD"}}
        zero["presentment_money"] = zero["shop_money"]
        both = {"total_price_set": zero, "current_total_price": "0.00", "current_total_price_set": zero}
        return sample(store, topics, total_price="0.00", **(both if topics is PAID else {}))
    return sample(store, topics, total="0.00")


@each_platform
@pytest.mark.parametrize("topics", [PAID, CHECKOUT], ids=["order", "checkout"])
def test_what_costs_nothing_is_excluded_if_so_chosen(store, topics):
    assert names(see(store, topics, free(store, topics))) != []
    chosen = ordering(store, exclude_zero=True)
    assert set(reasons(see(chosen, topics, free(store, topics)))) == {"the total is zero (orders.exclude_zero)"}
    assert names(see(chosen, topics, sample(chosen, topics))) != []
