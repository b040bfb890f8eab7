"""The whole funnel, browser and server: two copies that TikTok makes one, the server's with what the browser knew."""

import json
import random
import shutil
import time
from contextlib import contextmanager
from datetime import UTC, datetime

import httpx
import pytest
import sqlalchemy as sa

from connector.config.settings import load
from connector.funnel.bounds import BoundsStore
from connector.plugin.testing.samples import fresh_journey
from connector.storage.database import Database
from connector.storage.engine import connect
from connector.storage.tables import events, funnel_events
from platforms.shopify import samples as shopify_samples
from tests.browser.plugin import Plugin, order, told
from tests.browser.shopify_checkout import checkout
from tests.browser.storefront import PATIENCE
from tests.support.factories import CODE, OTHER_CODE, a_section, a_stores_file
from tests.support.platforms import PLATFORMS
from tests.support.snippets import snippet
from tests.support.web import application, served

CLICK, IP = "E.C.P.CtoBExample_0123", "8.8.4.4"
STORES = a_stores_file(
    a_section(pixel=CODE, signals={"hold_checkout": "240s", "hold_order": "240s"}, funnel={}),
    a_section("woocommerce", "beans", pixel=OTHER_CODE, funnel={}),
    browser_pixel="snippet",
)


class Connector:
    """Our server in this process, on a database of its own; no relay, so what is stored is what would be sent."""

    def __init__(self, database, stores=STORES):
        environ = {"STORES_TOML": stores, "DATABASE_URL": f"sqlite:///{database}", "TRUSTED_PROXIES": "1"}
        self.config = load(environ)
        self.engine = connect(self.config.database_url)

    @contextmanager
    def running(self):
        self.application = application(self.config, Database(self.engine))
        with served(self.application) as self.url:
            yield self
        self.engine.dispose()

    def receive(self, store, topic, body):
        """A webhook, as the shop signs it."""
        chosen = self.config.stores[store]
        raw = json.dumps(body).encode()
        names = {
            "shopify": ("X-Shopify-Topic", "X-Shopify-Shop-Domain"),
            "woocommerce": ("X-WC-Webhook-Topic", "X-WC-Webhook-Source"),
        }
        where = chosen.shops[0] if chosen.platform == "shopify" else chosen.url
        headers = dict(zip(names[chosen.platform], (topic, where), strict=True))
        headers |= PLATFORMS[chosen.platform].signed_headers(raw, chosen.webhook_secrets[0])
        answer = httpx.post(f"{self.url}/webhooks/{store}", content=raw, headers=headers)
        assert (answer.status_code, answer.json()["outcome"]) == (200, "relayed"), answer.text

    def items(self):
        """What would be sent of checkouts and orders, by what TikTok merges by."""
        return self._items(events)

    def browsed(self, number):
        """The same of what came before, when there are so many."""
        deadline = time.monotonic() + PATIENCE
        while len(found := self._items(funnel_events)) < number and time.monotonic() < deadline:
            time.sleep(0.025)
        return found

    def know_orders(self):
        """Let the amounts of the orders so far bound what browsers report."""
        BoundsStore(Database(self.engine)).update(self.config.stores, time.time())
        self.application.bounds.refresh()

    def _items(self, table):
        with self.engine.connect().execution_options(reading=True) as connection:
            rows = connection.execute(sa.select(table)).all()
        return {(row.pixel, row.event, row.event_id): json.loads(row.payload) for row in rows}


@pytest.fixture
def connector(migrated_sqlite, tmp_path):
    shutil.copy(migrated_sqlite, tmp_path / "own.db")
    with Connector(tmp_path / "own.db").running() as running:
        yield running


def pairs(storefront, number):
    return {(call.pixel, call.arguments[0], call.arguments[2]["event_id"]) for call in storefront.tracked(number)}


@pytest.mark.parametrize("blocked", [False, True], ids=["open", "ad-blocked"])
def test_shopify(storefront, connector, blocked):
    """Landing page, checkout, thank-you page, whose webhooks know neither click nor browser."""
    nothing = {"landing_site": None, "note_attributes": [], "browser_ip": None, "client_details": None}
    store = connector.config.stores["acme"]
    shopper = fresh_journey(store, datetime.now(UTC), random.Random(1))
    started = shopify_samples.sample("checkouts/create", shopper, store) | nothing
    paid = shopify_samples.sample("orders/paid", shopper, store) | nothing | {"browser_ip": "8.8.8.8"}
    connector.receive("acme", "checkouts/create", started)
    connector.receive("acme", "orders/paid", paid)
    code = snippet(store, "shopify", connector.url)
    storefront.blocked = blocked
    storefront.context.set_extra_http_headers({"X-Forwarded-For": IP})
    storefront.set_cookie("_ttp", "01JEXAMPLE0000000000000000_.tt.1")
    storefront.open_shopify(code, path=f"/?ttclid={CLICK}")
    storefront.tell("page_viewed")
    storefront.open_shopify(code, path="/checkouts/cn/example")
    storefront.tell("checkout_started", checkout=checkout(started))
    storefront.tell("checkout_completed", checkout=checkout(paid, f"gid://shopify/OrderIdentity/{paid['id']}"))
    # Beacons are on their way through the browser's own network process.
    storefront.until(lambda: all("ttclid" in item["user"] for item in connector.items().values()))
    items = connector.items()
    assert {name for _, name, _ in items} == {"InitiateCheckout", "PlaceAnOrder", "Purchase"}
    assert pairs(storefront, 0 if blocked else 3) == (set() if blocked else set(items))
    for (_, name, _), item in items.items():
        user = item["user"]
        assert (user["ttclid"], user["ttp"]) == (CLICK, "01JEXAMPLE0000000000000000_.tt.1")
        assert user["user_agent"] == "Mozilla/5.0 (Linux; Android 15) Example/1.0"
        assert user["ip"] == (IP if name == "InitiateCheckout" else "8.8.8.8")  # what a webhook says stays


def test_woocommerce(storefront, connector, php, tmp_path):
    """Checkout and thank-you page; the plugin hands the browser's part over with the order itself."""
    plugin = Plugin(php, tmp_path, connector.config.stores["beans"], base_url=connector.url)
    cookies = {"ttclid": CLICK, "_ttp": "01JEXAMPLE0000000000000000_.tt.1"}
    cart = [{"product_id": 11, "variation_id": 12, "quantity": 2, "price": 12.0, "sku": "MUG-S", "name": "Mug"}]
    opened = plugin.checks_out(cart=cart, cookies=cookies)
    body = {"action": "wc_tiktok_initiate_checkout", "arg": opened["fired"][0]}
    connector.receive("beans", "action.wc_tiktok_initiate_checkout", body)
    like = order("068")
    placed = {**like, "payment_method": "stripe", "date_paid_gmt": like["date_created_gmt"], "customer_ip_address": IP}
    written = plugin.run(["woocommerce_store_api_checkout_update_order_meta", "ORDER"], order=placed, cookies=cookies)
    placed = {**placed, "meta_data": written["meta"]}
    connector.receive("beans", "order.created", placed)
    thanks = plugin.thanks(placed)
    assert told(thanks)
    storefront.open_page("/checkout", opened["html"])
    seen = pairs(storefront, 1)
    storefront.open_page("/order-received", thanks["html"])
    seen |= pairs(storefront, 2)
    items = connector.items()
    assert {name for _, name, _ in seen} == {"InitiateCheckout", "PlaceAnOrder", "Purchase"}
    assert seen == set(items)
    for item in items.values():
        user = item["user"]
        assert (user["ttclid"], user["ttp"], user["ip"]) == (CLICK, cookies["_ttp"], IP)
        assert "Mozilla" in user["user_agent"]
