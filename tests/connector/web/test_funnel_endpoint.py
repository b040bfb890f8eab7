"""`/collect/<store>/event` and `/token`: browsers' events from the request to the row."""

import asyncio
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.core.funnel_token import funnel_key, new_token
from connector.funnel.bounds import BoundsStore
from connector.funnel.guard import ADDRESS_BURST, ADDRESS_RATE, PROCESS_BURST, USES, Guard
from connector.setup.samples import webhooks
from connector.storage.database import Database
from connector.storage.engine import connect
from connector.web.asgi import BodyReader, received
from connector.web.funnel_endpoint import MAX_BODY, FunnelEndpoint
from tests.support.funnel import AGENT, CLICK, IP, beacon, viewed
from tests.support.funnel_shop import BROWSER, SHOP_HEADERS, Shop, cookie_of, now
from tests.support.platforms import PLATFORMS

pytestmark = pytest.mark.databases("sqlite")


@pytest.fixture
def shop(database):
    return Shop(database)


def test_a_view_is_taken_and_stored(shop):
    """With the shopper's own address and browser, for each pixel of the store."""
    event = viewed(time=now())
    answer = shop.report(event, ttclid=CLICK)
    assert (answer.status_code, answer.text) == (204, "")
    (row,) = shop.stored()
    assert (row.store, row.event, row.event_id, row.state) == ("acme", "ViewContent", event["event_id"], "due")
    user = json.loads(row.payload)["user"]
    assert (user["ip"], user["user_agent"], user["ttclid"]) == (IP, AGENT, CLICK)
    assert shop.counted() == {("product_viewed", "taken"): 1}


def test_amounts_are_those_that_the_stores_orders_show(shop):
    """A store without orders believes none; a Purchase's webhook is what it learns from."""
    shop.report(viewed(event_id="1" * 32))
    body, headers = next(webhooks(shop.config.stores["acme"], ["orders/paid"], 1, random.Random(1)))
    assert shop.client.post("/webhooks/acme", data=body, headers=headers).status_code == 200
    BoundsStore(shop.database).update(["acme"], now())
    shop.application.bounds.refresh()
    (currency,) = shop.application.bounds.of("acme")
    limit = shop.application.bounds.of("acme")[currency].price
    for number, price in (("2", limit), ("3", limit + 1)):
        properties = viewed()["properties"]
        properties["contents"][0] |= {"price": float(price), "content_id": "1"}
        shop.report(viewed(event_id=number * 32, properties=properties | {"currency": currency}))
    prices = {
        row.event_id[0]: json.loads(row.payload)["properties"]["contents"][0].get("price") for row in shop.stored()
    }
    assert prices == {"1": None, "2": pytest.approx(float(limit)), "3": None}


# --- guards ---------------------------------------------------------------------------------------------------


def test_without_a_token_nothing_is_stored(shop):
    """403, so that the page fetches a token and sends once more."""
    for token in (None, "", "junk", shop.token("beans"), shop.token(**{"X-Forwarded-For": "8.8.4.4"})):
        assert shop.post(beacon(viewed(), token=token)).status_code == 403
    assert shop.stored() == []
    assert shop.counted() == {("", "no valid token"): 5}


def test_a_token_is_good_for_a_bounded_number_of_events(shop):
    token = shop.token()
    taken = [
        shop.post(beacon(*[viewed() for _ in range(10)], token=token), X_Forwarded_For=f"93.184.216.{one}").status_code
        for one in range(1, 9)  # of one network; each address has a limit of its own
    ]
    assert taken == [204] * (USES // 10) + [403] * (8 - USES // 10)
    assert len(shop.stored()) == USES


def test_an_address_is_limited(shop):
    statuses = [shop.post(beacon(viewed(), token="junk")).status_code for _ in range(70)]
    assert statuses[:60] == [403] * 60
    assert 429 in statuses[60:]
    assert shop.post(beacon(viewed(), token="junk"), X_Forwarded_For="8.8.4.4").status_code == 403


@pytest.mark.slow
def test_a_process_gives_browsers_a_share(shop):
    """Beyond it nothing is read, and orders are taken as ever."""
    statuses = [
        shop.post(b"{}", X_Forwarded_For=f"8.8.{number // 250}.{number % 250 + 1}").status_code
        for number in range(PROCESS_BURST * 2)
    ]
    assert 429 in statuses
    body, headers = next(webhooks(shop.config.stores["acme"], ["orders/create"], 1, random.Random(2)))
    assert shop.client.post("/webhooks/acme", data=body, headers=headers).status_code == 200


@pytest.mark.parametrize("headers", [{"User_Agent": "Googlebot/2.1"}, {"User_Agent": ""}, {"Sec_Purpose": "prefetch"}])
def test_programs_and_prefetches_are_only_counted(shop, headers):
    assert shop.post(beacon(viewed(), token=shop.token()), **headers).status_code == 204
    assert shop.stored() == []
    assert shop.counted() == {("", "bot or prefetch"): 1}


def test_a_refusal_keeps_nothing(shop):
    answer = shop.post(beacon(viewed(), token=shop.token(), consent="denied", ttclid=CLICK), **SHOP_HEADERS)
    assert (answer.status_code, answer.headers.get("Set-Cookie")) == (204, None)
    assert shop.report(viewed(), store="beans").status_code == 204  # needs a yes, and there is no answer
    assert shop.stored() == []
    assert shop.report(viewed(), store="beans", consent="granted").status_code == 204
    assert len(shop.stored()) == 1


@pytest.mark.parametrize("reported", [None, "denied"])
def test_an_events_own_answer_wins(shop, reported):
    """A shop's server may report several shoppers at once. The click's cookie goes by the answer beside the events."""
    taken, other = viewed(time=now(), consent="granted"), viewed(time=now())
    headers = {"Origin": "https://beans.example", "Host": "t.beans.example"}
    members = {"ttclid": CLICK} | ({"consent": reported} if reported else {})
    answer = shop.post(beacon(taken, other, token=shop.token("beans"), **members), "beans", **headers)
    assert (answer.status_code, cookie_of(answer)) == (204, None)
    assert [row.event_id for row in shop.stored()] == [taken["event_id"]]
    assert shop.counted() == {("product_viewed", "taken"): 1, ("", "no consent"): 1}


def test_an_events_own_denial_wins(shop):
    refused = viewed(time=now(), consent="denied")
    assert shop.report(refused, viewed(time=now()), consent="granted").status_code == 204
    assert len(shop.stored()) == 1
    assert shop.counted()["", "no consent"] == 1


def test_a_store_without_a_funnel_takes_nothing(shop):
    assert shop.post(beacon(viewed()), "plain").status_code == 204
    assert shop.client.open("/collect/plain/token", headers=BROWSER).status_code == 204
    assert shop.post(beacon(viewed()), "nobody").status_code == 404
    assert shop.client.open("/collect/acme/event", headers=BROWSER).status_code == 405
    assert shop.post(b" " * (MAX_BODY + 1)).status_code == 413
    assert shop.stored() == []


# --- signed by the shop's server ------------------------------------------------------------------------------


def signed(shop, body, store="acme"):
    import hashlib
    import hmac

    return hmac.new(funnel_key(shop.config.stores[store]).encode(), body, hashlib.sha256).hexdigest()


def test_a_shops_server_signs_instead(shop):
    """Its hooks need no JavaScript: it names the shopper's address, and is believed."""
    event = viewed(time=int(now()), ip="8.8.4.4", user_agent=AGENT)
    body = beacon(event)
    assert shop.post(body, User_Agent="WordPress/6.8", X_Connector_Signature=signed(shop, body)).status_code == 204
    (row,) = shop.stored()
    item = json.loads(row.payload)
    assert item["user"]["ip"] == "8.8.4.4"
    assert item["properties"]["value"] == 25


def test_a_wrong_or_old_signature_is_refused(shop):
    for event, store in ((viewed(time=int(now())), "beans"), (viewed(time=int(now()) - 700), "acme")):
        body = beacon(event | {"user_agent": AGENT})
        assert shop.post(body, X_Connector_Signature=signed(shop, body, store)).status_code == 403
    for at in ("1e9999999", "1e99999999999999999999", "-1e9999999"):
        body = beacon(viewed(time=0, user_agent=AGENT)).replace(b'"time": 0', f'"time": {at}'.encode())
        assert at.encode() in body
        assert shop.post(body, X_Connector_Signature=signed(shop, body)).status_code == 403
    assert shop.post(beacon(viewed()), X_Connector_Signature="\xff").status_code == 403
    assert shop.stored() == []


def test_a_crawler_in_a_signed_event_is_left_out(shop):
    body = beacon(viewed(time=int(now()), user_agent="Googlebot/2.1", ip=IP))
    assert shop.post(body, X_Connector_Signature=signed(shop, body)).status_code == 204
    assert shop.stored() == []


@pytest.mark.slow
def test_an_attacker_with_tokens_of_its_own_stays_under_the_bound(shop):
    """In an hour, from one address, however many tokens it fetches and however many events a beacon has."""
    elapsed, stored, token = [0.0], 0, ""
    guard = Guard(lambda: elapsed[0])
    endpoint = FunnelEndpoint(
        shop.config.stores, PLATFORMS, 1, shop.application.funnel, shop.application.bounds, BodyReader(2**20), guard
    )

    async def attack():
        nonlocal stored, token
        for second in range(3600):
            elapsed[0] = float(second)
            fetched = await endpoint.answer(scope("GET"), received(b""), "acme", "token")
            token = json.loads(fetched.body)["token"] if fetched.status == 200 else token
            body = beacon(*[viewed() for _ in range(5)], token=token)
            answer = await endpoint.answer(scope("POST"), received(body), "acme", "event")
            stored += 5 * (answer.status == 204)
            if second % 100 == 0:
                shop.application.funnel.drain()

    asyncio.run(attack())
    assert 0 < stored <= ADDRESS_BURST + 3600 * ADDRESS_RATE == 1860
    assert len(shop.stored()) == stored


def scope(method, address=IP):
    headers = BROWSER | {"X-Forwarded-For": address}
    named = [(name.lower().encode(), text.encode()) for name, text in headers.items()]
    return {"method": method, "client": ("127.0.0.1", 1), "headers": named}


@pytest.mark.slow
def test_a_flood_of_forged_beacons_stores_nothing(shop):
    """From thousands of addresses; the benchmark sends a million. What is stored does not grow, nor does memory."""
    elapsed = [0.0]
    guard = Guard(lambda: elapsed[0])
    endpoint = FunnelEndpoint(
        shop.config.stores, PLATFORMS, 1, shop.application.funnel, shop.application.bounds, BodyReader(2**20), guard
    )
    old = new_token(shop.config.stores["acme"], IP, now() - 3600)
    other = new_token(shop.config.stores["beans"], IP, now())

    async def flood():
        for number in range(10_000):
            elapsed[0] = number / 1000
            token = (old, other, f"a.{int(now()) + 99}.{'x' * 16}.{'0' * 32}", None)[number % 4]
            address = f"93.{number % 200}.{number // 200}.9"
            body = beacon(viewed(), token=token)
            assert (await endpoint.answer(scope("POST", address), received(body), "acme", "event")).status in (403, 429)

    asyncio.run(flood())
    assert shop.stored() == []
    assert sum(shop.counted().values()) == 10_000


@pytest.fixture(scope="module")
def hostile(migrated_sqlite, tmp_path_factory):
    import shutil

    path = tmp_path_factory.mktemp("hostile") / "connector.db"
    shutil.copy(migrated_sqlite, path)
    engine = connect(f"sqlite:///{path}")
    yield Shop(Database(engine))
    engine.dispose()


def test_a_number_beyond_all_bounds_costs_its_member(shop):
    body = beacon(viewed(time=now()), token=shop.token()).replace(b"{", b'{"ttp": 1e99999999999999999999, ', 1)
    assert shop.post(body).status_code == 204
    assert len(shop.stored()) == 1


HEADER = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=60)


@given(st.binary() | st.text().map(str.encode), HEADER, HEADER, HEADER, HEADER)
def test_nothing_that_is_sent_is_an_error_of_the_server(hostile, body, agent, origin, host, cookie):
    headers = {"User_Agent": agent, "Origin": origin, "Host": host, "Cookie": cookie}
    assert hostile.post(body, X_Forwarded_For=agent, **headers).status_code in (204, 403, 429)
    assert hostile.client.open("/collect/acme/token", headers={"Origin": origin}).status_code in (200, 429)
