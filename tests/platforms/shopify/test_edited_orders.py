"""Orders that were edited or partly refunded before their first event: what is left of them is sent."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from tests.support.effort import examples
from tests.support.rows import each_row
from tests.support.sample_bodies import (
    PAID,
    SHOPIFY,
    Money,
    choose,
    items,
    names,
    properties,
    row,
    see,
    shopify_order,
    shopify_total,
)

# A lamp at 1,200.00 was removed again; two cups at 30.00 and shipping at 14.85 are left.
LAMP = row("1200.00", sku="LAMP", product_id=1, variant_id=1)
CUPS = row("30.00", 2, sku="CUP", product_id=2, variant_id=2)
SHIPPING = (row("14.85"),)


def edited(lines, left, shipping=(), money=None, with_tax=False, **changes):
    """The order of `lines`, of which only `left` units of each are left; Shopify keeps the removed lines listed."""
    money = money or Money()
    body = shopify_order(lines, shipping, money=money, with_tax=with_tax)
    rows = [
        {**line, "current_quantity": number, "fulfillable_quantity": number}
        for line, number in zip(body["line_items"], left, strict=True)
    ]
    kept = [
        {
            **line,
            "quantity": number,
            **{key: [one * number / line["quantity"] for one in line[key]] for key in ("cuts", "tax")},
        }
        for line, number in zip(lines, left, strict=True)
    ]
    tax = sum((sum(line["tax"]) for line in (*kept, *shipping)), Decimal(0))
    current = {
        **money.both("current_total_price", shopify_total(kept, shipping, 0, 0, 0, with_tax)),
        **money.both("current_total_tax", tax),
    }
    return {**body, "line_items": rows, **current, **changes}


def test_an_order_edited_before_it_was_paid_is_sent_as_it_is_now():
    body = edited((LAMP, CUPS), (0, 2), SHIPPING)
    assert (body["total_price"], body["current_total_price"]) == ("1274.85", "74.85")
    for sent in items(see(SHOPIFY, PAID, body)):
        found = sent["properties"]
        assert (str(found["value"]), found["num_items"]) == ("74.85", 2)
        assert [line["content_id"] for line in found["contents"]] == ["2"]


def test_a_removed_unit_leaves_the_price_of_the_others():
    """Discounts and taxes of a line are stated for the removed units, too."""
    line = row("30.00", 3, ["3.00"], ["8.70"], variant_id=2)
    body = edited((line,), (2,), SHIPPING)
    (content,) = properties(SHOPIFY, body)["contents"]
    assert (content["quantity"], str(content["price"])) == (2, "29.00")
    values = {
        (): "78.65",
        ("tax",): "72.85",
        ("shipping",): "63.80",
        ("tax", "shipping"): "58.00",
    }
    for excluded, value in values.items():
        store = choose(SHOPIFY, "mapping", value_excludes=excluded)
        assert str(properties(store, body)["value"]) == value
    assert str(properties(choose(SHOPIFY, "mapping", value="items"), body)["value"]) == "58.00"


def test_what_is_left_is_read_in_the_shopper_s_currency():
    body = edited((LAMP, CUPS), (0, 2), SHIPPING, Money("USD", "CAD", rate=2))
    found = properties(SHOPIFY, body)
    assert (found["currency"], str(found["value"]), str(found["contents"][0]["price"])) == ("CAD", "149.70", "60.00")


def test_an_edited_total_in_the_shop_s_currency_alone_puts_all_into_it():
    """The shopper's total of before the edit is not the order's any more."""
    body = edited((LAMP, CUPS), (0, 2), SHIPPING, Money("USD", "CAD", rate=2), current_total_price_set=None)
    found = properties(SHOPIFY, body)
    assert (found["currency"], str(found["value"]), str(found["contents"][0]["price"])) == ("USD", "74.85", "30.00")
    untouched = shopify_order((CUPS,), SHIPPING, money=Money("USD", "CAD", rate=2), current_total_price_set=None)
    assert (properties(SHOPIFY, untouched)["currency"]) == "CAD"


def test_a_refund_of_shipping_before_the_first_purchase_counts_likewise():
    body = shopify_order((CUPS,), SHIPPING, financial_status="partially_refunded", current_total_price="60.00")
    body["current_total_price_set"] = None
    body["shipping_lines"][0]["current_discounted_price_set"] = Money().both("x", 0)["x_set"]
    assert str(properties(SHOPIFY, body)["value"]) == "60.00"
    without = choose(SHOPIFY, "mapping", value_excludes=("shipping",))
    assert str(properties(without, body)["value"]) == "60.00"
    removed = shopify_order((CUPS,), SHIPPING, current_total_price="60.00", current_total_price_set=None)
    removed["shipping_lines"][0] |= {"is_removed": True, "current_discounted_price_set": None}
    assert str(properties(without, removed)["value"]) == "60.00"


@each_row("absent", ["current_total_price", "current_total_price_set", "current_total_tax"])
@each_row("value", [None, "", "n/a", [], {}, 10**20, True])
def test_junk_in_what_is_left_costs_nothing_else(absent, value):
    body = {**shopify_order((CUPS,), SHIPPING), absent: value}
    assert names(see(SHOPIFY, PAID, body)) == ["PlaceAnOrder", "Purchase"]
    assert str(properties(SHOPIFY, body)["value"]) == "74.85"


@each_row("value", [None, "2", 2.5, -1, 99, True, []])
def test_junk_in_a_current_quantity_leaves_the_quantity(value):
    body = shopify_order((CUPS,))
    body["line_items"][0]["current_quantity"] = value
    assert properties(SHOPIFY, body)["num_items"] == 2


@examples(60)
@given(
    st.lists(
        st.tuples(st.integers(1, 99_999), st.integers(1, 5), st.integers(0, 5), st.integers(0, 25)),
        min_size=1,
        max_size=4,
    ),
    st.integers(0, 9_999),
    st.booleans(),
)
def test_any_edit(lines, shipping, with_tax):
    """The value is what Shopify says is left, and its parts add up to it, to the rounding of each line's tax."""
    rows = [
        row(Decimal(cents) / 100, number, (), [Decimal(cents * number * rate // 100) / 100])
        for cents, number, _, rate in lines
    ]
    left = [min(gone, number) for _, number, gone, _ in lines]
    body = edited(rows, left, [row(Decimal(shipping) / 100)], with_tax=with_tax)
    found = properties(SHOPIFY, body)
    assert str(found["value"]) == body["current_total_price"]
    assert found.get("num_items", 0) == sum(left)
    without = choose(SHOPIFY, "mapping", value_excludes=("tax", "shipping"))
    goods = sum(line["price"] * number for line, number in zip(rows, left, strict=True))
    tax = Decimal(body["current_total_tax"])
    assert abs(properties(without, body)["value"] - (goods - (tax if with_tax else 0))) <= Decimal("0.01") * len(rows)
