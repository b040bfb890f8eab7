"""The printed Shopify pixel, unchanged, in a real browser: it says what the server says."""

import hashlib

import pytest

from connector.core.store import Pixel
from tests.browser.server_side import CODE, OTHER, SHOPIFY, choose, examined, served, shopify_body
from tests.browser.shopify_checkout import CARD, OF_LINE, OF_ORDER, checkout
from tests.support.snippets import snippet

ORDER = shopify_body("orders/paid")
CHECKOUT = shopify_body("checkouts/create")
FORMS = [
    ORDER["id"],
    str(ORDER["id"]),
    f"gid://shopify/Order/{ORDER['id']}",
    f"gid://shopify/OrderIdentity/{ORDER['id']}",
]


def printed(store, front):
    return snippet(store, "shopify", front.url)


def pair(call):
    """Pixel, name and event_id: what TikTok merges by."""
    return call.pixel, call.arguments[0], call.arguments[2]["event_id"]


def server_pairs(store, topic, body):
    return {
        (pixel.code, name, item["event_id"])
        for pixel in store.pixels
        for name, item in served(store, topic, body).items()
    }


@pytest.mark.parametrize("order_id", FORMS)
def test_every_form_of_an_order_id_gives_the_servers_event_ids(storefront, order_id):
    """Number, digits, Order and OrderIdentity are the same order, in the browser as in its webhook."""
    storefront.open_shopify(printed(SHOPIFY, storefront))
    storefront.tell("checkout_started", checkout=checkout(CHECKOUT))
    storefront.tell("checkout_completed", checkout=checkout(ORDER, order_id))
    sent = {pair(call) for call in storefront.tracked(3)}
    assert sent == server_pairs(SHOPIFY, "checkouts/create", CHECKOUT) | server_pairs(SHOPIFY, "orders/paid", ORDER)
    assert {name for _, name, _ in sent} == {"InitiateCheckout", "PlaceAnOrder", "Purchase"}


def test_properties_and_person_are_the_servers(storefront):
    """Value, currency, contents, and the hashes of e-mail, phone and customer."""
    storefront.open_shopify(printed(SHOPIFY, storefront))
    storefront.tell("checkout_completed", checkout=checkout(ORDER, FORMS[0]))
    item = served(SHOPIFY, "orders/paid", ORDER)["Purchase"]
    assert [call.arguments[1] for call in storefront.tracked(2)] == [item["properties"]] * 2
    (user,) = storefront.identified()
    assert user == {
        "email": item["user"]["email"],
        "phone_number": item["user"]["phone"],
        "external_id": item["user"]["external_id"],
    }


VALUES = [
    {},
    {"value_excludes": ("tax",)},
    {"value_excludes": ("tax", "shipping")},
    {"value_excludes": ("tips", "fees", "duties")},
    {"value": "items"},
    {"value": "items", "value_excludes": ("shipping",)},
    {"content_id": "product_id"},
    {"content_id": "sku"},
    {"content_id": "shopify_US_{product_id}_{variant_id}"},
    {"content_id": "gla_{item_id}"},
]


@pytest.mark.parametrize(("market", "choices"), [*(("US", one) for one in VALUES), ("JP", {}), ("DE", {})], ids=str)
def test_the_stores_choices_of_value_and_ids_count_here_too(storefront, choices, market):
    """Each gives the server's properties, in the shopper's own currency."""
    store = choose(SHOPIFY, "mapping", **choices)
    body = shopify_body("orders/paid", market=market)
    storefront.open_shopify(printed(store, storefront))
    storefront.tell("checkout_completed", checkout=checkout(body, body["id"]))
    expected = served(store, "orders/paid", body)["Purchase"]["properties"]
    assert storefront.tracked(2)[1].arguments[1] == expected


def test_a_discount_lowers_the_price_of_one(storefront):
    """As paid, rounded to what the currency has."""
    lines = [{**ORDER["line_items"][0], "quantity": 3}, *ORDER["line_items"][1:]]
    cut = {"amount": "1.00", "amount_set": {k: {**v, "amount": "1.00"} for k, v in lines[0]["price_set"].items()}}
    lines[0]["discount_allocations"] = [cut]
    body = {**ORDER, "line_items": lines}
    storefront.open_shopify(printed(SHOPIFY, storefront))
    storefront.tell("checkout_completed", checkout=checkout(body, body["id"]))
    expected = served(SHOPIFY, "orders/paid", body)["Purchase"]["properties"]
    assert storefront.tracked(2)[0].arguments[1] == expected


def cut(amount, application):
    amounts = {side: {**money, "amount": amount} for side, money in ORDER["line_items"][0]["price_set"].items()}
    return {"amount": amount, "amount_set": amounts, "application": application}


@pytest.mark.parametrize("value", ["total", "items"])
def test_a_line_without_a_variant_is_counted_as_the_server_counts_it(storefront, value):
    """A custom line, such as gift wrap: it has a price, and no id in the catalogue."""
    store = choose(SHOPIFY, "mapping", value=value)
    wrap = {**ORDER["line_items"][0], "variant_id": None, "product_id": None, "sku": None, "title": "Gift wrap"}
    body = {**ORDER, "line_items": [wrap, *ORDER["line_items"]]}
    storefront.open_shopify(printed(store, storefront))
    storefront.tell("checkout_completed", checkout=checkout(body, body["id"]))
    expected = served(store, "orders/paid", body)["Purchase"]["properties"]
    assert storefront.tracked(2)[0].arguments[1] == expected
    storefront.tell("product_added_to_cart", cartLine={"merchandise": None, "quantity": 1})
    assert storefront.tracked(3)[2].arguments[0] == "AddToCart"


@pytest.mark.parametrize("value", ["total", "items"])
@pytest.mark.parametrize(
    "cuts", [[], [("2.00", OF_LINE)], [("3.00", OF_ORDER)], [("2.00", OF_LINE), ("3.00", OF_ORDER)]]
)
def test_a_selling_plan_lowers_the_price_of_its_line(storefront, value, cuts):
    """The variant still shows the price of a single purchase; the order has only the plan's."""
    store = choose(SHOPIFY, "mapping", value=value)
    first = {**ORDER["line_items"][0], "discount_allocations": [cut(*one) for one in cuts]}
    body = {**ORDER, "line_items": [first, *ORDER["line_items"][1:]]}
    single = round(float(first["price_set"]["presentment_money"]["amount"]) / 0.8, 2)
    storefront.open_shopify(printed(store, storefront))
    storefront.tell("checkout_completed", checkout=checkout(body, body["id"], plan=single))
    expected = served(store, "orders/paid", body)["Purchase"]["properties"]
    assert storefront.tracked(2)[0].arguments[1] == expected


INVOICE = "/checkouts/do/461d105ddbb1ed1ecd376100ce49ed46/en-us/thank-you"


@pytest.mark.parametrize("include", [("web", "app", "b2b"), ("web", "draft")], ids=" ".join)
@pytest.mark.parametrize(
    ("body", "page"),
    [
        ({}, {}),
        ({"source_name": "shopify_draft_order", "user_id": 7}, {"path": INVOICE}),
        ({"company": {"id": 7, "location_id": 8}}, {"company": {"company": {"id": "7", "name": "Example Ltd"}}}),
    ],
    ids=["web", "draft", "b2b"],
)
def test_kinds_of_order_that_the_server_leaves_out_are_left_out_here(storefront, body, page, include):
    """As far as a browser can tell them: invoices of draft orders and companies' purchases."""
    store = choose(SHOPIFY, "orders", include=include)
    order = {**ORDER, **body}
    storefront.open_shopify(printed(store, storefront), **page)
    storefront.tell("checkout_completed", checkout=checkout(order, order["id"]))
    storefront.tell("product_viewed", productVariant={"id": "1", "product": {"id": "2", "title": "Shirt"}})
    sent = [call.arguments[0] for call in storefront.tracked(1)]
    assert sent == [*served(store, "orders/paid", order), "ViewContent"]


def test_a_payment_by_the_gateway_for_tests_is_no_purchase(storefront):
    """On either side, whatever else the order says of itself."""
    body = {**ORDER, "payment_gateway_names": ["bogus"]}
    storefront.open_shopify(printed(SHOPIFY, storefront))
    bogus = {"gateway": "bogus", "paymentMethod": {"name": "Visa", "type": "creditCard"}}
    storefront.tell("checkout_completed", checkout=checkout(body, body["id"], [bogus]))
    storefront.tell("checkout_started", checkout=checkout(CHECKOUT))
    assert [call.arguments[0] for call in storefront.tracked(1)] == ["InitiateCheckout"]
    for test in (True, False):
        assert not served(SHOPIFY, "orders/paid", {**body, "test": test})


def test_a_checkout_that_is_opened_again_is_the_same_one(storefront):
    """With another cart, on another page: the first value stays, here as at the server. Another checkout is another."""
    storefront.open_shopify(printed(SHOPIFY, storefront))
    storefront.tell("checkout_started", checkout=checkout(CHECKOUT))
    again = {**CHECKOUT, "total_price": "1.00"}
    storefront.tell("checkout_started", checkout=checkout(again))
    other = {**CHECKOUT, "token": "f00dfeedf00dfeedf00dfeedf00dfeed"}
    storefront.tell("checkout_started", checkout=checkout(other))
    first, second = storefront.tracked(2)
    assert first.arguments[1] == served(SHOPIFY, "checkouts/create", CHECKOUT)["InitiateCheckout"]["properties"]
    assert {pair(first)} == server_pairs(SHOPIFY, "checkouts/create", again)
    assert {pair(second)} == server_pairs(SHOPIFY, "checkouts/create", other)
    storefront.open_shopify(printed(SHOPIFY, storefront), path="/checkouts/cn/again")
    storefront.tell("checkout_started", checkout=checkout(CHECKOUT))
    storefront.tell("checkout_started", checkout=checkout(other))
    assert storefront.tracked(0) == []


@pytest.mark.parametrize(
    "choices",
    [
        {"value_excludes": ("gift_cards",)},
        {"value_excludes": ("shipping",)},
        {"value": "items", "value_excludes": ("tax",)},
    ],
    ids=str,
)
def test_a_value_that_this_object_does_not_tell_is_left_to_the_server(storefront, choices):
    """Rather none than another one: TikTok adds the server's."""
    store = choose(SHOPIFY, "mapping", **choices)
    assert ORDER["total_tax"] != "0.00"
    storefront.open_shopify(printed(store, storefront))
    storefront.tell("checkout_completed", checkout=checkout(ORDER, FORMS[0]))
    assert "value" not in storefront.tracked(2)[0].arguments[1]


def test_shop_currency_is_not_what_the_shopper_sees(storefront):
    """With currency = "shop" and another one shown there is no value here, and the server's is in the shop's."""
    store = choose(SHOPIFY, "mapping", currency="shop")
    body = shopify_body("orders/paid", market="DE")
    assert body["presentment_currency"] == "EUR"
    storefront.open_shopify(printed(store, storefront))
    storefront.tell("checkout_completed", checkout=checkout(body, body["id"]))
    sent = storefront.tracked(2)[0].arguments[1]
    assert not {"value", "currency"} & set(sent)
    assert "price" not in sent["contents"][0]


@pytest.mark.parametrize("kind", ["paymentOnDelivery", "manualPayment", "deferred", "offsite", "local", "other", None])
def test_what_may_be_paid_later_is_no_purchase_yet(storefront, kind):
    """Placed it is; paid the server says when it is."""
    later = {"gateway": "Cash on Delivery (COD)", "paymentMethod": {"name": "COD", "type": kind}}
    body = shopify_body("orders/create", payment_gateway_names=["Cash on Delivery (COD)"])
    storefront.open_shopify(printed(SHOPIFY, storefront))
    storefront.tell("checkout_completed", checkout=checkout(body, body["id"], [CARD, later]))
    storefront.tell("checkout_started", checkout=checkout(CHECKOUT))
    assert [call.arguments[0] for call in storefront.tracked(2)] == ["PlaceAnOrder", "InitiateCheckout"]
    assert set(served(SHOPIFY, "orders/create", body)) == {"PlaceAnOrder"}


@pytest.mark.parametrize(
    ("orders", "status", "transactions"),
    [
        ({"paid_when_placed": ("cash on delivery (cod)",)}, "pending", "later"),
        ({"paid_statuses": ("pending", "paid")}, "pending", "later"),
        ({"paid_statuses": ("authorized", "paid")}, "paid", "card"),
        ({"paid_statuses": ("partially_paid",)}, "paid", "card"),
        ({"placed_statuses": ("authorized",)}, "pending", "later"),
        ({"placed_statuses": ("pending",)}, "pending", "later"),
        ({"exclude_gateways": ("Cash on delivery (COD)",)}, "pending", "later"),
        ({"exclude_email_domains": ("@example.com",)}, "paid", "card"),
        ({"exclude_email_domains": ("ample.com",)}, "paid", "card"),
    ],
    ids=str,
)
def test_what_counts_is_the_servers_rule(storefront, orders, status, transactions):
    """paid_when_placed, statuses and exclusions decide here as they decide there."""
    store = choose(SHOPIFY, "orders", **orders)
    names = ["Cash on Delivery (COD)"] if transactions == "later" else ["shopify_payments"]
    later = {"gateway": names[0], "paymentMethod": {"name": "COD", "type": "paymentOnDelivery"}}
    body = shopify_body("orders/create", financial_status=status, payment_gateway_names=names)
    storefront.open_shopify(printed(store, storefront))
    paid_with = [later] if transactions == "later" else [CARD]
    storefront.tell("checkout_completed", checkout=checkout(body, body["id"], paid_with))
    storefront.tell("product_viewed", productVariant={"id": "1", "product": {"id": "2", "title": "Shirt"}})
    sent = [call.arguments[0] for call in storefront.tracked(1)]
    assert sent == [*served(store, "orders/create", body), "ViewContent"]


def test_a_free_order_is_paid(storefront):
    """There is no payment, and none is owed."""
    body = {**ORDER, "total_price": "0.00", "total_price_set": None}
    storefront.open_shopify(printed(SHOPIFY, storefront))
    storefront.tell("checkout_completed", checkout=checkout(body, body["id"], []))
    assert [call.arguments[0] for call in storefront.tracked(2)] == ["PlaceAnOrder", "Purchase"]
    assert storefront.tracked()[0].arguments[1]["value"] == 0


def test_all_pixels_get_it_and_one_name_once(storefront):
    """Two pixels are two events; placed and paid under one name are one."""
    pixels = (Pixel(CODE, "one"), Pixel(OTHER, "two"))
    both = {**SHOPIFY.events, "order_placed": ("Purchase",), "order_paid": ("Purchase", "OrderPaid")}
    store = choose(SHOPIFY, pixels=pixels, events=both)
    storefront.open_shopify(printed(store, storefront))
    storefront.tell("checkout_completed", checkout=checkout(ORDER, FORMS[0]))
    sent = [pair(call) for call in storefront.tracked(4)]
    assert len(sent) == 4
    assert set(sent) == server_pairs(store, "orders/paid", ORDER)


def test_templates_are_the_stores(storefront):
    """Every placeholder that a browser knows gives the id that the server gives."""
    ids = SHOPIFY.event_id
    templates = type(ids)("{attribute:campaign} {customer_id}/{checkout_token}", "c {checkout_token} é", ids.customer)
    store = choose(SHOPIFY, event_id=templates, external_id="{attribute:campaign}-{customer_id}")
    told = [{"name": "campaign", "value": " </script>\"'\\ "}]
    body = {**ORDER, "note_attributes": told}
    storefront.open_shopify(printed(store, storefront))
    storefront.tell("checkout_started", checkout=checkout({**CHECKOUT, "note_attributes": told}))
    storefront.tell("checkout_completed", checkout=checkout(body, FORMS[0]))
    expected = server_pairs(store, "orders/paid", body) | server_pairs(store, "checkouts/create", CHECKOUT)
    assert {pair(call) for call in storefront.tracked(3)} == expected
    assert (
        storefront.identified()[-1]["external_id"]
        == served(store, "orders/paid", body)["Purchase"]["user"]["external_id"]
    )


def test_an_id_that_lacks_a_part_is_no_id(storefront):
    """No event leaves the browser under half a name; the server skips it likewise."""
    ids = type(SHOPIFY.event_id)("{order_id}-{attribute:absent}", "{checkout_token}", "{customer_id}")
    store = choose(SHOPIFY, event_id=ids)
    storefront.open_shopify(printed(store, storefront))
    storefront.tell("checkout_completed", checkout=checkout(ORDER, FORMS[0]))
    storefront.tell("checkout_completed", checkout=checkout(ORDER, 2**60, attributes=[{"key": "absent", "value": "x"}]))
    storefront.tell("checkout_started", checkout=checkout(CHECKOUT))
    assert [call.arguments[0] for call in storefront.tracked(1)] == ["InitiateCheckout"]
    assert not served(store, "orders/paid", ORDER)


def test_a_visit_is_told(storefront):
    """A Pageview, with who is signed in."""
    storefront.open_shopify(printed(SHOPIFY, storefront), customer={"id": "77", "email": "Ann@Example.com"})
    storefront.tell("page_viewed")
    storefront.page.wait_for_function("window.tiktok.some(one => one.method === 'page')")
    assert [call.pixel for call in storefront.calls() if call.method == "page"] == [""]
    assert storefront.identified()[0]["email"] == hashlib.sha256(b"ann@example.com").hexdigest()


# --- several pixels -------------------------------------------------------------------------------------------


MARKETS = (
    Pixel(CODE, "one", countries=("US",)),
    Pixel(OTHER, "two", countries=("FR", "DE")),
    Pixel("CPAIDORDERS000000000", "three", milestones=("order_paid",), currencies=("USD",)),
    Pixel("7012345678901234567", "four", source="offline", milestones=("order_paid",)),
)
FRANCE = {"country_code": "FR"}


def routed(store, topic, body):
    """What the server sends to pixels of the web."""
    sent = examined(store, topic, body).events
    return {(one.pixel.code, one.event, one.event_id) for one in sent if one.pixel.source == "web"}


@pytest.mark.parametrize("shipping", [{}, FRANCE, None], ids=["home", "abroad", "none"])
def test_an_order_goes_to_the_pixels_that_the_server_chooses(storefront, shipping):
    """By destination, then billing; never to an offline set, and to no pixel whose conditions do not hold."""
    address = None if shipping is None else ORDER["shipping_address"] | shipping
    store, body = choose(SHOPIFY, pixels=MARKETS), ORDER | {"shipping_address": address}
    seen = checkout(ORDER | {"shipping_address": address or ORDER["shipping_address"]}, FORMS[0])
    storefront.open_shopify(printed(store, storefront))
    storefront.tell("checkout_completed", checkout=seen if address else seen | {"shippingAddress": None})
    sent = {pair(call) for call in storefront.tracked(3)}
    assert sent == routed(store, "orders/paid", body)
    assert {call.pixel for call in storefront.calls() if call.method == "identify"} == {code for code, _, _ in sent}


def test_a_checkout_without_an_address_is_left_to_the_server(storefront):
    """Where it goes is not known yet; a pixel without countries gets it from both."""
    everywhere = Pixel("CEVERYWHERE000000000", "five")
    store = choose(SHOPIFY, pixels=(*MARKETS, everywhere))
    body = checkout(CHECKOUT) | {"shippingAddress": None, "billingAddress": None}
    storefront.open_shopify(printed(store, storefront))
    storefront.tell("checkout_started", checkout=body)
    assert [(call.pixel, call.arguments[0]) for call in storefront.tracked(1)] == [
        (everywhere.code, "InitiateCheckout")
    ]


def test_what_happens_before_an_order_goes_to_each_market(storefront):
    """A visitor's country is not known. The pixel for paid orders alone has no part in it."""
    row = checkout(ORDER, FORMS[0])["lineItems"][0]
    storefront.open_shopify(printed(choose(SHOPIFY, pixels=MARKETS), storefront))
    storefront.tell("product_viewed", productVariant=row["variant"])
    assert {(call.pixel, call.arguments[0]) for call in storefront.tracked(2)} == {
        (CODE, "ViewContent"),
        (OTHER, "ViewContent"),
    }


def test_names_of_a_kind_are_the_servers(storefront):
    """A company's order has names of its own."""
    names = {"b2b": {"order_placed": (), "order_paid": ("Subscribe",)}}
    store = choose(SHOPIFY, events_of_kinds=names)
    body = ORDER | {"company": {"id": 1, "location_id": 2}}
    storefront.open_shopify(printed(store, storefront), company={"company": {"id": "1"}})
    storefront.tell("checkout_completed", checkout=checkout(body, FORMS[0]))
    assert {pair(call) for call in storefront.tracked(1)} == routed(store, "orders/paid", body)
    assert storefront.tracked()[0].arguments[0] == "Subscribe"
