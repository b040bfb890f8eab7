"""Where webhooks come in: what is taken for one, and what a hostile request gets."""

import io
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from werkzeug.test import EnvironBuilder, run_wsgi_app

from connector.config.settings import load
from connector.devtools.simulate import webhooks
from connector.storage.database import Database
from connector.storage.engine import connect
from connector.web.application import create_app
from connector.web.webhook_endpoint import MAX_BODY
from tests.support.factories import a_stores_file

STORES = a_stores_file(webhook_secrets=["whsec-reception-test"], access_token="token-reception-test", country=None)


@pytest.fixture
def config(migrated_sqlite_url):
    return load({"STORES_TOML": STORES, "DATABASE_URL": migrated_sqlite_url})


@pytest.fixture
def client(config):
    engine = connect(config.database_url, timeout=0.2)
    yield create_app(config, Database(engine)).test_client()
    engine.dispose()


@pytest.fixture
def order(config):
    return next(webhooks(config.stores["acme"], ["orders/create"], 1, random.Random(1)))


class Stream(io.RawIOBase):
    """A body of unknown length, or one that breaks off as gunicorn's do: with an exception of its own."""

    def __init__(self, size, error=None):
        self.left, self.error = size, error

    def readable(self):
        return True

    def readinto(self, place):
        number = min(len(place), self.left)
        if not number and self.error:
            raise self.error
        place[:number] = b"x" * number
        self.left -= number
        return number


def post(client, stream, **environ):
    """Straight through WSGI, as a server would hand it over."""
    built = EnvironBuilder("/webhooks/acme", method="POST").get_environ()
    said, status, _ = run_wsgi_app(client.application, {**built, "wsgi.input": stream, **environ}, buffered=True)
    return status, b"".join(said)


def test_a_wrong_signature_is_401_and_an_unknown_store_404(client, order):
    """Neither is told apart from the other by more than it must."""
    body, headers = order
    assert client.post("/webhooks/acme", data=body + b" ", headers=headers).status_code == 401
    assert client.post("/webhooks/acme", data=body).status_code == 401
    assert client.post("/webhooks/nobody", data=body, headers=headers).status_code == 404
    assert client.get("/webhooks/acme").status_code == 405


@pytest.mark.parametrize("name", ["acme/", "acme"])
def test_a_slash_at_the_end_is_no_other_place(client, order, name):
    """Whoever registers an address by hand types one now and then, and a redirect would be a failed delivery."""
    body, headers = order
    assert client.post(f"/webhooks/{name}", data=body, headers=headers).json == {"outcome": "relayed"}


@pytest.mark.parametrize(
    ("path", "named"), [("/webhooks/", "''"), ("/webhooks/a/b", "'a/b'"), ("/webhooks/%C3%BC", "'ü'")]
)
def test_a_store_that_is_not_there_is_named(client, path, named):
    """Whoever mistyped it sees what came."""
    answer = client.post(path, data=b"{}")
    assert (answer.status_code, answer.json) == (
        404, {"error": f"there is no store {named} here; the URL ends in the store's name"}
    )  # fmt: skip


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
def test_only_what_is_posted_is_a_webhook(client, method):
    """A person who opens the address in a browser sees that it is there."""
    assert client.open("/webhooks/acme", method=method).status_code == 405


def test_a_body_beyond_ten_megabytes_is_413(client):
    """Before anything is read of it."""
    assert client.post("/webhooks/acme", data=b"x" * (MAX_BODY + 1)).status_code == 413


def test_a_body_beyond_ten_megabytes_without_a_length_is_413(client):
    """Chunks do not say how many will come; no more is read than may be kept."""
    stream = Stream(MAX_BODY * 3)
    assert post(client, stream, **{"wsgi.input_terminated": True})[0] == "413 REQUEST ENTITY TOO LARGE"
    assert stream.left > MAX_BODY


@pytest.mark.parametrize("error", [ValueError("no chunk"), OSError("reset"), TimeoutError()])
def test_a_body_that_breaks_off_is_400(client, error):
    """No fault of ours, and nothing of it is kept."""
    refused = ("400 BAD REQUEST", b'{"error":"Bad Request"}\n')
    assert post(client, Stream(10, error), CONTENT_LENGTH="100") == refused
    assert post(client, Stream(10), CONTENT_LENGTH="100") == refused


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
@settings(max_examples=150)
def test_no_request_gives_a_5xx(client, path, body, headers):
    """Whatever an unknown sender puts into headers and body."""
    assert client.post(path, data=body, headers=headers).status_code in (200, 400, 401, 404)
