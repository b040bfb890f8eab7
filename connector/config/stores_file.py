"""The stores file as a document: texts → one tree of tables → `Section`, which reads keys and notes what is wrong.

Every problem is one line, "path: what is wrong", free of what may be a secret. Reading goes on after one.
"""

import difflib
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from connector.config.values import InvalidValue, Reader
from connector.core.store import ApiKeys

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")
D = TypeVar("D", bound="DataclassInstance")
Table = dict[str, object]

API_KEYS = tuple(field.name for field in fields(ApiKeys))
SECRET_KEYS = {"webhook_secrets", *API_KEYS}
SHOWN_KEYS = {"platform", "consent", "browser_pixel", "value", "currency", "content_id"}  # no place for a token


class Reading:
    """What one load has found so far. Dicts serve as ordered sets: a fault in [defaults] concerns every store."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.problems: dict[str, None] = {}
        self.literal_secrets: dict[str, None] = {}

    def problem(self, path: str, wrong: str) -> None:
        """Note what is wrong at `path`."""
        self.problems[f"{path}: {wrong}"] = None

    def setting(self, name: str, read: Reader[T], default: T) -> T:
        """The environment variable `name`; empty counts as not set, as hosts have it."""
        value = self.environ.get(name, "").strip()
        try:
            return read(value) if value else default
        except InvalidValue as refused:
            self.problem(name, str(refused))
            return default


# Texts → one document


def read_document(reading: Reading) -> dict[str, Table] | None:
    """[connector], [defaults] and [stores] of the environment; None if any part is unusable: half would mislead."""
    inline = reading.environ.get("STORES_TOML", "")
    path = Path(reading.environ.get("CONNECTOR_CONFIG", "").strip() or "stores.toml")
    files = [Path("STORES_TOML")] if inline.strip() else sorted(path.glob("*.toml")) if path.is_dir() else [path]
    sources: dict[str, Table] = {}
    for file in files:
        source = _quoted(file)
        try:
            sources[source] = tomllib.loads(inline if inline.strip() else file.read_text(encoding="utf-8-sig"))
        except FileNotFoundError:
            reading.problem(
                source,
                "no such file; copy stores.example.toml to stores.toml and edit it, or set CONNECTOR_CONFIG to a file "
                "or a folder, or STORES_TOML to the text itself",
            )
        except (OSError, UnicodeError) as error:
            reading.problem(source, f"cannot be read: {_reason(error)}")
        except (ValueError, RecursionError) as error:  # its words may quote the text, and the text may be a secret
            place = re.search(r"\(at (line \d+, column \d+|end of document)\)$", str(error))
            reading.problem(source, f"not valid TOML{f' at {place[1]}' if place else ''}")
    if not files:
        reading.problem(_quoted(path), "this folder holds no *.toml file")
    return _merged(sources, reading) if sources and len(sources) == len(files) else None


def _merged(sources: Mapping[str, Table], reading: Reading) -> dict[str, Table]:
    """The three tables, of all files. What two files both define is a problem: neither could be meant to win."""
    merged: dict[str, Table] = {"connector": {}, "defaults": {}, "stores": {}}
    origin: dict[str, str] = {}
    for source, document in sources.items():
        for key, value in document.items():
            if key not in merged:
                reading.problem(join("", key), f"unknown table; {_suggestion(key, set(merged))}")
            elif not isinstance(value, dict):
                reading.problem(key, f"must be a table, [{key}]")
            else:
                for path in [join(key, name) for name in value] if key == "stores" else [key]:
                    if path in origin:
                        reading.problem(path, f"defined in both {origin[path]} and {source}")
                    origin[path] = source
                merged[key] |= value
    if not merged["stores"] and all(isinstance(document.get("stores", {}), dict) for document in sources.values()):
        reading.problem("stores", "no store is defined; add a table [stores.NAME] as in stores.example.toml")
    return merged


# One table of the document, with what it inherits


class Section:
    """A table and the [defaults] behind it, nearest first. Reading a key also makes it known; the rest is unknown."""

    def __init__(self, reading: Reading, *layers: tuple[str, Table]) -> None:
        self.reading = reading
        self.layers = layers
        self.known: set[str] = set()
        self.children: dict[str, Section] = {}

    def __contains__(self, key: str) -> bool:
        return self._nearest(key)[1] is not None

    def path(self, key: str) -> str:
        """Where `key` is written, or would be."""
        return self._nearest(key)[0]

    def problem(self, key: str, wrong: str) -> None:
        """Note what is wrong at `key`."""
        self.reading.problem(self.path(key), wrong)

    def get(self, key: str, read: Reader[T], default: T, missing: str = "") -> T:
        """The value of `key` as `read` understands it. Absent: `default`, and a problem if `missing` says why."""
        self.known.add(key)
        path, raw = self._nearest(key)
        if raw is None:
            if missing:
                self.problem(key, f"missing: {missing}")
            return default
        value = self._resolved(raw, path, key in SECRET_KEYS)
        if value is None or (isinstance(value, list) and None in value):
            return default
        try:
            return read(value)
        except InvalidValue as refused:
            word = value is raw and key in SHOWN_KEYS and re.fullmatch("[a-z_]{1,20}", str(raw))
            self.problem(key, f"{refused}, not {raw!r}" if word else str(refused))
            return default

    def over(self, default: D, **readers: Reader[Any]) -> D:
        """`default` with the fields named in `readers` read from the keys of the same names."""
        return replace(default, **{key: self.get(key, read, getattr(default, key)) for key, read in readers.items()})

    def table(self, key: str) -> "Section":
        """The table `key`, empty if absent."""
        self.known.add(key)
        layers: list[tuple[str, Table]] = []
        for place, table in self.layers:
            path, value = join(place, key), table.get(key, {})
            if not isinstance(value, dict):
                self.reading.problem(path, f"must be a table, [{path}]")
            layers.append((path, value if isinstance(value, dict) else {}))
        return self.children.setdefault(key, Section(self.reading, *layers))

    def tables(self, key: str) -> "list[Section]":
        """The array of tables `key`; of an inherited one and the store's own, the store's own."""
        self.known.add(key)
        path, rows = self._nearest(key)
        if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
            self.problem(key, f"must be one or more tables, [[{path}]]")
            return []
        found = {f"{key}[{n}]": Section(self.reading, (f"{path}[{n}]", row)) for n, row in enumerate(rows)}
        self.children |= found
        return list(found.values())

    def refuse_unknown_keys(self) -> None:
        """Note every key that nobody read, here and in the tables below."""
        for place, table in self.layers:
            for key in sorted(table.keys() - self.known):
                self.reading.problem(join(place, key), f"unknown key; {_suggestion(key, self.known)}")
        for child in self.children.values():
            child.refuse_unknown_keys()

    def _nearest(self, key: str) -> tuple[str, object]:
        """Where `key` is written, or would be, and its value: None if absent, for TOML has no null."""
        place, table = next((layer for layer in self.layers if key in layer[1]), self.layers[0])
        return join(place, key), table.get(key)

    def _resolved(self, raw: object, path: str, secret: bool) -> object:
        """`raw` with every `${NAME}` and `${file:PATH}` replaced, by None once the problem is noted."""
        if isinstance(raw, list):
            return [self._resolved(element, f"{path}[{index}]", secret) for index, element in enumerate(raw)]
        if not isinstance(raw, str):
            return raw
        try:
            value = _dereferenced(raw, self.reading.environ)
        except InvalidValue as refused:
            self.reading.problem(path, str(refused))
            return None
        if secret and value is raw and raw:
            self.reading.literal_secrets[path] = None
        return value


def _dereferenced(raw: str, environ: Mapping[str, str]) -> str:
    if name := re.fullmatch(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}", raw):
        if value := environ.get(name[1], "").strip():
            return value
        raise InvalidValue(f"the environment variable {name[1]} is {'empty' if name[1] in environ else 'not set'}")
    if file := re.fullmatch(r"\$\{file:(.+)\}", raw):
        try:
            value = Path(file[1]).read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            raise InvalidValue(f"the file {_quoted(file[1])} cannot be read: {_reason(error)}") from None
        if value:
            return value
        raise InvalidValue(f"the file {_quoted(file[1])} is empty")
    return raw


# Wording


def join(place: str, key: str) -> str:
    """The dotted path of `key` in `place` ("" is the document), as TOML would write it."""
    written = key if re.fullmatch("[A-Za-z0-9_-]+", key) else json.dumps(key)
    return f"{place}.{written}" if place else written


def _suggestion(key: str, known: set[str]) -> str:
    near = difflib.get_close_matches(key, sorted(known), n=1)
    return f"did you mean {near[0]}?" if near else f"known here: {', '.join(sorted(known))}"


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or "not UTF-8 text"


def _quoted(file: str | Path) -> str:
    """A file's name, on one line whatever it holds."""
    return str(file) if str(file).isprintable() else ascii(str(file))
