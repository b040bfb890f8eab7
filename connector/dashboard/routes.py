"""The dashboard's blueprint: its routes, response headers and error pages.

Routes only call queries and fill templates. They are in the modules `…_routes`, login and logout in `login`; every page
but the login requires a session.
"""

from collections.abc import Mapping

from flask import Blueprint, Response, render_template, request
from werkzeug.exceptions import BadRequest, HTTPException

from connector.config.settings import Config
from connector.core.platform import Platform
from connector.core.text import delay, duration, percent
from connector.dashboard import labels
from connector.dashboard.auth import Authenticator
from connector.dashboard.book_routes import add_book_routes
from connector.dashboard.history_routes import add_history_routes
from connector.dashboard.key_routes import add_key_routes
from connector.dashboard.list_routes import add_list_routes
from connector.dashboard.login import LoginGuard
from connector.dashboard.merge_routes import add_merge_routes
from connector.dashboard.page_parts import add_page_parts
from connector.dashboard.reading_routes import add_reading_routes
from connector.dashboard.replay_routes import add_replay_routes
from connector.dashboard.setup_routes import Reload, add_setup_routes
from connector.dashboard.store_form_routes import add_store_form_routes
from connector.intake.intake import Intake
from connector.outbox.queries import OutboxQueries
from connector.storage.database import CannotStore, Database

DISABLED = "the dashboard is off; set ADMIN_PASSWORD to a long random text to turn it on"
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def pages(
    config: Config,
    database: Database,
    authenticator: Authenticator,
    intake: Intake,
    platforms: Mapping[str, Platform],
    reload: Reload | None = None,
) -> Blueprint:
    """Return the blueprint with all routes; without ADMIN_PASSWORD, one whose 404 says how to enable the dashboard.

    `reload` reads the settings as they are written now, which the setup compares with those that run.
    """
    if authenticator.disabled:
        return _disabled_blueprint()
    blueprint = Blueprint(
        "dashboard", __name__, template_folder="templates", static_folder="static", static_url_path="/static"
    )
    guard = LoginGuard(blueprint, authenticator, config.trusted_proxies)
    add_page_parts(blueprint)
    blueprint.before_request(_read_form)
    blueprint.after_request(_set_headers)
    blueprint.register_error_handler(HTTPException, _http_error_page)
    blueprint.register_error_handler(CannotStore, lambda _: _error_page(503, "The database does not answer."))
    blueprint.context_processor(
        lambda: {
            "at": labels.at,
            "span": duration,
            "percent": percent,
            "delay": delay,
            "subject": labels.subject,
            "problem_parts": labels.problem_parts,
            "guard": guard,
        }
    )
    queries = OutboxQueries(database)
    add_reading_routes(blueprint, guard, config, database)
    add_book_routes(blueprint, guard, config, database, platforms)
    add_history_routes(blueprint, guard, config, database)
    add_merge_routes(blueprint, guard, config, database)
    add_key_routes(blueprint, guard, config, database)
    add_list_routes(blueprint, guard, config, queries)
    add_replay_routes(blueprint, guard, config, queries, intake)
    add_setup_routes(blueprint, guard, config, database, platforms, reload)
    add_store_form_routes(blueprint, guard, config)
    return blueprint


def _disabled_blueprint() -> Blueprint:
    blueprint = Blueprint("dashboard", __name__)

    @blueprint.get("/")
    def disabled() -> tuple[dict[str, str], int]:
        return {"error": DISABLED}, 404

    return blueprint


def _read_form() -> None:
    """Read the form before any view runs: for a malformed body gunicorn raises exceptions that are no HTTP errors."""
    try:
        _ = request.form
    except HTTPException:
        raise
    except Exception as error:
        raise BadRequest("The form could not be read. Load the page again and try once more.") from error


def _set_headers(response: Response) -> Response:
    response.headers.update(HEADERS)
    if request.endpoint == "dashboard.static":
        response.headers["Cache-Control"] = "public, max-age=3600"
    return response


def _http_error_page(error: HTTPException) -> tuple[str, int]:
    return _error_page(error.code or 500, error.description or "")


def _error_page(status: int, sentence: str) -> tuple[str, int]:
    return render_template("failed.html", status=status, sentence=sentence), status
