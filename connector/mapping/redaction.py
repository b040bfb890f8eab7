"""Payloads for people to read: as sent, with unhashed personal data cut short."""

from decimal import Decimal
from typing import Any

import msgspec

SHOWN = 4  # characters of an address or id: enough to tell two apart, too few to misuse
_HIDDEN = ("ip", "user_agent", "ttclid", "ttp")
_decode = msgspec.json.Decoder(float_hook=Decimal).decode
_encode = msgspec.json.Encoder(decimal_format="number").encode


def redacted(payload: bytes | None, indent: int = 0) -> str:
    """Return an item as JSON text, with ip, user agent and click ids cut short, and pages without their query."""
    if payload is None:
        return "(no longer kept)"
    item = _decode(payload)
    if isinstance(item, dict):
        _mask(item)
    text = _encode(item)
    return (msgspec.json.format(text, indent=indent) if indent else text).decode()


def _mask(item: dict[str, Any]) -> None:
    if isinstance(user := item.get("user"), dict):
        for key in _HIDDEN:
            if user.get(key):
                user[key] = f"{str(user[key])[:SHOWN]}…"
    if isinstance(page := item.get("page"), dict):
        for key in ("url", "referrer"):
            if isinstance(page.get(key), str):
                page[key] = page[key].partition("?")[0].partition("#")[0]
