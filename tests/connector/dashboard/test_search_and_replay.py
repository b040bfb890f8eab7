"""The dashboard over a real database: what is found, what the buttons do, and pages of many rows."""

import logging
import re
import time

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient
from sqlalchemy import Engine

from connector.dashboard.list_routes import PAGE
from connector.outbox.ledger import Decision, ParkedWebhook, park_decision
from connector.outbox.queries import EventFilter
from connector.storage.tables import events
from tests.support.admin_site import Site, entered, press, token
from tests.support.outbox_rows import fill

pytestmark = pytest.mark.databases("sqlite")


class TestSearch:
    """The answer for every order."""

    @pytest.mark.databases("sqlite", "postgresql")
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

    @pytest.mark.databases("sqlite", "postgresql")
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

    @pytest.mark.databases("sqlite", "postgresql")
    def test_what_must_not_go_again_stays_and_is_explained(self, site: Site, inside: FlaskClient) -> None:
        """A button never insists."""
        with site.engine.begin() as connection:
            old = {"sent_at": time.time() - 48 * 3600, "occurred_at": time.time() - 48 * 3600}
            connection.execute(sa.update(events).where(events.c.state == "rejected").values(old))
        page = press(inside, "/replay", state="rejected", page="failed")
        assert "0 events are due again." in page
        assert "4 not replayed: it may have reached TikTok over 47 hours ago" in page

    @pytest.mark.databases("sqlite", "postgresql")
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

    @pytest.mark.slow
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

    @pytest.mark.databases("sqlite", "postgresql")
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

    @pytest.mark.databases("sqlite", "postgresql")
    def test_older_parked_ones_follow_without_gap(self, engine: Engine) -> None:
        """Though their bodies are large."""
        site = Site(engine)
        for number in range(PAGE + 3):
            digest = number.to_bytes(32, "big")
            site.outbox.record(
                park_decision(ParkedWebhook("acme", "t", digest, f"reason {number}.", time.time(), b"sealed"))
            )
        browser = entered(site)
        first = browser.get("/parked").text
        older = re.search(r'class="pages"><a href="([^"]+)"', first)
        assert older
        second = browser.get(older[1].replace("&amp;", "&")).text
        found = re.findall(r"reason (\d+)\.", first + second)
        assert sorted(map(int, found)) == list(range(PAGE + 3))
        assert "Older ones" not in second
