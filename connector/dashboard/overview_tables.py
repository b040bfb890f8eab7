"""The tables of the overview page. Their numbers lead to the lists of the events that they count."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from itertools import groupby

from connector.core.units import DAY
from connector.dashboard.addresses import address, events_address
from connector.dashboard.overview import COVERAGE_DAYS, Coverage, Overview
from connector.dashboard.tables import Cell, Column, Row, Table
from connector.monitoring.event_stats import KEYS


def coverage_table(overview: Overview) -> Table:
    """Return how many accepted events had each match key; of several stores one event each."""
    columns = [Column("accepted", "number"), *(Column(_spaced(key), "percent", bar=True) for key in KEYS)]
    since = overview.now - COVERAGE_DAYS * DAY

    def numbers(row: Coverage) -> Row:
        return (Cell(row.accepted, _accepted(row.source, row.event, since)), *map(row.share, KEYS))

    if len(overview.stores) == 1:
        rows: list[Row] = [(Cell(row.event, beside=row.source), *numbers(row)) for row in overview.coverage]
        return Table(
            "match-keys", "Match keys", [Column("event", beside="source"), *columns], rows, stacked=True, grouped=True
        )

    rows = [(Cell(row.source, _store_address(row.source), row.event), *numbers(row)) for row in _main_rows(overview)]
    return Table("match-keys", "Match keys", [Column("store", beside="event"), *columns], rows, stacked=True)


def _main_rows(overview: Overview) -> Iterator[Coverage]:
    """Yield the row of each source that says most: of its paid orders, else of its placed ones, else the largest."""
    stores = {health.store.name: health.store for health in overview.stores}
    for source, rows in groupby(overview.coverage, key=lambda row: row.source):
        store = stores[source.partition(" ")[0]]
        paid, placed = store.all_event_names("order_paid"), store.all_event_names("order_placed")
        yield max(rows, key=lambda row: (row.event in paid, row.event in placed, row.accepted))


def skip_table(overview: Overview) -> Table:
    """Return the skipped webhooks by reason, with what each means and the setting that changes it."""
    columns = (
        Column("reason", beside="store", long=True), Column("webhooks", "number"), Column("share", "percent"),
        Column("what it means", long=True), Column("setting", long=True),
    )  # fmt: skip
    rows: list[Row] = [
        (
            Cell(one.reason, beside=store),
            one.number,
            100 * one.number / skips.total,
            one.explanation.meaning or None,
            one.explanation.setting or None,
        )
        for store, skips in overview.skips.items()
        for one in skips.reasons
    ]
    return Table("skipped", "Skipped webhooks", columns, rows, stacked=True, grouped=True)


def customer_table(overview: Overview) -> Table:
    """Return how many accepted events were a new customer's; empty where no event says it."""
    columns = (
        Column("event", beside="source"),
        *(Column(name, "number") for name in ("new", "returning", "not known")),
    )
    rows = [
        (
            Cell(row.event, beside=row.source),
            row.customers.get("new", 0),
            row.customers.get("returning", 0),
            row.accepted - sum(row.customers.values()),
        )
        for row in overview.coverage
        if row.customers
    ]
    return Table("customers", "New and returning customers", columns, rows, grouped=True)


def browser_table(overview: Overview) -> Table:
    """Return what browsers reported, by step; of several stores all steps together."""
    columns = (Column("taken", "number"), Column("not taken"))

    def numbers(outcomes: Mapping[str, int]) -> Row:
        others = (f"{number:,} {outcome}" for outcome, number in outcomes.items() if outcome != "taken")
        return outcomes.get("taken", 0), ", ".join(others) or None

    title = "Reported by browsers"
    if len(overview.stores) == 1:
        rows: list[Row] = [
            (Cell(_spaced(milestone) or "not known", beside=store), *numbers(found))
            for store, milestone, found in overview.browsers
        ]
        return Table("browsers", title, (Column("step", beside="store"), *columns), rows, grouped=True)
    sums: dict[str, Counter[str]] = defaultdict(Counter)
    for store, _, found in overview.browsers:
        sums[store].update(found)
    rows = [(Cell(store, _store_address(store)), *numbers(dict(sum_.most_common()))) for store, sum_ in sums.items()]
    return Table("browsers", title, (Column("store"), *columns), rows)


def value_table(overview: Overview) -> Table:
    """Return the value of accepted orders by day; each amount leads to the events that have it."""
    columns = [Column("day", "day")]
    columns += [Column(f"{event} {currency} {source}", "number") for source, event, currency in overview.value_columns]
    rows: list[Row] = []
    for day, amounts in overview.values:
        named = zip(overview.value_columns, amounts, strict=True)
        cells = [Cell(sum_, _accepted(source, event, day, day + DAY)) for (source, event, _), sum_ in named]
        rows.append([day, *cells])
    return Table("value", "Value sent", columns, rows)


def _store_address(source: str) -> str:
    return address("home", store=source.partition(" ")[0])


def _accepted(source: str, event: str, since: float, until: float | None = None) -> str:
    store, _, pixel = source.partition(" ")  # a source is a store, and its pixel if it has several
    return events_address("accepted", since, until, store=store, pixel=pixel, event=event)


def _spaced(key: str) -> str:
    return key.replace("_", " ").replace("+", " + ")
