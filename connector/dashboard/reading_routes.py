"""Routes that show: the overview, the search, and the story of one order, checkout or customer.

An e-mail address is searched for by POST and hashed at once, so it is in no URL, log or page.
"""

import time
from collections.abc import Sequence
from typing import Any

from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for

from connector.config.settings import Config
from connector.core.store import Store
from connector.core.units import HOUR
from connector.dashboard import labels
from connector.dashboard.addresses import events_address
from connector.dashboard.book_routes import latest_accuracy
from connector.dashboard.login import LoginGuard
from connector.dashboard.overview import read_overview
from connector.dashboard.overview_tables import browser_table, coverage_table, customer_table, skip_table, value_table
from connector.dashboard.page_parts import csv_answer
from connector.dashboard.parameters import chosen_store
from connector.dashboard.tables import Cell, Column, Table
from connector.dashboard.timeline import beacon_steps, copy_steps, timeline
from connector.mapping import hashing
from connector.mapping.event_id import subjects_of
from connector.mapping.redaction import redacted
from connector.meter.event_copies import EventKey, event_copies
from connector.outbox.queries import OutboxQueries, Subject
from connector.setup.records import SetupRecords
from connector.signals.seen_beacons import seen_beacons
from connector.storage.database import Database

DAY_SHOWN = 23 * HOUR  # seconds: with the hour under way, the "24 h" of the overview
UNKNOWN = "Nothing is on record for this order, checkout or customer, or its records are past their retention time."


def add_reading_routes(blueprint: Blueprint, guard: LoginGuard, config: Config, database: Database) -> None:
    """Add `/`, `/search` and `/story`."""
    queries = OutboxQueries(database)

    @blueprint.get("/")
    @guard.login_required
    def home() -> Response | str:
        store = chosen_store(config, request.args)
        overview = read_overview(config, database, store, time.time())
        accuracy = latest_accuracy(database, (health.store for health in overview.stores), time.time())
        tables = [make(overview) for make in (skip_table, coverage_table, customer_table, browser_table, value_table)]
        numbers = [chart.table(f"chart{number}") for number, chart in enumerate(overview.charts, 1)]
        if answer := csv_answer([*tables, *numbers]):
            return answer
        return render_template(
            "overview.html",
            overview=overview,
            accuracy=accuracy,
            complete=SetupRecords(database).complete(config.stores),
            tables={table.name: table for table in tables},
            since=overview.now - DAY_SHOWN,
            events_address=events_address,
            chosen=store,
            stores=config.stores,
        )

    @blueprint.route("/search", methods=["GET", "POST"])
    @guard.login_required
    def search() -> Response | str:
        key = request.form.get("key", "").strip()[:256] if request.method == "POST" else ""
        if not key:
            return render_template("search.html", searched=False)
        subjects = _search(queries, key, config)
        if len(subjects) == 1:
            (subject,) = subjects
            return make_response(redirect(url_for(".story", store=subject.store, key=subject.object_key), 303))
        is_email = "@" in key
        return render_template(
            "search.html", searched=True, subjects=subjects, is_email=is_email, key="" if is_email else key
        )

    @blueprint.get("/story")
    @guard.login_required
    def story() -> Response | str | tuple[str, int]:
        store, key = request.args.get("store", ""), request.args.get("key", "")[:256]
        webhooks, events = queries.story(store, key)
        notice = queries.notice(store, key)
        if not webhooks and not events and not notice:
            return render_template("failed.html", status=404, sentence=UNKNOWN), 404
        received = _webhook_table(webhooks)
        if answer := csv_answer([received]):
            return answer
        browser = beacon_steps(seen_beacons(database, store, key, {row.checkout for row in events if row.checkout}))
        copies = event_copies(database, store, map(_event_key, events))
        now, settings = time.time(), config.stores.get(store)
        return render_template(
            "story.html",
            store=store,
            key=key,
            number=next((webhook.order_number for webhook in webhooks if webhook.order_number), ""),
            received=received,
            notice=labels.notice_sentence(notice, now) if notice else "",
            events=[
                _describe_event(row, settings, now)
                | {"line": timeline(row, webhooks, [*browser, *copy_steps(copies.get(_event_key(row)))], now)}
                for row in events
            ],
        )


def _event_key(row: Any) -> EventKey:
    return row.pixel, row.event, row.event_id


def _webhook_table(webhooks: Sequence[Any]) -> Table:
    columns = (
        Column("received", "time"), Column("topic", "code"), Column("outcome", beside="meaning"),
        Column("reason", long=True),
    )  # fmt: skip
    rows = [
        (line.received_at, line.topic, Cell(line.outcome, beside=labels.OUTCOMES.get(line.outcome, "")), line.reason)
        for line in webhooks
    ]
    return Table("webhooks", "Webhooks received", columns, rows, stacked=True)


def _search(queries: OutboxQueries, key: str, config: Config) -> list[Subject]:
    if "@" in key:
        digest = hashing.email(key)
        return queries.search("", bytes.fromhex(digest)) if digest else []
    return queries.search(key) or _search_by_future_event_id(queries, key, config)


def _search_by_future_event_id(queries: OutboxQueries, event_id: str, config: Config) -> list[Subject]:
    """Return what an event of this id would be about; a skipped order, for example, has no event."""
    candidates = [candidate for candidate in subjects_of(event_id, config.stores.values()) if candidate.key]
    return [
        subject
        for candidate in candidates
        for subject in queries.search(candidate.key)
        if subject.store == candidate.store
    ]


def _describe_event(row: Any, store: Store | None, now: float) -> dict[str, Any]:
    return {
        "row": row,
        "offline": labels.is_offline(row, store),
        "state": labels.state_sentence(row, now),
        "meaning": labels.meaning(row.code),
        "merging": labels.merging(row, store),
        "remembered": labels.remembered(row),
        "payload": redacted(row.payload, indent=2),
        "replayable": row.state in ("rejected", "expired") and row.payload is not None,
    }
