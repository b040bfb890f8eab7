"""The items of an order or checkout: their ids, prices, names, bundles."""

import pytest

from tests.support.rows import each_row
from tests.support.sample_bodies import (
    BOTH,
    CHECKOUT,
    PAID,
    SHOPIFY,
    WOOCOMMERCE,
    choose,
    item,
    properties,
    reasons,
    row,
    sample,
    see,
    shopify_order,
    woo_row,
    woocommerce_order,
)

IDS = {"product_id": 814, "variant_id": 4437, "sku": "CUP-BLU"}
WOO_IDS = {"product_id": 814, "variation_id": 4437, "sku": "CUP-BLU"}


@each_row(
    ("choice", "gone", "expected", "kind"),
    [
        ("variant_id", (), "4437", "product"),
        ("variant_id", ("variant",), "814", "product"),
        ("variant_id", ("variant", "product_id"), "CUP-BLU", "product"),
        ("product_id", (), "814", "product_group"),
        ("product_id", ("product_id",), "CUP-BLU", "product_group"),
        ("sku", (), "CUP-BLU", "product"),
        ("sku", ("sku",), "4437", "product"),
        ("sku", ("sku", "variant"), "814", "product"),
        ("shopify_US_{product_id}_{variant_id}", (), "shopify_US_814_4437", "product"),
        ("shopify_US_{product_id}_{variant_id}", ("variant",), None, None),
        ("group-{product_id}", (), "group-814", "product_group"),
        ("{sku}", (), "CUP-BLU", "product"),
    ],
)
def test_content_id_and_content_type(choice, gone, expected, kind):
    """A deleted product has null ids in Shopify, 0 and null in WooCommerce."""
    shopify = IDS | {key: None for key in IDS for prefix in gone if key.startswith(prefix)}
    woo = {key.replace("variant", "variation"): found for key, found in shopify.items()}
    woo |= {key: 0 for key in ("product_id", "variation_id") if woo[key] is None}
    for store, body in (
        (SHOPIFY, shopify_order((row("9.00", **shopify),))),
        (WOOCOMMERCE, woocommerce_order((woo_row("9.00", **woo),))),
    ):
        found = properties(choose(store, "mapping", content_id=choice), body)
        assert found.get("contents", [{}])[0].get("content_id") == expected
        assert found.get("content_type") == kind
        assert found["num_items"] == 1


def test_the_price_is_one_unit_s_as_paid():
    body = shopify_order((row("10.00", 3, ["5.00"]),))
    (line,) = properties(SHOPIFY, body)["contents"]
    assert (line["quantity"], str(line["price"])) == (3, "8.33")
    (line,) = properties(WOOCOMMERCE, woocommerce_order((woo_row("25.00", "4.75", 3),)))["contents"]
    assert (line["quantity"], str(line["price"])) == (3, "8.33")
    (line,) = properties(WOOCOMMERCE, woocommerce_order((woo_row("25.00", "4.75", 3),), with_tax=True))["contents"]
    assert str(line["price"]) == "9.92"


def test_names_brands_and_categories():
    body = shopify_order((row("9.00", title="Crème “Brûlée” & Co", name="Crème - L", vendor="Fjord & Fern"),))
    (line,) = properties(SHOPIFY, body)["contents"]
    assert (line["content_name"], line["brand"]) == ("Crème “Brûlée” & Co", "Fjord & Fern")
    html = woo_row("9.00", name="Gift &amp; Wrap <b>Deluxe</b> 🎁")
    (line,) = properties(WOOCOMMERCE, woocommerce_order((html,)))["contents"]
    assert line["content_name"] == "Gift & Wrap Deluxe 🎁"
    rows = [{"product_id": 7, "price": "9.90", "quantity": 1, "name": "A <i>b</i>", "category": "Mugs &amp; Cups"}]
    (line,) = properties(WOOCOMMERCE, sample(WOOCOMMERCE, CHECKOUT, line_items=rows), CHECKOUT)["contents"]
    assert (line["content_name"], line["content_category"]) == ("A b", "Mugs & Cups")


def test_custom_items_and_deleted_products_are_counted_but_have_no_content_id():
    gone = {"product_id": None, "variant_id": None, "sku": ""}
    body = shopify_order((row("9.00", 2), row("5.00", 3, title="Engraving", **gone)))
    found = properties(SHOPIFY, body)
    assert (len(found["contents"]), found["num_items"], str(found["value"])) == (1, 5, "33.00")
    deleted = woo_row("5.00", quantity=3, product_id=0, variation_id=0, sku=None)
    found = properties(WOOCOMMERCE, woocommerce_order((woo_row("18.00", quantity=2), deleted)))
    assert (len(found["contents"]), found["num_items"], str(found["value"])) == (1, 5, "23.00")


def test_the_parent_stands_for_what_is_in_its_bundle():
    lines = (
        woo_row("30.00", sku="SET"),
        woo_row("0.00", quantity=2, sku="CUP", bundled_by="71"),
        woo_row("0.00", sku="LID", composite_parent="71"),
    )
    found = properties(WOOCOMMERCE, woocommerce_order(lines))
    assert [line["content_id"] for line in found["contents"]] == ["SET"]
    assert (found["num_items"], str(found["value"])) == (1, "30.00")


SET = {"id": 142831562, "title": "Set", "quantity": 2, "product_id": 90, "variant_id": 91, "variant_sku": "SET"}
IN_SET = {"sales_line_item_group_id": 142831562}
BUNDLED = (
    row("12.00", 2, variant_id=1, **IN_SET),
    row("5.00", variant_id=3),
    row("8.00", 4, ["2.00"], variant_id=2, **IN_SET),
)


def test_the_parts_of_a_shopify_bundle_are_its_lines():
    """Shopify lists the components, priced; the bundle is only named in line_item_groups."""
    found = properties(SHOPIFY, shopify_order(BUNDLED, line_item_groups=[SET]))
    assert [line["content_id"] for line in found["contents"]] == ["1", "3", "2"]
    assert (found["num_items"], str(found["value"])) == (7, "59.00")


def test_a_store_may_name_the_bundle_instead():
    """At the price of its parts; everything else stays."""
    store = choose(SHOPIFY, "mapping", bundles="bundle")
    found = properties(store, shopify_order(BUNDLED, line_item_groups=[SET]))
    whole, other = found["contents"]
    assert (whole["content_id"], whole["content_name"], whole["quantity"], str(whole["price"])) == (
        "91",
        "Set",
        2,
        "27.00",
    )
    assert (other["content_id"], found["num_items"], str(found["value"])) == ("3", 3, "59.00")
    by_sku = choose(store, "mapping", content_id="sku")
    assert properties(by_sku, shopify_order(BUNDLED, line_item_groups=[SET]))["contents"][0]["content_id"] == "SET"


@each_row("groups", [[], None, [{"id": 142831562, "title": "Set"}], [{"id": 7}], "junk", [SET | {"id": []}]])
def test_a_bundle_that_is_not_named_leaves_its_parts(groups):
    store = choose(SHOPIFY, "mapping", bundles="bundle")
    found = properties(store, shopify_order(BUNDLED, line_item_groups=groups))
    assert [line["content_id"] for line in found["contents"]] == ["1", "3", "2"]


def test_a_gift_card_is_an_item():
    found = properties(SHOPIFY, shopify_order((row("20.00", 2, ["2.50", "1.50"]), row("25.00", gift_card=True))))
    assert [str(line["price"]) for line in found["contents"]] == ["18.00", "25.00"]
    assert found["num_items"] == 3


def test_fractions_of_a_quantity_count_whole():
    assert properties(WOOCOMMERCE, woocommerce_order((woo_row("9.00", quantity=2.5),)))["contents"][0]["quantity"] == 2


@pytest.mark.parametrize("store", BOTH, ids=lambda store: store.platform)
def test_order_id_is_the_id_not_the_number_and_a_checkout_has_none(store):
    body = sample(store)
    assert item(store, body)["properties"]["order_id"] == str(body["id"])
    assert "order_id" not in properties(store, sample(store, CHECKOUT), CHECKOUT)
    assert reasons(see(store, PAID, body)) == []
