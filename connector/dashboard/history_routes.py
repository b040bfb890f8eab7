"""The pages `/events` and `/webhooks`: the lists to which the numbers of other pages lead.

A list is chosen by store, kind and time; the kinds are those of the overview's bars, so a bar's list has as many lines
as the bar says. Both are tables, also as CSV with all lines.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, Response, render_template, request

from connector.config.settings import Config
from connector.core.event import MILESTONES
from connector.core.store import Store
from connector.core.text import duration
from connector.core.units import HOUR
from connector.dashboard import labels
from connector.dashboard.addresses import story_address
from connector.dashboard.login import LoginGuard
from connector.dashboard.page_parts import csv_answer
from connector.dashboard.parameters import chosen_store, list_position
from connector.dashboard.tables import Cell, Column, Row, Table
from connector.outbox.lanes import Lane
from connector.outbox.listing import EVENT_STATES, WEBHOOK_OUTCOMES, EventChoice, Listing, WebhookChoice
from connector.storage.database import Database

PAGE = 50  # rows
MAX_COUNTED = 10_000  # lines of a list that are counted; the page shows "10,000 or more"
FIRST_SHOWN = 23 * HOUR  # seconds before now at which a list begins if no time is chosen: the overview's 24 hours
STATES = {
    "": "all", "waiting": "waiting", "accepted": "accepted by TikTok", "tested": "to Test Events",
    "failed": "rejected or expired", "rejected": "rejected by TikTok", "expired": "not accepted in time",
    "skipped": "deliberately not sent",
}  # fmt: skip
KINDS = {"": "all"} | labels.RECEIVED
EVENT_COLUMNS = (
    Column("order", beside="store"), Column("event"), Column("state"), Column("stored", "minute"),
    Column("answered", "minute"), Column("took"), Column("reason", long=True), Column("event_id", "code"),
    Column("pixel", "code"),
)  # fmt: skip
WEBHOOK_COLUMNS = (
    Column("order", beside="store"), Column("received", "time"), Column("topic", "code"), Column("outcome"),
    Column("reason", long=True),
)  # fmt: skip
BROWSER_COLUMNS = (Column("event", beside="store"), Column("number", "number"))
COUNTED_COLUMNS = (Column("topic", "code", beside="store"), Column("counted as"), Column("number", "number"))


def add_history_routes(blueprint: Blueprint, guard: LoginGuard, config: Config, database: Database) -> None:
    """Add `/events` and `/webhooks`."""
    listing = Listing(database)
    browser_events = {name: _browser_events(store) for name, store in config.stores.items()}

    @blueprint.get("/events")
    @guard.login_required
    def events() -> Response | str:
        choice = _event_choice(config, request.args)
        rows = listing.events(choice, PAGE + 1, list_position())

        def all_rows() -> Iterator[Row]:
            for part in listing.all_events(choice):
                yield from _event_rows(listing, part, config)

        table = Table(
            "events", "Events", EVENT_COLUMNS, _event_rows(listing, rows[:PAGE], config), all_rows, stacked=True
        )
        counted = listing.counted_events(choice, browser_events)
        others = Table("counted", "Reported by browsers", BROWSER_COLUMNS, [*map(_browser_row, counted)])
        if answer := csv_answer([table, others]):
            return answer
        number, column = listing.count_events(choice, MAX_COUNTED), choice.order[0].name
        last = rows[PAGE - 1] if len(rows) > PAGE else None
        return render_template(
            "events.html", table=table, choice=choice, states=STATES, stores=config.stores,
            number=number + sum(row.number for row in counted), is_more=number >= MAX_COUNTED, others=others,
            searched_since=listing.searched_since(choice),
            next_page=_position(last._mapping[column], last.id) if last else None,
        )  # fmt: skip

    @blueprint.get("/webhooks")
    @guard.login_required
    def webhooks() -> Response | str:
        choice = _webhook_choice(config, request.args)
        rows, counted = listing.webhooks(choice, PAGE + 1, list_position()), listing.counted_webhooks(choice)

        def all_rows() -> Iterator[Row]:
            for part in listing.all_webhooks(choice):
                yield from map(_webhook_row, part)

        lines = Table(
            "webhooks", "Webhooks", WEBHOOK_COLUMNS, [*map(_webhook_row, rows[:PAGE])], all_rows, stacked=True
        )
        others = Table("counted", "Webhooks that are only counted", COUNTED_COLUMNS, [*map(_counted_row, counted)])
        if answer := csv_answer([lines, others]):
            return answer
        number = listing.count_webhooks(choice, MAX_COUNTED)
        last = rows[PAGE - 1] if len(rows) > PAGE else None
        return render_template(
            "webhooks.html", lines=lines, others=others, choice=choice, kinds=KINDS,
            stores=config.stores, number=number + sum(row.number for row in counted),
            is_more=number >= MAX_COUNTED,
            next_page=_position(last.received_at, last.id) if last else None,
        )  # fmt: skip


def _browser_events(store: Store) -> set[str]:
    """Return the events that only browsers report."""
    of_orders = {name for milestone in MILESTONES for name in store.all_event_names(milestone)}
    reported = store.funnel.events.values() if store.funnel else ()
    return {name for names in reported for name in names} - of_orders


def _position(moment: float, row: int) -> str:
    return f"{moment!r}:{row}"


def _event_choice(config: Config, args: Mapping[str, str]) -> EventChoice:
    state = args.get("state", "")
    return EventChoice(
        state if state in EVENT_STATES else "",
        _stores(config, args),
        args.get("pixel", "")[:256],
        args.get("event", "")[:256],
        *_times(args),
        lanes=tuple(Lane(name, pixel.code) for name, store in config.stores.items() for pixel in store.pixels),
    )


def _webhook_choice(config: Config, args: Mapping[str, str]) -> WebhookChoice:
    kind = args.get("kind", "")
    return WebhookChoice(kind if kind in WEBHOOK_OUTCOMES else "", _stores(config, args), *_times(args))


def _stores(config: Config, args: Mapping[str, str]) -> tuple[str, ...]:
    store = chosen_store(config, args)
    return (store,) if store else tuple(config.stores)


def _times(args: Mapping[str, str]) -> tuple[float, float]:
    """Return the chosen time; what is no time is as if it were not there."""
    now = int(time.time())
    since, until = _time(args.get("since", "")), _time(args.get("until", ""))
    return (now - FIRST_SHOWN) // HOUR * HOUR if since is None else since, 1e11 if until is None else until


def _time(text: str) -> float | None:
    try:
        return datetime.strptime(text[:16], "%Y-%m-%dT%H:%M").replace(tzinfo=UTC).timestamp()
    except (ValueError, OverflowError):
        return None


def _event_rows(listing: Listing, rows: Sequence[Any], config: Config) -> list[Row]:
    numbers = listing.order_numbers((row.store, row.object_key) for row in rows)
    return [_event_row(row, numbers.get((row.store, row.object_key), ""), config) for row in rows]


def _event_row(row: Any, number: str, config: Config) -> Row:
    finished = row.state != "due" and row.settled_at is not None
    took = duration(max(row.settled_at - row.occurred_at, 0.0)) if row.state == "accepted" and finished else ""
    state = "accepted in Test Events" if row.state == "accepted" and row.test_code else row.state
    return (
        Cell(labels.subject(row.object_key, number), story_address(row.store, row.object_key), row.store),
        row.event,
        "waiting" if state == "due" else state,
        row.created_at,
        row.settled_at if finished else None,
        took,
        _reason(row),
        row.event_id,
        row.pixel,
    )


def _reason(row: Any) -> str:
    if row.state == "accepted":
        return ""
    code = ": ".join(filter(None, (str(row.code or ""), labels.meaning(row.code))))
    return ". ".join(filter(None, (code, row.message)))


def _webhook_row(row: Any) -> Row:
    name = labels.subject(row.object_key, row.order_number) if row.object_key else "–"
    link = story_address(row.store, row.object_key) if row.object_key else ""
    return (Cell(name, link, row.store), row.received_at, row.topic, row.outcome, row.reason)


def _browser_row(row: Any) -> Row:
    return (Cell(row.event, beside=row.store), int(row.number))


def _counted_row(row: Any) -> Row:
    return (Cell(row.topic, beside=row.store), row.what, int(row.number))
