"""Browsers' signals by HTTP: what is kept, and the answer to whatever is sent."""

import json
import sqlite3

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from connector.config.settings import load
from connector.signals.collector import ADDRESS_BURST, MAX_BEACON
from connector.storage.database import Database
from connector.storage.engine import connect
from connector.storage.tables import signals
from tests.support.effort import examples
from tests.support.factories import a_stores_file
from tests.support.web import client_of

STORES = a_stores_file(webhook_secrets=["whsec-app-test"], access_token="token-app-test", country=None)
BEACON = {"checkout_token": "84ad78572dae52a8cbea7d55371afe89", "ttclid": "E.C.P.click", "consent": "granted"}
FROM_A_FRAME = {"Origin": "null", "Content-Type": "text/plain;charset=UTF-8", "User-Agent": "Mozilla/5.0"}


@pytest.fixture
def expecting(migrated_sqlite_url):
    """The client of a server whose Shopify store expects beacons, behind one proxy; and its table of signals."""
    stores = STORES.replace("[stores.beans]", "signals = {}\n[stores.beans]")
    config = load({"STORES_TOML": stores, "DATABASE_URL": migrated_sqlite_url, "TRUSTED_PROXIES": "1"})
    engine = connect(config.database_url, timeout=0.2)

    def kept():
        with engine.connect() as connection:
            return connection.execute(sa.select(signals)).all()

    yield client_of(config, Database(engine)), kept
    engine.dispose()


def collected(client, body, store="acme", **headers):
    return client.post(f"/collect/{store}", data=body, headers=FROM_A_FRAME | headers)


def test_a_beacon_is_answered_204_and_kept(expecting):
    """Any origin may send it, as a request that needs no preflight; the answer says nothing, and sets nothing."""
    client, kept = expecting
    answer = collected(client, json.dumps(BEACON), **{"X-Forwarded-For": "8.8.8.8, 198.51.99.7"})
    assert (answer.status_code, answer.data) == (204, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert not {"Access-Control-Allow-Credentials", "Set-Cookie", "Location"} & set(answer.headers.keys())
    (row,) = kept()
    assert (row.ttclid, row.ip, row.user_agent) == ("E.C.P.click", "198.51.99.7", "Mozilla/5.0")
    assert collected(client, json.dumps(BEACON), store="acme/").status_code == 204


def test_a_preflight_is_answered(expecting):
    """Harmless: somebody's own beacon may be of another content type."""
    client, kept = expecting
    answer = client.open(
        "/collect/acme", "OPTIONS", headers={"Origin": "null", "Access-Control-Request-Method": "POST"}
    )
    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (204, "*")
    assert (answer.headers["Access-Control-Allow-Methods"], kept()) == ("POST", [])


def test_a_store_without_signals_and_one_that_is_not_there(expecting):
    """The first answers like any other and keeps nothing; the second is a mistake in the snippet's address."""
    client, kept = expecting
    assert collected(client, json.dumps(BEACON), store="beans").status_code == 204
    assert collected(client, json.dumps(BEACON), store="nobody").status_code == 404
    assert client.open("/collect/nobody", "OPTIONS").status_code == 404
    assert client.get("/collect/acme").status_code == 405
    assert kept() == []


def test_a_beacon_beyond_eight_kilobytes_is_413(expecting):
    """No browser has so much to say; a webhook may still be as large as ever."""
    client, kept = expecting
    assert collected(client, json.dumps(BEACON | {"url": "x" * MAX_BEACON})).status_code == 413
    assert kept() == []
    assert collected(client, json.dumps(BEACON | {"more": "x" * (MAX_BEACON - 500)})).status_code == 204
    assert client.post("/webhooks/acme", data=b"x" * (MAX_BEACON + 1)).status_code == 401


def test_too_many_beacons_are_429(expecting):
    """From one address; another one's are taken."""
    client, _ = expecting
    of = {"X-Forwarded-For": "198.51.99.7"}
    answers = [collected(client, b"junk", **of).status_code for _ in range(ADDRESS_BURST + 20)]
    assert set(answers) == {204, 429}
    assert answers[:ADDRESS_BURST] == [204] * ADDRESS_BURST
    assert collected(client, b"junk", **{"X-Forwarded-For": "198.51.99.8"}).status_code == 204


@pytest.mark.slow
def test_a_beacon_that_cannot_be_kept_is_503(expecting, migrated_sqlite_url):
    """The browser does not care; whoever watches the server's statuses does."""
    client, kept = expecting
    holder = sqlite3.connect(migrated_sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        assert collected(client, json.dumps(BEACON)).status_code == 503
        assert collected(client, b"junk").status_code == 204
    finally:
        holder.close()
    assert collected(client, json.dumps(BEACON)).status_code == 204
    assert len(kept()) == 1


@examples(150)
@given(
    st.binary(max_size=200)
    | st.dictionaries(st.text(max_size=8), st.text(max_size=8)).map(lambda d: json.dumps(d).encode()),
    st.dictionaries(
        st.sampled_from(["Origin", "X-Forwarded-For", "User-Agent", "Content-Type"]),
        st.text(st.characters(codec="latin-1", exclude_characters="\r\n\0"), max_size=30),
    ),
)
def test_whatever_a_browser_sends_is_204(expecting, body, headers):
    """No bytes and no header give another answer, and junk leaves no row."""
    client, kept = expecting
    assert collected(client, body, **headers).status_code in (204, 429)
    assert kept() == []
