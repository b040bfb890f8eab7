"""The dashboard over a real database: who gets in."""

import io
import logging

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine

from connector.dashboard.auth import MAX_PER_CALLER
from tests.support.admin_site import PAGES, PASSWORD, Site, token

pytestmark = pytest.mark.databases("sqlite")


class TestWho:
    """Nobody gets in without the password."""

    def test_without_a_password_there_is_no_dashboard(self, engine: Engine) -> None:
        """And the answer says how to have one."""
        browser = Site(engine, ADMIN_PASSWORD="").app.test_client()
        answer = browser.get("/")
        assert answer.status_code == 404
        assert "ADMIN_PASSWORD" in answer.json["error"]
        assert {browser.get(page).status_code for page in ("/login", "/failed", "/search")} == {404}

    @pytest.mark.parametrize("page", PAGES)
    def test_every_page_asks_for_the_password(self, site: Site, page: str) -> None:
        """A stranger sees the login and nothing else; a made-up cookie changes nothing."""
        browser = site.app.test_client()
        browser.set_cookie("connector_session", "W10.made-up")
        answer = browser.get(page)
        assert (answer.status_code, answer.headers["Location"]) == (303, "/login")
        assert browser.get("/login").status_code == 200

    @pytest.mark.parametrize("route", ["/replay", "/replay-parked", "/logout", "/search"])
    def test_nothing_is_done_for_a_stranger(self, site: Site, route: str) -> None:
        """Not even with a form."""
        before = site.states()
        answer = site.app.test_client().post(route, data={"state": "rejected", "token": ""})
        assert (answer.status_code, answer.headers["Location"]) == (303, "/login")
        assert site.states() == before

    def test_a_wrong_password_is_said(self, site: Site) -> None:
        """In a sentence a screen reader reads at once."""
        answer = site.app.test_client().post("/login", data={"password": "guess"})
        assert answer.status_code == 401
        assert 'role="alert">Wrong password.' in answer.text
        assert "Set-Cookie" not in answer.headers

    def test_a_body_that_cannot_be_read_is_a_bad_request(self, site: Site, caplog: pytest.LogCaptureFixture) -> None:
        """Strangers send chunks that are none, which gunicorn raises as a kind of its own: nothing for the log."""

        class Torn(io.RawIOBase):
            def readinto(self, _: object) -> int:
                raise RuntimeError("no chunk")

        caplog.clear()
        torn = {"wsgi.input": Torn(), "wsgi.input_terminated": True}
        browser = site.app.test_client()
        answer = browser.post("/login", content_type="application/x-www-form-urlencoded", environ_overrides=torn)
        assert answer.status_code == 400
        assert not [record for record in caplog.records if record.levelno >= logging.ERROR]

    def test_guessing_ends_soon_even_with_the_right_one(self, site: Site) -> None:
        """And /metrics counts together with it."""
        browser = site.app.test_client()
        statuses = [browser.post("/login", data={"password": "guess"}).status_code for _ in range(MAX_PER_CALLER + 1)]
        assert statuses == [401] * MAX_PER_CALLER + [429]
        assert browser.post("/login", data={"password": PASSWORD}).status_code == 429
        assert browser.get("/metrics", auth=("", PASSWORD)).status_code == 429

    def test_the_cookie_is_for_this_site_and_no_script(self, site: Site) -> None:
        """Over plain http on one's own machine it is not marked secure, or no browser would send it."""
        answer = site.app.test_client().post("/login", data={"password": PASSWORD})
        (cookie,) = answer.headers.getlist("Set-Cookie")
        assert {"HttpOnly", "SameSite=Lax", "Max-Age=43200", "Path=/"} <= set(cookie.split("; "))
        assert "Secure" not in cookie

    @pytest.mark.parametrize(("hops", "secure"), [("1", True), ("0", False)])
    def test_it_is_secure_when_a_trusted_proxy_says_https(self, engine: Engine, hops: str, secure: bool) -> None:
        """Anybody may write the header, so without such a proxy it is not believed."""
        browser = Site(engine, TRUSTED_PROXIES=hops).app.test_client()
        answer = browser.post("/login", data={"password": PASSWORD}, headers={"X-Forwarded-Proto": "https"})
        assert ("Secure" in answer.headers["Set-Cookie"]) is secure

    def test_another_password_ends_the_session(self, site: Site, inside: FlaskClient, engine: Engine) -> None:
        """Everywhere, also in processes that were not asked."""
        cookie = inside.get_cookie("connector_session")
        assert cookie
        other = Site(engine, ADMIN_PASSWORD="another one").app.test_client()
        other.set_cookie("connector_session", cookie.value)
        assert other.get("/").status_code == 303

    def test_logging_out(self, inside: FlaskClient) -> None:
        """The cookie is gone."""
        answer = inside.post("/logout", data={"token": token(inside)})
        assert (answer.status_code, answer.headers["Location"]) == (303, "/login")
        assert inside.get("/").status_code == 303

    @pytest.mark.parametrize("route", ["/replay", "/replay-parked", "/logout"])
    @pytest.mark.parametrize("form", [{}, {"token": ""}, {"token": "guess"}, {"token": "\udcff"}])
    def test_a_form_that_is_not_ours_does_nothing(
        self, site: Site, inside: FlaskClient, route: str, form: dict[str, str]
    ) -> None:
        """Another site's form has the cookie at best, never the token."""
        before, parked = site.states(), site.queries.parked_lines()
        data = {name: value.encode(errors="surrogateescape") for name, value in form.items()}
        answer = inside.post(route, data=data | {"state": b"rejected"})
        assert answer.status_code == 400
        assert "load the page again" in answer.text
        assert (site.states(), site.queries.parked_lines()) == (before, parked)
