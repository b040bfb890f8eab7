"""The settings as pydantic models, made of the dataclasses that state them, and how their faults are worded."""

import json
import re
from copy import deepcopy
from dataclasses import MISSING, dataclass, fields
from datetime import timedelta
from typing import Annotated, Any, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model
from pydantic_core import ErrorDetails

from connector.core.store import EventIdTemplates, Pixel, Store
from connector.core.values import duration

Table = dict[str, Any]
Loc = tuple[int | str, ...]

OTHER_NAMES = {"shops": "shop", "code": "pixel"}  # fields that the file names otherwise
NOT_IN_FILE = ("name", "placeholders")
STORE_NAME = "[a-z0-9-]+"
PIXEL_KEYS = ("pixel", "access_token", "test_event_code")


@dataclass(frozen=True, kw_only=True)
class Retention:
    """How long rows stay in the database."""

    keep_payloads: Annotated[timedelta, duration()] = timedelta(days=7)
    """How long the payloads of finished events are kept."""
    keep_ledger: Annotated[timedelta, duration()] = timedelta(days=90)
    """How long the line about each webhook is kept."""
    keep_parked: Annotated[timedelta, duration()] = timedelta(days=14)
    """How long parked webhooks and events are kept, which need someone to look at them."""


def key_of(field: str) -> str:
    """Return the key of the stores file that a field is read from."""
    return OTHER_NAMES.get(field, field)


def table_model(name: str, *classes: Any, config: ConfigDict) -> type[BaseModel]:
    """Make the model of one table, with the fields of all `classes`. No key is required: it may be in [defaults]."""
    hints = {name: hint for cls in classes for name, hint in get_type_hints(cls, include_extras=True).items()}
    keys: Any = {name: (hint, None) for name, hint in hints.items() if name not in NOT_IN_FILE}
    return create_model(name, __config__=config, **keys)


FILE = ConfigDict(extra="forbid", alias_generator=key_of)
StoreTable = table_model("Store", Store, Pixel, config=FILE)
ConnectorTable = table_model("Retention", Retention, config=FILE)


def usual_tables(name: str) -> Table:
    """Return the tables of the store `name` whose keys have a default each."""
    (events,) = (field.default_factory for field in fields(Store) if field.name == "events")
    assert events is not MISSING
    ids = EventIdTemplates.of_store(name)
    return {
        "events": {milestone: list(names) for milestone, names in events().items()},
        "event_id": {field.name: getattr(ids, field.name) for field in fields(ids)},
    }


def validate(model: type[BaseModel], values: Table, usual: Table) -> tuple[Table, list[ErrorDetails]]:
    """The fields that `values` (over the tables of `usual`) gives, and the faults of all that it does not give."""
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
    """Remove what is at `loc`, and of a list the whole list."""
    key, *rest = loc
    if rest and isinstance(rest[0], str) and isinstance(values.get(str(key)), dict):
        _remove(values[str(key)], tuple(rest))
    else:
        values.pop(str(key), None)


def joined(place: str, *keys: int | str) -> str:
    """The dotted path of `keys` in `place` ("" is the document), as TOML would write it."""
    for key in keys:
        written = key if isinstance(key, int) or re.fullmatch("[A-Za-z0-9_-]+", key) else json.dumps(key)
        place = f"{place}[{key}]" if isinstance(key, int) else f"{place}.{written}" if place else str(written)
    return place
