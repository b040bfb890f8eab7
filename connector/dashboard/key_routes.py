"""The page `/match-keys`: the share of each event's accepted copies that had each match key, over weeks."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from flask import Blueprint, Response, render_template, request

from connector.config.settings import Config
from connector.core.store import Store
from connector.core.units import DAY
from connector.dashboard.line_chart import LineChart
from connector.dashboard.login import LoginGuard
from connector.dashboard.page_parts import csv_answer
from connector.dashboard.parameters import chosen_store
from connector.dashboard.tables import Table
from connector.monitoring.event_stats import KEYS
from connector.monitoring.key_trends import KeyDay, KeyTrends
from connector.storage.database import Database

SHOWN = 56  # days
SMOOTHED = 7  # days that a point stands for, so that few orders a day make a line, too
CLASSES = {key: f"key-{number}" for number, key in enumerate(KEYS)}


@dataclass(frozen=True, slots=True)
class StoreKeys:
    """One store's charts, one for each event and pixel."""

    store: Store
    charts: list[tuple[LineChart, Table]]


def add_key_routes(blueprint: Blueprint, guard: LoginGuard, config: Config, database: Database) -> None:
    """Add `/match-keys`."""
    trends = KeyTrends(database)

    @blueprint.get("/match-keys")
    @guard.login_required
    def match_keys() -> Response | str:
        # One store at a time: a year of an agency's shops is too much for a page.
        chosen = chosen_store(config, request.args) or next(iter(config.stores))
        store = config.stores[chosen]
        found = enumerate(_charts(store, trends, time.time()), 1)
        charts = [(chart, chart.table(f"keys-{chosen}-{number}")) for number, chart in found]
        if answer := csv_answer(table for _, table in charts):
            return answer
        return render_template("keys.html", one=StoreKeys(store, charts), chosen=chosen, stores=config.stores)


def _charts(store: Store, trends: KeyTrends, now: float) -> Iterator[LineChart]:
    first = int(now) // DAY * DAY - (SHOWN + SMOOTHED - 1) * DAY
    several = len(store.pixels) > 1
    for (pixel, event), days in trends.daily(store.name, first, now).items():
        shown = days[SMOOTHED - 1 :]
        if any(day.total for day in shown):
            yield LineChart(
                f"{event} {pixel}" if several else event,
                {CLASSES[key]: key for key in KEYS},
                [day.day for day in shown],
                {CLASSES[key]: _smoothed(days, key) for key in KEYS},
            )


def _smoothed(days: Sequence[KeyDay], key: str) -> list[float | None]:
    """Return the share of each day with the six before it; None if they had no event."""
    shares: list[float | None] = []
    for end in range(SMOOTHED, len(days) + 1):
        week = days[end - SMOOTHED : end]
        total = sum(day.total for day in week)
        shares.append(sum(day.keys[key] for day in week) / total if total else None)
    return shares
