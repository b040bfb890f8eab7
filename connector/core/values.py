"""The types of settings: each reads one value of the stores file or the environment, or raises ValueError.

The error's message is the second half of a sentence ("must be …") and never quotes the value, which can be a secret.
The types are metadata in `Annotated`, which pydantic applies to a file. Constructing a dataclass validates nothing.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Never
from urllib.parse import urlsplit

from connector.core.json_fields import Json, host, parse_time
from connector.core.text import duration_setting

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic_core import CoreSchema

REFERENCE = r"^\$\{.+\}$"  # `${NAME}` or `${file:PATH}` in place of any text


@dataclass(frozen=True)
class Value:
    """A type of value. `read` returns it or raises ValueError; `must` and `pattern` describe it in a schema."""

    read: Callable[[object], object]
    must: str = ""
    pattern: str = ""
    json_type: str = "string"

    def or_blank(self, blank: object = "") -> "Value":
        """Return this type with an empty text read as `blank`."""
        pattern = f"^$|{self.pattern}" if self.pattern else ""
        return replace(self, read=lambda value: blank if value == "" else self.read(value), pattern=pattern)

    def __get_pydantic_core_schema__(self, source: object, handler: "GetCoreSchemaHandler") -> "CoreSchema":
        from pydantic_core import core_schema as core  # noqa: PLC0415 (not loaded where nothing is validated)

        return core.no_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(self, schema: "CoreSchema", handler: "GetJsonSchemaHandler") -> Json:
        pattern = f"{self.pattern}|{REFERENCE}" if self.pattern else ""
        described = {"type": self.json_type, "pattern": pattern, "must": self.must}
        return {key: text for key, text in described.items() if text}


@dataclass(frozen=True)
class Listed:
    """A list, without duplicates if `unique`. `alone` reads a text as a list of one; `empty` allows an empty list."""

    alone: bool = False
    empty: bool = True
    unique: bool = True

    def read(self, value: object, read_entries: Callable[[object], tuple[object, ...]]) -> tuple[object, ...]:
        """Read the list. Raises ValueError."""
        if self.alone and isinstance(value, str):
            value = [value] if value or not self.empty else []
        if not isinstance(value, list) or not (value or self.empty):
            raise ValueError(
                f"must be {'a text or ' if self.alone else ''}a list{'' if self.empty else ' of at least one'}"
            )
        entries = read_entries(value)
        return tuple(dict.fromkeys(entries)) if self.unique else entries

    def __get_pydantic_core_schema__(self, source: object, handler: "GetCoreSchemaHandler") -> "CoreSchema":
        from pydantic_core import core_schema as core  # noqa: PLC0415

        return core.no_info_wrap_validator_function(self.read, handler(source))

    def __get_pydantic_json_schema__(self, schema: "CoreSchema", handler: "GetJsonSchemaHandler") -> Json:
        rows: Json = handler(schema) | ({} if self.empty else {"minItems": 1})
        one = {key: value for key, value in rows["items"].items() if not (self.empty and key == "pattern")}
        return {"anyOf": [one, rows]} if self.alone else rows


@dataclass(frozen=True)
class Keys:
    """A dict that is read as the TypedDict `table`, which names and describes its keys."""

    table: type

    def __get_pydantic_core_schema__(self, source: object, handler: "GetCoreSchemaHandler") -> "CoreSchema":
        return handler.generate_schema(self.table)


# Texts


def text(value: object) -> str:
    """Read a text of one line. Raises ValueError."""
    if not isinstance(value, str):
        raise ValueError("must be a text in quotes")
    if not value.isprintable():
        raise ValueError("must be a text without control characters")
    return value


def checked(good: Callable[[str], object], must: str, pattern: str = "", shape: Callable[[str], str] = str) -> Value:
    """Return the type of texts that are `good` after normalisation by `shape`."""

    def read(value: object) -> str:
        shaped = shape(text(value))
        return shaped if good(shaped) else refuse(f"must {must}")

    return Value(read, must, pattern)


def matching(pattern: str, must: str) -> Value:
    """Return the type of texts that fully match `pattern`."""
    return checked(re.compile(pattern).fullmatch, must, f"^({pattern})$")


def refuse(wrong: str) -> Never:
    """Raise ValueError."""
    raise ValueError(wrong)


def _flag(value: object) -> bool:
    return value if isinstance(value, bool) else refuse("must be true or false")


def _is_region(code: str) -> bool:
    from phonenumbers import SUPPORTED_REGIONS  # noqa: PLC0415 (slow to load, and not needed by a platform)

    return code in SUPPORTED_REGIONS


US_STATES = (
    "AL AK AZ AR CA CO CT DE DC FL GA HI ID IL IN IA KS KY LA ME MD MA MI MN MS MO MT NE NV NH NJ NM NY NC ND OH OK "
    "OR PA RI SC SD TN TX UT VT VA WA WV WI WY"
)
_CODE = "^[A-Za-z]{2}$"
_token = matching("[!-~]+", "not be empty, and must be ASCII without spaces")  # it travels in an HTTP header
_pixel = matching("[A-Z0-9]{10,40}", "be the pixel code from TikTok's Events Manager: 10 to 40 of A-Z and 0-9")
_event = matching(r"\S(.{0,62}\S)?", "be an event name of 1 to 64 characters without surrounding spaces")
_country = checked(_is_region, "be a two-letter ISO 3166 country code such as DE or GB", _CODE, str.upper)
_currency = checked(
    re.compile("[A-Z]{3}").fullmatch, "be a three-letter ISO 4217 currency code such as EUR", "^[A-Za-z]{3}$", str.upper
)
_state = checked(US_STATES.split().__contains__, "be a two-letter code of a US state such as CA", _CODE, str.upper)
_status = checked(str, "not be empty", r"\S", lambda word: word.strip().lower().removeprefix("wc-"))

Flag = Annotated[bool, Value(_flag, json_type="boolean")]
Text = Annotated[str, Value(text)]
Name = Annotated[str, checked(str.strip, "not be empty", r"\S")]
Status = Annotated[str, _status]
Token = Annotated[str, _token]
TokenOrBlank = Annotated[str, replace(_token.or_blank(), must="be ASCII without spaces")]
PixelCode = Annotated[str, _pixel]
EventName = Annotated[str, _event]
Country = Annotated[str, _country]
CountryOrBlank = Annotated[str, _country.or_blank()]
Currency = Annotated[str, _currency]
UsState = Annotated[str, _state]


def _key_source(value: object) -> str:
    from connector.core.public_keys import read_keys  # noqa: PLC0415 (few stores have one)

    found = value if isinstance(value, str) else refuse("must be a text in quotes")
    if web_url(found) and found.startswith("https://"):
        return found
    try:
        read_keys(found)
    except ValueError as error:
        refuse(f"must {KEY_SOURCE}; what is there {error}")
    return found


KEY_SOURCE = "be an https address, or the text of a JWKS or a public key in PEM"
KeySource = Annotated[str, Value(_key_source, KEY_SOURCE)]


# Times


def duration(at_most: timedelta = timedelta(days=9999), zero: bool = False) -> Value:
    """Return the type of durations like "7d"; above 0 unless `zero` is allowed."""
    units = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
    limit = f"at most {written_duration(at_most)}{'' if zero else ' and above 0'}"
    must = f'be a duration like "7d", "48h", "15m" or "20s", {limit}'

    def read(value: object) -> timedelta:
        match = re.fullmatch("([0-9]{1,6})([dhms])", text(value))
        span = timedelta(**{units[match[2]]: int(match[1])}) if match else timedelta(-1)
        good = timedelta(0) <= span <= at_most and (span or zero)
        return span if good else refuse(f"must {must}")

    return Value(read, must, "^[0-9]{1,6}[dhms]$")


def written_duration(span: timedelta | None) -> str:
    """Return a duration as the stores file has it, in seconds if it is not a whole number of hours; "" for None."""
    if span is None:
        return ""
    whole_hours = span and span % timedelta(hours=1) == timedelta(0)
    return duration_setting(span) if whole_hours else f"{span.total_seconds():g}s"


MOMENT = "be a date like 2025-01-31 or a time like 2025-01-31T08:00:00Z"


def _moment(value: object) -> datetime:
    """Read a date or time, TOML's own or a text, as an aware time in UTC; UTC is also the default time zone."""
    found = parse_time(value.isoformat() if isinstance(value, date) else value)
    return found or refuse(f"must {MOMENT}")


Moment = Annotated[datetime | None, Value(_moment, MOMENT).or_blank(None)]


# Addresses


def web_url(address: str) -> bool:
    """Return True for an absolute http or https address without a password."""
    try:
        parts = urlsplit(address)
        plain = parts.port != 0 and "@" not in parts.netloc and " " not in address
    except ValueError:
        return False
    return bool(parts.hostname) and plain and parts.scheme in ("https", "http")


def _shop(value: object) -> str:
    found = host(value)
    return found if re.fullmatch(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*", found) else refuse("must be a host name or an address")


_url = checked(
    web_url, "be an absolute https or http address without a password in it", "^https?://", lambda url: url.rstrip("/")
)
WebUrl = Annotated[str, _url]
Shop = Annotated[str, Value(_shop, "be a host name or an address")]


# Templates


def template(purpose: str, *known: str) -> Value:
    """Return the type of texts with placeholders of `known`, like "acme-{order_id}"; "meta:KEY" allows any key."""
    listed = ", ".join(f"{{{one}}}" for one in known)
    pattern = "|".join(known).replace("KEY", ".+")
    must = f"have a placeholder, one of {listed}"

    def read(value: object) -> str:
        names = re.findall(r"\{([^{}]*)\}", text(value))
        if not names:
            refuse(f"must {must}; without one it would give every {purpose} the same id")
        if not all(re.fullmatch(pattern, one) for one in names):
            refuse(f"must not have an unknown placeholder; known are {listed}")
        if set("{}") & set(re.sub(r"\{[^{}]*\}", "", text(value))):
            refuse("must not have a brace that opens or closes nothing")
        return text(value)

    return Value(read, must, r"\{[^{}]+\}")


PLACEHOLDERS = ("order_id", "order_number", "order_name", "checkout_token", "cart_token", "customer_id")
CONTENT_IDS = ("product_id", "variant_id", "sku")
CONTENT_ID_PLACEHOLDERS = (*CONTENT_IDS, "item_id")  # the last: the variant's id, or the product's without variants
CONTENT_ID = 'be one of "product_id", "variant_id", "sku", or a template with one of them in braces, like {product_id}'
_event_id = template("order", *PLACEHOLDERS, "meta:KEY", "attribute:KEY")
_content_template = template("item", *CONTENT_ID_PLACEHOLDERS)


def _content_id(value: object) -> object:
    if isinstance(value, str) and "{" in value:
        return _content_template.read(value)
    return value if value in CONTENT_IDS else refuse(f"must {CONTENT_ID}")


EventId = Annotated[str, _event_id]
EventIdOrBlank = Annotated[str, _event_id.or_blank()]
ContentIdOrBlank = Annotated[str, Value(_content_id, CONTENT_ID, rf"^({'|'.join(CONTENT_IDS)})$|\{{").or_blank()]
