"""Routes that list failed events and parked webhooks, the newest first, one page at a time."""

from flask import Blueprint, render_template, request

from connector.config.settings import Config
from connector.dashboard import labels
from connector.dashboard.login import LoginGuard
from connector.dashboard.parameters import chosen_state, chosen_store, is_row_id, page_start
from connector.outbox.queries import EventFilter, OutboxQueries

PAGE = 50  # rows


def add_list_routes(blueprint: Blueprint, guard: LoginGuard, config: Config, queries: OutboxQueries) -> None:
    """Add `/failed` and `/parked`."""

    @blueprint.get("/failed")
    @guard.login_required
    def failed() -> str:
        store, state = chosen_store(config, request.args), chosen_state(request.args)
        rows = queries.find(EventFilter(store=store, state=state, before=page_start()), PAGE + 1)
        last = rows[PAGE - 1] if len(rows) > PAGE else None
        next_page = {"before": f"{last.created_at!r}:{last.id}", "state": state, "store": store} if last else None
        return render_template(
            "failures.html",
            rows=rows[:PAGE],
            state=state,
            chosen=store,
            stores=config.stores,
            meaning=labels.meaning,
            next_page=next_page,
        )

    @blueprint.get("/parked")
    @guard.login_required
    def parked() -> str:
        store, before = chosen_store(config, request.args), request.args.get("before", "")
        webhooks = queries.parked_lines(store, PAGE + 1, int(before) if is_row_id(before) else None)
        next_page = {"before": webhooks[PAGE - 1].id, "store": store} if len(webhooks) > PAGE else None
        return render_template(
            "parked.html", webhooks=webhooks[:PAGE], chosen=store, stores=config.stores, next_page=next_page
        )
