"""The wording of faults: each of pydantic's error types as the second half of a sentence, without the value."""

import difflib
import json
import re
from collections.abc import Callable, Iterable

from pydantic_core import ErrorDetails

from connector.config.model import PIXEL_CONDITIONS

UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")  # pydantic's error types for an unknown key
SIMILAR = 0.05  # difference of difflib's ratios below which neither of two words is the better guess


def one_of(allowed: Iterable[str]) -> str:
    """Return the rule that a value must be one of `allowed`."""
    return "must be one of " + ", ".join(json.dumps(one) for one in allowed)


WORDING: dict[str, Callable[[ErrorDetails], str]] = {  # by pydantic's error types; [] stands for the table's path
    "value_error": lambda fault: str(fault["ctx"]["error"]),
    "literal_error": lambda fault: one_of(re.findall("'([^']*)'", fault["ctx"]["expected"])),
    "string_unicode": lambda fault: "must be UTF-8 text",
    "dataclass_type": lambda fault: "must be a table, []",
    "dict_type": lambda fault: "must be a table, []",
    "missing": lambda fault: missing(str(fault["loc"][-1])),
}


def wording(fault: ErrorDetails) -> str:
    """Return what is wrong with a value, without the value: it can be a secret."""
    return WORDING[fault["type"]](fault)


def suggestion(key: str, known: Iterable[str]) -> str:
    """Suggest a known key for an unknown one."""
    known = sorted(known)
    return did_you_mean(key, known) or f"known here: {', '.join(known)}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Ask whether the known word most like `word` was meant, or all that are about as like it; "" if none is."""
    word = word.lower()
    near = difflib.get_close_matches(word, known)  # the best three, best first
    likeness = {found: difflib.SequenceMatcher(None, found, word).ratio() for found in near}
    close = sorted(found for found in near if likeness[found] > likeness[near[0]] - SIMILAR)
    return f"did you mean {' or '.join(close)}?" if close else ""


def missing(key: str) -> str:
    """Return the message for a missing key of a store or pixel, with the key's description."""
    from connector.config.schema import keys_of  # noqa: PLC0415 (not loaded where nothing is wrong)

    what, _, must = keys_of("Store")[key]["description"].partition(" Must ")
    choice = f" Must {must}" if must.startswith("be one of") else ""
    return f"missing: {what[0].lower()}{what[1:]}{choice}".removesuffix(".")


def unknown_key(table: str, *loc: int | str) -> str:
    """Return the message for an unknown key of "Store" or "Retention", with the nearest known key."""
    from connector.config.schema import keys_of  # noqa: PLC0415

    *place, key = loc
    if table == "Store" and not place and key in PIXEL_CONDITIONS:
        return "a choice of one of several pixels; write it in a table [[stores.NAME.pixels]]"
    return f"unknown key; {suggestion(str(key), keys_of(table, *place))}"
