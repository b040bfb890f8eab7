"""Validation of `event/track` requests, one rule per field.

Field names, types and codes are TikTok's (Events API 2.0, `POST /open_api/v1.3/event/track/`). Parameters:
https://business-api.tiktok.com/portal/docs?id=1771101151059969 ; return codes: the same with id=1737172488964097.
Where TikTok's behaviour is not documented, the rules are strict: a request accepted here should be accepted there.
Each event source has its own rules: `offline` takes fewer fields than `web`, and standard event names only.
"""

import re
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import Any, NamedTuple

import msgspec

DAY = 24 * 60 * 60
MAX_AGE = 28 * DAY
MAX_EVENTS = 1000

# The 62 currencies of TikTok's own SDK documentation (PixelProperties).
CURRENCIES = frozenset(
    """AED ARS AUD BDT BHD BIF BOB BRL CAD CHF CLP CNY COP CRC CZK DKK DZD EGP EUR GBP GTQ HKD HNL HUF IDR ILS
    INR ISK JPY KES KHR KRW KWD KZT MAD MOP MXN MYR NGN NIO NOK NZD OMR PEN PHP PKR PLN PYG QAR RON RUB SAR SEK
    SGD THB TRY TWD UAH USD VES VND ZAR""".split()  # noqa: SIM905 (three lines instead of sixty-two)
)


class Refusal(Exception):
    """The whole request is refused with TikTok's `code` and `message`; none of its events is stored."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


# The names of the offline source, and the fields that it does not take although the source web does.
# https://ads.tiktok.com/help/article/supported-standard-events
OFFLINE_EVENTS = frozenset(
    """AddPaymentInfo AddToCart AddToWishlist ApplicationApproval CompleteRegistration Contact CustomizeProduct Download
    FindLocation InitiateCheckout Lead Purchase Schedule Search StartTrial SubmitApplication Subscribe
    ViewContent""".split()  # noqa: SIM905 (three lines instead of eighteen)
)
WEB_ONLY: dict[str, tuple[str, ...]] = {
    "": ("page", "app", "ad", "limited_data_use", "lead"),
    "user": (
        "external_id", "ttclid", "ttp", "ip", "user_agent", "locale", "first_name", "last_name", "zip_code", "city",
        "state", "country",
    ),
    "properties": ("customer_type",),
}  # fmt: skip


class Envelope(NamedTuple):
    """The top level of a request, its events still undecoded. `source` is the event_source_id."""

    kind: str  # the event_source
    source: str
    test_event_code: str | None
    items: list[msgspec.Raw]


class Event(NamedTuple):
    """A valid event: its name and event_id, by which TikTok deduplicates, and its JSON exactly as sent."""

    name: str
    event_id: str
    item: bytes


class Batch(NamedTuple):
    """A validated request: its events, or its refusal. `kind` is the event_source, `source` its id."""

    kind: str
    source: str
    test_event_code: str | None
    events: list[Event]
    refusal: Refusal | None


def validate_request(body: bytes, now: float) -> Batch:
    """Parse and validate a request; `now` in Unix seconds. Never raises."""
    envelope = Envelope("", "", None, [])
    try:
        envelope = open_envelope(body)
        return Batch(*envelope[:3], read_events(envelope, now), None)
    except Refusal as refusal:
        return Batch(*envelope[:3], [], refusal)


def open_envelope(body: bytes) -> Envelope:
    """Parse the top level of a request.

    Raises `Refusal`: 40002 for a wrong structure, 40061 for more than 1000 events.
    """
    try:
        top = _envelope.decode(body)
    except (ValueError, RecursionError):
        raise Refusal(40002, "Invalid request body: not a JSON object.") from None
    if top.event_source not in ("web", "offline"):
        raise _invalid("event_source", "not a valid choice")
    for name, optional in (("event_source_id", False), ("test_event_code", True)):
        value = getattr(top, name)
        if not (optional and value is msgspec.UNSET) and (reason := _text(value)):
            raise _invalid(name, reason)
    # A pixel code is not the id of an offline event set, which has digits only.
    if (top.event_source == "offline") != str(top.event_source_id).isdecimal():
        raise _invalid("event_source_id", _NOT_A_STRING)
    try:
        items = _items.decode(top.data)
    except (ValueError, RecursionError):
        raise _invalid("data", "not a valid list") from None
    if not items:
        raise _invalid("data", "shorter than minimum length 1")
    if len(items) > MAX_EVENTS:
        raise Refusal(40061, f"Invalid batch size: {len(items)} events, at most {MAX_EVENTS} are allowed.")
    code = None if top.test_event_code is msgspec.UNSET else str(top.test_event_code)
    return Envelope(top.event_source, str(top.event_source_id), code, items)


def read_events(envelope: Envelope, now: float) -> list[Event]:
    """Parse and validate every event; `now` in Unix seconds.

    Raises `Refusal` for the first invalid event: one refuses the whole batch. TikTok does not document if it keeps the
    valid ones; this is the worst case.
    """
    return [_read_event(raw, f"data.{index}", now, envelope.kind) for index, raw in enumerate(envelope.items)]


def _read_event(raw: msgspec.Raw, path: str, now: float, kind: str) -> Event:
    try:
        item = _any.decode(raw)
    except (ValueError, RecursionError):
        raise _invalid(path, "not valid JSON") from None
    if not isinstance(item, dict):
        raise _invalid(path, "not a valid object")
    for name in ("event", "event_id"):
        if reason := _text(item.get(name)):
            raise _invalid(f"{path}.{name}", reason)
    if reason := _event_time(item.get("event_time"), now):
        raise _invalid(f"{path}.event_time", reason)
    if kind == "offline":
        _check_offline(item, path)
    for name, rules in _SECTIONS.items():
        if name in item:
            _check(item[name], rules, f"{path}.{name}")
    for index, content in enumerate(item.get("properties", {}).get("contents", ())):
        _check(content, _CONTENT, f"{path}.properties.contents.{index}")
        if "content_id" not in content:
            raise _invalid(f"{path}.properties.contents.{index}.content_id", _NOT_A_STRING)
    if "limited_data_use" in item:
        _limited_data_use(item, path)
    # bytes() copies, so that a stored event does not keep the whole request body in memory.
    return Event(item["event"], item["event_id"], bytes(raw))


def _check(section: object, rules: Mapping[str, "Rule"], path: str) -> None:
    if not isinstance(section, dict):
        raise _invalid(path, "not a valid object")
    for name, value in section.items():
        rule = rules.get(name)  # unknown keys are ignored: TikTok's own templates send some
        if rule is not None and (reason := rule(value)):
            if reason is _NOT_HASHED:
                raise Refusal(40062, f"{path}.{name}: {reason}")
            raise _invalid(f"{path}.{name}", reason)


def _check_offline(item: dict[str, Any], path: str) -> None:
    if item["event"] not in OFFLINE_EVENTS:
        raise _invalid(f"{path}.event", "not a standard event")
    for section, names in WEB_ONLY.items():
        found = item.get(section, {}) if section else item
        place = f"{path}.{section}" if section else path
        for name in names:
            if isinstance(found, dict) and name in found:
                raise _invalid(f"{place}.{name}", "not supported for event_source offline")
    if not isinstance(item.get("user"), dict) or not {"email", "phone"} & item["user"].keys():
        raise _invalid(f"{path}.user", "email or phone is required")


def _limited_data_use(item: dict[str, Any], path: str) -> None:
    flag = item["limited_data_use"]
    if not isinstance(flag, bool):
        raise _invalid(f"{path}.limited_data_use", "not a valid boolean")
    if flag and "ip" not in item.get("user", {}):
        raise _invalid(f"{path}.user.ip", "required with limited_data_use")


def _invalid(path: str, reason: str) -> Refusal:
    return Refusal(40002, f"Invalid value for {path}: {reason}.")


# Rules: each returns "" for a valid value, otherwise the reason. None is never valid: keys without value are omitted.

Rule = Callable[[object], str]
_NOT_A_STRING = "not a valid string"
_NOT_HASHED = "PII is not hashed"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_COUNTRY = re.compile(r"[a-z]{2}")
_HASH_OF_EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def _text(value: object) -> str:
    return "" if isinstance(value, str) and value.strip() else _NOT_A_STRING


def _event_time(value: object, now: float) -> str:
    if type(value) is not int:  # isinstance accepts bool; TikTok does not accept 1.0
        return "not a valid integer"
    if value > now + DAY:
        return "in the future (Unix time in seconds is expected, not milliseconds)"
    return "older than 28 days" if value < now - MAX_AGE else ""


def _digest(value: object) -> str:
    if reason := _text(value):
        return reason
    if not _SHA256.fullmatch(str(value)):
        return _NOT_HASHED
    return "the hash of an empty string" if value == _HASH_OF_EMPTY else ""


def _digests(value: object) -> str:
    if not isinstance(value, list):
        return _digest(value)
    if not value:
        return "an empty list"
    return next(filter(None, map(_digest, value)), "")


def _ip(value: object) -> str:
    try:
        ip_address(value if isinstance(value, str) else "")
    except ValueError:
        return "not a valid IP address"
    return ""


def _country(value: object) -> str:
    valid = isinstance(value, str) and _COUNTRY.fullmatch(value)
    return "" if valid else "not a lower-case two-letter country code"


def _place(value: object) -> str:
    if reason := _text(value):
        return reason
    text = str(value)
    if _SHA256.fullmatch(text):
        return "hashed, but must be plain"
    return "" if text == text.lower() and not re.search(r"\s", text) else "not lower-case without spaces"


def _number(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "not a valid number"
    return "" if 0 <= value < 1e18 else "out of range"


def _whole(value: object) -> str:
    return _number(value) if type(value) is int else "not a valid integer"


def _texts(value: object) -> str:
    return "" if isinstance(value, list) and not any(map(_text, value)) else "not a valid list of strings"


def _list(value: object) -> str:
    return "" if isinstance(value, list) else "not a valid list"


def _one_of(*choices: str) -> Rule:
    allowed = frozenset(choices)
    return lambda value: "" if isinstance(value, str) and value in allowed else "not a valid choice"


_USER: dict[str, Rule] = {
    **dict.fromkeys(("email", "phone", "external_id"), _digests),
    **dict.fromkeys(("first_name", "last_name", "zip_code"), _digest),
    **dict.fromkeys(("ttclid", "ttp", "user_agent", "locale"), _text),
    **dict.fromkeys(("city", "state"), _place),
    "country": _country,
    "ip": _ip,
}
_PROPERTIES: dict[str, Rule] = {
    "value": _number,
    "currency": _one_of(*CURRENCIES),
    "content_type": _one_of("product", "product_group"),
    "customer_type": _one_of("new", "returning"),
    "contents": _list,
    "content_ids": _texts,
    "num_items": _whole,
    **dict.fromkeys(("order_id", "shop_id", "search_string", "description"), _text),
}
_CONTENT: dict[str, Rule] = {
    "quantity": _whole,
    "price": _number,
    **dict.fromkeys(("content_id", "content_name", "content_category", "brand"), _text),
}
# page.url is documented as required for the web, but TikTok does not enforce it: only an invalid one is refused.
_SECTIONS: dict[str, dict[str, Rule]] = {
    "user": _USER,
    "properties": _PROPERTIES,
    "page": dict.fromkeys(("url", "referrer"), _text),
}


class _Top(msgspec.Struct):
    """The top level of a request; other fields are skipped and the events stay undecoded."""

    event_source: Any = None
    event_source_id: Any = None
    test_event_code: Any = msgspec.UNSET
    data: msgspec.Raw = msgspec.Raw(b"")


_envelope = msgspec.json.Decoder(_Top)
_items = msgspec.json.Decoder(list[msgspec.Raw])
_any = msgspec.json.Decoder()
