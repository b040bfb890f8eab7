"""The dashboard over a real database: what its pages show, whatever their address is."""

import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from connector.config.settings import load
from connector.dashboard.routes import HEADERS
from connector.monitoring.alerts import AlertStore
from connector.monitoring.problems import ProblemFinder
from connector.outbox.lanes import Lane, fingerprint
from connector.storage.database import Database
from connector.storage.engine import connect
from connector.storage.tables import events, parked
from tests.support.admin_site import PAGES, PASSWORD, REASON, STORES, Past, Site, entered
from tests.support.effort import examples
from tests.support.web import application

pytestmark = pytest.mark.databases("sqlite")

SCRIPT = '<script src="/static/times.js" defer>'
ACME, TOKEN = Lane("acme", "CACME000000000000000"), "token-of-the-pages"


class TestPages:
    """What is shown."""

    @pytest.mark.databases("sqlite", "postgresql")
    @pytest.mark.parametrize(
        "page", [*PAGES, "/login", "/static/style.css", "/static/times.js", "/story?store=no&key=no"]
    )
    def test_every_answer_is_guarded(self, inside: FlaskClient, page: str) -> None:
        """Strict CSP; nothing is kept by a cache but the style sheet and the script."""
        answer = inside.get(page)
        for name, value in HEADERS.items():
            if name != "Cache-Control":
                assert answer.headers[name] == value
        assert answer.headers["Cache-Control"] == ("public, max-age=3600" if "static" in page else "no-store")
        assert "style=" not in answer.text
        assert re.findall("<script[^>]*>[^<]*", answer.text) in ([], [SCRIPT])

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
        assert "token or permission denied" in page
        assert "(40105 revoked), so its events wait; check pixel and access_token, then restart." in page
        assert "beans.example" not in page
        assert 'class="card good"' not in page

    @pytest.mark.databases("sqlite", "postgresql")
    @pytest.mark.slow
    def test_what_is_over_is_not_told_any_more(self, site: Site, inside: FlaskClient) -> None:
        """Although the watcher, which looks once a minute, has not yet seen that it is."""
        site.outbox.suspend(ACME, time.time() + 9, time.time(), fingerprint(TOKEN), "40105 revoked")
        AlertStore(Database(site.engine)).note(
            ProblemFinder(Database(site.engine), site.config.stores).find(time.time()), ()
        )
        for words in (
            "TikTok has denied the token",
            "token or permission denied",
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
        assert "TikTok denied the previous access_token (40105 revoked); the new one is tried with the next" in page
        assert "then restart" not in page

    def test_parked_and_rejected_ones_lead_to_their_buttons(self, site: Site, inside: FlaskClient) -> None:
        """Of this store; the command is the second way."""
        page = inside.get("/").text
        assert '<a href="/parked?store=acme">See why and replay them</a>, or <code>connector events replay' in page
        assert '<a href="/failed?store=beans">See which and replay them</a>, or <code>connector events' in page

    def test_no_relay_is_said_first(self, engine: Engine) -> None:
        """Nothing is sent then."""
        assert "No relay is running" in entered(Site(engine)).get("/").text

    def test_an_empty_connector_shows_that_it_is(self, engine: Engine) -> None:
        """Nothing raises when there is nothing."""
        page = entered(Site(engine)).get("/").text
        assert page.count("nothing received yet") == 2
        assert "No event was accepted in this period." in page

    @pytest.mark.databases("sqlite", "postgresql")
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
        engine = connect(f"{sqlite_url}/no/such/folder", timeout=0.1)
        config = load({"STORES_TOML": STORES, "ADMIN_PASSWORD": PASSWORD})
        browser = application(config, Database(engine)).pages.test_client()
        browser.post("/login", data={"password": PASSWORD})
        answer = browser.get("/")
        assert answer.status_code == 503
        assert "<h1>That did not work</h1>" in answer.text

    @pytest.mark.slow
    def test_no_page_reads_a_table_whole(
        self, sqlite_engine: Engine, past: Past, plans: Callable[[], list[str]]
    ) -> None:
        """A million rows cost what ten cost."""
        inside = entered(Site(sqlite_engine).go_on(past))
        steps = plans()
        for page in PAGES:
            inside.get(page)
        inside.post("/search", data={"key": "kim@example.com"})
        inside.post("/search", data={"key": "1001"})
        small = (
            "SCAN lanes",
            "SCAN relays",
            "SCAN alerts",
            "SCAN alert_addresses",
            "SCAN anon",
            "SCAN parked",
            "SCAN CONSTANT",
        )
        assert len(steps) > 20
        assert [step for step in steps if step.startswith("SCAN") and not step.startswith(small)] == []


VALUES = ["nan:1", "inf:2", "1e999:3", "-1", "0:0", "9" * 30, "acme", "waiting", "quiet", "refused", "events",
          "9999-12-31T23:59", "0001-01-01T00:00", "2026-11-29", "orders", "webhooks"]  # fmt: skip


@pytest.fixture(scope="module")
def hostile(migrated_sqlite: Path, past: Past, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    engine = connect(f"sqlite:///{shutil.copy(migrated_sqlite, tmp_path_factory.mktemp('hostile'))}")
    yield entered(Site(engine).go_on(past))
    engine.dispose()


@given(
    page=st.sampled_from(["/", "/story", "/failed", "/parked", "/search", "/events", "/webhooks", "/orders", "/books"]),
    query=st.dictionaries(
        st.sampled_from(
            ["store", "key", "state", "before", "after", "kind", "since", "until", "day", "event", "pixel", "csv"]
        ),
        st.one_of(st.text(max_size=40), st.sampled_from(VALUES)),
    ),
)
@examples(150)
@pytest.mark.slow
def test_no_address_brings_a_page_down(hostile: FlaskClient, page: str, query: dict[str, str]) -> None:
    """Whatever stands in it."""
    clean = {name: value.encode(errors="replace").decode() for name, value in query.items()}
    assert hostile.get(page, query_string=clean).status_code in (200, 404)


@given(key=st.text(max_size=300))
@pytest.mark.slow
def test_no_search_brings_a_page_down(hostile: FlaskClient, key: str) -> None:
    """Whatever is looked for."""
    answer = hostile.post("/search", data={"key": key.encode(errors="surrogatepass")})
    assert answer.status_code in (200, 303)
