"""The command `lint-pixel`: what a browser sent beside what is stored."""

import json
import time
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner

from connector.cli.main import main
from connector.core.store import Pixel
from connector.core.webhook import Webhook
from connector.funnel.queue import FunnelEvent, FunnelQueue
from connector.intake.examine import examine
from connector.outbox.outbox import Outbox
from connector.storage.database import Database
from connector.storage.engine import connect
from tests.support.captured_purchase import BODY, PURCHASE, SERVER, changed
from tests.support.factories import CODE, a_section, a_store, a_stores_file
from tests.support.outbox_rows import decision
from tests.support.platforms import PLATFORMS

STORE = a_store(webhook_secrets=("secret",))
STORES = a_stores_file(
    a_section(pixel=CODE, browser_pixel="snippet"), webhook_secrets=["secret"], access_token="token", country=None
)


@pytest.fixture
def run(migrated_sqlite, tmp_path):
    """The command over a database."""

    def run(content, database=migrated_sqlite, stores=STORES):
        file = tmp_path / "copied.txt"
        file.write_text(content)
        environ = {"STORES_TOML": stores, "DATABASE_URL": f"sqlite:///{database}"}
        return CliRunner(env=environ).invoke(main, ["lint-pixel", "acme", str(file)])

    return run


def test_the_command_compares_with_the_stored_event(run, tmp_path, migrated_sqlite):
    """The bytes of the outbox are what the server sends."""
    database = tmp_path / "own.db"
    database.write_bytes(migrated_sqlite.read_bytes())
    stored_purchase(database)
    assert "so are the fields of the stored event" in run(BODY, database).output
    result = run(json.dumps(changed(properties={"value": 1})), database)
    assert "its value is 1, the server's 44.5" in result.output
    assert result.exit_code == 1


def test_the_command_compares_with_what_the_page_reported(run, tmp_path, migrated_sqlite):
    """An event before the order has its server copy in a queue of its own."""
    database = tmp_path / "own.db"
    database.write_bytes(migrated_sqlite.read_bytes())
    stored, now = json.dumps({**SERVER, "event": "ViewContent"}).encode(), time.time()
    engine = connect(f"sqlite:///{database}")
    reported = FunnelEvent("acme", Pixel(CODE, "token"), "ViewContent", "0f" * 16, now, now, stored)
    with (queue := FunnelQueue(Database(engine))).database.write() as connection:
        queue.write(connection, [reported])
    engine.dispose()
    view = changed(event="ViewContent", event_id="0f" * 16)
    stores = STORES + "\n[stores.acme.funnel]\n"
    assert "so are the fields of the stored event" in run(json.dumps(view), database, stores).output
    result = run(json.dumps({**view, "properties": {**view["properties"], "value": 7}}), database, stores)
    assert "its value is 7, the server's 44.5" in result.output


def stored_purchase(database):
    """An order's webhook, as intake stores it."""
    now = datetime(2026, 11, 24, 12, tzinfo=UTC)
    line = {"variant_id": 77, "quantity": 1, "price": "44.50", "discount_allocations": [], "title": "Shirt"}
    order = {
        "id": 1001,
        "created_at": now.isoformat(),
        "financial_status": "paid",
        "source_name": "web",
        "currency": "USD",
        "total_price": "44.50",
        "customer": {"id": 42},
        "line_items": [line],
    }
    body = json.dumps(order).encode()
    webhook = Webhook(topic="orders/paid", body=body, received_at=now)
    seen = examine(webhook, PLATFORMS["shopify"], STORE, now, None)
    engine = connect(f"sqlite:///{database}")
    Outbox(Database(engine)).record(decision("an order", *seen.events))
    engine.dispose()


def test_the_command_needs_no_database(run, tmp_path):
    """A file is compared with the settings then, and none is made."""
    absent = tmp_path / "absent.db"
    result = run(BODY, absent)
    assert result.exit_code == 0
    assert "it will merge" in result.output
    assert not absent.exists()


def test_the_command_refuses_what_it_cannot_read(run):
    """One sentence, exit 1."""
    result = run("hello")
    assert result.exit_code == 1
    assert result.output.startswith("connector: copied.txt: its format is not supported")


@pytest.mark.parametrize("odd", ["\ud800", "\x1b[2J", "\u202e", "\n✓ all is well"])
def test_nothing_that_a_terminal_obeys_or_cannot_write_is_repeated(run, odd):
    """A file may come from anybody: half a character, a control sequence, a line that looks like ours."""
    properties = {**PURCHASE["properties"], "content_type": odd, "contents": [{"content_id": odd}]}
    for one in ({"event_id": odd}, {"properties": properties}, {"properties": {**properties, "currency": odd}}):
        result = run(json.dumps({**PURCHASE, **one}))
        assert result.exit_code == 1
        assert odd not in result.output
        assert all(line.startswith("✗ Purchase: ") for line in result.output.splitlines())
