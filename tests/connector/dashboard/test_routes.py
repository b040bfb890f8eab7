"""The dashboard's pages over a real database: who gets in, what is shown and found, what the buttons do."""

import io
import logging
import re
import time
from collections.abc import Callable

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from connector.config.settings import load
from connector.dashboard.auth import MAX_PER_CALLER
from connector.dashboard.list_routes import PAGE
from connector.dashboard.routes import HEADERS
from connector.monitoring.alerts import AlertStore
from connector.monitoring.problems import ProblemFinder
from connector.outbox.lanes import Lane, fingerprint
from connector.outbox.ledger import Decision
from connector.outbox.outbox import ParkedWebhook
from connector.outbox.queries import EventFilter
from connector.storage.database import Database
from connector.storage.tables import events, parked
from tests.support.admin_site import PASSWORD, REASON, STORES, Site
from tests.support.filled import fill
from tests.support.web import application

ACME, TOKEN = Lane("acme", "CACME000000000000000"), "token-of-the-pages"
PAGES = ["/", "/search", "/failed", "/failed?state=expired", "/parked", "/story?store=acme&key=order:1"]


@pytest.fixture
def site(engine: Engine) -> Site:
    return Site(engine).live()


@pytest.fixture
def inside(site: Site) -> FlaskClient:
    return entered(site)


def entered(site: Site, **more: str) -> FlaskClient:
    browser = site.app.test_client()
    answer = browser.post("/login", data={"password": PASSWORD}, headers=more)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    return browser


def token(browser: FlaskClient) -> str:
    found = re.search(r'name="token" value="([^"]+)"', browser.get("/").text)
    assert found
    return found[1]


def press(browser: FlaskClient, route: str, **fields: str) -> str:
    """Send a form of ours; the text of the page that follows."""
    answer = browser.post(route, data={"token": token(browser), **fields})
    assert answer.status_code == 303, answer.text
    return browser.get(answer.headers["Location"]).text


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


class TestPages:
    """What is shown."""

    @pytest.mark.parametrize("page", [*PAGES, "/login", "/static/style.css", "/story?store=no&key=no"])
    def test_every_answer_is_guarded(self, inside: FlaskClient, page: str) -> None:
        """Strict CSP; nothing is kept by a cache but the style sheet."""
        answer = inside.get(page)
        for name, value in HEADERS.items():
            if name != "Cache-Control":
                assert answer.headers[name] == value
        assert answer.headers["Cache-Control"] == ("public, max-age=3600" if "static" in page else "no-store")
        assert "style=" not in answer.text
        assert "<script" not in answer.text

    def test_the_overview_says_how_each_store_is(self, site: Site, inside: FlaskClient) -> None:
        """Numbers of what came and what was sent, coverage and value."""
        page = inside.get("/").text
        assert page.count('<li class="card') == 2
        assert page.count("events rejected") == 2
        for words in ("became events", "accepted by TikTok", "rejected or expired", "ip + user agent", "Purchase USD"):
            assert words in page
        assert "No relay is running" not in page

    def test_a_problem_is_the_stores_word(self, site: Site, inside: FlaskClient) -> None:
        """The worst first; what can be seen in the database is known at once, before any watcher looks."""
        assert "events rejected" in inside.get("/?store=acme").text
        AlertStore(Database(site.engine)).report(
            "webhooks:acme", "store acme: none; let `connector webhooks register acme` make it"
        )
        page = inside.get("/?store=acme").text
        assert "webhooks missing in the shop" in page
        assert "None; let <code>connector webhooks register acme</code> make it." in page
        site.outbox.suspend(ACME, time.time() + 9, time.time(), fingerprint(TOKEN), "40105 revoked")
        page = inside.get("/?store=acme").text
        assert "token or permission refused" in page
        assert "(40105 revoked), so its events wait; check pixel and access_token, then restart." in page
        assert "beans.example" not in page
        assert 'class="card good"' not in page

    def test_what_is_over_is_not_told_any_more(self, site: Site, inside: FlaskClient) -> None:
        """Although the watcher, which looks once a minute, has not yet seen that it is."""
        site.outbox.suspend(ACME, time.time() + 9, time.time(), fingerprint(TOKEN), "40105 revoked")
        AlertStore(Database(site.engine)).note(
            ProblemFinder(Database(site.engine), site.config.stores).find(time.time()), ()
        )
        for words in (
            "TikTok has denied the token",
            "token or permission refused",
            "has rejected",
            "is parked",
        ):
            assert words in inside.get("/?store=acme").text
        site.outbox.resume(ACME, time.time())
        with site.engine.begin() as connection:
            connection.execute(sa.update(events).values(state="accepted"))
            connection.execute(sa.delete(parked))
        page = inside.get("/?store=acme").text
        assert 'class="problem"' not in page
        assert "flowing" in page

    def test_of_a_new_token_nobody_knows_before_it_is_tried(self, site: Site, inside: FlaskClient) -> None:
        """Whoever has changed it and restarted is not told to do so."""
        site.outbox.suspend(ACME, time.time() + 9, time.time(), fingerprint("the token before"), "40105 revoked")
        page = inside.get("/?store=acme").text
        assert "new token, not tried yet" in page
        assert "TikTok refused the previous access_token (40105 revoked); the new one is tried with the next" in page
        assert "then restart" not in page

    def test_parked_and_rejected_ones_lead_to_their_buttons(self, site: Site, inside: FlaskClient) -> None:
        """Of this store; the command is the second way."""
        page = inside.get("/").text
        assert '<a href="/parked?store=acme">See why and try again</a>, or <code>connector events replay' in page
        assert '<a href="/failed?store=beans">See which and send them again</a>, or <code>connector events' in page

    def test_no_relay_is_said_first(self, engine: Engine) -> None:
        """Nothing is sent then."""
        assert "No relay is running" in entered(Site(engine)).get("/").text

    def test_an_empty_connector_shows_that_it_is(self, engine: Engine) -> None:
        """Nothing raises when there is nothing."""
        page = entered(Site(engine)).get("/").text
        assert page.count("nothing received yet") == 2
        assert "No event was accepted in this period." in page

    def test_a_story_tells_all_of_an_order(self, site: Site, inside: FlaskClient) -> None:
        """Webhooks, decisions, events, TikTok's code, the merge window, the payload without what is personal."""
        order = site.order()
        answer = inside.post("/search", data={"key": f"#{order['order_number']}"})
        assert answer.status_code == 303
        page = inside.get(answer.headers["Location"]).text
        for words in ("orders/create", "became events", "PlaceAnOrder", "Purchase", "TikTok has accepted it",
                      "within 5 minutes, so TikTok merges it", "request_id", f"acme-order-{order['id']}"):  # fmt: skip
            assert words in page, words
        assert order["browser_ip"] not in page
        assert order["client_details"]["user_agent"] not in page
        assert order["email"] not in page

    def test_what_others_wrote_is_shown_as_text(self, inside: FlaskClient) -> None:
        """TikTok's words, topics, reasons: none of it is markup."""
        page = inside.get("/failed").text
        assert "&lt;script&gt;" in page
        assert REASON not in page

    def test_nothing_known_is_404(self, inside: FlaskClient) -> None:
        """Also for another store's order."""
        assert inside.get("/story?store=beans&key=order:1").status_code == 404

    def test_a_database_that_is_away_is_said(self, sqlite_url: str) -> None:
        """In a page, not in JSON."""
        from connector.storage.engine import connect

        engine = connect(f"{sqlite_url}/no/such/folder", timeout=0.1)
        config = load({"STORES_TOML": STORES, "ADMIN_PASSWORD": PASSWORD})
        browser = application(config, Database(engine)).pages.test_client()
        browser.post("/login", data={"password": PASSWORD})
        answer = browser.get("/")
        assert answer.status_code == 503
        assert "<h1>That did not work</h1>" in answer.text

    def test_no_page_reads_a_table_whole(self, site: Site, inside: FlaskClient, plans: Callable[[], list[str]]) -> None:
        """A million rows cost what ten cost."""
        if site.engine.dialect.name != "sqlite":
            pytest.skip("PostgreSQL plans small tables by reading them whole")
        steps = plans()
        for page in PAGES:
            inside.get(page)
        inside.post("/search", data={"key": "kim@example.com"})
        inside.post("/search", data={"key": "1001"})
        small = ("SCAN lanes", "SCAN relays", "SCAN alerts", "SCAN anon", "SCAN parked", "SCAN CONSTANT")
        assert len(steps) > 20
        assert [step for step in steps if step.startswith("SCAN") and not step.startswith(small)] == []


class TestSearch:
    """The answer for every order."""

    @pytest.mark.parametrize("key", ["number", "name", "id", "event"])
    def test_by_whatever_names_an_order(self, site: Site, inside: FlaskClient, key: str) -> None:
        """All lead to the same story."""
        order = site.order()
        words = {"number": str(order["order_number"]), "name": order["name"], "id": str(order["id"]),
                 "event": f"acme-order-{order['id']}"}  # fmt: skip
        answer = inside.post("/search", data={"key": f"  {words[key]} "})
        assert answer.headers["Location"] == f"/story?store=acme&key=order:{order['id']}"

    def test_a_skipped_order_by_the_event_id_it_would_have_had(self, site: Site, inside: FlaskClient) -> None:
        """It has no event, but a story; another store's order of that number is another matter."""
        for store in ("acme", "beans"):
            line = {"topic": "t", "body_sha256": store.encode().ljust(32), "received_at": 1.0, "outcome": "skipped"}
            site.outbox.record(Decision(store=store, reason="too old", object_key="order:77", **line))
        answer = inside.post("/search", data={"key": "acme-order-77"})
        assert answer.headers["Location"] == "/story?store=acme&key=order:77"
        assert "Nothing is on record for" in inside.post("/search", data={"key": "acme-order-78"}).text

    def test_by_e_mail_without_telling_anybody(
        self, site: Site, inside: FlaskClient, caplog: pytest.LogCaptureFixture
    ) -> None:
        """However it is written; neither an address, nor a page, nor a log has it."""
        caplog.set_level(logging.DEBUG)
        mail = site.order()["email"]
        answer = inside.post("/search", data={"key": f" {mail.upper()} "})
        text = answer.text + answer.headers.get("Location", "") + caplog.text
        assert f"order:{site.order()['id']}" in text
        assert mail.casefold() not in text.casefold()

    @pytest.mark.parametrize("key", ["nobody@example.com", "not @ address", "4711-4711"])
    def test_nothing_found_is_said(self, inside: FlaskClient, key: str) -> None:
        """With the two reasons there may be; an address is not repeated."""
        page = inside.post("/search", data={"key": key}).text
        assert "Nothing is on record for" in page
        assert ("@" in page.split("Found")[1]) is False

    def test_an_address_in_the_query_is_not_looked_for(self, inside: FlaskClient) -> None:
        """It would be in the server's logs and the browser's history."""
        assert "Found" not in inside.get("/search?key=kim@example.com").text


class TestReplay:
    """The buttons."""

    def test_one_event(self, site: Site, inside: FlaskClient) -> None:
        """It is due again, and sent with the same event_id."""
        before = site.states()
        row = site.queries.find(EventFilter(state="rejected"), 1)[0]
        page = press(inside, "/replay", id=str(row.id), page="failed", state="rejected")
        assert 'role="status">1 event is due again.' in page
        assert site.states()["rejected"] == before["rejected"] - 1
        assert "due again" not in inside.get("/failed").text  # said once
        site.healthy = True
        site.work()
        assert site.queries.find(EventFilter(rows=(row.id,)), 1)[0].state == "accepted"

    def test_all_of_a_store(self, site: Site, inside: FlaskClient) -> None:
        """And of no other."""
        page = press(inside, "/replay", state="rejected", store="beans", page="failed")
        assert "2 events are due again." in page
        assert {row.store for row in site.queries.find(EventFilter(state="rejected"), 10)} == {"acme"}

    def test_what_must_not_go_again_stays_and_is_explained(self, site: Site, inside: FlaskClient) -> None:
        """A button never insists."""
        with site.engine.begin() as connection:
            old = {"sent_at": time.time() - 48 * 3600, "occurred_at": time.time() - 48 * 3600}
            connection.execute(sa.update(events).where(events.c.state == "rejected").values(old))
        page = press(inside, "/replay", state="rejected", page="failed")
        assert "0 events are due again." in page
        assert "4 not replayed: it may have reached TikTok over 47 hours ago" in page

    def test_parked_webhooks(self, site: Site, inside: FlaskClient) -> None:
        """One, or all; what still does not fit stays."""
        site.park(b"[]")
        newest, oldest = site.queries.parked_lines()
        page = press(inside, "/replay-parked", id=str(newest.id), page="parked")
        assert "1 × still parked" in page
        with site.engine.begin() as connection:  # as if an update had mended what one of them needs
            connection.execute(sa.text(f"DELETE FROM parked WHERE id = {oldest.id}"))
        assert press(inside, "/replay-parked", page="parked").count("still parked") == 1

    def test_what_is_gone_is_not_another_one(self, site: Site, inside: FlaskClient) -> None:
        """Pressing twice, or a page that is old, touches nothing else."""
        (line,) = site.queries.parked_lines()
        page = press(inside, "/replay-parked", id=str(line.id - 1), page="parked")
        assert "This webhook is no longer parked." in page
        assert "0 events are due again" in press(inside, "/replay", id="999999", page="failed")

    @pytest.mark.parametrize("route", ["/replay", "/replay-parked"])
    @pytest.mark.parametrize("number", ["", "-1", "1; --", "٣", "9" * 40])
    def test_a_form_about_no_row_is_not_about_all(
        self, site: Site, inside: FlaskClient, route: str, number: str
    ) -> None:
        """Nothing is done."""
        before = site.states()
        assert inside.post(route, data={"token": token(inside), "id": number}).status_code == 400
        assert site.states() == before

    def test_nowhere_else_is_led_to(self, inside: FlaskClient) -> None:
        """Whatever a form says."""
        for page in ("https://evil.example", "//evil.example", "..", ""):
            answer = inside.post("/replay", data={"token": token(inside), "id": "0", "page": page})
            assert answer.headers["Location"] == "/"

    def test_a_note_cannot_be_made_up(self, inside: FlaskClient) -> None:
        """It is signed, though not secret."""
        inside.set_cookie("connector_note", "IllvdSBoYXZlIHdvbiI.made-up")
        assert 'role="status"' not in inside.get("/").text


class TestPaging:
    """By key."""

    def test_older_ones_follow_without_gap(self, engine: Engine) -> None:
        """Each failure is on one page."""
        site = Site(engine)
        fill(site.outbox, *range(PAGE + 10))
        with engine.begin() as connection:  # all at one moment, which is no key
            connection.execute(sa.update(events).values(state="rejected", created_at=1.5))
        browser, seen, address = entered(site), [], "/failed"
        while address:
            page = browser.get(address).text
            seen += re.findall(r"</b> (acme-order-\d+)</a>", page)
            older = re.search(r'class="pages"><a href="([^"]+)"', page)
            address = older[1].replace("&amp;", "&") if older else ""
        assert len(seen) == len(set(seen)) == PAGE + 10

    def test_older_parked_ones_follow_without_gap(self, engine: Engine) -> None:
        """Though their bodies are large."""
        site = Site(engine)
        for number in range(PAGE + 3):
            digest = number.to_bytes(32, "big")
            site.outbox.park(ParkedWebhook("acme", "t", digest, f"reason {number}.", time.time(), b"sealed"))
        browser = entered(site)
        first = browser.get("/parked").text
        older = re.search(r'class="pages"><a href="([^"]+)"', first)
        assert older
        second = browser.get(older[1].replace("&amp;", "&")).text
        found = re.findall(r"reason (\d+)\.", first + second)
        assert sorted(map(int, found)) == list(range(PAGE + 3))
        assert "Older ones" not in second


@pytest.fixture(scope="module")
def hostile(migrated_sqlite) -> FlaskClient:
    from connector.storage.engine import connect

    return entered(Site(connect(f"sqlite:///{migrated_sqlite}")))


@given(
    page=st.sampled_from(["/", "/story", "/failed", "/parked", "/search"]),
    query=st.dictionaries(
        st.sampled_from(["store", "key", "state", "before"]),
        st.one_of(st.text(max_size=40), st.sampled_from(["nan:1", "inf:2", "1e999:3", "-1", "0:0", "9" * 30, "acme"])),
    ),
)
@settings(max_examples=150)
def test_no_address_brings_a_page_down(hostile: FlaskClient, page: str, query: dict[str, str]) -> None:
    """Whatever stands in it."""
    clean = {name: value.encode(errors="replace").decode() for name, value in query.items()}
    assert hostile.get(page, query_string=clean).status_code in (200, 404)


@given(key=st.text(max_size=300))
@settings(max_examples=100)
def test_no_search_brings_a_page_down(hostile: FlaskClient, key: str) -> None:
    """Whatever is looked for."""
    answer = hostile.post("/search", data={"key": key.encode(errors="surrogatepass")})
    assert answer.status_code in (200, 303)
