"""The Events API client when the answer is none of TikTok's: no code, a redirect, a broken or an endless one."""

from collections.abc import Iterator

import httpx

from connector.relay.events_api import ANSWERED_WITHIN, MAX_ANSWER, EventsApi
from tests.support.events_api_answers import BASE, ITEM, PIXEL, answered, api, coded, failing
from tests.support.rows import each_row

HTML = b"<!DOCTYPE html><title>Please wait</title>"


@each_row(
    "body",
    [
        HTML,
        b"",
        b'{"code":0,"mess',
        b'{"message":"OK","data":{}}',
        b'{"code":"0","message":"OK"}',
        b'{"code":null}',
        b'{"code":true}',
        b'{"code":0.0}',
        b'{"code":{"a":1}}',
        b'{"code":1e400}',
        b'{"code":123456789012345678901234567890}',
        b'{"code":2147483648}',
        b'{"code":' + b"9" * 5000 + b"}",
        b'{"code":0,"message":"\\ud800"}',
        b'{"code":0,"message":"\xff"}',
        b"[0]",
        b"0",
        b"null",
        b"[" * 100_000,
        b'{"code":0,"message":"' + b"x" * MAX_ANSWER + b'"}',
    ],
)
def test_an_answer_without_a_code_is_tried_again(body: bytes) -> None:
    """HTTP 200 with something else: nothing says that the events were refused, nor that they were taken."""
    outcome = answered(body)
    assert (outcome.verdict, outcome.code, outcome.definite) == ("retry", None, False)
    assert outcome.message == "HTTP 200 without TikTok's code"


@each_row(
    ("status", "verdict", "definite"),
    [
        (500, "retry", False),
        (502, "retry", False),
        (503, "retry", False),
        (504, "retry", False),
        (408, "retry", False),
        (425, "retry", False),
        (400, "retry", False),
        (429, "retry", True),
        (413, "rejected", True),
        (401, "denied", True),
        (403, "denied", True),
        (404, "denied", True),
    ],
)
def test_without_a_code_the_status_decides(status: int, verdict: str, definite: bool) -> None:
    """A proxy in between answers for itself; 413 is the batch's size, so it is halved like any bad batch."""
    outcome = answered(HTML, status)
    assert (outcome.verdict, outcome.definite, outcome.code) == (verdict, definite, None)
    assert str(status) in outcome.message


@each_row("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_never_followed(status: int) -> None:
    """The token goes to EVENTS_API_URL and nowhere else, even if the client follows redirects by itself."""
    asked: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(status, headers={"Location": "https://elsewhere.example/"})

    client = httpx.Client(transport=httpx.MockTransport(handler), follow_redirects=True)
    outcome = EventsApi(BASE, client).send(PIXEL, "", [ITEM])
    assert asked == [BASE + "/event/track/"]
    assert outcome.verdict == "denied"
    assert "redirect" in outcome.message


@each_row(
    ("header", "pause"),
    [("7", 7), ("0.5", 0.5), ("99999", 600), ("-3", 0), ("nan", 0), ("inf", 600), ("", 0), ("Wed, 21 Oct 2026", 0)],
)
def test_retry_after_is_read_within_reason(header: str, pause: float) -> None:
    """Seconds, ten minutes at most; anything else is as if it were not there."""
    assert answered(HTML, 429, Retry_After=header).retry_after == pause
    assert answered({"code": 40100, "message": "slow down"}, Retry_After=header).retry_after == pause


@each_row(
    ("asked", "date", "pause"),
    [
        ("Wed, 21 Oct 2026 07:28:30 GMT", "Wed, 21 Oct 2026 07:28:00 GMT", 30),
        ("Wed, 21 Oct 2026 07:28:00 GMT", "Wed, 21 Oct 2026 07:29:00 GMT", 0),
        ("Thu, 22 Oct 2026 07:28:00 GMT", "Wed, 21 Oct 2026 07:28:00 GMT", 600),
        ("Wed, 21 Oct 2026 07:28:30 GMT", "", 0),
        ("Wed, 21 Oct 2026 07:28:30", "Wed, 21 Oct 2026 07:28:00 GMT", 0),
        ("soon", "Wed, 21 Oct 2026 07:28:00 GMT", 0),
    ],
)
def test_retry_after_as_a_date_is_measured_by_the_answers_own_clock(asked: str, date: str, pause: float) -> None:
    """Ours may be wrong; without a date to compare with there is nothing to wait for."""
    assert answered(HTML, 429, Retry_After=asked, Date=date).retry_after == pause


def test_only_a_rate_limit_is_one() -> None:
    """It is the token that rests then, not the lane alone."""
    assert answered(HTML, 429).throttled
    assert [code for code in (0, 40002, 40100, 40105, 40132, 50000, 61000) if coded(code).throttled] == [
        40100,
        40132,
        61000,
    ]


@each_row(
    ("error", "definite"),
    [
        (httpx.ConnectError("refused"), True),
        (httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED]"), True),
        (httpx.ConnectTimeout("slow"), True),
        (httpx.PoolTimeout("busy"), True),
        (httpx.ReadTimeout("slow"), False),
        (httpx.WriteTimeout("slow"), False),
        (httpx.WriteError("reset"), False),
        (httpx.ReadError("reset"), False),
        (httpx.RemoteProtocolError("closed without an answer"), False),
        (httpx.ProxyError("refused"), False),
    ],
)
def test_a_failure_is_definite_only_before_the_request_was_written(error: Exception, definite: bool) -> None:
    """Once a byte has left, TikTok may have the events."""
    outcome = failing(error)
    assert (outcome.verdict, outcome.definite, outcome.code) == ("retry", definite, None)
    assert type(error).__name__ in outcome.message


class Stream(httpx.SyncByteStream):
    """An answer in pieces."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self.pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        return self.pieces


def test_a_reset_in_mid_answer_is_not_definite() -> None:
    """The answer had begun: the events were looked at."""

    def pieces() -> Iterator[bytes]:
        yield b'{"code":'
        raise httpx.ReadError("reset")

    outcome = api(lambda _: httpx.Response(200, stream=Stream(pieces()))).send(PIXEL, "", [ITEM])
    assert (outcome.verdict, outcome.definite) == ("retry", False)


def test_an_answer_that_trickles_is_given_up() -> None:
    """A byte now and then satisfies every time-out of httpx; a request must end within its lease all the same."""
    elapsed = [0.0]

    def pieces() -> Iterator[bytes]:
        while elapsed[0] < 10 * ANSWERED_WITHIN:
            elapsed[0] += 9
            yield b" "

    transport = api(lambda _: httpx.Response(200, stream=Stream(pieces())), elapsed=lambda: elapsed[0])
    outcome = transport.send(PIXEL, "", [ITEM])
    assert (outcome.verdict, outcome.definite) == ("retry", False)
    assert elapsed[0] <= ANSWERED_WITHIN + 10


def test_an_endless_answer_is_not_read_to_its_end() -> None:
    """Memory is not TikTok's to fill."""
    read = [0]

    def pieces() -> Iterator[bytes]:
        while True:
            read[0] += 1
            yield b"x" * 65536

    assert api(lambda _: httpx.Response(200, stream=Stream(pieces()))).send(PIXEL, "", [ITEM]).verdict == "retry"
    assert read[0] <= MAX_ANSWER // 65536 + 1
