"""Merges later information into an event's stored JSON: pure functions from bytes to bytes.

Only absent fields are filled. Parts that change are encoded again; the bytes of all others are kept.
"""

from collections.abc import Collection, Mapping
from typing import Literal

import msgspec
from msgspec import Raw, Struct

from connector.core.json_fields import present
from connector.mapping.consent import CONSENT_DENIED, CONSENT_MISSING
from connector.mapping.filters import why_user_unusable

_PARTS = msgspec.json.Decoder(dict[str, Raw])
_TEXTS = msgspec.json.Decoder(dict[str, str])
_encode = msgspec.json.encode


class _User(Struct):
    ttclid: str = ""
    ttp: str = ""


class _Item(Struct):
    user: _User = msgspec.field(default_factory=_User)


_KEYS = msgspec.json.Decoder(_Item)


class Signal(Struct, frozen=True):
    """Signals from the browser of a checkout; "" is unknown. `consent` says whether they may be used."""

    ttclid: str = ""
    ttp: str = ""
    ip: str = ""
    user_agent: str = ""
    url: str = ""
    referrer: str = ""
    consent: Literal["", "granted", "denied"] = ""

    def __repr__(self) -> str:
        """Return a representation without personal data."""
        return f"<Signal consent={self.consent!r}>"

    def then(self, newer: "Signal") -> "Signal":
        """Return this signal with absent fields filled from a newer one, whose consent replaces this one's.

        After "denied" nothing else is kept.
        """
        consent = newer.consent or self.consent
        if consent == "denied":
            return Signal(consent="denied")
        merged = {name: getattr(self, name) or getattr(newer, name) for name in self.__struct_fields__}
        return Signal(**(merged | {"consent": consent}))

    @property
    def user(self) -> dict[str, str]:
        """Return the known fields of TikTok's `user` object."""
        return present(ttclid=self.ttclid, ttp=self.ttp, ip=self.ip, user_agent=self.user_agent)

    @property
    def page(self) -> dict[str, str]:
        """Return the known fields of TikTok's `page` object."""
        return present(url=self.url, referrer=self.referrer)


def merge_signal(payload: bytes, signal: Signal, home: str) -> bytes:
    """Return an event with absent fields filled from its browser's signal.

    A page.url that equals the shop's `home` page counts as absent. An item for an offline event set takes nothing of a
    browser's: it is known by having no page, which every other item has.
    """
    parts = _PARTS.decode(payload)
    if "page" not in parts:
        return payload
    user = {name: Raw(_encode(value)) for name, value in signal.user.items()}
    return _fill(parts, user, signal.page, home)


def fill_absent(payload: bytes, later: bytes, home: str) -> bytes:
    """Return an event with absent fields filled from a later webhook about it; `home` as in `merge_signal`."""
    parts = _PARTS.decode(later)
    return _fill(_PARTS.decode(payload), _part(parts, "user"), _page(parts), home)


def fill_keys(payload: bytes, keys: Mapping[str, str]) -> bytes:
    """Return an event with absent fields of its `user` filled."""
    return _fill(_PARTS.decode(payload), {name: Raw(_encode(value)) for name, value in keys.items()}, {}, "")


def fill_properties(payload: bytes, properties: Mapping[str, str]) -> bytes:
    """Return an event with absent fields of its `properties` filled."""
    parts = _PARTS.decode(payload)
    filled = {name: Raw(_encode(value)) for name, value in properties.items()} | _part(parts, "properties")
    return _encode(parts | {"properties": Raw(_encode(filled))})


def without_keys(payload: bytes, names: Collection[str]) -> bytes:
    """Return an event without these fields of its `user`."""
    if not names:
        return payload
    parts = _PARTS.decode(payload)
    user = {name: value for name, value in _part(parts, "user").items() if name not in names}
    return _encode(parts | {"user": Raw(_encode(user))})


def own_keys(payload: bytes) -> tuple[str, str]:
    """Return the click id and browser id of an event, "" for an absent one."""
    user = _KEYS.decode(payload).user
    return user.ttclid, user.ttp


def user_fields(payload: bytes) -> frozenset[str]:
    """Return the names of the fields of an event's `user`."""
    return frozenset(_part(_PARTS.decode(payload), "user"))


def update_properties(payload: bytes, newer: bytes) -> bytes:
    """Take value and products from a newer body; fields it lacks stay. `limited_data_use` is never removed."""
    parts, new = _PARTS.decode(payload), _PARTS.decode(newer)
    if "limited_data_use" in new:
        parts["limited_data_use"] = new["limited_data_use"]
    if "properties" in new:
        parts["properties"] = Raw(_encode(_part(parts, "properties") | _part(new, "properties")))
    return _encode(parts)


def why_not_sendable(payload: bytes, consent: str) -> str:
    """Return why an event cannot be sent as it is, or ""; `consent` is the value in the events table."""
    if consent in ("missing", "denied"):
        return CONSENT_DENIED if consent == "denied" else CONSENT_MISSING
    parts = _PARTS.decode(payload)
    return why_user_unusable(_part(parts, "user"), "limited_data_use" in parts)


def _fill(parts: dict[str, Raw], user: Mapping[str, Raw], page: Mapping[str, str], home: str) -> bytes:
    filled = {**user, **_part(parts, "user")}
    if filled:
        parts["user"] = Raw(_encode(filled))
    known = _page(parts)
    if known.get("url", home) == home and page.get("url"):
        parts["page"] = Raw(_encode({**known, **page}))  # the referrer belongs to the url
    return _encode(parts)


def _part(parts: Mapping[str, Raw], name: str) -> dict[str, Raw]:
    return _PARTS.decode(parts[name]) if name in parts else {}


def _page(parts: Mapping[str, Raw]) -> dict[str, str]:
    return _TEXTS.decode(parts["page"]) if "page" in parts else {}
