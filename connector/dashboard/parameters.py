"""The parameters that dashboard requests have in common; a wrong value never raises anything but BadRequest."""

from collections.abc import Mapping

from flask import request
from werkzeug.exceptions import BadRequest

from connector.config.settings import Config
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
    moment, _, row = request.args.get("before", "").partition(":")
    try:
        return (float(moment), int(row)) if is_row_id(row) else None
    except ValueError:
        return None


def is_row_id(text: str) -> bool:
    """True if the text is a number that fits a row id of the database."""
    return text.isascii() and text.isdecimal() and len(text) < 19
