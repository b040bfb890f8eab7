"""`connector backfill`: queues orders and registrations from a shop's history that never arrived by webhook."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from connector.cli.context import (
    configuration,
    counting,
    database,
    fail,
    parse_time,
    platform_of,
    ready_database,
    say_of,
    store_named,
    wait_option,
)
from connector.core.text import how_many

if TYPE_CHECKING:
    from connector.core.shop_api import Page
    from connector.core.store import Store
    from connector.sync.backfill import HistoryImport, ImportSummary
    from connector.sync.shop_wait import ShopWait


@click.command()
@click.argument("store")
@click.option("--since", required=True, help="Start of the period: a date, a time, or an age such as 2d, 3h.")
@click.option("--until", help="End of the period. Default: now")
@click.option("--dry-run", is_flag=True, help="Only print what would be queued; store nothing.")
@wait_option("5m")
def backfill(store: str, since: str, until: str | None, dry_run: bool, wait: float) -> None:
    """Queue orders and registrations that never arrived by webhook.

    Reads STORE's orders and customers of the period from the shop's API (keys: [stores.STORE.api]) and processes them
    like webhooks, with the same settings and event_ids. Events that are stored already are not queued again. go_live
    does not apply, max_event_age does. Checkouts have no history. A Shopify app can read the last 60 days of a shop.

    If it is interrupted or fails, run it again: it reads from the beginning and queues only what is missing. The relay
    sends the queued events; `connector events list` shows them.
    """
    from connector.sync.shop_wait import ShopWait

    config = configuration()
    chosen = store_named(config, store)
    now = datetime.now(UTC)
    start = datetime.fromtimestamp(parse_time(since) or 0, UTC)
    end = min(datetime.fromtimestamp(parse_time(until) or now.timestamp(), UTC), now)
    if start >= end:
        raise click.UsageError("--since must be before --until and before now")
    ready_database(config, migrate_sqlite=False)
    start = _limit_age(chosen, start, now)
    if start >= end:
        fail("the whole period is older than max_event_age; nothing was read")
    # Without --until the period is open, because the shop's clock may be ahead of this machine's.
    period = (start, end if until else datetime.max.replace(tzinfo=UTC))
    history = _history(config.database_url, chosen, period, dry_run)
    with ShopWait(wait, say_of(chosen.name)) as shop_wait:
        stopped = _read(history, chosen, start, now, shop_wait)
    if stopped and not history.summary.found:
        fail(stopped if f"store {chosen.name}" in stopped else f"store {chosen.name}: {stopped}")
    click.echo(f"{chosen.name}, {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC:")
    for line in format_summary(history.summary, dry_run):
        click.echo(line)
    if stopped:
        fail(f"store {chosen.name}: incomplete: {stopped}; then run it again")


def _limit_age(store: "Store", start: datetime, now: datetime) -> datetime:
    oldest = now - store.max_event_age
    if start >= oldest or any(pixel.test_event_code for pixel in store.pixels):
        return start
    click.echo(
        f"events older than max_event_age are not sent, so the period begins at {oldest:%Y-%m-%d %H:%M} UTC", err=True
    )
    return oldest


def _history(database_url: str, store: "Store", period: tuple[datetime, datetime], dry_run: bool) -> "HistoryImport":
    from connector.outbox.outbox import Outbox
    from connector.storage.database import Database
    from connector.storage.engine import connect
    from connector.sync.backfill import HistoryImport, KnownRecords

    database = Database(connect(database_url, timeout=10.0))
    outbox, known = Outbox(database), KnownRecords(database)
    no_go_live = datetime.fromtimestamp(0, UTC)
    return HistoryImport(store, platform_of(store), outbox, known, "backfill", no_go_live, period, dry_run)


def _read(history: "HistoryImport", store: "Store", start: datetime, now: datetime, shop_wait: "ShopWait") -> str:
    """Read orders and customers; return why it ended early, or "".

    Reads up to `now` even if the period ends earlier: records of the period may have been changed since.
    """
    from connector.core.registry import BrokenPlatform, part
    from connector.core.shop_api import ShopApiError

    platform = platform_of(store)
    try:
        module = part(platform, lambda one: one.shop_api)
    except BrokenPlatform as error:
        return str(error)
    if module is None:
        return f"the API of {platform.title} is not supported, so its history cannot be read"
    try:
        shop_api = module.connect(store, pause=shop_wait.pause)
        with counting("orders") as show:
            database(lambda: _show_pages(history.orders(shop_api, start, now), show, shop_wait))
        with counting("customers") as show:
            database(lambda: _show_pages(history.customers(shop_api, start, now), show, shop_wait))
    except ShopApiError as error:
        return str(error)
    except KeyboardInterrupt:
        return "it was interrupted"
    return ""


def _show_pages(pages: "Iterable[Page]", show: Callable[[int, int | None], None], shop_wait: "ShopWait") -> None:
    for page in pages:
        shop_wait.progress()
        show(len(page.bodies), page.total)


def format_summary(summary: "ImportSummary", dry_run: bool) -> list[str]:
    """Return the lines that describe the result of a backfill."""
    from connector.sync.backfill import describe_counts

    queued = f"{describe_counts(summary.queued) or '0'} {'would be queued' if dry_run else 'queued'}"
    drafts = "draft or the like" if summary.empty == 1 else "drafts and the like"
    lines = [
        f"  {summary.found} found",
        f"  {summary.already_stored} already stored",
        f"  {queued} ({how_many(summary.events, 'event')})",
    ]
    for number, description in (
        (summary.outside, "only changed in the period, but happened at another time"),
        (summary.empty, f"{drafts}, without an event yet"),
        (summary.skipped, "skipped"),
        (
            summary.parked,
            "could not be processed" + ("" if dry_run else "; see `connector events replay --parked --dry-run`"),
        ),
    ):
        if number:
            lines.append(f"  {number} {description}")
    lines += [f"    {number} × {reason}" for reason, number in summary.reasons.most_common()]
    if summary.withheld:
        silent = how_many(len(summary.withheld), "does not say", "do not say")
        lines.append(f"  {silent} who bought: the shop withholds personal data from the app")
    return lines
