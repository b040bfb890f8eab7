"""The printed Shopify pixel, unchanged, in a real browser: it says what the server says."""

import hashlib

import pytest

from connector.core.store import Pixel
from tests.browser.server_side import CODE, OTHER, SHOPIFY, choose, examined, served, shopify_body
from tests.browser.shopify_checkout import CARD, checkout
from tests.browser.storefront import ALLOWED, REFUSED
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


def test_browsing_is_told_without_an_id(storefront):
    """Pageview, ViewContent and AddToCart: the server has no copy of them."""
    row = checkout(ORDER, FORMS[0])["lineItems"][0]
    storefront.open_shopify(printed(SHOPIFY, storefront), customer={"id": "77", "email": "Ann@Example.com"})
    storefront.tell("page_viewed")
    storefront.tell("product_viewed", productVariant=row["variant"])
    storefront.tell("product_added_to_cart", cartLine={"merchandise": row["variant"], "quantity": 2})
    view, add = storefront.tracked(2)
    assert [view.arguments[0], add.arguments[0]] == ["ViewContent", "AddToCart"]
    assert len(view.arguments) == 2
    price = row["variant"]["price"]["amount"]
    assert add.arguments[1]["value"] == pytest.approx(2 * price)
    assert add.arguments[1]["contents"][0]["content_id"] == row["variant"]["id"]
    assert [call.pixel for call in storefront.calls() if call.method == "page"] == [""]
    assert storefront.identified()[0]["email"] == hashlib.sha256(b"ann@example.com").hexdigest()


# --- signals --------------------------------------------------------------------------------------------------


def test_the_beacon_carries_what_only_the_browser_knows(storefront):
    """The click id of the landing page, TikTok's cookie if there is one, page and browser; by the token."""
    click = "E.C.P.CtoBExample-0123_%2B"
    storefront.set_cookie("_ttp", "01JEXAMPLE0000000000000000_.tt.1")
    storefront.open_shopify(
        printed(SHOPIFY, storefront), path="/landing?utm_source=tiktok&ttclid=E.C.P.CtoBExample-0123_%252B"
    )
    storefront.tell("page_viewed")
    storefront.open_shopify(printed(SHOPIFY, storefront), path="/checkouts/cn/example")
    storefront.tell("checkout_started", checkout=checkout(CHECKOUT))
    beacon = storefront.beacon()
    assert beacon.path == "/collect/acme"
    assert beacon.headers["content-type"] == "text/plain;charset=UTF-8"
    assert "cookie" not in beacon.headers
    assert beacon.headers.get("origin") == "null"
    assert beacon.body == {
        "checkout_token": CHECKOUT["token"],
        "ttclid": click,
        "ttp": "01JEXAMPLE0000000000000000_.tt.1",
        "url": f"{storefront.url}/checkouts/cn/example",
        "user_agent": "Mozilla/5.0 (Linux; Android 15) Example/1.0",
        "consent": "granted",
    }
    storefront.tell("checkout_completed", checkout=checkout(ORDER, FORMS[0]))
    assert storefront.beacon().body["checkout_token"] == ORDER["checkout_token"]


def test_a_cookie_of_tiktoks_that_is_not_there_is_not_made_up(storefront):
    """ttp and ttclid are absent then."""
    storefront.open_shopify(printed(SHOPIFY, storefront))
    storefront.tell("checkout_started", checkout=checkout(CHECKOUT))
    assert not {"ttp", "ttclid"} & set(storefront.beacon().body)


def test_an_ad_blocker_does_not_stop_the_beacon(storefront):
    """The server's event has ttclid and user agent all the same, though TikTok's script never came."""
    storefront.blocked = True
    storefront.open_shopify(printed(SHOPIFY, storefront), path="/?ttclid=E.C.P.x")
    storefront.tell("checkout_started", checkout=checkout(CHECKOUT))
    assert storefront.beacon().body["ttclid"] == "E.C.P.x"
    assert not storefront.calls()


def test_without_signals_in_the_store_nothing_is_sent_to_us(storefront):
    """A server that expects no beacon gets none."""
    storefront.open_shopify(snippet(choose(SHOPIFY, signals=None), "shopify"))
    storefront.tell("checkout_started", checkout=checkout(CHECKOUT))
    storefront.tracked(1)
    assert storefront.no_beacon()


# --- consent --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("consent", ["required", "required_in_europe", "not_required"])
@pytest.mark.parametrize("privacy", [REFUSED, {**ALLOWED, "saleOfDataAllowed": False}], ids=["marketing", "sale"])
def test_a_refusal_sends_nothing_but_that(storefront, consent, privacy):
    """To TikTok not even its script's request; to us the token and the no, once, and no cookie is written."""
    store = choose(SHOPIFY, consent=consent)
    storefront.open_shopify(printed(store, storefront), privacy=privacy, path="/?ttclid=E.C.P.x")
    storefront.tell("page_viewed")
    storefront.tell("checkout_started", checkout=checkout(CHECKOUT))
    storefront.tell("checkout_completed", checkout=checkout({**ORDER, "checkout_token": CHECKOUT["token"]}, FORMS[0]))
    assert storefront.beacon().body == {"checkout_token": CHECKOUT["token"], "consent": "denied"}
    assert storefront.no_beacon()
    assert storefront.page.frames[1].evaluate("typeof window.ttq") == "undefined"
    assert "ttclid" not in storefront.cookies()


def test_a_yes_on_the_same_page_catches_up(storefront):
    """What had happened before it is told then, once."""
    store = choose(SHOPIFY, consent="required")
    storefront.open_shopify(printed(store, storefront), privacy=REFUSED)
    storefront.tell("checkout_started", checkout=checkout(CHECKOUT))
    assert storefront.beacon().body["consent"] == "denied"
    storefront.answer_consent(ALLOWED)
    assert [call.arguments[0] for call in storefront.tracked(1)] == ["InitiateCheckout"]
    assert storefront.beacon().body["consent"] == "granted"
    storefront.answer_consent(ALLOWED)
    storefront.answer_consent(REFUSED)
    storefront.tell("checkout_completed", checkout=checkout(ORDER, FORMS[0]))
    assert len(storefront.tracked()) == 1


@pytest.mark.parametrize(
    ("consent", "market", "said", "sent"),
    [
        ("required", "US", "", False),
        ("required", "US", "Yes", True),
        ("required", "US", "no", False),
        ("required_in_europe", "US", "", True),
        ("required_in_europe", "DE", "", False),
        ("required_in_europe", "DE", "yes", True),
        ("not_required", "DE", "", True),
        ("not_required", "DE", "no", False),
    ],
)
def test_where_shopify_says_nothing_the_stores_own_rule_decides(storefront, consent, market, said, sent):
    """The key of consent_source is a cart attribute here as there; where a yes is needed, none is a no."""
    store = choose(choose(SHOPIFY, consent=consent), "consent_source", key="tiktok_ok")
    told = [{"name": "tiktok_ok", "value": said}] if said else []
    body = shopify_body("orders/paid", market=market, note_attributes=told)
    storefront.open_shopify(printed(store, storefront), privacy={})
    storefront.tell("checkout_completed", checkout=checkout(body, body["id"]))
    loaded = storefront.page.frames[1].evaluate("typeof window.ttq !== 'undefined'")
    assert loaded == sent
    if consent != "not_required":  # where no yes is needed, the server does not look at the key
        unasked = choose(store, signals=None)  # with signals an event waits for an answer first
        assert bool(examined(unasked, "orders/paid", body).events) == sent


def test_limited_data_use_is_asked_of_the_pixel_too(storefront):
    """A store that limits the use of data for some states loads the pixel so."""
    store = choose(SHOPIFY, limited_data_use=("CA",))
    storefront.blocked = True
    storefront.open_shopify(printed(store, storefront))
    storefront.tell("page_viewed")
    assert storefront.page.frames[1].evaluate("window.ttq._o") == {CODE: {"limited_data_use": True}}
