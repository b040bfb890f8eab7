"""connector.funnel.beacon: what of a page's event reaches TikTok."""

import json

from hypothesis import given
from hypothesis import strategies as st

from connector.core.json_fields import parse_browser_json
from connector.core.store import FunnelSettings, Pixel
from connector.funnel.beacon import MAX_CONTENTS, MAX_EVENTS, OLDEST, click_id, is_fresh, may_use, read_events
from tests.support.funnel import AGENT, CLICK, IP, NOW, beacon, funnel_store, sender, viewed
from tests.support.rows import each_row

STORE = funnel_store()


def items(*events, store=STORE, by=None, **members):
    """The JSON of all items that a beacon becomes."""
    read = read_events(parse_browser_json(beacon(*events, **members)), store, by or sender(), NOW)
    return [json.loads(item.payload) for _, found in read for item in found]


def item(event, **more):
    (found,) = items(event, **more)
    return found


def properties(by=None, **changes):
    return item(viewed(properties=viewed()["properties"] | changes), by=by).get("properties", {})


def test_a_view_as_tiktok_gets_it():
    """Both copies are alike: pixel, name, event_id, value and contents are the page's own."""
    event = viewed()
    assert item(event, ttclid=CLICK, ttp="01JC.tt.1", external_id="A" * 64, locale="en-US") == {
        "event": "ViewContent",
        "event_time": int(NOW),
        "event_id": event["event_id"],
        "user": {
            "external_id": "a" * 64,
            "ttclid": CLICK,
            "ttp": "01JC.tt.1",
            "ip": IP,
            "user_agent": AGENT,
            "locale": "en-US",
        },
        "properties": {
            "contents": [{"content_id": "40012345678901", "content_name": "Shirt", "quantity": 1, "price": 25}],
            "content_type": "product",
            "num_items": 1,
            "currency": "USD",
            "value": 25,
        },
        "page": {"url": "https://acme.example/products/shirt?ttclid=E.C.P.page"},
    }


def test_each_market_gets_it_and_no_offline_set():
    """As in the browser: the country is not known; the currency is."""
    market, other = Pixel("CAAAAAAAAAAAAAAAAAAA", "a", countries=("FR",)), Pixel("CBBBBBBBBBBBBBBBBBBB", "b")
    euros = Pixel("CCCCCCCCCCCCCCCCCCCC", "c", currencies=("EUR",))
    offline = Pixel("7012345678901234567", "d", source="offline")
    store = funnel_store(pixels=(market, other, euros, offline))
    ((_, found),) = read_events(parse_browser_json(beacon(viewed())), store, sender(), NOW)
    assert [one.pixel for one in found] == [market, other]


def test_each_pixel_and_each_name_gets_the_event():
    store = funnel_store(
        funnel=FunnelSettings(product_viewed=("ViewContent", "Look")),
        pixels=(Pixel("CAAAAAAAAAAAAAAAAAAA", "a"), Pixel("CBBBBBBBBBBBBBBBBBBB", "b", "TEST1")),
    )
    read = [found for _, found in read_events(parse_browser_json(beacon(viewed())), store, sender(), NOW)]
    assert [(one.pixel.code[:2], one.event) for one in read[0]] == [
        ("CA", "ViewContent"),
        ("CA", "Look"),
        ("CB", "ViewContent"),
        ("CB", "Look"),
    ]


@each_row(
    "event",
    [
        viewed(milestone="order_paid"),
        viewed(milestone="customer_registered"),
        viewed(milestone=["product_viewed"]),
        viewed(milestone=None),
        viewed(event_id="acme-order-1001"),
        viewed(event_id="A" * 32),
        viewed(event_id=7),
        viewed(consent="denied"),
    ],
)
def test_no_order_and_no_refused_event_can_be_reported(event):
    assert items(event) == []


def test_a_step_that_is_off_is_not_sent():
    assert items(viewed(), store=funnel_store(funnel=FunnelSettings(product_viewed=()))) == []


def test_what_is_missing_in_an_event_is_taken_from_the_beacon():
    first, second = items(viewed(), viewed(ttclid="E.C.P.own"), ttclid=CLICK)
    assert first["user"]["ttclid"] == CLICK
    assert second["user"]["ttclid"] == "E.C.P.own"
    assert len(items(*[viewed() for _ in range(MAX_EVENTS + 5)])) == MAX_EVENTS


def test_the_shops_cookies_are_used_where_the_page_names_nothing():
    by = sender(cookies={"ttclid": CLICK, "_ttp": "01JC.tt.1"})
    user = item(viewed(url="https://acme.example/"), by=by)["user"]
    assert (user["ttclid"], user["ttp"]) == (CLICK, "01JC.tt.1")
    assert item(viewed(), by=by)["user"]["ttclid"] == "E.C.P.page"
    assert item(viewed(url=""), by=sender(cookies={"tiktok_ttclid": CLICK}))["user"]["ttclid"] == CLICK


@each_row(
    ("url", "sent"),
    [
        ("https://www.acme.example/a?utm_source=x&q=1", "https://www.acme.example/a?utm_source=x"),
        ("https://acme.myshopify.com/checkouts/cn/abc", "https://acme.myshopify.com/checkouts"),
        ("https://elsewhere.example/", "https://acme.example/"),
        ("javascript:alert(1)", "https://acme.example/"),
        ("https://acme.example/" + "a" * 3000, "https://acme.example/"),
        (7, "https://acme.example/"),
    ],
)
def test_only_the_shops_own_pages_are_named(url, sent):
    assert item(viewed(url=url))["page"]["url"].rstrip("/") == sent.rstrip("/")


@each_row(
    ("shop", "page", "is_own"),
    [
        ("https://www.acme.co.uk", "https://acme.co.uk/x", True),
        ("https://acme.co.uk", "https://www.acme.co.uk/x", True),
        ("https://www.acme.co.uk", "https://checkout.acme.co.uk/x", True),
        ("https://acme.co.uk", "https://evil.co.uk/x", False),
        ("https://acme.co.uk", "https://evilacme.co.uk/x", False),
        ("https://acme.myshopify.com", "https://evil.myshopify.com/x", False),
        ("https://shop.acme.example", "https://acme.example/x", False),
        ("https://127.0.0.1", "https://evil.127.0.0.1/x", False),
    ],
)
def test_a_site_under_the_same_public_suffix_is_another_shops(shop, page, is_own):
    """Those of co.uk have nothing in common; a parent domain may be anybody's, too."""
    found = item(viewed(url=page), store=funnel_store(url=shop))["page"]["url"]
    assert found.rstrip("/") == (page if is_own else shop)


@each_row(("given_", "sent"), [(NOW - 60, -60), (NOW + 60, 0), (NOW - 9e4, -OLDEST), ("x", 0), (None, 0)])
def test_the_time_is_the_pages_within_half_an_hour(given_, sent):
    assert item(viewed(time=given_))["event_time"] == int(NOW + sent)


# --- bounds ---------------------------------------------------------------------------------------------------


@each_row(
    ("changes", "lost"),
    [
        ({"value": 501}, {"value"}),
        ({"value": -1}, {"value"}),
        ({"value": "25"}, {"value"}),
        ({"value": 1e300}, {"value"}),
        ({"currency": "EUR"}, {"value", "currency", "price"}),
        ({"currency": "usd"}, {"value", "currency", "price"}),
        ({"currency": None}, {"value", "currency", "price"}),
        ({"num_items": 10_001}, {"num_items"}),
        ({"content_type": "hotel"}, {"content_type"}),
        ({"contents": [{"content_id": "40012345678901", "price": 101}]}, {"price", "quantity", "content_name"}),
        ({"contents": [{"content_id": "40012345678901", "quantity": 6, "price": 1}]}, {"quantity", "content_name"}),
        ({"contents": [{"content_id": "a-sku", "price": 25}]}, {"contents", "content_type"}),
        ({"contents": [{"content_id": "400123456789012", "price": 25}]}, {"contents", "content_type"}),
        ({"contents": "junk"}, {"contents", "content_type"}),
    ],
)
def test_a_page_is_believed_up_to_what_the_orders_show(changes, lost):
    """An amount beyond the bounds costs only that amount."""

    def keys(found):
        return set(found) | {key for row in found.get("contents", ()) for key in row} - {"content_id"}

    inner = {"price", "quantity", "content_name"} if "contents" in lost else set()
    assert keys(properties()) - keys(properties(**changes)) == lost | inner


def test_a_store_without_orders_has_products_but_no_amounts():
    found = properties(by=sender(bounds={}))
    assert found == {
        "contents": [{"content_id": "40012345678901", "content_name": "Shirt", "quantity": 1}],
        "content_type": "product",
        "num_items": 1,
    }


def test_what_the_shops_server_signs_has_no_bounds():
    by = sender(bounds=None)
    assert properties(by=by, value=9999.5, currency="EUR")["value"] == 9999.5
    user = item(viewed(ip="8.8.4.4", email="b" * 64, phone="c" * 64), by=by)["user"]
    assert (user["ip"], user["email"], user["phone"]) == ("8.8.4.4", "b" * 64, "c" * 64)
    assert item(viewed(ip="8.8.4.4", email="b" * 64))["user"]["ip"] == IP


def test_an_unsigned_body_names_nobody():
    """Anybody could write another person's e-mail there."""
    assert not {"email", "phone"} & set(item(viewed(email="b" * 64, phone="c" * 64))["user"])


def test_there_is_an_end_to_contents_and_words():
    row = {"content_id": "1", "content_name": "n" * 201, "brand": "b" * 101}
    assert properties(contents=[row] * (MAX_CONTENTS + 1))["contents"] == [{"content_id": "1"}] * MAX_CONTENTS


def test_a_search_names_what_was_searched_for_but_no_person():
    search = viewed(milestone="searched", properties={"search_string": "red shirt"})
    assert item(search)["properties"] == {"search_string": "red shirt"}
    for junk in ("jane@example.com", "s" * 201, 7):
        assert "properties" not in item(search | {"properties": {"search_string": junk}})
    assert "search_string" not in properties(search_string="red shirt")


# --- consent, law, matching -----------------------------------------------------------------------------------


@each_row(
    ("consent", "country", "answer", "allowed"),
    [
        ("not_required", "", "", True),
        ("not_required", "", "denied", False),
        ("required", "US", "", False),
        ("required", "US", "granted", True),
        ("required_in_europe", "US", "", True),
        ("required_in_europe", "DE", "", False),
        ("required_in_europe", "", "", False),
        ("required_in_europe", "DE", "granted", True),
        ("required_in_europe", "US", "denied", False),
        ("required", "US", "yes", False),
    ],
)
def test_consent_is_as_for_orders(consent, country, answer, allowed):
    store = funnel_store(consent=consent, country=country)
    assert may_use({"consent": answer}, store) is allowed
    assert bool(items(viewed(), store=store, consent=answer)) is allowed


def test_limited_data_use_needs_an_ip():
    """The shopper's state is not known, so it may be one of those."""
    store = funnel_store(limited_data_use=("CA",))
    assert item(viewed(), store=store)["limited_data_use"] is True
    assert items(viewed(), store=store, by=sender(ip="")) == []


def test_an_event_that_tiktok_cannot_match_is_not_sent():
    assert items(viewed(url=""), by=sender(ip="")) == []
    assert items(viewed(url="", ttclid="has space"), by=sender(user_agent="")) == []


# --- forms ----------------------------------------------------------------------------------------------------


def test_a_click_id_is_found_in_the_page_or_its_address():
    assert click_id(parse_browser_json(beacon(ttclid=CLICK))) == CLICK
    assert click_id(parse_browser_json(beacon(viewed()))) == "E.C.P.page"
    assert click_id(parse_browser_json(beacon(ttclid="a b"))) == ""


def test_half_a_character_costs_only_itself():
    """A page that cuts a text in the middle of an emoji sends an unpaired surrogate."""
    body = beacon(viewed()).replace(b'"Shirt"', b'"Shirt \\ud83d"').replace(b'"price": 25', b'"price": 24.9')
    read = read_events(parse_browser_json(body), STORE, sender(), NOW)
    (found,) = [json.loads(one.payload)["properties"]["contents"][0] for _, many in read for one in many]
    assert (found["content_name"], found["price"]) == ("Shirt", 24.9)


def test_a_signed_body_is_of_the_last_minutes():
    assert is_fresh({"events": [viewed(time=int(NOW))]}, NOW + 600)
    assert not is_fresh({"events": [viewed(time=int(NOW))]}, NOW + 601)
    assert not is_fresh({"events": [viewed(time=None)]}, NOW)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
NAMES = ["ttclid", "ttp", "url", "referrer", "time", "properties", "external_id", "user_agent", "locale", "consent"]
PROPERTIES = ["contents", "value", "currency", "num_items", "content_type", "search_string"]


@given(
    st.dictionaries(st.sampled_from(NAMES), JSON),
    st.dictionaries(st.sampled_from(PROPERTIES), JSON),
    st.sampled_from([None, {}, sender().bounds]),
)
def test_any_value_costs_at_most_the_event(members, given_properties, bounds):
    """Whatever a page sends: no exception, and what is sent is JSON within the bounds."""
    event = viewed() | members | {"properties": viewed()["properties"] | given_properties}
    body = json.dumps({"events": [event]}).encode()
    for _, found in read_events(parse_browser_json(body), STORE, sender(bounds=bounds), NOW):
        for one in found:
            assert json.loads(one.payload)["event"] == "ViewContent"
            assert len(one.payload) < 64_000


@given(st.binary())
def test_any_body_is_read(body):
    assert list(read_events(parse_browser_json(body), STORE, sender(), NOW)) is not None
