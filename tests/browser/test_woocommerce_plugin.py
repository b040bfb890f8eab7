"""The printed WooCommerce plugin under PHP: it writes what the server reads, and says what the server says."""

import re
import subprocess
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from connector.core.store import EventIdTemplates, Pixel
from platforms.woocommerce import snippet as plugin_package
from tests.browser.plugin import (
    BANNER,
    CART,
    CLICK,
    COOKIES,
    ON_DELIVERY,
    PAID,
    PERSON,
    PLACING,
    REFUSED,
    TTP,
    UNPAID,
    order,
    pairs,
    recorded,
    recorded_orders,
    told,
    webhook_of,
)
from tests.browser.server_side import CODE, NOW, OTHER, WOOCOMMERCE, choose, examined, served
from tests.support.snippets import snippet

ORDERS = recorded_orders()
CONSENTING = choose(
    choose(WOOCOMMERCE, consent="required"), "consent_source", key="tiktok_consent", granted=("ja", "yes")
)
EVERY_KIND = choose(WOOCOMMERCE, "orders", include=("web", "app", "pos", "api", "staff", "renewal"))


def server_pairs(store, body, topic="order.updated"):
    return {(name, item["event_id"]) for name, item in served(store, topic, body).items()}


def meta(report):
    return {row["key"]: row["value"] for row in report["meta"]}


@pytest.mark.parametrize(
    "source", sorted(Path(plugin_package.__file__).parent.glob("*.php")), ids=lambda path: path.name
)
def test_php_can_read_each_source(php, source):
    """So that an editor or linter can."""
    done = subprocess.run([php, "-n", "-l", source], capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("with_official_plugin", [False, True])
def test_php_can_read_it(php, tmp_path, with_official_plugin):
    """php -l; and nothing in it is newer than PHP 7.4."""
    file = tmp_path / "tiktok-connector.php"
    code = snippet(WOOCOMMERCE, "woocommerce", with_official_plugin=with_official_plugin)
    file.write_text(code)
    done = subprocess.run([php, "-n", "-l", file], capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stdout
    newer = r"\bmatch\s*\(|\?->|\bstr_(contains|starts_with|ends_with)\b|\benum\b|\breadonly\b|#\[|\barray_is_list\b"
    assert not re.search(newer, code)


# --- orders ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ORDERS)
@pytest.mark.parametrize("store", [WOOCOMMERCE, EVERY_KIND], ids=["web", "every kind"])
def test_an_orders_page_says_what_its_webhook_says(plugin, name, store):
    """Events, ids, value, currency, contents, hashes of each recorded order; nothing where it is skipped."""
    page = told(plugin(store).thanks(ORDERS[name]))
    items = served(store, "order.updated", ORDERS[name])
    assert pairs(page) == {(event, item["event_id"]) for event, item in items.items()}
    for item in items.values():
        assert page["properties"] == item["properties"]
        user = item["user"]
        assert page["user"].get("email") == user.get("email")
        assert page["user"].get("external_id") == user.get("external_id")
        assert page["user"].get("phone_number") in (None, user.get("phone"))


def test_lines_are_read_as_the_server_reads_them(plugin):
    """HTML in a name, a deleted product, a fraction of one, and a bundle that stands for its parts."""
    like = ORDERS[next(name for name in ORDERS if name.startswith(ON_DELIVERY))]["line_items"][0]
    lines = [
        {**like, "name": "Gift &amp; Wrap <b>Deluxe</b> &#039;x&#039; &eacute; 🎁"},
        {**like, "sku": None, "product_id": 0, "variation_id": 7, "quantity": 3, "total": "10.00"},
        {**like, "quantity": 0.5},
        {**like, "bundled_by": 1, "meta_data": [{"id": 1, "key": "_bundled_by", "value": "abc"}]},
        {**like, "composite_parent": 1, "meta_data": [{"id": 1, "key": "_composite_parent", "value": "abc"}]},
        {**like, "sku": "", "product_id": 0},
    ]
    body = {**order(ON_DELIVERY), "line_items": lines}
    item = served(WOOCOMMERCE, "order.updated", body)["PlaceAnOrder"]
    assert told(plugin().thanks(body))["properties"] == item["properties"]
    assert [one["content_id"] for one in item["properties"]["contents"]] == ["LIN-001", "7", "LIN-001"]


CHOICES = [
    ("orders", {"paid_when_placed": ("cod",)}),
    ("orders", {"paid_when_placed": ("Direct bank transfer",)}),
    ("orders", {"paid_statuses": ("processing", "completed")}),
    ("orders", {"placed_statuses": ("processing",)}),
    ("orders", {"placed_statuses": ("on-hold",), "paid_statuses": ("completed",)}),
    ("orders", {"placed_statuses": ("pending", "failed")}),
    ("orders", {"exclude_gateways": ("COD",)}),
    ("orders", {"exclude_email_domains": ("example.com",)}),
    ("orders", {"exclude_zero": True}),
    ("mapping", {"value": "items"}),
    ("mapping", {"value": "items", "value_excludes": ("tax",)}),
    ("mapping", {"value_excludes": ("tax",)}),
    ("mapping", {"value_excludes": ("shipping", "fees", "tips")}),
    ("mapping", {"value_excludes": ("tax", "shipping", "duties", "gift_cards")}),
    ("mapping", {"content_id": "variant_id"}),
    ("mapping", {"content_id": "product_id"}),
    ("mapping", {"content_id": "wc_{product_id}_{variant_id}"}),
    ("mapping", {"content_id": "gla_{item_id}"}),
    ("events", {"order_placed": ("Purchase",)}),
    (
        None,
        {
            "event_id": EventIdTemplates(
                "{order_number} {meta:is_vat_exempt}</script>", "{checkout_token}", "{customer_id}"
            ),
            "external_id": "{meta:is_vat_exempt}{customer_id}",
        },
    ),
]
TRIED = [
    name
    for name in ORDERS
    if name[:3] in {"026", "028", "031", "035", "068", "085", "090", "146", "148", "152", "154", "159"}
]


@pytest.mark.parametrize(("table", "changes"), CHOICES, ids=str)
def test_the_stores_choices_count_here_too(plugin, table, changes):
    """Statuses, exclusions, values, ids: what the server makes of an order, its page says."""
    if table == "events":
        store = replace(EVERY_KIND, events={**EVERY_KIND.events, **changes})
    else:
        store = choose(EVERY_KIND, table, **changes)
    bodies, sent = [{**ORDERS[name], "prices_include_tax": with_tax} for name in TRIED for with_tax in (False, True)], 0
    for body, report in zip(bodies, plugin(store).thanks_for(bodies), strict=True):
        page, items = told(report), served(store, "order.updated", body)
        assert pairs(page) == {(event, item["event_id"]) for event, item in items.items()}, body["id"]
        sent += len(items)
        for item in items.values():
            assert page["properties"] == item["properties"], body["id"]
            assert page["user"].get("external_id") == item["user"].get("external_id")
    assert sent or "example.com" in str(changes)


def test_no_value_is_negative(plugin):
    """Where a gift card, a negative fee here, paid for shipping, too."""
    store, whole = choose(WOOCOMMERCE, "mapping", value_excludes=("shipping",)), order(ON_DELIVERY)
    card = {"id": 9, "name": "Gift card", "total": f"-{whole['total']}", "total_tax": "0.00"}
    body = {**whole, "total": "0.00", "fee_lines": [card]}
    assert float(whole["shipping_total"]) > 0
    (sent,) = served(store, "order.updated", body).values()
    assert told(plugin(store).thanks(body))["properties"]["value"] == sent["properties"]["value"] == 0


def test_a_reload_tells_nothing_again(plugin):
    """Once per order and event; what was unpaid at first and is paid at a later look is told then."""
    printed = plugin()
    first = printed.thanks(order(ON_DELIVERY))
    assert told(first)["names"] == ["PlaceAnOrder"]
    assert first["saved"] == 1
    again = {**order(ON_DELIVERY), "meta_data": first["meta"]}
    reload = printed.thanks(again)
    assert told(reload) is None
    assert reload["saved"] == 0
    paid = {**again, "date_paid_gmt": again["date_created_gmt"]}
    assert told(printed.thanks(paid))["names"] == ["Purchase"]


def test_without_the_pixel_only_the_server_is_told(plugin):
    """For a shop whose browsers say nothing to TikTok, or by a pixel of its own: action and order meta all the same."""
    printed = plugin(with_pixel=False)
    checkout = printed.checks_out(cart=CART, cookies=COOKIES)
    assert len(checkout["fired"]) == 1
    assert told(checkout) is None
    thanks = printed.thanks(order(ON_DELIVERY))
    assert told(thanks) is None
    assert thanks["saved"] == 0
    written = printed.run(["woocommerce_checkout_create_order", "ORDER"], order=order(UNPAID), cookies=COOKIES)
    assert meta(written)["_tiktok_ttclid"] == CLICK


def test_an_old_order_is_not_told(plugin):
    """After 47 hours TikTok has forgotten the server's copy and would count a second one."""
    assert told(plugin().thanks({**order(ON_DELIVERY), "date_created_gmt": "2020-01-01T00:00:00"})) is None


def test_an_order_that_is_not_there_costs_nothing(plugin):
    """A wrong id on the thank-you hook."""
    report = plugin().run(["woocommerce_thankyou", 999], ["wp_footer"], order=order(PAID))
    assert told(report) is None


def test_all_pixels_are_told_and_nothing_secret_is(plugin):
    """Pixel codes are public; tokens and webhook secrets are not."""
    pixels = (Pixel(CODE, "token-one-123"), Pixel(OTHER, "token-two-123"))
    page = told(plugin(replace(WOOCOMMERCE, pixels=pixels)).thanks(order(ON_DELIVERY)))
    assert page["pixels"] == [CODE, OTHER]


# --- signals --------------------------------------------------------------------------------------------------


def test_the_classic_checkout_writes_what_the_server_reads(plugin):
    """Click id, browser id and consent are the server's after its own reading; the order is saved by WooCommerce."""
    report = plugin(CONSENTING).run(
        ["woocommerce_checkout_create_order", "ORDER", {}], order=order(UNPAID), cookies=COOKIES, consent=BANNER
    )
    assert report["saved"] == 0
    body = {**order(UNPAID), "meta_data": report["meta"]}
    user = served(CONSENTING, "order.created", body)["PlaceAnOrder"]["user"]
    assert (user["ttclid"], user["ttp"]) == (CLICK, TTP)


def test_the_block_checkout_writes_it_once(plugin):
    """The order is saved there by us, and only if something changed: each save is a webhook."""
    hook = ["woocommerce_store_api_checkout_update_order_meta", "ORDER"]
    report = plugin().run(hook, hook, order=order(ON_DELIVERY), cookies=COOKIES)
    assert report["saved"] == 1
    assert meta(report)["_tiktok_ttclid"] == CLICK


def test_the_official_plugins_click_id_is_read_too(plugin):
    """Its cookie is tiktok_ttclid; ours comes first."""
    hook = ["woocommerce_checkout_create_order", "ORDER"]
    report = plugin().run(hook, order=order(UNPAID), cookies={"tiktok_ttclid": "E.C.P.theirs"})
    assert meta(report)["_tiktok_ttclid"] == "E.C.P.theirs"
    assert "_tiktok_ttp" not in meta(report)
    report = plugin().run(hook, order=order(UNPAID), cookies={"tiktok_ttclid": "E.C.P.theirs", "ttclid": CLICK})
    assert meta(report)["_tiktok_ttclid"] == CLICK


@pytest.mark.parametrize("cookie", ["<script>", "a b", "é", "x" * 4001, ["a"], ""])
def test_a_cookie_that_is_no_id_is_not_taken(plugin, cookie):
    """Whoever can set cookies writes nothing else into orders."""
    hook = ["woocommerce_checkout_create_order", "ORDER"]
    report = plugin().run(hook, order=order(UNPAID), cookies={"ttclid": cookie, "_ttp": cookie})
    written = {key for key in meta(report) if key.startswith("_tiktok")} - {"_tiktok_customer_type"}
    assert written == ({"_tiktok_ttclid", "_tiktok_ttp"} if cookie == "<script>" else set())


def test_a_customer_gets_it_without_underscores(plugin):
    """Customers' meta with a leading underscore never reaches a webhook."""
    report = plugin(CONSENTING).run(["woocommerce_created_customer", 7], cookies=COOKIES, consent=BANNER)
    written = {
        key: value for key, value in report["users"]["7"].items() if key not in ("tiktok_ip", "tiktok_user_agent")
    }
    assert written == {"tiktok_ttclid": CLICK, "tiktok_ttp": TTP, "tiktok_consent": "ja"}


def test_a_registration_knows_ip_and_browser(plugin):
    """Of the visitor who registers; not of the program or the administrator who creates a customer."""
    report = plugin().run(["woocommerce_created_customer", 7])
    told_meta = [{"id": n, "key": key, "value": value} for n, (key, value) in enumerate(report["users"]["7"].items())]
    body = {**recorded("096"), "meta_data": told_meta}
    user = served(WOOCOMMERCE, "customer.created", body)["CompleteRegistration"]["user"]
    assert (user["ip"], user["user_agent"]) == ("8.8.4.4", "Mozilla/5.0 (Linux; Android 15) Example/1.0")
    for case in ({"person": {"id": 1}}, {"consent": REFUSED}):
        assert plugin().run(["woocommerce_created_customer", 7], **case)["users"] == []


def test_the_block_checkout_writes_when_the_order_was_placed(plugin):
    """The draft's date of creation stays the order's; a second try at paying changes nothing."""
    old = {**order(ON_DELIVERY), "date_created_gmt": "2026-11-01T08:00:00"}
    report = plugin().run([PLACING[1], "ORDER"], [PLACING[1], "ORDER"], order=old)
    assert report["saved"] == 1
    assert float(meta(report)["_tiktok_placed_at"]) == pytest.approx(time.time(), abs=60)
    changed = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    body = {**old, "meta_data": report["meta"], "date_modified_gmt": changed}
    (event,) = examined(WOOCOMMERCE, "order.updated", body).events
    assert event.occurred_at == NOW  # of this test's server: a later time becomes now
    assert told(plugin().thanks(body))["names"] == ["PlaceAnOrder"]
    typed_in = plugin().run([PLACING[1], "ORDER"], order={**old, "created_via": "admin"})
    assert "_tiktok_placed_at" not in meta(typed_in)


@pytest.mark.parametrize("copy", ["subscription", "renewal_order", "resubscribe_order"])
def test_renewals_get_none_of_it(plugin, copy):
    """Both forms in which WooCommerce Subscriptions hands meta over."""
    ours = {
        "_tiktok_placed_at": "1764300000",
        "_tiktok_ttclid": CLICK,
        "_tiktok_ttp": TTP,
        "_tiktok_connector_sent": "[]",
        "tiktok_consent": "ja",
    }
    rows = [{"meta_key": key, "meta_value": value} for key, value in {**ours, "kept": "1"}.items()]
    report = plugin(CONSENTING).run(
        [f"filter:wc_subscriptions_{copy}_data", {**ours, "kept": "1"}], [f"filter:wcs_{copy}_meta", rows]
    )
    assert report["filtered"][0] == {"kept": "1"}
    assert [*report["filtered"][1].values()] == [{"meta_key": "kept", "meta_value": "1"}]


def test_the_landing_page_is_remembered(plugin):
    """Percent-encoded or not, byte for byte; not what cannot be a click id."""
    assert plugin().run(["template_redirect"], get={"ttclid": CLICK})["cookies"] == {"ttclid": CLICK}
    assert plugin().run(["template_redirect"], get={"ttclid": ["x"]})["cookies"] == []
    assert plugin(CONSENTING).run(["template_redirect"], get={"ttclid": CLICK})["cookies"] == []
    assert plugin(CONSENTING).run(["template_redirect"], get={"ttclid": CLICK}, consent=BANNER)["cookies"]


# --- consent --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("store", [WOOCOMMERCE, CONSENTING], ids=["not required", "required"])
def test_a_refusal_leaves_nothing_but_itself(plugin, store):
    """No action, no event, no click id; the order says no where the store has a key for it."""
    case = {"consent": REFUSED, "cookies": COOKIES}
    checkout = plugin(store).checks_out(cart=CART, **case)
    assert not checkout["fired"]
    assert told(checkout) is None
    written = plugin(store).run(["woocommerce_checkout_create_order", "ORDER"], order=order(UNPAID), **case)
    key = store.consent_source.key
    assert {k: v for k, v in meta(written).items() if "tiktok" in k and v != ""} == ({key: "no"} if key else {})
    body = {**order(UNPAID), "meta_data": written["meta"]}
    assert told(plugin(store).thanks(body, **case)) is None
    if key:
        assert not examined(store, "order.created", body).events
    assert plugin(store).run(["template_redirect"], get={"ttclid": CLICK}, consent=REFUSED)["cookies"] == []


def test_a_yes_reaches_the_server_with_the_order_and_the_checkout(plugin):
    """Under the store's own key, in the store's own word."""
    case = {"consent": BANNER, "cookies": COOKIES}
    checkout = plugin(CONSENTING).checks_out(cart=CART, person=PERSON, **case)
    assert server_pairs(CONSENTING, webhook_of(checkout), "action.wc_tiktok_initiate_checkout") == pairs(told(checkout))
    hook = ["woocommerce_store_api_checkout_update_order_meta", "ORDER"]
    written = plugin(CONSENTING).run(hook, order=order(PAID), **case)
    body = {**order(ON_DELIVERY), "meta_data": written["meta"]}
    assert pairs(told(plugin(CONSENTING).thanks(body))) == server_pairs(CONSENTING, body)


@pytest.mark.parametrize(
    ("consent", "country", "banner", "sent"),
    [
        ("required", "US", None, False),
        ("required", "US", {"type": "", "given": []}, False),
        ("required_in_europe", "US", None, True),
        ("required_in_europe", "DE", None, False),
        ("required_in_europe", "DE", BANNER, True),
        ("not_required", "DE", None, True),
    ],
)
def test_without_an_answer_the_stores_rule_decides(plugin, consent, country, banner, sent):
    """A banner that has no type answers yes to everything, which is no answer."""
    store = choose(WOOCOMMERCE, consent=consent)
    body = order(ON_DELIVERY)
    body["shipping"] = {**body["shipping"], "country": country}
    assert bool(told(plugin(store).thanks(body, consent=banner))) == sent


# --- TikTok's own plugin --------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_official_plugin", [False, True])
def test_the_official_plugin_leaves_orders_to_us(plugin, with_official_plugin):
    """Purchase and InitiateCheckout are unhooked where that is asked for; AddToCart, ViewContent and Pageview stay."""
    hooks = (
        "woocommerce_payment_complete",
        "woocommerce_thankyou",
        "woocommerce_after_checkout_form",
        "woocommerce_blocks_checkout_enqueue_data",
        "woocommerce_add_to_cart",
        "woocommerce_before_single_product_summary",
        "wp_head",
    )
    printed = plugin(with_official_plugin=with_official_plugin)
    html = printed.run(*([hook, 999] for hook in hooks), official=True)["html"]
    kept = ["inject_add_to_cart_event", "inject_view_content_event", "print_script"]
    orders = ["inject_purchase_event"] * 2 + ["inject_initiate_checkout_event"] * 2
    assert re.findall(r"official (\w+)", html) == ([] if with_official_plugin else orders) + kept
