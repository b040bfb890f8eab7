"""The HTTP shell: routes, statuses and what a hostile request gets."""

import json
import random
import sqlite3
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connector.app import MAX_BODY, create_app
from connector.config import load
from connector.database import connect, migrate
from connector.desk import Desk
from connector.outbox import Outbox
from connector.simulate import webhooks

STORES = """
[defaults]
consent = "not_required"
webhook_secrets = "whsec-app-test"
access_token = "token-app-test"
[stores.acme]
platform = "shopify"
url = "https://acme.example"
shop = "acme.myshopify.com"
pixel = "CACME000000000000000"
[stores.beans]
platform = "woocommerce"
url = "https://beans.example"
shop = "beans.example"
pixel = "CBEANS00000000000000"
"""


@pytest.fixture
def config(sqlite_url):
    return load({"STORES_TOML": STORES, "DATABASE_URL": sqlite_url})


@pytest.fixture
def outbox(config):
    engine = connect(config.database_url, patience=0.2)
    migrate(engine)
    yield Outbox(engine)
    engine.dispose()


@pytest.fixture
def client(config, outbox):
    return create_app(config, outbox).test_client()


@pytest.fixture
def order(config):
    return next(webhooks(config.stores["acme"], ["orders/create"], 1, random.Random(1)))


def test_a_signed_webhook_is_answered_200_once_stored(client, order, outbox):
    """200 means stored: the event lies in the outbox when the answer leaves."""
    body, headers = order
    answer = client.post("/webhooks/acme", data=body, headers=headers)
    assert (answer.status_code, answer.json) == (200, {"outcome": "relayed"})
    assert len(outbox.lanes_due(datetime.now(UTC).timestamp() + 1)) == 0  # the relay makes the lanes
    assert client.post("/webhooks/acme/", data=body, headers=headers).json == {"outcome": "nothing new"}


def test_a_wrong_signature_is_401_and_an_unknown_store_404(client, order):
    """Neither is told apart from the other by more than it must."""
    body, headers = order
    assert client.post("/webhooks/acme", data=body + b" ", headers=headers).status_code == 401
    assert client.post("/webhooks/acme", data=body).status_code == 401
    assert client.post("/webhooks/nobody", data=body, headers=headers).status_code == 404
    assert client.get("/webhooks/acme").status_code == 405


def test_a_body_beyond_ten_megabytes_is_413(client):
    """Before anything is read of it."""
    assert client.post("/webhooks/acme", data=b"x" * (MAX_BODY + 1)).status_code == 413


def test_signed_but_not_json_is_400(client, config):
    """The sender is the shop, but there is nothing to keep."""
    from platforms import PLATFORMS

    headers = PLATFORMS["shopify"].signed_headers(b"not json", "whsec-app-test") | {"X-Shopify-Topic": "orders/create"}
    answer = client.post("/webhooks/acme", data=b"not json", headers=headers)
    assert (answer.status_code, answer.json) == (400, {"error": "the body is not JSON"})


def test_a_locked_database_is_503_with_retry_after(client, order, sqlite_url):
    """Not stored, so not 200; the shop or a person tries again."""
    body, headers = order
    holder = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        answer = client.post("/webhooks/acme", data=body, headers=headers)
        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "10"
        assert client.get("/readyz").status_code == 503
        assert client.get("/healthz").status_code == 200
    finally:
        holder.close()
    assert client.post("/webhooks/acme", data=body, headers=headers).json == {"outcome": "relayed"}


def test_readyz_says_whether_a_relay_is_alive(client, outbox):
    """Ready to store it is without one."""
    assert client.get("/readyz").json == {"status": "ready", "relay": "none was ever seen"}
    outbox.beat("one", datetime.now(UTC).timestamp())
    assert client.get("/readyz").json == {"status": "ready", "relay": "alive"}


def test_refused_signatures_are_counted(client, outbox):
    """Per store and hour, and not one row a request."""
    for _ in range(3):
        client.post("/webhooks/acme", data=b"{}")
    client.application.extensions["intake"].flush()
    counted = {(row.store, row.what): row.count for row in Desk(outbox.engine).counted()}
    assert counted == {("acme", "refused"): 3}


def test_the_ping_is_200_and_changes_nothing(client, outbox):
    """WooCommerce's unsigned ping when a webhook is saved."""
    answer = client.post("/webhooks/beans", data=b"webhook_id=7", content_type="application/x-www-form-urlencoded")
    assert (answer.status_code, answer.json) == (200, {"outcome": "handshake"})
    assert Desk(outbox.engine).counted() == []


@given(
    path=st.sampled_from(
        ["/webhooks/acme", "/webhooks/beans", "/webhooks/shopify", "/webhooks/%ff%00", "//webhooks//acme"]
    ),
    body=st.binary(max_size=200),
    headers=st.dictionaries(
        st.sampled_from(
            [
                "X-Shopify-Hmac-Sha256",
                "X-Shopify-Topic",
                "X-WC-Webhook-Signature",
                "X-WC-Webhook-Topic",
                "Content-Type",
                "X-Shopify-Triggered-At",
                "X-Shopify-Shop-Domain",
                "X-WC-Webhook-Source",
                "Content-Encoding",
            ]
        ),
        st.text(st.characters(max_codepoint=255, exclude_characters="\r\n"), max_size=60),
    ),
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_request_gives_a_5xx(client, path, body, headers):
    """Whatever an unknown sender puts into headers and body."""
    assert client.post(path, data=body, headers=headers).status_code in (200, 400, 401, 404)


def test_nothing_personal_is_in_an_answer(client, order):
    """An answer tells the outcome in a word."""
    body, headers = order
    text = client.post("/webhooks/acme", data=body, headers=headers).text
    assert json.loads(body)["email"] not in text
