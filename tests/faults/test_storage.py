"""A database that cannot store: 503 within three seconds, and all is well again when it can. On both databases."""

import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import sqlalchemy as sa

from connector.config.settings import Config, load
from connector.outbox.queries import EventFilter, OutboxQueries
from connector.setup.samples import webhooks
from connector.storage.async_database import IN_LOOP, TIMEOUT, AsyncDatabase, InLoopDatabase, PostgresqlDatabase
from connector.storage.database import Database
from connector.storage.engine import connect, migrate
from connector.storage.postgresql import connect_async
from connector.web.application import Application
from tests.faults.machinery import STORES
from tests.support.platforms import PLATFORMS
from tests.support.postgresql import PostgreSQL
from tests.support.slow_proxy import far_away
from tests.support.web import WebClient

AT_ONCE = 32  # webhooks
PROMISED = 3.0  # seconds
ALIVE_WITHIN = 0.5  # seconds
SLACK = 0.5  # for what is done after the wait
TICK = 0.01


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQL]:
    server = PostgreSQL.create(durable=True)
    yield server
    server.remove()


@contextmanager
def lateness() -> Iterator[Callable[[], float]]:
    """Seconds by which a thread that only sleeps was woken too late: those in which this machine was busy elsewhere."""
    ended, late = threading.Event(), [0.0]

    def measure() -> None:
        before = time.perf_counter()
        while not ended.wait(TICK):
            now = time.perf_counter()
            late[0] += now - before - TICK
            before = now

    thread = threading.Thread(target=measure)
    thread.start()
    yield lambda: late[0]
    ended.set()
    thread.join()


class Shop:
    """The application as a worker has it, asked by many clients at once."""

    def __init__(self, url: str) -> None:
        self.config: Config = load({"STORES_TOML": STORES, "SECRET": "whsec-storage", "DATABASE_URL": url})
        self.url = url
        self.engine = connect(url)
        migrate(self.engine)
        self.engines = [self.engine]
        self.web = WebClient(Application(self.config, Database(self.engine), self._open(), PLATFORMS))
        self.web.application.start()
        self._orders = webhooks(self.config.stores["acme"], ["orders/create"], 10_000, random.Random(1))
        self.post()

    def _open(self) -> AsyncDatabase:
        """As `open_async` does, with the engines kept."""
        if self.url.startswith("sqlite"):
            self.engines += [connect(self.url, IN_LOOP, pool_size=1), connect(self.url, TIMEOUT)]
            return InLoopDatabase(Database(self.engines[1]), Database(self.engines[2]))
        self.async_engine = connect_async(self.url, TIMEOUT)
        return PostgresqlDatabase(self.async_engine)

    def post(self) -> tuple[int, float]:
        """Status and seconds of one new order."""
        return self._send(*next(self._orders))

    def posts(self, number: int = AT_ONCE) -> list[tuple[int, float]]:
        orders = [next(self._orders) for _ in range(number)]
        with ThreadPoolExecutor(number) as pool:
            return list(pool.map(lambda order: self._send(*order), orders))

    def refuses(self) -> None:
        """Twice, for what is in the pool the second time may be another thing. Meanwhile the server is alive."""
        for _ in range(2):
            with lateness() as late, self.asked_whether_it_is_alive() as waits:
                found = self.posts()
            assert {status for status, _ in found} == {503}
            assert max(seconds for _, seconds in found) < PROMISED + SLACK + late()
            assert max(waits) < ALIVE_WITHIN + late()

    @contextmanager
    def asked_whether_it_is_alive(self) -> Iterator[list[float]]:
        """The seconds that each answer of /healthz takes during the block."""
        ended, waits = threading.Event(), [0.0]

        def ask() -> None:
            while not ended.wait(TICK):
                begun = time.perf_counter()
                assert self.web.get("/healthz").status_code == 200
                waits.append(time.perf_counter() - begun)

        thread = threading.Thread(target=ask)
        thread.start()
        yield waits
        ended.set()
        thread.join()

    def stored(self) -> int:
        return len(OutboxQueries(Database(self.engine)).find(EventFilter(event="PlaceAnOrder"), 1000))

    def works(self) -> None:
        before = self.stored()
        assert {status for status, _ in self.posts()} == {200}
        assert self.stored() == before + AT_ONCE

    def close(self) -> None:
        for engine in self.engines:
            engine.dispose()

    def _send(self, body: bytes, headers: dict[str, str]) -> tuple[int, float]:
        begun = time.perf_counter()
        answer = self.web.post("/webhooks/acme", data=body, headers=headers)
        return answer.status_code, time.perf_counter() - begun


@pytest.fixture
def shop_of() -> Iterator[Callable[[str], Shop]]:
    opened: list[Shop] = []

    def make(url: str) -> Shop:
        opened.append(Shop(url))
        return opened[-1]

    yield make
    for shop in opened:
        shop.close()


def test_sqlite_locked_by_another_program(shop_of, sqlite_url) -> None:
    """A backup tool, a shell left open."""
    shop = shop_of(sqlite_url)
    holder = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    shop.refuses()
    holder.close()
    shop.works()


def test_sqlite_on_a_full_disk(shop_of, sqlite_url) -> None:
    """SQLite says the same of a disk and of a file that may not grow."""
    shop = shop_of(sqlite_url)
    limit = [1]

    def _limit(connection: sqlite3.Connection, *_: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {limit[0]}")

    for engine in shop.engines:
        sa.event.listen(engine, "checkout", _limit)

    statuses = {shop.post()[0] for _ in range(200)}  # until the pages that are free are used up
    assert 503 in statuses
    shop.refuses()
    limit[0] = 1_000_000
    shop.works()


def test_postgresql_stopped_in_mid_sentence(shop_of, server) -> None:
    """Connections stay open and nobody answers: a machine that hangs, a network cut."""
    shop = shop_of(server.create_database())
    shop.posts()  # a pool full of connections
    server.freeze()
    try:
        shop.refuses()
    finally:
        server.thaw()
    shop.works()


def test_postgresql_down_and_up_again(shop_of, server) -> None:
    """Nobody listens; afterwards every pooled connection is dead, and none is used."""
    shop = shop_of(server.create_database())
    shop.posts()
    server.stop()
    try:
        shop.refuses()
    finally:
        server.start()
    shop.works()


def test_postgresql_restarted_in_between(shop_of, server) -> None:
    """Nobody notices."""
    shop = shop_of(server.create_database())
    shop.posts()
    for mode in ("fast", "immediate"):
        server.restart(mode)
        shop.works()


@pytest.mark.parametrize("table", ["events", "ledger"])
def test_postgresql_table_locked_by_another_session(shop_of, server, table) -> None:
    """A migration by hand, a VACUUM FULL."""
    shop = shop_of(server.create_database())
    holder = connect(shop.url)
    with holder.begin() as connection:
        connection.exec_driver_sql(f"LOCK {table} IN ACCESS EXCLUSIVE MODE")
        shop.refuses()
    shop.works()
    holder.dispose()


def test_every_connection_in_use(shop_of, sqlite_url) -> None:
    """Something of ours holds them all; it is waited for, but not for long."""
    shop = shop_of(sqlite_url)
    held = [engine.connect() for engine in shop.engines[1:] for _ in range(engine.pool.size())]
    shop.refuses()
    for connection in held:
        connection.close()
    shop.works()


@pytest.mark.parametrize("seconds", [0.005, 0.05])
def test_postgresql_far_away(shop_of, server, tmp_path, seconds) -> None:
    """Slow, but not away: all are stored, and the server is alive meanwhile."""
    with far_away(server.create_database(), tmp_path, seconds) as url:
        shop = shop_of(url)
        with lateness() as late, shop.asked_whether_it_is_alive() as waits:
            for _ in range(3):
                shop.works()
        assert max(waits) < ALIVE_WITHIN + late()
