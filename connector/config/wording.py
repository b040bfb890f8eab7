"""The wording of faults: pydantic's types of error become the second half of a sentence, without the value."""

import difflib
import json
import re
from collections.abc import Callable, Iterable

from pydantic_core import ErrorDetails

UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")  # pydantic's types of error for an unknown key


def one_of(allowed: Iterable[str]) -> str:
    """Say what a value must be one of."""
    return "must be one of " + ", ".join(json.dumps(one) for one in allowed)


WORDING: dict[str, Callable[[ErrorDetails], str]] = {  # by pydantic's types of errors; [] is the table's own path
    "value_error": lambda fault: str(fault["ctx"]["error"]),
    "literal_error": lambda fault: one_of(re.findall("'([^']*)'", fault["ctx"]["expected"])),
    "dataclass_type": lambda fault: "must be a table, []",
    "dict_type": lambda fault: "must be a table, []",
    "missing": lambda fault: missing(str(fault["loc"][-1])),
}


def wording(fault: ErrorDetails) -> str:
    """Say what is wrong with a value, without the value: it may be a secret."""
    return WORDING[fault["type"]](fault)


def suggestion(key: str, known: Iterable[str]) -> str:
    """Suggest a known key for an unknown one."""
    near = difflib.get_close_matches(key, sorted(known), n=1)
    return f"did you mean {near[0]}?" if near else f"known here: {', '.join(sorted(known))}"


def missing(key: str) -> str:
    """Say what belongs to a required key of a store or of a pixel."""
    from connector.config.schema import keys_of  # noqa: PLC0415 (not loaded where nothing is wrong)

    what, _, must = keys_of("Store")[key]["description"].partition(" Must ")
    choice = f" Must {must}" if must.startswith("be one of") else ""
    return f"missing: {what[0].lower()}{what[1:]}{choice}".removesuffix(".")


def unknown_key(table: str, *loc: int | str) -> str:
    """Say what an unknown key may be instead; `table` is "Store" or "Retention"."""
    from connector.config.schema import keys_of  # noqa: PLC0415

    *place, key = loc
    return f"unknown key; {suggestion(str(key), keys_of(table, *place))}"
