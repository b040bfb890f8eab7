"""The complete examples: each loads, and does with a realistic shopper exactly what its comment says."""

import json
import random
import re
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from connector.config.settings import ConfigError, load
from connector.config.summary import warnings
from connector.core.registry import installed_platforms
from connector.core.webhook import Webhook
from connector.intake.examine import examine
from connector.plugin.testing.shoppers import Journey
from tests.support.platforms import PLATFORMS, SAMPLES
from tests.support.rows import each_row

ROOT = Path(__file__).parents[3]
EXAMPLES = sorted((ROOT / "docs" / "examples").glob("*.toml"))
NOW = datetime(2026, 11, 23, 15, 4, 5, tzinfo=UTC)


def configured(path):
    text = path.read_text()
    environ = {name: f"value-of-{name}" for name in re.findall(r"\$\{(\w+)\}", text)}
    return load({**environ, "CONNECTOR_CONFIG": str(path)})


def example(name):
    (store,) = configured(ROOT / "docs" / "examples" / f"{name}.toml").stores.values()
    return store


def shopper(country="US"):
    rng = random.Random(1)
    while True:
        way = Journey.random(rng, NOW)
        if way.person.country.code == country:
            return way


def sample(store, topic, country="US", **changes):
    return {**SAMPLES[store.platform].sample(topic, shopper(country), store), **changes}


def see(store, topic, body):
    webhook = Webhook(topic=topic, body=json.dumps(body).encode(), received_at=NOW)
    return examine(webhook, PLATFORMS[store.platform], store, NOW, NOW.replace(day=22))


def events(store, topic, body):
    """(event, event_id, value) of each, the value as it is written."""
    decoder = msgspec.json.Decoder(float_hook=Decimal)
    found = [decoder.decode(mapped.payload) for mapped in see(store, topic, body).events]
    return [(sent["event"], sent["event_id"], str(sent.get("properties", {}).get("value"))) for sent in found]


def reasons(store, topic, body):
    return list(dict.fromkeys(skip.reason for skip in see(store, topic, body).skipped))


def contents(store, topic, body):
    return json.loads(see(store, topic, body).events[0].payload)["properties"]["contents"]


@each_row("path", [*EXAMPLES, ROOT / "stores.example.toml"], ids=lambda path: path.stem)
def test_an_example_loads_and_writes_no_secret_into_the_file(path):
    config = configured(path)
    assert config.literal_secrets == ()
    assert config.stores
    with pytest.raises(ConfigError):  # and says so when the variables are not set
        load({"CONNECTOR_CONFIG": str(path)})


@each_row("page", sorted((ROOT / "docs").glob("quickstart-*.md")), ids=lambda page: page.stem)
def test_the_stores_file_of_a_quickstart_loads(page):
    """The first store of the page, and it with the keys of an API."""
    blocks = re.findall(r"```toml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    whole = [block for block in blocks if "platform =" in block]
    assert len(whole) == 1
    keys = [line.strip() for block in blocks for line in block.splitlines() if "api =" in line or "reconcile =" in line]
    text = "\n".join([whole[0], *(line for line in keys if line not in whole[0])])
    environ = dict.fromkeys(re.findall(r"\$\{([A-Z_]+)\}", text), "value-of-a-variable")
    (store,) = load({**environ, "STORES_TOML": text}).stores.values()
    assert page.stem == f"quickstart-{store.platform}"
    has_api = bool(installed_platforms().facts(store.platform).api_credentials)
    assert bool(store.reconcile) == bool(store.api) == has_api


def test_every_example_is_tried_here_and_shown_in_the_docs():
    tried = Path(__file__).read_text()
    docs = (ROOT / "docs" / "mapping.md").read_text()
    assert len(EXAMPLES) == 7
    for path in EXAMPLES:
        assert f'example("{path.stem}")' in tried
        assert f"(examples/{path.name})" in docs


def test_the_examples_leave_no_doubt_but_that_placeanorder_ends():
    for path in EXAMPLES:
        for store in configured(path).stores.values():
            assert [
                doubt for doubt in warnings(store) if "2027" not in doubt and "never add them up" not in doubt
            ] == []


# --- a Shopify shop without a pixel ---------------------------------------------------------------------------


def both(name, amount):
    money = {"amount": amount, "currency_code": "USD"}
    return {name: amount, f"{name}_set": {"shop_money": money, "presentment_money": money}}


def current(name, amount):
    """An amount of an order that was not edited."""
    return both(name, amount) | both(f"current_{name}", amount)


def shopify_order(store, **changes):
    """Two of one article at 20.00 with 2.50 tax, shipping 5.00 with 0.40 tax."""
    body = sample(store, "orders/create")
    line, shipping = body["line_items"][0], body["shipping_lines"][0]
    line = {
        **line,
        **both("price", "20.00"),
        "quantity": 2,
        "current_quantity": 2,
        "tax_lines": [both("price", "2.50")],
    }
    shipping = {**shipping, **both("price", "5.00"), **both("current_discounted_price", "5.00")}
    shipping["tax_lines"] = [both("price", "0.40")]
    body |= {"line_items": [line], "shipping_lines": [shipping], **current("total_price", "47.90")}
    body |= current("total_tax", "2.90")
    return {**body, **changes}


def test_a_shopify_shop_without_a_pixel():
    store = example("shopify-without-pixel")
    body = shopify_order(store)
    order = ("Purchase", f"acme-order-{body['id']}", "40.00")  # without tax and shipping
    assert events(store, "orders/create", body) == [order]
    assert events(store, "orders/paid", {**body, "financial_status": "paid"}) == [order]
    line = body["line_items"][0]
    (item,) = contents(store, "orders/create", body)
    assert item["content_id"] == f"shopify_US_{line['product_id']}_{line['variant_id']}"
    checkout = sample(store, "checkouts/create")
    assert [event[:2] for event in events(store, "checkouts/create", checkout)] == [
        ("InitiateCheckout", f"acme-checkout-{checkout['token']}")
    ]
    account = sample(store, "customers/create")
    assert events(store, "customers/create", account) == [
        ("CompleteRegistration", f"acme-customer-{account['id']}", "None")
    ]


@each_row(
    ("changes", "reason"),
    [
        ({"tags": "spring, Wholesale"}, "excluded tag Wholesale (orders.exclude_tags)"),
        ({"email": "me@acme.example"}, "excluded e-mail domain acme.example (orders.exclude_email_domains)"),
        (current("total_price", "0.00"), "the total is zero (orders.exclude_zero)"),
        ({"source_name": "pos"}, "pos orders are not relayed (orders.include)"),
        ({"test": True}, "a test order of the shop (relayed only with a test_event_code)"),
    ],
)
def test_what_a_shopify_shop_without_a_pixel_leaves_out(changes, reason):
    store = example("shopify-without-pixel")
    body = shopify_order(store, **changes)
    assert events(store, "orders/create", body) == []
    assert reasons(store, "orders/create", body) == [reason]


# --- with TikTok's own app or plugin --------------------------------------------------------------------------


def test_a_shopify_shop_with_tiktok_s_app():
    store = example("shopify-with-tiktok-app")
    body = shopify_order(store, financial_status="paid")
    assert events(store, "orders/paid", body) == [("PlaceAnOrder", f"acme-order-{body['id']}", "47.90")]
    assert reasons(store, "orders/paid", body) == ["events.order_paid is off"]
    checkout = sample(store, "checkouts/create")
    assert events(store, "checkouts/create", checkout) == []
    assert reasons(store, "checkouts/create", checkout) == ["events.checkout_started is off"]
    assert events(store, "customers/create", sample(store, "customers/create"))[0][0] == "CompleteRegistration"


@pytest.mark.parametrize("name", ["shopify-with-tiktok-app", "woocommerce-with-official-plugin"])
def test_what_is_off_may_not_be_on_beside_the_app(name):
    text = (ROOT / "docs" / "examples" / f"{name}.toml").read_text()
    environ = dict.fromkeys(re.findall(r"\$\{(\w+)\}", text), "x")
    for line in ('order_paid = ""', 'checkout_started = ""'):
        with pytest.raises(ConfigError, match="TikTok's own app sends this too"):
            load({**environ, "STORES_TOML": text.replace(line, "")})
    assert load({**environ, "STORES_TOML": text.replace("official", "none").replace('= ""', '= "Purchase"')})


def test_a_woocommerce_shop_with_the_official_plugin():
    store = example("woocommerce-with-official-plugin")
    body = sample(store, "order.updated")
    order = ("PlaceAnOrder", f"beans-order-{body['id']}", body["total"])
    assert events(store, "order.updated", body) == [order]
    assert reasons(store, "order.updated", body) == ["events.order_paid is off"]
    checkout = sample(store, "action.wc_tiktok_initiate_checkout")
    assert events(store, "action.wc_tiktok_initiate_checkout", checkout) == []
    invoice = {**body, "payment_method": "invoice", "payment_method_title": "On account"}
    assert "excluded gateway invoice (orders.exclude_gateways)" in reasons(store, "order.updated", invoice)
    assert events(store, "customer.created", sample(store, "customer.created"))[0][0] == "CompleteRegistration"
    place = {**body["shipping"], "state": "CA", "country": "US"}
    sent = see(store, "order.updated", {**body, "shipping": place, "customer_ip_address": "8.8.8.8"}).events[0]
    assert json.loads(sent.payload)["limited_data_use"] is True
    assert "limited_data_use" not in json.loads(see(store, "order.updated", body).events[0].payload)


# --- an EU shop with consent ----------------------------------------------------------------------------------


def eu_order(store, answer=None, country="FR", **changes):
    """A mug at 10.00 + 2.00 tax and shipping at 5.00 + 1.00 tax: 18.00."""
    body = sample(store, "order.created", country)
    line = {**body["line_items"][0], "product_id": 814, "quantity": 1, "total": "10.00", "total_tax": "2.00"}
    body |= {"line_items": [line], "shipping_total": "5.00", "shipping_tax": "1.00", "total": "18.00"}
    body |= {"total_tax": "3.00", "cart_tax": "2.00"}
    body["meta_data"] = [{"id": 1, "key": "marketing_consent", "value": answer}] if answer else []
    return {**body, **changes}


@pytest.mark.parametrize("answer", ["yes", "Granted"])
def test_an_eu_shopper_who_said_yes(answer):
    store = example("eu-shop-with-consent")
    body = eu_order(store, answer)
    order = f"maison-order-{body['id']}"
    assert events(store, "order.created", body) == [("PlaceAnOrder", order, "15.00")]  # on-hold, without tax
    for paid in (
        *({"status": status} for status in ("processing", "shipped", "completed")),
        {"payment_method": "cod", "payment_method_title": "Paiement à la livraison"},
    ):
        assert events(store, "order.updated", {**body, **paid}) == [
            ("PlaceAnOrder", order, "15.00"),
            ("Purchase", order, "15.00"),
        ]
    (item,) = contents(store, "order.created", body)
    assert item["content_id"] == "814"


@each_row(("answer", "why"), [(None, "no answer was given"), ("no", "the shopper said no")])
@each_row("country", ["FR", "DE", "GB"])
def test_an_eu_shopper_who_did_not(answer, why, country):
    store = example("eu-shop-with-consent")
    body = eu_order(store, answer, country, status="processing")
    assert events(store, "order.created", body) == []
    assert reasons(store, "order.created", body) == [f"no consent: {why} (consent)"]


def test_a_shopper_elsewhere_is_not_asked():
    store = example("eu-shop-with-consent")
    assert events(store, "order.created", eu_order(store, None, "US"))[0][0] == "PlaceAnOrder"


# --- several pixels, kinds of orders --------------------------------------------------------------------------


def routed(store, topic, body):
    """Pixel code and name of each event."""
    return [(mapped.pixel.code, mapped.event) for mapped in see(store, topic, body).events]


@pytest.mark.parametrize(("country", "code"), [("AT", "CACMEDACH00000000000"), ("US", "CACMEUSA000000000000")])
def test_a_pixel_for_each_market(country, code):
    store = example("pixel-for-each-market")
    yes = {"note_attributes": [{"name": "tiktok_consent", "value": "yes"}]}
    place = {"country_code": country}
    body = shopify_order(store, shipping_address=place, financial_status="paid", **yes)
    assert routed(store, "orders/paid", body) == [(code, "PlaceAnOrder"), (code, "Purchase")]
    assert routed(store, "orders/paid", body | {"shipping_address": {"country_code": "JP"}}) == []
    assert reasons(store, "orders/paid", body | {"shipping_address": {"country_code": "JP"}}) == [
        f"no pixel takes {milestone} of web orders to JP (pixels.countries)"
        for milestone in ("order_placed", "order_paid")
    ]


def test_sales_at_the_till():
    store = example("pos-sales")
    body = shopify_order(store, financial_status="paid")
    web = "CACME000000000000000"
    assert routed(store, "orders/paid", body) == [(web, "PlaceAnOrder"), (web, "Purchase")]
    till = body | {"source_name": "pos"}
    assert routed(store, "orders/paid", till) == [("7012345678901234567", "Purchase")]
    (sale,) = see(store, "orders/paid", till).events
    assert set(json.loads(sale.payload)["user"]) <= {"email", "phone"}
    assert reasons(store, "orders/paid", till) == [
        "no pixel takes order_placed of pos orders (pixels.kinds)"
    ]  # when it is placed


def test_renewals_are_not_sales():
    store = example("subscriptions")
    body = sample(store, "order.updated")
    order = (f"beans-order-{body['id']}", body["total"])
    assert events(store, "order.updated", body) == [("PlaceAnOrder", *order), ("Purchase", *order)]
    renewal = body | {"created_via": "subscription"}
    assert events(store, "order.updated", renewal) == [("Subscribe", *order)]


# --- stores.example.toml --------------------------------------------------------------------------------------


def test_the_stores_of_the_example_file():
    """A Shopify store, and a WooCommerce store with two pixels that each get every event."""
    acme, beans = configured(ROOT / "stores.example.toml").stores.values()
    body = shopify_order(replace(acme, country="US"), financial_status="paid")
    order = f"acme-order-{body['id']}"
    assert events(acme, "orders/paid", body) == [("PlaceAnOrder", order, "47.90"), ("Purchase", order, "47.90")]
    body = sample(beans, "order.updated")
    sent = [
        (mapped.pixel.code[1], mapped.event, mapped.event_id) for mapped in see(beans, "order.updated", body).events
    ]
    order = f"beans-order-{body['id']}"
    assert sent == [
        *(("Y", "PlaceAnOrder", order), ("Z", "PlaceAnOrder", order)),
        *(("Y", "Purchase", order), ("Z", "Purchase", order)),
    ]
