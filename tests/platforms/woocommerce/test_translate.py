"""Details of WooCommerce's bodies: when an order was placed, and how states are written."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.rows import each_row
from tests.support.sample_bodies import NOW, WOOCOMMERCE, properties, sample, see, user

CREATED, UPDATED = "order.created", "order.updated"


# --- when an order of the block checkout was placed ---------------------------------------------------------------


def stated(moment):
    return moment.strftime("%Y-%m-%dT%H:%M:%S")


def block_order(draft_made, modified, paid=None, meta=()):
    """An order of the block checkout: its creation is that of its draft."""
    rows = [{"id": number, "key": key, "value": value} for number, (key, value) in enumerate(meta, 1)]
    return sample(
        WOOCOMMERCE,
        created_via="store-api",
        status="processing",
        date_created_gmt=stated(draft_made),
        date_modified_gmt=stated(modified),
        date_paid_gmt=paid and stated(paid),
        meta_data=rows,
    )


def placed_at(topic, body):
    placed = see(WOOCOMMERCE, topic, body).events[0]
    assert placed.event == "PlaceAnOrder"
    return placed.occurred_at


PLACING = NOW.replace(microsecond=0) - timedelta(minutes=1)


@each_row("hours", [2, 23, 25, 30, 24 * 12])
def test_order_created_tells_when_an_old_draft_was_placed(hours):
    """It is sent once, when the order leaves its draft; WooCommerce keeps the draft's date_created_gmt."""
    body = block_order(PLACING - timedelta(hours=hours), PLACING)
    assert placed_at(CREATED, body) == PLACING
    seen = see(WOOCOMMERCE, CREATED, body, go_live=PLACING - timedelta(hours=1))
    assert [event.event for event in seen.events] == ["PlaceAnOrder"]


@pytest.mark.parametrize("topic", [CREATED, UPDATED])
def test_the_plugin_s_mark_tells_it_in_every_webhook(topic):
    """Also in a later one, and in one that comes before order.created."""
    mark = ("_tiktok_placed_at", str(int(PLACING.timestamp())))
    body = block_order(PLACING - timedelta(hours=30), PLACING + timedelta(seconds=40), meta=[mark])
    assert placed_at(topic, body) == PLACING


@each_row("mark", ["", "soon", "-5", "1e9", "9" * 30, str(int(NOW.timestamp()) + 10**8), None, 7, [1]])
def test_a_mark_that_cannot_be_a_time_is_ignored(mark):
    body = block_order(PLACING - timedelta(hours=30), PLACING, meta=[("_tiktok_placed_at", mark)])
    assert placed_at(CREATED, body) == PLACING


def test_the_visit_tells_it_without_the_plugin():
    """WooCommerce's order attribution: no order is placed before the visit that it was placed in."""
    visit = PLACING - timedelta(minutes=9)
    begun = ("_wc_order_attribution_session_start_time", visit.strftime("%Y-%m-%d %H:%M:%S"))
    assert placed_at(UPDATED, block_order(PLACING - timedelta(hours=30), PLACING, meta=[begun])) == PLACING
    later = block_order(PLACING - timedelta(days=9), PLACING, meta=[(begun[0], stated(PLACING - timedelta(days=8)))])
    assert placed_at(UPDATED, later) == PLACING - timedelta(days=8)
    wrong_clock = block_order(PLACING - timedelta(hours=2), PLACING, meta=[(begun[0], stated(NOW + timedelta(days=1)))])
    assert placed_at(UPDATED, wrong_clock) == PLACING


def test_an_update_makes_no_old_order_one_of_today():
    """Placed before the connector knew the shop, and touched now."""
    old = PLACING - timedelta(days=40)
    assert placed_at(UPDATED, block_order(old, PLACING)) == old
    paid = block_order(old, PLACING, paid=old + timedelta(minutes=2))
    assert placed_at(UPDATED, paid) == old + timedelta(minutes=2)


def test_an_order_of_the_classic_checkout_is_placed_when_it_is_created():
    body = {**block_order(PLACING - timedelta(hours=30), PLACING), "created_via": "checkout"}
    assert placed_at(CREATED, body) == PLACING - timedelta(hours=30)


moments = st.datetimes(datetime(2026, 1, 1), datetime(2026, 11, 23), timezones=st.just(UTC))


@given(moments, moments, st.none() | moments, st.none() | moments, st.sampled_from([CREATED, UPDATED]))
def test_an_order_is_never_placed_before_its_draft_nor_after_its_last_change(made, changed, paid, visit, topic):
    made, changed = (min(made, changed).replace(microsecond=0), max(made, changed).replace(microsecond=0))
    meta = [("_wc_order_attribution_session_start_time", stated(visit))] if visit else []
    assert made <= placed_at(topic, block_order(made, changed, paid, meta)) <= changed


# --- states -------------------------------------------------------------------------------------------------------


@each_row(
    ("country", "state", "sent"),
    [
        ("DE", "DE-BE", "be"),
        ("CO", "CO-AMA", "ama"),
        ("PA", "PA-1", "1"),
        ("JP", "JP13", "13"),
        ("TR", "TR34", "34"),
        ("UG", "UG314", "314"),
        ("EG", "EGALX", "alx"),
        ("KN", "KNK", "k"),
        ("KN", "KN01", "01"),
        ("MZ", "MZMPM", "mpm"),
        ("SN", "SNDK", "dk"),
        ("CN", "CN2", None),  # WooCommerce's own numbers
        ("MX", "MX", "mx"),  # Estado de México
        ("US", "NY", "ny"),
        ("IN", "Indore", "indore"),
        ("IN", "IN", "in"),
        ("JP", "Japan", "japan"),
        ("EG", "Egypt", "egypt"),
        ("DE", "Denkendorf", "denkendorf"),
        ("CH", "DE-BE", "debe"),  # of another country
        ("DE", "DE-", "de"),
        ("", "DE-BE", "debe"),
    ],
)
def test_a_state_is_sent_without_its_country(country, state, sent):
    """By the codes of WooCommerce's i18n/states.php."""
    body = sample(WOOCOMMERCE)
    billing = {**body["billing"], "country": country, "state": state}
    assert user(WOOCOMMERCE, {**body, "billing": billing}).get("state") == sent


# --- new or returning -----------------------------------------------------------------------------------------


@each_row(
    ("written", "sent"),
    [("new", "new"), ("returning", "returning"), ("Returning", None), ("", None), (True, None), (["new"], None)],
)
def test_the_plugin_writes_whether_the_customer_is_new(written, sent):
    """Anything else is not believed; the order is sent in any case."""
    body = sample(WOOCOMMERCE, meta_data=[{"id": 1, "key": "_tiktok_customer_type", "value": written}])
    assert properties(WOOCOMMERCE, body).get("customer_type") == sent
