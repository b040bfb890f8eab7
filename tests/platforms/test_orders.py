"""Under which names orders are sent, to which pixels, and when: on realistic bodies of each platform."""

from datetime import UTC, datetime, timedelta

import pytest

from connector.config.settings import load
from connector.core.store import Pixel
from connector.intake.intake import Intake
from connector.outbox.lanes import Lane
from connector.plugin.testing.bench import handle_request
from connector.privacy.requests import DataRequestStore
from tests.support.factories import CODE, OTHER_CODE
from tests.support.platforms import PLATFORMS
from tests.support.rows import each_row
from tests.support.sample_bodies import (
    BOTH,
    CHECKOUT,
    NOW,
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
    sample,
    see,
    signed,
)

each_platform = pytest.mark.parametrize("store", BOTH, ids=lambda store: store.platform)


def called(store, **events):
    """The store with other event names; a text is one name, "" is off."""
    chosen = {key: (name,) if isinstance(name, str) else tuple(name) for key, name in events.items()}
    return choose(store, events={**store.events, **{key: tuple(filter(None, name)) for key, name in chosen.items()}})


def ordering(store, **choices):
    return choose(store, "orders", **choices)


def taken(outbox, store, *deliveries):
    """What each delivery came to, and the (event, event_id) that wait for TikTok afterwards."""
    intake = Intake({store.name: store}, PLATFORMS, outbox, DataRequestStore(outbox.database), lambda: NOW)
    outcomes = [handle_request(intake, store, signed(store, topics, body)) for topics, body in deliveries]
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
@each_row(
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
def test_of_two_milestones_under_one_name_the_first_wins_across_webhooks(store, outbox):
    store = called(store, order_placed="Purchase")
    outcomes, waiting = taken(
        outbox, store, (PLACED, sample(store, PLACED)), (PAID, sample(store)), (PAID, sample(store))
    )
    assert outcomes[0] == "relayed"
    assert waiting == [("Purchase", f"acme-order-{journey().order_id}")]


@each_platform
def test_placed_and_paid_across_webhooks_are_two_events(store, outbox):
    _, waiting = taken(outbox, store, (PAID, sample(store)), (PLACED, sample(store, PLACED)))
    event_id = f"acme-order-{journey().order_id}"
    assert sorted(waiting) == [("PlaceAnOrder", event_id), ("Purchase", event_id)]


@pytest.mark.parametrize("left", ["current_total_price", "total"])
def test_what_was_stored_first_stays(left, outbox):
    """An order that is edited or refunded after its events were stored is not sent again, nor otherwise."""
    store = SHOPIFY if left == "current_total_price" else WOOCOMMERCE
    body = sample(store)
    edited = {**body, left: "1.00", **({f"{left}_set": None} if store is SHOPIFY else {})}
    outcomes, waiting = taken(outbox, store, (PAID, body), (PAID, edited))
    assert outcomes == ["relayed", "duplicate"]
    assert len(waiting) == 2
    assert str(item(store, edited)["properties"]["value"]) == "1.00"


# --- placed and paid ------------------------------------------------------------------------------------------


@each_row(
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


@each_row(
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


# --- pixels and ages ------------------------------------------------------------------------------------------


@each_platform
def test_every_pixel_gets_every_event(store, outbox):
    store = choose(store, pixels=(Pixel(CODE, "t"), Pixel(OTHER_CODE, "t")))
    seen = see(store, PAID, sample(store))
    assert [(mapped.pixel.code, mapped.event) for mapped in seen.events] == [
        *((CODE, "PlaceAnOrder"), (OTHER_CODE, "PlaceAnOrder"), (CODE, "Purchase"), (OTHER_CODE, "Purchase"))
    ]
    assert len({mapped.payload for mapped in seen.events}) == 2
    _, waiting = taken(outbox, store, (PAID, sample(store)))
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
    (pixel,) = store.pixels
    assert store.age_limit("Purchase", pixel) == store.age_limit("CompleteRegistration", pixel) == timedelta(hours=2)


def test_a_registration_under_an_order_s_name_has_the_order_s_age():
    store = called(choose(SHOPIFY, browser_pixel="own"), customer_registered="Purchase")
    assert store.age_limit("Purchase", store.pixels[0]) == timedelta(hours=47)
