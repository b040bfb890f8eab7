"""What a browser sent to TikTok's pixel, out of whatever its developer tools let one copy.

A HAR export; the request as URL, fetch() or cURL; or its JSON body. TikTok documents none of this: the shapes are what
browsers show (POST https://analytics.tiktok.com/api/v2/pixel with a JSON body, or the same in Base64 in the query).
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
_INTERNAL = frozenset({"", "EnrichAM"})  # TikTok's own: it asks whether form fields may be read
_NOT_EVENTS = ("/perf", "/monitor", "/health")
_BASH = re.compile(r"--data(?:-raw|-binary|-ascii)?\s+(\$?)'((?:[^'\\]|\\.|'\\'')*)'", re.DOTALL)
_CMD = re.compile(r'--data(?:-raw|-binary|-ascii)?\s+"((?:[^"\\]|\\.)*)"', re.DOTALL)
_BASH_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|.)", re.DOTALL)
_URL = re.compile(r"https?://[^\s'\"`^]+")


class UnreadableCapture(Exception):
    """The text is none of what is accepted; one sentence that says so."""


@dataclass(frozen=True, slots=True)
class PixelEvent:
    """One event as the browser sent it. `event_id` is whatever stood there: None if nothing did."""

    pixel: str
    event: str
    event_id: object
    properties: Json
    user: Json


def read_capture(content: str) -> list[PixelEvent]:
    """The pixel's events in a file. Raises UnreadableCapture."""
    found = [*_events(content.strip().lstrip("\ufeff"))]
    if not found:
        raise UnreadableCapture(f"no event of TikTok's pixel is in it; this reads {ACCEPTED}")
    return found


def _events(content: str) -> Iterator[PixelEvent]:
    if content.startswith(("{", "[")):
        data = _json(content)
        if data is None:
            raise UnreadableCapture(f"it begins like JSON, but is none (cut off?); this reads {ACCEPTED}")
        yield from _archive(data) if isinstance(data, dict) and "log" in data else _body(data)
    elif content.startswith("fetch("):
        yield from _fetch(content)
    elif content.startswith("curl"):
        yield from _curl(content)
    elif re.match("https?://", content):
        yield from _request(content.split(maxsplit=1)[0], "")
    else:
        raise UnreadableCapture(f"it is none of what this reads: {ACCEPTED}")


def _archive(data: Json) -> Iterator[PixelEvent]:
    """http://www.softwareishard.com/blog/har-12-spec/"""
    for entry in json_objects(json_object(data["log"]).get("entries")):
        request = json_object(entry.get("request"))
        posted = json_object(request.get("postData"))
        content = posted.get("text")
        if posted.get("encoding") == "base64":
            content = _decoded(str(content))
        yield from _request(text(request.get("url")), content if isinstance(content, str) else "")


def _fetch(content: str) -> Iterator[PixelEvent]:
    url = _URL.search(content)
    start = content.find("{", url.end()) if url else -1
    try:
        options = json.JSONDecoder().raw_decode(content, start)[0] if start >= 0 else {}
    except (ValueError, RecursionError):
        raise UnreadableCapture(
            "the fetch() has no options that can be read; copy it as cURL, or the JSON body"
        ) from None
    body = json_object(options).get("body")
    yield from _request(url[0] if url else "", body if isinstance(body, str) else "")


def _curl(content: str) -> Iterator[PixelEvent]:
    url = _URL.search(content)
    if bash := _BASH.search(content):
        escaped, quoted = bash.groups()
        body = _BASH_ESCAPE.sub(_unescaped, quoted) if escaped else quoted.replace("'\\''", "'")
    elif cmd := _CMD.search(re.sub(r"\^(\r?\n|.)", lambda found: found[1].strip("\r\n"), content)):
        body = re.sub(r"\\(.)", r"\1", cmd[1])
    else:
        body = ""
    yield from _request(url[0] if url else "", body)


def _unescaped(found: re.Match[str]) -> str:
    code = found[1]
    if len(code) > 1:
        return chr(int(code[1:], 16))
    return {"n": "\n", "t": "\t", "r": "\r"}.get(code, code)


def _request(url: str, body: str) -> Iterator[PixelEvent]:
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
        yield from _body(_json(_decoded(message)))
    if body:
        yield from _body(_json(body))


def _body(data: Any) -> Iterator[PixelEvent]:
    """One event, a list of them, or a list under a key."""
    if isinstance(data, list):
        found = json_objects(data)
    else:
        event = json_object(data)
        found = (
            [event]
            if "event" in event
            else [row for key in ("batch", "events", "data") for row in json_objects(event.get(key))]
        )
    for event in found:
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


def _decoded(message: str) -> str:
    try:
        return base64.b64decode(message.replace(" ", "+") + "==").decode()
    except ValueError:
        return ""


def _json(content: str) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None
