"""`/collect/<store>/seen`: a page's report from the request to the row."""

import asyncio
import json
import sqlite3
import time

import pytest
import sqlalchemy as sa

from connector.config.settings import load
from connector.meter.buffer import MAX_VERSIONS, ReportBuffer
from connector.meter.guard import ADDRESS_BURST, PROCESS_BURST, STORE_BURST, ReportGuard
from connector.meter.report import MAX_REPORT, Report
from connector.storage.database import CannotStore, Database
from connector.storage.engine import connect
from connector.storage.tables import snippet_reports
from connector.web.asgi import BodyReader, received
from connector.web.meter_endpoint import MeterEndpoint
from tests.support.factories import a_section, a_store, a_stores_file
from tests.support.funnel import AGENT, IP
from tests.support.web import client_of

STORES = a_stores_file(a_section(meter=True), a_section("woocommerce", "beans"))
VERSION = "0123abcd"
BROWSER = {"User-Agent": AGENT, "X-Forwarded-For": IP}


class Shop:
    """An application, of whose stores `acme` alone has a meter, and a browser in front of it."""

    def __init__(self, database):
        url = database.engine.url.render_as_string(hide_password=False)
        self.database = database
        self.client = client_of(load({"STORES_TOML": STORES, "DATABASE_URL": url, "TRUSTED_PROXIES": "1"}), database)

    def report(self, body=None, store="acme", **headers):
        told = json.dumps({"version": VERSION, "loaded": True}) if body is None else body
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        return self.client.post(f"/collect/{store}/seen", data=told, headers=BROWSER | named)

    def rows(self):
        self.client.application.reports.flush()
        return stored(self.database)


def stored(database):
    with database.read() as connection:
        return connection.execute(sa.select(snippet_reports).order_by(snippet_reports.c.version)).all()


@pytest.fixture
def shop(database):
    return Shop(database)


def test_a_report_is_stored(shop):
    """One row for a version, with the first and the last time, and when TikTok's script last ran."""
    began = time.time()
    answer = shop.report()
    assert (answer.status_code, answer.text) == (204, "")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    (first,) = shop.rows()
    assert (first.store, first.version) == ("acme", VERSION)
    assert began <= first.first_at == first.seen_at == first.loaded_at
    shop.report(json.dumps({"version": VERSION, "loaded": False}))
    shop.report(json.dumps({"version": "ffffffff"}))
    again, other = shop.rows()
    assert (again.first_at, again.loaded_at) == (first.first_at, first.loaded_at)
    assert again.seen_at > first.seen_at
    assert (other.version, other.loaded_at) == ("ffffffff", None)


def test_a_store_without_a_meter_stores_nothing(shop):
    """An old snippet may go on reporting."""
    assert shop.report(store="beans").status_code == 204
    assert shop.report(store="nobody").status_code == 404
    assert shop.client.get("/collect/acme/seen").status_code == 405
    assert shop.client.open("/collect/acme/seen", "OPTIONS").status_code == 204
    assert shop.rows() == []


def test_programs_and_pages_that_nobody_sees_report_nothing(shop):
    """A monitor that opens the shop's pages does not make a snippet look alive."""
    for headers in ({"User_Agent": "ExampleBot/1.0"}, {"User_Agent": ""}, {"Sec_Purpose": "prefetch;prerender"}):
        assert shop.report(**headers).status_code == 204
    assert shop.report("x" * (MAX_REPORT + 1)).status_code == 413
    assert shop.rows() == []


# --- limits ---------------------------------------------------------------------------------------------------


def test_limits_per_address_store_and_process():
    """Each refills with time. Beyond the process's, not even the body is read."""
    now = [1000.0]
    guard = ReportGuard(lambda: now[0])
    assert [guard.admit("acme", IP) for _ in range(ADDRESS_BURST + 1)].count(True) == ADDRESS_BURST
    assert guard.admit("acme", "93.184.216.8")
    now[0] += 5
    assert guard.admit("acme", IP)
    assert [guard.admit("beans", "") for _ in range(STORE_BURST + 1)].count(True) == STORE_BURST
    assert [guard.admit_request() for _ in range(PROCESS_BURST + 1)].count(True) == PROCESS_BURST


def test_a_flood_is_refused_unread():
    """With 429, whatever it holds."""
    endpoint = MeterEndpoint(
        {"acme": a_store(meter=True)}, 0, ReportBuffer.__new__(ReportBuffer), BodyReader(0), ReportGuard(lambda: 0.0)
    )

    async def unread():
        raise AssertionError("the body was read")

    scope = {"method": "POST", "headers": [], "client": ("127.0.0.1", 1), "path": "/collect/acme/seen"}
    for _ in range(PROCESS_BURST):
        asyncio.run(endpoint.answer(scope, received(b""), "acme"))
    assert asyncio.run(endpoint.answer(scope, unread, "acme")).status == 429


# --- the buffer -----------------------------------------------------------------------------------------------


def test_a_store_keeps_a_few_versions_only(database):
    """Anybody can invent some: those that were seen last stay, so a shop's own comes back with its next page."""
    now = [1000.0]
    buffer = ReportBuffer(database, lambda: now[0])
    for number in range(60):
        now[0] += 1
        buffer.add("acme", Report(f"{number:08x}", loaded=False))
        if number % 10 == 9:
            buffer.flush()
    buffer.add("beans", Report(VERSION, loaded=True))
    buffer.flush()
    kept = {store: [row.version for row in stored(database) if row.store == store] for store in ("acme", "beans")}
    assert kept == {"acme": [f"{number:08x}" for number in range(60 - MAX_VERSIONS, 60)], "beans": [VERSION]}


def test_what_cannot_be_written_is_kept(migrated_sqlite_url):
    """For the next time; newer reports of the same version stay the newer ones."""
    engine = connect(migrated_sqlite_url, timeout=0.1)
    database, now = Database(engine), [1000.0]
    buffer = ReportBuffer(database, lambda: now[0])
    buffer.add("acme", Report(VERSION, loaded=True))
    holder = sqlite3.connect(engine.url.database, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(CannotStore):
        buffer.flush()
    holder.close()
    buffer.flush()
    (row,) = stored(database)
    assert (row.seen_at, row.loaded_at) == (1000.0, 1000.0)
    engine.dispose()
