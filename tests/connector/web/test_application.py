"""The HTTP shell: routes, statuses and what a hostile request gets."""

import json
import random
import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from connector.config.settings import load
from connector.core.store import Pixel
from connector.monitoring.problems import NO_RELAY
from connector.outbox.lanes import Lane
from connector.outbox.outbox import Outbox
from connector.outbox.queries import OutboxQueries
from connector.setup.samples import webhooks
from connector.storage.database import CannotStore, Database
from connector.storage.engine import connect
from connector.sync.checkpoints import Checkpoints
from connector.web.relay_watch import RelayWatch
from tests.support.alert_receiver import receiver
from tests.support.factories import a_stores_file
from tests.support.outbox_rows import NOW, fill
from tests.support.web import application as an_application
from tests.support.web import client_of, served

STORES = a_stores_file(webhook_secrets=["whsec-app-test"], access_token="token-app-test", country=None)

ACME = Pixel("CACME000000000000000", "token-app-test")


@pytest.fixture
def config(migrated_sqlite_url):
    return load({"STORES_TOML": STORES, "DATABASE_URL": migrated_sqlite_url})


@pytest.fixture
def outbox(config):
    engine = connect(config.database_url, timeout=0.2)
    yield Outbox(Database(engine))
    engine.dispose()


@pytest.fixture
def client(config, outbox):
    return client_of(config, outbox.database)


@pytest.fixture
def order(config):
    return next(webhooks(config.stores["acme"], ["orders/create"], 1, random.Random(1)))


def test_a_signed_webhook_is_answered_200_once_stored(client, order, outbox):
    """200 means stored: the event lies in the outbox when the answer leaves."""
    body, headers = order
    answer = client.post("/webhooks/acme", data=body, headers=headers)
    assert (answer.status_code, answer.json) == (200, {"outcome": "relayed"})
    assert len(outbox.lanes_due(datetime.now(UTC).timestamp() + 1)) == 1
    assert client.post("/webhooks/acme/", data=body, headers=headers).json == {"outcome": "duplicate"}


def test_the_list_of_webhooks_is_found_with_a_slash_too(config, outbox):
    """It stands where shops deliver, and only a person asks for it; what is posted there names no store."""
    client = client_of(replace(config, admin_password="correct horse battery"), outbox.database)
    for path in ("/webhooks", "/webhooks/", "/events/"):
        answer = client.open(path)
        assert (answer.status_code, answer.headers["Location"].partition("?")[0]) == (303, "/login"), path
    assert client.post("/webhooks/", data=b"{}").status_code == 404
    assert client.open("/webhooks/acme").status_code == 405


def test_signed_but_not_json_is_400(client, config):
    """The sender is the shop, but there is nothing to keep."""
    from tests.support.platforms import PLATFORMS

    headers = PLATFORMS["shopify"].signed_headers(b"not json", "whsec-app-test") | {"X-Shopify-Topic": "orders/create"}
    answer = client.post("/webhooks/acme", data=b"not json", headers=headers)
    assert (answer.status_code, answer.json) == (400, {"error": "the body is not JSON"})


@pytest.mark.slow
def test_a_locked_database_is_503_with_retry_after(client, order, migrated_sqlite_url):
    """Not stored, so not 200; the shop or a person tries again."""
    body, headers = order
    holder = sqlite3.connect(migrated_sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        answer = client.post("/webhooks/acme", data=body, headers=headers)
        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "10"
        assert client.get("/readyz").status_code == 503
        assert client.get("/healthz").status_code == 200
    finally:
        holder.close()
    assert client.post("/webhooks/acme", data=body, headers=headers).json == {"outcome": "relayed"}


@pytest.mark.slow
def test_a_worker_starts_while_the_database_is_away(config, outbox, order, migrated_sqlite_url):
    """One that did not would take gunicorn down with it; so it answers 503 until the database is back."""
    body, headers = order
    holder = sqlite3.connect(migrated_sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    client = client_of(config, outbox.database)
    assert client.post("/webhooks/acme", data=body, headers=headers).status_code == 503
    holder.close()
    assert client.post("/webhooks/acme", data=body, headers=headers).json == {"outcome": "relayed"}


def test_not_knowing_when_a_store_was_started_is_no_bug(config, outbox, order, monkeypatch):
    """The database went away for this one question: 503, and nothing is parked as if the webhook were at fault."""
    body, headers = order

    def away(*_):
        raise CannotStore("away")

    with monkeypatch.context() as patch:
        patch.setattr(Outbox, "start_stores", away)
        client = client_of(config, outbox.database)
        assert client.post("/webhooks/acme", data=body, headers=headers).status_code == 503
    assert OutboxQueries(outbox.database).parked() == []
    assert client.post("/webhooks/acme", data=body, headers=headers).json == {"outcome": "relayed"}


def test_readyz_says_whether_a_relay_is_alive(client, outbox):
    """Ready to store it is without one."""
    body = {"status": "ready", "refused_pixels": 0}
    assert client.get("/readyz").json == body | {"relay": "never seen"}
    outbox.heartbeat("one", datetime.now(UTC).timestamp())
    assert client.get("/readyz").json == body | {"relay": "alive"}
    outbox.heartbeat("one", datetime.now(UTC).timestamp() + 1800)
    assert "silent for" in client.get("/readyz").json["relay"]


def test_readyz_counts_refused_pixels(client, outbox):
    """Ready all the same: their events wait, and only theirs."""
    outbox.suspend(Lane("acme", "CACME000000000000000"), NOW + 60, NOW, "f", "40105 revoked")
    assert client.get("/readyz").json["refused_pixels"] == 1


class TestWatch:
    """A dead relay cannot report itself; the web does."""

    @pytest.fixture
    def now(self):
        return [NOW]

    @pytest.fixture
    def watch(self, config, outbox, now):
        return RelayWatch(config, outbox, OutboxQueries(outbox.database), clock=lambda: now[0], elapsed=lambda: now[0])

    @pytest.fixture
    def waiting(self, outbox):
        fill(outbox, 1, pixel=ACME)

    def test_events_due_for_a_minute_with_no_relay_are_an_error(self, watch, waiting, now, outbox, caplog):
        """In the log, at most once a minute, and in readyz's body as long as it lasts."""
        now[0] = NOW + 61
        assert "overdue" not in watch.look()
        for seconds in (62, 70, 121):
            now[0] = NOW + seconds
            assert f"for {seconds - 1} s and no relay is running" in watch.look()["overdue"]
        assert len(caplog.records) == 1
        now[0] = NOW + 130
        watch.look()
        assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]
        outbox.heartbeat("one", now[0])
        assert watch.look() == {"relay": "alive", "refused_pixels": 0}

    def test_a_round_of_reconciliation_that_is_overdue(self, config, outbox):
        """Said in readyz's body: orders whose webhooks are lost are not fetched any more."""
        store = replace(config.stores["acme"], reconcile=timedelta(minutes=15))
        config = replace(config, stores={"acme": store})
        outbox.start_stores(["acme"], NOW)
        outbox.heartbeat("one", NOW + 3700)
        watch = RelayWatch(config, outbox, OutboxQueries(outbox.database), clock=lambda: NOW + 3700)
        assert watch.look()["reconcile_overdue"].startswith("missed orders have not been fetched since: acme (2026-")
        Checkpoints(outbox.database).begin("acme", NOW, 0)
        Checkpoints(outbox.database).finish("acme", NOW + 3600)
        assert watch.look() == {"relay": "alive", "refused_pixels": 0}

    def test_it_reports_as_often_as_it_logs(self, config, outbox, now, waiting):
        """At most once a minute, however often readyz is asked; what becomes of it is the reporter's matter."""
        reports = []
        watch = RelayWatch(
            config,
            outbox,
            OutboxQueries(outbox.database),
            lambda: now[0],
            lambda: now[0],
            lambda: reports.append(now[0]),
        )
        for seconds in (10, 62, 63, 100, 122, 140):
            now[0] = NOW + seconds
            watch.look()
        assert reports == [NOW + 62, NOW + 122]

    def test_a_web_process_posts_the_alert_itself(self, migrated_sqlite_url, outbox, waiting, monkeypatch):
        """A dead relay cannot, and there may be no log that anybody reads."""
        monkeypatch.setattr("connector.web.relay_watch.OVERDUE", 0)
        with receiver() as server:
            config = load({"STORES_TOML": STORES, "DATABASE_URL": migrated_sqlite_url, "ALERT_URL": server.url})
            an_application(config, outbox.database).watch.look()
            assert server.came.wait(120)
            assert server.texts == [f"Problem: {NO_RELAY.sentence}"]

    def test_a_live_relay_with_a_backlog_is_no_error(self, watch, waiting, now, outbox, caplog):
        """It is at work."""
        now[0] = NOW + 600
        outbox.heartbeat("one", now[0])
        assert "overdue" not in watch.look()
        assert not caplog.records

    def test_events_of_a_refused_pixel_are_no_sign_of_a_dead_relay(self, watch, waiting, now, outbox):
        """They wait for their token."""
        watch.look()
        outbox.suspend(Lane("acme", ACME.code), NOW + 9999, NOW, "f", "40105 revoked")
        now[0] = NOW + 600
        assert watch.look() == {"relay": "never seen", "refused_pixels": 1}

    @pytest.mark.parametrize("ended", ["killed", "in good order"])
    def test_a_restart_after_an_outage_is_no_error(self, config, outbox, now, waiting, caplog, ended):
        """The server looks before its relay's first heartbeat, and events have been due all the while."""
        outbox.heartbeat("before", NOW + 2)
        if ended == "in good order":
            outbox.leave("before")
        now[0] = NOW + 3600
        watch = RelayWatch(config, outbox, OutboxQueries(outbox.database), lambda: now[0], lambda: now[0])
        for _ in range(2):
            assert "overdue" not in watch.look()
            now[0] += 30
        assert not caplog.records
        assert "overdue" in watch.look()

    def test_a_relay_that_is_restarted_beside_a_backlog_is_no_error(self, watch, waiting, now, outbox, caplog):
        """It has ended in good order, and the next one begins."""
        outbox.heartbeat("before", NOW + 600)
        now[0] = NOW + 600
        watch.look()
        outbox.leave("before")
        now[0] = NOW + 620
        assert "overdue" not in watch.look()
        now[0] = NOW + 661
        assert "overdue" in watch.look()

    def test_events_of_a_store_that_was_removed_wait_for_it(self, watch, now, outbox):
        """No relay would send them."""
        fill(outbox, 1, store="gone")
        now[0] = NOW + 600
        assert "overdue" not in watch.look()

    def test_a_process_looks_by_itself(self, config, outbox, waiting, caplog, monkeypatch):
        """Nobody may be asking for readyz: a process looks when it starts, and again every minute."""
        monkeypatch.setattr("connector.web.relay_watch.OVERDUE", 0)
        with served(an_application(config, outbox.database)):
            assert "no relay is running" in caplog.text

    @pytest.mark.slow
    def test_a_process_starts_while_the_database_is_away(self, config, outbox, migrated_sqlite_url, caplog):
        """Its server answers that it is alive; a worker that ended would take gunicorn down with it."""
        holder = sqlite3.connect(migrated_sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        with served(an_application(config, outbox.database)) as url:
            assert httpx.get(f"{url}/healthz").status_code == 200
            assert httpx.get(f"{url}/readyz").status_code == 503
        holder.close()
        assert "the database does not answer" in caplog.text


def test_refused_signatures_are_counted(client, outbox):
    """Per store and hour, and not one row a request."""
    for _ in range(3):
        client.post("/webhooks/acme", data=b"{}")
    client.application.intake.counters.flush()
    counted = {(row.store, row.what): row.count for row in OutboxQueries(outbox.database).counted()}
    assert counted == {("acme", "refused"): 3}


def test_the_ping_is_200_and_changes_nothing(client, outbox):
    """WooCommerce's unsigned ping when a webhook is saved."""
    answer = client.post("/webhooks/beans", data=b"webhook_id=7")
    assert (answer.status_code, answer.json) == (200, {"outcome": "handshake"})
    assert OutboxQueries(outbox.database).counted() == []


def test_nothing_personal_is_in_an_answer(client, order):
    """An answer tells the outcome in a word."""
    body, headers = order
    text = client.post("/webhooks/acme", data=body, headers=headers).text
    assert json.loads(body)["email"] not in text
