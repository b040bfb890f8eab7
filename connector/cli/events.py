"""`connector events`: list, show and replay events and parked webhooks."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from connector.cli.context import (
    configuration,
    database,
    fail,
    open_database,
    open_queries,
    parse_time,
    progress,
    store_named,
)
from connector.core.text import how_many, utc_second

if TYPE_CHECKING:
    from sqlalchemy import Row

    from connector.config.settings import Config
    from connector.mapping.event_id import EventSubject
    from connector.outbox.queries import EventFilter, OutboxQueries


_ROW = click.IntRange(1, 2**63 - 1)
# Copied from connector.outbox.outbox, because importing it would load the database libraries.
STATES = ("held", "due", "accepted", "rejected", "expired", "skipped")


@click.group()
def events() -> None:
    """List, show, replay and export events."""


def _filter_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that select events to a command."""
    for option in (
        click.option("--until", help="Latest time of storing: a date, a time, or an age such as 2d, 3h."),
        click.option("--since", help="Earliest time of storing: a date, a time, or an age such as 2d, 3h."),
        click.option("--event", default="", help="Event name, for example Purchase."),
        click.option("--state", type=click.Choice(STATES)),
        click.option("--store", default=""),
    ):
        command = option(command)
    return command


@events.command("list")
@_filter_options
@click.option(
    "--parked", is_flag=True, help="List parked webhooks instead, with the reason; goes with --store, --since, --until."
)
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 100_000))
def list_(
    store: str, state: str | None, event: str, since: str | None, until: str | None, parked: bool, limit: int
) -> None:
    """List events, the newest last, or parked webhooks with --parked."""
    from connector.outbox.queries import EventFilter

    config = configuration()
    if parked:
        _refuse_with_parked(("--state", state), ("--event", event))
        earliest, latest = parse_time(since), parse_time(until)
        queries = database(open_queries)
        webhooks = database(lambda: queries.parked(store, limit, since=earliest, until=latest))
        number = database(lambda: queries.parked_number(store, earliest, latest))
        if store and not webhooks:
            store_named(config, store)
        for webhook in webhooks:
            click.echo(f"{utc_second(webhook.parked_at)}  {webhook.store}  {webhook.topic}  {webhook.reason}")
        more = f" (the oldest {limit} are listed; --limit for more)" if number > limit else ""
        click.echo(f"{how_many(number, 'webhook is', 'webhooks are')} parked{more}", err=True)
        return
    choice = EventFilter((), store, state or "", event, parse_time(since), parse_time(until))
    rows = database(lambda: open_queries().find(choice, limit))
    if store and not rows:
        store_named(config, store)
    if rows:  # not on stdout, where a line is an event
        click.echo(
            f"{'created (UTC)':19}  {'row':>8}  store  pixel  event  event_id  [test_event_code]  state", err=True
        )
    for row in reversed(rows):
        result = f"{row.state} {row.code or ''} {row.message or ''}".rstrip()
        if row.state == "due" and row.store not in config.stores:
            result += " (its store is not configured, so it waits)"
        code = f"  [{row.test_code}]" if row.test_code else ""
        click.echo(
            f"{utc_second(row.created_at)}  {row.id:>8}  {row.store}  {row.pixel}  "
            f"{row.event}  {row.event_id}{code}  {result}"
        )
    newest = f" (the newest {limit}; --limit for more)" if len(rows) == limit else ""
    click.echo(how_many(len(rows), "event") + newest, err=True)


@events.command()
@click.argument("key", required=False)
@click.option("--row", type=_ROW, help="A row number of `events list`, in place of KEY.")
def show(key: str | None, row: int | None) -> None:
    """Show all records of KEY: an event_id, or an order number or id."""
    if (key is None) == (row is None):
        raise click.UsageError("give either a KEY or --row")
    queries = database(open_queries)
    waiting = _print_notices(queries, key) if key is not None else False
    webhooks, rows = (
        _find_by_key(queries, key, waiting) if key is not None else database(lambda: queries.show_row(row or 0))
    )
    if not webhooks and not rows and not waiting:
        fail(f"no event has the row number {row}")
    _print_records(webhooks, rows)


def _print_notices(queries: "OutboxQueries", key: str) -> bool:
    """Print what is not fetched from the shop yet; return whether there is anything."""
    from connector.dashboard.labels import notice_sentence

    found = database(lambda: queries.notices(key))
    for notice in found:
        click.echo(f"{notice.object_key} of {notice.store}: {notice_sentence(notice, time.time())}")
    return bool(found)


def _find_by_key(queries: "OutboxQueries", key: str, waiting: bool) -> "tuple[list[Row[Any]], list[Row[Any]]]":
    from connector.mapping.event_id import subjects_of

    webhooks, rows = database(lambda: queries.show(key))
    if not webhooks and not rows and not waiting:
        candidates = list(subjects_of(key, configuration().stores.values()))
        webhooks, rows = _find_by_future_event_id(queries, key, candidates)
        if not webhooks and not rows:
            fail(_unknown(key, candidates))
    return webhooks, rows


def _print_records(webhooks: "list[Row[Any]]", rows: "list[Row[Any]]") -> None:
    from connector.mapping.redaction import redacted

    for line in webhooks:
        received = utc_second(line.received_at)
        click.echo(f"{received}  webhook {line.topic} of {line.store}: {line.outcome}  {line.reason}".rstrip())
    for row in rows:
        click.echo(f"\n{row.event}  {row.event_id}  (row {row.id}, pixel {row.pixel}, {row.object_key})")
        click.echo(f"  happened {utc_second(row.occurred_at)}, stored {utc_second(row.created_at)}")
        click.echo(f"  state {row.state}, {how_many(row.attempts, 'attempt')}")
        if row.state == "held":
            click.echo("  waiting for the browser's signals; without them it may not be sent")
        elif row.state == "skipped":
            click.echo(f"  skipped {utc_second(row.settled_at)}: {row.message}")
        elif row.settled_at or row.code is not None or row.message:
            time = f" {utc_second(row.settled_at)}" if row.settled_at else ""
            click.echo(f"  TikTok{time}: code {row.code}, {row.message or '-'}, request_id {row.request_id or '-'}")
        if kept := [f"{key} of {utc_second(at)}" for key, at in _remembered(row) if at is not None]:
            click.echo(f"  remembered from an earlier visit: {', '.join(kept)}")
        click.echo(f"  payload: {redacted(row.payload)}")


def _remembered(row: "Row[Any]") -> "list[tuple[str, float | None]]":
    return [("ttclid", row.ttclid_from), ("ttp", row.ttp_from)]


def _find_by_future_event_id(
    queries: "OutboxQueries", event_id: str, candidates: "Sequence[EventSubject]"
) -> "tuple[list[Row[Any]], list[Row[Any]]]":
    """Return webhooks and events of the order that an event of this id would belong to: a skipped order has none."""
    for candidate in candidates:
        webhooks, rows = database(partial(queries.show, candidate.key)) if candidate.key else ([], [])
        webhooks, rows = ([row for row in found if row.store == candidate.store] for found in (webhooks, rows))
        if webhooks or rows:
            click.echo(f"There is no event {event_id}. It would belong to {candidate}, which has these records:")
            return webhooks, rows
    return [], []


def _unknown(key: str, candidates: "Sequence[EventSubject]") -> str:
    reasons = [
        f"it would belong to {candidate}, of which no webhook is on record"
        if candidate.key
        else f"it may belong to {candidate}, but does not contain its id: use the order's number or id instead"
        for candidate in candidates
    ]
    if not reasons:
        return f"no webhook or event with the id or number {key!r} is on record"
    return f"nothing is on record for {key!r}: {'; '.join(reasons)}"


@events.command()
@click.argument("ids", nargs=-1)
@click.option("--row", "rows", type=_ROW, multiple=True, help="A row number of `events list`; repeatable.")
@_filter_options
@click.option(
    "--parked", is_flag=True,
    help="Process parked webhooks again instead, with the current code; goes with --store, --since, --until.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Only print what would be done.")
@click.option(
    "--force", is_flag=True, help="Also events that TikTok may have received over 47 hours ago and may count twice."
)
def replay(
    ids: tuple[str, ...], rows: tuple[int, ...], store: str, state: str | None, event: str, since: str | None,
    until: str | None, parked: bool, dry_run: bool, force: bool,
) -> None:  # fmt: skip
    """Send rejected and expired events again.

    IDS are event_ids; options select by row, store, state, name or time. An event keeps its event_id; TikTok
    drops copies for 48 hours.
    """
    from connector.outbox.queries import EventFilter

    config = configuration()
    if parked:
        _refuse_with_parked(("IDS", ids), ("--row", rows), ("--state", state), ("--event", event), ("--force", force))
        _replay_parked(config, store, parse_time(since), parse_time(until), dry_run)
        return
    if not (ids or rows or store or state or event or since or until):
        raise click.UsageError("select events by ids, --row, --store, --state, --event, --since, --until; or --parked")
    choice = EventFilter(ids, store, state or "", event, parse_time(since), parse_time(until), rows)
    _replay_events(config, choice, dry_run, force)


def _replay_events(config: "Config", choice: "EventFilter", dry_run: bool, force: bool) -> None:
    from connector.intake.replay import plan_replay, replay_events

    queries = database(open_queries)
    plan = database(lambda: plan_replay(config, queries, choice, force))
    if choice.store and not plan.total and not plan.left_out:
        store_named(config, choice.store)
    for sentence in (missing := database(lambda: [*_missing(queries, choice)])):
        click.echo(f"connector: {sentence}", err=True)
    for reason, number in sorted(plan.left_out.items()):
        click.echo(f"{number} not replayed: {reason}")
    if plan.forced:
        copies = "it, it counts" if len(plan.forced) == 1 else "them, they count"
        click.echo(f"{len(plan.forced)} only because of --force: if TikTok received {copies} twice")
    replayed = plan.total
    if not dry_run and replayed:
        with progress(replayed, "events") as tick:
            replayed = database(lambda: replay_events(queries, plan, tick))
    due = ("event would be", "events would be") if dry_run else ("event is", "events are")
    click.echo(f"{how_many(replayed, *due)} due again")
    if missing or (plan.left_out and not replayed):
        sys.exit(1)


def _missing(queries: "OutboxQueries", choice: "EventFilter") -> Iterator[str]:
    """Yield a sentence for each event_id and row number that chooses no event."""
    only = replace(choice, ids=(), rows=())
    others = " and fits the other options" if only != type(only)() else ""
    for event_id in choice.ids:
        if not queries.find(replace(only, ids=(event_id,)), 1):
            yield f"no event has the event_id {event_id!r}{others}"
    for row in choice.rows:
        if not queries.find(replace(only, rows=(row,)), 1):
            yield f"no event has the row number {row}{others}"


def _refuse_with_parked(*options: tuple[str, object]) -> None:
    """Raise UsageError if an option is given that chooses events: it would be ignored, and all replayed."""
    if given := [name for name, value in options if value]:
        raise click.UsageError(f"--parked goes with --store, --since and --until; leave out {', '.join(given)}")


def _replay_parked(config: "Config", store: str, since: float | None, until: float | None, dry_run: bool) -> None:
    from connector.core.registry import installed_platforms
    from connector.intake.intake import Intake
    from connector.intake.replay import replay_parked
    from connector.outbox.outbox import Outbox
    from connector.outbox.queries import OutboxQueries
    from connector.privacy.requests import DataRequestStore

    opened = database(lambda: open_database(config))
    queries = OutboxQueries(opened)
    intake = Intake(config.stores, installed_platforms(), Outbox(opened), DataRequestStore(opened))
    with progress(database(lambda: queries.parked_number(store, since, until)), "parked webhooks") as tick:
        outcomes = database(lambda: replay_parked(intake, queries, store, dry_run, tick, since=since, until=until))
    for outcome, number in sorted(outcomes.items()):
        click.echo(f"{number} × {outcome}")
    if not outcomes:
        if store:
            store_named(config, store)
        then = "" if (since, until) == (None, None) else " from then"
        click.echo("nothing is parked" + (f" for {store}" if store else "") + then)
    sys.exit(1 if any(outcome.startswith(("still parked", "cannot")) for outcome in outcomes) else 0)
