"""GET /metrics: every figure over a real database, who may read it, and that reading costs little."""

import json
import random
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Engine

from connector.config.settings import Config, load
from connector.core.store import Pixel
from connector.core.webhook import Request
from connector.monitoring.alerts import AlertStore, Problem
from connector.monitoring.event_stats import SettlementStats, add_counts
from connector.outbox.ledger import ParkedWebhook, park_decision
from connector.outbox.outbox import Outbox
from connector.outbox.settlement import settled
from connector.setup.samples import webhooks
from connector.storage.database import Database
from connector.web.metrics import DatabaseMetrics
from connector.web.request_metrics import RequestMetrics
from tests.support.factories import a_section, a_stores_file
from tests.support.outbox_rows import LANE, NOW, claim, decision, fill, mapped, sha
from tests.support.platforms import PLATFORMS
from tests.support.web import WebClient, client_of

STORES = a_stores_file(a_section(pixel="CTESTPIXEL0000000001"), webhook_secrets=["whsec-app-test"], country=None)
PASSWORD = "correct horse"


def configured(**environ: str) -> Config:
    return load({"STORES_TOML": STORES, **environ})


def client(outbox: Outbox, **environ: str) -> WebClient:
    return client_of(configured(**environ), outbox.database)


def read(text: str) -> dict[tuple[str, ...], float]:
    """Name and label values, by the labels' names in the order of the alphabet → number."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def scraped(browser: FlaskClient) -> dict[tuple[str, ...], float]:
    answer = browser.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    return read(answer.text)


def post(browser: FlaskClient, topic: str = "orders/create", signed: bool = True, body: bytes = b"") -> int:
    config = configured()
    sample, headers = next(iter(webhooks(config.stores["acme"], ["orders/create"], 1, random.Random(1))))
    headers = {**headers, "X-Shopify-Topic": topic} | ({} if signed else {"X-Shopify-Hmac-Sha256": "AAAA"})
    if body:
        headers |= PLATFORMS["shopify"].signed_headers(body, "whsec-app-test")
    return browser.post("/webhooks/acme", data=body or sample, headers=headers).status_code


class TestRequests:
    """What the web's processes count themselves."""

    def test_each_webhook_counts_by_topic_and_outcome(self, outbox: Outbox) -> None:
        """Whatever comes of it; how long it took goes with it."""
        browser = client(outbox)
        post(browser)
        post(browser)
        post(browser, signed=False)
        post(browser, body=b"{")
        counted = scraped(browser)
        name = "connector_webhooks_received_total"
        assert {key[1:]: value for key, value in counted.items() if key[0] == name} == {
            ("relayed", "shopify", "acme", "orders/create"): 1,
            ("duplicate", "shopify", "acme", "orders/create"): 1,
            ("refused", "shopify", "acme", "orders/create"): 1,
            ("unreadable", "shopify", "acme", "orders/create"): 1,
        }
        assert counted["connector_intake_seconds_count",] == 4

    def test_a_topic_nobody_knows_is_other(self, outbox: Outbox) -> None:
        """Whoever makes topics up makes no new numbers."""
        browser = client(outbox)
        for number in range(5):
            post(browser, topic=f"made/up{number}", signed=False)
        assert scraped(browser)["connector_webhooks_received_total", "refused", "shopify", "acme", "other"] == 5

    def test_a_topic_of_the_books_has_its_name(self, outbox: Outbox) -> None:
        """Also where the store keeps none: the shop may send it."""
        browser = client(outbox)
        post(browser, topic="refunds/create", signed=False)
        found = scraped(browser)
        assert found["connector_webhooks_received_total", "refused", "shopify", "acme", "refunds/create"] == 1

    def test_seconds_go_into_their_bucket(self) -> None:
        """Of an injected clock."""
        ticks = iter([0.0, 0.02])
        request_metrics = RequestMetrics(PLATFORMS, lambda: next(ticks))
        store = configured().stores["acme"]
        with request_metrics.measure(store, Request({}, b"", None)) as way:  # type: ignore[arg-type]
            way.outcome = "relayed"
        buckets = {
            sample.labels["le"]: sample.value
            for family in request_metrics.registry().collect()
            for sample in family.samples
            if sample.name == "connector_intake_seconds_bucket"
        }
        assert (buckets["0.01"], buckets["0.025"]) == (0, 1)

    def test_a_fault_of_ours_counts_and_stays_one(self) -> None:
        """Nothing is swallowed."""
        request_metrics, store = RequestMetrics(PLATFORMS), configured().stores["acme"]
        with pytest.raises(ZeroDivisionError), request_metrics.measure(store, Request({}, b"", None)):  # type: ignore[arg-type]
            raise ZeroDivisionError
        (counted,) = (
            sample.labels
            for family in request_metrics.registry().collect()
            for sample in family.samples
            if sample.name == "connector_webhooks_received_total"
        )
        assert counted == {"store": "acme", "platform": "shopify", "topic": "other", "outcome": "failed"}


class TestStored:
    """What the database tells."""

    def test_what_waits_by_lane(self, outbox: Outbox) -> None:
        """How many, since when the first is due, and whether TikTok refuses the pixel."""
        fill(outbox, 1, 2, 3)
        fill(outbox, 4, store="other")
        outbox.suspend(LANE, NOW + 900, NOW, "f", "40105 revoked")
        found = self.collected(outbox.database.engine, NOW + 61)
        assert found["connector_events_due", "acme", LANE.pixel] == 3
        assert found["connector_events_oldest_due_seconds", "acme", LANE.pixel] == 60
        assert found["connector_events_oldest_due_seconds", "other", LANE.pixel] == 57
        assert found["connector_pixel_refused", "acme", LANE.pixel] == 1
        assert found["connector_pixel_refused", "other", LANE.pixel] == 0
        assert found["connector_database_up",] == 1

    def test_what_is_not_due_yet_is_not_late(self, outbox: Outbox) -> None:
        """Nor is an empty queue."""
        fill(outbox, 5)
        assert (
            self.collected(outbox.database.engine, NOW)["connector_events_oldest_due_seconds", "acme", LANE.pixel] == 0
        )
        (item,) = claim(outbox)
        outbox.settle("one", item.lease_until, [settled(item, "accepted", NOW, 0, "", "r")])
        found = self.collected(outbox.database.engine, NOW + 1000)
        assert found["connector_events_oldest_due_seconds", "acme", LANE.pixel] == 0
        assert found["connector_events_due", "acme", LANE.pixel] == 0

    def test_what_was_sent(self, outbox: Outbox) -> None:
        """By outcome and code; seconds, match keys and value of what was accepted."""
        body = json.dumps({"user": {"email": "x"}, "properties": {"value": 12.5, "currency": "EUR"}}).encode()
        outbox.add_lanes([LANE])
        for number in (1, 2):
            outbox.record(decision(str(number), mapped(number, payload=body)))
        claimed = claim(outbox, at=NOW)
        results = [
            settled(claimed[0], "accepted", NOW, 0, "", "r"),
            settled(claimed[1], "rejected", NOW, 40002, "bad", "r"),
        ]
        tally = SettlementStats(LANE.store, LANE.pixel, claimed, results, NOW)
        outbox.settle("one", claimed[0].lease_until, results, tally.write)
        found, who = self.collected(outbox.database.engine, NOW), ("acme", LANE.pixel, "Purchase")
        assert found["connector_events_sent_total", *who, "accepted", "0"] == 1
        assert found["connector_events_sent_total", *who, "rejected", "40002"] == 1
        assert found["connector_events_value_total", *who, "EUR"] == 12.5
        assert found["connector_events_match_keys_total", *who, "email"] == 1
        assert found["connector_events_match_keys_total", *who, "ttp"] == 0
        assert found["connector_shop_to_tiktok_seconds_bucket", *who, "30.0"] == 0
        assert found["connector_shop_to_tiktok_seconds_bucket", *who, "60.0"] == 1
        assert found["connector_shop_to_tiktok_seconds_count", *who] == 1
        assert found["connector_shop_to_tiktok_seconds_sum", *who] == 60
        assert [
            found["connector_delay_seconds_bucket", *who, part, "+Inf"] for part in ("shop", "connector", "tiktok")
        ] == [1, 1, 1]

    def test_test_events_are_a_metric_of_their_own(self, outbox: Outbox) -> None:
        """They are no orders that count."""
        pixel = Pixel(LANE.pixel, "t", "TEST1")
        fill(outbox, 1, pixel=pixel)
        claimed = claim(outbox)
        results = [settled(claimed[0], "accepted", NOW, 0, "", "r")]
        outbox.settle(
            "one", claimed[0].lease_until, results, SettlementStats("acme", LANE.pixel, claimed, results, NOW).write
        )
        found = self.collected(outbox.database.engine, NOW)
        assert found["connector_test_events_sent_total", "acme", LANE.pixel, "Purchase", "accepted", "0"] == 1
        assert not [key for key in found if key[0] == "connector_events_sent_total"]

    def test_what_browsers_reported(self, outbox: Outbox) -> None:
        """By step and outcome."""
        with outbox.database.write() as connection:
            add_counts(connection, int(NOW) // 3600 * 3600, {("acme", "", "funnel", "searched", "taken"): 3})
        found = scraped(client(outbox))
        assert found["connector_browser_events_total", "searched", "taken", "acme"] == 3

    def test_parked_problems_and_the_relay(self, outbox: Outbox) -> None:
        """Each is a number, zero where there is nothing."""
        outbox.record(park_decision(ParkedWebhook("acme", "t", sha("p"), "no id", NOW, b"sealed")))
        AlertStore(outbox.database, clock=lambda: NOW).note([Problem("rejected:acme", "one was")], {"rejected"})
        before = self.collected(outbox.database.engine, NOW)
        outbox.heartbeat("one", NOW)
        after = self.collected(outbox.database.engine, NOW + 59)
        assert before["connector_webhooks_parked", "acme"] == 1
        assert (before["connector_problems", "rejected"], before["connector_problems", "silent"]) == (1, 0)
        assert (before["connector_relay_alive",], after["connector_relay_alive",]) == (0, 1)

    def test_a_database_that_is_away_is_a_number_too(self, sqlite_url: str) -> None:
        """The requests' figures go on."""
        from connector.storage.engine import connect

        engine = connect(f"{sqlite_url}/no/such/folder")
        assert self.collected(engine, NOW) == {("connector_database_up",): 0}

    def test_no_query_reads_a_table_whole(self, outbox: Outbox, plans: Callable[[], list[str]]) -> None:
        """But the small ones: one row a lane, a store, an event name and code."""
        if outbox.database.engine.dialect.name != "sqlite":
            pytest.skip("PostgreSQL plans small tables by reading them whole")
        fill(outbox, 1)
        steps = plans()
        self.collected(outbox.database.engine, NOW)
        small = ("SCAN lanes", "SCAN totals", "SCAN alerts", "SEARCH relays", "SCAN relays", "SCAN anon")
        assert [step for step in steps if step.startswith("SCAN") and not step.startswith(small)] == []

    @staticmethod
    def collected(engine: Engine, now: float) -> dict[tuple[str, ...], float]:
        return {
            (sample.name, *sample.labels.values()): sample.value
            for family in DatabaseMetrics(Database(engine), ["acme"], lambda: now).collect()
            for sample in family.samples
        }


class TestWho:
    """With ADMIN_PASSWORD it is asked for."""

    def test_without_a_password_they_are_open(self, outbox: Outbox) -> None:
        """`check` warns of it."""
        assert client(outbox).get("/metrics").status_code == 200

    @pytest.mark.parametrize("user", ["", "prometheus", "x"])
    def test_any_user_name_and_the_password(self, outbox: Outbox, user: str) -> None:
        """Basic auth, as Prometheus offers it."""
        browser = client(outbox, ADMIN_PASSWORD=PASSWORD)
        assert browser.get("/metrics", auth=(user, PASSWORD)).status_code == 200

    @pytest.mark.parametrize("headers", [{}, {"Authorization": "Basic"}, {"Authorization": "Bearer x"},
                                         {"Authorization": "Basic !!!"}, {"Authorization": "Basic eDp5"},
                                         {"Authorization": "Basic ÿþ"}])  # fmt: skip
    def test_nothing_else_opens(self, outbox: Outbox, headers: dict[str, str]) -> None:
        """And the browser is told what to ask for."""
        answer = client(outbox, ADMIN_PASSWORD=PASSWORD).get("/metrics", headers=headers)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Basic ")
        assert b"connector_" not in answer.data

    def test_guessing_ends_soon(self, outbox: Outbox) -> None:
        """429, whatever the password; asking without any is no guess."""
        browser = client(outbox, ADMIN_PASSWORD=PASSWORD)
        for _ in range(20):
            assert browser.get("/metrics").status_code == 401
        statuses = [browser.get("/metrics", auth=("x", "guess")).status_code for _ in range(6)]
        assert statuses == [401] * 5 + [429]
        answer = browser.get("/metrics", auth=("x", PASSWORD))
        assert (answer.status_code, answer.headers["Retry-After"]) == (429, "300")


def test_totals_outlive_the_hours(outbox: Outbox, engine: Engine) -> None:
    """A counter that fell would look to Prometheus like a restart, and be counted anew."""
    fill(outbox, 1)
    claimed: list[Any] = claim(outbox)
    results = [settled(claimed[0], "accepted", NOW, 0, "", "r")]
    outbox.settle(
        "one", claimed[0].lease_until, results, SettlementStats("acme", LANE.pixel, claimed, results, NOW).write
    )
    with engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM tallies"))
    assert (
        TestStored.collected(engine, NOW)[
            "connector_events_sent_total", "acme", LANE.pixel, "Purchase", "accepted", "0"
        ]
        == 1
    )
