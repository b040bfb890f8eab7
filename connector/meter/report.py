"""Reading of a page's report: JSON from anybody. A wrong value in an optional member costs only that member.

The format is in docs/merging.md.
"""

import hashlib
import re
import secrets
from collections.abc import Iterator
from typing import Literal

from msgspec import Struct

from connector.core.currencies import TIKTOK_CURRENCIES, stored_amount
from connector.core.json_fields import Json, json_objects, money, parse_browser_json, text
from connector.core.store import PLACEHOLDER, Store
from connector.mapping.event_id import MAX_EVENT_ID, PLACEHOLDER_PATTERNS, template_pattern
from connector.monitoring.merges import browser_events

MAX_REPORT = 8 * 1024  # bytes
MAX_COPIES = 20  # of one report
LONGEST = 1800.0  # seconds before its receipt that a page has sent a copy
_VERSION = re.compile("[0-9a-f]{8}")


class BrowserCopy(Struct, frozen=True):
    """A copy of an event that a browser sent to TikTok. `after` is in seconds, `value` in ten-thousandths.

    A foreign copy has an event_id that is not the store's; of it a digest is kept, as nobody knows what others write
    into theirs.
    """

    pixel: str
    event: str
    event_id: str
    is_foreign: bool
    sender: Literal["snippet", "other"]
    after: float
    value: int | None
    currency: str


class Report(Struct, frozen=True):
    """A page's report: the snippet's version, whether TikTok's script has run, and other code uses the pixels, too."""

    version: str
    loaded: bool
    others: bool = False
    copies: tuple[BrowserCopy, ...] = ()


class ReportReader:
    """Reads the reports of one store's pages."""

    def __init__(self, store: Store) -> None:
        self._pixels = {pixel.code for pixel in store.pixels if pixel.source == "web"}
        self._events = browser_events(store)
        self._own_ids = [_pattern(template) for template in (store.event_id.order, store.event_id.checkout)]

    def read(self, body: bytes) -> Report | None:
        """Return the report, or None if the body is not one."""
        members = parse_browser_json(body)
        version = text(members.get("version"))
        if not _VERSION.fullmatch(version):
            return None
        return Report(
            version, members.get("loaded") is True, members.get("others") is True, tuple(self._copies(members))
        )

    def _copies(self, members: Json) -> Iterator[BrowserCopy]:
        """Yield the copies of events that the server sends, too, on the store's pixels."""
        for row in json_objects(members.get("copies"))[:MAX_COPIES]:
            pixel, event = text(row.get("pixel")), text(row.get("event"))
            if pixel not in self._pixels or event not in self._events:
                continue
            event_id = row.get("event_id")
            is_own = isinstance(event_id, str) and any(own.fullmatch(event_id) for own in self._own_ids)
            value, currency = _amount(row.get("value")), text(row.get("currency"))
            yield BrowserCopy(
                pixel,
                event,
                str(event_id)[:MAX_EVENT_ID] if is_own else _digest(event_id),
                not is_own,
                "snippet" if row.get("ours") is True else "other",
                _seconds(row.get("after")),
                value if currency in TIKTOK_CURRENCIES else None,
                currency if currency in TIKTOK_CURRENCIES else "",
            )


def _pattern(template: str) -> re.Pattern[str]:
    return template_pattern(
        template, {name: PLACEHOLDER_PATTERNS.get(name, ".+") for name in PLACEHOLDER.findall(template)}
    )


def _digest(event_id: object) -> str:
    """Return what tells an event_id from others; without one, every copy counts."""
    if not isinstance(event_id, str | int) or event_id == "":
        return f"none:{secrets.token_hex(16)}"
    return f"sha256:{hashlib.sha256(str(event_id).encode(errors='replace')).hexdigest()[:32]}"


def _seconds(value: object) -> float:
    """Return milliseconds as seconds, within the time that a page can take."""
    found = money(value)
    return 0.0 if found is None else min(max(float(found) / 1000, 0.0), LONGEST)


def _amount(value: object) -> int | None:
    found = money(value) if not isinstance(value, str) else None
    return stored_amount(found) if found is not None and found >= 0 else None
