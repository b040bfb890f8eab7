"""The tables of the overview page. Their numbers lead to the lists of the events that they count."""

from connector.core.units import DAY
from connector.dashboard.addresses import events_address
from connector.dashboard.overview import COVERAGE_DAYS, Overview
from connector.dashboard.tables import Cell, Column, Row, Table
from connector.monitoring.event_stats import KEYS


def coverage_table(overview: Overview) -> Table:
    """Return how many accepted events had each match key."""
    columns = [Column("event", beside="source"), Column("accepted", "number")]
    columns += [Column(_spaced(key), "percent", bar=True) for key in KEYS]
    since = overview.now - COVERAGE_DAYS * DAY
    rows: list[Row] = [
        (
            Cell(row.event, beside=row.source),
            Cell(row.accepted, _accepted(row.source, row.event, since)),
            *map(row.share, KEYS),
        )
        for row in overview.coverage
    ]
    return Table("match-keys", "Match keys", columns, rows, stacked=True, grouped=True)


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
    """Return what browsers reported, by step; empty where nothing was."""
    rows = [
        (
            Cell(_spaced(milestone) or "not known", beside=store),
            outcomes.get("taken", 0),
            ", ".join(f"{number:,} {outcome}" for outcome, number in outcomes.items() if outcome != "taken") or None,
        )
        for store, milestone, outcomes in overview.browsers
    ]
    columns = (Column("step", beside="store"), Column("taken", "number"), Column("not taken"))
    return Table("browsers", "Reported by browsers", columns, rows, grouped=True)


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


def _accepted(source: str, event: str, since: float, until: float | None = None) -> str:
    store, _, pixel = source.partition(" ")  # a source is a store, and its pixel if it has several
    return events_address("accepted", since, until, store=store, pixel=pixel, event=event)


def _spaced(key: str) -> str:
    return key.replace("_", " ").replace("+", " + ")
