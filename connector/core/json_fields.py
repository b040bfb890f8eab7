"""Readers for the fields of a shop's JSON: each returns a value of its type or an empty one, and never raises.

They accept any value, so that a wrong type in an optional field loses only that field.
"""

import json
import re
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any, TypeVar
from urllib.parse import unquote_plus, urlsplit

import msgspec

from connector.core.currencies import minor_digits

Json = dict[str, Any]
T = TypeVar("T")

MAX_TEXT = 4096  # longer than any real value; click ids are the longest
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")  # NUL and lone surrogates, which no text may contain
_AMOUNT = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,6})?")
_PLAIN = re.compile(r"(?!.*\d{4})[A-Za-z][A-Za-z0-9_-]{0,39}")
_NUMBERS = (int, Decimal)  # a tuple, as int | Decimal would be built on each call
_NUMERIC = (str, *_NUMBERS)


def text(value: object) -> str:
    """A trimmed text without NUL and lone surrogates; "" for other types and for texts over 4,096 characters."""
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        return ""
    # Printable text contains neither, and the check costs a tenth of the substitution.
    return value.strip() if value.isprintable() else UNSTORABLE.sub("", value).strip()


def identifier(value: object) -> str:
    """An id as text, from a number or a text; "" for 0 and for more than 255 characters."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if 0 < value < 10**30 else ""
    found = text(value)
    return "" if found == "0" or len(found) > 255 else found


def scalar_text(value: object) -> str:
    """A text, a whole number or a truth value as text, for fields written by a shop's own script; else "".

    0 and False are texts, too: as an answer to the consent question they are a no.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    return text(value) or identifier(value) or ("0" if type(value) is int and value == 0 else "")


def safe_to_quote(word: str) -> str:
    """A status or code for use in a message; "(not shown)" unless it is a plain word, as it can be personal data."""
    return word if _PLAIN.fullmatch(word) else "(not shown)" if word else ""


def numeric_id(value: object) -> str:
    """An id that is a positive whole number, or its digits in a text; else ""."""
    found = identifier(value)
    return found if found.isdecimal() and len(found) <= 30 else ""


def parse_browser_json(body: bytes) -> Json:
    """Parse what a browser has sent; {} if it is not a JSON object. Numbers keep their digits."""
    try:
        return json_object(_BROWSER_DECODER.decode(body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:  # accepts unpaired surrogates: half of a character, at the end of a text that a page has cut
        return json_object(json.loads(body, parse_float=_short_decimal, parse_constant=lambda _: None))
    except (ValueError, RecursionError):
        return {}


def _short_decimal(number: str) -> Decimal | None:
    """Return a JSON number with its digits; None if it is too long, or beyond Decimal (1e99999999999999999999)."""
    try:
        return Decimal(number) if len(number) <= 40 else None  # longer ones could take long to convert
    except InvalidOperation:
        return None


_BROWSER_DECODER = msgspec.json.Decoder(float_hook=_short_decimal)


def json_object(value: object) -> Json:
    """An object; {} for other types (PHP writes an empty object as [])."""
    return value if isinstance(value, dict) else {}


def texts(value: object) -> tuple[str, ...]:
    """The texts of a list without duplicates and blanks; other entries are left out. () for other types."""
    return tuple(dict.fromkeys(filter(None, map(text, value)))) if isinstance(value, list) else ()


def json_objects(value: object) -> list[Json]:
    """The objects of a list; other entries are left out. [] for other types."""
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def money(value: object) -> Decimal | None:
    """An amount in major units with the digits the shop wrote ("44.50" stays 44.50), or None.

    None also for amounts of 10**15 and more, and with more than 6 decimals.
    """
    if isinstance(value, str) and _AMOUNT.fullmatch(value):
        return Decimal(value)  # the usual form
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
    """A quantity as a whole number from 1 to 1,000,000; 1 for other types. Plugins write fractions, such as lengths."""
    if isinstance(value, bool) or not isinstance(value, _NUMBERS):
        return 1
    if isinstance(value, Decimal) and not value.is_finite():
        return 1
    return int(min(max(value, 1), 1_000_000))


def quantity_of_text(value: object) -> int:
    """A whole quantity that may be written as a text, "2"; else as `whole_quantity`."""
    return whole_quantity(money(value)) if isinstance(value, str) else whole_quantity(value)


def minor_units(value: object, currency: str) -> Decimal | None:
    """An amount in the smallest unit of its currency ("EUR", any case) as one in major units: 4450 is 44.50, or None.

    The digits are those of ISO 4217: none for JPY, three for KWD.
    """
    amount = money(value)
    if amount is None or amount != amount.to_integral_value():
        return None
    return money(amount.to_integral_value().scaleb(-minor_digits(currency.upper())))


def parse_time(value: object) -> datetime | None:
    """An aware time in UTC from ISO-8601 text (UTC if it has no offset); else None."""
    if not isinstance(value, str) or not 10 <= len(value) <= 40:
        return None
    try:
        found = datetime.fromisoformat(value)
        # combine() takes a quarter of the time of replace(tzinfo=UTC).
        found = datetime.combine(found, found.time(), UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return found if 2000 <= found.year <= 2200 else None


def unix_time(value: object) -> datetime | None:
    """An aware time in UTC from whole seconds since 1970, a number or its digits; else None."""
    digits = numeric_id(value)
    known = digits.isascii() and 9 <= len(digits) <= 10 and int(digits) >= 946_684_800
    return datetime.fromtimestamp(int(digits), UTC) if known else None


def mail_time(value: object) -> datetime | None:
    """An aware time in UTC from the form of RFC 2822, "Wed, 10 Jan 2018 21:05:30 +0000"; else None."""
    try:
        found = parsedate_to_datetime(text(value))
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError, IndexError, TypeError):
        return None
    return found if 2000 <= found.year <= 2200 else None


def phone_number(code: object, number: object) -> str:
    """A number with the country's calling code, from "+65" or 65 and "8123 4567"; the number alone without a code.

    A number that begins with + has its code already.
    """
    local, digits = text(number) or identifier(number), re.sub("[^0-9]", "", text(code) or identifier(code))
    return local if not local or not digits or local.startswith(("+", "00")) else f"+{digits} {local}"


def body_text(body: bytes, *path: str) -> str:
    """A text or an id in a JSON body that is not parsed yet: `body_text(body, "data", "id")`; "" without one.

    For platforms that name topic or shop in the body. Only the objects on the path are read.
    """
    try:
        found: msgspec.Raw | bytes = body
        for name in path:
            found = _OBJECT.decode(found)[name]
        return scalar_text(msgspec.json.decode(found)) if len(found) <= MAX_TEXT else ""
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError):
        return ""


_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])


def host(value: object) -> str:
    """The host of a URL, or a bare host name, in lower case without port and leading www; else "".

    A name with an umlaut is returned in punycode, as browsers send it.
    """
    return _host(text(value).lower())


@lru_cache  # a server has few shops, and every webhook names one
def _host(found: str) -> str:
    try:
        name = urlsplit(found if "//" in found else f"//{found}").hostname or ""
    except ValueError:
        return ""
    name = name.removeprefix("www.")
    return name if name.isascii() else _punycode(name)


def _punycode(name: str) -> str:
    """Return a host name in ASCII by the rules of browsers, or "": Python's own codec makes strasse of straße.

    https://www.unicode.org/reports/tr46/
    """
    import idna  # noqa: PLC0415 (few shops need it; it takes 20 ms to load)

    try:
        return idna.encode(name, uts46=True).decode("ascii") if len(name) < 254 else ""
    except UnicodeError:
        return ""


def query_parameter(url: str, name: str) -> str:
    """The first value of a query parameter of a URL or path, percent-decoded, or ""."""
    _, _, query = url.partition("#")[0].partition("?")
    for pair in query.split("&"):
        key, _, value = pair.partition("=")
        if key == name and (found := text(unquote_plus(value))):
            return found
    return ""


def present(**fields: T) -> dict[str, T]:
    """The fields that have a value: without None, False, "" and empty collections. A number of 0 is a value."""
    return {name: value for name, value in fields.items() if value or type(value) in _NUMBERS}
