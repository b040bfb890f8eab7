"""The merge meter beside what TikTok makes of the copies: pixel setups of a shop, real pages, relay and sandbox."""

import json
import random
import shutil
import time
from datetime import UTC, datetime

import httpx
import pytest

from connector.devtools.sandbox.server import Sandbox
from connector.meter.matching import CopyMatcher
from connector.monitoring.merge_problems import MergeProblemFinder
from connector.monitoring.merges import Merges
from connector.monitoring.snippets import snippet_state
from connector.outbox.outbox import Outbox
from connector.plugin.testing.samples import fresh_journey
from connector.relay.events_api import EventsApi
from connector.relay.relay import Relay
from connector.storage.database import Database
from platforms.shopify import samples as shopify_samples
from tests.browser.plugin import Plugin, order
from tests.browser.shopify_checkout import checkout
from tests.browser.test_funnel import Connector
from tests.browser.test_shop_pages import PAID_BY_CARD
from tests.support.factories import CODE, OTHER_CODE, a_section, a_stores_file
from tests.support.snippets import snippet

STORES = a_stores_file(
    a_section(pixel=CODE, meter=True),
    a_section("woocommerce", "beans", pixel=OTHER_CODE, meter=True),
    browser_pixel="snippet",
)
# Does what the code does that Events Manager gives to paste: queues, and functions that `instance` makes anew.
BASE_CODE = f"""<script>
  window.TiktokAnalyticsObject = "ttq";
  const queue = (window.ttq = window.ttq || []);
  const methods = ["page", "track", "identify"];
  const defer = (calls, name) => {{ calls[name] = (...given) => {{ calls.push([name, ...given]); }}; }};
  methods.forEach((name) => defer(queue, name));
  queue.instance = (code) => {{
    const calls = queue._i[code] || [];
    methods.forEach((name) => defer(calls, name));
    return calls;
  }};
  queue.load = (code) => {{
    queue._i = queue._i || {{}};
    queue._i[code] = [];
    const script = document.createElement("script");
    script.src = "https://analytics.tiktok.com/i18n/pixel/events.js?sdkid=" + code + "&lib=ttq";
    document.head.append(script);
  }};
  queue.load("{OTHER_CODE}");
  queue.page();
</script>"""


class World:
    """A shop, its shopper's browser, our server with its relay, and TikTok, which gets the copies of both."""

    def __init__(self, storefront, connector, php, folder):
        self.front, self.connector = storefront, connector
        self.store = connector.config.stores["beans"]
        self.plugin = Plugin(php, folder, self.store, base_url=connector.url)
        self.database = Database(connector.engine)
        self.tiktok = Sandbox()
        client = httpx.Client(transport=httpx.MockTransport(self._serve))
        api = EventsApi("https://tiktok.example/open_api/v1.3", client)
        self.relay = Relay(connector.config.stores, Outbox(self.database), api)
        self.reported = 0

    def _serve(self, request):
        answer = self.tiktok.answer(dict(request.headers), request.content)
        return httpx.Response(answer.status, content=answer.body)

    def order(self, number):
        """The webhook of a paid order."""
        body = {**PAID_BY_CARD, "id": number, "number": str(number)}
        self.connector.receive("beans", "order.updated", body)
        return body

    def thank(self, body, own=None, copies=2):
        """The thank-you page; `own` is the shop's other code. TikTok gets what its script is told."""
        html = self.plugin.run(["wp_head"], ["woocommerce_thankyou", body["id"]], ["wp_footer"], order=body)["html"]
        watch, end, rest = html.partition("</script>")
        between = "" if own is None else f"{BASE_CODE}<script>{own}</script>"
        self.front.open_page("/order-received", watch + end + between + rest)
        self.reported += copies
        self.flush(self.reported)
        for call in self.front.tracked():
            code = call.pixel or OTHER_CODE
            event_id = call.arguments[2]["event_id"]
            item = {"event": call.arguments[0], "event_id": event_id, "event_time": int(time.time()), "browser": True}
            body = {"event_source": "web", "event_source_id": code, "data": [item]}
            assert self.tiktok.answer({"Access-Token": "t"}, json.dumps(body).encode()).status == 200

    def flush(self, copies):
        """Wait until the server has so many copies."""

        def reported():
            self.connector.application.reports.flush()
            with self.database.read() as connection:
                return connection.exec_driver_sql("SELECT count(*) FROM browser_copies").scalar() >= copies

        self.front.until(reported)

    def lines(self):
        """The meter's figures by event, after the relay and the matcher have worked."""
        while self.relay.step():
            pass
        matcher = CopyMatcher(self.database)
        assert matcher.count_foreign() + matcher.match() + matcher.close(time.time()) >= 0
        found = Merges(self.database).lines(self.store, time.time() - 3600, time.time() + 1)
        return {line.event: line for line in found}

    def truth(self, event):
        """What TikTok made of an event's copies: merged, the server's alone, the browser's alone."""
        senders = {}
        for receipt in self.tiktok.received():
            item = json.loads(receipt.item)
            if item["event"] == event:
                senders.setdefault(item["event_id"], set()).add("browser" in item)
        kinds = [*senders.values()]
        return kinds.count({True, False}), kinds.count({False}), kinds.count({True})


@pytest.fixture
def world(storefront, migrated_sqlite, tmp_path, php):
    shutil.copy(migrated_sqlite, tmp_path / "own.db")
    with Connector(tmp_path / "own.db", STORES).running() as connector:
        yield World(storefront, connector, php, tmp_path)


OWN = "ttq.track('Purchase', {value: 1, currency: 'USD'}, {event_id: 'EVENT_ID'});"
OF_INSTANCE = OWN.replace("ttq.track", f"ttq.instance('{OTHER_CODE}').track")
# What the shop's other code does, the copies of a page, and the alert.
SETUPS = {
    "ours alone": (None, 2, ""),
    "an own one with equal ids": (OWN, 2, "values"),
    "an own one with random ids": (OWN, 3, "foreign"),
    "TikTok's plugin with random ids": (OF_INSTANCE, 3, "foreign"),
}


@pytest.mark.parametrize("setup", SETUPS)
def test_the_meter_says_what_tiktok_makes_of_it(world, setup):
    """Five orders: three with a page, one without, and one whose page is blocked.

    An own copy with an equal id has another value, which TikTok keeps as it comes first.
    """
    own, copies, alert = SETUPS[setup]
    for number in (9001, 9002, 9003):
        body = world.order(number)
        event_id = f"beans-order-{number}" if copies == 2 else f"tt_{number * 77}_random"
        world.thank(body, own and own.replace("EVENT_ID", event_id), copies)
    world.order(9004)
    world.front.blocked = True
    world.thank(world.order(9005))
    lines = world.lines()
    for event, line in lines.items():
        foreign, differs = (3 * (alert == kind and event == "Purchase") for kind in ("foreign", "values"))
        assert (line.merged, line.server, line.twice) == world.truth(event) == (3, 2, foreign)
        assert (line.blocked, line.dropped, line.browser, line.orders) == (1, 0, 0, 5)
        assert line.median < 60
        counted = world.tiktok.counts()["by_event"][event]
        assert counted == line.orders + line.twice
        assert (line.same, line.differs) == (3 - differs, differs)
    assert set(lines) == {"PlaceAnOrder", "Purchase"}
    problems = [problem.key for problem in MergeProblemFinder(world.database, {"beans": world.store}).find(time.time())]
    assert problems == ([f"{alert}:beans:{OTHER_CODE}:Purchase"] if alert else [])
    assert bool(snippet_state(world.database, world.store).others_at) == (own is not None)


def test_other_code_is_seen_when_tiktoks_script_has_run_already(world):
    """Its functions have taken the place of those that were watched at first."""
    html = world.plugin.run(["wp_head"], ["wp_footer"])["html"]
    watch, end, rest = html.partition("</script>")
    world.front.open_page("/", watch + end + BASE_CODE + rest)
    world.front.page.wait_for_function("window.tiktok.length > 0")
    world.front.page.evaluate(
        "code => { ttq.instance(code).track('Purchase', {}, {event_id: 'late'}); ttq.track('Purchase', {}); }",
        OTHER_CODE,
    )
    world.flush(2)
    with world.database.read() as connection:
        rows = connection.exec_driver_sql("SELECT event_id, sender, state, loaded FROM browser_copies").all()
    assert {row[0].partition(":")[0] for row in rows} == {"sha256", "none"}
    assert {tuple(row[1:]) for row in rows} == {("other", "foreign", 1)}


def test_shopify(world):
    """Its sandbox sees its own calls: checkout and order, with the values of the webhooks."""
    store = world.connector.config.stores["acme"]
    shopper = fresh_journey(store, datetime.now(UTC), random.Random(1))
    started, paid = (shopify_samples.sample(topic, shopper, store) for topic in ("checkouts/create", "orders/paid"))
    world.connector.receive("acme", "checkouts/create", started)
    world.connector.receive("acme", "orders/paid", paid)
    world.front.open_shopify(snippet(store, "shopify", world.connector.url))
    world.front.tell("checkout_started", checkout=checkout(started))
    world.front.tell("checkout_completed", checkout=checkout(paid, paid["id"]))
    world.flush(3)
    world.store = store
    lines = world.lines()
    assert {
        event: (line.merged, line.orders, line.same, line.differs) for event, line in lines.items()
    } == dict.fromkeys(("InitiateCheckout", "PlaceAnOrder", "Purchase"), (1, 1, 1, 0))


def test_after_a_no_nothing_is_told_of_what_was_noted(world):
    """The page's other code may do as it likes; what was noted of it stays in the page."""
    body = order("068")
    html = world.plugin.run(["wp_head"], ["wp_footer"], order=body)["html"]
    watch, end, rest = html.partition("</script>")
    own = OWN.replace("EVENT_ID", "x")
    no = "<script>wp_consent_type = 'optin'; wp_has_consent = () => false;</script>"
    world.front.open_page("/", no + watch + end + BASE_CODE + f"<script>{own}</script>" + rest)
    world.front.page.wait_for_function("window.tiktok.some(one => one.method === 'track')")
    world.front.page.evaluate("dispatchEvent(new Event('pagehide'))")
    world.front.page.wait_for_load_state("networkidle")
    world.connector.application.reports.flush()
    assert snippet_state(world.database, world.store) is None
