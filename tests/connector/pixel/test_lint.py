"""`lint-pixel`: what a browser sent beside what the server sends."""

import base64
import hashlib
import json
from contextlib import suppress
from dataclasses import replace
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.core.store import FunnelSettings, MappingSettings, Pixel
from connector.core.values import CONTENT_ID_PLACEHOLDERS
from connector.pixel.captured_requests import PixelEvent, UnreadableCapture, read_capture
from connector.pixel.lint import lint
from tests.support.captured_purchase import BODY, PURCHASE, SERVER, changed
from tests.support.factories import CODE, OTHER_CODE, a_store
from tests.support.rows import each_row

OTHER = OTHER_CODE
STORE = a_store(webhook_secrets=("secret",))
URL = "https://analytics.tiktok.com/api/v2/pixel"
TOKEN = "84ad78572dae52a8cbea7d55371afe89"


def findings(body, store=STORE, stored=None):
    return [(found.mark, found.text) for found in lint(read_capture(json.dumps(body)), store, stored)]


def only(body, store=STORE, stored=None):
    ((mark, sentence),) = findings(body, store, stored)
    assert mark == "differs", sentence
    return sentence


FUNNEL = replace(STORE, funnel=FunnelSettings(searched=()))


def test_events_before_the_order_have_ids_of_their_own():
    """Random ones of the printed code; what another pixel sends counts beside the server's."""
    view = changed(event="ViewContent", event_id="0f" * 16)
    assert findings(view)[0] == ("note", "ViewContent: the server does not send it, so there is nothing to merge")
    ((mark, sentence),) = findings(view, FUNNEL)
    assert (mark, "it will merge" in sentence) == ("same", True)
    stored = {**SERVER, "properties": {**SERVER["properties"], "value": 1}}
    assert "value is 44.5, the server's 1" in only(view, FUNNEL, lambda *_: stored)
    for event_id in ("theirs_MUG-1", "", None, 7):
        sentence = only({**view, "event_id": event_id}, FUNNEL)
        assert 'product_viewed = "" in [stores.acme.funnel]' in sentence
    assert 'set product_viewed = "viewcontent" in [stores.acme.funnel]' in only(
        {**view, "event": "viewcontent"}, FUNNEL
    )
    assert findings({**view, "event": "Search"}, FUNNEL)[0][0] == "note"


# --- reading --------------------------------------------------------------------------------------------------


def har(*requests):
    return json.dumps({"log": {"version": "1.2", "entries": [{"request": request} for request in requests]}})


def posted(body=BODY, url=URL, **more):
    return {"method": "POST", "url": url, "postData": {"mimeType": "text/plain", "text": body, **more}}


def ansi(body):
    """Chrome's $'…' for a body with an apostrophe or an exclamation mark."""
    return body.replace("\\", "\\\\").replace("'", "\\'").replace("!", "\\u0021")


def cmd(body):
    inner = body.replace("\\", "\\\\").replace('"', '\\"')
    return "".join("^" + c if c in '"\\{}%&' else c for c in f'"{inner}"')


IN_QUERY = f"{URL}/act?analytics_message={quote(base64.b64encode(BODY.encode()))}"
FORMS = {
    "body": BODY,
    "list": json.dumps([PURCHASE]),
    "batch": json.dumps({"batch": [PURCHASE]}),
    "har": har(posted(), {"method": "GET", "url": "https://acme.example/"}),
    "har in base64": har(posted(base64.b64encode(BODY.encode()).decode(), encoding="base64")),
    "har with a query": har({"method": "GET", "url": IN_QUERY}),
    "url": IN_QUERY,
    "fetch": f'fetch("{URL}", {{\n  "headers": {{"a": "b"}},\n  "body": {json.dumps(BODY)},\n  "method": "POST"\n}});',
    "curl": f"curl '{URL}' \\\n  -H 'accept: */*' \\\n  --data-raw '"
    + BODY.replace("'", "'\\''")
    + "' \\\n  --compressed",
    "curl with escapes": f"curl '{URL}' -H 'a: b' --data-raw $'{ansi(BODY)}'",
    "curl for cmd": f'curl ^"{URL}^" ^\n  -H ^"accept: */*^" ^\n  --data-raw {cmd(BODY)}',
    "with a byte order mark": "\ufeff" + BODY,
    "of another region": har(posted(url="https://analytics.us.tiktok.com/api/v2/pixel/track/")),
}


@each_row("form", FORMS)
def test_every_form_of_the_request_gives_the_same_event(form):
    """Whatever the developer tools offer to copy."""
    assert read_capture(FORMS[form]) == [
        PixelEvent(CODE, "Purchase", "acme-order-1001", PURCHASE["properties"], PURCHASE["context"]["user"])
    ]


@each_row(
    "content",
    [
        "",
        "hello",
        "{",
        "[1, 2",
        "{}",
        "[]",
        "null",
        har(),
        har(posted(url="https://www.facebook.com/tr/")),
        har(posted(url=f"{URL}/perf")),
        json.dumps({**PURCHASE, "event": "EnrichAM"}),
        json.dumps({**PURCHASE, "context": {}}),
        "https://analytics.tiktok.com/api/v2/pixel?analytics_message=%%%",
        "https://[broken",
        "fetch(",
        f'fetch("{URL}", {{oops',
        f'fetch("{URL}", ' + '{"a":' * 100_000,
        f'fetch("{URL}", {{"body": {{"event": "Purchase"}}}})',
        f'fetch("{URL}", {{"body": 5}})',
        "curl",
        f"curl '{URL}'",
        '{"log": 5}',
    ],
)
def test_a_file_that_is_none_of_these_is_told_in_one_sentence(content):
    """With what would be."""
    with pytest.raises(UnreadableCapture) as told:
        read_capture(content)
    assert "\n" not in str(told.value)


@given(
    st.one_of(
        st.text(), st.sampled_from(["{", "fetch(", "curl ", "https://"]).flatmap(lambda s: st.text().map(s.__add__))
    )
)
def test_no_text_breaks_the_reader(content):
    """Any at all is read or refused."""
    with suppress(UnreadableCapture):
        read_capture(content)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(["event_id", "properties", "contents", "value", "currency", "user", "external_id"]), JSON, JSON)
def test_no_value_breaks_the_comparison(key, value, of_server):
    """Browsers send what a shop's script gave them."""
    body = json.loads(BODY)
    for place in (body, body["context"], body["context"]["user"], body["properties"]):
        if key in place:
            place[key] = value
    stored = {**SERVER, "properties": {**SERVER["properties"], key: of_server}}
    for found in lint(read_capture(json.dumps(body)), STORE, lambda *_: stored):
        assert "\n" not in found.text


# --- comparing ------------------------------------------------------------------------------------------------


def test_what_is_equal_merges():
    """With the stored event beside it, or by its form alone."""
    ((mark, sentence),) = findings(PURCHASE, stored=lambda *_: SERVER)
    assert mark == "same"
    assert "it merges" in sentence
    assert findings(PURCHASE)[0][0] == "same"
    assert "no event with this id" in findings(PURCHASE, stored=lambda *_: None)[0][1]


def test_another_pixel():
    """Events never merge across pixels."""
    body = {**PURCHASE, "context": {**PURCHASE["context"], "pixel": {"code": OTHER}}}
    assert f'set pixel = "{OTHER}" in [stores.acme]' in only(body)
    assert not [
        one for one in findings(body, replace(STORE, pixels=(*STORE.pixels, Pixel(OTHER, "t")))) if one[0] != "same"
    ]


def test_an_offline_set_is_no_pixel_of_a_browser():
    """TikTok never merges what is sent to it."""
    offline = Pixel("7012345678901234567", "t", source="offline", milestones=("order_paid",))
    body = {**PURCHASE, "context": {**PURCHASE["context"], "pixel": {"code": offline.code}}}
    store = replace(STORE, pixels=(*STORE.pixels, offline))
    assert any("TikTok does not merge across pixels" in text for _, text in findings(body, store))


def test_a_name_of_a_kind_is_known():
    """A renewal under its own name is the server's, too."""
    store = replace(STORE, events_of_kinds={"renewal": {"order_paid": ("Subscribe",)}})
    assert [mark for mark, _ in findings({**PURCHASE, "event": "Subscribe"}, store)] == ["same"]


@pytest.mark.parametrize("name", ["purchase", "CompletePayment"])
def test_another_name(name):
    """Capitals and old names are told apart."""
    assert f'set order_paid = "{name}" in [stores.acme.events]' in only({**PURCHASE, "event": name})


@pytest.mark.parametrize("found", [None, ""])
def test_no_event_id(found):
    """Then every copy counts."""
    assert "third argument" in only({**PURCHASE, "event_id": found})
    assert "among the properties" in only(changed(properties={"event_id": "x"}, event_id=found))


def test_an_event_id_that_is_a_number():
    """The server's is a text."""
    assert "String(" in only({**PURCHASE, "event_id": 1001})


@each_row(
    ("event", "event_id", "remedy"),
    [
        ("Purchase", "order-1001", 'set order = "order-{order_id}" in [stores.acme.event_id]'),
        ("Purchase", "1001", 'set order = "{order_id}"'),
        ("InitiateCheckout", f"ic_{TOKEN}", 'set checkout = "ic_{checkout_token}"'),
        ("InitiateCheckout", f"ic-{TOKEN}", 'set checkout = "ic-{checkout_token}"'),
        ("CompleteRegistration", "reg-7", 'set customer = "reg-{customer_id}"'),
        ("Purchase", "gid://shopify/OrderIdentity/1001", "--plain"),
        ("Purchase", "acme-order-gid://shopify/Order/1001", "--plain"),
        ("Purchase", "6f9619ff-8b86-d011-b42d-00cf4fc964ff", "--plain"),
        ("Purchase", "ACME-order-1001", "set order"),
    ],
)
def test_an_event_id_of_another_form(event, event_id, remedy):
    """The template that would make it, where there is one."""
    assert remedy in only({**PURCHASE, "event": event, "event_id": event_id})


@each_row(
    ("properties", "words"),
    [
        ({"value": 40}, "its value is 40, the server's 44.5"),
        ({"value": "44,50"}, "is not a number"),
        ({"currency": "usd"}, "must be upper case"),
        ({"currency": "XXX"}, "is not one that TikTok supports"),
        ({"currency": None}, "without a currency"),
        ({"currency": "EUR"}, 'set currency = "presentment" or "shop" in [stores.acme.mapping]'),
        ({"contents": [{"content_id": "SKU-1"}]}, "set content_id in [stores.acme.mapping]"),
        ({"contents": [], "content_ids": ["78"]}, "its content ids are 78, the server's 77"),
        ({"content_type": "product_group"}, "the server's product (from content_id"),
    ],
)
def test_another_value_currency_or_content(properties, words):
    """Each in one sentence, with the setting that mends it."""
    assert words in only(changed(properties=properties), stored=lambda *_: SERVER)


def test_the_form_of_content_ids_is_seen_without_a_stored_event():
    """A SKU is no variant id; a template has a form of its own."""
    body = changed(properties={"contents": [{"content_id": "SKU-1"}]})
    assert "content_id = variant_id" in only(body)
    sku = replace(STORE, mapping=MappingSettings(content_id="shopify_US_{product_id}_{variant_id}"))
    assert "does not match the server's content_id = shopify_US" in only(body, sku)
    assert findings(changed(properties={"contents": [{"content_id": "shopify_US_1_2"}]}), sku)[0][0] == "same"


@each_row("name", CONTENT_ID_PLACEHOLDERS)
def test_each_part_of_a_content_id_is_known(name):
    store = replace(STORE, mapping=MappingSettings(content_id=f"gla_{{{name}}}"))
    sentences = [
        sentence for _, sentence in findings(changed(properties={"contents": [{"content_id": "gla_78"}]}), store)
    ]
    assert not any("does not match" in sentence for sentence in sentences)
    assert "does not match" in only(changed(properties={"contents": [{"content_id": "78"}]}), store)


def test_a_person_is_compared_and_never_shown():
    """An external_id in plain is told, not printed; hashes of something else are differences."""
    assert "not a SHA-256" in only(changed(user={"external_id": "jane@example.com"}))
    assert "jane" not in only(changed(user={"external_id": "jane@example.com"}))
    other = hashlib.sha256(b"43").hexdigest()
    assert "external_id is the hash of another value" in only(
        changed(user={"external_id": other}), stored=lambda *_: SERVER
    )
    assert "email is the hash of another value" in only(changed(user={"email": other}), stored=lambda *_: SERVER)


def test_what_the_server_does_not_send_is_no_difference():
    """But a file with nothing else in it proves nothing."""
    view = {**PURCHASE, "event": "ViewContent", "event_id": ""}
    assert [mark for mark, _ in findings([view, PURCHASE])] == ["note", "same"]
    assert [mark for mark, _ in findings([view])] == ["note", "differs"]
