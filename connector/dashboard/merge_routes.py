"""The page `/merges`: what TikTok makes of the copies of browser and server, and the snippet that reports them."""

import time
from collections.abc import Iterable
from dataclasses import dataclass

from flask import Blueprint, Response, render_template, request

from connector.config.settings import Config
from connector.core.store import Store
from connector.core.text import duration, percent
from connector.core.units import DAY
from connector.dashboard.addresses import events_address
from connector.dashboard.charts import Chart, spans
from connector.dashboard.login import LoginGuard
from connector.dashboard.page_parts import csv_answer
from connector.dashboard.parameters import chosen_store
from connector.dashboard.tables import Cell, Column, Row, Table, Value
from connector.monitoring.merges import MergeLine, Merges, total
from connector.monitoring.snippets import SnippetState, snippet_state
from connector.storage.database import Database

SHOWN = 14  # days of the charts
COLUMNS = (
    Column("event"), Column("pixel", "code"), Column("orders", "number"),
    *(Column(title, "number", beside=f"{title}, share")
      for title in ("merged", "dropped as a late copy", "server only", "browser only", "counted twice")),
    Column("other value", "number"), Column("apart, median"), Column("apart, 95 %"),
)  # fmt: skip
RECENT = 7  # days of the table
# Classes of the style sheet → labels.
COPIES = {
    "accepted": "merged",
    "tested": "dropped as a late copy",
    "relayed": "server only",
    "skipped": "browser only",
    "failed": "counted twice",
}


@dataclass(frozen=True, slots=True)
class StoreMerges:
    """One store's figures; none of a store without a meter."""

    store: Store
    snippet: SnippetState | None
    lines: Table
    charts: dict[str, Chart]  # by the names of their tables


def add_merge_routes(blueprint: Blueprint, guard: LoginGuard, config: Config, database: Database) -> None:
    """Add `/merges`."""
    merges = Merges(database)

    @blueprint.get("/merges")
    @guard.login_required
    def merges_page() -> Response | str:
        chosen, now = chosen_store(config, request.args), time.time()
        found = [_read(store, merges, database, now) for name, store in config.stores.items() if chosen in ("", name)]
        charts = (chart.table(name) for one in found for name, chart in one.charts.items())
        if answer := csv_answer([*(one.lines for one in found), *charts]):
            return answer
        return render_template("merges.html", found=found, days=RECENT, chosen=chosen, stores=config.stores, now=now)


def _read(store: Store, merges: Merges, database: Database, now: float) -> StoreMerges:
    if not store.meter:
        return StoreMerges(store, None, _table(store, []), {})
    since = int(now) // DAY * DAY - (RECENT - 1) * DAY
    starts = spans(now, DAY, SHOWN)
    daily = merges.daily(store, starts[0], now)
    charts = {f"{store.name}-chart{number}": chart for number, chart in enumerate(_charts(daily, starts), 1)}
    lines = total(found for day, found in daily.items() if day >= since)
    return StoreMerges(store, snippet_state(database, store), _table(store, lines, since), charts)


def _table(store: Store, lines: Iterable[MergeLine], since: float = 0.0) -> Table:
    columns = [column for column in COLUMNS if column.title != "pixel" or len(store.pixels) > 1]
    rows = [_row(store, line, columns, since) for line in lines]
    return Table(f"copies-{store.name}", f"Copies of {store.name}", columns, rows, stacked=True)


def _row(store: Store, line: MergeLine, columns: Iterable[Column], since: float) -> Row:
    sent = events_address("accepted", since, store=store.name, pixel=line.pixel, event=line.event)
    orders = Cell(line.orders, sent if line.orders else "")
    values: dict[str, Cell | Value] = {
        "event": line.event, "pixel": line.pixel, "orders": orders, "merged": _part(line, line.merged),
        "dropped as a late copy": _part(line, line.dropped), "server only": _part(line, line.server, line.blocked),
        "browser only": _part(line, line.browser), "counted twice": _part(line, line.twice),
        "other value": line.differs if line.same or line.differs else None,
        "apart, median": None if line.median is None else duration(line.median),
        "apart, 95 %": None if line.p95 is None else duration(line.p95),
    }  # fmt: skip
    return [values[column.title] for column in columns]


def _part(line: MergeLine, number: int, blocked: int = 0) -> Cell:
    said = percent(number, line.orders, 1) if line.orders else ""
    return Cell(number, beside=f"{said} · {blocked:,} blocked" if blocked else said)


def _charts(daily: dict[int, list[MergeLine]], starts: list[int]) -> list[Chart]:
    places = sorted({(line.event, line.pixel) for lines in daily.values() for line in lines})
    several = len({pixel for _, pixel in places}) > 1
    return [
        Chart(
            f"{event}, last {SHOWN} days" + (f" ({pixel})" if several else ""),
            COPIES,
            starts,
            [_counts(daily.get(start, []), event, pixel) for start in starts],
            DAY,
        )
        for event, pixel in places
    ]


def _counts(lines: list[MergeLine], event: str, pixel: str) -> dict[str, int]:
    for line in lines:
        if (line.event, line.pixel) == (event, pixel):
            numbers = (line.merged, line.dropped, line.server, line.browser, line.twice)
            return dict(zip(COPIES, numbers, strict=True))
    return {}
