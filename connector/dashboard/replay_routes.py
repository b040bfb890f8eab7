"""Routes behind the buttons that replay failed events and parked webhooks.

Each is a POST with the session's CSRF token; it redirects back to the page with the button, which shows the result.
"""

from urllib.parse import urlencode

from flask import Blueprint, Response, make_response, redirect, request, url_for

from connector.config.settings import Config
from connector.core.text import how_many
from connector.dashboard.login import LoginGuard
from connector.dashboard.parameters import chosen_state, chosen_store, form_row
from connector.intake.intake import Intake
from connector.intake.replay import plan_replay, replay_events, replay_parked
from connector.outbox.queries import EventFilter, OutboxQueries

MAX_EVENTS = 10_000  # events per request, to bound its duration
MAX_PARKED = 200  # parked webhooks per request; each is processed again


def add_replay_routes(
    blueprint: Blueprint, guard: LoginGuard, config: Config, queries: OutboxQueries, intake: Intake
) -> None:
    """Add `/replay` and `/replay-parked`."""

    @blueprint.post("/replay")
    @guard.login_required
    @guard.token_required
    def replay() -> Response:
        row, store = form_row(), chosen_store(config, request.form)
        choice = EventFilter(store=store, state=chosen_state(request.form)) if row is None else EventFilter(rows=(row,))
        return guard.with_note(_redirect_back(), _replay_events(config, queries, choice))

    @blueprint.post("/replay-parked")
    @guard.login_required
    @guard.token_required
    def replay_parked_webhooks() -> Response:
        row, store = form_row(), chosen_store(config, request.form)
        return guard.with_note(_redirect_back(), _replay_parked(queries, intake, store, row))


def _replay_events(config: Config, queries: OutboxQueries, choice: EventFilter) -> str:
    plan = plan_replay(config, queries, choice, force=False, most=MAX_EVENTS)
    replayed = replay_events(queries, plan)
    sentences = [f"{how_many(replayed, 'event is', 'events are')} due again."]
    sentences += [f"{number} not replayed: {reason}." for reason, number in plan.left_out.most_common(5)]
    if replayed + plan.left_out.total() == MAX_EVENTS:
        sentences.append(f"One request handles {MAX_EVENTS} events; press again for the rest.")
    return " ".join(sentences)


def _replay_parked(queries: OutboxQueries, intake: Intake, store: str, row: int | None) -> str:
    most, after = (MAX_PARKED, 0) if row is None else (1, row - 1)
    if row is not None and [webhook.id for webhook in queries.parked(store, 1, after)] != [row]:
        return "This webhook is no longer parked."
    outcomes = replay_parked(intake, queries, store, dry_run=False, most=most, after=after)
    sentences = [f"{number} × {outcome}." for outcome, number in outcomes.most_common(5)]
    if outcomes.total() == MAX_PARKED:
        sentences.append(f"One request handles {MAX_PARKED} webhooks; press again for the rest.")
    return " ".join(sentences) or "No webhook is parked any more."


def _redirect_back() -> Response:
    """Redirect to the page that the form names; only to this dashboard's own pages."""
    page = {"failed": ".failed", "parked": ".parked", "story": ".story"}.get(request.form.get("page", ""), ".home")
    query = {name: value for name in ("state", "store", "key") if (value := request.form.get(name, ""))}
    address = url_for(page)
    return make_response(redirect(f"{address}?{urlencode(query)}" if query else address, 303))
