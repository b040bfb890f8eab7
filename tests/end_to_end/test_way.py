"""An order's whole way, through real gunicorn, real relay, real database and the sandbox, over sockets."""

import base64
import json
import os
import random
import signal
import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from connector.devtools.simulate import simulate
from connector.setup.samples import webhooks
from tests.support.factories import a_pixel_code, a_section
from tests.support.platforms import SAMPLES

REQUESTS = Path(__file__).parent.parent / "fixtures/woocommerce/requests"
FUNNEL = {"PlaceAnOrder", "Purchase", "InitiateCheckout", "CompleteRegistration"}


@pytest.fixture(scope="module")
def running(lasting):
    """A running system on SQLite, for several tests."""
    return started(lasting)


@pytest.fixture(scope="module")
def running_on_postgresql(lasting_on_postgresql):
    return started(lasting_on_postgresql)


@pytest.fixture(params=["running", "running_on_postgresql"])
def on_either(request):
    return request.getfixturevalue(request.param)


def started(system):
    """With three shops whose events no other test sends; the API of the last is the sandbox's."""
    api = {"access_token": "any", "url": f"{system.sandbox_url}/shops/bigcommerce/towels"}
    shops = a_section(name="linen"), a_section("woocommerce", "mugs"), a_section("bigcommerce", "towels", api=api)
    system.environment["STORES_TOML"] += "\n" + "\n".join(shops)
    system.start()
    return system


def of_store(system, name):
    """Return the events that the sandbox has received for a store's pixel."""
    return [row for row in system.received() if row["event_source_id"] == a_pixel_code(name)]


def test_a_shopper_of_each_platform_arrives_once(on_either):
    """Registration, checkout, order and payment reach TikTok once each, although every webhook comes twice."""
    system = on_either
    for name in ("linen", "mugs"):
        store = system.config.stores[name]
        topics = [topic for topic in SAMPLES[store.platform].FUNNEL for _ in range(2)]
        report = simulate(store, f"{system.url}/webhooks/{name}", topics, 1, random.Random(7), lambda: None)
        assert report.statuses == {200: 8}
    for name in ("linen", "mugs"):
        system.until(lambda name=name: len(of_store(system, name)) >= 4, f"four events of {name} arrive")
        assert not any(row["duplicate"] for row in of_store(system, name))
        items = {row["item"]["event"]: row["item"] for row in of_store(system, name)}
        assert set(items) == FUNNEL
        assert items["PlaceAnOrder"]["event_id"] == items["Purchase"]["event_id"]
        assert items["PlaceAnOrder"]["properties"]["value"] == items["Purchase"]["properties"]["value"] > 0
        assert {"currency", "contents", "order_id"} <= set(items["Purchase"]["properties"])
        assert {"email", "ip", "user_agent"} <= set(items["Purchase"]["user"])


def test_an_order_that_its_webhook_only_names_arrives_once(running_on_postgresql):
    """The relay's process fetches it from the shop's API, here the sandbox's; every webhook comes twice."""
    system = running_on_postgresql
    store = system.config.stores["towels"]
    topics = ["store/customer/created", "store/order/created", "store/order/statusUpdated"]
    repeated = [topic for topic in topics for _ in range(2)]
    report = simulate(store, f"{system.url}/webhooks/towels", repeated, 1, random.Random(7), lambda: None)
    assert report.statuses == {200: 6}
    system.until(lambda: len(of_store(system, "towels")) >= 3, "three events arrive")
    assert not any(row["duplicate"] for row in of_store(system, "towels"))
    assert {row["item"]["event"] for row in of_store(system, "towels")} == FUNNEL - {"InitiateCheckout"}
    assert "Fetched from the shop" in system.command("stats", "towels").stdout


class Shop:
    """Posts orders, fifty a second, as long as it is open; remembers what it posted, and what was answered 200."""

    def __init__(self, system):
        self.posted, self.stored = set(), set()
        self._system = system
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._post)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._closed.set()
        self._thread.join(120)

    def _post(self):
        orders = webhooks(
            self._system.config.stores["acme"], ("orders/create", "orders/paid"), 100_000, random.Random(9)
        )
        with httpx.Client(timeout=10) as client:
            while not self._closed.wait(0.02):
                body, headers = next(orders)
                event_id = f"acme-order-{json.loads(body)['id']}"
                self.posted.add(event_id)
                with suppress(httpx.HTTPError):
                    answer = client.post(f"{self._system.url}/webhooks/acme", content=body, headers=headers)
                    if answer.status_code == 200:
                        self.stored.add(event_id)


@pytest.mark.parametrize(
    ("database_url", "victims"),
    [("sqlite", ("relay", "worker", "gunicorn")), ("postgresql", ("relay", "parent"))],
    indirect=["database_url"],
)
def test_a_killed_process_loses_nothing_that_was_answered_200(system, victims):
    """Kill -9 in the middle of a stream of orders, one after another; everything answered 200 arrives."""
    system.start()
    with Shop(system) as shop:
        for victim in victims:
            await_orders(system, shop)
            pids = find(system, victim)
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            if victim in ("gunicorn", "parent"):
                assert system.parent.wait(120) != 0
                system.until(lambda: not system.children("web") + system.children("relay"), "the children end, too")
                system.start()
            else:
                system.until(lambda pids=pids, name=victim: new(system, name, pids), f"there is another {victim}")
        await_orders(system, shop)

    def arrived():
        return {row["item"]["event_id"] for row in system.received()}

    # A killed relay's events come back when its lease of two minutes ends.
    system.until(lambda: shop.stored <= arrived(), "all that was answered 200 arrives", seconds=170)
    assert arrived() <= shop.posted


def await_orders(system, shop):
    """Until another twenty orders have been stored."""
    enough = len(shop.stored) + 20
    system.until(lambda: len(shop.stored) >= enough, "twenty orders are stored")


def find(system, victim):
    """The process ids of a part of the system."""
    if victim == "parent":
        return [system.parent.pid]
    parts = {"relay": ("relay", slice(None)), "worker": ("web", slice(1, 2)), "gunicorn": ("web", slice(1))}
    name, chosen = parts[victim]
    return system.children(name)[chosen]


def new(system, victim, pids):
    """Say that others are there in place of these processes, and the server is ready."""
    found = system.children("relay" if victim == "relay" else "web")
    return set(found).isdisjoint(pids) and len(found) == (1 if victim == "relay" else 3) and system.ready()


def test_every_recorded_request_is_answered_200(running):
    """Signed recordings and pings alike; one PlaceAnOrder per placed web order arrives at the sandbox."""
    paths = sorted(REQUESTS.glob("*.json"))
    assert len(paths) == 179
    with httpx.Client(timeout=120) as client:
        for path in paths:
            recorded = json.loads(path.read_text())
            headers = dict(recorded["headers"])
            body = base64.b64decode(recorded["body_base64"])
            sent = {k: v for k, v in headers.items() if k.lower() not in ("host", "content-length", "connection")}
            answer = client.post(f"{running.url}/webhooks/recorded", content=body, headers=sent)
            assert answer.status_code == 200, path.name

    running.until(lambda: len(of_store(running, "recorded")) >= 13, "thirteen events arrive")
    rows = of_store(running, "recorded")
    events = Counter((row["item"]["event"], row["item"]["event_id"]) for row in rows)
    assert max(events.values()) == 1
    placed = {event_id for event, event_id in events if event == "PlaceAnOrder"}
    assert placed == {f"recorded-order-{number}" for number in (21, 23, 125, 126, 127, 129)}
    assert {row["test_event_code"] for row in rows} == {"TEST12345"}


def test_webhooks_have_the_processor_before_the_relay(running):
    """A shop waits for its answer, TikTok for nothing."""
    (relay,) = running.children("relay")
    web = {os.getpriority(os.PRIO_PROCESS, pid) for pid in running.children("web")}
    assert {os.getpriority(os.PRIO_PROCESS, relay)} == {min(nice + 10, 19) for nice in web}  # 19: the highest there is


def test_one_url_serves_several_shopify_shops(running):
    """`/webhooks/shopify` chooses the store by shop domain among those whose secret verifies."""
    store = running.config.stores["acme"]
    report = simulate(store, f"{running.url}/webhooks/shopify", ["orders/create"], 1, random.Random(3), lambda: None)
    assert report.statuses == {200: 1}
    running.until(lambda: of_store(running, "acme"), "the order arrives")
    body, headers = next(webhooks(store, ["orders/create"], 1, random.Random(4)))
    headers["X-Shopify-Shop-Domain"] = "other.myshopify.com"
    assert httpx.post(f"{running.url}/webhooks/shopify", content=body, headers=headers).status_code == 401


def test_events_can_be_listed_shown_and_replayed(running_on_postgresql):
    """The commands tell the story of an order that TikTok has accepted."""
    system = running_on_postgresql
    store = system.config.stores["acme"]
    body, headers = next(webhooks(store, ["orders/create"], 1, random.Random(5)))
    order = json.loads(body)
    event_id = f"acme-order-{order['id']}"
    httpx.post(f"{system.url}/webhooks/acme", content=body, headers=headers).raise_for_status()
    system.until(lambda: system.states(event_id) == {"accepted"}, "the event is accepted")
    assert any(event_id in line and "accepted" in line for line in system.command("events", "list").stdout.splitlines())
    shown = system.command("events", "show", order["name"]).stdout
    assert "relayed" in shown
    assert event_id in shown
    assert "code 0" in shown
    assert order["browser_ip"] not in shown
    refused = system.command("events", "replay", event_id)
    assert refused.returncode == 1
    assert "accepted it already" in refused.stdout
    assert system.command("events", "show", "nothing-like-this").returncode == 1
