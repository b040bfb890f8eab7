"""An order's whole way, through real gunicorn, real relay, real database and the sandbox, over sockets."""

import base64
import json
import os
import random
import signal
import threading
from collections import Counter
from pathlib import Path

import httpx
import pytest

from connector.devtools.simulate import simulate
from connector.setup.samples import webhooks
from tests.support.factories import a_pixel_code, a_section
from tests.support.platforms import SAMPLES

REQUESTS = Path(__file__).parent.parent / "fixtures/woocommerce/requests"
ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
ON_POSTGRESQL = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
FUNNEL = {"PlaceAnOrder", "Purchase", "InitiateCheckout", "CompleteRegistration"}


def test_a_shopper_of_each_platform_arrives_once(system):
    """Registration, checkout, order and payment reach TikTok once each, although every webhook comes twice."""
    system.start()
    for name in ("acme", "beans"):
        store = system.config.stores[name]
        topics = [topic for topic in SAMPLES[store.platform].FUNNEL for _ in range(2)]
        report = simulate(store, f"{system.url}/webhooks/{name}", topics, 1, random.Random(7), lambda: None)
        assert report.statuses == {200: 8}
    system.until(lambda: len(system.received()) >= 8, "eight events arrive")
    assert not any(row["duplicate"] for row in system.received())
    for pixel in ("CACME000000000000000", "CBEANS00000000000000"):
        items = {row["item"]["event"]: row["item"] for row in system.received() if row["event_source_id"] == pixel}
        assert set(items) == FUNNEL
        assert items["PlaceAnOrder"]["event_id"] == items["Purchase"]["event_id"]
        assert items["PlaceAnOrder"]["properties"]["value"] == items["Purchase"]["properties"]["value"] > 0
        assert {"currency", "contents", "order_id"} <= set(items["Purchase"]["properties"])
        assert {"email", "ip", "user_agent"} <= set(items["Purchase"]["user"])
    assert system.stop() == 0


@ON_POSTGRESQL
def test_an_order_that_its_webhook_only_names_arrives_once(system):
    """The relay's process fetches it from the shop's API, here the sandbox's; every webhook comes twice."""
    api = {"access_token": "any", "url": f"{system.sandbox_url}/shops/bigcommerce/towels"}
    system.environment["STORES_TOML"] += "\n" + a_section("bigcommerce", "towels", api=api)
    system.start()
    store = system.config.stores["towels"]
    topics = ["store/customer/created", "store/order/created", "store/order/statusUpdated"]
    repeated = [topic for topic in topics for _ in range(2)]
    report = simulate(store, f"{system.url}/webhooks/towels", repeated, 1, random.Random(7), lambda: None)
    assert report.statuses == {200: 6}
    system.until(lambda: len(system.received()) >= 3, "three events arrive")
    assert not any(row["duplicate"] for row in system.received())
    assert {row["item"]["event"] for row in system.received()} == FUNNEL - {"InitiateCheckout"}
    assert "Fetched from the shop" in system.command("stats", "towels").stdout
    assert system.stop() == 0


@pytest.mark.parametrize(
    ("database_url", "victim"),
    [
        ("sqlite", "relay"),
        ("sqlite", "worker"),
        ("sqlite", "gunicorn"),
        ("postgresql", "relay"),
        ("postgresql", "parent"),
    ],
    indirect=["database_url"],
)
def test_a_killed_process_loses_nothing_that_was_answered_200(system, victim):
    """Kill -9 in the middle of a stream of orders; after a restart everything answered 200 has arrived."""
    system.start()
    store = system.config.stores["acme"]
    stored: set[str] = set()
    halfway = threading.Event()

    def shop() -> None:
        topics = ("orders/create", "orders/paid")
        with httpx.Client(timeout=10) as client:
            for number, (body, headers) in enumerate(webhooks(store, topics, 60, random.Random(victim))):
                if number == 40:
                    halfway.set()
                try:
                    answer = client.post(f"{system.url}/webhooks/acme", content=body, headers=headers)
                except httpx.HTTPError:
                    continue
                if answer.status_code == 200:
                    stored.add(f"acme-order-{json.loads(body)['id']}")

    shopping = threading.Thread(target=shop)
    shopping.start()
    assert halfway.wait(120)
    web = system.children("web")
    targets = {
        "relay": system.children("relay"),
        "worker": web[1:2],
        "gunicorn": web[:1],
        "parent": [system.parent.pid],
    }
    for pid in targets[victim]:
        os.kill(pid, signal.SIGKILL)
    if victim in ("gunicorn", "parent"):
        assert system.parent.wait(120) != 0
        system.until(lambda: not system.children("web") + system.children("relay"), "the children end with the parent")
        system.start()
    shopping.join(120)
    assert len(stored) >= 20

    def arrived() -> set[str]:
        return {row["item"]["event_id"] for row in system.received()}

    # A killed relay's events come back when its lease of two minutes ends.
    system.until(lambda: stored <= arrived(), "all that was answered 200 arrives", seconds=170)
    foreign = {row["item"]["event_id"] for row in system.received()} - {
        f"acme-order-{json.loads(body)['id']}"
        for body, _ in webhooks(store, ("orders/create",), 60, random.Random(victim))
    }
    assert not foreign


@ON_SQLITE
def test_hup_restarts_both_and_keeps_serving(system):
    """New workers and a new relay, the same gunicorn and socket, and the server answers."""
    system.start()
    before = system.children("web"), system.children("relay")
    system.parent.send_signal(signal.SIGHUP)
    system.until(lambda: set(system.children("relay")).isdisjoint(before[1]) and system.ready(), "the relay is new")
    system.until(lambda: set(system.children("web")).isdisjoint(before[0][1:]), "the workers are new")
    assert system.children("web")[0] == before[0][0]
    assert system.stop() == 0


@pytest.fixture(scope="module")
def running(lasting):
    """A running system, for several tests."""
    lasting.start()
    return lasting


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

    def received():
        return [row for row in running.received() if row["event_source_id"] == a_pixel_code("recorded")]

    running.until(lambda: len(received()) >= 13, "thirteen events arrive")
    events = Counter((row["item"]["event"], row["item"]["event_id"]) for row in received())
    assert max(events.values()) == 1
    placed = {event_id for event, event_id in events if event == "PlaceAnOrder"}
    assert placed == {f"recorded-order-{number}" for number in (21, 23, 125, 126, 127, 129)}
    assert {row["test_event_code"] for row in received()} == {"TEST12345"}


def test_webhooks_have_the_processor_before_the_relay(running):
    """A shop waits for its answer, TikTok for nothing."""
    (relay,) = running.children("relay")
    web = {os.getpriority(os.PRIO_PROCESS, pid) for pid in running.children("web")}
    assert {os.getpriority(os.PRIO_PROCESS, relay)} == {nice + 10 for nice in web}


def test_one_url_serves_several_shopify_shops(running):
    """`/webhooks/shopify` chooses the store by shop domain among those whose secret verifies."""
    store = running.config.stores["acme"]
    report = simulate(store, f"{running.url}/webhooks/shopify", ["orders/create"], 1, random.Random(3), lambda: None)
    assert report.statuses == {200: 1}
    pixel = a_pixel_code("acme")
    running.until(lambda: any(row["event_source_id"] == pixel for row in running.received()), "the order arrives")
    body, headers = next(webhooks(store, ["orders/create"], 1, random.Random(4)))
    headers["X-Shopify-Shop-Domain"] = "other.myshopify.com"
    assert httpx.post(f"{running.url}/webhooks/shopify", content=body, headers=headers).status_code == 401


@ON_POSTGRESQL
def test_events_can_be_listed_shown_and_replayed(system):
    """What the commands print about an order, before and after TikTok refused it."""
    system.start()
    store = system.config.stores["acme"]
    body, headers = next(webhooks(store, ["orders/create"], 1, random.Random(5)))
    order = json.loads(body)
    event_id = f"acme-order-{order['id']}"
    httpx.post(f"{system.url}/webhooks/acme", content=body, headers=headers).raise_for_status()
    system.until(lambda: "accepted" in system.command("events", "list").stdout, "the event is accepted")
    shown = system.command("events", "show", order["name"]).stdout
    assert "relayed" in shown
    assert event_id in shown
    assert "code 0" in shown
    assert order["browser_ip"] not in shown
    refused = system.command("events", "replay", event_id)
    assert refused.returncode == 1
    assert "accepted it already" in refused.stdout
    assert system.command("events", "show", "nothing-like-this").returncode == 1
