"""The fake Shopify delivers as the real one does: signed, in order, again after a failure, and not for ever."""

import json
import random
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from connector.core.shop_api import ShopApiError
from connector.core.store import ApiKeys
from connector.core.webhook import Request
from connector.plugin.testing.samples import fresh_journey
from platforms.shopify import receive
from platforms.shopify import samples as shopify_samples
from platforms.shopify.shop_api import connect as connect_shop
from platforms.shopify.shop_api import topics
from tests.support.fakes.shopify import FAILURES, FakeShopify
from tests.support.sample_bodies import NOW, SHOPIFY

STORE = replace(SHOPIFY, webhook_secrets=("client-secret-of-the-fake",))


class Receiver:
    """Hears webhooks and answers them with `status`."""

    def __init__(self) -> None:
        self.heard: list[Request] = []
        self.status = 200
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.heard.append(Request({name.lower(): value for name, value in self.headers.items()}, body, NOW))
                self.send_response_only(outer.status)
                self.end_headers()

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/webhooks/acme"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def topics(self) -> list[str]:
        return [receive.receive(request, STORE).topic for request in self.heard]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    running = Receiver()
    yield running
    running.close()


@pytest.fixture
def fake(receiver: Receiver) -> Iterator[FakeShopify]:
    """With our webhooks registered to the receiver, through the admin."""
    with FakeShopify(clock=NOW.timestamp) as running:
        shop = connect_shop(replace(STORE, api=ApiKeys(access_token=running.access_token)), base=running.url)
        for topic in topics(STORE):
            shop.subscribe(topic, receiver.url, "")
        yield running


def sample(topic: str, **changes: object) -> dict[str, object]:
    journey = fresh_journey(STORE, NOW, random.Random(4))
    return {**shopify_samples.sample(topic, journey, STORE), **changes}


def test_a_shoppers_way_is_delivered_and_verifies(fake, receiver):
    """Only subscribed topics, each with Shopify's headers, its signature good for our own receive."""
    order = sample("orders/create")
    fake.register(sample("customers/create", state="disabled"))
    fake.enable(sample("customers/create")["id"])
    fake.check_out(sample("checkouts/create"))
    fake.continue_checkout(sample("checkouts/update"))
    fake.place(order)
    fake.pay(order["id"])
    assert receiver.topics == [
        *("customers/create", "customers/enable", "checkouts/create", "checkouts/update"),
        *("orders/create", "orders/paid"),
    ]
    webhooks = [receive.receive(request, STORE) for request in receiver.heard]
    assert {webhook.shop for webhook in webhooks} == {"acme.myshopify.com"}
    assert len({webhook.delivery for webhook in webhooks}) == 6
    assert {webhook.triggered_at for webhook in webhooks} == {NOW}
    assert json.loads(webhooks[-1].body)["financial_status"] == "paid"


def test_an_order_that_is_paid_when_placed_tells_both_as_one_action(fake, receiver):
    fake.place(sample("orders/paid"))
    assert receiver.topics == ["orders/create", "orders/paid"]
    assert len({request.headers["x-shopify-event-id"] for request in receiver.heard}) == 1


def test_history_has_what_was_delivered(fake, receiver):
    """The same body, by webhook and by REST."""
    order = sample("orders/create")
    fake.place(order)
    shop = connect_shop(replace(STORE, api=ApiKeys(access_token=fake.access_token)), base=fake.url)
    (page,) = shop.orders(NOW.replace(hour=0), NOW.replace(hour=23), "created")
    assert json.loads(page.bodies[0]) == json.loads(receiver.heard[0].body)


def test_dropped_deliveries_never_come_and_are_no_failures(fake, receiver):
    fake.drop = {"orders/paid"}
    fake.place(sample("orders/paid"))
    fake.drop = lambda topic, body: body["id"] == 5
    fake.place(sample("orders/create", id=5))
    fake.place(sample("orders/create", id=6))
    assert receiver.topics == ["orders/create", "orders/create"]
    assert fake.retry() == []
    assert [each.status for each in fake.deliveries] == [200, None, None, 200]


def test_what_failed_comes_again_unchanged(fake, receiver):
    """Under the same id, with the body of then."""
    order = sample("orders/create")
    receiver.status = 503
    fake.place(order)
    fake.update(order["id"], note="wrapped")
    receiver.status = 200
    (again,) = fake.retry()
    assert again.status == 200
    first, second = receiver.heard
    assert (first.body, first.headers) == (second.body, second.headers)
    assert fake.retry() == []
    assert fake.delivered("orders/create") == [again]


def test_a_subscription_that_keeps_failing_is_deleted(fake, receiver):
    """After eight failures in a row, not in all."""
    receiver.status = 500
    for number in range(FAILURES - 1):
        fake.check_out(sample("checkouts/create", token=str(number)))
    receiver.status = 200
    fake.check_out(sample("checkouts/create"))
    receiver.status = 404
    for number in range(FAILURES):
        assert "checkouts/create" in {each.topic for each in fake.subscriptions}
        fake.check_out(sample("checkouts/create", token=str(number)))
    assert "checkouts/create" not in {each.topic for each in fake.subscriptions}
    assert "checkouts/update" in {each.topic for each in fake.subscriptions}


def test_nobody_listening_is_a_failure(fake, receiver):
    receiver.close()
    fake.check_out(sample("checkouts/create"))
    assert fake.deliveries[-1].status == 0
    assert fake.deliveries[-1].failed


def test_withheld_persons_are_missing_from_webhooks_too(fake, receiver):
    fake.withholding = True
    fake.place(sample("orders/create"))
    body = json.loads(receiver.heard[0].body)
    assert "email" not in body
    assert "first_name" not in body["customer"]
    assert set(body["shipping_address"]) <= {"company", "country", "country_code", "province", "province_code"}
    assert body["browser_ip"]


def test_an_uninstalled_app_is_told_and_locked_out(fake, receiver):
    shop = connect_shop(replace(STORE, api=ApiKeys(access_token=fake.access_token)), base=fake.url)
    fake.uninstall()
    assert receiver.topics == ["app/uninstalled"]
    assert fake.subscriptions == []
    with pytest.raises(ShopApiError) as caught:
        shop.subscriptions()
    assert caught.value.kind == "keys"
