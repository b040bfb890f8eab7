"""Where webhooks come in: what is taken for one, and what a hostile request gets."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.config.settings import load
from connector.setup.samples import webhooks
from connector.storage.database import CannotStore, Database
from connector.storage.engine import connect
from connector.web.asgi import FREE_BYTES, BodyReader
from connector.web.webhook_endpoint import MAX_BODY
from tests.support.effort import examples
from tests.support.factories import a_stores_file
from tests.support.web import client_of

STORES = a_stores_file(webhook_secrets=["whsec-reception-test"], access_token="token-reception-test", country=None)


@pytest.fixture
def config(migrated_sqlite_url):
    return load({"STORES_TOML": STORES, "DATABASE_URL": migrated_sqlite_url})


@pytest.fixture
def client(config):
    engine = connect(config.database_url, timeout=0.2)
    yield client_of(config, Database(engine))
    engine.dispose()


@pytest.fixture
def order(config):
    return next(webhooks(config.stores["acme"], ["orders/create"], 1, random.Random(1)))


def parts(*sizes, ended=True):
    """A body without a length, in parts of these sizes; one that is not `ended` breaks off."""
    last = len(sizes) - 1 if ended else -1
    return [
        {"type": "http.request", "body": b"x" * size, "more_body": number != last} for number, size in enumerate(sizes)
    ]


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
    sent = iter(parts(*[MAX_BODY // 2 + 1] * 5))
    assert client.open("/webhooks/acme", "POST", parts=sent).status_code == 413
    assert len([*sent]) == 3


def test_a_body_that_breaks_off_is_400(client):
    """The client has gone; nothing of the body is kept."""
    answer = client.open("/webhooks/acme", "POST", parts=parts(10, ended=False))
    assert (answer.status_code, answer.json) == (400, {"error": "Bad Request"})


def test_large_bodies_keep_no_ordinary_webhook_out(order):
    """While they fill the memory that is meant for them, another large one is 503, and an order is taken."""
    body, _ = order
    bodies = BodyReader(1_000_000)
    held = [bodies.read(receive_never_ending(900_000), {}, MAX_BODY)]
    held[0].send(None)
    with pytest.raises(CannotStore, match="too many large requests"):
        finish(bodies.read(receive_parts(parts(FREE_BYTES, 200_000)), {}, MAX_BODY))
    assert finish(bodies.read(receive_parts(parts(1000, len(body))), {}, MAX_BODY)) == b"x" * (1000 + len(body))
    held[0].close()
    assert len(finish(bodies.read(receive_parts(parts(FREE_BYTES, 200_000)), {}, MAX_BODY))) == FREE_BYTES + 200_000


def receive_parts(messages):
    arriving = iter(messages)

    async def receive():
        return next(arriving)

    return receive


class Pause:
    """Something to wait for that never comes."""

    def __await__(self):
        yield


def receive_never_ending(size):
    sent = []

    async def receive():
        if sent:
            await Pause()
        sent.append(size)
        return {"type": "http.request", "body": b"x" * size, "more_body": True}

    return receive


def finish(coroutine):
    with pytest.raises(StopIteration) as ended:
        coroutine.send(None)
    return ended.value.value


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
@examples(150)
def test_no_request_gives_a_5xx(client, path, body, headers):
    """Whatever an unknown sender puts into headers and body."""
    assert client.post(path, data=body, headers=headers).status_code in (200, 400, 401, 404)
