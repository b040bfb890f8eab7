"""The dashboard's door: login, logout, the session's cookie, the token in forms, and what is said after a redirect."""

import hmac
from collections.abc import Callable
from functools import wraps
from typing import TypeVar

from flask import Blueprint, Response, g, make_response, redirect, render_template, request, url_for
from werkzeug.exceptions import BadRequest

from connector.dashboard.auth import LASTS, Authenticator, Session, caller

View = TypeVar("View", bound=Callable[..., object])
COOKIE = "connector_session"
NOTE = "connector_note"


class LoginGuard:
    """Lets into `site` whoever has a session, and gives one to whoever knows the password."""

    def __init__(self, site: Blueprint, authenticator: Authenticator, hops: int) -> None:
        self._authenticator = authenticator
        self._hops = hops
        site.add_url_rule("/login", "login", self._login, methods=["GET", "POST"])
        site.add_url_rule("/logout", "logout", self.inside(self.ours(self._logout)), methods=["POST"])
        site.after_request(self._forget_note)

    @property
    def session(self) -> Session | None:
        """Of the request under way."""
        if "session" not in g:
            g.session = self._authenticator.session(request.cookies.get(COOKIE, ""))
        return g.session  # type: ignore[no-any-return]

    @property
    def note(self) -> str:
        """What the page before wants to be said."""
        g.told = True
        return self._authenticator.unseal(request.cookies.get(NOTE, ""))

    def inside(self, view: View) -> View:
        """Only with a session; without, to the login."""

        @wraps(view)
        def guarded(*args: object, **named: object) -> object:
            return view(*args, **named) if self.session else _to("dashboard.login")

        return guarded  # type: ignore[return-value]

    def ours(self, view: View) -> View:
        """Only from a form of ours: another site's knows no token."""

        @wraps(view)
        def guarded(*args: object, **named: object) -> object:
            token = self.session.token if self.session else ""
            if not token or not hmac.compare_digest(request.form.get("token", "").encode(), token.encode()):
                raise BadRequest("This form is out of date. Go back, load the page again and try once more.")
            return view(*args, **named)

        return guarded  # type: ignore[return-value]

    def say(self, response: Response, sentence: str) -> Response:
        """Let the next page say it, once."""
        self._set(response, NOTE, self._authenticator.seal(sentence[:1500]), 60)
        return response

    def _login(self) -> Response | str | tuple[str, int]:
        if self.session:
            return _to("dashboard.home")
        if request.method == "GET":
            return render_template("login.html", wrong="")
        who = caller(request.remote_addr or "", request.headers.get("X-Forwarded-For", ""), self._hops)
        match self._authenticator.ask(request.form.get("password", ""), who):
            case "in":
                response = _to("dashboard.home")
                cookie, _ = self._authenticator.begin()
                self._set(response, COOKIE, cookie, int(LASTS))
                return response
            case "wait":
                return render_template("login.html", wrong="Too many wrong passwords. Try again in five minutes."), 429
            case "wrong":
                return render_template("login.html", wrong="This is not the password (ADMIN_PASSWORD)."), 401

    def _logout(self) -> Response:
        response = _to("dashboard.login")
        response.delete_cookie(COOKIE, httponly=True, samesite="Lax", secure=self._encrypted())
        return response

    def _set(self, response: Response, name: str, value: str, seconds: int) -> None:
        response.set_cookie(name, value, max_age=seconds, httponly=True, samesite="Lax", secure=self._encrypted())

    def _encrypted(self) -> bool:
        """Whether the browser came by https, as far as a trusted proxy says so."""
        last = request.headers.get("X-Forwarded-Proto", "").rpartition(",")[2].strip().lower()
        return request.is_secure or (self._hops > 0 and last == "https")

    def _forget_note(self, response: Response) -> Response:
        if g.get("told") and NOTE in request.cookies:
            response.delete_cookie(NOTE, httponly=True, samesite="Lax")
        return response


def _to(page: str) -> Response:
    return make_response(redirect(url_for(page), 303))
