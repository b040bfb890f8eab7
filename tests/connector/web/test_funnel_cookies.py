"""`/collect/<store>/event` and `/token`: the browser's cookies, and the pages that may read the answer."""

import json
from dataclasses import replace

import pytest

from tests.support.factories import a_section, a_stores_file
from tests.support.funnel import CLICK, beacon, viewed
from tests.support.funnel_shop import BROWSER, SHOP, SHOP_HEADERS, Shop, cookie_of, now
from tests.support.platforms import PLATFORMS

pytestmark = pytest.mark.databases("sqlite")


@pytest.fixture
def shop(database):
    return Shop(database)


def test_a_sub_domain_of_the_shop_sets_the_click_cookie(shop):
    """By HTTP, so browsers keep it; for 28 days, as long as TikTok attributes orders."""
    answer = shop.post(beacon(ttclid="E.C.P.a+b"), **SHOP_HEADERS)
    assert answer.status_code == 204
    text = answer.headers["Set-Cookie"]
    assert text == "ttclid=E.C.P.a%2Bb; Path=/; Max-Age=2419200; Secure; SameSite=Lax; Domain=acme.example"
    assert cookie_of(shop.post(beacon(viewed(), token=shop.token()), **SHOP_HEADERS)).value == "E.C.P.page"


def test_a_path_of_the_shop_sets_it_for_its_host_alone(shop):
    headers = {"Origin": "https://acme.example", "Host": "acme.example", "Sec_Fetch_Site": "same-origin"}
    assert "Domain" not in shop.post(beacon(ttclid=CLICK), **headers).headers["Set-Cookie"]


def test_it_is_hidden_from_scripts_where_no_page_reads_it(database, monkeypatch):
    platform = type(PLATFORMS["shopify"])
    monkeypatch.setattr(platform, "facts", replace(platform.facts, page_reads_click=False))
    assert "; HttpOnly" in Shop(database).post(beacon(ttclid=CLICK), **SHOP_HEADERS).headers["Set-Cookie"]


@pytest.mark.parametrize(
    "changes",
    [
        {"Origin": "https://elsewhere.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Sec_Fetch_Site": "cross-site"},
        {"Host": "connector.example"},
        {"Origin": "https://[", "Host": "["},
    ],
)
def test_no_other_site_gets_the_cookie(shop, changes):
    assert cookie_of(shop.post(beacon(ttclid=CLICK), **(SHOP_HEADERS | changes))) is None


def test_a_shop_with_an_umlaut_is_known_by_the_name_that_browsers_send(database):
    """In punycode; a host in other bytes is none, and no error of the server."""
    shop = Shop(database, a_stores_file(a_section(funnel={}, url="https://müller.example")))
    named = {"Origin": "https://www.xn--mller-kva.example", "Host": "t.xn--mller-kva.example"}
    answer = shop.post(beacon(ttclid=CLICK), **named)
    assert cookie_of(answer)["domain"] == "xn--mller-kva.example"
    assert answer.headers["Access-Control-Allow-Origin"] == named["Origin"]
    page = "https://xn--mller-kva.example/products/shirt"
    shop.report(viewed(url=page, time=now()))
    assert json.loads(shop.stored()[0].payload)["page"]["url"] == page
    for raw in ("müller.example", "xn--mller-kva.example;a=b.example"):
        answer = shop.post(beacon(ttclid=CLICK), Origin=f"https://a.{raw}", Host=f"b.{raw}")
        assert (answer.status_code, cookie_of(answer)) == (204, None)


def test_a_click_id_cannot_add_to_the_header(shop):
    answer = shop.post(beacon(ttclid="a;Domain=example"), **SHOP_HEADERS)
    assert answer.headers["Set-Cookie"].startswith("ttclid=a%3BDomain%3Dexample; ")


def test_the_browsers_cookies_fill_what_the_page_does_not_know(shop):
    body = beacon(viewed(url=""), token=shop.token())
    shop.post(body, Cookie="ttclid=E.C.P.a%2Bb; _ttp=01JC.tt.1", **SHOP_HEADERS)
    (row,) = shop.stored()
    user = json.loads(row.payload)["user"]
    assert (user["ttclid"], user["ttp"]) == ("E.C.P.a+b", "01JC.tt.1")


@pytest.mark.parametrize(
    "cookie",
    [
        'prefs={"lang":"de"}; ttclid=E.C.P.mine; _ttp=01JCOOKIE.tt.1',
        "expires=x; ttclid=E.C.P.mine; _ttp=01JCOOKIE.tt.1; path",
        "a b=c;ttclid=E.C.P.mine;_ttp=01JCOOKIE.tt.1;",
        'ttclid="E.C.P.mine"; _ttp=01JCOOKIE.tt.1; last="a; b',
        "ttclid=E.C.P.mine; _ttp=01JCOOKIE.tt.1; caf\xe9=1; =; ;",
        "ttclid=E.C.P.mine; _ttp=01JCOOKIE.tt.1; ttclid=E.C.P.older; _ttp=",
    ],
)
def test_no_other_cookie_hides_the_click(shop, cookie):
    """Browsers send what any script has written; of two with one name, the one of the longer path comes first."""
    body = beacon(viewed(url="https://www.acme.example/", time=now()), token=shop.token())
    assert shop.post(body, Cookie=cookie, **SHOP_HEADERS).status_code == 204
    user = json.loads(shop.stored()[0].payload)["user"]
    assert (user["ttclid"], user["ttp"]) == ("E.C.P.mine", "01JCOOKIE.tt.1")


def test_any_page_may_send_and_the_shops_own_reads_the_answer(shop):
    answer = shop.post(b"{}", Origin="null")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in answer.headers
    answer = shop.post(b"{}", **SHOP_HEADERS)
    assert answer.headers["Access-Control-Allow-Origin"] == "https://www.acme.example"
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"
    answer = shop.client.open("/collect/acme/event", "OPTIONS", headers=BROWSER | SHOP)
    assert (answer.status_code, answer.headers["Access-Control-Allow-Headers"]) == (204, "Content-Type")


def test_a_token_is_not_kept_by_any_cache(shop):
    answer = shop.client.open("/collect/acme/token", headers=BROWSER)
    assert answer.headers["Cache-Control"] == "no-store"
    assert 1700 < answer.json["expires"] - now() <= 1800
    statuses = [shop.client.open("/collect/acme/token", headers=BROWSER).status_code for _ in range(25)]
    assert 429 in statuses
