"""`connector stats`: a store's numbers as a person and as a program read them."""

import json
import time

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine

from connector.cli.main import main
from connector.monitoring.event_stats import add_counts
from connector.storage.engine import connect
from tests.support.factories import a_pixel_code, a_section, a_stores_file

pytestmark = pytest.mark.databases("sqlite")

PIXEL = a_pixel_code("acme")
STORES = a_stores_file(a_section(), webhook_secrets=["${SECRET}"], access_token="${SECRET}", country=None)
DAY = 86_400.0


class Bench:
    """A database with tallies in it, and the command over it."""

    def __init__(self, url: str) -> None:
        self.environment = {"STORES_TOML": STORES, "SECRET": "s" * 32, "DATABASE_URL": url, "LOG_LEVEL": "ERROR"}
        self.engine: Engine = connect(url)

    def put(
        self, what: str, detail: str, number: int, days: float = 0, pixel: str = PIXEL, event: str = "Purchase"
    ) -> None:
        with self.engine.begin() as connection:
            add_counts(connection, int(time.time() - days * DAY), {("acme", pixel, what, event, detail): number})

    def run(self, *arguments: str) -> Result:
        return CliRunner(env=self.environment).invoke(main, ["stats", *arguments])


@pytest.fixture
def bench(migrated_url: str) -> Bench:
    return Bench(migrated_url)


def test_a_table_of_what_was_sent(bench: Bench) -> None:
    """Outcomes, shares of match keys, exact sums; the shares are of what was accepted."""
    bench.put("sent", "accepted 0", 4)
    bench.put("sent", "rejected 40002", 1)
    bench.put("tested", "accepted 0", 2)
    bench.put("keys", "email ip+user_agent", 3)
    bench.put("keys", "", 1)
    bench.put("customers", "new", 1)
    bench.put("customers", "returning", 2)
    bench.put("value", "EUR", 1_234_500)
    assert bench.run("acme").output.splitlines() == [
        "Purchase",
        "  sent          4 accepted, 1 rejected (code 40002)",
        "  Test Events   2 accepted",
        "  match keys    email 75%, phone 0%, external_id 0%, ip+user_agent 75%, ttclid 0%, ttp 0%",
        "  customers     1 new, 2 returning, 1 unknown",
        "  value         123.45 EUR",
    ]


def test_json_for_programs(bench: Bench) -> None:
    """With counts instead of shares, and money as a number with its own digits."""
    bench.put("keys", "email", 3)
    bench.put("customers", "returning", 2)
    bench.put("value", "EUR", 1_234_500)
    bench.put("seconds", "2", 3)
    bench.put("delay_shop", "1", 2)
    bench.put("delay_shop", "2", 2)
    result = bench.run("acme", "--days", "2", "--json")
    assert json.loads(result.stdout) == {
        "store": "acme",
        "days": 2,
        "events": [
            {
                "pixel": PIXEL,
                "event": "Purchase",
                "sent": {},
                "tested": {},
                "accepted": 3,
                "delay_seconds": {"seconds": 1.5, "delay_shop": 1.0},
                "match_keys": {"email": 3, "phone": 0, "external_id": 0, "ip+user_agent": 0, "ttclid": 0, "ttp": 0},
                "customers": {"returning": 2},
                "value": {"EUR": 123.45},
            }
        ],
        "skipped": {"orders_skipped": 0, "orders_relayed": 0, "reasons": []},
        "browsers": {},
        "fetched": {},
    }
    assert '"EUR":123.45' in result.stdout


def test_whose_the_delay_is(bench: Bench) -> None:
    """The median of the whole way, and of its parts."""
    bench.put("seconds", "300", 4)
    bench.put("delay_shop", "300", 4)
    bench.put("delay_connector", "1", 4)
    bench.put("delay_tiktok", "2", 4)
    assert bench.run("acme").output.splitlines() == [
        "Purchase",
        "  median delay  3 minutes (shop 3 minutes, connector under a second, TikTok 1.5 seconds)",
    ]


def test_skipped_ones_by_reason(bench: Bench) -> None:
    """Each with what it means and the setting; the most frequent first."""
    bench.put("skipped", "no consent: the shopper said no (consent)", 1200, pixel="", event="order")
    bench.put("skipped", "the moon is full", 3, pixel="", event="customer")
    bench.put("relayed", "", 4, pixel="", event="order")
    lines = [
        "No events were sent in this period.",
        "Skipped webhooks: 1,203",
        "  of those about orders, 1,200 of 1,204 (99%) were skipped",
        "    1,200  no consent: the shopper said no (consent)",
        "           = the shopper denied consent, so nothing may be sent (setting: consent)",
        "        3  the moon is full",
    ]
    assert bench.run("acme").output.splitlines() == lines
    assert json.loads(bench.run("acme", "--json").stdout)["skipped"]["reasons"][1] == {
        "reason": "the moon is full", "webhooks": 3, "meaning": "", "setting": "",
    }  # fmt: skip


def test_only_so_many_days_are_looked_back_on(bench: Bench) -> None:
    """Seven unless more are asked for."""
    bench.put("sent", "accepted 0", 1, days=1)
    bench.put("sent", "accepted 0", 10, days=8)
    assert "  1 accepted" in bench.run("acme").output
    assert "  11 accepted" in bench.run("acme", "--days", "9").output


def test_pixels_are_told_apart(bench: Bench) -> None:
    """An order that goes to two pixels is one order: its value is never added up."""
    bench.put("value", "EUR", 10_000)
    bench.put("value", "EUR", 10_000, pixel="COTHER00000000000000")
    output = bench.run("acme").output
    assert output.count("1.00 EUR") == 2
    assert f"Purchase (pixel {PIXEL})" in output


def test_nothing_sent_is_said(bench: Bench) -> None:
    """Not an empty page."""
    assert bench.run("acme").output == "No events were sent in this period.\n"
    assert json.loads(bench.run("acme", "--json").stdout)["events"] == []


def test_an_unknown_store_is_wrong_use(bench: Bench) -> None:
    """The message names those there are."""
    result = bench.run("acne")
    assert result.exit_code == 2
    assert "there are: acme" in result.output


def test_what_browsers_reported(bench: Bench) -> None:
    """By step, with what was not taken and why."""
    with bench.engine.begin() as connection:
        for milestone, outcome, number in (
            ("cart_added", "taken", 7),
            ("cart_added", "rate limit", 2),
            ("", "invalid", 1),
        ):
            add_counts(connection, int(time.time()), {("acme", "", "funnel", milestone, outcome): number})
    assert bench.run("acme").output.splitlines()[-3:] == [
        "Reported by browsers",
        "  (not known)        1 invalid",
        "  cart_added         2 rate limit, 7 taken",
    ]
    assert json.loads(bench.run("acme", "--json").output)["browsers"]["cart_added"] == {"rate limit": 2, "taken": 7}


def test_what_was_fetched_after_thin_webhooks(bench: Bench) -> None:
    """By kind and outcome."""
    with bench.engine.begin() as connection:
        for outcome, number in (("relayed", 7), ("given_up", 2)):
            add_counts(connection, int(time.time()), {("acme", "", "fetched", "order", outcome): number})
    assert bench.run("acme").output.splitlines()[-2:] == [
        "Fetched from the shop, after webhooks that only name it",
        "  order              2 given up, 7 relayed",
    ]
