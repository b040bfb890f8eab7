"""The stores file as a document: STORES_TOML, one file, or the files of a folder, read into one tree of tables.

Each problem is one line, "path: what is wrong", without values that can be secret. Reading continues after a problem.
"""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

from connector.config.model import Table, joined
from connector.config.wording import suggestion


class Reading:
    """One load of the configuration: the environment it reads, the problems found, and where secrets are written out.

    Dicts serve as ordered sets: each store repeats a fault of [defaults].
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.problems: dict[str, None] = {}
        self.literal_secrets: dict[str, None] = {}

    def problem(self, path: str, wrong: str) -> None:
        """Note what is wrong at `path`."""
        self.problems[f"{path}: {wrong}"] = None


# Texts → one document


def read_document(reading: Reading, path: Path) -> dict[str, Table] | None:
    """Read [connector], [defaults] and [stores]; None if a part is unusable, as problems of the rest could mislead."""
    inline = reading.environ.get("STORES_TOML", "")
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
        except (ValueError, RecursionError) as error:  # its message can quote the text, which can hold a secret
            place = re.search(r"\(at (line \d+, column \d+|end of document)\)$", str(error))
            reading.problem(source, f"not valid TOML{f' at {place[1]}' if place else ''}")
    if not files:
        reading.problem(_quoted(path), "this folder holds no *.toml file")
    return _merged(sources, reading) if sources and len(sources) == len(files) else None


def _merged(sources: Mapping[str, Table], reading: Reading) -> dict[str, Table]:
    """Merge the three tables of all files. A key that two files define is a problem."""
    merged: dict[str, Table] = {"connector": {}, "defaults": {}, "stores": {}}
    origin: dict[str, str] = {}
    for source, document in sources.items():
        for key, value in document.items():
            if key not in merged:
                reading.problem(joined("", key), f"unknown table; {suggestion(key, merged)}")
            elif not isinstance(value, dict):
                reading.problem(key, f"must be a table, [{key}]")
            else:
                for path in [joined(key, name) for name in value] if key == "stores" else [key]:
                    if path in origin:
                        reading.problem(path, f"defined in both {origin[path]} and {source}")
                    origin[path] = source
                merged[key] |= value
    if not merged["stores"] and all(isinstance(document.get("stores", {}), dict) for document in sources.values()):
        reading.problem("stores", "no store is defined; add a table [stores.NAME] as in stores.example.toml")
    return merged


# One value


def dereferenced(raw: str, environ: Mapping[str, str]) -> str:
    """Return a text, or the value of a text that is exactly `${NAME}` or `${file:PATH}`.

    Raises ValueError, also for a text with a reference inside: it would reach the shop or TikTok as it is written.
    """
    if name := re.fullmatch(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}", raw):
        if value := environ.get(name[1], "").strip():
            return value
        raise ValueError(f"the environment variable {name[1]} is {'empty' if name[1] in environ else 'not set'}")
    if file := re.fullmatch(r"\$\{file:(.+)\}", raw):
        try:
            value = Path(file[1]).read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            raise ValueError(f"the file {_quoted(file[1])} cannot be read: {_reason(error)}") from None
        if value:
            return value
        raise ValueError(f"the file {_quoted(file[1])} is empty")
    if "${" in raw:
        raise ValueError('a reference must be the whole value, like "${NAME}" or "${file:PATH}"')
    return raw


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or "not UTF-8 text"


def _quoted(file: str | Path) -> str:
    """Return a file's name on one line, whatever characters it has."""
    return str(file) if str(file).isprintable() else ascii(str(file))
