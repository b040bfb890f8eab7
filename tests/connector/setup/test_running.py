"""The settings that run, as a command sees them: `connector check --live` where the server has not read a change."""

import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import Engine

from connector.outbox.outbox import Outbox
from connector.server.relay_process import _jobs
from connector.setup.checklist import settings
from connector.setup.items import Item
from connector.setup.running import RunningSettings, _plain
from connector.setup.situation import read_situation
from tests.support.new_store import NewStore

Make = Callable[..., NewStore]


def item(shop: NewStore) -> Item:
    """The line as a command shows it, which has no settings but those that are written now."""
    return settings(read_situation(shop.config, shop.store, shop.platform, shop.database, time.time()))


@pytest.fixture
def running(new_store: Make) -> NewStore:
    """A store whose relay has started."""
    shop = new_store()
    RunningSettings(shop.database, shop.config).note()
    Outbox(shop.database).heartbeat("one", time.time())
    assert item(shop).state == "green"
    return shop


@pytest.mark.parametrize(
    "changes", [{"test_event_code": ""}, {"webhook_secrets": ["another-secret-012345"]}, {"access_token": "another"}]
)
def test_a_change_that_the_server_has_not_read(running: NewStore, changes: dict) -> None:
    running.configure(**changes)
    found = item(running)
    assert found.state == "waiting"
    assert "restart `connector serve`, or send it HUP" in found.remedy
    RunningSettings(running.database, running.config).note()
    assert item(running).state == "green"


def test_an_address_of_another_environment(running: NewStore) -> None:
    """PUBLIC_URL was set here, but not where the server runs."""
    running.environ["PUBLIC_URL"] = "https://connector.example"
    running.configure()
    assert "with the same environment variables as here" in item(running).remedy


def test_a_store_that_the_server_does_not_know(running: NewStore) -> None:
    """It was added to the file just now; and one that was taken out is forgotten."""
    one = running.store
    config = replace(running.config, stores={"more": replace(one, name="more")})
    running.store = config.stores["more"]
    assert item(running).state == "waiting"
    RunningSettings(running.database, config).note()
    assert item(running).state == "green"
    running.store = one
    assert item(running).state == "waiting"


def test_without_a_relay_nothing_is_compared(running: NewStore) -> None:
    """The settings that run are not known then, and the next line says so."""
    Outbox(running.database).leave("one")
    running.configure(test_event_code="")
    assert item(running).state == "green"


def test_the_relays_process_notes_them(sqlite_engine: Engine, new_store: Make) -> None:
    shop = new_store()
    _jobs(shop.config, shop.database, "one")["settings"].args[0]()
    Outbox(shop.database).heartbeat("one", time.time())
    assert item(shop).state == "green"


def test_a_set_has_no_order_of_its_own() -> None:
    """It differs between processes."""
    assert _plain({"names": frozenset("dcba")}) == {"names": ["a", "b", "c", "d"]}
