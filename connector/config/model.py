"""The settings as pydantic models, made of the dataclasses that define them, and their validation."""

import json
import re
from copy import deepcopy
from dataclasses import asdict, dataclass, fields
from datetime import timedelta
from typing import Annotated, Any, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model
from pydantic_core import ErrorDetails

from connector.core.store import DEFAULT_EVENTS, EventIdTemplates, Pixel, Store
from connector.core.values import duration

Table = dict[str, Any]
Loc = tuple[int | str, ...]

OTHER_NAMES = {"shops": "shop", "code": "pixel"}  # fields that have another name in the file


def key_of(field: str) -> str:
    """Return the key of the stores file that a field is read from."""
    return OTHER_NAMES.get(field, field)


NOT_IN_FILE = ("name", "placeholders", "keys", "has_routes", "events_of_kinds")
STORE_NAME = "[a-z0-9-]+"
PIXEL_KEYS = ("pixel", "access_token", "test_event_code")  # also keys of a store with one pixel
PIXEL_CONDITIONS = tuple(field.name for field in fields(Pixel) if key_of(field.name) not in PIXEL_KEYS)


@dataclass(frozen=True, kw_only=True)
class Retention:
    """How long rows stay in the database."""

    keep_payloads: Annotated[timedelta, duration()] = timedelta(days=7)
    """How long the payloads of finished events are kept."""
    keep_ledger: Annotated[timedelta, duration()] = timedelta(days=90)
    """How long the lines of the ledger are kept."""
    keep_parked: Annotated[timedelta, duration()] = timedelta(days=14)
    """How long parked webhooks are kept, which need someone's attention."""


def table_model(name: str, *classes: Any, config: ConfigDict) -> type[BaseModel]:
    """Create the model of one table, with the fields of all `classes`. No key is required: it can be in [defaults]."""
    hints = {name: hint for cls in classes for name, hint in get_type_hints(cls, include_extras=True).items()}
    keys: Any = {name: (hint, None) for name, hint in hints.items() if name not in (*NOT_IN_FILE, *PIXEL_CONDITIONS)}
    return create_model(name, __config__=config, **keys)


FILE = ConfigDict(extra="forbid", alias_generator=key_of)
StoreTable = table_model("Store", Store, Pixel, config=FILE)
ConnectorTable = table_model("Retention", Retention, config=FILE)


def usual_tables(name: str) -> Table:
    """Return the default tables of the store `name`, whose keys override the defaults one by one."""
    return {
        "events": {milestone: list(names) for milestone, names in DEFAULT_EVENTS.items()},
        "event_id": asdict(EventIdTemplates.of_store(name)),
    }


def validate(model: type[BaseModel], values: Table, usual: Table) -> tuple[Table, list[ErrorDetails]]:
    """Return the valid fields of `values`, laid over the tables of `usual`, and the faults of the others."""
    faults: list[ErrorDetails] = []
    try:
        read = model.model_validate(_over(values, usual))
    except ValidationError as error:
        faults = error.errors(include_url=False)
        good = deepcopy(values)
        for fault in faults:
            _remove(good, fault["loc"])
        read = model.model_validate(_over(good, usual))
    return {name: getattr(read, name) for name in read.model_fields_set}, faults


def _over(values: Table, usual: Table) -> Table:
    tables = {key: table | values[key] for key, table in usual.items() if isinstance(values.get(key), dict)}
    return usual | values | tables


def _remove(values: Table, loc: Loc) -> None:
    """Remove the value at `loc`; for an entry of a list, the whole list."""
    key, *rest = loc
    if rest and isinstance(rest[0], str) and isinstance(values.get(str(key)), dict):
        _remove(values[str(key)], tuple(rest))
    else:
        values.pop(str(key), None)


def joined(place: str, *keys: int | str) -> str:
    """Return the dotted path of `keys` in `place` ("" is the document), as TOML writes it."""
    for key in keys:
        written = key if isinstance(key, int) or re.fullmatch("[A-Za-z0-9_-]+", key) else json.dumps(key)
        place = f"{place}[{key}]" if isinstance(key, int) else f"{place}.{written}" if place else str(written)
    return place
