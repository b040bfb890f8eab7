"""`connector events`: what the commands list, show and send again, over a real database."""

import hashlib
import random
import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from connector.cli.main import main
from connector.config.settings import load
from connector.core.store import Pixel
from connector.core.webhook import Webhook
from connector.intake.replay import PAGE, plan_replay, replay_events
from connector.outbox.encryption import encrypt
from connector.outbox.lanes import Lane
from connector.outbox.ledger import Decision, ParkedWebhook, park_decision
from connector.outbox.outbox import Outbox
from connector.outbox.queries import EventFilter, OutboxQueries
from connector.outbox.settlement import STATES, settled
from connector.setup.samples import webhooks
from connector.storage.database import Database
from connector.storage.engine import connect
from connector.storage.tables import events
from tests.support.outbox_rows import mapped
from tests.support.web import client_of

HOUR = 3600.0
PIXEL = Pixel("CACME000000000000000", "token-one")
STORES = """
[defaults]
consent = "not_required"
access_token = "token-one"
[stores.acme]
platform = "shopify"
url = "https://acme.example"
shop = "acme.myshopify.com"
webhook_secrets = ["whsec-new"]
pixel = "CACME000000000000000"
"""


class Bench:
    """A database with finished events in it, and the commands over it."""

    def __init__(self, url: str) -> None:
        self.environment = {"STORES_TOML": STORES, "DATABASE_URL": url, "LOG_LEVEL": "ERROR"}
        self.config = load(self.environment)
        self.engine = connect(url)
        self.outbox, self.queries = Outbox(Database(self.engine)), OutboxQueries(Database(self.engine))

    def run(self, *arguments: str) -> tuple[int, str]:
        """Exit status and what was printed."""
        result = CliRunner(env=self.environment).invoke(main, ["events", *arguments])
        return result.exit_code, result.output

    def put(self, *numbers, state="rejected", sent=0.0, age=0.0, store="acme", code="", name="Purchase"):
        """Events that ended so, sent and happened so many hours ago."""
        now = time.time()
        pixel = replace(PIXEL, test_event_code=code)
        at = datetime.fromtimestamp(now - age * HOUR, UTC)
        items = tuple(mapped(number, name, pixel, occurred_at=at) for number in numbers)
        body = hashlib.sha256(repr((numbers, name, store)).encode()).digest()
        self.outbox.record(Decision(store, "orders/paid", body, now - sent * HOUR, events=items))
        claimed = self.outbox.claim(Lane(store, PIXEL.code), 1000, "one", now - sent * HOUR, 60)
        if state != "due":
            ended = [settled(item, state, now - sent * HOUR, 40002, "bad", "r") for item in claimed]
            self.outbox.settle("one", claimed[0].lease_until, ended)

    def park(self, number: int = 1, secret: str = "whsec-new", store: str = "acme", body: bytes = b"", age: float = 0):
        shop, at = replace(self.config.stores["acme"], name=store, webhook_secrets=(secret,)), time.time() - age * HOUR
        for _ in range(number):
            content = body or b'{"nothing":"%s"}' % random.randbytes(8).hex().encode()
            digest = hashlib.sha256(content).digest()
            webhook = Webhook("orders/create", content, datetime.now(UTC))
            self.outbox.record(
                park_decision(ParkedWebhook(store, "orders/create", digest, "no id", at, encrypt(webhook, shop)))
            )

    def states(self):
        return {row.event_id.removeprefix("acme-order-"): row.state for row in self.queries.find(EventFilter(), 10_000)}


@pytest.fixture
def bench(migrated_url):
    bench = Bench(migrated_url)
    yield bench
    bench.engine.dispose()


class TestReplay:
    """Finished events again."""

    def test_a_dry_run_says_what_would_be_and_changes_nothing(self, bench):
        """And so the real run does the same."""
        bench.put(1, 2)
        assert bench.run("replay", "--state", "rejected", "--dry-run") == (0, "2 events would be due again\n")
        assert set(bench.states().values()) == {"rejected"}
        assert bench.run("replay", "--state", "rejected") == (0, "2 events are due again\n")
        assert set(bench.states().values()) == {"due"}

    @pytest.mark.parametrize(
        ("words", "chosen"),
        [
            (["acme-order-1"], {"1"}),
            (["acme-order-1", "acme-order-2"], {"1", "2"}),
            (["--store", "acme", "--state", "expired"], {"3"}),
            (["--event", "Purchase"], {"1", "2", "3"}),
            (["--since", "1h"], {"1", "2"}),
            (["--until", "1h"], {"3"}),
            (["--since", "5h", "--until", "2h"], {"3"}),
        ],
    )
    def test_chosen_by_id_store_state_event_and_time(self, bench, words, chosen):
        """Every word given must fit."""
        bench.put(1, 2)
        bench.put(3, state="expired", sent=3)
        status, _ = bench.run("replay", *words)
        assert status == 0
        assert {number for number, state in bench.states().items() if state == "due"} == chosen

    def test_nothing_chosen_is_wrong_use(self, bench):
        """Everything at once would rarely be meant."""
        assert bench.run("replay")[0] == 2
        assert bench.run("replay", "--since", "yesterday")[0] == 2

    def test_what_is_not_there_is_said(self, bench):
        """A slip of the keyboard in an id or a store's name; what is there is replayed all the same."""
        bench.put(1, 2)
        status, said = bench.run("replay", "acme-order-9", "--row", "99", "acme-order-1")
        assert status == 1
        assert "connector: no event has the event_id 'acme-order-9'" in said
        assert "connector: no event has the row number 99" in said
        assert "1 event is due again\n" in said
        assert {number for number, state in bench.states().items() if state == "due"} == {"1"}
        status, said = bench.run("replay", "acme-order-2", "--state", "expired")
        assert (status, "no event has the event_id 'acme-order-2' and fits the other options" in said) == (1, True)
        assert bench.run("replay", "--state", "expired") == (0, "0 events are due again\n")
        for words in ("replay", "replay --parked", "list", "list --parked"):
            status, said = bench.run(*words.split(), "--store", "acmee")
            assert (status, "there are: acme" in said) == (2, True), words

    @pytest.mark.parametrize(
        ("state", "said"),
        [("held", "still waiting for the browser's signals"), ("skipped", "it was skipped: no consent")],
    )
    def test_what_lacks_a_yes_is_never_sent(self, bench, state, said):
        """Not even by force; and each state can be asked for."""
        bench.put(1)
        with bench.engine.begin() as connection:
            connection.execute(events.update().values(state=state, message="no consent"))
        for force in ([], ["--force"]):
            status, told = bench.run("replay", "--state", state, *force)
            assert (status, bench.states()) == (1, {"1": state})
            assert f"1 not replayed: {said}" in told
        assert state in bench.run("show", "acme-order-1")[1]

    def test_every_state_can_be_asked_for(self, bench):
        """The command has a list of its own, so as to start quickly."""
        assert {bench.run("list", "--state", state)[0] for state in STATES} == {0}

    def test_what_tiktok_has_accepted_is_never_sent_again(self, bench):
        """Not even by force."""
        bench.put(1, state="accepted")
        for force in ([], ["--force"]):
            status, said = bench.run("replay", "acme-order-1", *force)
            assert (status, bench.states()) == (1, {"1": "accepted"})
            assert "accepted it already" in said

    def test_beyond_tiktoks_memory_it_takes_force_and_says_why(self, bench):
        """Only those it is needed for forget when they were sent."""
        bench.put(1, state="expired", sent=50)
        bench.put(2, state="expired", sent=1)
        status, said = bench.run("replay", "--state", "expired", "--dry-run")
        assert "1 not replayed: it may have reached TikTok over 47 hours ago" in said
        assert "count twice" in said
        assert "--force" in said
        assert "1 event would be due again" in said
        status, said = bench.run("replay", "--state", "expired", "--force")
        assert status == 0
        assert "1 only because of --force: if TikTok received it, it counts twice" in said
        with bench.engine.connect() as connection:
            rows = connection.execute(sa.select(events.c.event_id, events.c.sent_at)).all()
        assert {event_id: sent_at is None for event_id, sent_at in rows} == {
            "acme-order-1": True,
            "acme-order-2": False,
        }

    def test_the_age_limit_holds_even_by_force(self, bench):
        """The relay would not send it either; tests have no age."""
        bench.put(1, state="expired", age=24 * 8)
        bench.put(2, state="expired", age=24 * 8, code="TEST1")
        status, said = bench.run("replay", "--state", "expired", "--force")
        assert status == 0
        assert "max_event_age" in said
        assert bench.states() == {"1": "expired", "2": "due"}

    def test_an_erased_payload_and_a_store_that_is_gone_are_named(self, bench):
        """Neither can be sent."""
        bench.put(1)
        bench.put(2, store="gone", name="Other")
        with bench.engine.begin() as connection:
            connection.execute(sa.update(events).where(events.c.store == "acme").values(payload=None))
        status, said = bench.run("replay", "--state", "rejected")
        assert status == 1
        assert "payload is no longer kept" in said
        assert "store gone is no longer configured" in said

    def test_many_go_in_parts_with_progress(self, bench):
        """Each part its own transaction; how far it is can be seen."""
        bench.put(*range(1000))
        ticks = []
        plan = plan_replay(bench.config, bench.queries, EventFilter(state="rejected"), force=False)
        assert replay_events(bench.queries, plan, ticks.append) == 1000
        assert ticks == [500, 500]

    def test_a_long_one_spoils_no_pipe_with_a_bar(self, bench):
        """Nor with the bar's label; a terminal gets one."""
        bench.put(*range(600))
        result = CliRunner(env=bench.environment).invoke(main, ["events", "replay", "--state", "rejected"])
        assert result.stdout == "600 events are due again\n"
        assert result.stderr == ""


class TestParked:
    """Bodies that could not be handled, through the current code."""

    def test_handled_ones_are_parked_no_longer(self, bench):
        """Fresh orders that an earlier version did not understand."""
        for body, _ in webhooks(bench.config.stores["acme"], ["orders/create"], 3, random.Random(1)):
            bench.park(body=body)
        assert bench.run("replay", "--parked", "--dry-run") == (
            0,
            "3 × would be tried: acme orders/create: no id\n",
        )
        assert bench.run("replay", "--parked") == (0, "3 × relayed\n")
        assert bench.queries.parked() == []
        assert set(bench.states().values()) == {"due"}

    @pytest.mark.slow
    def test_each_one_is_tried_once_however_many_there_are(self, bench):
        """Those that stay parked do not hide those behind them."""
        bench.park(PAGE + 3)
        status, said = bench.run("replay", "--parked")
        assert status == 1
        assert f"{PAGE + 3} × still parked: acme orders/create" in said
        assert bench.queries.parked_number() == PAGE + 3

    def test_gone_stores_and_lost_secrets_are_reported(self, bench):
        """And the others are handled all the same."""
        bench.park(store="gone")
        bench.park(secret="whsec-old")
        body, _ = next(webhooks(bench.config.stores["acme"], ["orders/create"], 1, random.Random(1)))
        bench.park(body=body)
        status, said = bench.run("replay", "--parked")
        assert status == 1
        assert "1 × cannot be tried: store gone is no longer configured" in said
        assert "1 × cannot be opened: acme: no current webhook_secret opens it" in said
        assert "1 × relayed" in said

    def test_nothing_parked_is_said(self, bench):
        """With the store that was asked about."""
        assert bench.run("replay", "--parked", "--store", "acme") == (0, "nothing is parked for acme\n")

    def test_chosen_by_store_and_time(self, bench):
        """Every word given must fit, in both commands."""
        for store, age in (("acme", 0), ("gone", 0), ("acme", 5), ("acme", 30)):
            bench.park(store=store, age=age)
        for words, number in (
            ("", 4),
            ("--since 1h", 2),
            ("--until 1h", 2),
            ("--since 2d --until 10h", 1),
            ("--store acme --since 1h", 1),
            ("--store gone --until 1h", 0),
        ):
            assert bench.run("list", "--parked", *words.split())[1].count("orders/create") == number, words
            said = bench.run("replay", "--parked", "--dry-run", *words.split())[1]
            assert sum(int(row.split(" × ")[0]) for row in said.splitlines() if "×" in row) == number, words
        assert "1 × cannot be tried: store gone" in bench.run("replay", "--parked", "--store", "gone")[1]
        assert bench.run("replay", "--parked", "--since", "1m", "--until", "1h") == (0, "nothing is parked from then\n")

    def test_what_chooses_events_chooses_no_parked_ones(self, bench):
        """All parked webhooks of all stores would be replayed for the one that is meant."""
        body, _ = next(webhooks(bench.config.stores["acme"], ["orders/create"], 1, random.Random(1)))
        bench.park(body=body)
        for words, named in (
            ("acme-order-1", "IDS"),
            ("--row 1", "--row"),
            ("--state rejected --force", "--state, --force"),
            ("--event Purchase", "--event"),
        ):
            status, said = bench.run("replay", "--parked", *words.split())
            assert status == 2, words
            assert f"--parked goes with --store, --since and --until; leave out {named}\n" in said
        assert bench.queries.parked_number() == 1
        for words in ("--state rejected", "--event Purchase"):
            assert bench.run("list", "--parked", *words.split())[0] == 2

    def test_list_shows_them(self, bench):
        """With the reason."""
        bench.park()
        status, said = bench.run("list", "--parked")
        assert (status, "acme  orders/create  no id" in said, "\n1 webhook is parked\n" in said) == (0, True, True)
        bench.park(2, age=3)
        said = bench.run("list", "--parked", "--limit", "2")[1]
        assert said.endswith("\n3 webhooks are parked (the oldest 2 are listed; --limit for more)\n")
        assert bench.run("list", "--parked", "--since", "1h")[1].endswith("\n1 webhook is parked\n")


class TestList:
    """What there is."""

    def test_events_of_a_store_no_longer_configured_are_shown_waiting(self, bench):
        """They are neither sent nor thrown away; `check` counts them too."""
        bench.put(1, 2, state="due", store="gone")
        status, said = bench.run("list", "--store", "gone")
        assert status == 0
        assert said.count("its store is not configured, so it waits") == 2
        assert said.endswith("2 events\n")
        result = CliRunner(env=bench.environment).invoke(main, ["check"])
        assert "store gone, pixel CACME000000000000000: not configured, so 2 events of it wait" in result.output

    def test_one_is_told_in_the_singular(self, bench):
        """Wherever events are counted."""
        bench.put(1, state="due", store="gone")
        assert bench.run("list", "--limit", "9")[1].endswith("\n1 event\n")
        result = CliRunner(env=bench.environment).invoke(main, ["check"])
        assert "so 1 event of it waits unsent" in result.output
        bench.put(2)
        assert bench.run("replay", "acme-order-2") == (0, "1 event is due again\n")

    def test_a_store_that_never_was_is_wrong_use(self, bench):
        """A slip of the keyboard."""
        status, said = bench.run("list", "--store", "acmee")
        assert status == 2
        assert "there are: acme" in said

    def test_an_order_can_be_shown_by_its_number(self, bench):
        """With what TikTok said."""
        client = client_of(bench.config, bench.outbox.database)
        body, headers = next(webhooks(bench.config.stores["acme"], ["orders/create"], 1, random.Random(2)))
        from tests.support.platforms import PLATFORMS

        headers |= PLATFORMS["shopify"].signed_headers(body, "whsec-new")
        assert client.post("/webhooks/acme", data=body, headers=headers).status_code == 200
        (row,) = bench.queries.find(EventFilter(), 10)
        status, said = bench.run("show", row.event_id)
        assert status == 0
        assert "state due" in said
        assert bench.run("show", "nothing-like-this")[0] == 1

    def test_a_skipped_order_is_shown_by_the_event_id_it_would_have_had(self, bench):
        """Of that store only; an order that is on record nowhere is named all the same."""
        for store, reason in (("acme", "order_placed: pos orders are not relayed"), ("other", "another shop's")):
            bench.outbox.record(
                Decision(store=store, topic="orders/create", body_sha256=store.encode().ljust(32), received_at=1.0,
                         outcome="skipped", reason=reason, object_key="order:77", order_number="#1077")
            )  # fmt: skip
        status, said = bench.run("show", "acme-order-77")
        assert status == 0
        assert said.startswith("There is no event acme-order-77. It would belong to order 77 of acme")
        assert "skipped  order_placed: pos orders are not relayed" in said
        assert "another shop's" not in said
        status, said = bench.run("show", "acme-order-78")
        assert (status, "it would belong to order 78 of acme, of which no webhook is on record" in said) == (1, True)

    def test_an_event_id_that_does_not_tell_its_order_asks_for_that(self, bench):
        """A cart's token is on no record."""
        bench.environment["STORES_TOML"] = STORES + '[stores.acme.event_id]\norder = "cart-{cart_token}"\n'
        status, said = bench.run("show", "cart-Z2NwLXVz")
        assert (status, "use the order's number or id instead" in said) == (1, True)
