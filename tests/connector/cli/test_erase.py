"""`connector erase` and `connector events export`, over a real database."""

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from connector.cli.main import main
from connector.config.settings import load
from connector.core.webhook import Request
from connector.intake.intake import Intake
from connector.outbox.lanes import Lane
from connector.outbox.outbox import Outbox
from connector.outbox.settlement import settled
from connector.plugin.testing.bench import handle_request
from connector.plugin.testing.shoppers import Journey
from connector.privacy.requests import DataRequestStore
from connector.storage.database import Database
from connector.storage.engine import connect
from connector.storage.tables import accuracy, demands, events, ledger, parked
from tests.support.factories import a_stores_file
from tests.support.platforms import PLATFORMS, SAMPLES

STORES = a_stores_file(webhook_secrets=["whsec-of-a-test"])
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
ANN, BOB = (Journey.random(random.Random(seed), NOW) for seed in (11, 12))


class Bench:
    """Two shops with orders, and the commands over their database."""

    def __init__(self, url: str) -> None:
        self.environment = {"STORES_TOML": STORES, "DATABASE_URL": url, "LOG_LEVEL": "WARNING"}
        self.stores = dict(load(self.environment).stores)
        self.engine = connect(url)
        self.outbox = Outbox(Database(self.engine))
        self.now = NOW
        self.intake = Intake(
            self.stores, PLATFORMS, self.outbox, DataRequestStore(self.outbox.database), clock=lambda: self.now
        )
        self.intake.start()

    def run(self, *arguments: str, typed: str = "") -> tuple[int, str, str]:
        """Exit status, what was printed and what was said beside it."""
        result = CliRunner(env=self.environment).invoke(main, arguments, input=typed)
        return result.exit_code, result.stdout, result.stderr

    def take(self, topic: str, journey: Journey = ANN, store: str = "acme", **changes: Any) -> str:
        shop = self.stores[store]
        samples, platform = SAMPLES[shop.platform], PLATFORMS[shop.platform]
        body = samples.encode({**samples.sample(topic, journey, shop), **changes})
        headers = samples.headers(topic, journey, shop) | platform.signed_headers(body, shop.webhook_secrets[0])
        return handle_request(self.intake, shop, Request({k.lower(): v for k, v in headers.items()}, body, NOW))

    def kept(self) -> set[tuple[str, str]]:
        """Store and event_id of what has a payload."""
        with self.engine.connect() as connection:
            rows = connection.execute(sa.select(events).where(events.c.payload.is_not(None))).all()
        return {(row.store, row.event_id) for row in rows}

    def of(self, store: str, table: sa.Table) -> int:
        """How many rows of the table are this store's."""
        with self.engine.connect() as connection:
            return len(connection.execute(sa.select(table).where(table.c.store == store)).all())


@pytest.fixture
def bench(migrated_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr("connector.privacy.retention.PAUSE", 0.0)  # between batches, for webhooks that do not come here
    bench = Bench(migrated_url)
    yield bench
    bench.engine.dispose()


def order(journey: Journey, store: str = "acme") -> tuple[str, str]:
    return store, f"{store}-order-{journey.order_id}"


class TestErase:
    """By hand, for everyone whom no webhook names."""

    def test_an_e_mail_is_erased_in_all_stores(self, bench: Bench) -> None:
        """However it is spelled; counted per store, and the other person stays."""
        bench.take("orders/create")
        bench.take("order.created", store="beans", status="processing")
        bench.take("orders/create", BOB)
        status, out, _ = bench.run("erase", "--email", f" {ANN.person.email.upper()}", "--yes")
        assert status == 0
        assert out.splitlines()[-1] == "erased"
        assert "acme: 1 waiting event, which will not be sent" in out
        assert "beans: " in out
        assert bench.kept() == {order(BOB)}
        assert bench.run("erase", "--email", ANN.person.email, "--yes")[1] == "no data is stored about this person\n"

    def test_the_e_mail_need_not_be_in_any_shells_history(self, bench: Bench) -> None:
        """From standard input, or asked for; it is printed nowhere."""
        for typed, arguments in (
            (f"{ANN.person.email}\n", ("--email", "-", "--yes")),
            (f"{BOB.person.email}\ny\n", ()),
        ):
            bench.take("orders/create")
            bench.take("orders/create", BOB)
            status, out, err = bench.run("erase", *arguments, typed=typed)
            assert status == 0, err
            assert "erased" in out
            assert ANN.person.email not in out + err
        assert bench.kept() == set()

    def test_it_asks_before_it_erases(self, bench: Bench) -> None:
        """No is no; and a dry run asks nothing."""
        bench.take("orders/create")
        status, _, err = bench.run("erase", "--email", ANN.person.email, typed="n\n")
        assert (status, "nothing was erased" in err) == (1, True)
        status, out, _ = bench.run("erase", "--email", ANN.person.email, "--dry-run")
        assert (status, "1 waiting event" in out, "nothing was erased" in out) == (0, True, True)
        assert bench.kept() == {order(ANN)}

    def test_by_phone_and_by_customer(self, bench: Bench) -> None:
        """For what came without an e-mail."""
        unknown = {"email": "", "contact_email": ""}
        bench.take("orders/create", ANN, **unknown, customer={"id": ANN.customer_id})
        bench.take("orders/create", BOB, **unknown, customer={"id": BOB.customer_id})
        assert bench.run("erase", "--phone", ANN.person.phone, "--yes")[0] == 0
        assert bench.kept() == {order(BOB)}
        assert bench.run("erase", "--customer", str(BOB.customer_id), "--store", "acme", "--yes")[0] == 0
        assert bench.kept() == set()

    def test_only_in_one_store(self, bench: Bench) -> None:
        """Each shop answers for its own."""
        bench.take("orders/create")
        bench.take("order.created", store="beans", status="processing")
        assert bench.run("erase", "--email", ANN.person.email, "--store", "beans", "--yes")[0] == 0
        assert bench.kept() == {order(ANN)}

    def test_what_a_store_left_that_is_gone_from_the_file_is_found(self, bench: Bench) -> None:
        """Its parked webhooks can be opened by nobody any more, so they go."""
        bench.take("orders/create")
        bench.take("orders/create", BOB, id=None)
        bench.environment["STORES_TOML"] = STORES.replace("[stores.acme]", "[stores.other]")
        status, out, _ = bench.run("erase", "--email", ANN.person.email, "--yes")
        assert status == 0
        assert "acme: 1 waiting event, which will not be sent, 1 parked webhook that no webhook_secret decrypts" in out
        assert bench.kept() == set()

    def test_parked_webhooks_that_name_the_person_go(self, bench: Bench) -> None:
        """They are opened to be looked at."""
        bench.take("orders/create", created_at=None, processed_at=None)
        bench.take("orders/create", BOB, created_at=None, processed_at=None)
        assert "acme: 1 parked webhook\n" in bench.run("erase", "--email", ANN.person.email, "--yes")[1]
        with bench.engine.connect() as connection:
            assert len(connection.execute(sa.select(parked)).all()) == 1

    def test_all_of_a_store_that_is_gone_from_the_file(self, bench: Bench) -> None:
        """After it has said what that is and asked; of another store everything stays."""
        bench.take("orders/create")
        bench.take("orders/create", BOB, id=None)
        bench.take("order.created", store="beans", status="processing")
        beans = {row for row in bench.kept() if row[0] == "beans"}
        bench.environment["STORES_TOML"] = STORES.replace("[stores.acme]", "[stores.other]")
        status, out, _ = bench.run("erase", "--store", "acme", "--all", "--dry-run")
        assert (status, out.splitlines()[-1]) == (0, "nothing was erased (--dry-run)")
        assert "acme: events: 1\nacme: parked webhooks: 1\nacme: ledger lines: 2\n" in out
        status, _, err = bench.run("erase", "--store", "acme", "--all", typed="n\n")
        assert (status, "nothing was erased" in err, order(ANN) in bench.kept()) == (1, True, True)
        status, out, err = bench.run("erase", "--store", "acme", "--all", typed="y\n")
        assert (status, out.splitlines()[-1], err) == (0, "erased", "")
        assert (bench.kept(), bench.of("acme", parked), bench.of("acme", ledger)) == (beans, 0, 0)
        assert bench.of("beans", ledger) == 1
        assert bench.run("erase", "--store", "acme", "--all")[1] == "no data is stored of acme\n"
        day = dict.fromkeys(("day", "orders", "sent", "waiting", "complete", "counted_at"), 0)
        with bench.engine.begin() as connection:
            connection.execute(sa.insert(accuracy), {"store": "acme", "skipped": "{}", "missing": "{}", **day})
        assert bench.run("erase", "--store", "acme", "--all", "--yes")[1] == "acme: days in the books: 1\nerased\n"
        assert bench.of("acme", accuracy) == 0

    def test_all_of_a_store_that_is_still_there(self, bench: Bench) -> None:
        """And that it goes on is told."""
        bench.now = datetime.now(UTC)
        bench.take("orders/create")
        status, _, err = bench.run("erase", "--store", "acme", "--all", "--yes")
        assert (status, bench.kept(), bench.of("acme", ledger)) == (0, set(), 0)
        assert err == "acme is still in the stores file: new webhooks will be stored as before\n"

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (("--all",), "use --store NAME --all"),
            (("--all", "--store", "acme", "--email", "a@example.com"), "use --store NAME --all without options"),
            (("--all", "--store", "acmee"), "there is no data of a store 'acmee'; there are: acme, beans"),
            (("--email", "ann.at.example.com"), "not a valid e-mail address"),
            (("--email", "-"), "name the person"),
            (("--phone", "12"), "not a phone number"),
            (("--customer", "7"), "add --store"),
            (("--customer", "7", "--store", "nobody"), "there is no store"),
        ],
    )
    def test_what_names_nobody_is_wrong_use(self, bench: Bench, arguments: tuple[str, ...], said: str) -> None:
        """And what was given is not repeated."""
        status, _, err = bench.run("erase", *arguments, "--yes")
        assert status == 2
        assert said in err
        assert "ann.at" not in err


class TestExport:
    """What is kept of a person, for themselves."""

    def test_everything_in_json_lines(self, bench: Bench) -> None:
        """Events as sent, what became of their webhooks, and what is parked; nothing masked, nobody else."""
        bench.take("orders/create")
        bench.take("orders/create", BOB)
        bench.take("orders/paid", created_at=None, processed_at=None)
        status, out, err = bench.run("events", "export", "--email", ANN.person.email)
        assert (status, err) == (0, "3 lines\n")
        lines = [json.loads(line) for line in out.splitlines()]
        assert [line["kind"] for line in lines] == ["event", "webhook", "parked"]
        assert lines[0]["payload"]["user"]["ip"] == ANN.ip
        assert lines[1]["order_number"] == json.loads(lines[2]["body"])["name"]
        assert BOB.person.email not in out

    def test_a_shoppers_question_is_answered_by_its_number(self, bench: Bench) -> None:
        """Once: then whom it was about is forgotten."""
        bench.take("orders/create")
        bench.take("customers/data_request")
        status, out, _ = bench.run("events", "export", "--demand", "1")
        assert status == 0
        assert json.loads(out.splitlines()[0])["event_id"] == order(ANN)[1]
        with bench.engine.connect() as connection:
            row = connection.execute(sa.select(demands)).one()
        assert row.done_at
        assert row.person is None
        status, _, err = bench.run("events", "export", "--demand", "1")
        assert (status, "is done already" in err) == (1, True)

    def test_an_unknown_number_is_told(self, bench: Bench) -> None:
        """And an erasure is no question."""
        bench.take("customers/redact")
        for number in ("1", "2"):
            status, _, err = bench.run("events", "export", "--demand", number)
            assert (status, "there is no data request" in err) == (1, True)

    def test_of_a_stranger_nothing_is_kept(self, bench: Bench) -> None:
        """Which is an answer, too."""
        status, out, err = bench.run("events", "export", "--email", "stranger@example.com")
        assert (status, out, err) == (0, "", "no data is stored about this person\n")

    def test_what_was_erased_is_not_exported(self, bench: Bench) -> None:
        """Only that there was an order stays."""
        bench.take("orders/create")
        claimed = bench.outbox.claim(Lane("acme", "CACME000000000000000"), 9, "r", NOW.timestamp() + 60, 60)
        done = [settled(item, "accepted", NOW.timestamp(), 0, "OK", "r") for item in claimed]
        bench.outbox.settle("r", claimed[0].lease_until, done)
        assert bench.run("erase", "--email", ANN.person.email, "--yes")[0] == 0
        assert bench.run("events", "export", "--email", ANN.person.email)[1] == ""
