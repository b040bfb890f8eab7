"""Parts shared by the templates of all pages: elements of time, and the download of a table as CSV."""

import re
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from urllib.parse import urlencode

from flask import Blueprint, Response, request, stream_with_context
from flask.blueprints import BlueprintSetupState
from markupsafe import Markup

from connector.core.text import utc_second
from connector.dashboard.tables import Table, csv_chunks


def add_page_parts(blueprint: Blueprint) -> None:
    """Add the filters `time`, `minute`, `day` and `form_time`, and the function `this_page`, to the templates.

    They are the environment's, because an imported macro sees nothing of the page's context.
    """

    def add(state: BlueprintSetupState) -> None:
        environment = state.app.jinja_env
        environment.filters |= {
            "time": time_element, "minute": minute_element, "day": day_element, "form_time": form_time,
        }  # fmt: skip
        environment.globals["this_page"] = this_page

    blueprint.record(add)


def time_element(moment: float | None) -> Markup:
    """Return Unix seconds as an element with the UTC time, beside which a script writes the browser's; "" for None."""
    return _element(moment, slice(0, 19))


def minute_element(moment: float | None) -> Markup:
    """Return Unix seconds as an element, without the year and to the minute: "11-24 10:05"."""
    return _element(moment, slice(5, 16))


def day_element(day: float) -> Markup:
    """Return the start of a day (UTC, Unix seconds) as an element: "2026-11-24"."""
    text = utc_second(day)[:10]
    return Markup('<time datetime="{0}">{0}</time>').format(text)


def _element(moment: float | None, shown: slice) -> Markup:
    if moment is None:
        return Markup()
    text = utc_second(moment)
    return Markup('<time datetime="{}Z">{}</time>').format(text.replace(" ", "T"), text[shown])


def form_time(moment: float) -> str:
    """Return Unix seconds as the field of a form has them: UTC, to the minute."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M")


def this_page(**changed: str) -> str:
    """Return the address of the current page with changed parameters. A table's CSV is at the page's, with `csv`."""
    return f"{request.path}?{urlencode(request.args.to_dict() | changed)}"


def csv_answer(tables: Iterable[Table]) -> Response | None:
    """Return the one of a page's tables that the request asks for as CSV, sent as it is read; None for the page itself.

    Raises CannotStore if not even the first rows can be read; a later failure breaks the download off.
    """
    wanted = request.args.get("csv")
    table = next((table for table in tables if table.name == wanted), None)
    if table is None:
        return None
    chunks = csv_chunks(table)
    name = f"{re.sub(r'[^a-z0-9-]+', '-', table.name.lower())}-{time.strftime('%Y-%m-%d', time.gmtime())}.csv"
    return Response(
        stream_with_context(_after(next(chunks), chunks)),
        mimetype="text/csv",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _after(first: str, others: Iterator[str]) -> Iterator[str]:
    yield first
    yield from others
