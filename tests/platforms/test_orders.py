"""Which orders are sent, under which names and ids, and when: on realistic bodies of each platform."""

from datetime import UTC, datetime, timedelta

import pytest

from connector.config.settings import load
from connector.core.store import ORDER_KINDS, EventIdTemplates, Pixel
from connector.intake.intake import Intake
from connector.outbox.lanes import Lane
from connector.outbox.outbox import Outbox
from connector.privacy.requests import DataRequestStore
from connector.storage.database import Database
from platforms import PLATFORMS
from tests.support.bodies import (
    BOTH,
    CHECKOUT,
    CODE,
    NOW,
    OTHER,
    PAID,
    PLACED,
    REGISTERED,
    SHOPIFY,
    WOOCOMMERCE,
    choose,
    item,
    items,
    journey,
    names,
    reasons,
    row,
    sample,
    see,
    shopify_order,
    signed,
    woo_row,
    woocommerce_order,
)

each_platform = pytest.mark.parametrize("store", BOTH, ids=lambda store: store.platform)


def called(store, **events):
    """The store with other event names; a text is one name, "" is off."""
    chosen = {key: (name,) if isinstance(name, str) else tuple(name) for key, name in events.items()}
    return choose(store, events={**store.events, **{key: tuple(filter(None, name)) for key, name in chosen.items()}})


def ordering(store, **choices):
    return choose(store, "orders", **choices)


@pytest.fixture
def sqlite_outbox(migrated_sqlite, tmp_path):
    import shutil

    from connector.storage.engine import connect

    shutil.copy(migrated_sqlite, tmp_path / "connector.db")
    engine = connect(f"sqlite:///{tmp_path / 'connector.db'}")
    yield Outbox(Database(engine))
    engine.dispose()


def taken(outbox, store, *deliveries):
    """What each delivery came to, and the (event, event_id) that wait for TikTok afterwards."""
    intake = Intake({store.name: store}, PLATFORMS, outbox, DataRequestStore(outbox.database), lambda: NOW)
    outcomes = [intake.take(store, signed(store, topics, body)) for topics, body in deliveries]
    waiting = [
        (claimed.event, claimed.event_id)
        for pixel in store.pixels
        for claimed in outbox.claim(Lane(store.name, pixel.code), 100, "test", NOW.timestamp() + 100, 60)
    ]
    return outcomes, waiting


# --- event names ----------------------------------------------------------------------------------------------


@each_platform
def test_placed_and_paid_are_two_events_by_default_each_with_the_value(store):
    placed, paid = items(see(store, PAID, sample(store)))
    assert [placed["event"], paid["event"]] == ["PlaceAnOrder", "Purchase"]
    assert placed["event_id"] == paid["event_id"]
    assert placed["properties"] == paid["properties"]
    assert names(see(store, PLACED, sample(store, PLACED))) == ["PlaceAnOrder"]
    assert names(see(store, CHECKOUT, sample(store, CHECKOUT))) == ["InitiateCheckout"]
    assert names(see(store, REGISTERED, sample(store, REGISTERED))) == ["CompleteRegistration"]


@each_platform
@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ({"order_placed": ""}, ["Purchase"]),
        ({"order_placed": "", "order_paid": ""}, []),
        ({"order_placed": ["PlaceAnOrder", "Subscribe"]}, ["PlaceAnOrder", "Subscribe", "Purchase"]),
        ({"order_placed": "Purchase", "order_paid": ""}, ["Purchase"]),
        ({"order_placed": "Purchase"}, ["Purchase"]),
        ({"order_placed": ["Purchase", "PlaceAnOrder"]}, ["Purchase", "PlaceAnOrder"]),
    ],
)
def test_a_name_several_or_off(store, events, expected):
    seen = see(called(store, **events), PAID, sample(store))
    assert names(seen) == expected
    assert reasons(seen) == [f"events.{key} is off" for key in events if events[key] == ""]


@each_platform
def test_of_two_milestones_under_one_name_the_first_wins(store):
    (mapped,) = see(called(store, order_placed="Purchase"), PAID, sample(store)).events
    assert mapped.milestone == "order_placed"
    assert mapped.occurred_at == journey().order_at


@each_platform
def test_of_two_milestones_under_one_name_the_first_wins_across_webhooks(store, sqlite_outbox):
    store = called(store, order_placed="Purchase")
    outcomes, waiting = taken(
        sqlite_outbox, store, (PLACED, sample(store, PLACED)), (PAID, sample(store)), (PAID, sample(store))
    )
    assert outcomes[0] == "relayed"
    assert waiting == [("Purchase", f"acme-order-{journey().order_id}")]


@each_platform
def test_placed_and_paid_across_webhooks_are_two_events(store, sqlite_outbox):
    _, waiting = taken(sqlite_outbox, store, (PAID, sample(store)), (PLACED, sample(store, PLACED)))
    event_id = f"acme-order-{journey().order_id}"
    assert sorted(waiting) == [("PlaceAnOrder", event_id), ("Purchase", event_id)]


# --- kinds ----------------------------------------------------------------------------------------------------

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
    ({"source_name": "subscription_contract_checkout_one", "browser_ip": None}, "renewal"),
    ({"source_name": "tiktok"}, "marketplace"),
    ({"source_name": "amazon-us"}, "marketplace"),
    ({"source_name": "eBay"}, "marketplace"),
    ({"source_name": "exchange"}, "exchange"),
    ({"source_name": "return_exchange"}, "exchange"),
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


@pytest.mark.parametrize(("store", "changes", "kind"), ALL_KINDS)
def test_kinds_of_order(store, changes, kind):
    """By default web and app are sent; every other kind is, once it is included alone."""
    body = sample(store, **changes)
    default, alone = see(store, PAID, body), see(ordering(store, include=(kind,)), PAID, body)
    assert names(alone) == ["PlaceAnOrder", "Purchase"]
    if kind in ("web", "app"):
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


@pytest.mark.parametrize(
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


@pytest.mark.parametrize(
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
        return sample(store, topics, total_price="0.00", **({"total_price_set": zero} if topics is PAID else {}))
    return sample(store, topics, total="0.00")


@each_platform
@pytest.mark.parametrize("topics", [PAID, CHECKOUT], ids=["order", "checkout"])
def test_what_costs_nothing_is_excluded_if_so_chosen(store, topics):
    assert names(see(store, topics, free(store, topics))) != []
    chosen = ordering(store, exclude_zero=True)
    assert set(reasons(see(chosen, topics, free(store, topics)))) == {"the total is zero (orders.exclude_zero)"}
    assert names(see(chosen, topics, sample(chosen, topics))) != []


# --- placed and paid ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "choices", "expected"),
    [
        ("pending", {}, ["PlaceAnOrder"]),
        ("authorized", {}, ["PlaceAnOrder"]),
        ("partially_paid", {}, ["PlaceAnOrder"]),
        ("paid", {}, ["PlaceAnOrder", "Purchase"]),
        ("partially_refunded", {}, ["PlaceAnOrder", "Purchase"]),
        ("refunded", {}, []),
        ("voided", {}, []),
        ("authorized", {"paid_statuses": ("authorized", "paid")}, ["PlaceAnOrder", "Purchase"]),
        ("paid", {"paid_statuses": ("authorized",)}, ["PlaceAnOrder"]),
        ("pending", {"placed_statuses": ("authorized",)}, []),
        ("authorized", {"placed_statuses": ("authorized",)}, ["PlaceAnOrder"]),
        ("paid", {"placed_statuses": ("authorized",)}, ["PlaceAnOrder", "Purchase"]),
        ("pending", {"paid_when_placed": ("SHOPIFY_payments",)}, ["PlaceAnOrder", "Purchase"]),
        ("pending", {"paid_when_placed": ("Cash on Delivery (COD)",)}, ["PlaceAnOrder"]),
        ("voided", {"paid_when_placed": ("shopify_payments",)}, []),
    ],
)
def test_placed_and_paid_in_shopify(status, choices, expected):
    store = ordering(SHOPIFY, **choices)
    seen = see(store, PLACED, sample(store, financial_status=status))
    assert names(seen) == expected
    assert bool(reasons(seen)) is not bool(expected)


NOT_PAID = {"date_paid": None, "date_paid_gmt": None}
COD = {"payment_method": "cod", "payment_method_title": "Cash on delivery"}


@pytest.mark.parametrize(
    ("changes", "choices", "expected"),
    [
        ({"status": "on-hold", **NOT_PAID}, {}, ["PlaceAnOrder"]),
        ({"status": "processing", **NOT_PAID}, {}, ["PlaceAnOrder"]),
        ({"status": "processing"}, {}, ["PlaceAnOrder", "Purchase"]),
        ({"status": "shipped"}, {}, ["PlaceAnOrder", "Purchase"]),
        ({"status": "pending", **NOT_PAID}, {}, []),
        ({"status": "pending", **NOT_PAID}, {"placed_statuses": ("pending",)}, ["PlaceAnOrder"]),
        ({"status": "failed", **NOT_PAID}, {}, []),
        ({"status": "cancelled"}, {}, []),
        ({"status": "refunded"}, {}, []),
        ({"status": "shipped", **NOT_PAID}, {"paid_statuses": ("shipped",)}, ["PlaceAnOrder", "Purchase"]),
        ({"status": "on-hold", **NOT_PAID}, {"paid_statuses": ("shipped",)}, ["PlaceAnOrder"]),
        ({"status": "processing"}, {"paid_statuses": ("shipped",)}, ["PlaceAnOrder"]),
        ({"status": "on-hold", **NOT_PAID}, {"placed_statuses": ("processing",)}, []),
        ({"status": "processing", **NOT_PAID}, {"placed_statuses": ("processing",)}, ["PlaceAnOrder"]),
        ({"status": "completed"}, {"placed_statuses": ("processing",)}, ["PlaceAnOrder", "Purchase"]),
        ({"status": "processing", **NOT_PAID, **COD}, {"paid_when_placed": ("COD",)}, ["PlaceAnOrder", "Purchase"]),
        (
            {"status": "processing", **NOT_PAID, **COD},
            {"paid_when_placed": ("cash on DELIVERY",)},
            ["PlaceAnOrder", "Purchase"],
        ),
        ({"status": "processing", **NOT_PAID, **COD}, {"paid_when_placed": ("cheque",)}, ["PlaceAnOrder"]),
        ({"status": "cancelled", **NOT_PAID, **COD}, {"paid_when_placed": ("cod",)}, []),
    ],
)
def test_placed_and_paid_in_woocommerce(changes, choices, expected):
    store = ordering(WOOCOMMERCE, **choices)
    assert names(see(store, PAID, sample(store, **changes))) == expected


def test_statuses_are_read_as_merchants_write_them():
    """With WordPress's prefix, and in any case."""
    toml = """
        [stores.acme]
        platform = "woocommerce"
        url = "https://acme.example"
        shop = "acme.example"
        webhook_secrets = ["s"]
        pixel = "CABCDEFGHIJKLMNOPQR0"
        access_token = "t"
        consent = "not_required"
        orders = { paid_statuses = ["wc-Shipped"], placed_statuses = [" On-Hold "] }
    """
    store = load({"STORES_TOML": toml}).stores["acme"]
    assert names(see(store, PAID, sample(store, status="shipped", **NOT_PAID))) == ["PlaceAnOrder", "Purchase"]
    assert names(see(store, PAID, sample(store, status="on-hold", **NOT_PAID))) == ["PlaceAnOrder"]


def test_when_paid_has_no_time_of_its_own_it_is_the_order_s_never_the_update_s():
    late = {"date_modified_gmt": "2026-11-23T15:00:00", "date_created_gmt": "2026-11-01T08:00:00"}
    ordered = datetime(2026, 11, 1, 8, tzinfo=UTC)
    store = ordering(WOOCOMMERCE, paid_statuses=("shipped",))
    paid = see(store, PAID, sample(store, status="shipped", **NOT_PAID, **late)).events[1]
    assert (paid.event, paid.occurred_at) == ("Purchase", ordered)
    store = ordering(SHOPIFY, paid_statuses=("authorized",))
    body = sample(store, financial_status="authorized", created_at="2026-11-01T08:00:00Z", updated_at=str(NOW))
    paid = see(store, "orders/updated", body, triggered_at=NOW).events[1]
    assert (paid.event, paid.occurred_at) == ("Purchase", ordered)


def test_an_unsigned_time_of_payment_is_believed_near_the_body_s_own_last_change_only():
    """Or whoever has an old body could make it a sale of today."""
    body = sample(SHOPIFY, created_at="2026-11-20T08:00:00Z", updated_at="2026-11-22T09:00:00Z")
    for told, believed in (
        ("22T09:00:03", "22T09:00:03"),
        ("22T12:59:59", "22T10:00:00"),
        ("23T15:00:00", "22T10:00:00"),
    ):
        stated = datetime.fromisoformat(f"2026-11-{told}+00:00")
        paid = see(SHOPIFY, PAID, body, triggered_at=stated).events[1]
        assert paid.occurred_at == datetime.fromisoformat(f"2026-11-{believed}+00:00")


def test_paid_has_the_moment_the_shop_states():
    stated = datetime(2026, 11, 23, 14, 30, tzinfo=UTC)
    paid = see(SHOPIFY, PAID, sample(SHOPIFY), triggered_at=stated).events[1]
    assert paid.occurred_at == stated
    paid = see(WOOCOMMERCE, PAID, sample(WOOCOMMERCE, date_paid_gmt="2026-11-23T14:30:00")).events[1]
    assert paid.occurred_at == stated


def test_test_orders_are_sent_to_test_events_only():
    """Shopify's own samples are cancelled and voided test orders."""
    body = sample(SHOPIFY, test=True, cancelled_at="2026-11-23T15:00:00Z", financial_status="voided")
    seen = see(SHOPIFY, PLACED, body)
    assert reasons(seen) == ["a test order of the shop (relayed only with a test_event_code)"]
    trying = choose(SHOPIFY, pixels=(Pixel(CODE, "t", "TEST1"),))
    assert names(see(trying, PLACED, body)) == ["PlaceAnOrder"]
    assert names(see(trying, PLACED, {**body, "test": False})) == []
    assert names(see(trying, PAID, body)) == ["PlaceAnOrder", "Purchase"]  # paid by its topic, though voided
    assert names(see(trying, "orders/updated", body)) == ["PlaceAnOrder"]


# --- pixels, ages, ids ----------------------------------------------------------------------------------------


@each_platform
def test_every_pixel_gets_every_event(store, sqlite_outbox):
    store = choose(store, pixels=(Pixel(CODE, "t"), Pixel(OTHER, "t")))
    seen = see(store, PAID, sample(store))
    assert [(mapped.pixel.code, mapped.event) for mapped in seen.events] == [
        *((CODE, "PlaceAnOrder"), (OTHER, "PlaceAnOrder"), (CODE, "Purchase"), (OTHER, "Purchase"))
    ]
    assert len({mapped.payload for mapped in seen.events}) == 2
    _, waiting = taken(sqlite_outbox, store, (PAID, sample(store)))
    assert len(waiting) == 4


@each_platform
@pytest.mark.parametrize("browser", ["none", "snippet", "own", "official"])
@pytest.mark.parametrize("topics", [PLACED, CHECKOUT, REGISTERED], ids=["order", "checkout", "registration"])
def test_what_the_browser_sends_too_has_47_hours(store, browser, topics):
    """Counted from the moment in the shop; registrations have no twin in the browser."""
    store = choose(store, browser_pixel=browser)
    body = sample(store, topics)
    (mapped,) = see(store, topics, body).events
    limit = timedelta(days=7) if browser == "none" or topics is REGISTERED else timedelta(hours=47)
    live = mapped.occurred_at - timedelta(days=1)
    assert names(see(store, topics, body, live, mapped.occurred_at + limit)) != []
    late = see(store, topics, body, live, mapped.occurred_at + limit + timedelta(seconds=1))
    assert names(late) == []
    assert reasons(late)[0].startswith("older than max_event_age" if limit.days == 7 else "older than 47h, and the")


def test_a_shorter_max_event_age_holds_for_all():
    store = choose(SHOPIFY, browser_pixel="own", max_event_age=timedelta(hours=2))
    assert store.age_limit("Purchase") == store.age_limit("CompleteRegistration") == timedelta(hours=2)


def test_a_registration_under_an_order_s_name_has_the_order_s_age():
    store = called(choose(SHOPIFY, browser_pixel="own"), customer_registered="Purchase")
    assert store.age_limit("Purchase") == timedelta(hours=47)


def ids_of(store, order="x-{order_id}", checkout="x-{checkout_token}", customer="x-{customer_id}"):
    return choose(store, event_id=EventIdTemplates(order, checkout, customer))


WAY = journey()
MARKS = {
    "shopify": {"note_attributes": [{"name": "My Key", "value": "abc"}, {"name": "n", "value": 7}]},
    "woocommerce": {"meta_data": [{"id": 1, "key": "My Key", "value": "abc"}, {"id": 2, "key": "n", "value": 7}]},
}
WORD = {"shopify": "attribute", "woocommerce": "meta"}


@pytest.mark.parametrize(
    ("store", "template", "expected"),
    [
        (SHOPIFY, "{order_id}", str(WAY.order_id)),
        (SHOPIFY, "{order_number}", str(WAY.order_number)),
        (SHOPIFY, "{order_name}", f"#{WAY.order_number}"),
        (SHOPIFY, "{checkout_token}", WAY.checkout_token),
        (SHOPIFY, "{cart_token}", WAY.cart_token),
        (SHOPIFY, "{customer_id}-{order_id}", f"{WAY.customer_id}-{WAY.order_id}"),
        (SHOPIFY, "a {attribute:My Key}!", "a abc!"),
        (SHOPIFY, "{attribute:n}", "7"),
        (SHOPIFY, "{meta:My Key}", None),
        (WOOCOMMERCE, "{order_id}", str(WAY.order_id)),
        (WOOCOMMERCE, "{order_number}", "SO-1001"),
        (WOOCOMMERCE, "{order_name}", "SO-1001"),
        (WOOCOMMERCE, "{checkout_token}", None),
        (WOOCOMMERCE, "{cart_token}", None),
        (WOOCOMMERCE, "{customer_id}-{order_id}", f"{WAY.customer_id}-{WAY.order_id}"),
        (WOOCOMMERCE, "a {meta:My Key}!", "a abc!"),
        (WOOCOMMERCE, "{meta:n}", "7"),
        (WOOCOMMERCE, "{attribute:My Key}", None),
    ],
)
def test_event_ids_of_orders(store, template, expected):
    """A placeholder that has nothing makes the event skipped, never an id that others share."""
    body = sample(store, **MARKS[store.platform], **({"number": "SO-1001"} if store is WOOCOMMERCE else {}))
    seen = see(ids_of(store, order=template), PAID, body)
    if expected is None:
        assert set(reasons(seen)) == {f"event_id template {template!r} has no value here"}
        assert not seen.events
    else:
        assert {mapped.event_id for mapped in seen.events} == {expected}


@each_platform
@pytest.mark.parametrize(("template", "missing"), [("{customer_id}", True), ("{checkout_token}", False)])
def test_event_ids_of_checkouts(store, template, missing):
    guest = {"customer": None} if store.platform == "shopify" else {"customer_id": 0}
    seen = see(ids_of(store, checkout=f"c-{template}"), CHECKOUT, sample(store, CHECKOUT, **guest))
    if missing:
        assert reasons(seen) == [f"event_id template 'c-{template}' has no value here"]
    else:
        assert [mapped.event_id for mapped in seen.events] == [f"c-{WAY.checkout_token}"]


def test_event_ids_of_checkouts_by_what_the_shop_left_there():
    store = ids_of(SHOPIFY, checkout="{cart_token}-{attribute:My Key}")
    body = sample(store, CHECKOUT, **MARKS["shopify"])
    assert [mapped.event_id for mapped in see(store, CHECKOUT, body).events] == [f"{WAY.cart_token}-abc"]
    store = ids_of(WOOCOMMERCE, checkout="{meta:visit}")
    assert item(store, sample(store, CHECKOUT, visit="v1"), CHECKOUT)["event_id"] == "v1"


@each_platform
def test_event_ids_of_registrations(store):
    store = ids_of(store, customer="r-{customer_id}")
    assert item(store, sample(store, REGISTERED), REGISTERED)["event_id"] == f"r-{WAY.customer_id}"


def test_event_ids_of_registrations_by_meta():
    store = ids_of(WOOCOMMERCE, customer="{meta:crm}")
    meta = [{"id": 1, "key": "crm", "value": "77"}]
    assert item(store, sample(store, REGISTERED, meta_data=meta), REGISTERED)["event_id"] == "77"
    assert names(see(store, REGISTERED, sample(store, REGISTERED))) == []


@each_platform
def test_one_order_has_one_event_id_in_whatever_topic_and_state(store):
    found = {
        mapped.event_id for topics in (PLACED, PAID) for mapped in see(store, topics, sample(store, topics)).events
    }
    assert found == {f"acme-order-{WAY.order_id}"}
