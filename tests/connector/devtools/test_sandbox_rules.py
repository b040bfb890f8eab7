"""The fake Events API: what it refuses."""

import json

import pytest

from connector.devtools.sandbox.server import Sandbox
from tests.support.rows import each_row
from tests.support.sandbox_requests import HEADERS, HOUR, NOW, body, event, kept_ids, said, send, sha


@pytest.mark.parametrize("headers", [{}, {"Access-Token": ""}, {"Access-Token": "  "}])
def test_a_missing_token_is_40104(sandbox: Sandbox, headers: dict[str, str]) -> None:
    assert said(sandbox.answer(headers, body()))[0] == 40104
    assert sandbox.received() == []


@each_row("raw", [b"", b"{", b"[]", b"null", b"\xff", b'{"a":' + b"[" * 100_000])
def test_malformed_json_is_40002(sandbox: Sandbox, raw: bytes) -> None:
    assert said(sandbox.answer(HEADERS, raw))[0] == 40002


@each_row(
    ("changes", "field"),
    [
        ({"event_source": "crm"}, "event_source"),
        ({"event_source": "offline"}, "event_source_id"),
        ({"event_source_id": "7012345678901234567"}, "event_source_id"),
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


@each_row("name", ["event", "event_time", "event_id"])
@each_row("value", [None, "", " ", True, 1.5, [], {}])
def test_the_three_required_fields(sandbox: Sandbox, name: str, value: object) -> None:
    """Wrong and missing look alike to TikTok."""
    absent = event()
    del absent[name]
    for item in (event() | {name: value}, absent):
        code, message = send(sandbox, item)
        assert code == 40002
        assert message.startswith(f"Invalid value for data.0.{name}: ")


@each_row(
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


@each_row(("key", "value", "code"), BAD_USER)
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


@each_row(("key", "value"), BAD_PROPERTIES)
def test_every_property_has_its_rule(sandbox: Sandbox, key: str, value: object) -> None:
    code, message = send(sandbox, event(properties={key: value}))
    assert code == 40002
    assert message.startswith(f"Invalid value for data.0.properties.{key}: ")


@each_row("value", [0, 0.0, 46, 46.5, 7_600_000])
def test_values_from_zero_up_pass(sandbox: Sandbox, value: float) -> None:
    assert send(sandbox, event(properties={"value": value, "currency": "IDR"}))[0] == 0


@each_row(
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


@each_row("name", ["user", "properties", "page"])
@each_row("value", [None, [], "x"])
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


# --- offline event sets ---------------------------------------------------------------------------------------

OFFLINE = {"event_source": "offline", "event_source_id": "7012345678901234567"}


def sale(**changes: object) -> dict[str, object]:
    """An offline event: no page, e-mail and phone alone, the properties of the web."""
    return {
        "event": "Purchase",
        "event_time": int(NOW) - 60,
        "event_id": "order-1",
        "user": {"email": sha("ann@example.com"), "phone": [sha("+12125550123")]},
        "properties": event()["properties"],
        **changes,
    }


def test_an_offline_event_is_accepted(sandbox: Sandbox) -> None:
    assert send(sandbox, sale(), **OFFLINE) == (0, "OK")
    [receipt] = sandbox.received()
    assert (receipt.event_source, receipt.event_source_id) == ("offline", OFFLINE["event_source_id"])


@each_row(
    ("changes", "field"),
    [
        ({"event": "Renewal"}, "event"),
        ({"event": "PlaceAnOrder"}, "event"),
        ({"page": {"url": "https://shop.example.com/"}}, "page"),
        ({"limited_data_use": False}, "limited_data_use"),
        ({"user": {}}, "user"),
        ({"user": None}, "user"),
        ({"user": {"email": "ann@example.com"}}, "user.email"),
        ({"properties": {"customer_type": "new"}}, "properties.customer_type"),
        ({"properties": {"currency": "eur"}}, "properties.currency"),
        ({"event_time": int(NOW) - 29 * 24 * HOUR}, "event_time"),
        ({"event_id": 7}, "event_id"),
    ],
)
def test_an_offline_event_is_held_to_its_own_rules(sandbox: Sandbox, changes: dict[str, object], field: str) -> None:
    code, message = send(sandbox, sale(**changes), **OFFLINE)
    assert code in (40002, 40062)
    assert message.startswith((f"Invalid value for data.0.{field}: ", f"data.0.{field}: "))


@each_row("field", sorted(set(event()["user"]) - {"email", "phone"}))
def test_a_match_key_of_the_web_is_refused_offline(sandbox: Sandbox, field: str) -> None:
    """Each of them alone, although the source web takes it."""
    user = sale()["user"] | {field: event()["user"][field]}
    code, message = send(sandbox, sale(user=user), **OFFLINE)
    assert (code, message) == (40002, f"Invalid value for data.0.user.{field}: not supported for event_source offline.")
    assert send(sandbox, event(user=user))[0] == 0


def test_a_custom_name_is_refused_offline_alone(sandbox: Sandbox) -> None:
    assert send(sandbox, event(event="Renewal"))[0] == 0
    assert send(sandbox, sale(event="Renewal"), **OFFLINE)[0] == 40002
