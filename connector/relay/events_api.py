"""TikTok Events API 2.0: one request, and what its answer means for the events in it.

The body's `code` decides, not the HTTP status: TikTok answers refusals with HTTP 200.
https://business-api.tiktok.com/portal/docs?id=1771101303285761 (endpoint), ?id=1737172488964097 (return codes)
"""

import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Literal

import httpx
import msgspec

from connector.core.store import Pixel

TIMEOUT = httpx.Timeout(10.0, connect=3.0, pool=3.0)
ANSWERED_WITHIN = 20.0  # seconds: an answer that trickles in beyond this is given up, at the latest one read later
LONGEST_REQUEST = ANSWERED_WITHIN + 10.0
MAX_ANSWER = 256 * 1024
MAX_MESSAGE = 2000  # characters of TikTok's words; to look for addresses costs the square of a word's length

Disposition = Literal["accepted", "retry", "rejected", "denied"]

THROTTLED = frozenset({40100, 40132, 61000})
RETRIED = frozenset({40016, 50000, 50002, 60001}) | THROTTLED
DENIED = frozenset({40001, 40003, 40006, 40051, 40063, 40101, 40102, 40103, 40104, 40105, 40107, 40110, 40113})
DENIED |= {40117, 40118, 40125, 40130, 40400, 41000, 41001, 41002}
DONE = frozenset({0, 40050})  # 40050: this very request was taken before
PARTLY = 20001

_INDEX = re.compile(r"(?:\bdata|\bBatch|\bevents?)[.\[\s]+(\d{1,4})\b|\bindex[ :=]+(\d{1,4})\b", re.IGNORECASE)
_TOKEN = re.compile(r"[!-~]+")
_ECHOED = re.compile(r"\S+@\S+|\+\d[\d ().-]{6,}|\b\d{1,3}(?:\.\d{1,3}){3}\b|[A-Za-z0-9+/_=-]{30,}")
_SOURCE = re.compile(r"event_source(?:_id)?\b|pixel[ _]code|access[ _-]token", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an answer means. `definite` is False when the events may have reached TikTok all the same.

    `indexes` are the events of the request that the message names; `pause` seconds TikTok asked us to wait;
    `throttled`: this token was used too often.
    """

    verdict: Disposition
    code: int | None = None
    message: str = ""
    request_id: str = ""
    definite: bool = True
    indexes: tuple[int, ...] = ()
    pause: float = 0.0
    throttled: bool = False


class EventsApi:
    """The Events API at a base URL (`…/open_api/v1.3`) over an injected httpx client; safe to share by threads."""

    def __init__(self, base_url: str, client: httpx.Client, elapsed: Callable[[], float] = time.monotonic) -> None:
        self._url = base_url.rstrip("/") + "/event/track/"
        self._client = client
        self._elapsed = elapsed

    def send(self, pixel: Pixel, test_event_code: str, items: Sequence[bytes]) -> Outcome:
        """Send items, already JSON, in one request with the pixel's token. Never raises; failures are outcomes."""
        head: dict[str, Any] = {"event_source": "web", "event_source_id": pixel.code}
        if test_event_code:
            head["test_event_code"] = test_event_code
        if not _TOKEN.fullmatch(pixel.access_token):
            return Outcome("denied", message="the access token is empty or no valid header value")
        try:
            body = b"".join((msgspec.json.encode(head)[:-1], b',"data":[', b",".join(items), b"]}"))
            status, headers, answer = self._post(body, pixel.access_token)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            return Outcome("retry", message=f"could not connect to TikTok ({type(error).__name__})")
        except httpx.HTTPError as error:
            return Outcome("retry", message=f"no answer from TikTok ({type(error).__name__})", definite=False)
        except (ValueError, httpx.InvalidURL):
            return Outcome("denied", message="no request can be made of this pixel, test_event_code or EVENTS_API_URL")
        return parse_response(status, headers, answer, len(items))

    def _post(self, body: bytes, token: str) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and the answer's first MAX_ANSWER bytes. Raises httpx.HTTPError."""
        headers = {"Access-Token": token, "Content-Type": "application/json"}
        begun, answer = self._elapsed(), bytearray()
        # A redirect would carry the token to another place: it is an answer like any other, never followed.
        request = self._client.stream("POST", self._url, content=body, headers=headers, follow_redirects=False)
        with request as response:
            for chunk in response.iter_bytes():
                answer += chunk
                if len(answer) > MAX_ANSWER:
                    break
                if self._elapsed() - begun > ANSWERED_WITHIN:
                    raise httpx.ReadTimeout("the answer trickles", request=response.request)
        return response.status_code, response.headers, bytes(answer[:MAX_ANSWER])


def parse_response(status: int, headers: Mapping[str, str], body: bytes, sent: int) -> Outcome:
    """The outcome for `sent` events of an HTTP answer, whatever it is."""
    try:
        answer = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        answer = None
    pause = _pause(headers)
    code = answer.get("code") if isinstance(answer, dict) else None
    if not isinstance(answer, dict) or type(code) is not int or abs(code) >= 2**31:
        return _without_code(status, pause)
    message = str(answer.get("message") or "")
    verdict = _verdict(code, message)
    return Outcome(
        verdict=verdict,
        code=code,
        message=_shown(message),
        request_id=str(answer.get("request_id") or "")[:64],
        # An internal error or time-out of TikTok's may come after the events were taken.
        definite=verdict != "retry" or code in THROTTLED,
        indexes=_indexes(message, sent) if verdict == "rejected" or code == PARTLY else (),
        pause=pause,
        throttled=code in THROTTLED,
    )


def _verdict(code: int, message: str) -> Disposition:
    if code in DONE or code == PARTLY:
        return "accepted"
    if code in RETRIED or 50000 <= code < 60000:
        return "retry"
    if code in DENIED or _SOURCE.search(message):
        return "denied"
    return "rejected"


def _without_code(status: int, pause: float) -> Outcome:
    """No code to go by: HTML, half an answer, a redirect. Nothing says the events were refused, so try again."""
    told = f"HTTP {status} without TikTok's code"
    if status in (401, 403):
        return Outcome("denied", message=told)
    if 300 <= status < 400:
        return Outcome("denied", message=f"{told}: a redirect, which is not followed; check EVENTS_API_URL")
    if status == 404:
        return Outcome("denied", message=f"{told}: check EVENTS_API_URL")
    if status == 413:
        return Outcome("rejected", message=f"{told}: too large")  # so a batch is halved, and a single event is known
    return Outcome("retry", message=told, definite=status == 429, pause=pause, throttled=status == 429)


def _indexes(message: str, sent: int) -> tuple[int, ...]:
    found = {int(match[1] or match[2]) for match in _INDEX.finditer(message)}
    return tuple(sorted(index for index in found if index < sent))


def _pause(headers: Mapping[str, str]) -> float:
    """Retry-After in seconds, ten minutes at most. A date is measured against the answer's own, not our clock."""
    asked = headers.get("Retry-After", "0")
    try:
        seconds = float(asked)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(asked) - parsedate_to_datetime(headers.get("Date", ""))).total_seconds()
        except (ValueError, TypeError, OverflowError):
            return 0.0
    return 0.0 if math.isnan(seconds) else min(max(seconds, 0.0), 600.0)


def _shown(message: str) -> str:
    """TikTok's words, without the value it may echo: an e-mail, phone, ip or long token must not be kept.

    The path of a field (`data.3.properties.contents.0.content_id`) is no value: it is long, but not between dots.
    """
    if len(message) > MAX_MESSAGE:
        message = message[:MAX_MESSAGE].rpartition(" ")[0]  # half a word might be half an address
    without = _ECHOED.sub("…", message)
    return re.sub(r"[\x00-\x1f\ud800-\udfff]", " ", without)[:300]
