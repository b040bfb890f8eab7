"""`connector backfill`: what a shop's history holds and no webhook has brought."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from connector.cli.context import configuration, counting, database, fail, moment, ready_database, store_named
from connector.core.text import how_many

if TYPE_CHECKING:
    from connector.core.store import Store
    from connector.sync.backfill import HistoryImport, ImportSummary


@click.command()
@click.argument("store")
@click.option("--since", required=True, help="What happened since then: a date, a time, or an age such as 2d, 3h.")
@click.option("--until", help="What happened until then. Default: now")
@click.option("--dry-run", is_flag=True, help="Only say what would be queued; stores nothing.")
def backfill(store: str, since: str, until: str | None, dry_run: bool) -> None:
    """Queue the orders and sign-ups of STORE's history that no webhook has brought.

    Asks the shop's own API (keys: [stores.STORE.api]) for orders and customers and takes them the way of webhooks: the
    same choices, the same event_ids. What arrived by webhook is there already and is not sent again. `go_live` does
    not apply, max_event_age does. Checkouts have no history. An app sees the last 60 days of a Shopify shop.

    Interrupted or failed: run it again. It reads from the beginning, which costs requests but no event, and queues what
    is not there yet. The relay sends what is queued; `connector events list` shows it.
    """
    config = configuration()
    chosen = store_named(config, store)
    now = datetime.now(UTC)
    start = datetime.fromtimestamp(moment(since) or 0, UTC)
    end = min(datetime.fromtimestamp(moment(until) or now.timestamp(), UTC), now)
    if start >= end:
        raise click.UsageError("--since must lie before --until and before now")
    ready_database(config, migrate_sqlite=False)
    start = _young_enough(chosen, start, now)
    if start >= end:
        fail("all of that is too old to be sent; nothing was asked for")
    # Open to the present: the shop's clock may be a little ahead of ours.
    between = (start, end if until else datetime.max.replace(tzinfo=UTC))
    history = _history(config.database_url, chosen, between, dry_run)
    stopped = _walk(history, chosen, start, now)
    if stopped and not history.tally.found:
        fail(stopped if f"store {chosen.name}" in stopped else f"store {chosen.name}: {stopped}")
    click.echo(f"{chosen.name}, {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC:")
    for line in told(history.tally, dry_run):
        click.echo(line)
    if stopped:
        fail(f"store {chosen.name}: this is not all: {stopped}; then run it again")


def _young_enough(store: "Store", start: datetime, now: datetime) -> datetime:
    oldest = now - store.max_event_age
    if start >= oldest or any(pixel.test_event_code for pixel in store.pixels):
        return start
    click.echo(f"older than max_event_age is not sent, so it begins at {oldest:%Y-%m-%d %H:%M} UTC", err=True)
    return oldest


def _history(database_url: str, store: "Store", between: tuple[datetime, datetime], dry_run: bool) -> "HistoryImport":
    from connector.outbox.outbox import Outbox
    from connector.storage.database import Database
    from connector.storage.engine import connect
    from connector.sync.backfill import HistoryImport, KnownRecords
    from platforms import PLATFORMS

    database = Database(connect(database_url, timeout=10.0))
    outbox, known = Outbox(database), KnownRecords(database)
    always = datetime.fromtimestamp(0, UTC)
    return HistoryImport(store, PLATFORMS[store.platform], outbox, known, "backfill", always, between, dry_run)


def _walk(history: "HistoryImport", store: "Store", start: datetime, now: datetime) -> str:
    """Orders and customers, up to now, for what happened then may have changed since; why it ended early, or ""."""
    from connector.core.shop_api import ShopApiError
    from platforms.admins import ADMINS

    try:
        admin = ADMINS[store.platform].admin(store)
        with counting("orders") as show:
            database(lambda: [show(len(page.bodies), page.total) for page in history.orders(admin, start, now)])
        with counting("customers") as show:
            database(lambda: [show(len(page.bodies), page.total) for page in history.customers(admin, start, now)])
    except ShopApiError as fault:
        return str(fault)
    except KeyboardInterrupt:
        return "it was interrupted"
    return ""


def told(tally: "ImportSummary", dry_run: bool) -> list[str]:
    """What a walk came to, a line each."""
    from connector.sync.backfill import counted

    queued = f"{counted(tally.queued) or '0'} {'would be queued' if dry_run else 'queued'}"
    drafts = "draft or the like" if tally.empty == 1 else "drafts and the like"
    lines = [
        f"  {tally.found} found",
        f"  {tally.there} already there",
        f"  {queued} ({how_many(tally.events, 'event')})",
    ]
    for number, why in (
        (tally.outside, "happened at another time, and only changed in this one"),
        (tally.empty, f"{drafts}, in which nothing has happened yet"),
        (tally.skipped, "skipped"),
        (
            tally.parked,
            "could not be handled" + ("" if dry_run else "; see `connector events replay --parked --dry-run`"),
        ),
    ):
        if number:
            lines.append(f"  {number} {why}")
    lines += [f"    {number} × {reason}" for reason, number in tally.reasons.most_common()]
    if tally.withheld:
        silent = how_many(len(tally.withheld), "does not say", "do not say")
        lines.append(f"  {silent} who bought: the shop withholds personal data from the app")
    return lines
