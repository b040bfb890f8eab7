"""The value of an order or checkout and its currency: worked examples of each platform, by hand."""

import json
from decimal import Decimal
from itertools import combinations
from typing import get_args

import pytest

from connector.core.store import ValuePart
from connector.core.webhook import Webhook
from connector.intake.examine import parse
from tests.support.platforms import PLATFORMS
from tests.support.rows import each_row
from tests.support.sample_bodies import (
    BOTH,
    CHECKOUT,
    NOW,
    PAID,
    SHOPIFY,
    WOOCOMMERCE,
    Money,
    choose,
    items,
    names,
    properties,
    row,
    sample,
    see,
    shopify_order,
    woo_row,
    woocommerce_order,
)

# Two shirts at 20.00, of which an order-level discount takes 4.00; tax 2.88 (two kinds). A gift card at 25.00, untaxed.
# Shipping 8.00 less a shipping discount of 3.00, tax 0.40. Tip 3.00, duties 6.50, a fee of 1.20.
VALUE_PARTS = get_args(ValuePart)
LINES = (row("20.00", 2, ["2.50", "1.50"], ["2.16", "0.72"]), row("25.00", gift_card=True))
SHIPPING = (row("8.00", 1, ["3.00"], ["0.40"]),)
EXTRAS = {"tip": "3.00", "duties": "6.50", "fees": "1.20"}
WITHOUT_TAX = shopify_order(LINES, SHIPPING, **EXTRAS)
WITH_TAX = shopify_order(LINES, SHIPPING, **EXTRAS, with_tax=True)
WORKED = {
    # excluded: (prices without tax, prices with tax)
    (): ("79.98", "76.70"),
    ("tax",): ("76.70", "73.42"),
    ("shipping",): ("74.58", "71.70"),
    ("tips",): ("76.98", "73.70"),
    ("fees",): ("78.78", "75.50"),
    ("duties",): ("73.48", "70.20"),
    ("gift_cards",): ("54.98", "51.70"),
    ("tax", "shipping"): ("71.70", "68.82"),  # the tax on shipping comes off once
    VALUE_PARTS: ("36.00", "33.12"),
}


def with_value(store, *excludes, value="total", **more):
    return choose(store, "mapping", value=value, value_excludes=excludes, **more)


def translated(store, body, topics=PAID):
    raw = json.dumps(body).encode()
    webhook = Webhook(topic=topics[store.platform], body=raw, received_at=NOW, data=parse(raw))
    return list(PLATFORMS[store.platform].translate(webhook, store))


def value(store, body, topics=PAID):
    return str(properties(store, body, topics)["value"])


@each_row("excludes", WORKED)
@each_row(("index", "body"), [(0, WITHOUT_TAX), (1, WITH_TAX)])
def test_a_shopify_order_worked_out(excludes, index, body):
    assert value(with_value(SHOPIFY, *excludes), body) == WORKED[excludes][index]


# A mug, two at 10.00 after a coupon of 4.00, tax 1.60 in all (the coupon's share is off already); shipping 5.00 + 0.40;
# a surcharge of 2.00 + 0.16; a rebate of 1.00 + 0.08 as a negative fee; a tip of 3.00 as a fee.
WOO = {
    "lines": (woo_row("20.00", "1.60", 2, subtotal="24.00", subtotal_tax="1.92"),),
    "shipping": ("5.00", "0.40"),
    "fees": (
        woo_row("2.00", "0.16", name="Surcharge"),
        woo_row("-1.00", "-0.08", name="Rebate"),
        woo_row("3.00", "0.00", name="Trinkgeld"),
    ),
    "coupon_lines": [{"id": 3, "code": "four", "discount": "4.00", "discount_tax": "0.32"}],
}
WOO_WORKED = {
    (): "31.08",
    ("tax",): "29.00",
    ("shipping",): "25.68",
    ("tips",): "28.08",
    ("fees",): "30.00",
    ("duties",): "31.08",
    ("gift_cards",): "31.08",
    ("tax", "shipping"): "24.00",
    VALUE_PARTS: "20.00",
}


@each_row("excludes", WOO_WORKED)
@each_row("with_tax", [False, True])
def test_a_woocommerce_order_worked_out(excludes, with_tax):
    """Its amounts are without tax, however the prices on the page are."""
    body = woocommerce_order(**WOO, with_tax=with_tax)
    assert value(with_value(WOOCOMMERCE, *excludes), body) == WOO_WORKED[excludes]


@pytest.mark.parametrize("pair", list(combinations(VALUE_PARTS, 2)))
def test_two_exclusions_take_off_both_and_a_shared_tax_once(pair):
    shared = {"tax", "shipping"}, {"tax", "fees"}
    for store, body, twice in (
        (SHOPIFY, WITHOUT_TAX, ("0.40", "0")),
        (SHOPIFY, WITH_TAX, ("0.40", "0")),
        (WOOCOMMERCE, woocommerce_order(**WOO), ("0.40", "0.08")),
    ):
        whole, first, second, both = (
            Decimal(value(with_value(store, *words), body)) for words in ((), pair[:1], pair[1:], pair)
        )
        once = sum((Decimal(tax) for words, tax in zip(shared, twice, strict=True) if words == set(pair)), Decimal(0))
        assert whole - both == (whole - first) + (whole - second) - once


def test_the_items_alone():
    """What the items cost as priced; shipping, tips, fees and duties are not among them."""
    assert value(with_value(SHOPIFY, value="items"), WITHOUT_TAX) == "61.00"
    assert value(with_value(SHOPIFY, value="items"), WITH_TAX) == "61.00"
    assert value(with_value(SHOPIFY, *VALUE_PARTS, value="items"), WITHOUT_TAX) == "36.00"
    assert value(with_value(SHOPIFY, "tax", value="items"), WITH_TAX) == "58.12"
    assert value(with_value(SHOPIFY, "gift_cards", value="items"), WITHOUT_TAX) == "36.00"
    assert value(with_value(WOOCOMMERCE, value="items"), woocommerce_order(**WOO)) == "20.00"
    assert value(with_value(WOOCOMMERCE, value="items"), woocommerce_order(**WOO, with_tax=True)) == "21.60"
    assert value(with_value(WOOCOMMERCE, "tax", value="items"), woocommerce_order(**WOO, with_tax=True)) == "20.00"


def test_paying_with_a_gift_card_changes_nothing():
    body = shopify_order(LINES, SHIPPING, **EXTRAS, payment_gateway_names=["gift_card", "shopify_payments"])
    for excludes in WORKED:
        assert value(with_value(SHOPIFY, *excludes), body) == WORKED[excludes][0]


def test_a_tip_that_is_a_line_counts_once_and_is_no_item():
    tip = row("3.00", tip={"payment_gateway": "shopify_payments"}, title="Tip", product_id=None, variant_id=None)
    body = shopify_order((*LINES, tip), SHIPPING, duties="6.50", fees="1.20", total_tip_received="3.00")
    assert value(SHOPIFY, body) == "79.98"
    assert value(with_value(SHOPIFY, "tips"), body) == "76.98"
    assert value(with_value(SHOPIFY, value="items"), body) == "61.00"
    assert properties(SHOPIFY, body)["num_items"] == 3


def test_a_refund_after_the_sale_does_not_change_its_value():
    """Shopify's is in tests/platforms/shopify/test_edited_orders.py."""
    refunded = woocommerce_order(**WOO, refunds=[{"id": 1, "reason": "", "total": "-10.00"}])
    assert value(WOOCOMMERCE, refunded) == "31.08"


@pytest.mark.parametrize("store", BOTH, ids=lambda store: store.platform)
def test_zero_is_a_value(store):
    if store.platform == "shopify":
        body = shopify_order((row("20.00", 1, ["20.00"]),))
    else:
        body = woocommerce_order((woo_row("0.00", subtotal="20.00"),))
    found = properties(store, body)
    assert (str(found["value"]), found["currency"], str(found["contents"][0]["price"])) == ("0.00", "USD", "0.00")


# --- currency -------------------------------------------------------------------------------------------------

ABROAD = Money("USD", "CAD", rate=2)
SOLD_ABROAD = shopify_order(LINES, SHIPPING, duties="6.50", fees="1.20", money=ABROAD)


def test_value_and_prices_are_in_the_buyer_s_currency_or_the_shop_s():
    shown, shop = properties(SHOPIFY, SOLD_ABROAD), properties(with_value(SHOPIFY, currency="shop"), SOLD_ABROAD)
    assert (shown["currency"], str(shown["value"])) == ("CAD", "153.96")
    assert [str(line["price"]) for line in shown["contents"]] == ["36.00", "50.00"]
    assert (shop["currency"], str(shop["value"])) == ("USD", "76.98")
    assert [str(line["price"]) for line in shop["contents"]] == ["18.00", "25.00"]


def test_exclusions_are_in_the_buyer_s_currency_too():
    assert value(with_value(SHOPIFY, "tax", "shipping", "duties", "fees"), SOLD_ABROAD) == "122.00"


def test_an_amount_that_lacks_in_the_buyer_s_currency_puts_all_into_the_shop_s():
    lines = [{**line, "price_set": None} for line in SOLD_ABROAD["line_items"]]
    found = properties(SHOPIFY, {**SOLD_ABROAD, "line_items": lines})
    assert (found["currency"], str(found["value"])) == ("USD", "76.98")
    assert [str(line["price"]) for line in found["contents"]] == ["18.00", "25.00"]


def test_a_part_that_lacks_in_the_buyer_s_currency_costs_the_value_only_if_it_is_excluded():
    """Shopify gives tips in the shop's currency alone."""
    body = {**SOLD_ABROAD, "total_tip_received": "3.00"}
    assert value(with_value(SHOPIFY, "tax"), body) == "147.40"
    seen = see(with_value(SHOPIFY, "tips"), PAID, body)
    assert seen.reason == "value left out: the shop does not say what it is made of in this currency"
    assert "value" not in items(seen)[0]["properties"]
    assert properties(with_value(SHOPIFY, "tips", currency="shop"), body)["value"] == Decimal("73.98")


def test_the_line_of_a_tip_states_it_in_the_buyer_s_currency():
    tip = row("3.00", tip={"payment_gateway": "shopify_payments"}, title="Tip", product_id=None, variant_id=None)
    body = shopify_order((*LINES, tip), SHIPPING, money=ABROAD, total_tip_received="3.00")
    assert value(SHOPIFY, body) == "144.56"
    assert value(with_value(SHOPIFY, "tips"), body) == "138.56"
    assert value(with_value(SHOPIFY, "tips", currency="shop"), body) == "69.28"


def test_a_currency_tiktok_does_not_list_gives_way_to_the_one_it_lists():
    """The shopper's to the shop's, and the other way round."""
    for money, choice, currency, total, price in (
        (Money("USD", "DOP", rate=60), "presentment", "USD", "63.88", "18.00"),
        (Money("DOP", "USD", rate=2), "shop", "USD", "127.76", "36.00"),
    ):
        body = shopify_order(LINES, money=money)
        assert {body["currency"], body["presentment_currency"]} == {"USD", "DOP"}
        seen = see(with_value(SHOPIFY, currency=choice), PAID, body)
        found = items(seen)[0]["properties"]
        assert (found["currency"], str(found["value"]), str(found["contents"][0]["price"])) == (currency, total, price)
        assert seen.reason == ""


# --- tax that lines do not carry ------------------------------------------------------------------------------


def untaxed(lines, shipping=(), tax="0.00", with_tax=False, **changes):
    """An order that states its tax in total alone."""
    body = shopify_order(lines, shipping, with_tax=with_tax)
    tax_set = Money().both("x", tax)["x_set"]
    total = Decimal(body["total_price"]) + (0 if with_tax else Decimal(tax))
    body |= Money().both("total_price", total) | Money().both("current_total_price", total)
    return {**body, "total_tax": tax, "current_total_tax": tax, **dict.fromkeys(TAX_SETS, tax_set), **changes}


TAX_SETS = ("total_tax_set", "current_total_tax_set")


def test_no_value_is_negative():
    """A gift card that is a negative fee pays for shipping, too; TikTok takes no negative values."""
    body = woocommerce_order(**WOO, with_tax=False)
    paid = {"id": 9, "name": "Gift card", "total": f"-{body['total']}", "total_tax": "0.00"}
    body |= {"total": "0.00", "fee_lines": [*body["fee_lines"], paid]}
    assert value(with_value(WOOCOMMERCE, "shipping"), body) == "0"


def test_all_tax_is_taken_off_where_no_line_carries_it():
    body = untaxed((row("50.00"),), (row("10.00"),), "4.80")
    assert value(SHOPIFY, body) == "64.80"
    assert value(with_value(SHOPIFY, "tax"), body) == "60.00"
    assert value(with_value(SHOPIFY, "tax", "shipping"), body) == "50.00"
    with_tax = untaxed((row("54.00"),), (row("10.80"),), "4.80", with_tax=True)
    assert value(with_value(SHOPIFY, "tax"), with_tax) == "60.00"


def test_what_such_a_tax_is_on_is_not_made_up():
    """Whether shipping has a share of it is not stated, so that order's value without shipping is not known."""
    body = untaxed((row("50.00"),), (row("10.00"),), "4.80")
    seen = see(with_value(SHOPIFY, "shipping"), PAID, body)
    assert seen.reason == "value left out: the shop does not say what it is made of in this currency"
    assert "value" not in items(seen)[0]["properties"]
    assert value(with_value(SHOPIFY, value="items"), body) == "50.00"


def test_items_priced_with_such_a_tax_are_known_as_priced():
    """What they cost without it is not."""
    body = untaxed((row("54.00"),), (row("10.80"),), "4.80", with_tax=True)
    assert value(with_value(SHOPIFY, value="items"), body) == "54.00"
    seen = see(with_value(SHOPIFY, "tax", value="items"), PAID, body)
    assert seen.reason == "value left out: the shop does not say what it is made of in this currency"


def test_such_a_tax_is_on_the_goods_where_nothing_else_costs_anything():
    body = untaxed((row("54.00"),), (row("0.00"),), "4.00", with_tax=True)
    assert value(with_value(SHOPIFY, "tax", value="items"), body) == "50.00"
    assert value(with_value(SHOPIFY, "shipping"), body) == "54.00"


def test_a_cent_of_rounding_is_no_missing_tax():
    body = shopify_order((row("50.00", tax=["4.00"]),), (row("10.00", tax=["0.80"]),))
    body |= Money().both("total_tax", "4.81") | Money().both("current_total_tax", "4.81")
    assert value(with_value(SHOPIFY, "shipping"), body) == "54.00"


def test_tax_on_duties_goes_with_tax_and_with_duties():
    duty = {"shop_money": {"amount": "6.00"}, "tax_lines": [Money().both("price", "1.20")]}
    line = row("50.00", tax=["5.00"], duties=[duty])
    body = shopify_order((line,), duties="6.00")
    total = Decimal(body["total_price"]) + Decimal("1.20")
    body |= Money().both("total_price", total) | Money().both("current_total_price", total)
    body |= Money().both("total_tax", "6.20") | Money().both("current_total_tax", "6.20")
    assert value(SHOPIFY, body) == "62.20"
    assert value(with_value(SHOPIFY, "tax"), body) == "56.00"
    assert value(with_value(SHOPIFY, "duties"), body) == "55.00"
    assert value(with_value(SHOPIFY, "tax", "duties"), body) == "50.00"


def test_a_checkout_in_two_currencies_has_neither_value_nor_prices():
    body = sample(SHOPIFY, CHECKOUT, currency="USD", presentment_currency="CAD")
    seen = see(SHOPIFY, CHECKOUT, body)
    found = items(seen)[0]["properties"]
    assert seen.reason == "value left out: the checkout's currency is uncertain"
    assert not {"value", "currency"} & found.keys()
    assert not any("price" in line for line in found["contents"])


@pytest.mark.parametrize("store", BOTH, ids=lambda store: store.platform)
def test_a_currency_tiktok_does_not_list_costs_value_and_prices_and_the_ledger_says_so(store):
    if store.platform == "shopify":
        body = shopify_order(LINES, money=Money("DOP", "DOP"))
    else:
        body = woocommerce_order(WOO["lines"], currency="dop")
    seen = see(store, PAID, body)
    assert names(seen) == ["PlaceAnOrder", "Purchase"]
    assert seen.reason == "value left out: TikTok does not list the currency DOP"
    for sent in items(seen):
        assert not {"value", "currency"} & sent["properties"].keys()
        assert all("price" not in line for line in sent["properties"]["contents"])


def test_yen_have_the_decimals_of_the_shop():
    body = shopify_order((row("1250", 2, tax=["250"]),), money=Money("JPY", "JPY", places=0))
    assert value(SHOPIFY, body) == "2750"
    assert value(WOOCOMMERCE, woocommerce_order((woo_row("3000", "300"),), currency="JPY")) == "3300.00"
    kuwait = woocommerce_order((woo_row("12.345", quantity=1),), places=3, currency="KWD")
    assert value(WOOCOMMERCE, kuwait) == "12.345"
    assert value(with_value(WOOCOMMERCE, "tax"), kuwait) == "12.345"


# --- checkouts ------------------------------------------------------------------------------------------------


def test_a_shopify_checkout_s_value_follows_the_same_choices():
    lines = [
        {**line, "price": "20.00", "quantity": 2, "tax_lines": [{"price": "3.20"}], "applied_discounts": cuts}
        for line, cuts in [(sample(SHOPIFY, CHECKOUT)["line_items"][0], [{"amount": "4.00"}])]
    ]
    shipping = [{"price": "5.00", "tax_lines": [{"price": "0.40"}]}]
    body = sample(
        SHOPIFY,
        CHECKOUT,
        line_items=lines,
        shipping_lines=shipping,
        total_price="51.10",
        total_tax="3.60",
        total_duties="6.50",
    )
    assert value(SHOPIFY, body, CHECKOUT) == "51.10"
    assert value(with_value(SHOPIFY, "tax", "shipping", "duties"), body, CHECKOUT) == "36.00"
    assert value(with_value(SHOPIFY, value="items"), body, CHECKOUT) == "36.00"
    assert str(properties(SHOPIFY, body, CHECKOUT)["contents"][0]["price"]) == "18.00"


def test_a_woocommerce_checkout_knows_its_total_and_items_only():
    rows = [{"product_id": 7, "variation_id": 0, "quantity": 3, "price": "9.90", "sku": "A", "name": "A"}]
    body = sample(WOOCOMMERCE, CHECKOUT, line_items=rows, total="35.40")
    assert value(WOOCOMMERCE, body, CHECKOUT) == "35.40"
    assert value(with_value(WOOCOMMERCE, "gift_cards"), body, CHECKOUT) == "35.40"
    assert value(with_value(WOOCOMMERCE, value="items"), body, CHECKOUT) == "29.70"
    seen = see(with_value(WOOCOMMERCE, "tax"), CHECKOUT, body)
    assert seen.reason.startswith("value left out: the shop does not say")
    assert "value" not in items(seen)[0]["properties"]


@pytest.mark.parametrize("topics", [PAID, CHECKOUT], ids=["order", "checkout"])
@pytest.mark.parametrize("store", BOTH, ids=lambda store: store.platform)
def test_a_total_is_broken_down_for_stores_whose_value_needs_it_only(store, topics):
    body = sample(store, topics)
    assert {event.breakdown for event in translated(store, body, topics)} == {None}
    for choice in (with_value(store, "tips"), with_value(store, value="items")):
        events = translated(choice, body, topics)
        assert all(event.breakdown.goods is not None for event in events)
        assert events == translated(choice, body, topics)  # plain data
