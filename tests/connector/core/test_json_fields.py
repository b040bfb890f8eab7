"""connector.core.json_fields: one value in, one value of the expected type or its absence out, never an error."""

from datetime import UTC, datetime
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from connector.core import json_fields
from tests.support.rows import each_row

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.decimals(allow_nan=True) | st.text() | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)
READERS = (
    *(
        json_fields.text,
        json_fields.identifier,
        json_fields.numeric_id,
        json_fields.json_object,
        json_fields.money,
        json_fields.whole_quantity,
        json_fields.parse_time,
    ),
    *(json_fields.quantity_of_text, json_fields.unix_time, json_fields.mail_time),
    lambda value: json_fields.phone_number(value, value),
    lambda value: json_fields.minor_units(value, "JPY"),
    *(json_fields.host, lambda value: list(json_fields.json_objects(value))),
)


@given(ANYTHING)
def test_no_reader_raises_whatever_it_is_given(value):
    for reader in READERS:
        reader(value)


@given(st.text())
def test_a_parameter_of_any_text_is_a_text(url):
    assert isinstance(json_fields.query_parameter(f"{url}?x={url}", "x"), str)


@each_row(
    ("value", "expected"),
    [
        *((" a b\t\n", "a b"), ("a\x00b", "ab"), ("a\ud800b\udfff", "ab"), ("\x00 x", "x"), ("x" * 4096, "x" * 4096)),
        *(("x" * 4097, ""), (None, ""), (7, ""), (True, ""), (["a"], ""), ({"a": 1}, ""), ("東京", "東京")),
    ],
)
def test_text(value, expected):
    assert json_fields.text(value) == expected


@each_row(
    ("value", "expected"),
    [
        *((7, "7"), ("7", "7"), (" gid ", "gid"), (0, ""), ("0", ""), (-1, ""), (True, ""), (10**29, "1" + "0" * 29)),
        *((10**30, ""), (10**400, ""), (Decimal(7), ""), ("x" * 255, "x" * 255), ("x" * 256, ""), (None, "")),
    ],
)
def test_ident(value, expected):
    assert json_fields.identifier(value) == expected


@each_row(("value", "expected"), [(7, "7"), ("77", "77"), ("7a", ""), ("", ""), (0, ""), ("1" * 31, "")])
def test_number_id(value, expected):
    assert json_fields.numeric_id(value) == expected


def test_mapping_and_rows_pass_over_what_is_of_another_type():
    assert json_fields.json_object({"a": 1}) == {"a": 1}
    assert [json_fields.json_object(other) for other in ([], None, "x", 1)] == [{}] * 4
    assert list(json_fields.json_objects([{"a": 1}, None, "x", {"b": 2}])) == [{"a": 1}, {"b": 2}]
    assert [list(json_fields.json_objects(other)) for other in ({"a": {}}, None, "x", 1)] == [[]] * 4


@each_row("value", ["44.50", "0", "0.00", "-10.00", " 7.1 ", "12.345", "999999999999999", "0.000001"])
def test_money_keeps_the_digits_of_the_shop(value):
    assert str(json_fields.money(value)) == value.strip()
    assert str(json_fields.money(Decimal(value.strip()))) == value.strip()


@each_row(
    "value",
    [
        *("", "abc", "1,50", "$5", "NaN", "sNaN", "Infinity", "1E+1000000", "-1E+99999999999999999999", "1e3"),
        *("1000000000000000", "0.0000001", "9" * 5000, None, True, 1.5, [], {}, Decimal("NaN"), Decimal("1E+1000000")),
        *(10**15, 10**400, Decimal("1E-1000000")),
    ],
)
def test_money_that_is_none(value):
    assert json_fields.money(value) is None


@each_row(
    ("value", "expected"),
    [
        *((3, 3), (0, 1), (-2, 1), (Decimal("0.5"), 1), (Decimal("2.9"), 2), (True, 1), ("3", 1), (None, 1)),
        *((10**400, 1_000_000), (Decimal("1E+1000000"), 1_000_000), (Decimal("NaN"), 1), (Decimal("Infinity"), 1)),
    ],
)
def test_count(value, expected):
    assert json_fields.whole_quantity(value) == expected


NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@each_row(
    "value",
    [
        *("2026-11-23T12:00:00", "2026-11-23T12:00:00Z", "2026-11-23T07:00:00-05:00", "2026-11-23 12:00:00+00:00"),
        "2026-11-23T12:00:00.000000000Z",
    ],
)
def test_moment_is_utc_whatever_offset_it_was_written_with(value):
    assert json_fields.parse_time(value) == NOON
    assert json_fields.parse_time(value).tzinfo is UTC


@each_row(
    "value",
    [
        *("", "today", "2026-13-01T00:00:00", "1999-12-31T23:59:59", "2201-01-01T00:00:00", "0000-00-00T00:00:00"),
        *(
            "0001-01-01T00:00:00+14:00",
            "9999-12-31T23:59:59-14:00",
            None,
            1_795_412_208,
            [],
            "2026-11-23T12:00" + "0" * 40,
        ),
    ],
)
def test_moment_that_is_none(value):
    assert json_fields.parse_time(value) is None


@each_row(
    ("value", "expected"),
    [
        *(("https://www.Shop.Example:8080/sub/?a=b", "shop.example"), ("acme.myshopify.com", "acme.myshopify.com")),
        *(("WWW.shop.example/", "shop.example"), ("https://user:pw@shop.example", "shop.example")),
        *(("", ""), (None, ""), ("https://[", ""), ("wwwshop.example", "wwwshop.example")),
        *((f"https://{name}.example/ä", "xn--mller-kva.example") for name in ("müller", "www.MÜLLER", "xn--mller-kva")),
        *(("straße.example", "xn--strae-oqa.example"), ("a_b.ü.example", ""), ("ü" * 64 + ".example", "")),
        ("ü" * 2000, ""),
    ],
)
def test_host(value, expected):
    assert json_fields.host(value) == expected


@each_row(
    ("url", "expected"),
    [
        *(("/a?y=1&x=%C3%A9+b", "é b"), ("https://shop.example/?x=first&x=second", "first"), ("/a?x=&x=2", "2")),
        *(("/a", ""), ("/a?xx=1", ""), ("x=1", ""), ("/a#?x=1", ""), ("/a?x=1#x=2", "1"), ("/a?y=?x=1", "")),
        *(("https://[?x=1", "1"), ("/a?x=%00b", "b"), ("/a?x=a%3Db=c", "a=b=c")),
    ],
)
def test_parameter(url, expected):
    assert json_fields.query_parameter(url, "x") == expected


@each_row("word", ["", "processing", "wait-2-days", "EUR", "on_hold"])
def test_a_plain_word_may_be_quoted(word):
    assert json_fields.safe_to_quote(word) == word


@each_row("word", ["ann@example.com", "+12025550147", "a2025550147", "Ann Archer", "x" * 41, "24.55.1.2"])
def test_what_may_be_a_persons_is_not_quoted(word):
    assert json_fields.safe_to_quote(word) == "(not shown)"


def test_fields_without_a_value_are_left_out():
    """A price of 0 is a value; False is not, as TikTok's flags are absent unless they are set."""
    empty = {"text": "", "none": None, "list": [], "tuple": (), "object": {}, "flag": False}
    kept = {"price": Decimal("0.00"), "quantity": 0, "name": "x", "set": True}
    assert json_fields.present(**empty, **kept) == kept


@each_row(("value", "expected"), [("2", 2), (" 3 ", 3), ("0", 1), ("x", 1), (4, 4), ("2.5", 2), (None, 1)])
def test_a_quantity_that_is_written_as_a_text(value, expected):
    assert json_fields.quantity_of_text(value) == expected


@each_row(
    ("value", "currency", "expected"),
    [
        *((4450, "EUR", "44.50"), (4450, "eur", "44.50"), (4450, "JPY", "4450"), (4450, "KWD", "4.450")),
        *((0, "USD", "0.00"), ("4450", "USD", "44.50"), (-50, "USD", "-0.50"), (7, "", "0.07")),
        *((44.5, "EUR", None), (Decimal("44.5"), "EUR", None), (None, "EUR", None), (True, "EUR", None)),
        *((10**15, "EUR", None), (Decimal("1e2"), "EUR", None)),
    ],
)
def test_minor_units_are_those_of_the_currency(value, currency, expected):
    found = json_fields.minor_units(value, currency)
    assert (None if found is None else str(found)) == expected


@each_row(
    ("value", "expected"),
    [
        (1795412160, datetime(2026, 11, 23, 5, 36, tzinfo=UTC)),
        ("1795412160", datetime(2026, 11, 23, 5, 36, tzinfo=UTC)),
        *(
            (value, None)
            for value in (0, 1, -1795412160, 1795412160000, "soon", None, True, "17954121.60", "١٧٩٥٤١٢١٦٠")
        ),
    ],
)
def test_seconds_since_1970(value, expected):
    assert json_fields.unix_time(value) == expected


@each_row(
    ("value", "expected"),
    [
        ("Wed, 10 Jan 2018 21:05:30 +0000", datetime(2018, 1, 10, 21, 5, 30, tzinfo=UTC)),
        ("10 Jan 2018 21:05:30 -0500", datetime(2018, 1, 11, 2, 5, 30, tzinfo=UTC)),
        ("Wed, 10 Jan 2018 21:05:30", datetime(2018, 1, 10, 21, 5, 30, tzinfo=UTC)),
        *((value, None) for value in ("", "soon", "2018-01-10", None, 7, "Wed, 99 Jan 2018 21:05:30 +0000")),
        *((value, None) for value in ("10 Jan 1018 21:05:30 +0000", "1 Jan 9999 23:59:59 -2359")),
    ],
)
def test_a_time_as_in_mails(value, expected):
    assert json_fields.mail_time(value) == expected


NEVER_A_DECIMAL = ("1e99999999999999999999", "-1E+99999999999999999999", "1e-99999999999999999999")


@each_row(
    ("body", "expected"),
    [
        (b'{"a": 44.50, "b": 1e3}', {"a": Decimal("44.50"), "b": Decimal("1E+3")}),
        *(((f'{{"a": {number}, "b": 7}}').encode(), {"a": None, "b": 7}) for number in NEVER_A_DECIMAL),
        *(((f'{{"a": {number}, "b": "\\ud800"}}').encode(), {"a": None, "b": "\ud800"}) for number in NEVER_A_DECIMAL),
        (b'{"a": 0.' + b"1" * 50 + b"}", {"a": None}),
        *((body, {}) for body in (b"", b"[]", b"{", b"\xff", b"[" * 9999, b'{"a": ' + b"9" * 5000 + b"}")),
    ],
)
def test_what_a_browser_sends(body, expected):
    """A number that Decimal cannot hold costs its member."""
    assert json_fields.parse_browser_json(body) == expected


@given(
    st.from_regex(r"-?[0-9]{1,9}(\.[0-9]{1,9})?[eE][+-]?[0-9]{1,30}", fullmatch=True),
    st.sampled_from(["", "\\ud800"]),
)
def test_no_number_of_a_browser_raises(number, other):
    json_fields.parse_browser_json(f'{{"a": {number}, "b": "{other}"}}'.encode())


@each_row(
    ("code", "number", "expected"),
    [
        *(("+65", "8123 4567", "+65 8123 4567"), (65, 81234567, "+65 81234567"), ("", "81234567", "81234567")),
        *(("+65", "+65 8123", "+65 8123"), ("65", "0065 8123", "0065 8123"), ("65", "", ""), (None, None, "")),
    ],
)
def test_a_phone_number_of_two_parts(code, number, expected):
    assert json_fields.phone_number(code, number) == expected


@each_row(
    ("body", "path", "expected"),
    [
        (b'{"type": "sold", "order": {"id": 7}}', ("type",), "sold"),
        (b'{"type": "sold", "order": {"id": 7}}', ("order", "id"), "7"),
        (b'{"type": "sold"}', ("order", "id"), ""),
        (b'{"order": [1]}', ("order", "id"), ""),
        *(
            (body, ("type",), "")
            for body in (b"", b"{", b"[]", b"\xff", b'{"type": {}}', b'{"type": null}', b"[" * 9999)
        ),
        (b'{"type": "' + b"x" * 5000 + b'"}', ("type",), ""),
        (b'{"type": "\xff"}', ("type",), ""),
    ],
)
def test_a_text_of_a_body_that_is_not_parsed_yet(body, path, expected):
    assert json_fields.body_text(body, *path) == expected


@given(st.binary(max_size=300), st.text(max_size=5))
def test_no_body_raises(body, name):
    json_fields.body_text(body, name)
    json_fields.body_text(b'{"a":' + body + b"}", "a", name)
