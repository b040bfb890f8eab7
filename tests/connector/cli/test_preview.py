"""`connector preview --with` on the command line, against a fake shop: nothing is stored, nothing is sent."""

import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from connector.cli.main import main
from connector.devtools.sandbox.server import Sandbox, create_server
from tests.support.factories import OTHER_CODE, a_section, a_stores_file
from tests.support.fakes.living import SECRET, Clock, Living


class Command:
    """The command for a living shop, with a database and a sandbox that nothing may reach."""

    def __init__(self, shop: Living, folder: Path) -> None:
        self.shop = shop
        self.folder = folder
        self.sandbox = Sandbox()
        self.server = create_server(self.sandbox, 0)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def settings(self, **changes: Any) -> str:
        keys = {"consumer_key": "${KEY}", "consumer_secret": "${KEY_SECRET}"}
        values = {"url": self.shop.fake.url, "shop": self.shop.fake.url, "pixel": OTHER_CODE, "api": keys} | changes
        return a_stores_file(
            a_section("woocommerce", "beans", **values), webhook_secrets=["${SECRET}"], access_token="${SECRET}"
        )

    def file(self, name: str = "new.toml", text: str | None = None, **changes: Any) -> str:
        path = self.folder / name
        path.write_text(self.settings(**changes) if text is None else text)
        return str(path)

    def __call__(self, *arguments: str) -> tuple[int, str]:
        database = self.folder / "connector.db"
        before = database.read_bytes()
        environ = {
            "STORES_TOML": self.settings(),
            "SECRET": SECRET,
            "KEY": self.shop.fake.key,
            "KEY_SECRET": self.shop.fake.secret,
            "DATABASE_URL": f"sqlite:///{database}",
            "EVENTS_API_URL": f"http://127.0.0.1:{self.server.server_port}/open_api/v1.3",
        }
        result = CliRunner(env=environ).invoke(main, ["preview", *arguments])
        assert self.shop.fake.secret not in result.output
        assert database.read_bytes() == before
        assert {path.name for path in self.folder.glob("connector.db*")} == {"connector.db"}
        assert self.sandbox.received() == []
        return result.exit_code, result.output


@pytest.fixture
def command(migrated_sqlite: Path, tmp_path: Path) -> Iterator[Command]:
    shutil.copy(migrated_sqlite, tmp_path / "connector.db")
    shop = Living("woocommerce", Clock())
    with shop.fake:
        found = Command(shop, tmp_path)
        yield found
        found.server.shutdown()
        found.server.server_close()


def test_the_shops_history_through_new_settings(command: Command) -> None:
    """Two orders and a registration; the new settings leave the shipping out of the value and name other items."""
    orders = command.shop.place(2)
    command.shop.sign_up()
    new = command.file(
        mapping={"value_excludes": ["shipping"], "content_id": "product_id"}, events={"order_placed": ""}
    )
    status, said = command("beans", "--since", "7d", "--with", new)
    assert status == 0, said
    assert said.startswith("2 orders, 1 registration in 3 bodies; age limits are not applied\n")
    assert "2 events would disappear\n  2 × PlaceAnOrder: events.order_placed is off\n" in said
    assert "2 events would change\n" in said
    assert all(f"beans-order-{number}" in said for number in orders)
    assert "USD" in said


def test_orders_that_neither_settings_send_are_said(command: Command) -> None:
    """Else 353 orders and 274 events look like a loss."""
    command.shop.place(2, created_via="rest-api")
    command.shop.place()
    status, said = command("beans", "--since", "7d", "--with", command.file())
    assert status == 0, said
    assert said.startswith(
        "3 orders in 3 bodies; age limits are not applied\n  no event with either settings: 2 × api "
    )
    found = json.loads(command("beans", "--since", "7d", "--with", command.file(), "--json")[1])
    assert found["without_events"] == {"api orders are not relayed (orders.include)": 2}


def test_for_machines(command: Command) -> None:
    (order,) = command.shop.place()
    status, said = command("beans", "--since", "7d", "--with", command.file(external_id=""), "--json")
    assert status == 0
    found = json.loads(said)
    assert (found["store"], found["subjects"], found["failed"]) == ("beans", {"order": 1}, [{}, {}])
    same = command("beans", "--since", "7d", "--with", command.file(), "--json")
    assert json.loads(same[1])["differences"] == []
    assert all(one["present"] == one["new"] for one in json.loads(same[1])["sums"])
    assert str(order) not in json.dumps(found["sums"])


def test_a_folder_of_bodies(command: Command) -> None:
    samples = command.shop.samples
    command.shop.place(2)
    folder = command.folder / "bodies"
    folder.mkdir()
    for number, body in enumerate(command.shop.fake.orders.values()):
        (folder / f"{number}.json").write_bytes(samples.encode(body))
    new = command.file(pixel="CABCDEFGHIJKLMNOPQR9")
    asked = command.shop.asked()
    status, said = command("beans", str(folder), "--topic", "order.updated", "--with", new)
    assert (status, command.shop.asked()) == (0, asked)
    assert "4 events would change\n" in said
    assert f"pixel {OTHER_CODE} → CABCDEFGHIJKLMNOPQR9" in said
    status, said = command("beans", str(folder), "--topic", "order.updated", "--with", command.file())
    assert (status, said.splitlines()[-1]) == (0, "Nothing would change.")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "give either a PATH with --topic, or --since with --with"),
        (("--since", "7d"), "--since needs --with"),
        (("{folder}",), "PATH needs --topic"),
        (("{folder}", "--since", "7d"), "give either a PATH with --topic"),
        (("{folder}", "--topic", "order.updated", "--json"), "--json needs --with"),
        (("{folder}/none", "--topic", "order.updated", "--with", "{new}"), "none has no *.json file"),
        (("--since", "soon", "--with", "{new}"), "'soon' is not a date, time or age"),
        (("--since", "2099-01-01", "--with", "{new}"), "--since must be before now"),
        (("--since", "7d", "--with", "none.toml"), "does not exist"),
    ],
)
def test_wrong_use(command: Command, arguments: tuple[str, ...], words: str) -> None:
    new = command.file()
    (command.folder / "none").mkdir()
    status, said = command("beans", *(word.format(folder=command.folder, new=new) for word in arguments))
    assert (status, words in said) == (2, True), said


def test_a_file_that_cannot_be_compared(command: Command) -> None:
    since = ("beans", "--since", "7d", "--with")
    for text, words in (
        (command.settings().replace("stores.beans", "stores.mugs"), "has no store 'beans'; there are: mugs"),
        (command.settings(consnet="x"), "stores.beans.consnet: unknown key"),
        ("[", "not valid TOML"),
        (a_stores_file(a_section("shopify", "beans")), "of the platform shopify in"),
    ):
        status, said = command(*since, command.file(text=text))
        assert (status, words in said) == (1, True), said
    assert command.shop.asked() == 0


def test_keys_that_the_shop_refuses(command: Command) -> None:
    command.shop.fake.secret = "cs_other"
    new = command.file()
    command.shop.fake.forbidden.add("orders")
    status, said = command("beans", "--since", "7d", "--with", new)
    assert (status, said.startswith("connector: store beans: ")) == (1, True), said


def test_a_topic_without_events(command: Command) -> None:
    status, said = command("beans", str(command.folder), "--topic", "product.updated", "--with", command.file())
    assert (status, "product.updated yields no events; topics that do: " in said) == (1, True)
