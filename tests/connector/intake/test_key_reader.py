"""Public keys on their way from the relay's process to a request: fetched, stored, read, and wanted when unknown."""

import time
from types import SimpleNamespace

import httpx
import msgspec
import pytest

from connector.config.settings import load
from connector.core.registry import installed_platforms
from connector.intake.key_reader import KeyReader
from connector.outbox.queries import OutboxQueries
from connector.storage.database import Database
from connector.storage.engine import connect
from connector.storage.public_keys import PublicKeyTable
from connector.sync.public_keys import ANSWERED_WITHIN, CannotFetchKeys, KeyFetcher, fetch_keys
from tests.support import keyed_shop
from tests.support.factories import a_section, a_stores_file
from tests.support.keyed_shop import ADDRESS, Signer
from tests.support.web import client_of

SHOP, NEXT = Signer(), Signer()
SECTION = a_section(platform="shopify", name="numbered").replace('"shopify"', '"keyed"')
STORES = (
    a_stores_file(SECTION.replace("numbered.myshopify.com", "7"), webhook_secrets=[])
    .replace("webhook_secrets = []\n", "")
    .replace('url = "https://numbered.example"', 'url = "https://numbered.example"\ntest_event_code = "T1"')
)
NOW = time.time()


class Shop:
    """An address of keys; `answer` is what it gives."""

    def __init__(self):
        self.answer = lambda: httpx.Response(200, text=SHOP.jwks)
        self.asked = 0

    def client(self):
        return httpx.Client(transport=httpx.MockTransport(self._handle))

    def _handle(self, request):
        assert str(request.url) == ADDRESS
        self.asked += 1
        return self.answer()


@pytest.fixture
def shop():
    return Shop()


@pytest.fixture
def config(monkeypatch, migrated_sqlite_url):
    keyed_shop.install(monkeypatch)
    return load({"STORES_TOML": STORES, "DATABASE_URL": migrated_sqlite_url, "PUBLIC_URL": "https://connector.example"})


@pytest.fixture
def world(config, shop):
    """A web process and a fetcher on one database, with a clock to move."""
    engine = connect(config.database_url)
    database = Database(engine)
    clock = [NOW]
    web = client_of(config, database, installed_platforms())
    fetcher = KeyFetcher(config.stores, database, shop.client(), "me", clock=lambda: clock[0])
    reader = KeyReader(config.stores, PublicKeyTable(database), clock=lambda: clock[0])
    yield web, fetcher, reader, clock, database
    engine.dispose()


def post(web, signer, **order):
    body = msgspec.json.encode(
        {"type": "sold", "shop": "7", "order": {"email": "ann@example.com"} | (order or {"id": "1", "sold": int(NOW)})}
    )
    return web.post("/webhooks/numbered", body, installed_platforms()["keyed"].signed_headers(body, signer.private))


def test_a_store_without_a_secret_asks_for_the_platforms_keys(config):
    (store,) = config.stores.values()
    assert (store.webhook_secrets, store.webhook_keys, store.key_addresses) == ((), (ADDRESS,), (ADDRESS,))
    assert store.shops == ("7",)


def test_an_order_comes_as_soon_as_its_key_is_fetched(world):
    """Until then 503, which the shop repeats; a key that nobody knows costs nothing else."""
    web, fetcher, reader, *_ = world
    early = post(web, SHOP)
    assert (early.status_code, early.headers["Retry-After"]) == (503, "10")
    assert early.json == {"error": "the public key that signed this is not known yet; it is fetched, try again"}
    fetcher.fetch_due()
    reader.read()
    assert post(web, SHOP).json == {"outcome": "relayed"}
    assert post(web, SHOP).json == {"outcome": "duplicate"}


@pytest.mark.slow
def test_a_new_key_is_fetched_when_a_webhook_names_it(world, shop):
    """At most once a minute, as anyone can name one; the old key goes on until then."""
    web, fetcher, reader, clock, _ = world
    fetcher.fetch_due()
    reader.read()
    shop.answer = lambda: httpx.Response(200, text=NEXT.jwks)
    assert post(web, NEXT).status_code == 503
    clock[0] += 10
    for _ in range(3):
        reader.read()
        fetcher.fetch_due()
    assert shop.asked == 1
    assert post(web, SHOP).json["outcome"] in ("relayed", "duplicate")
    assert post(web, NEXT).status_code == 503
    reader.read()
    clock[0] += 60
    fetcher.fetch_due()
    reader.read()
    assert shop.asked == 2
    assert post(web, NEXT, id="2", sold=int(NOW)).json == {"outcome": "relayed"}
    assert post(web, SHOP).status_code == 503  # its key is gone


def test_keys_are_fetched_again_every_hour(world, shop):
    _, fetcher, _, clock, _ = world
    for seconds, asked in ((0, 1), (3599, 1), (2, 2), (60, 2)):
        clock[0] += seconds
        fetcher.fetch_due()
        assert shop.asked == asked


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (lambda: httpx.Response(404), f"{ADDRESS} answers 404, not 200"),
        (lambda: httpx.Response(302, headers={"location": "https://elsewhere.example"}), "answers 302, not 200"),
        (lambda: httpx.Response(200, text="<html>"), "what it answers is not a JWKS"),
        (lambda: httpx.Response(200, text="[" * 5000), "what it answers is not a JWKS"),
        (lambda: httpx.Response(200, content=b"\xff"), "what it answers is not text"),
        (lambda: httpx.Response(200, content=b" " * 300_000), "answers with more than 262144 bytes"),
    ],
)
def test_a_failed_fetch_is_said_and_repeated_and_the_keys_stay(world, shop, answer, why):
    web, fetcher, reader, clock, database = world
    fetcher.fetch_due()
    reader.read()
    good, shop.answer = shop.answer, answer
    clock[0] += 3601
    fetcher.fetch_due()
    (row,) = PublicKeyTable(database).read([ADDRESS])
    assert why in row.error
    assert row.fetched_at == NOW
    reader.read()
    assert post(web, SHOP).json == {"outcome": "relayed"}
    shop.answer = good
    clock[0] += 61
    fetcher.fetch_due()
    (row,) = PublicKeyTable(database).read([ADDRESS])
    assert row.error == ""


def test_an_address_that_does_not_answer(shop):
    def refuse():
        raise httpx.ConnectError("refused")

    shop.answer = refuse
    with pytest.raises(CannotFetchKeys, match=r"cannot be reached \(ConnectError\)"):
        fetch_keys(shop.client(), ADDRESS)


def test_an_answer_that_drips_is_given_up(shop):
    """One thread fetches the keys of all shops."""
    elapsed = [0.0]

    def pieces():
        while elapsed[0] < 10 * ANSWERED_WITHIN:
            elapsed[0] += 9
            yield b" "

    shop.answer = lambda: httpx.Response(200, content=pieces())
    with pytest.raises(CannotFetchKeys, match=f"{ADDRESS} does not answer within 20 seconds"):
        fetch_keys(shop.client(), ADDRESS, elapsed=lambda: elapsed[0])
    assert elapsed[0] <= ANSWERED_WITHIN + 10


def test_a_faulty_address_stops_no_other_one(migrated_sqlite_url):
    """Whatever it answers."""
    faulty, good = "https://a.example/jwks", "https://b.example/jwks"
    database = Database(connect(migrated_sqlite_url))
    answers = iter(["[" * 5000, SHOP.jwks])
    client = httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(200, text=next(answers))))
    stores = {"one": SimpleNamespace(key_addresses=(faulty,)), "two": SimpleNamespace(key_addresses=(good,))}
    KeyFetcher(stores, database, client, "me").fetch_due()
    found = {row.address: (row.keys, row.error) for row in PublicKeyTable(database).read([faulty, good])}
    assert found[good] == (SHOP.jwks, "")
    assert "not a JWKS" in found[faulty][1]
    database.engine.dispose()


def test_one_process_at_a_time_fetches(world, shop, config):
    """A second relay leaves it to the first while that one is at it."""
    _, fetcher, _, clock, database = world
    other = KeyFetcher(config.stores, database, shop.client(), "another", clock=lambda: clock[0])
    fetcher.fetch_due()
    PublicKeyTable(database).want([ADDRESS], clock[0] + 1)
    clock[0] += 20  # the lease of 36 seconds still holds
    PublicKeyTable(database).fail(ADDRESS, "", clock[0] - 100)
    other.fetch_due()
    assert shop.asked == 1


def test_a_parked_webhook_of_a_store_without_secrets_is_encrypted_and_replayed(world, config):
    """With the pixel's token, as there is nothing else that both know."""
    web, fetcher, reader, _, database = world
    fetcher.fetch_due()
    reader.read()
    assert post(web, SHOP, id="1").json == {"outcome": "parked"}
    (item,) = OutboxQueries(database).parked()
    assert b"sold" not in item.sealed
    assert web.application.intake.replay(item) == "parked"  # opened, and as incomplete as it was


def test_a_handshake_is_answered_as_the_platform_says(world):
    web, *_ = world
    answer = web.post("/webhooks/numbered", b'{"challenge": "abc"}')
    assert (answer.status_code, answer.text, answer.headers["content-type"]) == (201, "abc", "text/x-challenge")


def test_without_addresses_nothing_is_read(config):
    """It costs a server of other platforms nothing."""

    class NoDatabase:
        def read(self):
            raise AssertionError

    reader = KeyReader({}, PublicKeyTable(NoDatabase()))
    assert not reader.needed
    reader.read()


def test_a_shop_that_tries_the_address_by_get_gets_its_challenge_back(world):
    """If it has the token; other requests are answered as on any platform, and a fault of the package by 503."""
    web, *_ = world
    answer = web.get("/webhooks/numbered?token=agreed&challenge=%3Cb%3Eabc")
    assert (answer.status_code, answer.text, answer.headers["content-type"]) == (200, "<b>abc", "text/plain")
    assert answer.headers["x-content-type-options"] == "nosniff"
    for query in ("", "?challenge=abc", "?token=wrong&challenge=abc", "?token=agreed", "?%ff=%ff&challenge"):
        assert web.get(f"/webhooks/numbered{query}").status_code == 405
    assert web.get("/webhooks/nobody?token=agreed&challenge=abc").status_code == 405
    assert web.get("/webhooks/numbered?token=broken").status_code == 503
