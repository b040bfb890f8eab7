"""connector.config.rules: what only several keys, or several stores, show."""

from datetime import timedelta

import pytest

from tests.support import keyed_shop
from tests.support.rows import each_row
from tests.support.stores_file import CODE, OTHER_CODE, WOO, loaded, only_problem, problems, store


def test_either_one_pixel_or_several():
    """Single keys and [[pixels]] together are a problem, and so are neither and the same code twice."""
    row = f'{{ pixel = "{CODE}", access_token = "a" }}'
    line = only_problem(store(more=f"pixels = [{row}]"))
    assert line.startswith("stores.acme.pixels: either pixel, access_token or [[pixels]], not both")
    found = problems(store(pixel=None, access_token=None))
    assert [line.split(":")[0] for line in found] == ["stores.acme.pixel", "stores.acme.access_token"]
    assert "[[pixels]]" in found[0]
    assert "twice" in only_problem(store(pixel=None, access_token=None, more=f"pixels = [{row}, {row}]"))
    line = only_problem(store(pixel=None, access_token=None, more=f'pixels = [{row}, {{ pixel = "{OTHER_CODE}" }}]'))
    assert line.startswith("stores.acme.pixels[1].access_token: missing")


@each_row(
    ("keys", "api", "good"),
    [
        ({}, '{ access_token = "a" }', True),
        ({}, '{ client_id = "a", client_secret = "b" }', True),
        ({}, '{ client_id = "a" }', False),
        ({}, '{ access_token = "a", client_id = "a", client_secret = "b" }', False),
        ({}, '{ consumer_key = "a", consumer_secret = "b" }', False),
        (WOO, '{ consumer_key = "a", consumer_secret = "b" }', True),
        (WOO, '{ consumer_key = "a" }', False),
        (WOO, '{ access_token = "a" }', False),
    ],
)
def test_api_keys_fit_the_platform(keys, api, good):
    """[api] takes a complete set of the platform's own keys."""
    toml = store(more=f"api = {api}", **keys)
    if good:
        assert loaded(toml).stores["acme"].api
    else:
        assert only_problem(toml).startswith("stores.acme.api: platform ")


@pytest.mark.parametrize(("shop", "entry"), [('"beans"', ""), ('["beans.example", "beans"]', "entry 2 ")])
def test_a_shop_without_a_domain_matches_no_webhook(shop, entry):
    """Where a shop is named by its own domain, a bare name is a problem, in [defaults] too."""
    line = only_problem(store(**{**WOO, "shop": shop}))
    assert line.startswith(f"stores.acme.shop: {entry}must be the shop's domain, like shop.example")


@pytest.mark.parametrize(("shop", "url"), [("localhost", "https://acme.example"), ("wordpress", "http://wordpress:80")])
def test_a_shop_under_development_has_any_host(shop, url):
    """This machine, or the host that url names."""
    toml = store(**{**WOO, "shop": f'"{shop}"', "url": f'"{url}"'})
    assert loaded(toml).stores["acme"].shops == (shop,)


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"shop": '"acme"'}, "stores.acme.shop: must be the shop's number"),
        (
            {"shop": '"7"', "more": 'webhook_keys = "http://keys.example"'},
            "stores.acme.webhook_keys: must be an https",
        ),
        ({"shop": '"7"', "more": 'webhook_keys = ["{}"]'}, "what is there is not a JWKS"),
        ({"shop": '"7"', "more": "webhook_keys = [7]"}, "must be a text in quotes"),
        ({"shop": '"7"'}, ""),
        ({"shop": '"7"', "webhook_secrets": None, "more": 'webhook_keys = "https://keys.example"'}, ""),
    ],
)
def test_a_shop_of_a_number_that_signs_with_a_private_key(monkeypatch, keys, problem):
    """Its platform needs no secret; what the keys are is checked at once."""
    keyed_shop.install(monkeypatch)
    toml = store(**{"platform": '"keyed"', "webhook_secrets": None} | keys)
    if problem:
        assert problem in only_problem(toml)
    else:
        chosen = loaded(toml).stores["acme"]
        assert chosen.key_addresses == ("https://keys.example" if "more" in keys else keyed_shop.ADDRESS,)


def test_a_stores_secret_takes_the_place_of_the_platforms_keys(monkeypatch):
    """Its webhooks are signed with one of the two."""
    keyed_shop.install(monkeypatch)
    chosen = loaded(store(platform='"keyed"', shop='"7"')).stores["acme"]
    assert (chosen.webhook_secrets, chosen.webhook_keys) == (("shh-webhook",), ())


def test_public_keys_belong_to_platforms_that_have_some():
    """A store of another one would wait for them in vain."""
    line = only_problem(store(more='webhook_keys = "https://keys.example"'))
    assert line == "stores.acme.webhook_keys: platform shopify signs with a secret; set webhook_secrets instead"


def test_reconcile_needs_api():
    """Reconciling without keys to the shop's API is a problem."""
    assert only_problem(store(reconcile='"15m"')) == "stores.acme.reconcile: needs the shop's keys in [stores.acme.api]"


def test_reconcile_does_not_ask_a_shop_all_the_time():
    """A minute is the least."""
    api = "api = { access_token = '${TOKEN}' }"
    assert "at least" in only_problem(store(more=api, reconcile='"59s"'))
    assert loaded(store(more=api, reconcile='"1m"')).stores["acme"].reconcile == timedelta(minutes=1)


# Signals


@pytest.mark.parametrize(
    ("signals", "holds"), [("{}", (20, 5)), ('{ hold_order = "240s", hold_checkout = "0s" }', (0, 240))]
)
def test_signals(signals, holds):
    """The table's presence is what switches signals on; both waits have a default."""
    found = loaded(store(more=f"signals = {signals}")).stores["acme"].signals
    assert (found.hold_checkout.total_seconds(), found.hold_order.total_seconds()) == holds
    assert loaded(store()).stores["acme"].signals is None
    assert loaded(store() + "[defaults.signals]\n").stores["acme"].signals


@pytest.mark.parametrize(("more", "place"), [("signals = {}", "stores.acme"), ("[defaults.signals]", "defaults")])
def test_signals_are_refused_where_no_browser_sends_any(more, place):
    """WooCommerce's orders carry what its browsers know; waiting there would be for nothing."""
    line = only_problem(store(platform='"woocommerce"', shop='"acme.example"', more=more))
    assert line.startswith(f"{place}.signals: not supported with woocommerce")


# TikTok's own app on the same pixel

OFF = 'order_paid = "", checkout_started = ""'


def official(events=""):
    return store(browser_pixel='"official"', more=f"events = {{ {events} }}")


def test_official_refuses_what_the_app_sends_too():
    """Payments and checkouts would count twice: refused at start, with what to do."""
    assert problems(official()) == [
        f"stores.acme.events.{milestone}: TikTok's own app sends this too, with random event_ids, so it would count "
        f'twice; switch the app\'s data sharing off and set browser_pixel = "none", or set {milestone} = ""'
        for milestone in ("order_paid", "checkout_started")
    ]
    assert only_problem(official('order_paid = ""')).startswith("stores.acme.events.checkout_started: ")
    assert only_problem(official('checkout_started = ""')).startswith("stores.acme.events.order_paid: ")
    assert only_problem(official('order_paid = "MySale", checkout_started = ""')).startswith(
        "stores.acme.events.order_paid: "
    )


@each_row("name", ["Purchase", "CompletePayment", "InitiateCheckout"])
@each_row("milestone", ["order_placed", "customer_registered"])
@each_row("form", ['"{}"', '["Subscribe", "{}"]'])
def test_official_refuses_the_app_s_names_for_any_milestone(name, milestone, form):
    """Under such a name a placed order is as good as a paid one."""
    line = only_problem(official(f"{OFF}, {milestone} = {form.format(name)}"))
    assert line.startswith(f"stores.acme.events.{milestone}: TikTok's own app sends this too")


def test_official_is_taken_with_these_off():
    """The connector may send what the app does not send; without the app nothing is refused."""
    assert loaded(official(OFF)).stores["acme"].browser_pixel == "official"
    assert loaded(official(f'{OFF}, order_placed = ["PlaceAnOrder", "Subscribe"]'))
    for other in ("none", "snippet", "own"):
        assert loaded(store(browser_pixel=f'"{other}"'))


# Stores beside each other


TWO = {"shop": '"two.myshopify.com"'}


def test_same_shop_and_pixel():
    """Two stores of one shop and pixel are a problem; of one shop or one pixel alone they are not."""
    assert only_problem(store("one") + store("two")).startswith("stores.two: the same shop and pixel as stores.one")
    both = '["two.myshopify.com", "acme.myshopify.com"]'
    assert "the same shop and pixel" in only_problem(store("one") + store("two", shop=both))
    assert loaded(store("one") + store("two", pixel=f'"{OTHER_CODE}"'))
    assert loaded(store("one") + store("two", **TWO))


@pytest.mark.parametrize("kind", ["order", "checkout", "customer"])
def test_equal_templates_on_one_pixel(kind):
    """Two stores on one pixel whose ids could be equal are a problem; on two pixels they are not."""
    more = f'event_id = {{ {kind} = "x-{{order_id}}" }}'
    line = only_problem(store("one", more=more) + store("two", more=more, **TWO))
    assert line.startswith(f"stores.two.event_id.{kind}: may make the same id as stores.one's on the same pixel")
    assert loaded(store("one", more=more) + store("two", more=more, pixel=f'"{OTHER_CODE}"', **TWO))


@each_row(
    ("one", "two", "clash"),
    [
        ("{order_id}", "{order_number}", True),
        ("a-{order_id}", "a-b-{order_id}", True),
        ("a-{order_id}", "b-{order_id}", False),
        ("acme-order-{order_id}", "acme-eu-order-{order_id}", False),
        ("{order_id}-a", "{order_id}-b", False),
        ("{order_id}-a", "x{order_id}", True),
    ],
)
def test_templates_that_may_meet_on_one_pixel(one, two, clash):
    """Only fixed text at their beginnings or ends keeps the ids of two stores apart."""
    toml = store("one", more=f'event_id = {{ order = "{one}" }}') + store(
        "two", more=f'event_id = {{ order = "{two}" }}', **TWO
    )
    if clash:
        assert "may make the same id" in only_problem(toml)
    else:
        assert loaded(toml)


def test_faulty_stores_do_not_clash():
    """Stores without usable pixel and shop are not accused of sharing them."""
    toml = store("one", pixel='"x"', shop="1") + store("two", pixel='"x"', shop="1")
    assert not any("same" in line for line in problems(toml))


FUNNEL = "[stores.acme.funnel]\n"


def test_a_funnel_has_the_usual_names():
    """The table's presence turns it on; each step has a switch of its own."""
    funnel = loaded(store(more=FUNNEL + 'searched = ""\ncart_added = ["AddToCart", "Basket"]')).stores["acme"].funnel
    assert funnel.events == {
        "product_viewed": ("ViewContent",),
        "cart_added": ("AddToCart", "Basket"),
        "payment_info_added": ("AddPaymentInfo",),
    }
    assert loaded(store()).stores["acme"].funnel is None


@each_row("name", ["Purchase", "PlaceAnOrder", "CompletePayment", "InitiateCheckout", "Registration"])
def test_a_browser_reports_no_order(name):
    """Anybody can post a browser's event, so it must never be counted as an order or a registration."""
    line = only_problem(store(more=FUNNEL + f'cart_added = "{name}"'))
    assert line.startswith(f"stores.acme.funnel.cart_added: {name} ")
    assert "a browser alone must never report" in line


def test_a_browser_reports_no_event_of_the_stores_own_orders():
    line = only_problem(store(more='events = { order_paid = "Sale" }\n' + FUNNEL + 'searched = ["Search", "Sale"]'))
    assert line.startswith("stores.acme.funnel.searched: Sale is the event of order_paid")


def test_a_funnel_beside_tiktoks_own_app_counts_twice():
    events = 'events = { order_placed = "", order_paid = "", checkout_started = "" }\n'
    line = only_problem(store(more='browser_pixel = "official"\n' + events + FUNNEL))
    assert line.startswith("stores.acme.funnel: TikTok's own app sends these too")
