"""Client for TikTok Events API 2.0: sends one request and classifies its response.

The `code` in the body decides, not the HTTP status: TikTok reports errors with HTTP 200.
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
from connector.mapping.offline import offline_item

TIMEOUT = httpx.Timeout(10.0, connect=3.0, pool=3.0)
ANSWERED_WITHIN = 20.0  # seconds for the whole response; checked after each read, so one read timeout can come on top
LONGEST_REQUEST = ANSWERED_WITHIN + 10.0  # seconds
MAX_ANSWER = 256 * 1024  # bytes
MAX_MESSAGE = 2000  # characters of TikTok's message; _ECHOED takes quadratic time in the length of a word

Verdict = Literal["accepted", "retry", "rejected", "denied"]

THROTTLED = frozenset({40100, 40132, 61000})
RETRIED = frozenset({40016, 50000, 50002, 60001}) | THROTTLED
DENIED = frozenset({40001, 40003, 40006, 40051, 40063, 40101, 40102, 40103, 40104, 40105, 40107, 40110, 40113})
DENIED |= {40117, 40118, 40125, 40130, 40400, 41000, 41001, 41002}
DONE = frozenset({0, 40050})  # 40050: TikTok has already processed this request
PARTLY = 20001

_INDEX = re.compile(r"(?:\bdata|\bBatch|\bevents?)[.\[\s]+(\d{1,4})\b|\bindex[ :=]+(\d{1,4})\b", re.IGNORECASE)
_TOKEN = re.compile(r"[!-~]+")
_ECHOED = re.compile(r"\S+@\S+|\+\d[\d ().-]{6,}|\b\d{1,3}(?:\.\d{1,3}){3}\b|[A-Za-z0-9+/_=-]{30,}")
_SOURCE = re.compile(r"event_source(?:_id)?\b|pixel[ _]code|access[ _-]token", re.IGNORECASE)
# From here on a message can repeat what an event contains: a quotation, or a field of the event.
_OF_EVENT = re.compile(r"""["“]|(?<!\w)'|\b(?:properties|user|page)[.\[]""", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ApiResult:
    """The result of one request.

    `verdict` "denied" means that TikTok rejects the token, the pixel or the request as a whole, not a single event.
    `definite` is False if the events may have reached TikTok although the request failed. `indexes` are the positions
    of the events that the message names; with the code PARTLY they are rejected although the verdict is "accepted".
    `retry_after` is TikTok's Retry-After in seconds. `throttled` says that the token has exceeded its rate limit.
    """

    verdict: Verdict
    code: int | None = None
    message: str = ""
    request_id: str = ""
    definite: bool = True
    indexes: tuple[int, ...] = ()
    retry_after: float = 0.0
    throttled: bool = False


class EventsApi:
    """Events API at a base URL (`…/open_api/v1.3`), over an injected httpx client. Thread-safe."""

    def __init__(self, base_url: str, client: httpx.Client, elapsed: Callable[[], float] = time.monotonic) -> None:
        self._url = base_url.rstrip("/") + "/event/track/"
        self._client = client
        self._elapsed = elapsed

    def send(self, pixel: Pixel, test_event_code: str, items: Sequence[bytes]) -> ApiResult:
        """Send JSON-encoded events in one request with the pixel's token. Never raises: a failure is a result, too."""
        head: dict[str, Any] = {"event_source": pixel.source, "event_source_id": pixel.code}
        if test_event_code:
            head["test_event_code"] = test_event_code
        if not _TOKEN.fullmatch(pixel.access_token):
            return ApiResult("denied", message="the access token is empty or not valid in a header")
        if pixel.source == "offline":  # of items that are queued already when a pixel's source is corrected
            items = [offline_item(item) for item in items]
        try:
            body = b"".join((msgspec.json.encode(head)[:-1], b',"data":[', b",".join(items), b"]}"))
            status, headers, answer = self._post(body, pixel.access_token)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            return ApiResult("retry", message=f"could not connect to TikTok ({type(error).__name__})")
        except httpx.HTTPError as error:
            return ApiResult("retry", message=f"no answer from TikTok ({type(error).__name__})", definite=False)
        except (ValueError, httpx.InvalidURL):
            return ApiResult("denied", message="invalid pixel, test_event_code or EVENTS_API_URL")
        return parse_response(status, headers, answer, len(items))

    def _post(self, body: bytes, token: str) -> tuple[int, Mapping[str, str], bytes]:
        """Return the status, the headers and at most MAX_ANSWER bytes of the body. Raises httpx.HTTPError."""
        headers = {"Access-Token": token, "Content-Type": "application/json"}
        begun, answer = self._elapsed(), bytearray()
        # Following a redirect would send the token to another address.
        request = self._client.stream("POST", self._url, content=body, headers=headers, follow_redirects=False)
        with request as response:
            for chunk in response.iter_bytes():
                answer += chunk
                if len(answer) > MAX_ANSWER:
                    break
                if self._elapsed() - begun > ANSWERED_WITHIN:
                    raise httpx.ReadTimeout("the response takes too long", request=response.request)
        return response.status_code, response.headers, bytes(answer[:MAX_ANSWER])


def parse_response(status: int, headers: Mapping[str, str], body: bytes, sent: int) -> ApiResult:
    """Classify an HTTP response to a request with `sent` events. Never raises."""
    try:
        answer = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        answer = None
    retry_after = _retry_after(headers)
    code = answer.get("code") if isinstance(answer, dict) else None
    if not isinstance(answer, dict) or type(code) is not int or abs(code) >= 2**31:
        return _classify_status(status, retry_after)
    message = str(answer.get("message") or "")
    verdict = _verdict(code, message)
    return ApiResult(
        verdict=verdict,
        code=code,
        message=_redact(message),
        request_id=str(answer.get("request_id") or "")[:64],
        # TikTok may have accepted the events before an internal error or timeout.
        definite=verdict != "retry" or code in THROTTLED,
        indexes=_indexes(message, sent) if verdict == "rejected" or code == PARTLY else (),
        retry_after=retry_after,
        throttled=code in THROTTLED,
    )


def _verdict(code: int, message: str) -> Verdict:
    if code in DONE or code == PARTLY:
        return "accepted"
    if code in RETRIED or 50000 <= code < 60000:
        return "retry"
    if code in DENIED or _SOURCE.search(_OF_EVENT.split(message, 1)[0]):
        return "denied"
    return "rejected"


def _classify_status(status: int, retry_after: float) -> ApiResult:
    """Classify a response without a code (HTML, a truncated body, a redirect). The default is to retry."""
    message = f"HTTP {status} without TikTok's code"
    if status in (401, 403):
        return ApiResult("denied", message=message)
    if 300 <= status < 400:
        return ApiResult("denied", message=f"{message}: redirects are not followed; check EVENTS_API_URL")
    if status == 404:
        return ApiResult("denied", message=f"{message}: check EVENTS_API_URL")
    if status == 413:
        return ApiResult("rejected", message=f"{message}: too large")  # the batch is then halved
    return ApiResult("retry", message=message, definite=status == 429, retry_after=retry_after, throttled=status == 429)


def _indexes(message: str, sent: int) -> tuple[int, ...]:
    found = {int(match[1] or match[2]) for match in _INDEX.finditer(message)}
    return tuple(sorted(index for index in found if index < sent))


def _retry_after(headers: Mapping[str, str]) -> float:
    """Return Retry-After in seconds, at most 600. A date is compared with the Date header, not with the local clock."""
    value = headers.get("Retry-After", "0")
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(value) - parsedate_to_datetime(headers.get("Date", ""))).total_seconds()
        except (ValueError, TypeError, OverflowError):
            return 0.0
    return 0.0 if math.isnan(seconds) else min(max(seconds, 0.0), 600.0)


def _redact(message: str) -> str:
    """Return TikTok's message without values that it may echo: e-mails, phone numbers, IP addresses, long tokens.

    The path of a field (`data.3.properties.contents.0.content_id`) stays: no part between its dots is long.
    """
    if len(message) > MAX_MESSAGE:
        message = message[:MAX_MESSAGE].rpartition(" ")[0]  # a cut word can be part of an address
    redacted = _ECHOED.sub("…", message)
    return re.sub(r"[\x00-\x1f\ud800-\udfff]", " ", redacted)[:300]
