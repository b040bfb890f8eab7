"""Routes that list failed events and parked webhooks, the newest first, one page at a time, with their buttons."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from flask import Blueprint, Response, render_template, request

from connector.config.settings import Config
from connector.dashboard import labels
from connector.dashboard.login import LoginGuard
from connector.dashboard.page_parts import csv_answer
from connector.dashboard.parameters import chosen_state, chosen_store, is_row_id, page_start
from connector.dashboard.tables import Cell, Column, Row, Table
from connector.outbox.queries import EventFilter, OutboxQueries

PAGE = 50  # rows
BATCH = 1000  # rows that are read at one time for a file
FAILED_COLUMNS = (
    Column("event", beside="event_id"), Column("store"), Column("stored", "time"), Column("code", "number"),
    Column("meaning"), Column("message"),
)  # fmt: skip
PARKED_COLUMNS = (Column("topic"), Column("store"), Column("parked", "time"), Column("reason"))


def add_list_routes(blueprint: Blueprint, guard: LoginGuard, config: Config, queries: OutboxQueries) -> None:
    """Add `/failed` and `/parked`."""

    @blueprint.get("/failed")
    @guard.login_required
    def failed() -> Response | str:
        store, state = chosen_store(config, request.args), chosen_state(request.args)
        choice = EventFilter(store=store, state=state)
        table = Table(state, "Failed events", FAILED_COLUMNS, (), lambda: _failed_rows(queries, choice))
        if answer := csv_answer([table]):
            return answer
        rows = queries.find(replace(choice, before=page_start()), PAGE + 1)
        last = rows[PAGE - 1] if len(rows) > PAGE else None
        next_page = {"before": f"{last.created_at!r}:{last.id}", "state": state, "store": store} if last else None
        return render_template(
            "failures.html",
            rows=rows[:PAGE],
            table=table,
            state=state,
            chosen=store,
            stores=config.stores,
            meaning=labels.meaning,
            next_page=next_page,
        )

    @blueprint.get("/parked")
    @guard.login_required
    def parked() -> Response | str:
        store, given = chosen_store(config, request.args), request.args.get("before", "")
        before = int(given) if is_row_id(given) else None
        table = Table("parked", "Parked webhooks", PARKED_COLUMNS, (), lambda: _parked_rows(queries, store))
        if answer := csv_answer([table]):
            return answer
        webhooks = queries.parked_lines(store, PAGE + 1, before)
        next_page = {"before": webhooks[PAGE - 1].id, "store": store} if len(webhooks) > PAGE else None
        return render_template(
            "parked.html",
            webhooks=webhooks[:PAGE],
            table=table,
            chosen=store,
            stores=config.stores,
            next_page=next_page,
        )


def _failed_rows(queries: OutboxQueries, choice: EventFilter) -> Iterator[Row]:
    while rows := queries.find(choice, BATCH):
        yield from map(_failed_row, rows)
        choice = replace(choice, before=(rows[-1].created_at, rows[-1].id))


def _failed_row(row: Any) -> Row:
    event = Cell(row.event, beside=row.event_id)
    return (event, row.store, row.created_at, row.code, labels.meaning(row.code), row.message or "")


def _parked_rows(queries: OutboxQueries, store: str) -> Iterator[Row]:
    before = None
    while webhooks := queries.parked_lines(store, BATCH, before):
        yield from ((one.topic, one.store, one.parked_at, one.reason) for one in webhooks)
        before = webhooks[-1].id
