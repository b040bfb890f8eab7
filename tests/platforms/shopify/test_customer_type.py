"""New or returning, by the order counts in bodies of API versions before 2025-01."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.rows import each_row
from tests.support.sample_bodies import PLACED, SHOPIFY, properties, sample

ORDER = 2_998_557_704_341


def customer_type(**counts):
    body = sample(SHOPIFY, PLACED)
    changed = {**body, "id": ORDER, "customer": {**body["customer"], **counts}}
    return properties(SHOPIFY, changed, PLACED).get("customer_type")


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        # As in a public capture of orders/create: the count does not include this order.
        ({"orders_count": 0, "last_order_id": None}, "new"),
        ({"orders_count": 1, "last_order_id": ORDER}, "new"),
        ({"orders_count": 2, "last_order_id": ORDER}, "returning"),
        ({"orders_count": 1, "last_order_id": ORDER - 5}, "returning"),
    ],
)
def test_the_last_order_tells_what_the_count_includes(counts, expected):
    """This order, or only earlier ones."""
    assert customer_type(**counts) == expected


@each_row(
    "counts",
    [
        {},
        {"orders_count": 1},
        {"orders_count": 2, "last_order_id": None},
        {"orders_count": 2, "last_order_id": ORDER + 5},  # paid after another order was placed
        {"orders_count": 0, "last_order_id": ORDER},
        {"orders_count": True, "last_order_id": ORDER},
        {"orders_count": -1, "last_order_id": ORDER},
    ],
)
def test_nothing_is_said_without_certainty(counts):
    """Bodies of later versions have no counts; a later order is counted in an earlier one's body, too."""
    assert customer_type(**counts) is None


numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
junk = st.none() | st.booleans() | numbers | st.text(max_size=20) | st.lists(st.none())


@given(junk, junk)
def test_any_value_costs_at_most_this_field(count, last):
    """The order is sent in any case."""
    assert customer_type(orders_count=count, last_order_id=last) in (None, "new", "returning")
