"""The dashboard's routes: thin. Each asks the desk, the tallies or the overview, and fills a template.

Whoever is not in gets the login page. What changes something is a POST with the session's token in its form, and is
answered by a redirect to the page it came from, which then says what was done. An e-mail address is searched for by
POST and hashed at once: it is in no address, no log and no page.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for
from werkzeug.exceptions import BadRequest, HTTPException

from connector.config.settings import Config
from connector.core.store import Store
from connector.core.text import duration, how_many
from connector.dashboard import labels
from connector.dashboard.auth import Authenticator
from connector.dashboard.login import LoginGuard
from connector.dashboard.overview import overview
from connector.intake.intake import Intake
from connector.intake.replay import plan_replay, replay_events, replay_parked
from connector.mapping import hashing
from connector.mapping.event_id import subjects_of
from connector.mapping.redaction import redacted
from connector.monitoring.event_stats import KEYS
from connector.outbox.queries import EventFilter, OutboxQueries, Subject
from connector.storage.database import CannotStore, Database

PAGE = 50  # rows
MAX_REPLAYED = 10_000  # events that one press of a button makes due again; a request must not take for ever
PARKED_AT_ONCE = 200
OFF = "the dashboard is off; set ADMIN_PASSWORD to a long random text to turn it on"
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def pages(config: Config, database: Database, authenticator: Authenticator, intake: Intake) -> Blueprint:
    """All routes, as a blueprint; without ADMIN_PASSWORD only a 404 that says how to turn them on."""
    if authenticator.closed:
        return _closed()
    site = Blueprint(
        "dashboard", __name__, template_folder="templates", static_folder="static", static_url_path="/static"
    )
    guard = LoginGuard(site, authenticator, config.trusted_proxies)
    site.before_request(_read)
    site.after_request(_guard)
    site.register_error_handler(HTTPException, lambda error: _failed(error.code or 500, error.description or ""))
    site.register_error_handler(CannotStore, lambda _: _failed(503, "The database does not answer just now."))
    site.context_processor(
        lambda: {
            "at": labels.at,
            "span": duration,
            "subject": labels.subject,
            "told": labels.problem_parts,
            "guard": guard,
        }
    )
    queries = OutboxQueries(database)
    _add_reading(site, guard, config, database, queries)
    _add_lists(site, guard, config, queries)
    _add_replaying(site, guard, config, queries, intake)
    return site


def _closed() -> Blueprint:
    site = Blueprint("dashboard", __name__)

    @site.get("/")
    def off() -> tuple[dict[str, str], int]:
        return {"error": OFF}, 404

    return site


def _read() -> None:
    """The form, before anything is done: gunicorn raises kinds of its own for chunks that are none."""
    try:
        _ = request.form
    except HTTPException:
        raise
    except Exception as error:
        raise BadRequest("The form could not be read. Load the page again and try once more.") from error


def _guard(response: Response) -> Response:
    response.headers.update(HEADERS)
    if request.endpoint == "dashboard.static":
        response.headers["Cache-Control"] = "public, max-age=3600"
    return response


def _failed(status: int, sentence: str) -> tuple[str, int]:
    return render_template("failed.html", status=status, sentence=sentence), status


# --- reading ------------------------------------------------------------------------------------------------


def _add_reading(
    site: Blueprint, guard: LoginGuard, config: Config, database: Database, queries: OutboxQueries
) -> None:
    @site.get("/")
    @guard.inside
    def home() -> str:
        store, now = _store(config), _now()
        found = overview(config, database, store, now)
        return render_template("overview.html", it=found, keys=KEYS, chosen=store, stores=config.stores)

    @site.route("/search", methods=["GET", "POST"])
    @guard.inside
    def search() -> Response | str:
        key = request.form.get("key", "").strip()[:256] if request.method == "POST" else ""
        if not key:
            return render_template("search.html", asked=False, found=[])
        if "@" in key:
            digest = hashing.email(key)
            found = queries.search("", bytes.fromhex(digest)) if digest else []
        else:
            found = queries.search(key) or _of_named(queries, key, config)
        if len(found) == 1:
            return make_response(redirect(url_for(".story", store=found[0].store, key=found[0].object_key), 303))
        return render_template("search.html", asked=True, found=found, mail="@" in key, key="" if "@" in key else key)

    @site.get("/story")
    @guard.inside
    def story() -> str | tuple[str, int]:
        store, key = request.args.get("store", ""), request.args.get("key", "")[:256]
        lines, events = queries.story(store, key)
        if not lines and not events:
            return _failed(404, "Nothing is known of this order, checkout or customer (any more).")
        number = next((line.order_number for line in lines if line.order_number), "")
        told = [_told(row, config.stores.get(store), _now()) for row in events]
        return render_template("story.html", store=store, key=key, number=number, lines=lines, events=told,
                               outcomes=labels.OUTCOMES)  # fmt: skip


def _add_lists(site: Blueprint, guard: LoginGuard, config: Config, queries: OutboxQueries) -> None:
    @site.get("/failed")
    @guard.inside
    def failed() -> str:
        store, state = _store(config), _state()
        rows = queries.find(EventFilter(store=store, state=state, before=_before()), PAGE + 1)
        last = rows[PAGE - 1] if len(rows) > PAGE else None
        more = {"before": f"{last.created_at!r}:{last.id}", "state": state, "store": store} if last else None
        return render_template("failures.html", rows=rows[:PAGE], state=state, chosen=store, stores=config.stores,
                               meaning=labels.meaning, more=more)  # fmt: skip

    @site.get("/parked")
    @guard.inside
    def parked() -> str:
        store, before = _store(config), request.args.get("before", "")
        lines = queries.parked_lines(store, PAGE + 1, int(before) if _is_id(before) else None)
        more = {"before": lines[PAGE - 1].id, "store": store} if len(lines) > PAGE else None
        return render_template("parked.html", lines=lines[:PAGE], chosen=store, stores=config.stores, more=more)


# --- replaying ----------------------------------------------------------------------------------------------


def _add_replaying(site: Blueprint, guard: LoginGuard, config: Config, queries: OutboxQueries, intake: Intake) -> None:
    @site.post("/replay")
    @guard.inside
    @guard.ours
    def replay() -> Response:
        one, store = _one(), _store(config, request.form)
        choice = EventFilter(store=store, state=_state(request.form)) if one is None else EventFilter(rows=(one,))
        plan = plan_replay(config, queries, choice, force=False, most=MAX_REPLAYED)
        number = replay_events(queries, plan)
        said = [f"{how_many(number, 'event is', 'events are')} due again."]
        said += [f"{many} not: {why}." for why, many in plan.refused.most_common(5)]
        if number + plan.refused.total() == MAX_REPLAYED:
            said.append("Those were as many as one press does; press again for the rest.")
        return guard.say(_back(), " ".join(said))

    @site.post("/replay-parked")
    @guard.inside
    @guard.ours
    def replay_kept() -> Response:
        one, store = _one(), _store(config, request.form)
        most, after = (PARKED_AT_ONCE, 0) if one is None else (1, one - 1)
        if one is not None and [item.id for item in queries.parked(store, 1, after)] != [one]:
            return guard.say(_back(), "It is not parked any more.")
        outcomes = replay_parked(intake, queries, store, dry_run=False, most=most, after=after)
        said = [f"{many} × {what}." for what, many in outcomes.most_common(5)] or ["Nothing was parked any more."]
        if outcomes.total() == PARKED_AT_ONCE:
            said.append("Those were as many as one press does.")
        return guard.say(_back(), " ".join(said))


def _of_named(queries: OutboxQueries, event_id: str, config: Config) -> list[Subject]:
    """Where there is no event of this id: what it would be of."""
    named = [one for one in subjects_of(event_id, config.stores.values()) if one.key]
    return [found for one in named for found in queries.search(one.key) if found.store == one.store]


def _told(row: Any, store: Store | None, now: float) -> dict[str, Any]:
    """An event of a story, in words."""
    return {
        "row": row,
        "state": labels.state_sentence(row, now),
        "meaning": labels.meaning(row.code),
        "merging": labels.merging(row, store),
        "payload": redacted(row.payload, indent=2),
        "again": row.state in ("rejected", "expired") and row.payload is not None,
    }


def _back() -> Response:
    """The page of ours a form names by its parts; never an address that somebody wrote."""
    page = {"failed": ".failed", "parked": ".parked", "story": ".story"}.get(request.form.get("page", ""), ".home")
    query = {name: value for name in ("state", "store", "key") if (value := request.form.get(name, ""))}
    address = url_for(page)
    return make_response(redirect(f"{address}?{urlencode(query)}" if query else address, 303))


def _store(config: Config, given: Mapping[str, str] | None = None) -> str:
    name = (request.args if given is None else given).get("store", "")
    return name if name in config.stores else ""


def _state(given: Mapping[str, str] | None = None) -> str:
    return "expired" if (request.args if given is None else given).get("state") == "expired" else "rejected"


def _one() -> int | None:
    """The row a form is about; None when it is about all of them. What names no row is about nothing."""
    given = request.form.get("id")
    if given is not None and not _is_id(given):
        raise BadRequest("This form is out of date. Go back, load the page again and try once more.")
    return None if given is None else int(given)


def _before() -> tuple[float, int] | None:
    moment, _, row = request.args.get("before", "").partition(":")
    try:
        return (float(moment), int(row)) if _is_id(row) else None
    except ValueError:
        return None


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 19


def _now() -> float:
    return datetime.now(UTC).timestamp()
