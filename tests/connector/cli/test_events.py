"""connector.cli.events: what `list` and `show` print; tests/connector/intake/test_replay.py has the replay."""

import shutil

import pytest
from click.testing import CliRunner

from connector.cli.main import main
from connector.outbox.outbox import Outbox
from connector.storage.database import Database
from connector.storage.engine import connect
from connector.storage.tables import events
from tests.support.outbox_rows import decision, mapped
from tests.support.stores_file import BASE, store


@pytest.fixture
def url(migrated_sqlite, tmp_path):
    shutil.copy(migrated_sqlite, tmp_path / "connector.db")
    return f"sqlite:///{tmp_path / 'connector.db'}"


def run(url, *arguments):
    return CliRunner().invoke(main, ["events", *arguments], env={**BASE, "STORES_TOML": store(), "DATABASE_URL": url})


def test_the_list_has_a_head_outside_its_output(url):
    """Standard output has one line for each event; an empty list has no head."""
    assert run(url, "list").stderr == "0 events\n"
    engine = connect(url)
    Outbox(Database(engine)).record(decision("1", mapped(1), mapped(2)))
    engine.dispose()
    result = run(url, "list")
    head, count = result.stderr.splitlines()
    assert head.split("  ")[-6:] == ["store", "pixel", "event", "event_id", "[test_event_code]", "state"]
    assert count == "2 events"
    rows = result.stdout.splitlines()
    assert len(rows) == 2
    assert all(len(row.split("  ")[0]) == len(head[:19]) for row in rows)
    assert head.index("row") + len("row") == rows[0].index("  acme")


def test_a_row_number_is_no_order_number(url):
    """Order 1 never came: the event in row 1, of order 79, is not it. By its row it is found all the same."""
    engine = connect(url)
    Outbox(Database(engine)).record(decision("79", mapped(79), order_number="79"))
    engine.dispose()
    assert run(url, "show", "1").exit_code == 1
    assert "acme-order-79" not in run(url, "show", "1").output
    assert "acme-order-79  (row 1," in run(url, "show", "--row", "1").stdout
    assert run(url, "show", "--row", "2").output.strip() == "connector: no event has the row number 2"
    assert run(url, "show").exit_code == run(url, "show", "79", "--row", "1").exit_code == 2
    assert run(url, "replay", "1").exit_code == 1
    assert "1 not replayed: still waiting to be sent" in run(url, "replay", "--row", "1").output


def test_a_remembered_key_is_shown_with_its_time(url):
    """Of an event that got the customer's last click."""
    engine = connect(url)
    Outbox(Database(engine)).record(decision("79", mapped(79)))
    assert "remembered" not in run(url, "show", "order:79").stdout
    with engine.begin() as connection:
        connection.execute(events.update().values(ttclid_from=1_780_000_000.0))
    engine.dispose()
    assert "  remembered from an earlier visit: ttclid of 2026-05-28 20:26:40\n" in run(url, "show", "order:79").stdout


def test_an_unknown_key_is_told_once(url):
    """And with exit code 1."""
    result = run(url, "show", "x")
    assert result.exit_code == 1
    assert result.output.strip() == "connector: no webhook or event with the id or number 'x' is on record"
