"""One table of the stores file with inherited values: references resolved, values validated, faults noted by path."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import fields
from functools import reduce
from operator import getitem
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from connector.config.model import Loc, Table, joined, validate
from connector.config.stores_file import Reading, dereferenced
from connector.config.wording import UNKNOWN, did_you_mean, unknown_key, wording
from connector.core.store import ApiKeys

SECRET_KEYS = {"webhook_secrets", "alerts", "digest"}
SECRET_KEYS |= {field.name for field in fields(ApiKeys) if field.name != "url"}
SHOWN_KEYS = {"platform", "consent", "browser_pixel", "value", "currency", "content_id"}  # never secret


class Section:
    """A table laid over those it inherits from: its values, and the path where each is written."""

    def __init__(self, reading: Reading, *layers: tuple[str, Table]) -> None:
        """`layers` are the tables with their paths, nearest first."""
        self.reading = reading
        self.faulty: set[Loc] = set()
        self._paths: dict[Loc, list[str]] = {(): [layers[0][0]]}
        self._referenced: set[Loc] = set()  # values that came from a variable or a file
        self.values = self._inherited((), layers)

    def path(self, *loc: int | str) -> str:
        """Return the path where a value is written, or would be."""
        row = max((end for end, key in enumerate(loc, 1) if isinstance(key, int)), default=0)
        return self._paths[loc][0] if loc in self._paths else joined(self._paths[loc[:row]][0], *loc[row:])

    def problem(self, wrong: str, *loc: int | str) -> None:
        """Note what is wrong at `loc`."""
        self.reading.problem(self.path(*loc), wrong)

    def read(self, model: type[BaseModel], usual: Table) -> Table:
        """Return the valid fields of `model`, and note every fault of the others."""
        valid, faults = validate(model, self.values, usual)
        unknown = [fault["loc"] for fault in faults if fault["type"] in UNKNOWN]
        for fault in faults:
            loc = fault["loc"]
            if loc not in unknown and not any(loc[:end] in self.faulty for end in range(1, len(loc) + 1)):
                self._note(fault, loc)
            self.faulty.add(loc)
        for loc in sorted(unknown, key=lambda loc: (len(loc), str(loc))):
            for path in self._paths[loc]:
                self.reading.problem(path, unknown_key(model.__name__, *loc))
        return valid

    def shown(self, *loc: int | str) -> str:
        """Return the end of a message that shows the value, or "" if it can be a secret."""
        if loc[-1] not in SHOWN_KEYS or loc in self._referenced:
            return ""
        value = self._value(*loc)
        return f", not {value!r}" if isinstance(value, str) and re.fullmatch("[a-z_]{1,20}", value) else ""

    def guessed(self, key: str, known: Iterable[str]) -> str:
        """Return the end of a message that suggests what was meant by a value, or "" if it can be a secret."""
        guess = did_you_mean(str(self.values[key]), known) if (key,) not in self._referenced else ""
        return f"; {guess}" if guess else ""

    def _value(self, *loc: int | str) -> Any:
        return reduce(getitem, loc, self.values)  # type: ignore[arg-type] # tables and lists by turns

    def _note(self, fault: ErrorDetails, loc: Loc) -> None:
        *place, key = loc
        wrong = wording(fault)
        if place == ["pixels"] or loc == ("pixels",):
            loc, wrong = ("pixels",), f"must be one or more tables, [[{self.path('pixels')}]]"
        elif isinstance(key, int):  # an entry of a list, or the text that stands for a list of one
            listed = isinstance(self._value(*place), list)
            loc, wrong = tuple(place), f"entry {key + 1} {wrong}" if listed else wrong
        else:
            wrong += self.shown(*loc)
        self.problem(wrong.replace("[]", f"[{self.path(*loc)}]"), *loc)

    def _inherited(self, loc: Loc, layers: Sequence[tuple[str, Table]]) -> Table:
        values: Table = {}
        written = {
            key: [(joined(place, key), table[key]) for place, table in layers if key in table]
            for key in dict.fromkeys(key for _, table in layers for key in table)
        }
        for key, rows in sorted(written.items(), key=lambda item: not isinstance(item[1][0][1], dict)):  # tables first
            here = (*loc, key)
            others = [row for row in rows if not isinstance(row[1], dict)]
            nearest = others if others and isinstance(rows[0][1], dict) else rows  # a table cannot inherit a value
            self._paths[here] = [path for path, _ in nearest]
            values[key] = self._resolved(here, *nearest[0]) if others else self._inherited(here, rows)
        return values

    def _resolved(self, loc: Loc, path: str, raw: object) -> object:
        """Return `raw` with each `${NAME}` and `${file:PATH}` replaced; None after a noted problem."""
        if isinstance(raw, list):
            return [self._resolved((*loc, index), f"{path}[{index}]", entry) for index, entry in enumerate(raw)]
        if isinstance(raw, dict):
            self._paths[loc] = [path]
            return self._inherited(loc, [(path, raw)])
        if not isinstance(raw, str):
            return raw
        try:
            value = dereferenced(raw, self.reading.environ)
        except ValueError as error:
            self.reading.problem(path, str(error))
            self.faulty.add(loc)
            return None
        if value is not raw:
            self._referenced.add(loc)
        elif raw and not SECRET_KEYS.isdisjoint(loc):
            self.reading.literal_secrets[path] = None
        return value
