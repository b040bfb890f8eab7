"""The Events API client: what is sent, and what an answer means."""

import json
import time

import httpx
import pytest

from connector.core.store import Pixel
from connector.relay.events_api import EventsApi
from tests.support.events_api_answers import BASE, ITEM, PIXEL, answered, api, coded
from tests.support.rows import each_row


class TestRequest:
    """What goes over the wire."""

    def sent(self, items: list[bytes], test_code: str = "", base: str = BASE) -> httpx.Request:
        requests: list[httpx.Request] = []

        def handler(request: httpx.Request) -> httpx.Response:
            requests.append(request)
            return httpx.Response(200, json={"code": 0, "message": "OK"})

        client = httpx.Client(transport=httpx.MockTransport(handler))
        assert EventsApi(base, client).send(PIXEL, test_code, items).verdict == "accepted"
        assert len(requests) == 1
        return requests[0]

    @pytest.mark.parametrize("base", [BASE, BASE + "/"])
    def test_is_a_post_to_the_path_with_its_slash(self, base: str) -> None:
        """The slash at the end is always there, once."""
        request = self.sent([ITEM], base=base)
        assert (request.method, str(request.url)) == ("POST", BASE + "/event/track/")

    def test_carries_token_and_type(self) -> None:
        """The token goes into TikTok's own header, and nowhere else."""
        request = self.sent([ITEM])
        assert request.headers["Access-Token"] == "token-one"
        assert request.headers["Content-Type"] == "application/json"
        assert "Authorization" not in request.headers
        assert b"token-one" not in request.content
        assert "token-one" not in str(request.url)

    def test_body_is_a_head_and_the_very_bytes_of_the_items(self) -> None:
        """44.50 stays 44.50: items are spliced in, not re-encoded."""
        other = '{"event_id":"ü",  "n":1.0}'.encode()
        head = b'{"event_source":"web","event_source_id":"CTESTPIXEL0000000001","data":['
        assert self.sent([ITEM, other]).content == head + ITEM + b"," + other + b"]}"

    def test_test_event_code_is_at_the_top_level_only_when_set(self) -> None:
        """An empty code would send live events nowhere."""
        assert b"test_event_code" not in self.sent([ITEM]).content
        body = json.loads(self.sent([ITEM], "TEST123").content)
        assert body["test_event_code"] == "TEST123"
        assert set(body) == {"event_source", "event_source_id", "test_event_code", "data"}
        assert set(body["data"][0]) == {"event", "event_id", "properties"}

    def test_an_offline_set_is_named_as_one_and_gets_nothing_of_the_web(self) -> None:
        """Also of an item that was made when its pixel was still one of the web."""
        requests: list[httpx.Request] = []

        def handler(request: httpx.Request) -> httpx.Response:
            requests.append(request)
            return httpx.Response(200, json={"code": 0, "message": "OK"})

        web = (
            b'{"event":"Purchase","user":{"email":"x","ip":"8.8.8.8"},"page":{"url":"u"},"properties":{"value":44.50}}'
        )
        api(handler).send(Pixel("7012345678901234567", "token", source="offline"), "", [web])
        item = b'{"event":"Purchase","user":{"email":"x"},"properties":{"value":44.50}}'
        head = b'{"event_source":"offline","event_source_id":"7012345678901234567","data":['
        assert requests[0].content == head + item + b"]}"

    def test_quotes_in_codes_stay_inside_their_strings(self) -> None:
        """The head is encoded, not pasted."""
        assert json.loads(self.sent([ITEM], 'T"1').content)["test_event_code"] == 'T"1'


@pytest.mark.parametrize(
    ("verdict", "codes"),
    [
        ("accepted", [0, 20001, 40050]),
        ("retry", [40016, 40100, 40132, 50000, 50002, 51010, 51012, 51099, 52001, 53999, 60001, 61000]),
        ("denied", [40001, 40003, 40006, 40051, 40063, 40101, 40102, 40103, 40104, 40105, 40107, 40110, 40113]),
        ("denied", [40117, 40118, 40125, 40130, 40400, 41000, 41001, 41002]),
        ("rejected", [40000, 40002, 40061, 40062, 40700]),
        ("rejected", [49999, 1, -1, 70000]),  # unknown
    ],
)
def test_the_code_decides(verdict: str, codes: list[int]) -> None:
    """Each code of TikTok's table leads to one outcome, whatever the HTTP status."""
    for code in codes:
        outcome = coded(code)
        assert (outcome.verdict, outcome.code, outcome.message, outcome.request_id) == (verdict, code, "words", "2026")
        for status in (400, 401, 500):
            assert answered({"code": code, "message": "words"}, status).verdict == verdict


@pytest.mark.parametrize("code", [40100, 40132, 61000])
def test_a_rate_limit_is_a_definite_refusal(code: int) -> None:
    """Too many requests: this one was not looked at."""
    assert coded(code).definite


@each_row("code", [40016, 50000, 50002, 51012, 60001])
def test_an_internal_error_may_come_after_the_events_were_taken(code: int) -> None:
    """TikTok's own time-out says nothing about the events."""
    assert not coded(code).definite


@pytest.mark.parametrize("code", [40001, 40105, 40002])
def test_a_refusal_is_definite(code: int) -> None:
    """Token, permission and parameters are looked at before anything is taken."""
    assert coded(code).definite


@each_row(
    ("message", "indexes"),
    [
        ("Invalid value for data.3.event_id: not a valid string.", (3,)),
        ("Invalid value for data.0.properties.contents.12.content_id: not a valid string.", (0,)),
        ("data[3].user.email is invalid", (3,)),
        ("Batch.3.properties.contents.0.content_id: Not a valid string", (3,)),
        ("batch.3.event: missing", (3,)),
        ("Error in event at index 3", (3,)),
        ("Error at index: 3, index=5", (3, 5)),
        ("events[2] and events[7]", (2, 7)),
        ("data.7.event_id, data.3.event_id, data.7.event: bad", (3, 7)),
        ("data.10.event_id: bad", ()),  # of ten events there is none such
        ("Invalid value for event_id: not a valid string.", ()),
        ("metadata.3.x: bad", ()),
        ("Invalid event_time 1760000000", ()),
    ],
)
def test_indexes_are_read_from_the_words(message: str, indexes: tuple[int, ...]) -> None:
    """Every form that is on record; a number that is no index of this request is none."""
    outcome = coded(40002, message, sent=10)
    assert (outcome.verdict, outcome.indexes) == ("rejected", indexes)


def test_partly_ok_names_its_indexes_or_is_accepted_whole() -> None:
    """20001 is success with a warning."""
    assert coded(20001, "Partially OK.", sent=5).indexes == ()
    outcome = coded(20001, "data.1.event: bad; data.4.event: bad", sent=5)
    assert (outcome.verdict, outcome.indexes) == ("accepted", (1, 4))


def test_success_names_nobody() -> None:
    """Words beside code 0 blame no event."""
    assert coded(0, "data.0 OK").indexes == ()


@each_row(
    "message",
    [
        "Invalid value for event_source_id: not a valid string.",
        "Invalid value for event_source: not a valid choice.",
        "No permission to operate pixel code: CTESTPIXEL0000000001. You must be an admin or operator.",
        "pixel_code is not bound to this account",
        "Access token has no scope",
        "You don't have permission for the pixel code 'C1'",
        'Pixel code "C1" is not valid',
    ],
)
def test_words_about_the_source_refuse_the_lane(message: str) -> None:
    """A fault of the setup comes as 40002 too; no event is to blame for it."""
    assert coded(40002, message).verdict == "denied"


@each_row(
    "message",
    [
        'Invalid value for data.3.properties.contents.0.content_name: "Pixel Code mug"',
        "Invalid value for content_name: 'Access token'",
        "Invalid value for description: “event_source”",
        "properties.contents[0].content_name: Pixel Code mug is too long",
        "data.3.page.url: https://shop.example/access-token",
    ],
)
def test_an_events_own_words_refuse_no_lane(message: str) -> None:
    """TikTok may repeat what it rejects, and a product can have any name."""
    assert coded(40002, message).verdict == "rejected"


@each_row(
    "message",
    [
        "Invalid value for user.email: 'ann@example.com'",
        "Invalid phone +1 (202) 555-0123",
        "Invalid phone +12025550123.",
        "Invalid ip 203.0.113.7",
        "Invalid ttclid " + "E.C.P." + "aB3_-" * 20,
        "Invalid hash " + "0123456789abcdef" * 4,
    ],
)
def test_an_echoed_value_is_not_kept(message: str) -> None:
    """TikTok may repeat what it refuses; a shopper's data must not end up in our database or log."""
    shown = coded(40002, message).message
    assert "…" in shown
    for value in ("ann@", "555", "203.0.113", "aB3_-aB3", "0123456789abcdef"):
        assert value not in shown


@pytest.mark.parametrize("message", ["a.a" * 20_000, "." * 60_000, "word " * 300 + "x" * 490 + "ann@example.com"])
def test_endless_words_cost_little_and_leave_no_half_an_address(message: str) -> None:
    """A lease must not run out over them, or the events would be sent again."""
    begun = time.thread_time()
    assert "ann" not in coded(40002, message).message
    assert time.thread_time() - begun < 3


def test_words_and_paths_are_kept() -> None:
    """What helps to mend the event stays, up to a reasonable length; control characters go."""
    message = "Invalid value for data.12.properties.contents.0.content_id: not a valid string."
    assert coded(40002, message).message == message
    assert coded(40002, "a\x00b\nc").message == "a b c"
    assert len(coded(40002, "word " * 1000).message) == 300


@each_row("words", [None, 17, ["a"], {"a": 1}])
def test_words_and_request_id_of_another_type_raise_nothing(words: object) -> None:
    """Only the code is relied on."""
    outcome = answered({"code": 40002, "message": words, "request_id": words})
    assert outcome.verdict == "rejected"
    assert isinstance(outcome.message, str)
    assert isinstance(outcome.request_id, str)


@each_row("token", ["", " ", "tok\nen", "tok\r\nX-Other: 1", "tøken", "токен", "a b", "a\ud800", "\x00"])
def test_a_token_that_no_header_can_carry_is_refused_without_a_request(token: str) -> None:
    """A slip in the settings closes the lane; it raises nothing, shows no token and reaches nobody."""

    def handler(request: httpx.Request) -> httpx.Response:
        raise AssertionError("nothing should be sent")

    outcome = api(handler).send(Pixel(PIXEL.code, token), "", [ITEM])
    assert (outcome.verdict, outcome.definite) == ("denied", True)
    assert not token.strip() or token not in outcome.message


@pytest.mark.parametrize(("pixel", "test_code"), [("C\ud800", ""), ("C", "T\udfff")])
def test_codes_that_are_no_text_refuse_the_lane(pixel: str, test_code: str) -> None:
    """Undecodable settings raise nothing either."""
    assert api(lambda _: httpx.Response(200)).send(Pixel(pixel, "token"), test_code, [ITEM]).verdict == "denied"
