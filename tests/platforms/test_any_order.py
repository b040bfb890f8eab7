"""What holds for any order that is consistent: its parts, its value, its currency, its texts.

Orders are made of generated rows, and their totals computed the way the platform does.
"""

import re
from decimal import Decimal
from typing import get_args

from hypothesis import assume, given
from hypothesis import strategies as st

from connector.core.store import MappingSettings, ValuePart
from tests.support.effort import examples
from tests.support.sample_bodies import (
    PAID,
    SHOPIFY,
    WOOCOMMERCE,
    Money,
    choose,
    dec,
    items,
    row,
    see,
    shopify_order,
    shopify_total,
    woo_row,
    woocommerce_order,
    worth,
)

VALUE_PARTS = get_args(ValuePart)
HASHED = ("email", "phone", "external_id", "first_name", "last_name", "zip_code")
quickly = examples(60)


def amounts(places, most=99_999):
    return st.integers(0, most).map(lambda cents: Decimal(cents).scaleb(-places))


@st.composite
def shopify_rows(draw, places, most=4, **changes):
    """Rows whose discounts take at most their price, and taxes that are at most a quarter of what is left."""
    found = []
    for _ in range(draw(st.integers(0, most))):
        price, quantity = draw(amounts(places)), draw(st.integers(1, 4)) if not changes else 1
        left, cuts, taxes = price * quantity, [], []
        for _ in range(draw(st.integers(0, 2))):
            cuts.append(dec(left * draw(st.integers(0, 100)) / 100, places))
            left -= cuts[-1]
        for _ in range(draw(st.integers(0, 2))):
            taxes.append(dec(left * draw(st.integers(0, 12)) / 100, places))
        card = draw(st.booleans()) if not changes else False
        gone = draw(st.booleans())
        more = {} if changes else {"gift_card": card, **({"product_id": None, "variant_id": None} if gone else {})}
        found.append(row(price, quantity, cuts, [] if card else taxes, **more))
    return found


@st.composite
def shopify_orders(draw):
    """(body, rows, shipping, extras, with_tax, money)"""
    places = draw(st.sampled_from([2, 0]))
    shop = "JPY" if places == 0 else "EUR"
    shown = draw(st.sampled_from([shop, "KRW" if places == 0 else "USD"]))
    money = Money(shop, shown, 1 if shown == shop else draw(st.integers(2, 9)), places)
    lines, shipping = draw(shopify_rows(places)), draw(shopify_rows(places, 2, title="Standard"))
    extras = {key: draw(amounts(places, 999)) for key in ("duties", "fees")}
    extras["tip"] = draw(amounts(places, 999)) if shown == shop else Decimal(0)  # tips have no `_set`
    with_tax = draw(st.booleans())
    return shopify_order(lines, shipping, **extras, with_tax=with_tax, money=money), lines, shipping, with_tax, money


def valued(store, body, **choices):
    """The value as sent, digits and all, by these choices."""
    chosen = choose(store, mapping=MappingSettings(content_id=store.mapping.content_id, **choices))
    sent = items(see(chosen, PAID, body))
    assert len({str(found["properties"].get("value")) for found in sent}) == 1
    return sent[0]["properties"]


@quickly
@given(shopify_orders())
def test_shopify_values(order):
    body, lines, _, with_tax, money = order
    for side, rate in (("presentment", money.rate), ("shop", Decimal(1))):
        found = valued(SHOPIFY, body, currency=side)
        total = body["total_price_set"][f"{side}_money"]
        assert (str(found["value"]), found["currency"]) == (total["amount"], total["currency_code"])
        goods = [line for line in lines if not line["changes"]["gift_card"]]
        net = sum(worth(line) - (sum(line["tax"]) if with_tax else 0) for line in goods) * rate
        assert valued(SHOPIFY, body, currency=side, value_excludes=VALUE_PARTS)["value"] == net
        assert valued(SHOPIFY, body, currency=side, value="items")["value"] == sum(map(worth, lines)) * rate


@quickly
@given(shopify_orders())
def test_what_shopify_exclusions_take_off_adds_up_to_the_total(order):
    """Every part belongs to one word, but the tax on shipping, which two take and one sum must not take twice."""
    body, lines, shipping, with_tax, money = order
    whole = valued(SHOPIFY, body)["value"]
    off = {word: whole - valued(SHOPIFY, body, value_excludes=(word,))["value"] for word in VALUE_PARTS}
    shipping_tax = sum(sum(line["tax"]) for line in shipping) * money.rate
    left = valued(SHOPIFY, body, value_excludes=VALUE_PARTS)["value"]
    assert whole == left + sum(off.values()) - shipping_tax
    assert off["tax"] == sum(sum(line["tax"]) for line in (*lines, *shipping)) * money.rate
    assert whole == shopify_total(lines, shipping, 0, 0, 0, with_tax) * money.rate + sum(
        off[word] for word in ("tips", "fees", "duties")
    )


@st.composite
def woo_rows(draw, places, most=4, low=0, **changes):
    found = []
    for _ in range(draw(st.integers(0, most))):
        total = draw(amounts(places)) * draw(st.sampled_from([1, 1, -1] if low else [1]))
        tax = dec(total * draw(st.integers(0, 25)) / 100, places)
        name = draw(st.sampled_from(["Surcharge", "Tip", "trinkgeld", "Gift <b>wrap</b>"]))
        gone = draw(st.booleans())
        more = {"name": name} | ({"sku": None, "product_id": 0, "variation_id": 0} if gone and not low else {})
        is_tip = low and name in ("Tip", "trinkgeld")
        found.append(woo_row(total, 0 if is_tip else tax, 1 if low else draw(st.integers(1, 4)), **more))
    return found


@st.composite
def woocommerce_orders(draw):
    places = draw(st.sampled_from([2, 0, 3]))
    lines, fees = draw(woo_rows(places)), draw(woo_rows(places, 3, low=-1))
    sent = draw(amounts(places))
    shipping = (sent, dec(sent * draw(st.integers(0, 25)) / 100, places))
    with_tax = draw(st.booleans())
    currency = {2: "EUR", 0: "JPY", 3: "KWD"}[places]
    body = woocommerce_order(lines, shipping, fees, with_tax, places, currency=currency)
    return body, lines, fees, shipping, with_tax


@quickly
@given(woocommerce_orders())
def test_woocommerce_values(order):
    body, lines, fees, shipping, with_tax = order
    found = valued(WOOCOMMERCE, body)
    singles = {word: valued(WOOCOMMERCE, body, value_excludes=(word,))["value"] for word in VALUE_PARTS}
    assert min(singles.values()) >= 0
    assume(Decimal(body["total"]) >= 0 and min(singles.values()) > 0)  # else a value may be zero in place of negative
    assert (str(found["value"]), found["currency"]) == (body["total"], body["currency"])
    goods = sum(line["total"] for line in lines)
    assert valued(WOOCOMMERCE, body, value_excludes=VALUE_PARTS)["value"] == goods
    seen = goods + (sum(line["tax"] for line in lines) if with_tax else 0)
    assert valued(WOOCOMMERCE, body, value="items")["value"] == seen
    off = {word: found["value"] - single for word, single in singles.items()}
    twice = shipping[1] + sum(fee["tax"] for fee in fees)
    assert found["value"] == goods + sum(off.values()) - twice
    assert off["tax"] == Decimal(body["total_tax"])


def texts_of(value):
    if isinstance(value, dict):
        for part in value.values():
            yield from texts_of(part)
    elif isinstance(value, list):
        for part in value:
            yield from texts_of(part)
    else:
        yield value


CHOICES = st.builds(
    MappingSettings,
    value=st.sampled_from(["total", "items"]),
    value_excludes=st.lists(st.sampled_from(VALUE_PARTS), unique=True).map(tuple),
    currency=st.sampled_from(["presentment", "shop"]),
    content_id=st.sampled_from(["variant_id", "product_id", "sku", "x-{product_id}-{sku}"]),
)
PEOPLE = st.fixed_dictionaries(
    {},
    optional={
        "email": st.sampled_from(["", " ", "Jane@Example.com", "nobody", "a" * 64, "jane@example.com,b@example.com"]),
        "phone": st.sampled_from(["", "(212) 555-0123", "+1 212 555 0123 ext 4", "0", "call me"]),
        "first_name": st.sampled_from(["", "!", "Jürgen", "東"]),
        "city": st.sampled_from(["", "-", "München"]),
    },
)


@quickly
@given(shopify_orders() | woocommerce_orders(), CHOICES, PEOPLE)
def test_any_item_that_is_sent(order, choices, person):
    body = order[0]
    store = SHOPIFY if "line_items" in body and "financial_status" in body else WOOCOMMERCE
    key = "billing_address" if store is SHOPIFY else "billing"
    body = {**body, key: {**body[key], **person}, "email": person.get("email", "jane@example.com")}
    for sent in items(see(choose(store, mapping=choices), PAID, body)):
        texts = list(texts_of(sent))
        assert "" not in texts
        assert None not in texts
        assert all(isinstance(sent[name], str) and sent[name] for name in ("event", "event_id"))
        for name in HASHED:
            found = sent["user"].get(name, [])
            assert all(re.fullmatch("[0-9a-f]{64}", one) for one in (found if isinstance(found, list) else [found]))
        properties = sent["properties"]
        assert isinstance(properties["order_id"], str)
        lines = properties.get("contents", [])
        assert all(isinstance(line["content_id"], str) for line in lines)
        assert ("currency" in properties) == ("value" in properties or any("price" in line for line in lines))
        currencies = {body["currency"], body.get("presentment_currency", body["currency"])}
        assert properties.get("currency", body["currency"]) in currencies
        if store is SHOPIFY and "value" in properties:  # value and prices on the same side of every `_set`
            side = "presentment" if properties["currency"] == body["presentment_currency"] else "shop"
            assert properties["currency"] == body["total_price_set"][f"{side}_money"]["currency_code"]
            most = {Decimal(line["price_set"][f"{side}_money"]["amount"]) for line in body["line_items"]}
            assert all(line["price"] <= max(most) for line in lines)
