"""Realistic bodies with chosen amounts, and what they become: for the tests of orders, values and people."""

import json
import random
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import msgspec

from connector.core.webhook import Request, Webhook
from connector.intake.examine import examine
from connector.plugin.testing.shoppers import Journey
from tests.support.factories import SECRET, a_store
from tests.support.platforms import PLATFORMS, SAMPLES

NOW = datetime(2026, 11, 23, 15, 4, 5, tzinfo=UTC)
SHOPIFY = a_store(country="US")
WOOCOMMERCE = a_store("woocommerce", country="US")
BOTH = (SHOPIFY, WOOCOMMERCE)
# The topic that shows a registration, a checkout, an order unpaid, paid.
REGISTERED, CHECKOUT, PLACED, PAID = (
    {name: samples.FUNNEL[step] for name, samples in SAMPLES.items()} for step in range(4)
)


def journey(country="US", seed=1):
    rng = random.Random(seed)
    while True:
        found = Journey.random(rng, NOW)
        if found.person.country.code == country:
            return found


def sample(store, topics=PAID, market="US", **changes):
    """The platform's sample body for one of the four topics, some of its top-level keys replaced."""
    body = SAMPLES[store.platform].sample(topics[store.platform], journey(market), store)
    if topics is CHECKOUT and store.platform == "woocommerce":
        return {**body, "arg": {**body["arg"], **changes}}
    return {**body, **changes}


def choose(store, table=None, **changes):
    """The store with other choices, of itself or of one of its tables."""
    return replace(store, **({table: replace(getattr(store, table), **changes)} if table else changes))


# --- what becomes of a body -----------------------------------------------------------------------------------


def see(store, topics, body, go_live=None, now=NOW, triggered_at=None):
    topic = topics if isinstance(topics, str) else topics[store.platform]
    raw = json.dumps(body, ensure_ascii=False).encode()
    webhook = Webhook(topic=topic, body=raw, received_at=NOW, triggered_at=triggered_at)
    return examine(webhook, PLATFORMS[store.platform], store, now, go_live)


def names(seen):
    return [mapped.event for mapped in seen.events]


def reasons(seen):
    return [skip.reason for skip in seen.skipped]


def items(seen):
    """The items as sent, numbers with their own digits."""
    decoder = msgspec.json.Decoder(float_hook=Decimal)
    return [decoder.decode(mapped.payload) for mapped in seen.events]


def item(store, body, topics=PAID, event=None):
    """The one item of this name, or the first."""
    return next(found for found in items(see(store, topics, body)) if event in (None, found["event"]))


def properties(store, body, topics=PAID):
    return item(store, body, topics)["properties"]


def user(store, body, topics=PAID):
    return item(store, body, topics)["user"]


def signed(store, topics, body):
    """The request a shop would send."""
    topic = topics if isinstance(topics, str) else topics[store.platform]
    module, raw = SAMPLES[store.platform], json.dumps(body, ensure_ascii=False).encode()
    headers = module.headers(topic, journey(), store)
    headers |= PLATFORMS[store.platform].signed_headers(raw, SECRET)
    return Request({name.lower(): value for name, value in headers.items()}, raw, NOW)


# --- Shopify's amounts ----------------------------------------------------------------------------------------


def dec(amount, places=2):
    return Decimal(amount).quantize(Decimal(1).scaleb(-places))


class Money:
    """Writes amounts as Shopify does: in the shop's currency, and both in a `_set`."""

    def __init__(self, shop="USD", shown="USD", rate=1, places=2):
        self.shop, self.shown, self.rate, self.places = shop, shown, Decimal(rate), places

    def both(self, name, amount):
        shop, shown = dec(amount, self.places), dec(Decimal(amount) * self.rate, self.places)
        return {
            name: str(shop),
            f"{name}_set": {
                "shop_money": {"amount": str(shop), "currency_code": self.shop},
                "presentment_money": {"amount": str(shown), "currency_code": self.shown},
            },
        }


def row(price, quantity=1, cuts=(), tax=(), **changes):
    """A line or shipping line: unit price, discounts on it, taxes on it."""
    numbers = [Decimal(cut) for cut in cuts], [Decimal(one) for one in tax]
    return {"price": Decimal(price), "quantity": quantity, "cuts": numbers[0], "tax": numbers[1], "changes": changes}


def worth(line):
    return line["price"] * line["quantity"] - sum(line["cuts"])


def shopify_total(lines, shipping, tip, duties, fees, with_tax):
    tax = sum(sum(line["tax"]) for line in (*lines, *shipping))
    paid = sum(worth(line) for line in (*lines, *shipping))
    return paid + (0 if with_tax else tax) + Decimal(tip) + Decimal(duties) + Decimal(fees)


def shopify_order(lines, shipping=(), tip=0, duties=0, fees=0, with_tax=False, money=None, **changes):
    """A paid order whose total is what Shopify makes of its rows."""
    money = money or Money()
    body = sample(SHOPIFY)
    like_line, like_shipping = body["line_items"][0], body["shipping_lines"][0]

    def written(line, like):
        taxes = [{**money.both("price", tax), "rate": 0.1, "title": "Tax"} for tax in line["tax"]]
        cuts = [{**money.both("amount", cut), "discount_application_index": 0} for cut in line["cuts"]]
        found = {**like, **money.both("price", line["price"]), "tax_lines": taxes, "discount_allocations": cuts}
        if like is like_shipping:
            found |= money.both("discounted_price", worth(line))
            found["current_discounted_price_set"] = found["discounted_price_set"]
        counted = dict.fromkeys(("quantity", "current_quantity"), line["quantity"]) if like is like_line else {}
        return {**found, **counted, **line["changes"]}

    total = shopify_total(lines, shipping, tip, duties, fees, with_tax)
    tax = sum((sum(line["tax"]) for line in (*lines, *shipping)), Decimal(0))
    return {
        **body,
        "currency": money.shop,
        "presentment_currency": money.shown,
        "taxes_included": with_tax,
        "line_items": [written(line, like_line) for line in lines],
        "shipping_lines": [written(line, like_shipping) for line in shipping],
        **money.both("total_price", total),
        **money.both("current_total_price", total),
        **money.both("total_tax", tax),
        **money.both("current_total_tax", tax),
        "total_tip_received": str(dec(tip, money.places)),
        "original_total_duties_set": money.both("x", Decimal(duties))["x_set"] if duties else None,
        "original_total_additional_fees_set": money.both("x", Decimal(fees))["x_set"] if fees else None,
        **changes,
    }


# --- WooCommerce's amounts ------------------------------------------------------------------------------------


def woo_row(total, tax="0.00", quantity=1, **changes):
    return {"total": Decimal(total), "tax": Decimal(tax), "quantity": quantity, "changes": changes}


def woocommerce_order(lines, shipping=("0.00", "0.00"), fees=(), with_tax=False, places=2, **changes):
    """A paid order whose total is what WooCommerce makes of its rows; all amounts there are without tax."""
    body = sample(WOOCOMMERCE)
    like = body["line_items"][0]
    sent, sent_tax = (Decimal(amount) for amount in shipping)

    def written(line, **more):
        amounts = {"total": str(dec(line["total"], places)), "total_tax": str(dec(line["tax"], places))}
        return {**more, **amounts, **line["changes"]}

    cart_tax = sum(line["tax"] for line in (*lines, *fees))
    total = sum(line["total"] for line in (*lines, *fees)) + cart_tax + sent + sent_tax
    return {
        **body,
        "prices_include_tax": with_tax,
        "line_items": [
            written(line, **{**like, "quantity": line["quantity"], "price": float(line["total"]) / line["quantity"]})
            for line in lines
        ],
        "fee_lines": [written(line, id=9, name="Fee", taxes=[]) for line in fees],
        "shipping_total": str(dec(sent, places)),
        "shipping_tax": str(dec(sent_tax, places)),
        "cart_tax": str(dec(cart_tax, places)),
        "total_tax": str(dec(cart_tax + sent_tax, places)),
        "total": str(dec(total, places)),
        **changes,
    }
