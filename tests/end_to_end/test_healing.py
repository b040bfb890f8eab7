"""The ends meet: a shop that loses deliveries and switches a webhook off is healed by one round of reconciliation.

Registered through the vendors' packages, delivered to the real application over sockets, reconciled, and relayed to
the sandbox, which must have got every order exactly once and nothing else.
"""

import signal
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine

from connector.devtools.sandbox.server import Sandbox, create_server
from connector.outbox.outbox import Outbox
from connector.outbox.queries import OutboxQueries
from connector.relay.events_api import EventsApi
from connector.relay.relay import Relay
from connector.storage.database import Database
from connector.sync.reconcile import UNDER_WAY, Reconciler
from tests.support.factories import a_section, a_stores_file
from tests.support.fakes.living import Clock, Living, sent_ids, server
from tests.support.platforms import PLATFORMS


@pytest.fixture
def shop(request: pytest.FixtureRequest) -> Iterator[Living]:
    living = Living(request.param, Clock())
    living.store = replace(living.store, reconcile=timedelta(minutes=15))
    with living.fake:
        yield living


def relayed(shop: Living, outbox: Outbox) -> Sandbox:
    """What a sandbox has got when a relay has sent all that is due."""
    sandbox = Sandbox()
    listening = create_server(sandbox, port=0)
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    try:
        with httpx.Client() as client:
            api = EventsApi(f"http://127.0.0.1:{listening.server_port}/open_api/v1.3", client)
            relay = Relay({"acme": shop.store}, outbox, api, clock=shop.clock)
            while relay.step():
                pass
    finally:
        listening.shutdown()
        listening.server_close()
    return sandbox


@pytest.mark.parametrize(
    ("shop", "its_engine"), [("shopify", "postgresql_engine"), ("woocommerce", "sqlite_engine")], indirect=["shop"]
)
def test_one_round_heals_lost_deliveries_and_a_webhook_that_was_switched_off(
    shop: Living, its_engine: str, request: pytest.FixtureRequest
) -> None:
    engine: Engine = request.getfixturevalue(its_engine)
    outbox = Outbox(Database(engine))
    with server(shop.store, outbox) as address:
        shop.register(engine, address)
        wanted = shop.active()
        shop.lose(0.1)
        orders = shop.place(60)
        people = shop.sign_up(20)
        topics = ["orders/create", "orders/paid"] if shop.platform == "shopify" else ["order.created", "order.updated"]
        for topic in topics:
            shop.switch_off(topic)
        orders += shop.place(10)
        assert sum(shop.lost.values()) >= 3
        shop.clock.now += UNDER_WAY + 60
        healer = Reconciler(
            {"acme": shop.store},
            PLATFORMS,
            {shop.platform: shop.administration},
            outbox.database,
            "one",
            shop.clock,
        )
        assert healer.visit(shop.store)
        assert shop.active() == wanted
        shop.lose(0)
        orders += shop.place(5)
    sandbox = relayed(shop, outbox)
    expected = [(event, f"acme-order-{number}") for number in orders for event in ("PlaceAnOrder", "Purchase")]
    expected += [("CompleteRegistration", f"acme-customer-{number}") for number in people]
    assert sent_ids(sandbox.received()) == sorted(expected)
    assert not any(receipt.duplicate for receipt in sandbox.received())
    problems = {problem.key: problem.sentence for problem in OutboxQueries(Database(engine)).open_problems()}
    assert set(problems) == {"gaps:acme", "webhooks:acme"}
    lost = [number for number, gone in shop.lost.items() if gone]
    assert f"{len([n for n in lost if n in orders]) + 10} orders" in problems["gaps:acme"]


def healing_system(system: Any, shop: Living) -> None:
    """A connector with the shop as its store beans, reconciled; not started."""
    keys = {"KEY": shop.fake.key, "KEY_SECRET": shop.fake.secret}
    beans = a_section(
        "woocommerce",
        "beans",
        url=shop.fake.url,
        shop=shop.fake.url,
        go_live="2020-01-01",
        reconcile="15m",
        api={"consumer_key": "${KEY}", "consumer_secret": "${KEY_SECRET}"},
    )
    toml = a_stores_file(beans, webhook_secrets=["${SECRET}"], access_token="${TOKEN}")
    system.environment |= {"STORES_TOML": toml, **keys}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_reload_in_the_middle_of_a_round_does_not_stop_the_healing(system: Any) -> None:
    """The shop does not answer, and the settings are read anew: the new relay repeats the round at once."""
    clock = Clock()
    clock.now -= 1200
    shop = Living("woocommerce", clock)
    with shop.fake:
        shop.place(3)
        healing_system(system, shop)
        shop.fake.fail("hang", times=1)
        system.start()
        system.until(lambda: shop.asked() > 0, "a round has begun")
        relay = system.children("relay")
        system.parent.send_signal(signal.SIGHUP)
        system.until(lambda: set(relay).isdisjoint(system.children("relay")), "the relay is new")
        system.until(lambda: len(system.received()) >= 6, "six events arrive", 30)
    assert system.stop() == 0


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_second_serve_ends_before_it_works(system: Any, tmp_path: Path) -> None:
    """Started by mistake, on another database: it finds its port taken, and neither heals nor sends."""
    clock = Clock()
    clock.now -= 1200
    shop = Living("woocommerce", clock)
    with shop.fake, socket.create_server(("127.0.0.1", system.port)):
        shop.place(3)
        healing_system(system, shop)
        system.environment |= {"DATABASE_URL": f"sqlite:///{tmp_path / 'another.db'}"}
        second = system.command("serve")
        assert second.returncode == 1
        assert f"port {system.port} is in use" in second.stderr
        assert (shop.asked(), system.received()) == (0, [])
        assert not (tmp_path / "another.db").exists()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_running_connector_heals_by_itself(system: Any) -> None:
    """`connector serve` alone: its relay finds what no webhook brought, and sends it; `backfill` has nothing to add."""
    clock = Clock()
    clock.now -= 1200
    shop = Living("woocommerce", clock)
    with shop.fake:
        orders = shop.place(3)
        healing_system(system, shop)
        system.start()
        system.until(lambda: len(system.received()) >= 6, "six events arrive")
        assert {row["item"]["event_id"] for row in system.received()} == {f"beans-order-{order}" for order in orders}
        assert "3 orders had not arrived by webhook" in system.command("check").stdout
        filled = system.command("backfill", "beans", "--since", "2d")
        assert (filled.returncode, "3 already stored" in filled.stdout) == (0, True)
    assert system.stop() == 0
