"""Readers of one configured value: what TOML or the environment gives becomes ours, or `InvalidValue` says why not.

A refusal is the second half of a sentence ("must be …") and never quotes the value: it may be a secret.
"""

import json
import re
from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta
from ipaddress import ip_address
from typing import TypeVar
from urllib.parse import urlsplit

from phonenumbers import SUPPORTED_REGIONS
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from connector.core import json_fields

T = TypeVar("T")
S = TypeVar("S")
Reader = Callable[[object], T]

US_STATES = (
    "AL AK AZ AR CA CO CT DE DC FL GA HI ID IL IN IA KS KY LA ME MD MA MI MN MS MO MT NE NV NH NJ NM NY NC ND OH OK "
    "OR PA RI SC SD TN TX UT VT VA WA WV WI WY"
)
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


class InvalidValue(Exception):
    """A reader's answer to a bad value."""


def one_of(allowed: Iterable[object]) -> str:
    """The refusal of what is not among `allowed`."""
    return "must be one of " + ", ".join(json.dumps(one) for one in allowed)


# Any kind of value


def boolean(value: object) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise InvalidValue("must be true or false")
    return value


def choice(*allowed: T) -> Reader[T]:
    """One of `allowed`."""

    def read(value: object) -> T:
        for one in allowed:
            if one == value:
                return one
        raise InvalidValue(one_of(allowed))

    return read


def list_of(read_one: Reader[T], alone: bool = False, empty: bool = True) -> Reader[tuple[T, ...]]:
    """A list without doubles; with `alone` a single text may stand for a list of one."""

    def read(value: object) -> tuple[T, ...]:
        if alone and isinstance(value, str):
            return (read_one(value),)
        if not isinstance(value, list) or not (value or empty):
            raise InvalidValue(f"must be {'a text or ' if alone else ''}a list{'' if empty else ' of at least one'}")
        found: dict[T, None] = {}
        for index, row in enumerate(value, 1):
            try:
                found[read_one(row)] = None
            except InvalidValue as refused:
                raise InvalidValue(f"entry {index} {refused}") from None
        return tuple(found)

    return read


def unless_blank(read_one: Reader[T], blank: S) -> Reader[T | S]:
    """As `read_one`, but "" is `blank`."""
    return lambda value: blank if value == "" else read_one(value)


# Texts


def text(value: object) -> str:
    """Any text on one line."""
    if not isinstance(value, str):
        raise InvalidValue("must be a text in quotes")
    if not value.isprintable():
        raise InvalidValue("must be a text without control characters")
    return value


def checked(good: Callable[[str], object], refusal: str, shape: Callable[[str], str] = str) -> Reader[str]:
    """A text that, once in `shape`, is `good`."""

    def read(value: object) -> str:
        shaped = shape(text(value))
        if not good(shaped):
            raise InvalidValue(refusal)
        return shaped

    return read


def matching(pattern: str, refusal: str) -> Reader[str]:
    """A text that matches as a whole."""
    return checked(re.compile(pattern).fullmatch, refusal)


name = checked(str.strip, "must not be empty")
status = checked(str, "must not be empty", lambda word: word.strip().lower().removeprefix("wc-"))
token = matching("[!-~]+", "must not be empty, and must be ASCII without spaces")  # it travels in an HTTP header
pixel_code = matching("[A-Z0-9]{10,40}", "must be the pixel code from TikTok's Events Manager: 10 to 40 of A-Z and 0-9")
event_name = matching(r"\S(.{0,62}\S)?", "must be an event name of 1 to 64 characters without surrounding spaces")
country = checked(
    SUPPORTED_REGIONS.__contains__, "must be a two-letter ISO 3166 country code such as DE or GB", str.upper
)
us_state = checked(US_STATES.split().__contains__, "must be a two-letter code of a US state such as CA", str.upper)
log_level = checked(LOG_LEVELS.__contains__, one_of(LOG_LEVELS), str.upper)


def number(low: int, high: int = 999_999_999) -> Reader[int]:
    """A whole number, written as a text: the environment has nothing else."""
    bounds = f"{low} to {high}" if high < 999_999_999 else f"at least {low}"

    def good(digits: str) -> bool:
        return bool(re.fullmatch("[0-9]{1,9}", digits)) and low <= int(digits) <= high

    digits = checked(good, f"must be a whole number of {bounds}")
    return lambda value: int(digits(value))


# Times


def duration(at_most: timedelta = timedelta(days=9999), zero: bool = False) -> Reader[timedelta]:
    """A text like "7d"; above 0 unless `zero` is allowed."""
    units = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
    limit = f"at most {at_most.days}d" if at_most.days else f"at most {at_most.seconds}s"

    def read(value: object) -> timedelta:
        match = re.fullmatch("([0-9]{1,6})([dhms])", text(value))
        span = timedelta(**{units[match[2]]: int(match[1])}) if match else timedelta(-1)
        if not timedelta(0) <= span <= at_most or not (span or zero):
            raise InvalidValue(
                f'must be a duration like "7d", "48h", "15m" or "20s", {limit}{"" if zero else " and above 0"}'
            )
        return span

    return read


def moment(value: object) -> datetime:
    """A date or time, TOML's own or a text, of UTC unless it says otherwise, as an aware time in UTC."""
    found = json_fields.parse_time(value.isoformat() if isinstance(value, date) else value)
    if found is None:
        raise InvalidValue("must be a date like 2025-01-31 or a time like 2025-01-31T08:00:00Z")
    return found


# Addresses


def web_url(*schemes: str) -> Reader[str]:
    """An absolute address of one of `schemes`, without its trailing slash."""

    def usable(address: str) -> bool:
        try:
            parts = urlsplit(address)
            plain = parts.port != 0 and "@" not in parts.netloc and " " not in address
        except ValueError:
            return False
        return bool(parts.hostname) and plain and parts.scheme in schemes

    refusal = f"must be an absolute {' or '.join(schemes)} address without a password in it"
    return checked(usable, refusal, lambda address: address.rstrip("/"))


def alert_url(value: object) -> str:
    """Where alerts are posted: often a secret, so it travels encrypted, or not beyond this machine. Kept as written."""
    read, address = web_url("https", "http"), text(value)
    try:
        read(address)
        encrypted = urlsplit(address).scheme == "https"
        near = _is_loopback(urlsplit(address).hostname or "")
    except (InvalidValue, ValueError):
        encrypted = near = False
    if not encrypted and not near:
        raise InvalidValue(
            "must be an absolute https address without a password in it; http is taken for this machine only "
            "(localhost, 127.0.0.1)"
        )
    return address


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def shop(suffix: str, error: str) -> Reader[str]:
    """How the platform names a shop: a host, given bare or in an address; `error` is said of one without `suffix`."""

    def read(value: object) -> str:
        found = json_fields.host(value)
        if not re.fullmatch(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*", found):
            raise InvalidValue("must be a host name or an address")
        if not found.endswith(suffix):
            raise InvalidValue(error)
        return found

    return read


def database_url(value: object) -> str:
    """The address of a SQLite file or a PostgreSQL database, as SQLAlchemy spells it."""
    allowed = "must be sqlite:///FILE or postgresql://USER:PASSWORD@HOST/DATABASE"
    scheme, _, rest = text(value).partition("://")
    spelling = {"postgres": "postgresql+psycopg", "postgresql": "postgresql+psycopg"}.get(scheme, scheme)
    try:
        url = make_url(f"{spelling}://{rest}")
    except (ArgumentError, ValueError):
        raise InvalidValue(allowed) from None
    if spelling == "sqlite" and not url.host:
        file = url.database or ":memory:"
        if ":memory:" in file or "memory" in url.query.get("mode", ()):
            raise InvalidValue(f"{allowed}; SQLite in memory will not do, for several processes share the database")
    elif spelling != "postgresql+psycopg":
        raise InvalidValue(allowed)
    return f"{spelling}://{rest}"


# Templates


def template(purpose: str, *known: str) -> Reader[str]:
    """A text with placeholders of `known`, like "acme-{order_id}"; "meta:KEY" stands for any key."""
    listed = ", ".join(f"{{{one}}}" for one in known)
    pattern = "|".join(known).replace("KEY", ".+")

    def read(value: object) -> str:
        names = re.findall(r"\{([^{}]*)\}", text(value))
        if not names:
            raise InvalidValue(
                f"must have a placeholder, one of {listed}; without one it would give every {purpose} the same id"
            )
        if not all(re.fullmatch(pattern, one) for one in names):
            raise InvalidValue(f"must not have an unknown placeholder; known are {listed}")
        if set("{}") & set(re.sub(r"\{[^{}]*\}", "", text(value))):
            raise InvalidValue("must not have a brace that opens or closes nothing")
        return text(value)

    return read


PLACEHOLDERS = ("order_id", "order_number", "order_name", "checkout_token", "cart_token", "customer_id")
CONTENT_IDS = ("product_id", "variant_id", "sku")
event_id = template("order", *PLACEHOLDERS, "meta:KEY", "attribute:KEY")
content_template = template("item", *CONTENT_IDS)


def content_id(value: object) -> str:
    """The name of one of an item's ids, or a template of them."""
    if isinstance(value, str) and "{" in value:
        return content_template(value)
    if value not in CONTENT_IDS:
        raise InvalidValue(f"{one_of(CONTENT_IDS)}, or a template with one of them in braces, like {{product_id}}")
    return text(value)
