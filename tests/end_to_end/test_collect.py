"""What a browser tells, through real gunicorn with two workers, the real relay and the sandbox, over sockets."""

import json
import os
import random
import signal
from datetime import UTC, datetime

import httpx
import pytest

from connector.mapping.consent import CONSENT_DENIED, CONSENT_MISSING
from connector.plugin.testing.samples import fresh_journey
from connector.signals.collector import ADDRESS_BURST, MAX_BEACON
from tests.support.factories import a_section, a_stores_file
from tests.support.platforms import PLATFORMS, SAMPLES

STORES = a_stores_file(
    a_section(),
    a_section(name="asking", consent="required"),
    a_section(name="hasty", consent="required", signals={"hold_order": "1s"}),
    webhook_secrets=["${SECRET}"],
    access_token="${TOKEN}",
    signals={"hold_order": "240s"},  # longer than any test waits: what arrives was let go by a beacon
)
AGENT = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X)"
IP = "198.51.99.7"


class Shopper:
    """One order, whose webhook knows nothing of the browser, and the browser."""

    def __init__(self, system, store, number):
        self.system = system
        self.store = system.config.stores[store]
        self.journey = fresh_journey(self.store, datetime.now(UTC), random.Random(number))

    @property
    def event_id(self):
        return f"{self.store.name}-order-{self.journey.order_id}"

    def order(self, topic="orders/create"):
        samples = SAMPLES["shopify"]
        body = samples.sample(topic, self.journey, self.store)
        body |= {"landing_site": None, "note_attributes": [], "browser_ip": None, "client_details": None}
        raw = samples.encode(body)
        headers = samples.headers(topic, self.journey, self.store)
        headers |= PLATFORMS["shopify"].signed_headers(raw, self.store.webhook_secrets[0])
        url = f"{self.system.url}/webhooks/{self.store.name}"
        assert httpx.post(url, content=raw, headers=headers).status_code == 200

    def beacon(self, **members):
        told = {"checkout_token": self.journey.checkout_token, "ttclid": "E.C.P.click", **members}
        answer = self.post(json.dumps(told).encode())
        assert (answer.status_code, answer.content) == (204, b"")
        assert answer.headers["Access-Control-Allow-Origin"] == "*"

    def post(self, body, forwarded=IP):
        """As a frame of no origin does, through a proxy that writes down whom it was called by."""
        headers = {"Origin": "null", "Content-Type": "text/plain;charset=UTF-8", "User-Agent": AGENT}
        headers |= {"X-Forwarded-For": f"8.8.8.8, {forwarded}"}
        return httpx.post(f"{self.system.url}/collect/{self.store.name}", content=body, headers=headers)

    def items(self):
        received = self.system.received()
        return [row["item"] for row in received if row["item"]["event_id"] == self.event_id]

    def has_joined(self):
        return [item for item in self.items() if item["user"].get("ttclid") == "E.C.P.click"]


def started(system):
    system.environment |= {"STORES_TOML": STORES, "TRUSTED_PROXIES": "1"}
    system.start()
    return system


@pytest.fixture(scope="module")
def shared(lasting):
    """A running system whose stores expect beacons, for several tests."""
    return started(lasting)


@pytest.fixture(scope="module")
def shared_on_postgresql(lasting_on_postgresql):
    return started(lasting_on_postgresql)


@pytest.mark.parametrize("where", ["shared", "shared_on_postgresql"])
def test_the_event_arrives_with_what_the_browser_told(where, request):
    """Whichever of the two comes first, and whichever worker gets it; once."""
    expecting = request.getfixturevalue(where)
    shoppers = [Shopper(expecting, "acme", number) for number in range(10)]
    for number, shopper in enumerate(shoppers):
        for come in (shopper.beacon, shopper.order)[:: 1 if number % 2 else -1]:
            come()
    expecting.until(lambda: all(shopper.has_joined() for shopper in shoppers), "all arrive joined")
    for shopper in shoppers:
        (item,) = shopper.items()
        assert (item["user"]["ip"], item["user"]["user_agent"]) == (IP, AGENT)


def test_consent_decides(shared):
    """A yes lets the order go, a no or silence stops it; the command says why."""
    yes, no, silent = (Shopper(shared, store, n) for n, store in enumerate(("asking", "asking", "hasty"), 50))
    for shopper in (yes, no, silent):
        shopper.order()
    yes.beacon(consent="granted")
    no.beacon(consent="denied")
    shared.until(yes.has_joined, "the order with a yes arrives")
    for shopper, reason in ((no, CONSENT_DENIED), (silent, CONSENT_MISSING)):
        shared.until(lambda shopper=shopper: shared.states(shopper.event_id) == {"skipped"}, f"it is skipped: {reason}")
        shown = shared.command("events", "show", shopper.event_id).stdout
        assert "state skipped" in shown
        assert f"orders/create of {shopper.store.name}: skipped" in shown
        assert reason in shown
        assert shopper.items() == []
        refused = shared.command("events", "replay", shopper.event_id)
        assert "it was skipped: no consent" in refused.stdout
    listed = shared.command("events", "list", "--state", "skipped").stdout
    assert listed.count("skipped  no consent") == 2


def test_what_was_answered_survives_a_kill(shared_on_postgresql):
    """Of everything, between the webhook and its beacon, and between a beacon and its webhook."""
    expecting = shared_on_postgresql
    first, second = Shopper(expecting, "asking", 80), Shopper(expecting, "asking", 81)
    first.order()
    second.beacon(consent="granted")
    parent = expecting.parent
    for pid in [*expecting.children("web"), *expecting.children("relay"), parent.pid]:
        os.kill(pid, signal.SIGKILL)
    parent.wait(120)
    expecting.start()
    first.beacon(consent="granted")
    second.order()
    expecting.until(lambda: first.has_joined() and second.has_joined(), "both arrive joined")
    assert (len(first.items()), len(second.items())) == (1, 1)


def test_what_is_no_beacon_costs_nothing(shared):
    """Over a real socket: junk, too much of it, with and without a length, and too often."""
    shopper = Shopper(shared, "acme", 90)
    assert [shopper.post(body).status_code for body in (b"", b"junk", b"\xff\0", b"[" * 5000)] == [204] * 4
    assert shopper.post(b"x" * (MAX_BEACON + 1)).status_code == 413
    assert shopper.post(iter([b"x" * 5000, b"x" * 5000])).status_code == 413
    preflight = httpx.options(f"{shared.url}/collect/acme", headers={"Origin": "null"})
    assert preflight.status_code == 204
    with httpx.Client() as client:
        url, headers = f"{shared.url}/collect/acme", {"X-Forwarded-For": "198.51.99.8"}
        often = [client.post(url, content=b"junk", headers=headers).status_code for _ in range(2 * ADDRESS_BURST + 60)]
    assert set(often) == {204, 429}
    shopper.order()
    shopper.beacon()
    shared.until(shopper.has_joined, "a good beacon is heard all the same")
