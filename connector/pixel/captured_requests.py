"""Parser for requests to TikTok's pixel that were copied from a browser's developer tools.

Reads a HAR export, a request as URL, fetch() or cURL, or its JSON body. TikTok does not document these requests; the
formats are those seen in browsers: POST https://analytics.tiktok.com/api/v2/pixel with a JSON body, or the same body
as Base64 in the query.
"""

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

from connector.core.json_fields import Json, json_object, json_objects, text

ACCEPTED = (
    "a HAR export, or one request to analytics.tiktok.com/api/v2/pixel as its URL, as fetch, as cURL (bash or cmd), or "
    "its JSON body"
)
_HOSTS = re.compile(r"analytics(\.[a-z]{2,4})?\.tiktok\.com")
_INTERNAL = frozenset({"", "EnrichAM"})  # sent by TikTok's script itself, about reading form fields
_NOT_EVENTS = ("/perf", "/monitor", "/health")
_BASH = re.compile(r"--data(?:-raw|-binary|-ascii)?\s+(\$?)'((?:[^'\\]|\\.|'\\'')*)'", re.DOTALL)
_CMD = re.compile(r'--data(?:-raw|-binary|-ascii)?\s+"((?:[^"\\]|\\.)*)"', re.DOTALL)
_BASH_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|.)", re.DOTALL)
_URL = re.compile(r"https?://[^\s'\"`^]+")


class UnreadableCapture(Exception):
    """The file has no supported format; the message is one sentence."""


@dataclass(frozen=True, slots=True)
class PixelEvent:
    """One event as the browser sent it. `event_id` may be of any JSON type; None if it is missing."""

    pixel: str
    event: str
    event_id: object
    properties: Json
    user: Json


def read_capture(content: str) -> list[PixelEvent]:
    """Return the pixel events in a file. Raises UnreadableCapture."""
    events = [*_read_events(content.strip().lstrip("\ufeff"))]
    if not events:
        raise UnreadableCapture(f"it contains no event of TikTok's pixel; accepted: {ACCEPTED}")
    return events


def _read_events(content: str) -> Iterator[PixelEvent]:
    if content.startswith(("{", "[")):
        data = _parse_json(content)
        if data is None:
            raise UnreadableCapture(f"it is not valid JSON (truncated?); accepted: {ACCEPTED}")
        yield from _read_har(data) if isinstance(data, dict) and "log" in data else _read_body(data)
    elif content.startswith("fetch("):
        yield from _read_fetch(content)
    elif content.startswith("curl"):
        yield from _read_curl(content)
    elif re.match("https?://", content):
        yield from _read_request(content.split(maxsplit=1)[0], "")
    else:
        raise UnreadableCapture(f"its format is not supported; accepted: {ACCEPTED}")


def _read_har(data: Json) -> Iterator[PixelEvent]:
    """Yield the events of a HAR archive. http://www.softwareishard.com/blog/har-12-spec/"""
    for entry in json_objects(json_object(data["log"]).get("entries")):
        request = json_object(entry.get("request"))
        posted = json_object(request.get("postData"))
        content = posted.get("text")
        if posted.get("encoding") == "base64":
            content = _decode_base64(str(content))
        yield from _read_request(text(request.get("url")), content if isinstance(content, str) else "")


def _read_fetch(content: str) -> Iterator[PixelEvent]:
    url = _URL.search(content)
    start = content.find("{", url.end()) if url else -1
    try:
        options = json.JSONDecoder().raw_decode(content, start)[0] if start >= 0 else {}
    except (ValueError, RecursionError):
        raise UnreadableCapture("the options of fetch() cannot be parsed; copy it as cURL, or the JSON body") from None
    body = json_object(options).get("body")
    yield from _read_request(url[0] if url else "", body if isinstance(body, str) else "")


def _read_curl(content: str) -> Iterator[PixelEvent]:
    url = _URL.search(content)
    if bash := _BASH.search(content):
        escaped, quoted = bash.groups()
        body = _BASH_ESCAPE.sub(_unescape, quoted) if escaped else quoted.replace("'\\''", "'")
    elif cmd := _CMD.search(re.sub(r"\^(\r?\n|.)", lambda escape: escape[1].strip("\r\n"), content)):
        body = re.sub(r"\\(.)", r"\1", cmd[1])
    else:
        body = ""
    yield from _read_request(url[0] if url else "", body)


def _unescape(escape: re.Match[str]) -> str:
    code = escape[1]
    if len(code) > 1:
        return chr(int(code[1:], 16))
    return {"n": "\n", "t": "\t", "r": "\r"}.get(code, code)


def _read_request(url: str, body: str) -> Iterator[PixelEvent]:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return
    path = parts.path.rstrip("/")
    is_pixel = path.startswith(("/api/v2/pixel", "/api/v2/shopify_pixel")) and not path.endswith(_NOT_EVENTS)
    if not _HOSTS.fullmatch(host) or not is_pixel:
        return
    for message in parse_qs(parts.query).get("analytics_message", []):
        yield from _read_body(_parse_json(_decode_base64(message)))
    if body:
        yield from _read_body(_parse_json(body))


def _read_body(data: Any) -> Iterator[PixelEvent]:
    """Yield the events of a body: one event, a list of events, or a list under a key."""
    if isinstance(data, list):
        events = json_objects(data)
    else:
        top = json_object(data)
        lists = [row for key in ("batch", "events", "data") for row in json_objects(top.get(key))]
        events = [top] if "event" in top else lists
    for event in events:
        name, context = text(event.get("event")), json_object(event.get("context"))
        pixel = text(json_object(context.get("pixel")).get("code")) or text(event.get("pixel_code"))
        if name not in _INTERNAL and pixel:
            yield PixelEvent(
                pixel,
                name,
                event.get("event_id"),
                json_object(event.get("properties")),
                json_object(context.get("user")),
            )


def _decode_base64(message: str) -> str:
    try:
        return base64.b64decode(message.replace(" ", "+") + "==").decode()
    except ValueError:
        return ""


def _parse_json(content: str) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None
