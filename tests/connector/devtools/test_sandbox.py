"""The fake Events API: what it accepts, refuses, remembers, and the faults it can be told to have."""

import hashlib
import json
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.devtools.sandbox.rules import Refusal, open_envelope, read_events, read_fault
from connector.devtools.sandbox.server import MAX_RECEIPTS, TRACK, Sandbox, SandboxResponse, create_app, create_server

NOW = 1_760_000_000.0
HOUR = 3600
PIXEL = "CTESTPIXEL0000000001"
HEADERS = {"Access-Token": "token-one"}


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def event(event_id: object = "acme-order-1", **changes: object) -> dict[str, Any]:
    whole: dict[str, Any] = {
        "event": "Purchase",
        "event_time": int(NOW) - 60,
        "event_id": event_id,
        "user": {
            "email": [sha("ann@example.com")],
            "phone": sha("+12025550123"),
            "external_id": [sha("17")],
            "first_name": sha("ann"),
            "zip_code": sha("20001"),
            "city": "washington",
            "state": "dc",
            "country": "us",
            "ip": "203.0.113.7",
            "user_agent": "Mozilla/5.0",
            "locale": "en-US",
            "ttclid": "E.C.P." + "x" * 400,
            "ttp": "01ABC.tt.1",
        },
        "page": {"url": "https://shop.example.com/thanks", "referrer": "https://shop.example.com/"},
        "properties": {
            "value": 44.5,
            "currency": "USD",
            "content_type": "product",
            "order_id": "1",
            "num_items": 2,
            "contents": [{"content_id": "77", "quantity": 2, "price": 22.25, "content_name": "Socks"}],
        },
    }
    return {**whole, **changes}


def body(*events: object, **changes: object) -> bytes:
    top = {"event_source": "web", "event_source_id": PIXEL, "data": list(events) or [event()], **changes}
    return json.dumps(top).encode()


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sandbox(clock: Clock) -> Sandbox:
    return Sandbox(clock)


def said(answer: SandboxResponse) -> tuple[int, str]:
    reply = json.loads(answer.body)
    return reply["code"], reply["message"]


def send(sandbox: Sandbox, *events: object, token: str = "token-one", **changes: object) -> tuple[int, str]:
    answer = sandbox.answer({"Access-Token": token}, body(*events, **changes))
    assert (answer.status, answer.content_type) == (200, "application/json")
    return said(answer)


def fault(sandbox: Sandbox, **fields: object) -> None:
    sandbox.set_fault(read_fault(json.dumps(fields).encode()))


def kept_ids(sandbox: Sandbox) -> list[tuple[str, bool]]:
    return [(json.loads(receipt.item)["event_id"], receipt.duplicate) for receipt in sandbox.received()]


# Acceptance


def test_a_good_event_is_accepted_with_tiktoks_answer(sandbox: Sandbox) -> None:
    """Code 0, message OK, empty data, and a request_id that starts with the time."""
    reply = json.loads(sandbox.answer({"access-token": "t"}, body()).body)
    assert (reply["code"], reply["message"], reply["data"]) == (0, "OK", {})
    assert reply["request_id"].startswith("20251009085320")
    assert len(reply["request_id"]) == 34
    assert reply["request_id"] == reply["request_id"].upper()


def test_an_item_is_kept_exactly_as_sent(sandbox: Sandbox) -> None:
    """The bytes of the item come back, digits and all, with source, test code and time beside them."""
    item = json.dumps(event()).replace("44.5", "44.50")
    raw = f'{{"event_source":"web","event_source_id":"{PIXEL}","test_event_code":"TEST1","data":[{item}]}}'
    sandbox.answer(HEADERS, raw.encode())
    [receipt] = sandbox.received()
    assert receipt.item == item.encode()
    assert json.loads(receipt.json()) == {
        "event_source_id": PIXEL,
        "test_event_code": "TEST1",
        "accepted_at": NOW,
        "duplicate": False,
        "item": event(),
    }


def test_no_test_code_is_null(sandbox: Sandbox) -> None:
    send(sandbox)
    assert json.loads(sandbox.received()[0].json())["test_event_code"] is None


def test_unknown_keys_are_tolerated(sandbox: Sandbox) -> None:
    """TikTok's own templates send keys that no page lists."""
    strange = event(device={"mobile": True}, user={"phone_number": "1"}, properties={"gtm_version": "1"})
    assert send(sandbox, strange, partner="x")[0] == 0


def test_user_page_and_properties_may_be_absent(sandbox: Sandbox) -> None:
    assert send(sandbox, {"event": "Lead", "event_time": int(NOW), "event_id": "l-1"})[0] == 0


def test_only_the_last_ten_thousand_are_kept(sandbox: Sandbox) -> None:
    """The oldest fall out; the counts still know them all."""
    for batch in range(11):
        plain = [{"event": "Lead", "event_time": int(NOW), "event_id": f"{batch}-{i}"} for i in range(1000)]
        assert send(sandbox, *plain)[0] == 0
    assert len(sandbox.received()) == MAX_RECEIPTS == 10_000
    assert kept_ids(sandbox)[0] == ("1-0", False)
    assert sandbox.counts()["accepted"] == 11_000


# Refusals


@pytest.mark.parametrize("headers", [{}, {"Access-Token": ""}, {"Access-Token": "  "}])
def test_a_missing_token_is_40104(sandbox: Sandbox, headers: dict[str, str]) -> None:
    assert said(sandbox.answer(headers, body()))[0] == 40104
    assert sandbox.received() == []


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null", b"\xff", b'{"a":' + b"[" * 100_000])
def test_malformed_json_is_40002(sandbox: Sandbox, raw: bytes) -> None:
    assert said(sandbox.answer(HEADERS, raw))[0] == 40002


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"event_source": "offline"}, "event_source"),
        ({"event_source": None}, "event_source"),
        ({"event_source": ["web"]}, "event_source"),
        ({"event_source_id": 7}, "event_source_id"),
        ({"event_source_id": ""}, "event_source_id"),
        ({"test_event_code": ""}, "test_event_code"),
        ({"test_event_code": None}, "test_event_code"),
        ({"data": {}}, "data"),
        ({"data": []}, "data"),
        ({"data": "x"}, "data"),
        ({"data": [1]}, "data.0"),
    ],
)
def test_a_wrong_top_level_is_40002(sandbox: Sandbox, changes: dict[str, object], field: str) -> None:
    code, message = send(sandbox, **changes)
    assert code == 40002
    assert message.startswith(f"Invalid value for {field}: ")


@pytest.mark.parametrize("missing", ["event_source", "event_source_id", "data"])
def test_a_missing_top_level_key_is_40002(sandbox: Sandbox, missing: str) -> None:
    top = json.loads(body())
    del top[missing]
    code, message = said(sandbox.answer(HEADERS, json.dumps(top).encode()))
    assert code == 40002
    assert message.startswith(f"Invalid value for {missing}: ")


def test_the_known_messages_are_word_for_word(sandbox: Sandbox) -> None:
    """Clients parse these two, as seen from the real API (the index is what a batch needs)."""
    assert send(sandbox, event_source_id=1)[1] == "Invalid value for event_source_id: not a valid string."
    good = [event(f"o-{i}") for i in range(3)]
    wrong = send(sandbox, *good, event(273), event("o-4"), event(274))
    assert wrong == (40002, "Invalid value for data.3.event_id: not a valid string.")


def test_one_bad_event_refuses_the_whole_batch(sandbox: Sandbox) -> None:
    """The worst case: nothing is stored, and nothing is remembered for deduplication."""
    assert send(sandbox, event("o-1"), event(2))[0] == 40002
    assert sandbox.received() == []
    send(sandbox, event("o-1"))
    assert kept_ids(sandbox) == [("o-1", False)]


def test_a_thousand_events_pass_and_one_more_is_40061(sandbox: Sandbox) -> None:
    many = [{"event": "Lead", "event_time": int(NOW), "event_id": str(i)} for i in range(1001)]
    assert send(sandbox, *many[:1000])[0] == 0
    code, message = send(sandbox, *many)
    assert code == 40061
    assert "batch size" in message


@pytest.mark.parametrize("name", ["event", "event_time", "event_id"])
@pytest.mark.parametrize("value", [None, "", " ", True, 1.5, [], {}])
def test_the_three_required_fields(sandbox: Sandbox, name: str, value: object) -> None:
    """Wrong and missing look alike to TikTok."""
    absent = event()
    del absent[name]
    for item in (event() | {name: value}, absent):
        code, message = send(sandbox, item)
        assert code == 40002
        assert message.startswith(f"Invalid value for data.0.{name}: ")


@pytest.mark.parametrize(
    ("age", "code"),
    [
        (-24 * HOUR, 0),
        (-24 * HOUR - 1, 40002),
        (28 * 24 * HOUR, 0),
        (28 * 24 * HOUR + 1, 40002),
        (-999 * NOW, 40002),
    ],
)
def test_event_time_is_seconds_of_the_last_28_days(sandbox: Sandbox, age: float, code: int) -> None:
    """Up to a day in the future is a clock; milliseconds are not."""
    assert send(sandbox, event(event_time=int(NOW - age)))[0] == code


BAD_USER = [
    *[(key, value, 40062) for key in ("email", "phone", "external_id", "first_name", "last_name", "zip_code")
      for value in ("ann", sha("ann").upper(), sha("ann")[1:], sha("ann") + "\n")],
    *[(key, value, 40002) for key in ("email", "phone", "external_id", "first_name", "last_name", "zip_code")
      for value in ("", None, 7, sha(""), {})],
    *[(key, [sha("ann"), value], 40062) for key in ("email", "phone", "external_id") for value in ("ann",)],
    *[(key, [value], 40002) for key in ("email", "phone", "external_id") for value in (None, sha(""), [])],
    *[(key, [], 40002) for key in ("email", "phone", "external_id", "first_name", "zip_code")],
    *[(key, value, 40002) for key in ("ttclid", "ttp", "user_agent", "locale", "city", "state", "country", "ip")
      for value in ("", None, 7, ["x"])],
    *[("ip", value, 40002) for value in ("203.0.113", "203.0.113.7, 198.51.100.2", "localhost")],
    *[("country", value, 40002) for value in ("US", "usa", sha("us"), "us\n")],
    *[(key, value, 40002) for key in ("city", "state") for value in ("Paris", "new york", sha("paris"))],
]  # fmt: skip


@pytest.mark.parametrize(("key", "value", "code"), BAD_USER)
def test_every_user_key_has_its_rule(sandbox: Sandbox, key: str, value: object, code: int) -> None:
    """Plain personal data is 40062, everything else that is wrong 40002; both name index and key."""
    answered, message = send(sandbox, event("o-1"), event("o-2", user={key: value}))
    assert answered == code
    assert f"data.1.user.{key}: " in message


def test_plain_personal_data_is_named(sandbox: Sandbox) -> None:
    wrong = send(sandbox, event("1"), event("2"), event("3", user={"email": "ann@example.com"}))
    assert wrong == (40062, "data.2.user.email: PII is not hashed")


def test_ipv6_and_letters_beyond_ascii_pass(sandbox: Sandbox) -> None:
    assert send(sandbox, event(user={"ip": "2001:db8::1", "city": "münchen"}))[0] == 0


BAD_PROPERTIES = [
    *[("value", value) for value in ("44.50", True, None, -0.01, -1, 10**400)],
    *[("currency", value) for value in ("usd", "XXX", "BGN", "", None, ["USD"])],
    *[("content_type", value) for value in ("sku", "", None, [])],
    *[("num_items", value) for value in (1.0, "1", True, -1)],
    *[(key, value) for key in ("order_id", "shop_id", "description", "search_string") for value in (1, "", None)],
    *[("contents", value) for value in ({}, "x", None)],
    *[("content_ids", value) for value in ("x", [1], None)],
    ("customer_type", "loyal"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value"), BAD_PROPERTIES)
def test_every_property_has_its_rule(sandbox: Sandbox, key: str, value: object) -> None:
    code, message = send(sandbox, event(properties={key: value}))
    assert code == 40002
    assert message.startswith(f"Invalid value for data.0.properties.{key}: ")


@pytest.mark.parametrize("value", [0, 0.0, 46, 46.5, 7_600_000])
def test_values_from_zero_up_pass(sandbox: Sandbox, value: float) -> None:
    assert send(sandbox, event(properties={"value": value, "currency": "IDR"}))[0] == 0


@pytest.mark.parametrize(
    ("content", "at"),
    [
        ({"content_id": 77}, "contents.1.content_id"),
        ({}, "contents.1.content_id"),
        ({"content_id": "7", "quantity": 1.5}, "contents.1.quantity"),
        ({"content_id": "7", "quantity": "1"}, "contents.1.quantity"),
        ({"content_id": "7", "price": "8"}, "contents.1.price"),
        ({"content_id": "7", "price": -1}, "contents.1.price"),
        ({"content_id": "7", "content_name": None}, "contents.1.content_name"),
        ("77", "contents.1"),
    ],
)
def test_every_content_has_its_rule(sandbox: Sandbox, content: object, at: str) -> None:
    code, message = send(sandbox, event(properties={"contents": [{"content_id": "7"}, content]}))
    assert code == 40002
    assert message.startswith(f"Invalid value for data.0.properties.{at}: ")


@pytest.mark.parametrize("name", ["user", "properties", "page"])
@pytest.mark.parametrize("value", [None, [], "x"])
def test_sections_are_objects(sandbox: Sandbox, name: str, value: object) -> None:
    assert send(sandbox, event(**{name: value})) == (
        40002,
        f"Invalid value for data.0.{name}: not a valid object.",
    )


@pytest.mark.parametrize("url", [None, "", 1])
def test_a_page_url_is_a_string(sandbox: Sandbox, url: object) -> None:
    assert "data.0.page.url" in send(sandbox, event(page={"url": url}))[1]


def test_limited_data_use_needs_an_ip(sandbox: Sandbox) -> None:
    assert send(sandbox, event(limited_data_use=True))[0] == 0
    assert "data.0.user.ip" in send(sandbox, event(limited_data_use=True, user={}))[1]
    assert send(sandbox, event("o-2", limited_data_use=False, user={}))[0] == 0
    assert "data.0.limited_data_use" in send(sandbox, event(limited_data_use="yes"))[1]


def test_another_route_is_40400(sandbox: Sandbox) -> None:
    assert said(sandbox.no_route())[0] == 40400
    assert sandbox.counts()["by_code"] == {"40400": 1}


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["web", PIXEL]),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
KEYS = ["event", "event_time", "event_id", "user", "properties", "page", "limited_data_use"]
ITEMS = st.dictionaries(st.sampled_from(KEYS), JSON_VALUES).map(lambda changes: event() | changes)
TOPS = st.fixed_dictionaries(
    {"event_source": st.just("web"), "event_source_id": st.just(PIXEL), "data": st.lists(ITEMS) | JSON_VALUES}
)


@given(raw=st.binary() | (JSON_VALUES | TOPS).map(lambda value: json.dumps(value).encode()))
def test_any_body_gets_an_answer_with_a_code(raw: bytes) -> None:
    """A hostile body is refused or accepted, never an exception."""
    sandbox = Sandbox(Clock())
    code, _ = said(sandbox.answer(HEADERS, raw))
    assert code in {0, 40002, 40061, 40062}
    assert (code == 0) == bool(sandbox.received())
    if code == 0:
        assert create_app(sandbox).test_client().get("/").status_code == 200


def test_an_item_nested_too_deep_for_the_page_does_not_break_it(sandbox: Sandbox) -> None:
    """What is just readable here is not from within a web framework's deeper stack."""
    for depth in range(500, sys.getrecursionlimit(), 5):
        deep = json.dumps(event(f"deep-{depth}")).replace('"page"', f'"x": {"[" * depth}{"]" * depth}, "page"')
        sandbox.answer(HEADERS, body("here").replace(b'"here"', deep.encode()))
    assert len(sandbox.received()) > 10
    assert create_app(sandbox).test_client().get("/").status_code == 200


def test_the_rules_stand_alone() -> None:
    """Another test can hold a payload against the rules without a sandbox."""
    with pytest.raises(Refusal, match="event_id") as refused:
        read_events(open_envelope(body(event(1))), NOW)
    assert refused.value.code == 40002


# Deduplication


def test_a_second_copy_within_48_hours_is_a_duplicate(sandbox: Sandbox, clock: Clock) -> None:
    """Counted from the first accepted copy, not from the latest."""
    send(sandbox)
    clock.now += 47 * HOUR
    assert send(sandbox)[0] == 0
    clock.now += HOUR
    send(sandbox, event(event_time=int(clock.now)))
    clock.now += 47 * HOUR
    send(sandbox, event(event_time=int(clock.now)))
    assert [duplicate for _, duplicate in kept_ids(sandbox)] == [False, True, False, True]


def test_the_key_is_source_event_and_event_id(sandbox: Sandbox) -> None:
    """A test code is no part of it."""
    send(sandbox)
    send(sandbox, test_event_code="TEST1")
    send(sandbox, event(event="PlaceAnOrder"))
    send(sandbox, event_source_id="CTESTPIXEL0000000002")
    send(sandbox, event("acme-order-2"), event("acme-order-2"))
    marks = [duplicate for _, duplicate in kept_ids(sandbox)]
    assert marks == [False, True, False, False, False, True]


# Counts and clearing


def test_counts(sandbox: Sandbox) -> None:
    """Events and requests are counted apart; duplicates are no conversions."""
    send(sandbox, event("1"), event("2"), event("3", event="Lead"))
    send(sandbox, event("1"))
    send(sandbox, event(1))
    fault(sandbox, kind="html")
    sandbox.answer(HEADERS, body())
    assert sandbox.counts() == {
        "requests": 4,
        "accepted": 3,
        "duplicates": 1,
        "refused": 2,
        "by_code": {"0": 2, "40002": 1, "none": 1},
        "by_event": {"Lead": 1, "Purchase": 2},
        "by_source": {PIXEL: 3},
    }


def test_clear_forgets_everything_but_the_faults(sandbox: Sandbox) -> None:
    send(sandbox)
    fault(sandbox, kind="rate_limit", times=1)
    sandbox.clear()
    assert sandbox.received() == []
    assert sandbox.counts()["requests"] == 0
    assert send(sandbox)[0] == 40100
    send(sandbox)
    assert kept_ids(sandbox) == [("acme-order-1", False)]


# Faults


@pytest.mark.parametrize(
    ("fields", "code", "message"),
    [
        ({"kind": "rate_limit"}, 40100, "Too many requests. Please retry in some time."),
        ({"kind": "revoke"}, 40105, "Access token is incorrect or has been revoked."),
        (
            {"kind": "no_permission"},
            40001,
            (
                f"No permission to operate pixel code: {PIXEL}. "
                "You must be an admin or operator of this advertiser account."
            ),
        ),
        ({"kind": "bad_source"}, 40002, "Invalid value for event_source_id: not a valid string."),
        ({"kind": "code", "code": 50000, "message": "System error."}, 50000, "System error."),
    ],
)
def test_a_refusing_fault(sandbox: Sandbox, fields: dict[str, object], code: int, message: str) -> None:
    """It refuses with TikTok's own words and stores nothing, until it is cleared."""
    fault(sandbox, **fields)
    assert send(sandbox) == (code, message)
    assert sandbox.received() == []
    sandbox.clear_faults()
    assert send(sandbox)[0] == 0


def test_a_code_fault_may_have_a_status(sandbox: Sandbox) -> None:
    fault(sandbox, kind="code", code=40102, status=401)
    answer = sandbox.answer(HEADERS, body())
    assert (answer.status, said(answer)) == (401, (40102, ""))


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("kind", ["server_error", "html", "truncated", "drop", "missing_code", "partial"])
def test_an_ambiguous_fault_may_store_first(sandbox: Sandbox, kind: str, after: bool) -> None:
    """The client cannot tell whether its events were stored; `after` decides."""
    fault(sandbox, kind=kind, after=after)
    sandbox.answer(HEADERS, body())
    assert len(sandbox.received()) == after
    sandbox.answer(HEADERS, body(event(1)))
    assert len(sandbox.received()) == after


def test_the_broken_answers(sandbox: Sandbox) -> None:
    """Each is broken in its own way."""
    answers = {}
    for kind in ("server_error", "html", "truncated", "drop", "redirect", "missing_code"):
        fault(sandbox, kind=kind, times=1)
        answers[kind] = sandbox.answer(HEADERS, body())
    assert answers["server_error"].status == 502
    assert b"nginx" in answers["server_error"].body
    assert answers["html"][:2] == (200, "text/html")
    assert answers["truncated"].body.startswith(b'{"code":0')
    with pytest.raises(json.JSONDecodeError):
        json.loads(answers["truncated"].body)
    assert answers["drop"].dropped
    assert answers["redirect"].status == 302
    assert answers["redirect"].location == "https://elsewhere.example/"
    assert "code" not in json.loads(answers["missing_code"].body)
    assert sandbox.received() == []


def test_partial_is_20001_and_stores(sandbox: Sandbox) -> None:
    fault(sandbox, kind="partial")
    assert send(sandbox)[0] == 20001
    assert len(sandbox.received()) == 1


def test_poison_names_the_index_unless_told_not_to(sandbox: Sandbox) -> None:
    fault(sandbox, kind="poison", event_ids=["bad"])
    assert send(sandbox, event("1"), event("bad"))[1].startswith("Invalid value for data.1.event_id: ")
    assert sandbox.received() == []
    assert send(sandbox, event("1"))[0] == 0
    sandbox.clear_faults()
    fault(sandbox, kind="poison", event_ids=["bad"], named=False)
    assert send(sandbox, event("1"), event("bad")) == (40002, "Invalid value for event_id")


def test_times_are_used_up_by_struck_requests_only(sandbox: Sandbox) -> None:
    fault(sandbox, kind="poison", event_ids=["bad"], times=2)
    codes = [send(sandbox, event(event_id))[0] for event_id in ("bad", "good", "bad", "bad")]
    assert codes == [40002, 0, 40002, 0]
    assert sandbox.faults() == []


def test_probability_is_repeatable_by_seed(clock: Clock) -> None:
    def codes(seed: int) -> list[int]:
        sandbox = Sandbox(clock)
        fault(sandbox, kind="rate_limit", probability=0.5, seed=seed)
        return [send(sandbox)[0] for _ in range(64)]

    assert codes(1) == codes(1) != codes(2)
    assert 10 < codes(1).count(0) < 54


def test_filters_by_token_and_source(sandbox: Sandbox) -> None:
    fault(sandbox, kind="revoke", token="token-one")
    fault(sandbox, kind="no_permission", source="CTESTPIXEL0000000002")
    assert send(sandbox)[0] == 40105
    assert send(sandbox, token="token-two")[0] == 0
    assert send(sandbox, token="token-two", event_source_id="CTESTPIXEL0000000002")[0] == 40001


def test_tokens_can_be_limited_to_a_list(sandbox: Sandbox) -> None:
    fault(sandbox, kind="revoke", allow=["token-two"])
    assert send(sandbox)[0] == 40105
    assert send(sandbox, token="token-two")[0] == 0


def test_no_token_is_ever_shown(sandbox: Sandbox) -> None:
    fault(sandbox, kind="revoke", token="secret-one", allow=["secret-two"])
    client = create_app(sandbox).test_client()
    client.post(TRACK, headers={"Access-Token": "secret-three"}, data=body())
    for path in ("/", "/faults", "/received", "/counts"):
        assert "secret" not in client.get(path).text
    assert sandbox.faults()[0]["token"] == sha("secret-one")[:8]


@pytest.mark.parametrize("after", [False, True])
def test_a_hang_waits_until_it_is_cleared(clock: Clock, after: bool) -> None:
    """With `after` the event is stored before the wait, else when it ends; the answer is true either way."""
    hanging = threading.Event()
    asked: list[float] = []

    def pause(cleared: threading.Event, seconds: float) -> None:
        asked.append(seconds)
        hanging.set()
        assert cleared.wait(120)

    sandbox = Sandbox(clock, pause)
    fault(sandbox, kind="hang", after=after, seconds=45)
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(send(sandbox)[0]))
    thread.start()
    assert hanging.wait(120)
    assert len(sandbox.received()) == after
    sandbox.clear_faults()
    thread.join(120)
    assert (asked, codes, len(sandbox.received())) == ([45], [0], 1)


@pytest.mark.parametrize(
    ("raw", "word"),
    [
        (b"{", "Invalid fault"),
        (b"[]", "Invalid fault"),
        (b"\xff", "Invalid fault"),
        (b"[" * 100_000, "Invalid fault"),
        (b"{}", "kind"),
        (b'{"kind": "earthquake"}', "earthquake"),
        (b'{"kind": "rate_limit", "seconds": 1}', "seconds"),
        (b'{"kind": "rate_limit", "colour": 1}', "colour"),
        (b'{"kind": "rate_limit", "times": 0}', "times"),
        (b'{"kind": "rate_limit", "times": "3"}', "times"),
        (b'{"kind": "rate_limit", "probability": 2}', "probability"),
        (b'{"kind": "poison"}', "event_ids"),
        (b'{"kind": "code"}', '"code"'),
        (b'{"kind": "redirect", "location": "https://a.example/\\r\\nX: y"}', "location"),
    ],
)
def test_a_wrong_fault_is_400_with_a_sentence(sandbox: Sandbox, raw: bytes, word: str) -> None:
    answer = create_app(sandbox).test_client().post("/faults", data=raw)
    assert answer.status_code == 400
    assert word in answer.get_json()["error"]
    assert sandbox.faults() == []


# The HTTP shell


def test_the_side_routes(sandbox: Sandbox) -> None:
    """Receipts, counts and faults can be read, set and cleared."""
    client = create_app(sandbox).test_client()
    assert client.post(TRACK, headers=HEADERS, data=body()).get_json()["code"] == 0
    assert [receipt["item"] for receipt in client.get("/received").get_json()] == [event()]
    assert client.get("/counts").get_json()["accepted"] == 1
    assert client.delete("/received").status_code == 204
    assert client.get("/received/").get_json() == []
    assert client.post("/faults", json={"kind": "rate_limit", "times": 2}).status_code == 201
    assert client.get("/faults").get_json() == [{"kind": "rate_limit", "times": 2}]
    assert client.post(TRACK, headers=HEADERS, data=body()).get_json()["code"] == 40100
    assert client.get("/faults").get_json() == [{"kind": "rate_limit", "times": 1}]
    assert client.delete("/faults").status_code == 204
    assert client.get("/faults").get_json() == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", TRACK.rstrip("/")),
        ("GET", TRACK),
        ("POST", "/open_api/v1.3/pixel/track/"),
        ("POST", "/open_api/v1.3//event/track/"),
        ("POST", "/open_api"),
    ],
)
def test_a_wrong_api_route_is_40400(sandbox: Sandbox, method: str, path: str) -> None:
    answer = create_app(sandbox).test_client().open(path, method=method, headers=HEADERS, data=body())
    assert (answer.status_code, answer.get_json()["code"]) == (200, 40400)


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nowhere", 404), ("PUT", "/counts", 405)])
def test_other_wrong_routes_are_json(sandbox: Sandbox, method: str, path: str, status: int) -> None:
    answer = create_app(sandbox).test_client().open(path, method=method)
    assert answer.status_code == status
    assert answer.get_json()["error"]


def test_the_page_shows_what_arrived(sandbox: Sandbox) -> None:
    """Digits as sent, match keys, marks, faults; and nobody's markup but ours."""
    item = json.dumps(event("<script>alert(1)</script>")).replace("44.5", "44.50").encode()
    raw = body(test_event_code="TEST9").replace(json.dumps(event()).encode(), item)
    for _ in range(2):
        assert said(sandbox.answer(HEADERS, raw))[0] == 0
    fault(sandbox, kind="rate_limit")
    page = create_app(sandbox).test_client().get("/")
    for text in ("44.50 USD", "ttclid", "TEST9", PIXEL, "rate_limit", "EVENTS_API_URL", "2025-10-09 08:53:20"):
        assert text in page.text
    assert page.text.count(">duplicate<") == 1
    assert "<script" not in page.text
    assert sha("ann@example.com") not in page.text
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]


@pytest.fixture
def base(sandbox: Sandbox) -> Iterator[str]:
    server = create_server(sandbox, 0)
    thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.01))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join(120)


def test_a_connection_is_kept_and_every_body_is_read(base: str, sandbox: Sandbox) -> None:
    """Several requests, wrong ones among them, on one socket; chunked bodies too."""
    opened: list[str] = []

    def note(name: str, _: object) -> None:
        opened.extend([name] if name == "connection.connect_tcp.started" else [])

    with httpx.Client(base_url=base, trust_env=False) as client:
        ask: Callable[..., httpx.Response] = client.request
        seen = {"extensions": {"trace": note}, "headers": HEADERS}
        assert ask("POST", TRACK, content=body(), **seen).json()["code"] == 0
        assert ask("POST", "/nowhere", content=body(), **seen).status_code == 404
        assert ask("POST", TRACK, content=iter([body()[:9], body()[9:]]), **seen).json()["code"] == 0
        assert ask("DELETE", "/faults", **seen).status_code == 204
        assert ask("HEAD", "/counts", **seen).content == b""
        answer = ask("GET", "/counts", **seen)
    assert answer.http_version == "HTTP/1.1"
    assert answer.json()["duplicates"] == 1
    assert len(opened) == 1


def test_a_body_that_was_not_read_closes_the_connection(base: str) -> None:
    """Its rest must not be taken for the next request."""
    port = int(base.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(b"POST /faults HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"Connection: close" in answer


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_a_body_gets_none(base: str, sandbox: Sandbox, status: int) -> None:
    """Or the body would be read as the next answer on this connection."""
    fault(sandbox, kind="code", code=40000, status=status, times=1)
    port = int(base.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(f"POST {TRACK} HTTP/1.1\r\nHost: a\r\nAccess-Token: t\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert answer.endswith(b"\r\n\r\n")


def test_a_drop_closes_the_connection_without_an_answer(base: str, sandbox: Sandbox) -> None:
    """The ambiguous case: stored, but the client cannot know; its retry is a duplicate."""
    fault(sandbox, kind="drop", after=True, times=1)
    with httpx.Client(base_url=base, trust_env=False) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            client.post(TRACK, content=body(), headers=HEADERS)
        assert client.post(TRACK, content=body(), headers=HEADERS).json()["code"] == 0
    assert [duplicate for _, duplicate in kept_ids(sandbox)] == [False, True]


@pytest.mark.parametrize(
    "raw",
    [
        b"POST /open_api/v1.3/event/track/ HTTP/1.1\r\nHost: \xff<\r\nContent-Length: 1\r\n\r\n{",
        b"POST /faults HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /faults HTTP/1.1\r\nHost: a\r\nContent-Length: -4\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a b:x/<>\r\n\r\n",
        b"POST /faults HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n",
        b"GET http://[/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"nonsense\r\n\r\n",
    ],
)
def test_hostile_bytes_never_give_a_500(base: str, raw: bytes) -> None:
    port = int(base.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(raw)
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer
    assert b" 500 " not in answer.partition(b"\r\n")[0]
