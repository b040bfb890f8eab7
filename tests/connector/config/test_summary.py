"""summary: a store's choices as sentences that a merchant understands, and what they may not have meant."""

from dataclasses import replace
from datetime import timedelta

import pytest

from connector.config.summary import STANDARD, blockers, plain_words, warnings
from connector.core.registry import installed_platforms
from connector.core.store import (
    ConsentSource,
    FunnelSettings,
    MappingSettings,
    OrderSettings,
    Pixel,
    SignalSettings,
)
from tests.support.factories import a_store
from tests.support.rows import each_row

SHOPIFY = a_store(country="US")
WOOCOMMERCE = a_store("woocommerce", country="US")


def named(store=SHOPIFY, **events):
    return replace(store, events={**store.events, **events})


def test_a_shopify_store_with_defaults():
    assert list(plain_words(SHOPIFY)) == [
        (
            "An order is sent as PlaceAnOrder when it is placed, paid or not, "
            "with value = its total, in the shopper's currency."
        ),
        "An order is sent as Purchase when it is fully paid, with value = its total, in the shopper's currency.",
        "A checkout is sent as InitiateCheckout when it begins, with value = its total, in the shopper's currency.",
        "A registration is sent as CompleteRegistration when a customer opens an account.",
        "Only orders of kind web, app, b2b are sent (orders.include).",
        "Items are identified by variant_id; people by external_id {customer_id}.",
        "Consent is not required (consent).",
        "Pixel CABCDEFGHIJKLMNOPQR0: live.",
    ]


def test_a_woocommerce_store_with_many_choices():
    store = replace(
        named(WOOCOMMERCE, order_placed=(), order_paid=("Purchase", "Subscribe")),
        orders=OrderSettings(
            include=("web", "renewal"),
            paid_statuses=("processing", "shipped"),
            paid_when_placed=("cod", "invoice"),
            exclude_tags=("vip",),
            exclude_gateways=("cheque", "bacs"),
            exclude_email_domains=("acme.example",),
            exclude_zero=True,
        ),
        mapping=MappingSettings("items", ("tax", "shipping"), "shop", "product_id"),
        consent="required_in_europe",
        consent_source=ConsentSource("marketing", ("yes", "1")),
        limited_data_use=("CA", "CO"),
        browser_pixel="own",
        external_id="",
        pixels=(Pixel("CABCDEFGHIJKLMNOPQR0", "t"), Pixel("CABCDEFGHIJKLMNOPQR1", "t", "TEST7")),
    )
    assert list(plain_words(store)) == [
        "order_placed is not sent (events.order_placed is off).",
        (
            "An order is sent as Purchase and as Subscribe when its status is processing or shipped, "
            "or when it is placed with cod or invoice, "
            "with value = its items as priced without tax, shipping, in the shop's currency."
        ),
        (
            "A checkout is sent as InitiateCheckout when it begins, "
            "with value = its items as priced without tax, shipping, in the shop's currency."
        ),
        "A registration is sent as CompleteRegistration when a customer opens an account.",
        (
            "Only orders of kind web, renewal are sent (orders.include); not those tagged vip, paid with cheque or "
            "bacs, with an e-mail at acme.example, worth zero."
        ),
        "Items are identified by product_id; people by external_id (off).",
        "Events of shoppers in the EEA, the UK and Switzerland are sent only with consent: marketing = yes or 1.",
        "The browser also sends orders and checkouts (browser_pixel = own), so they are sent only up to 47 hours old.",
        "Limited Data Use for shoppers in CA, CO; without a public ip they are skipped.",
        "Pixel CABCDEFGHIJKLMNOPQR0: live.",
        "Pixel CABCDEFGHIJKLMNOPQR1: Test Events only (TEST7).",
    ]


@each_row(
    ("store", "orders", "said"),
    [
        (SHOPIFY, OrderSettings(placed_statuses=("authorized",)), "when its status is authorized, or it is paid,"),
        (SHOPIFY, OrderSettings(paid_statuses=("authorized", "paid")), "when its status is authorized or paid,"),
        (WOOCOMMERCE, OrderSettings(), "when it is placed (on-hold, processing, …),"),
        (WOOCOMMERCE, OrderSettings(), "when the shop has its date of payment,"),
    ],
)
def test_when_an_order_counts(store, orders, said):
    assert any(said in sentence for sentence in plain_words(replace(store, orders=orders)))


def test_consent_of_everybody():
    store = replace(SHOPIFY, consent="required", consent_source=ConsentSource("marketing"))
    assert "Events of shoppers are sent only with consent: marketing = yes or true or 1." in list(plain_words(store))


# --- doubts ---------------------------------------------------------------------------------------------------

LATER = "events.order_placed: TikTok ends PlaceAnOrder in 2027; until then it works in full"
NEVER_ADD = "PlaceAnOrder and Purchase both carry the order's value: never add them up, optimise on one"


def test_the_defaults_have_two_notes():
    assert list(warnings(SHOPIFY)) == [LATER, NEVER_ADD]
    assert list(warnings(named(order_placed=()))) == []
    assert list(warnings(named(order_placed=("Purchase",), order_paid=()))) == []


def test_one_name_for_both_is_one_event_so_nothing_adds_up():
    assert list(warnings(named(order_placed=("Purchase",)))) == []


@each_row(
    ("name", "told"),
    [
        ("purchase", "purchase is not Purchase: names are case-sensitive, so it becomes a custom event"),
        ("PURCHASE", "PURCHASE is not Purchase: names are case-sensitive, so it becomes a custom event"),
        ("BigSale", "BigSale is a custom event: it is reported, but campaigns cannot optimise on it"),
        ("CompletePayment", "CompletePayment is an old or reserved name, which TikTok maps to Purchase; use that"),
        ("SubmitForm", "SubmitForm is an old or reserved name, which TikTok maps to Lead; use that"),
        ("Checkout", "Checkout is an old or reserved name, which TikTok maps to PlaceAnOrder; use that"),
        (
            "Registration",
            "Registration is an old or reserved name, which TikTok maps to CompleteRegistration; use that",
        ),
    ],
)
def test_names_tiktok_does_not_optimise_on(name, told):
    assert list(warnings(named(order_placed=(), order_paid=(name,)))) == [f"events.order_paid: {told}"]


@each_row("name", sorted(STANDARD - {"PlaceAnOrder"}))
def test_standard_names_raise_no_doubt(name):
    assert list(warnings(named(order_placed=(), order_paid=(name,)))) == []


def test_two_names_that_tiktok_takes_for_one():
    found = list(warnings(named(order_placed=(), order_paid=("Purchase", "CompletePayment"))))
    assert found[-1] == (
        "events.order_paid: TikTok treats Purchase and CompletePayment as one event, so it counts twice"
    )
    assert not any("counts twice" in doubt for doubt in warnings(named(order_paid=("Purchase", "Subscribe"))))


def test_signals():
    expecting = replace(SHOPIFY, signals=SignalSettings(hold_checkout=timedelta(minutes=1)))
    assert "Checkouts wait up to 60 s, orders up to 5 s, for the browser's signals (signals)." in plain_words(expecting)
    asking = replace(expecting, consent="required")
    assert "Events of shoppers are sent only with consent: in the browser's signals." in plain_words(asking)
    assert not any("consent" in doubt for doubt in warnings(asking))
    keyed = replace(asking, consent_source=ConsentSource("marketing"))
    sentence = "Events of shoppers are sent only with consent: marketing = yes or true or 1, or the browser's signals."
    assert sentence in plain_words(keyed)


@pytest.mark.parametrize(
    ("consent", "told"),
    [
        (
            "required",
            "consent is required, but consent_source.key is not set, so no consent is found and events are skipped",
        ),
        (
            "required_in_europe",
            "consent_source.key is not set, so events of shoppers in the EEA, the UK and Switzerland are skipped",
        ),
    ],
)
def test_consent_without_a_key(consent, told):
    """It keeps a store from sending anything only where consent is required everywhere."""
    without = replace(named(order_placed=()), consent=consent)
    assert list(warnings(without)) == [told]
    assert list(blockers(without)) == ([told] if consent == "required" else [])
    keyed = replace(named(order_placed=()), consent=consent, consent_source=ConsentSource("marketing"))
    assert list(warnings(keyed)) == []


def test_shopify_s_paid_statuses_without_paid():
    def told(store, *statuses):
        return list(warnings(replace(named(store, order_placed=()), orders=OrderSettings(paid_statuses=statuses))))

    assert told(SHOPIFY, "authorized") == [
        "orders.paid_statuses replaces Shopify's own rule and leaves out paid, partially_refunded"
    ]
    assert told(SHOPIFY, "authorized", "paid", "partially_refunded") == []
    assert told(WOOCOMMERCE, "shipped") == []


def test_a_store_without_a_country():
    assert list(warnings(replace(named(order_placed=()), country=""))) == [
        "country is not set: phone numbers typed without country code and address are left out"
    ]


@each_row(
    ("store", "templates", "told"),
    [
        (WOOCOMMERCE, {"order": "{cart_token}"}, ["order: a WooCommerce order has no {cart_token}"]),
        (WOOCOMMERCE, {"order": "{attribute:x}-{order_id}"}, ["order: a WooCommerce order has no {attribute:x}"]),
        (WOOCOMMERCE, {"order": "{meta:x}{order_name}{order_number}{customer_id}"}, []),
        (WOOCOMMERCE, {"checkout": "{cart_token}"}, ["checkout: a WooCommerce checkout has no {cart_token}"]),
        (WOOCOMMERCE, {"checkout": "{meta:x}{customer_id}", "customer": "{meta:x}"}, []),
        (SHOPIFY, {"order": "{meta:x}"}, ["order: a Shopify order has no {meta:x}"]),
        (SHOPIFY, {"order": "{attribute:x}{checkout_token}{cart_token}{order_name}{order_number}{customer_id}"}, []),
        (SHOPIFY, {"checkout": "{order_id}{cart_token}"}, ["checkout: a Shopify checkout has no {order_id}"]),
        (SHOPIFY, {"customer": "{attribute:x}"}, ["customer: a Shopify customer has no {attribute:x}"]),
        (replace(SHOPIFY, platform="unknown"), {"order": "{meta:x}{cart_token}"}, []),
    ],
)
def test_placeholders_that_have_no_value_on_the_platform(store, templates, told):
    """Its events could never be sent; the placeholder of the default is the remedy."""
    changed = replace(store, event_id=replace(store.event_id, **templates))
    usual = {"order": "{order_id}", "checkout": "{checkout_token}", "customer": "{customer_id}"}
    doubts = [doubt for doubt in warnings(changed) if doubt.startswith("event_id.")]
    assert doubts == [f"event_id.{start}, so none is sent; use {usual[start.partition(':')[0]]}" for start in told]


@pytest.mark.parametrize("store", [SHOPIFY, WOOCOMMERCE], ids=["shopify", "woocommerce"])
def test_the_default_templates_have_a_value_everywhere(store):
    assert not [doubt for doubt in warnings(store) if doubt.startswith("event_id.")]


@each_row(
    ("changes", "told"),
    [
        ({"orders": OrderSettings(include=("web", "draft", "exchange", "renewal"))},
         "orders.include: WooCommerce has no orders of kind draft, exchange"),
        ({"orders": OrderSettings(exclude_tags=("vip",))},
         "orders.exclude_tags: WooCommerce's orders have no tags, so none is excluded"),
        ({"mapping": MappingSettings(bundles="bundle", content_id="sku")},
         "mapping.bundles: WooCommerce's orders name each bundle as one, which is sent in any case"),
        ({"mapping": MappingSettings(currency="shop", content_id="sku")},
         "mapping.currency: WooCommerce's orders have one currency, which is sent in any case"),
    ],
)  # fmt: skip
def test_settings_that_mean_nothing_on_the_platform(changes, told):
    """A default is not warned of, nor what another platform has."""
    assert told in list(warnings(replace(WOOCOMMERCE, **changes)))
    other = replace(SHOPIFY, **changes)
    assert not [doubt for doubt in warnings(other) if doubt.startswith(("orders.", "mapping."))]
    assert not [doubt for doubt in warnings(WOOCOMMERCE) if doubt.startswith(("orders.", "mapping."))]


def test_a_milestone_without_a_webhook_is_not_promised(monkeypatch):
    """With the name of an event or without."""
    platform = type(installed_platforms()["woocommerce"])
    monkeypatch.setattr(platform, "facts", replace(platform.facts, milestones=("order_placed", "order_paid")))
    for store in (WOOCOMMERCE, named(WOOCOMMERCE, checkout_started=())):
        said = list(plain_words(store))
        assert said[0].startswith("An order is sent as PlaceAnOrder when ")
        assert said[2:4] == [
            "checkout_started is not sent: WooCommerce has no webhook for it.",
            "customer_registered is not sent: WooCommerce has no webhook for it.",
        ]
    assert not [line for line in plain_words(SHOPIFY) if "no webhook" in line]


def test_a_funnel_is_told_and_its_names_are_judged():
    funnel = FunnelSettings(cart_added=("Addtocart",), searched=())
    store = replace(SHOPIFY, funnel=funnel)
    told = "Browsers also report product_viewed as ViewContent, cart_added as Addtocart, payment_info_added as "
    assert told + "AddPaymentInfo (funnel)." in list(plain_words(store))
    assert [line for line in warnings(store) if line.startswith("funnel.")] == [
        "funnel.cart_added: Addtocart is not AddToCart: names are case-sensitive, so it becomes a custom event"
    ]
