"""The page `/merges`: what TikTok makes of the copies of browser and server, and the snippet that reports them."""

import time
from dataclasses import dataclass

from flask import Blueprint, render_template, request

from connector.config.settings import Config
from connector.core.store import Store
from connector.core.units import DAY
from connector.dashboard.charts import Chart, spans
from connector.dashboard.login import LoginGuard
from connector.dashboard.parameters import chosen_store
from connector.monitoring.merges import MergeLine, Merges
from connector.monitoring.snippets import SnippetState, snippet_state
from connector.storage.database import Database

SHOWN = 14  # days of the charts
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
    lines: list[MergeLine]
    charts: list[Chart]


def add_merge_routes(blueprint: Blueprint, guard: LoginGuard, config: Config, database: Database) -> None:
    """Add `/merges`."""
    merges = Merges(database)

    @blueprint.get("/merges")
    @guard.login_required
    def merges_page() -> str:
        chosen, now = chosen_store(config, request.args), time.time()
        found = [_read(store, merges, database, now) for name, store in config.stores.items() if chosen in ("", name)]
        return render_template("merges.html", found=found, days=RECENT, chosen=chosen, stores=config.stores, now=now)


def _read(store: Store, merges: Merges, database: Database, now: float) -> StoreMerges:
    if not store.meter:
        return StoreMerges(store, None, [], [])
    since = int(now) // DAY * DAY - (RECENT - 1) * DAY
    starts = spans(now, DAY, SHOWN)
    daily = merges.daily(store, starts[0], now)
    return StoreMerges(
        store, snippet_state(database, store), merges.lines(store, since, now), [*_charts(daily, starts)]
    )


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
