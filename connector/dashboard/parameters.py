"""The parameters that dashboard requests have in common; a wrong value never raises anything but BadRequest."""

from collections.abc import Mapping
from datetime import UTC, datetime

from flask import request
from werkzeug.exceptions import BadRequest

from connector.config.settings import Config
from connector.core.units import DAY
from connector.dashboard.login import OUTDATED_FORM


def chosen_store(config: Config, values: Mapping[str, str]) -> str:
    """Return the name of the configured store that `store` names, or "" for all stores."""
    name = values.get("store", "")
    return name if name in config.stores else ""


def chosen_state(values: Mapping[str, str]) -> str:
    """Return the state of failed events to show: "rejected" unless `state` is "expired"."""
    return "expired" if values.get("state") == "expired" else "rejected"


def form_row() -> int | None:
    """Return the row that a form is about, or None if it is about all rows. Raises BadRequest if `id` is no number."""
    given = request.form.get("id")
    if given is None:
        return None
    if not is_row_id(given):
        raise BadRequest(OUTDATED_FORM)
    return int(given)


def page_start() -> tuple[float, int] | None:
    """Return the position in `before` as (Unix seconds, row): the page shows older events. None for the first page."""
    return _position("before")


def chosen_day(values: Mapping[str, str]) -> int:
    """Return the start of the day in `day`, "2026-11-24", in Unix seconds; of today if it is none."""
    try:
        day = datetime.strptime(values.get("day", "")[:10], "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        day = datetime.now(UTC)
    return int(day.timestamp()) // DAY * DAY


def list_position() -> tuple[float, int] | None:
    """Return the position in `after` as (Unix seconds, row), from which a list goes on. None for the first page."""
    return _position("after")


def _position(name: str) -> tuple[float, int] | None:
    moment, _, row = request.args.get(name, "").partition(":")
    try:
        return (float(moment), int(row)) if is_row_id(row) else None
    except ValueError:
        return None


def is_row_id(text: str) -> bool:
    """True if the text is a number that fits a row id of the database."""
    return text.isascii() and text.isdecimal() and len(text) < 19
