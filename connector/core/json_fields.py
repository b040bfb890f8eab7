"""Reading what a shop sent: one value in, one value of the expected type or its absence out, never an error.

A wrong type in an optional field costs that field and nothing else, so every reader takes anything at all.
"""

import re
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any
from urllib.parse import unquote_plus, urlsplit

Json = dict[str, Any]

MAX_TEXT = 4096  # longer than any name or user agent; click ids, the longest of real values, stay below it
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_AMOUNT = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,6})?")
_PLAIN = re.compile(r"(?!.*\d{4})[A-Za-z][A-Za-z0-9_-]{0,39}")
_NUMBERS = (int, Decimal)  # a tuple, for int | Decimal is built anew each time
_NUMERIC = (str, *_NUMBERS)


def text(value: object) -> str:
    """`value` if it is a text, trimmed and free of NUL and lone surrogates, else "" (also for longer than 4,096)."""
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        return ""
    # Printable text has neither, and asking costs a tenth of replacing.
    return value.strip() if value.isprintable() else _UNSTORABLE.sub("", value).strip()


def identifier(value: object) -> str:
    """An id as text: vendors write the same id as a number here and as a text there. 0 means none."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if 0 < value < 10**30 else ""
    found = text(value)
    return "" if found == "0" or len(found) > 255 else found


def scalar_text(value: object) -> str:
    """What a shop's own script wrote under a key of its own: a text, a number, or a yes, as text."""
    if isinstance(value, bool):
        return "true" if value else ""
    return text(value) or identifier(value)


def safe_to_quote(word: str) -> str:
    """A status or a code as a sentence may quote it; what is no plain word may be anybody's e-mail, and is not."""
    return word if _PLAIN.fullmatch(word) else "(not shown)" if word else ""


def numeric_id(value: object) -> str:
    """An id that must be a whole positive number (or its digits in a text), else ""."""
    found = identifier(value)
    return found if found.isdecimal() and len(found) <= 30 else ""


def json_object(value: object) -> Json:
    """`value` if it is an object, else an empty one (PHP writes an empty object as [])."""
    return value if isinstance(value, dict) else {}


def texts(value: object) -> tuple[str, ...]:
    """The texts of a list, none twice; whatever else is in it, or if it is no list, nothing."""
    return tuple(dict.fromkeys(filter(None, map(text, value)))) if isinstance(value, list) else ()


def json_objects(value: object) -> list[Json]:
    """The objects of a list; whatever else is in it, or if it is no list, nothing."""
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def money(value: object) -> Decimal | None:
    """An amount in major units with the digits the shop wrote ("44.50" stays 44.50), or None.

    Amounts beyond 10**15 or finer than 6 decimals are no money and count as absent.
    """
    if isinstance(value, str) and _AMOUNT.fullmatch(value):
        return Decimal(value)  # as all but a few are
    if isinstance(value, bool) or not isinstance(value, _NUMERIC):
        return None
    try:
        amount = Decimal(value.strip() if isinstance(value, str) else value)
    except (InvalidOperation, ValueError):
        return None
    if not amount.is_finite() or amount.adjusted() >= 15:  # abs() would raise Overflow for 1E+1000000
        return None
    exponent = amount.as_tuple().exponent
    return amount if isinstance(exponent, int) and -6 <= exponent <= 0 else None


def whole_quantity(value: object) -> int:
    """A quantity: whole, at least 1 (plugins make it a fraction; half a metre of cloth is one item)."""
    if isinstance(value, bool) or not isinstance(value, _NUMBERS):
        return 1
    if isinstance(value, Decimal) and not value.is_finite():
        return 1
    return int(min(max(value, 1), 1_000_000))


def parse_time(value: object) -> datetime | None:
    """An aware time from ISO-8601 text; a text without an offset is UTC (WooCommerce's *_gmt fields). Else None."""
    if not isinstance(value, str) or not 10 <= len(value) <= 40:
        return None
    try:
        found = datetime.fromisoformat(value)
        # combine() costs a quarter of replace(tzinfo=UTC).
        found = datetime.combine(found, found.time(), UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return found if 2000 <= found.year <= 2200 else None


def host(value: object) -> str:
    """The host of a URL or a bare host name, lower-case, without port and leading www."""
    return _host(text(value).lower())


@lru_cache  # a server has few shops, and each names itself in every webhook
def _host(found: str) -> str:
    try:
        name = urlsplit(found if "//" in found else f"//{found}").hostname or ""
    except ValueError:
        return ""
    return name.removeprefix("www.")


def query_parameter(url: str, name: str) -> str:
    """A query parameter of a URL or path, percent-decoded, the first of a repeated one, or ""."""
    _, _, query = url.partition("#")[0].partition("?")
    for pair in query.split("&"):
        key, _, value = pair.partition("=")
        if key == name and (found := text(unquote_plus(value))):
            return found
    return ""
