"""Login and logout, the session cookie, CSRF tokens, and the note that a page shows after a redirect."""

import hmac
from collections.abc import Callable
from functools import wraps
from typing import TypeVar

from flask import Blueprint, Response, g, make_response, redirect, render_template, request, url_for
from werkzeug.exceptions import BadRequest

from connector.dashboard.auth import SESSION_SECONDS, Authenticator, Session, caller_id

View = TypeVar("View", bound=Callable[..., object])
SESSION_COOKIE = "connector_session"
NOTE_COOKIE = "connector_note"
NOTE_SECONDS = 60
OUTDATED_FORM = "This form is out of date. Go back, load the page again and try once more."


class LoginGuard:
    """Adds the login and logout routes to a blueprint, and protects its other views."""

    def __init__(self, blueprint: Blueprint, authenticator: Authenticator, trusted_proxies: int) -> None:
        self._authenticator = authenticator
        self._trusted_proxies = trusted_proxies
        self.landing: Callable[[], str] = lambda: url_for("dashboard.home")  # the page after the login
        logout = self.login_required(self.token_required(self._logout))
        blueprint.add_url_rule("/login", "login", self._login, methods=["GET", "POST"])
        blueprint.add_url_rule("/logout", "logout", logout, methods=["POST"])
        blueprint.after_request(self._delete_shown_note)

    @property
    def session(self) -> Session | None:
        """The session of the current request; None if not logged in."""
        if "session" not in g:
            g.session = self._authenticator.read_session(request.cookies.get(SESSION_COOKIE, ""))
        return g.session  # type: ignore[no-any-return]

    @property
    def note(self) -> str:
        """The note set by the previous response, or ""; reading it deletes it from the browser."""
        g.note_shown = True
        return self._authenticator.read_note(request.cookies.get(NOTE_COOKIE, ""))

    def login_required(self, view: View) -> View:
        """Decorate a view: without a session it redirects to the login page."""

        @wraps(view)
        def guarded(*args: object, **named: object) -> object:
            return view(*args, **named) if self.session else _redirect_to("dashboard.login")

        return guarded  # type: ignore[return-value]

    def token_required(self, view: View) -> View:
        """Decorate a view: without the session's CSRF token in the form it raises BadRequest."""

        @wraps(view)
        def guarded(*args: object, **named: object) -> object:
            token = self.session.token if self.session else ""
            if not token or not hmac.compare_digest(request.form.get("token", "").encode(), token.encode()):
                raise BadRequest(OUTDATED_FORM)
            return view(*args, **named)

        return guarded  # type: ignore[return-value]

    def with_note(self, response: Response, sentence: str) -> Response:
        """Return the response with a note that the next page shows once."""
        self._set_cookie(response, NOTE_COOKIE, self._authenticator.sign_note(sentence[:1500]), NOTE_SECONDS)
        return response

    def _login(self) -> Response | str | tuple[str, int]:
        if self.session:
            return _redirect_to("dashboard.home")
        if request.method == "GET":
            return render_template("login.html", error="")
        caller = caller_id(request.remote_addr or "", request.headers.get("X-Forwarded-For", ""), self._trusted_proxies)
        match self._authenticator.verify_password(request.form.get("password", ""), caller):
            case "in":
                response = make_response(redirect(self.landing(), 303))
                cookie, _ = self._authenticator.start_session()
                self._set_cookie(response, SESSION_COOKIE, cookie, int(SESSION_SECONDS))
                return response
            case "wait":
                return render_template("login.html", error="Too many wrong passwords. Try again in five minutes."), 429
            case "wrong":
                return render_template("login.html", error="Wrong password. Enter the value of ADMIN_PASSWORD."), 401

    def _logout(self) -> Response:
        response = _redirect_to("dashboard.login")
        response.delete_cookie(SESSION_COOKIE, httponly=True, samesite="Lax", secure=self._is_https())
        return response

    def _set_cookie(self, response: Response, name: str, value: str, seconds: int) -> None:
        response.set_cookie(name, value, max_age=seconds, httponly=True, samesite="Lax", secure=self._is_https())

    def _is_https(self) -> bool:
        """True if the browser used HTTPS; X-Forwarded-Proto counts only behind a trusted proxy."""
        last = request.headers.get("X-Forwarded-Proto", "").rpartition(",")[2].strip().lower()
        return request.is_secure or (self._trusted_proxies > 0 and last == "https")

    def _delete_shown_note(self, response: Response) -> Response:
        if g.get("note_shown") and NOTE_COOKIE in request.cookies:
            response.delete_cookie(NOTE_COOKIE, httponly=True, samesite="Lax")
        return response


def _redirect_to(endpoint: str) -> Response:
    return make_response(redirect(url_for(endpoint), 303))
