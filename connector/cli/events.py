"""`connector events`: look at what was sent or waits, and send it again."""

import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from connector.cli.context import (
    configuration,
    database,
    fail,
    moment,
    open_database,
    open_queries,
    progress,
    store_named,
)
from connector.core.text import how_many, utc_second

if TYPE_CHECKING:
    from sqlalchemy import Row

    from connector.config.settings import Config
    from connector.mapping.event_id import EventSubject
    from connector.outbox.queries import EventFilter, OutboxQueries


# As connector.outbox.outbox has them, which would bring the database's libraries along.
STATES = ("held", "due", "accepted", "rejected", "expired", "skipped")


@click.group()
def events() -> None:
    """Look at events and send finished ones again."""


def _choosing(command: Callable[..., None]) -> Callable[..., None]:
    """The options that choose events, shared by `list` and `replay`."""
    for option in (
        click.option("--until", help="Created at the latest: a date, a time, or an age such as 2d, 3h."),
        click.option("--since", help="Created at the earliest: a date, a time, or an age such as 2d, 3h."),
        click.option("--event", default="", help="An event name, e.g. Purchase."),
        click.option("--state", type=click.Choice(STATES)),
        click.option("--store", default=""),
    ):
        command = option(command)
    return command


@events.command("list")
@_choosing
@click.option("--parked", is_flag=True, help="Parked webhooks instead, with the reason.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 100_000))
def list_(
    store: str, state: str | None, event: str, since: str | None, until: str | None, parked: bool, limit: int
) -> None:
    """List events, the newest last; or with --parked the webhooks that could not be handled."""
    from connector.outbox.queries import EventFilter

    config = configuration()
    if parked:
        waiting = database(lambda: open_queries().parked(store, limit))
        for item in waiting:
            click.echo(f"{utc_second(item.parked_at)}  {item.store}  {item.topic}  {item.reason}")
        click.echo(f"{how_many(len(waiting), 'webhook is', 'webhooks are')} parked", err=True)
        return
    choice = EventFilter((), store, state or "", event, moment(since), moment(until))
    rows = database(lambda: open_queries().find(choice, limit))
    if store and not rows:
        store_named(config, store)
    for row in reversed(rows):
        told = f"{row.state} {row.code or ''} {row.message or ''}".rstrip()
        if row.state == "due" and row.store not in config.stores:
            told += " (its store is not configured, so it waits)"
        where = f"  [{row.test_code}]" if row.test_code else ""
        click.echo(
            f"{utc_second(row.created_at)}  {row.id:>8}  {row.store}  {row.pixel}  "
            f"{row.event}  {row.event_id}{where}  {told}"
        )
    newest = f" (the newest {limit}; --limit for more)" if len(rows) == limit else ""
    click.echo(how_many(len(rows), "event") + newest, err=True)


@events.command()
@click.argument("key")
def show(key: str) -> None:
    """Everything known about KEY: an event_id, an order number or id, or a row number of `events list`."""
    from connector.mapping.event_id import subjects_of
    from connector.mapping.redaction import redacted

    queries = database(open_queries)
    lines, found = database(lambda: queries.show(key))
    if not lines and not found:
        named = list(subjects_of(key, configuration().stores.values()))
        lines, found = _of_named(queries, key, named)
        if not lines and not found:
            fail(_unknown(key, named))
    for line in lines:
        received = utc_second(line.received_at)
        click.echo(f"{received}  webhook {line.topic} of {line.store}: {line.outcome}  {line.reason}".rstrip())
    for row in found:
        click.echo(f"\n{row.event}  {row.event_id}  (row {row.id}, pixel {row.pixel}, {row.object_key})")
        click.echo(f"  happened {utc_second(row.occurred_at)}, stored {utc_second(row.created_at)}")
        click.echo(f"  state {row.state}, {how_many(row.attempts, 'attempt')}")
        if row.state == "held":
            click.echo("  waits for the browser's signals: as it is, it may not be sent")
        elif row.state == "skipped":
            click.echo(f"  skipped {utc_second(row.settled_at)}: {row.message}")
        elif row.settled_at or row.code is not None or row.message:
            at = f" {utc_second(row.settled_at)}" if row.settled_at else ""
            click.echo(f"  TikTok{at}: code {row.code}, {row.message or '-'}, request_id {row.request_id or '-'}")
        click.echo(f"  payload: {redacted(row.payload)}")


def _of_named(
    queries: "OutboxQueries", key: str, named: "Sequence[EventSubject]"
) -> "tuple[list[Row[Any]], list[Row[Any]]]":
    """Of what an event of this id would be about; an order that was skipped has no event."""
    for one in named:
        lines, found = database(partial(queries.show, one.key)) if one.key else ([], [])
        lines, found = ([row for row in some if row.store == one.store] for some in (lines, found))
        if lines or found:
            click.echo(f"There is no event {key}. It would be of {one}, of which this is known:")
            return lines, found
    return [], []


def _unknown(key: str, named: "Sequence[EventSubject]") -> str:
    told = [
        f"it would be of {one}, of which no webhook is on record"
        if one.key
        else f"it may be of {one}, but does not say of which: ask by the order's own number or id instead"
        for one in named
    ] or ["no webhook and no event of that name has arrived"]
    return f"nothing is known of {key!r}: {'; '.join(told)}"


@events.command()
@click.argument("ids", nargs=-1)
@_choosing
@click.option("--parked", is_flag=True, help="Parked webhooks instead: through the current code.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option(
    "--force", is_flag=True, help="Also events that TikTok may have got over 47 hours ago, and may count twice."
)
def replay(
    ids: tuple[str, ...], store: str, state: str | None, event: str, since: str | None, until: str | None,
    parked: bool, dry_run: bool, force: bool,
) -> None:  # fmt: skip
    """Send rejected and expired events again, by event_id or row number, store, state or time."""
    from connector.outbox.queries import EventFilter

    config = configuration()
    if parked:
        _replay_parked(config, store, dry_run)
        return
    if not (ids or store or state or event or since or until):
        raise click.UsageError("say which events: ids, --store, --state, --event, --since or --until; or --parked")
    _replay_events(config, EventFilter(ids, store, state or "", event, moment(since), moment(until)), dry_run, force)


def _replay_events(config: "Config", choice: "EventFilter", dry_run: bool, force: bool) -> None:
    from connector.intake.replay import plan_replay, replay_events

    queries = database(open_queries)
    plan = database(lambda: plan_replay(config, queries, choice, force))
    for why, number in sorted(plan.refused.items()):
        click.echo(f"{number} not replayed: {why}")
    if plan.forced:
        twice = "it, it counts" if len(plan.forced) == 1 else "them, they count"
        click.echo(f"{len(plan.forced)} only because of --force: if TikTok had {twice} twice")
    replayed = plan.total
    if not dry_run and replayed:
        with progress(replayed, "events") as tick:
            replayed = database(lambda: replay_events(queries, plan, tick))
    due = ("event would be", "events would be") if dry_run else ("event is", "events are")
    click.echo(f"{how_many(replayed, *due)} due again")
    if plan.refused and not replayed:
        sys.exit(1)


def _replay_parked(config: "Config", store: str, dry_run: bool) -> None:
    from connector.intake.intake import Intake
    from connector.intake.replay import replay_parked
    from connector.outbox.outbox import Outbox
    from connector.outbox.queries import OutboxQueries
    from connector.privacy.requests import DataRequestStore
    from platforms import PLATFORMS

    opened = database(lambda: open_database(config))
    queries = OutboxQueries(opened)
    intake = Intake(config.stores, PLATFORMS, Outbox(opened), DataRequestStore(opened))
    with progress(database(lambda: queries.parked_number(store)), "parked webhooks") as tick:
        outcomes = database(lambda: replay_parked(intake, queries, store, dry_run, tick))
    for outcome, number in sorted(outcomes.items()):
        click.echo(f"{number} × {outcome}")
    if not outcomes:
        click.echo("nothing is parked" + (f" for {store}" if store else ""))
    sys.exit(1 if any(outcome.startswith(("still parked", "cannot")) for outcome in outcomes) else 0)
