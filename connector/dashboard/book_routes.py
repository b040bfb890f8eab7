"""The page `/books`: how many of a shop's orders arrived, and what is left of what was sent, by day; and `/orders`.

Each number of `/books` leads to `/orders`, the list of the orders that it counts.
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from flask import Blueprint, Response, render_template, request

from connector.config.settings import Config
from connector.core.platform import Platform
from connector.core.registry import BrokenPlatform
from connector.core.store import Store
from connector.core.units import DAY
from connector.dashboard import labels
from connector.dashboard.addresses import address, story_address
from connector.dashboard.login import LoginGuard
from connector.dashboard.page_parts import csv_answer
from connector.dashboard.parameters import chosen_day, chosen_store
from connector.dashboard.tables import Cell, Column, Row, Table, Value
from connector.monitoring.accuracy import Accuracy, DayAccuracy, FoundOrder
from connector.monitoring.book_sums import BookLine, Books, totals
from connector.monitoring.event_stats import major_units
from connector.storage.database import Database

SHOWN = 14  # days
MOST_ORDERS = 200  # of a day that the page shows; the CSV has all
KINDS = ("sent", "skipped", "waiting", "missing")
DAY_COLUMNS = (
    Column("day", "day"), Column("arrived", "percent", decimals=2), Column("orders", "number"),
    *(Column(kind, "number") for kind in KINDS), Column("why", long=True),
)  # fmt: skip
MONEY = ("sent", "cancelled", "refunded", "net")
BOOK_COLUMNS = (
    Column("day", "day"), Column("event"), Column("pixel", "code"), Column("currency"), Column("orders", "number"),
    *(Column(name, "number") for name in MONEY), Column("stayed", "percent", decimals=1),
)  # fmt: skip
ORDER_COLUMNS = (Column("order"), Column("placed", "time"), Column("outcome"), Column("reason", long=True))
SOLD_COLUMNS = (
    Column("order"), Column("happened", "time"), Column("currency"), Column("sent", "number"), Column("net", "number"),
    Column("cancelled"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class StoreBooks:
    """One store's days: accuracy, if it is reconciled, and sums, if it keeps books."""

    store: Store
    has_api: bool  # so that it could be reconciled
    days: Table
    totals: Table
    lines: Table


def add_book_routes(
    blueprint: Blueprint, guard: LoginGuard, config: Config, database: Database, platforms: Mapping[str, Platform]
) -> None:
    """Add `/books` and `/orders`."""
    sums, accuracy = Books(database), Accuracy(database)

    @blueprint.get("/books")
    @guard.login_required
    def books() -> Response | str:
        chosen, now = chosen_store(config, request.args), time.time()
        since = int(now) // DAY * DAY - (SHOWN - 1) * DAY
        found = []
        for name, store in config.stores.items():
            if chosen in ("", name):
                days = accuracy.days(name, since) if store.reconcile else []
                lines = sums.lines(name, since, now + 1) if store.books else []
                tables = _day_table(name, days), _total_table(store, lines), _line_table(store, lines)
                found.append(StoreBooks(store, _has_api(platforms, store), *tables))
        if answer := csv_answer(table for one in found for table in (one.days, one.totals, one.lines)):
            return answer
        return render_template("books.html", found=found, chosen=chosen, stores=config.stores, days=SHOWN)

    @blueprint.get("/orders")
    @guard.login_required
    def orders() -> Response | str | tuple[str, int]:
        store, day = chosen_store(config, request.args), chosen_day(request.args)
        if not store:
            return render_template("failed.html", status=404, sentence="There is no such store."), 404
        event = request.args.get("event", "")
        kind = next((kind for kind in KINDS if kind == request.args.get("kind")), "")
        table = (
            _sold_table(sums, store, day, request.args)
            if event
            else _order_table(store, accuracy.orders(store, day, kind))
        )
        if answer := csv_answer([table]):
            return answer
        number = sum(1 for _ in table.all_rows()) if table.all_rows else 0
        return render_template("orders.html", table=table, number=number, store=store, day=day, event=event, kind=kind)


def latest_accuracy(database: Database, stores: Iterable[Store], now: float) -> dict[str, DayAccuracy]:
    """Return the latest known day of each reconciled store that has one."""
    accuracy = Accuracy(database)
    found = {store.name: accuracy.latest(store.name, now) for store in stores if store.reconcile}
    return {name: day for name, day in found.items() if day is not None}


def _has_api(platforms: Mapping[str, Platform], store: Store) -> bool:
    """Return False if the shop's API is not supported, so that its orders cannot be compared."""
    try:
        return bool(platforms[store.platform].facts.api_credentials)
    except BrokenPlatform:
        return True


def _day_table(store: str, days: Iterable[DayAccuracy]) -> Table:
    return Table(f"arrived-{store}", f"Orders of {store} that arrived", DAY_COLUMNS, [_day_row(day) for day in days])


def _day_row(day: DayAccuracy) -> Row:
    numbers = {
        "": day.orders, "sent": day.sent, "skipped": sum(day.skipped.values()), "waiting": day.waiting,
        "missing": sum(day.missing.values()),
    }  # fmt: skip
    date = labels.at(day.day)[:10]
    cells = (
        Cell(number, address("orders", store=day.store, day=date, kind=kind) if number else "")
        for kind, number in numbers.items()
    )
    share = None if day.share is None else 100 * day.reached / day.orders
    known = "" if share is not None else "no order" if day.complete and not day.orders else "not known yet"
    reasons = [f"missing {number} × {reason}." for reason, number in day.missing.items()]
    reasons += [f"skipped {number} × {reason}." for reason, number in day.skipped.items()]
    return (day.day, Cell(share, beside=known), *cells, " ".join(reasons))


def _line_table(store: Store, lines: Iterable[BookLine]) -> Table:
    title = f"What of {store.name} was sent and is left"
    columns = [column for column in BOOK_COLUMNS if column.title != "pixel" or len(store.pixels) > 1]
    return Table(f"earned-{store.name}", title, columns, [_line_row(line, columns) for line in lines])


def _total_table(store: Store, lines: Iterable[BookLine]) -> Table:
    title = f"What of {store.name} was sent and is left in {SHOWN} days"
    columns = [
        column
        for column in BOOK_COLUMNS
        if column.title != "day" and (column.title != "pixel" or len(store.pixels) > 1)
    ]
    rows = [[_value(line, column.title) for column in columns] for line in totals(lines)]
    return Table(f"sum-{store.name}", title, columns, rows)


def _line_row(line: BookLine, columns: Iterable[Column]) -> Row:
    chosen = {"store": line.store, "event": line.event, "pixel": line.pixel, "currency": line.currency}
    orders = Cell(line.orders, address("orders", day=labels.at(line.day)[:10], **chosen))
    return [orders if column.title == "orders" else _value(line, column.title) for column in columns]


def _value(line: BookLine, name: str) -> Value:
    """Return a line's value of the column with this title."""
    if name == "stayed":
        return 100 * line.net / line.sent if line.sent else None
    value: Value = getattr(line, name)
    return major_units(getattr(line, name), line.currency) if name in MONEY else value


def _order_table(store: str, found: Iterable[FoundOrder]) -> Table:
    rows = [
        (
            Cell(labels.subject(one.object_key, one.order_number), story_address(store, one.object_key)),
            one.placed_at,
            one.kind,
            one.reason,
        )
        for one in found
    ]
    return Table("orders", "Orders", ORDER_COLUMNS, rows[:MOST_ORDERS], lambda: rows)


def _sold_table(sums: Books, store: str, day: int, args: Mapping[str, str]) -> Table:
    found = sums.orders(store, day, args["event"], args.get("pixel", ""), args.get("currency", ""))
    rows = [
        (
            Cell(one.order, story_address(store, one.object_key)),
            one.occurred_at,
            one.currency,
            major_units(one.sent, one.currency),
            major_units(one.net, one.currency),
            "cancelled" if one.cancelled else "",
        )
        for one in found
    ]
    return Table("orders", "Orders", SOLD_COLUMNS, rows[:MOST_ORDERS], lambda: rows)
