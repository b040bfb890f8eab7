"""An event's stored bytes, joined with what became known after they were made: pure, bytes to bytes.

Only what is absent is filled; what is touched is written anew, all else keeps its very bytes.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec
from msgspec import Raw, Struct

from connector.mapping.consent import CONSENT_DENIED, CONSENT_MISSING
from connector.mapping.filters import NOTHING_TO_MATCH, PUBLIC_IP_MISSING, matchable

_PARTS = msgspec.json.Decoder(dict[str, Raw])
_TEXTS = msgspec.json.Decoder(dict[str, str])
_encode = msgspec.json.encode


class Signal(Struct, frozen=True):
    """What the browser of a checkout told. "" is what it did not say; `consent` answers whether it may be used."""

    ttclid: str = ""
    ttp: str = ""
    ip: str = ""
    user_agent: str = ""
    url: str = ""
    referrer: str = ""
    consent: Literal["", "granted", "denied"] = ""

    def __repr__(self) -> str:
        """Without what is personal."""
        return f"<Signal consent={self.consent!r}>"

    def then(self, newer: "Signal") -> "Signal":
        """Both, one after the other: the newer fills, its answer replaces. After a no nothing else is kept."""
        consent = newer.consent or self.consent
        if consent == "denied":
            return Signal(consent="denied")
        told = {name: getattr(self, name) or getattr(newer, name) for name in self.__struct_fields__}
        return Signal(**(told | {"consent": consent}))

    @property
    def user(self) -> dict[str, str]:
        """In TikTok's words."""
        return _said(ttclid=self.ttclid, ttp=self.ttp, ip=self.ip, user_agent=self.user_agent)

    @property
    def page(self) -> dict[str, str]:
        """In TikTok's words."""
        return _said(url=self.url, referrer=self.referrer)


def merge_signal(payload: bytes, signal: Signal, home: str) -> bytes:
    """An event with what its browser told. A page.url that is only the shop's `home` counts as absent."""
    user = {name: Raw(_encode(value)) for name, value in signal.user.items()}
    return _fill(payload, user, signal.page, home)


def fill_absent(payload: bytes, later: bytes, home: str) -> bytes:
    """An event with what a later webhook about it knows and it does not."""
    parts = _PARTS.decode(later)
    return _fill(payload, _part(parts, "user"), _page(parts), home)


def update_properties(payload: bytes, newer: bytes) -> bytes:
    """An event worth what a newer body says, with its products; what that does not say stays.

    Nor is a shopper's Limited Data Use given up, once an address has shown that it applies.
    """
    parts, new = _PARTS.decode(payload), _PARTS.decode(newer)
    if "limited_data_use" in new:
        parts["limited_data_use"] = new["limited_data_use"]
    if "properties" in new:
        parts["properties"] = Raw(_encode(_part(parts, "properties") | _part(new, "properties")))
    return _encode(parts)


def why_not_sendable(payload: bytes, consent: str) -> str:
    """Why an event may not be sent as it is, or ""; `consent` as the events table has it."""
    if consent in ("missing", "denied"):
        return CONSENT_DENIED if consent == "denied" else CONSENT_MISSING
    parts = _PARTS.decode(payload)
    user = _part(parts, "user")
    if not matchable(user):
        return NOTHING_TO_MATCH
    return PUBLIC_IP_MISSING if "limited_data_use" in parts and "ip" not in user else ""


def _fill(payload: bytes, user: Mapping[str, Raw], page: Mapping[str, str], home: str) -> bytes:
    parts = _PARTS.decode(payload)
    filled = {**user, **_part(parts, "user")}
    if filled:
        parts["user"] = Raw(_encode(filled))
    known = _page(parts)
    if known.get("url", home) == home and page.get("url"):
        parts["page"] = Raw(_encode({**known, **page}))  # the referrer is of that page, so it comes with it only
    return _encode(parts)


def _part(parts: Mapping[str, Raw], name: str) -> dict[str, Raw]:
    return _PARTS.decode(parts[name]) if name in parts else {}


def _page(parts: Mapping[str, Raw]) -> dict[str, str]:
    return _TEXTS.decode(parts["page"]) if "page" in parts else {}


def _said(**told: str) -> dict[str, str]:
    return {name: value for name, value in told.items() if value}
