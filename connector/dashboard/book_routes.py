"""The page `/books`: how many of a shop's orders arrived, and what is left of what was sent, by day."""

import time
from collections.abc import Iterable
from dataclasses import dataclass

from flask import Blueprint, render_template, request

from connector.config.settings import Config
from connector.core.store import Store
from connector.core.units import DAY
from connector.dashboard.login import LoginGuard
from connector.dashboard.parameters import chosen_store
from connector.monitoring.accuracy import Accuracy, DayAccuracy
from connector.monitoring.book_sums import BookLine, Books
from connector.monitoring.event_stats import amount
from connector.storage.database import Database

SHOWN = 14  # days


@dataclass(frozen=True, slots=True)
class StoreBooks:
    """One store's days: accuracy, if it is reconciled, and sums, if it keeps books."""

    store: Store
    days: list[DayAccuracy]
    lines: list[BookLine]


def add_book_routes(blueprint: Blueprint, guard: LoginGuard, config: Config, database: Database) -> None:
    """Add `/books`."""
    sums, accuracy = Books(database), Accuracy(database)

    @blueprint.get("/books")
    @guard.login_required
    def books() -> str:
        chosen, now = chosen_store(config, request.args), time.time()
        since = int(now) // DAY * DAY - (SHOWN - 1) * DAY
        found = [
            StoreBooks(
                store,
                accuracy.days(name, since) if store.reconcile else [],
                sums.lines(name, since, now + 1) if store.books else [],
            )
            for name, store in config.stores.items()
            if chosen in ("", name)
        ]
        return render_template("books.html", found=found, amount=amount, chosen=chosen, stores=config.stores)


def latest_accuracy(database: Database, stores: Iterable[Store], now: float) -> dict[str, DayAccuracy]:
    """Return the latest known day of each reconciled store that has one."""
    accuracy = Accuracy(database)
    found = {store.name: accuracy.latest(store.name, now) for store in stores if store.reconcile}
    return {name: day for name, day in found.items() if day is not None}
