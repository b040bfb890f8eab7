"""`connector books` and `connector accuracy`: what a shop really earned, and whether all its orders arrived."""

import csv
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from connector.cli.context import configuration, database, fail, open_database, parse_time, platform_of, store_named
from connector.core.text import how_many, percent

if TYPE_CHECKING:
    from connector.monitoring.accuracy import DayAccuracy
    from connector.monitoring.book_sums import BookLine, BookOrder

_COLUMNS = ("day", "pixel", "event", "currency", "orders", "sent", "cancelled", "refunded", "net", "stayed")
_ORDER_COLUMNS = ("order", "at", "pixel", "event", "currency", "sent", "net", "cancelled")


@click.command()
@click.argument("store")
@click.option("--since", default="30d", show_default=True, help="Events since then: a date, a time, or an age.")
@click.option("--until", help="Events before then. Default: now")
@click.option("--orders", is_flag=True, help="List the orders of which not all is left, in place of the sums of days.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def books(store: str, since: str, until: str | None, orders: bool, as_csv: bool, as_json: bool) -> None:
    """Show what STORE's orders were sent as, and what is left.

    By day, pixel, event and currency.

    Needs `books = true` in [stores.STORE]; from then on cancellations and refunds are kept. TikTok has no event for
    them, so Ads Manager goes on reporting what was sent; net is what the shop kept. Days are UTC, by the event's time.
    """
    if as_csv and as_json:
        raise click.UsageError("give either --csv or --json")
    from connector.monitoring.book_sums import Books, totals

    config = configuration()
    chosen = store_named(config, store)
    start, end = parse_time(since) or 0.0, parse_time(until) or time.time() + 1
    if start >= end:
        raise click.UsageError("--since must be before --until and before now")
    if not chosen.books:
        fail(f"store {store} keeps no books; set books = true in [stores.{store}], then `connector webhooks register`")
    read = Books(database(lambda: open_database(config)))
    if orders:
        found = [_order_row(one) for one in database(lambda: read.changed(store, start, end))]
        _print({"store": store, "orders": found}, _ORDER_COLUMNS, found, as_csv, as_json)
        return
    lines = database(lambda: read.lines(store, start, end))
    found = [_day_row(line) for line in lines]
    total = [_day_row(line) | {"day": "total"} for line in totals(lines)]
    shown = found if as_csv else found + total
    _print({"store": store, "days": found, "total": total}, _COLUMNS, shown, as_csv, as_json)


def _day_row(line: "BookLine") -> dict[str, Any]:
    from connector.monitoring.event_stats import major_units

    amounts = {
        name: major_units(getattr(line, name), line.currency) for name in ("sent", "cancelled", "refunded", "net")
    }
    stayed = None if line.share is None else round(line.share, 4)
    return {
        "day": f"{datetime.fromtimestamp(line.day, UTC):%Y-%m-%d}", "pixel": line.pixel, "event": line.event,
        "currency": line.currency, "orders": line.orders, **amounts, "stayed": stayed,
    }  # fmt: skip


def _order_row(one: "BookOrder") -> dict[str, Any]:
    from connector.monitoring.event_stats import major_units

    return {
        "order": one.order, "at": f"{datetime.fromtimestamp(one.occurred_at, UTC):%Y-%m-%dT%H:%M:%SZ}",
        "pixel": one.pixel, "event": one.event, "currency": one.currency, "sent": major_units(one.sent, one.currency),
        "net": major_units(one.net, one.currency), "cancelled": one.cancelled,
    }  # fmt: skip


def _print(
    found: dict[str, Any], columns: tuple[str, ...], rows: list[dict[str, Any]], as_csv: bool, as_json: bool
) -> None:
    """Print `found` as JSON, or the rows as CSV or a table."""
    import msgspec

    if as_json:
        click.echo(msgspec.json.Encoder(decimal_format="number").encode(found).decode())
    elif as_csv:
        writer = csv.DictWriter(sys.stdout, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    elif not rows:
        click.echo("nothing is in the books of this time")
    else:
        for line in table(columns, rows):
            click.echo(line)


def table(columns: Iterable[str], rows: list[dict[str, Any]]) -> list[str]:
    """Return the rows as aligned text, numbers to the right."""
    names = [*columns]
    texts = [
        [percent(row["net"], row["sent"], 1) if name == "stayed" else _text(row[name]) for name in names]
        for row in rows
    ]
    widths = [max(len(name), *(len(line[at]) for line in texts)) for at, name in enumerate(names)]
    right = [not isinstance(rows[0][name], str) for name in names]
    return [
        "  ".join(
            cell.rjust(width) if is_number else cell.ljust(width)
            for cell, width, is_number in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in (names, *texts)
    ]


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else f"{value:,}"


@click.command()
@click.argument("store")
@click.option("--since", default="14d", show_default=True, help="Orders since then: a date, a time, or an age.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def accuracy(store: str, since: str, as_json: bool) -> None:
    """Show how many of STORE's orders were sent or are missing.

    By day (UTC). An order that was deliberately skipped is not missing.

    Reconciliation (`reconcile` in [stores.STORE]) sees every order of the shop; after each round the last days are
    counted again. A day is known when a round has passed its end and none of its orders still waits to be sent.
    """
    import msgspec

    from connector.monitoring.accuracy import Accuracy

    config = configuration()
    chosen = store_named(config, store)
    start = parse_time(since) or 0.0
    if not chosen.reconcile and not platform_of(chosen).facts.api_credentials:
        fail(f"store {store}: the API of {platform_of(chosen).title} is not supported, so its orders cannot be counted")
    if not chosen.reconcile:
        fail(f'store {store} is not reconciled; set reconcile = "15m" in [stores.{store}], which needs keys in its api')
    days = database(lambda: Accuracy(open_database(config)).days(store, start))
    if as_json:
        click.echo(msgspec.json.encode({"store": store, "days": [accuracy_row(day) for day in days]}).decode())
        return
    if not days:
        click.echo("not known yet: no round of reconciliation has ended (the first begins with `connector serve`)")
    for day in days:
        for line in _accuracy_lines(day):
            click.echo(line)


def accuracy_row(day: "DayAccuracy") -> dict[str, Any]:
    """Return a day for machines; `share` is null while it is not known."""
    return {
        "day": f"{datetime.fromtimestamp(day.day, UTC):%Y-%m-%d}",
        "orders": day.orders,
        "sent": day.sent,
        "waiting": day.waiting,
        "skipped": day.skipped,
        "missing": day.missing,
        "share": day.share,
    }


def _accuracy_lines(day: "DayAccuracy") -> Iterable[str]:
    share = "not known yet" if day.share is None else percent(day.reached, day.orders, 2)
    if not day.orders:
        share = "no order" if day.complete else "not known yet"
    skipped, missing = sum(day.skipped.values()), sum(day.missing.values())
    waiting = f", {day.waiting} waiting" if day.waiting else ""
    when = f"{datetime.fromtimestamp(day.day, UTC):%Y-%m-%d}"
    numbers = f"{how_many(day.orders, 'order')}: {day.sent} sent, {skipped} skipped{waiting}, {missing} missing"
    yield f"{when}  {share:>13}  {numbers}"
    for title, reasons in (("skipped", day.skipped), ("missing", day.missing)):
        for reason, number in sorted(reasons.items(), key=lambda pair: -pair[1]):
            yield f"{'':27}{title} {number} × {reason}"
