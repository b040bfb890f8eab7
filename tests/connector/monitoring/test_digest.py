"""The weekly digest: what it says, when it is sent and to whom; on SQLite and PostgreSQL, with a real receiver."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import httpx
import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from connector.config.settings import Config
from connector.core.units import DAY, HOUR, WEEK
from connector.monitoring.alerts import AlertStore
from connector.monitoring.channels import PlainWebhook
from connector.monitoring.digest import Digest, DigestMessages, week_before
from connector.monitoring.event_stats import add_counts
from connector.monitoring.notifier import Notifier
from connector.monitoring.recipients import digest_recipients
from connector.storage.database import Database
from connector.storage.tables import accuracy, alert_addresses, orders, sold
from tests.support.alert_receiver import Receiver, receiver
from tests.support.factories import a_pixel_code, a_section, a_stores_file
from tests.support.outbox_rows import rows
from tests.support.stores_file import loaded

MONDAY = datetime(2026, 11, 16, tzinfo=UTC).timestamp()
NEXT = MONDAY + WEEK
PIXEL = a_pixel_code("acme")
OURS = """acme
  sent: 1,200 Purchase (12,004.50 EUR), 3 InitiateCheckout, 2 rejected or expired
  matched: email 67%, phone 0%, external_id 0%, ip+user_agent 33%, ttclid 0%, ttp 0%
  in time to merge: 90% within 5 minutes of the event
  skipped: 5 webhooks, most for: no consent: no answer was given (consent)
  orders that arrived: 99.50% of 400, 2 of 7 days known
  net: Purchase 75.50 of 100.00 EUR, 75.5% stayed"""


class Bench:
    """A database, a receiver and a notifier of digests, with a clock that the test sets."""

    def __init__(self, engine: Engine, server: Receiver, client: httpx.Client) -> None:
        self.engine, self.server, self.client, self.now = engine, server, client, MONDAY + 2 * DAY
        self.config = self.configured()
        self.notifier = self.hire()

    def clock(self) -> float:
        return self.now

    def configured(self, everybody: str = "all", acme: str = "acme") -> Config:
        keys = {"access_token": "token-example"}
        ours = a_section(
            books=True, reconcile="15m", api=keys, browser_pixel="own", funnel={}, digest=[f"{self.server.url}/{acme}"]
        )
        toml = a_stores_file(ours, a_section("woocommerce", "beans"), webhook_secrets=["s" * 32], access_token="t")
        return loaded(toml, DIGEST_URL=f"{self.server.url}/{everybody}")

    def hire(self) -> Notifier:
        channels = {one: PlainWebhook(one.address, self.client) for one in digest_recipients(self.config)}
        digests = DigestMessages(Database(self.engine), self.config.stores, self.clock)
        return Notifier(Database(self.engine), channels, "process", self.clock, digests)

    def sent(self, after: float) -> dict[str, str]:
        """Return the digest of each address in a round at this time of the week."""
        self.now = MONDAY + after
        start = len(self.server.texts)
        assert self.notifier.acquire_lease()
        self.notifier.notify()
        names = [path.rpartition("/")[2] for path in self.server.paths[start:]]
        return dict(zip(names, self.server.texts[start:], strict=True))


@pytest.fixture(scope="module")
def server() -> Iterator[Receiver]:
    with receiver() as server:
        yield server


@pytest.fixture
def bench(engine: Engine, server: Receiver) -> Iterator[Bench]:
    server.answers.clear()
    server.texts.clear()
    server.paths.clear()
    with httpx.Client(timeout=60) as client:
        yield Bench(engine, server, client)


def fill(engine: Engine) -> None:
    """A week of the store acme, and what belongs to other weeks."""
    counts = {
        ("sent", "Purchase", "accepted 0"): 1200, ("sent", "InitiateCheckout", "accepted 0"): 3,
        ("sent", "Purchase", "rejected 40002"): 2, ("sent", "Purchase", "again 50000"): 7,
        ("keys", "Purchase", "email"): 2, ("keys", "Purchase", "ip+user_agent"): 1,
        ("value", "Purchase", "EUR"): 120_045_000,
        ("seconds", "Purchase", "5"): 80, ("seconds", "Purchase", "300"): 10, ("seconds", "Purchase", "900"): 9,
        ("seconds", "Purchase", "+Inf"): 1, ("seconds", "Purchase", "sum"): 99_999,
        ("seconds", "AddToCart", "1"): 9000,  # of the funnel: no copy of an order's
        ("skipped", "order", "no consent: no answer was given (consent)"): 3, ("skipped", "customer", "x"): 2,
    }  # fmt: skip
    with engine.begin() as connection:
        for hour, factor in ((MONDAY + 50 * HOUR, 1), (MONDAY - HOUR, 5), (NEXT, 7)):
            named = {("acme", PIXEL, what, event, detail): n * factor for (what, event, detail), n in counts.items()}
            add_counts(connection, int(hour), named)
        for day, reached in ((MONDAY, 200), (MONDAY + DAY, 198), (MONDAY - DAY, 1), (NEXT, 1)):
            row = {"store": "acme", "day": int(day), "orders": 200, "sent": reached, "waiting": 0, "skipped": "{}"}
            missing = json.dumps({"not in the outbox": 200 - reached})
            connection.execute(sa.insert(accuracy).values(**row, missing=missing, complete=1, counted_at=day))
        for number, at in enumerate((MONDAY + HOUR, NEXT + HOUR)):
            key = {"store": "acme", "object_key": f"order:{number}", "currency": "EUR"}
            event = {
                "pixel": PIXEL,
                "event": "Purchase",
                "event_id": f"{number}",
                "value": 1_000_000,
                "occurred_at": at,
            }
            state = {"placed_at": at, "changed_at": at, "remaining": 755_000, "later": 0, "refunds": "", "cancelled": 0}
            texts = {"order_number": "", "outcome": "", "reason": "", "seen_at": at}
            connection.execute(sa.insert(sold).values(key | event))
            connection.execute(sa.insert(orders).values(key | state | texts))


def test_a_week(bench: Bench) -> None:
    """From Monday to Sunday, store by store; a store's own address gets its block and its problems alone."""
    fill(bench.engine)
    AlertStore(Database(bench.engine), lambda: NEXT).report("denied:beans:C", "store beans: the token is denied")
    digest = Digest(Database(bench.engine), bench.config.stores)
    message = digest.message(None, int(MONDAY))
    assert message.title == "Connector: week of 16 November to 22 November 2026"
    assert message.text == f"{OURS}\n\nbeans\n  sent: nothing\n\nOpen problems\n  store beans: the token is denied"
    assert digest.message(frozenset({"acme"}), int(MONDAY)).text == OURS


def test_a_store_with_a_merge_meter(bench: Bench) -> None:
    """The digest says how the copies of a store with `meter` merged; of other stores, how many could merge."""
    counts = {("sent", "accepted 0"): 10, ("seconds", "5"): 10, ("copies", "merged"): 7, ("copies", "twice"): 1}
    with bench.engine.begin() as connection:
        named = {("acme", PIXEL, what, "Purchase", detail): number for (what, detail), number in counts.items()}
        add_counts(connection, int(MONDAY + 50 * HOUR), named)
    store = replace(bench.config.stores["acme"], meter=True, reconcile=None, books=False)
    assert Digest(Database(bench.engine), {"acme": store}).message(None, int(MONDAY)).text.splitlines() == [
        "acme",
        "  sent: 10 Purchase",
        "  with the browser's copy: Purchase 70% merged, 30% server only, 10% counted twice",
    ]


def test_it_is_sent_on_the_monday_after_the_week(bench: Bench) -> None:
    """From 06:00 UTC, once; an address that is new waits for its first Monday."""
    assert bench.sent(2 * DAY) == bench.sent(WEEK + 6 * HOUR - 1) == {}
    found = bench.sent(WEEK + 6 * HOUR)
    assert found.keys() == {"all", "acme"}
    assert found["all"].startswith("Connector: week of 16 November to 22 November 2026\nacme\n  sent: nothing")
    assert "beans" in found["all"]
    assert "beans" not in found["acme"]
    assert bench.sent(WEEK + 7 * HOUR) == bench.sent(2 * WEEK) == {}
    bench.notifier = bench.hire()  # a restart
    assert "week of 23 November to 29 November" in bench.sent(2 * WEEK + 8 * HOUR)["all"]
    bench.config = bench.configured(everybody="new")
    bench.notifier = bench.hire()
    assert bench.sent(2 * WEEK + 9 * HOUR) == {}
    assert bench.sent(3 * WEEK + 6 * HOUR).keys() == {"new", "acme"}


def test_one_that_is_not_taken_is_sent_later(bench: Bench) -> None:
    """With pauses, as other messages; a week that could never be sent is given up for the next."""
    bench.config = bench.configured(everybody="acme")  # one address for both is one that gets all
    bench.notifier = bench.hire()
    bench.sent(DAY)
    bench.server.answers = [(500, {})] * 2
    assert len(bench.sent(WEEK + 6 * HOUR)) == 1
    (row,) = rows(bench.engine, alert_addresses)
    assert (row.label, row.error, row.attempts) == ("DIGEST_URL (webhook)", "HTTP 500", 1)
    assert bench.sent(WEEK + 6 * HOUR + 59) == {}
    assert len(bench.sent(WEEK + 6 * HOUR + 60)) == 1
    assert "beans" in bench.sent(2 * WEEK + 6 * HOUR)["acme"]
    (row,) = rows(bench.engine, alert_addresses)
    assert (row.error, row.failing_since, row.attempts, row.sent_for) == ("", None, 0, NEXT)
    assert bench.sent(2 * WEEK + 7 * HOUR) == {}


@pytest.mark.parametrize(("now", "start"), [(NEXT, MONDAY), (NEXT - 1, MONDAY - WEEK), (NEXT + 3 * DAY + 0.5, MONDAY)])
def test_the_last_whole_week(now: float, start: float) -> None:
    """Begins on a Monday."""
    assert week_before(now) == start
    assert datetime.fromtimestamp(start, UTC).weekday() == 0
