"""`connector books`, `accuracy` and `stats` for a store with books, the dashboard's page, and what is dropped later."""

import csv
import io
import json
import random
import shutil
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from sqlalchemy import Engine

from connector.cli.main import main
from connector.core.units import DAY
from connector.monitoring.book_sums import Books
from connector.privacy.erasure import Erasure
from connector.privacy.retention import RetentionStore
from connector.storage.database import Database
from connector.storage.engine import connect
from connector.storage.tables import accuracy, orders, sold
from tests.support.book_world import STORES, World
from tests.support.factories import CODE, a_section, a_stores_file
from tests.support.order_lives import Life
from tests.support.outbox_rows import rows
from tests.support.sample_bodies import NOW

ORDERS = 30
KEYS = {"access_token": "token-example"}


def live_some_days(engine: Engine) -> list[Life]:
    """Bring the orders of some days of a Shopify store into its books, and two days into its accuracy."""
    world, rng = World(engine, STORES["shopify"]), random.Random(5)
    currencies = [rng.choice(("USD", "JPY", "KWD")) for _ in range(ORDERS)]
    lives = [
        Life(world.store, rng, n, currency, at=NOW - timedelta(days=2 + n % 4)).live()
        for n, currency in enumerate(currencies, 1)
    ]
    for life in lives:
        world.deliver_all(life.bodies)
    world.send()
    with engine.begin() as connection:
        day = int(NOW.timestamp()) // DAY * DAY - DAY
        skipped = '{"pos orders are not relayed (orders.include)":2}'
        reasons = {"skipped": skipped, "missing": '{"TikTok rejected it":1}'}
        for shift, complete in ((0, 1), (DAY, 0)):
            row = {"store": "acme", "day": day + shift, "orders": 40, "sent": 37, "waiting": 0, "counted_at": 1.0}
            connection.execute(sa.insert(accuracy).values(row | reasons | {"complete": complete}))
    return lives


class Shop:
    """A store with some days in its books, and the commands over them."""

    def __init__(self, engine: Engine, url: str, lives: list[Life]) -> None:
        self.engine = engine
        self.url = url
        self.lives = lives

    def run(self, *arguments: str, **keys: Any) -> tuple[int, str]:
        values = {"books": True, "reconcile": "15m", "api": KEYS} | keys
        environ = {"STORES_TOML": a_stores_file(a_section(**values)), "DATABASE_URL": self.url}
        result = CliRunner(env=environ).invoke(main, [*arguments])
        return result.exit_code, result.output


@pytest.fixture(scope="module")
def lived(migrated_sqlite: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Life]]:
    """A database with these days in it, to be copied."""
    path = Path(shutil.copy(migrated_sqlite, tmp_path_factory.mktemp("lived") / "connector.db"))
    engine = connect(f"sqlite:///{path}")
    lives = live_some_days(engine)
    engine.dispose()
    return path, lives


@pytest.fixture
def shop(lived: tuple[Path, list[Life]], tmp_path: Path) -> Iterator[Shop]:
    url = f"sqlite:///{shutil.copy(lived[0], tmp_path / 'connector.db')}"
    engine = connect(url)
    yield Shop(engine, url, lived[1])
    engine.dispose()


WITHOUT_API = {"reconcile": None, "api": None, "books": None}
SINCE = ("--since", "2026-01-01", "--until", "2027-01-01")


@pytest.mark.slow
def test_csv_for_an_agency(shop: Shop) -> None:
    """Each amount with the shop's digits; sent − cancelled − refunded is net, and net is what the shop kept."""
    status, said = shop.run("books", "acme", *SINCE, "--csv")
    assert status == 0, said
    found = [*csv.DictReader(io.StringIO(said))]
    purchases = [row for row in found if row["event"] == "Purchase"]
    assert {row["currency"] for row in purchases} == {"USD", "JPY", "KWD"}
    for currency in ("USD", "JPY", "KWD"):
        left = sum((life.left for life in shop.lives if life.currency == currency), Decimal(0))
        of_currency = [row for row in purchases if row["currency"] == currency]
        assert sum(Decimal(row["net"]) for row in of_currency) == left
        for row in of_currency:
            parts = [Decimal(row[name]) for name in ("sent", "cancelled", "refunded", "net")]
            assert parts[0] == parts[1] + parts[2] + parts[3]


def test_json_and_table(shop: Shop) -> None:
    status, said = shop.run("books", "acme", *SINCE, "--json")
    found = json.loads(said, parse_float=Decimal)
    lines = Books(Database(shop.engine)).lines("acme", 0, NOW.timestamp() + 1)
    assert (status, found["store"], len(found["days"])) == (0, "acme", len(lines))
    assert len({row["day"] for row in found["days"]}) > 3
    of_days = Counter()
    for row in found["days"]:
        of_days[row["event"], row["currency"], "net"] += row["net"]
        of_days[row["event"], row["currency"], "orders"] += row["orders"]
    assert {(row["day"], row["pixel"]) for row in found["total"]} == {("total", CODE)}
    for row in found["total"]:
        assert row["net"] == of_days[row["event"], row["currency"], "net"]
        assert row["orders"] == of_days[row["event"], row["currency"], "orders"]
        assert row["sent"] == row["cancelled"] + row["refunded"] + row["net"]
        assert float(row["stayed"]) == round(float(row["net"]) / float(row["sent"]), 4)
    status, said = shop.run("books", "acme", *SINCE)
    header, *table = said.splitlines()
    assert header.split() == [
        "day",
        "pixel",
        "event",
        "currency",
        "orders",
        "sent",
        "cancelled",
        "refunded",
        "net",
        "stayed",
    ]
    assert len(table) == len(lines) + 6  # the sums of two events in three currencies
    assert [line.split()[0] for line in table[-6:]] == ["total"] * 6
    assert shop.run("books", "acme", "--since", "2020-01-01", "--until", "2020-02-01")[1].startswith("nothing is in")


def test_the_orders_that_changed(shop: Shop) -> None:
    found = json.loads(shop.run("books", "acme", *SINCE, "--orders", "--json")[1], parse_float=Decimal)["orders"]
    left = {f"#{life.number}": life.left for life in shop.lives}
    assert found
    assert all(Decimal(one["net"]) == left[one["order"]] != Decimal(one["sent"]) for one in found)
    assert "order" in shop.run("books", "acme", *SINCE, "--orders", "--csv")[1].splitlines()[0]


def test_stats_show_what_stayed(shop: Shop) -> None:
    with shop.engine.begin() as connection:  # as if it were sent today
        at = sa.func.unixepoch() - 60
        connection.execute(sa.update(sold).values(occurred_at=at))
    found = json.loads(shop.run("stats", "acme", "--days", "90", "--json")[1], parse_float=Decimal)["books"]
    for line in found:
        assert line["sent"] == line["cancelled"] + line["refunded"] + line["net"]
    assert {line["event"] for line in found} == {"PlaceAnOrder", "Purchase"}
    assert "books" not in json.loads(shop.run("stats", "acme", "--json", books=False)[1])


def test_accuracy_by_day(shop: Shop) -> None:
    status, said = shop.run("accuracy", "acme", "--since", "2026-11-01")
    assert status == 0, said
    today, yesterday = (line for line in said.splitlines() if line.startswith("2026"))
    assert today == "2026-11-23  not known yet  40 orders: 37 sent, 2 skipped, 1 missing"
    assert yesterday == "2026-11-22         97.50%  40 orders: 37 sent, 2 skipped, 1 missing"
    assert said.splitlines()[-1].strip() == "missing 1 × TikTok rejected it"
    found = json.loads(shop.run("accuracy", "acme", "--since", "2026-11-01", "--json")[1])["days"]
    assert [(day["day"], day["share"]) for day in found] == [("2026-11-23", None), ("2026-11-22", 0.975)]
    assert "not known yet: no round" in shop.run("accuracy", "acme", "--since", "2027-01-01")[1]


@pytest.mark.parametrize(
    ("arguments", "keys", "status", "words"),
    [
        (("books", "acme"), {"books": False}, 1, "keeps no books; set books = true in [stores.acme]"),
        (("books", "nobody"), {}, 2, "there is no store 'nobody'"),
        (("books", "acme", "--csv", "--json"), {}, 2, "either --csv or --json"),
        (("books", "acme", "--since", "1d", "--until", "2d"), {}, 2, "--since must be before --until"),
        (("accuracy", "acme"), {"reconcile": None}, 1, 'set reconcile = "15m" in [stores.acme]'),
        (("accuracy", "acme"), {**WITHOUT_API, "platform": "signed"}, 1, "the API of Signed events is not supported"),
    ],
)
def test_wrong_use(shop: Shop, arguments: tuple[str, ...], keys: Any, status: int, words: str) -> None:
    found, said = shop.run(*arguments, **keys)
    assert (found, words in said) == (status, True), said


@pytest.mark.slow
def test_old_books_are_dropped_and_a_stores_books_are_erased(shop: Shop) -> None:
    database = Database(shop.engine)
    now = NOW.timestamp()
    assert RetentionStore(database).forget_books(now - 90 * DAY) == 0
    assert len(rows(shop.engine, orders)) == 30
    assert RetentionStore(database).forget_books(now + 2 * DAY) >= 30
    assert [rows(shop.engine, table) for table in (orders, sold, accuracy)] == [[], [], []]
    live_some_days(shop.engine)
    Erasure(database).erase_store("beans", now, now, lambda: None)
    assert rows(shop.engine, orders)
    Erasure(database).erase_store("acme", now, now, lambda: None)
    assert [rows(shop.engine, table) for table in (orders, sold, accuracy)] == [[], [], []]
