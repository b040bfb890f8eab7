"""`connector backfill` on the command line, against a fake WooCommerce, and what it says."""

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from connector.cli.backfill import format_summary
from connector.cli.main import main
from connector.storage.engine import connect
from connector.storage.tables import events, ledger
from connector.sync.backfill import ImportSummary
from tests.support.factories import OTHER_CODE, a_section, a_stores_file
from tests.support.fakes.living import SECRET, Clock, Living
from tests.support.outbox_rows import rows

KEYS = {"consumer_key": "${KEY}", "consumer_secret": "${KEY_SECRET}"}


class Command:
    """The command, for a shop and a database of its own."""

    def __init__(self, shop: Living, url: str) -> None:
        self.shop = shop
        self.url = url
        self.keys = KEYS
        self.secret = shop.fake.secret
        self.go_live = ""

    def __call__(self, *arguments: str) -> tuple[int, str]:
        toml = a_stores_file(
            a_section(
                "woocommerce",
                "beans",
                url=self.shop.fake.url,
                shop=self.shop.fake.url,
                pixel=OTHER_CODE,
                go_live=self.go_live,
                api=self.keys,
            ),
            webhook_secrets=["${SECRET}"],
            access_token="${SECRET}",
        )
        environ = {"STORES_TOML": toml, "SECRET": SECRET, "KEY": self.shop.fake.key, "KEY_SECRET": self.secret}
        result = CliRunner(env={**environ, "DATABASE_URL": self.url}).invoke(main, ["backfill", *arguments])
        assert self.secret not in result.output
        return result.exit_code, result.output

    def rows(self, table: Any) -> list[Any]:
        engine = connect(self.url)
        try:
            return rows(engine, table)
        finally:
            engine.dispose()


@pytest.fixture
def command(migrated_sqlite: Path, tmp_path: Path) -> Iterator[Command]:
    shutil.copy(migrated_sqlite, tmp_path / "connector.db")
    shop = Living("woocommerce", Clock())
    with shop.fake:
        yield Command(shop, f"sqlite:///{tmp_path / 'connector.db'}")


def test_it_queues_what_is_missing_and_says_what_it_found(command: Command) -> None:
    """go_live does not apply: whoever asks for history gets it."""
    command.go_live = "2035-01-01"
    orders = command.shop.place(3)
    (person,) = command.shop.sign_up()
    status, said = command("beans", "--since", "2d")
    assert status == 0
    lines = [line.strip() for line in said.splitlines()]
    assert [line for line in lines if line[:1].isdecimal()] == [
        "4 found",
        "0 already stored",
        "3 orders and 1 registration queued (7 events)",
    ]
    ids = {row.event_id for row in command.rows(events)}
    assert ids == {*(f"beans-order-{number}" for number in orders), f"beans-customer-{person}"}
    status, said = command("beans", "--since", "2d")
    assert (status, "4 already stored" in said, "0 queued (0 events)" in said) == (0, True, True)
    assert said.startswith("beans, ")  # no label of a bar that cannot be drawn


def test_a_dry_run_stores_nothing(command: Command) -> None:
    command.shop.place(2)
    status, said = command("beans", "--since", "2d", "--dry-run")
    assert (status, "2 orders would be queued (4 events)" in said) == (0, True)
    assert command.rows(events) == command.rows(ledger) == []


def test_what_was_skipped_is_said_with_its_reason(command: Command) -> None:
    command.shop.place(2, status="cancelled", date_paid_gmt=None)
    _, said = command("beans", "--since", "2d")
    assert "  2 skipped\n    2 × order_placed: the order was already cancelled when first seen\n" in said


def test_a_time_that_ends_before_now(command: Command) -> None:
    """Orders of that time, though they changed since; none that came later."""
    command.shop.clock.now -= 7200
    (old,) = command.shop.place()
    command.shop.clock.now += 5400
    command.shop.fake.update(old, customer_note="changed")
    command.shop.place()
    status, said = command("beans", "--since", "2d", "--until", "1h")
    assert status == 0
    assert "  1 only changed in the period, but happened at another time" in said
    assert {row.event_id for row in command.rows(events)} == {f"beans-order-{old}"}


def test_older_than_anything_is_sent_is_not_asked_for(command: Command) -> None:
    status, said = command("beans", "--since", "30d")
    assert status == 0
    assert "events older than max_event_age are not sent, so the period begins at " in said
    status, said = command("beans", "--since", "30d", "--until", "20d")
    assert (status, "the whole period is older than max_event_age; nothing was read" in said) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nobody", "--since", "2d"), "there is no store 'nobody'; there are: beans"),
        (("beans",), "Missing option '--since'"),
        (("beans", "--since", "yesterday"), "'yesterday' is not a date, time or age"),
        (("beans", "--since", "99999999999d"), "is not a date, time or age"),
        (("beans", "--since", "1d", "--until", "2d"), "--since must be before --until"),
    ],
)
def test_wrong_use(command: Command, arguments: tuple[str, ...], words: str) -> None:
    status, said = command(*arguments)
    assert status == 2
    assert words in said


def test_wrong_keys_in_one_sentence(command: Command) -> None:
    command.secret = "cs_wrong"
    status, said = command("beans", "--since", "2d")
    assert status == 1
    assert said.splitlines()[-1].startswith("connector: store beans: the shop refuses the keys")
    assert "found" not in said


def test_a_fault_in_the_middle_after_what_was_done_until_then(command: Command) -> None:
    command.shop.place(2)
    command.shop.fake.forbidden.add("customers")
    status, said = command("beans", "--since", "2d")
    assert (status, "2 orders queued" in said) == (1, True)
    last = said.splitlines()[-1]
    assert last.startswith("connector: store beans: incomplete: the keys' user may not do this")
    assert last.endswith("; then run it again")


def test_a_store_without_keys(command: Command) -> None:
    command.keys = None
    status, said = command("beans", "--since", "2d")
    assert status == 1
    assert "has no consumer_key and consumer_secret in its [api]" in said


def test_a_database_that_is_not_ready(command: Command, tmp_path: Path) -> None:
    command.url = f"sqlite:///{tmp_path / 'empty.db'}"
    status, said = command("beans", "--since", "2d")
    assert status == 1
    assert "connector migrate" in said
    assert command.shop.asked() == 0


def test_each_thing_of_a_tally_is_said() -> None:
    tally = ImportSummary(found=9, outside=1, empty=2, parked=1, withheld={"order:1"})
    said = "\n".join(format_summary(tally, dry_run=False))
    for words in (
        "1 only changed in the period, but happened at another time",
        "2 drafts",
        "1 could not be processed; see `connector events",
        "1 does not say",
    ):
        assert words in said
    assert "1 order would be queued (1 event)" in "\n".join(
        format_summary(ImportSummary(queued=Counter(order=1), events=1), True)
    )
    assert "1 draft or the like" in "\n".join(format_summary(ImportSummary(empty=1), dry_run=False))
