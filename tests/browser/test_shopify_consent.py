"""The printed Shopify pixel in a real browser: what it tells the server, and what it does without consent."""

import pytest

from tests.browser.server_side import CODE, SHOPIFY, choose, examined, shopify_body
from tests.browser.shopify_checkout import checkout
from tests.browser.storefront import ALLOWED, REFUSED
from tests.support.snippets import snippet

ORDER = shopify_body("orders/paid")
CHECKOUT = shopify_body("checkouts/create")


def printed(store, front):
    return snippet(store, "shopify", front.url)


# --- signals --------------------------------------------------------------------------------------------------


def test_the_beacon_carries_what_only_the_browser_knows(storefront):
    """The click id of the landing page, TikTok's cookie if there is one, page and browser; by the token."""
    click = "E.C.P.CtoBExample-0123_%2B"
    storefront.set_cookie("_ttp", "01JEXAMPLE0000000000000000_.tt.1")
    storefront.open_shopify(
        printed(SHOPIFY, storefront), path="/landing?utm_source=tiktok&ttclid=E.C.P.CtoBExample-0123_%252B"
    )
    storefront.tell("page_viewed")
    storefront.open_shopify(printed(SHOPIFY, storefront), path="/checkouts/cn/example")
    storefront.tell("checkout_started", checkout=checkout(CHECKOUT))
    beacon = storefront.beacon()
    assert beacon.path == "/collect/acme"
    assert beacon.headers["content-type"] == "text/plain;charset=UTF-8"
    assert "cookie" not in beacon.headers
    assert beacon.headers.get("origin") == "null"
    assert beacon.body == {
        "checkout_token": CHECKOUT["token"],
        "ttclid": click,
        "ttp": "01JEXAMPLE0000000000000000_.tt.1",
        "url": f"{storefront.url}/checkouts/cn/example",
        "user_agent": "Mozilla/5.0 (Linux; Android 15) Example/1.0",
        "consent": "granted",
    }
    storefront.tell("checkout_completed", checkout=checkout(ORDER, ORDER["id"]))
    assert storefront.beacon().body["checkout_token"] == ORDER["checkout_token"]


def test_a_cookie_of_tiktoks_that_is_not_there_is_not_made_up(storefront):
    """ttp and ttclid are absent then."""
    storefront.open_shopify(printed(SHOPIFY, storefront))
    storefront.tell("checkout_started", checkout=checkout(CHECKOUT))
    assert not {"ttp", "ttclid"} & set(storefront.beacon().body)


def test_an_ad_blocker_does_not_stop_the_beacon(storefront):
    """The server's event has ttclid and user agent all the same, though TikTok's script never came."""
    storefront.blocked = True
    storefront.open_shopify(printed(SHOPIFY, storefront), path="/?ttclid=E.C.P.x")
    storefront.tell("checkout_started", checkout=checkout(CHECKOUT))
    assert storefront.beacon().body["ttclid"] == "E.C.P.x"
    assert not storefront.calls()


def test_without_signals_in_the_store_nothing_is_sent_to_us(storefront):
    """A server that expects no beacon gets none."""
    storefront.open_shopify(snippet(choose(SHOPIFY, signals=None), "shopify"))
    storefront.tell("checkout_started", checkout=checkout(CHECKOUT))
    storefront.tracked(1)
    assert storefront.no_beacon()


# --- consent --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("consent", ["required", "required_in_europe", "not_required"])
@pytest.mark.parametrize("privacy", [REFUSED, {**ALLOWED, "saleOfDataAllowed": False}], ids=["marketing", "sale"])
def test_a_refusal_sends_nothing_but_that(storefront, consent, privacy):
    """To TikTok not even its script's request; to us the token and the no, once, and no cookie is written."""
    store = choose(SHOPIFY, consent=consent)
    storefront.open_shopify(printed(store, storefront), privacy=privacy, path="/?ttclid=E.C.P.x")
    storefront.tell("page_viewed")
    storefront.tell("checkout_started", checkout=checkout(CHECKOUT))
    storefront.tell(
        "checkout_completed", checkout=checkout({**ORDER, "checkout_token": CHECKOUT["token"]}, ORDER["id"])
    )
    assert storefront.beacon().body == {"checkout_token": CHECKOUT["token"], "consent": "denied"}
    assert storefront.no_beacon()
    assert storefront.page.frames[1].evaluate("typeof window.ttq") == "undefined"
    assert "ttclid" not in storefront.cookies()


def test_a_yes_on_the_same_page_catches_up(storefront):
    """Earlier problems are reported then, once."""
    store = choose(SHOPIFY, consent="required")
    storefront.open_shopify(printed(store, storefront), privacy=REFUSED)
    storefront.tell("checkout_started", checkout=checkout(CHECKOUT))
    assert storefront.beacon().body["consent"] == "denied"
    storefront.answer_consent(ALLOWED)
    assert [call.arguments[0] for call in storefront.tracked(1)] == ["InitiateCheckout"]
    assert storefront.beacon().body["consent"] == "granted"
    storefront.answer_consent(ALLOWED)
    storefront.answer_consent(REFUSED)
    storefront.tell("checkout_completed", checkout=checkout(ORDER, ORDER["id"]))
    assert len(storefront.tracked()) == 1


def test_a_yes_that_is_taken_back_is_told_at_once(storefront):
    """And as often as the shopper changes their mind; the last answer counts."""
    storefront.open_shopify(printed(choose(SHOPIFY, consent="required"), storefront))
    storefront.tell("checkout_started", checkout=checkout(CHECKOUT))
    assert storefront.beacon().body["consent"] == "granted"
    for answer, told in ((REFUSED, "denied"), (REFUSED, None), (ALLOWED, None)):
        storefront.answer_consent(answer)
        if told:
            assert storefront.beacon().body == {"checkout_token": CHECKOUT["token"], "consent": told}
    storefront.tell(
        "checkout_completed", checkout=checkout({**ORDER, "checkout_token": CHECKOUT["token"]}, ORDER["id"])
    )
    assert storefront.beacon().body["consent"] == "granted"
    storefront.answer_consent(REFUSED)
    assert storefront.beacon().body["consent"] == "denied"


@pytest.mark.parametrize(
    ("consent", "market", "said", "sent"),
    [
        ("required", "US", "", False),
        ("required", "US", "Yes", True),
        ("required", "US", "no", False),
        ("required_in_europe", "US", "", True),
        ("required_in_europe", "DE", "", False),
        ("required_in_europe", "DE", "yes", True),
        ("not_required", "DE", "", True),
        ("not_required", "DE", "no", False),
    ],
)
def test_where_shopify_says_nothing_the_stores_own_rule_decides(storefront, consent, market, said, sent):
    """The key of consent_source is a cart attribute here as there; where a yes is needed, none is a no."""
    store = choose(choose(SHOPIFY, consent=consent), "consent_source", key="tiktok_ok")
    told = [{"name": "tiktok_ok", "value": said}] if said else []
    body = shopify_body("orders/paid", market=market, note_attributes=told)
    storefront.open_shopify(printed(store, storefront), privacy={})
    storefront.tell("checkout_completed", checkout=checkout(body, body["id"]))
    loaded = storefront.page.frames[1].evaluate("typeof window.ttq !== 'undefined'")
    assert loaded == sent
    if consent != "not_required":  # where no yes is needed, the server does not look at the key
        unasked = choose(store, signals=None)  # with signals an event waits for an answer first
        assert bool(examined(unasked, "orders/paid", body).events) == sent


def test_limited_data_use_is_asked_of_the_pixel_too(storefront):
    """A store that limits the use of data for some states loads the pixel so."""
    store = choose(SHOPIFY, limited_data_use=("CA",))
    storefront.blocked = True
    storefront.open_shopify(printed(store, storefront))
    storefront.tell("page_viewed")
    assert storefront.page.frames[1].evaluate("window.ttq._o") == {CODE: {"limited_data_use": True}}
