"""Numbers lead to what they count: as many lines as the number says, on the page and in its file."""

import csv
import html
import io
import re
import time

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient
from sqlalchemy import Engine

from connector.core.units import DAY, HOUR
from connector.dashboard.history_routes import PAGE
from connector.monitoring.accuracy import Accuracy
from connector.monitoring.event_stats import add_counts
from connector.monitoring.webhook_stats import WebhookStats
from connector.outbox.books import BookEntry, write_entries
from connector.outbox.queries import EventFilter
from connector.storage.database import Database
from connector.storage.tables import events, reconciled, sold
from tests.support.admin_site import STORES, Site, entered
from tests.support.effort import first_of
from tests.support.factories import CODE, a_section, a_stores_file
from tests.support.outbox_rows import fill

LINK = re.compile(r'<a href="(/(?:events|webhooks|orders)\?[^"]+)">([\d,]+)</a>')


def counted(page: str) -> list[tuple[str, int]]:
    """The numbers of a page that lead to a list, with their addresses."""
    return [(html.unescape(address), int(number.replace(",", ""))) for address, number in LINK.findall(page)]


def number_of(page: str) -> int:
    """How many lines a list says that it has."""
    found = re.search(r'class="listed"><b>([\d,]+)</b>', page)
    assert found
    return int(found[1].replace(",", ""))


def file_of(browser: FlaskClient, address: str, name: str) -> list[list[str]]:
    answer = browser.get(address, query_string=None if "?" in address else {"csv": name})
    assert answer.mimetype == "text/csv"
    return [*csv.reader(io.StringIO(answer.text.removeprefix("\ufeff"), newline=""))]


def lines_of(browser: FlaskClient, address: str) -> int:
    """How many lines the files of a list have; what is only counted, by its numbers."""
    what = address[1:].partition("?")[0]
    number = len(file_of(browser, f"{address}&csv={what}", what)) - 1
    if what != "orders":
        number += sum(int(row[-1]) for row in file_of(browser, f"{address}&csv=counted", "counted")[1:])
    return number


@pytest.mark.parametrize("page", first_of(["/?store=beans", "/?store=acme", "/"]))
@pytest.mark.slow
def test_each_number_of_the_overview_leads_to_as_many_lines(site: Site, inside: FlaskClient, page: str) -> None:
    """Of stores, charts, single bars and tables; whatever was sent, refused, skipped, parked, ignored or waits."""
    fill(site.outbox, 1, 2, pixel=site.config.stores["acme"].pixels[0])  # they wait
    fill(site.outbox, 3, pixel=site.config.stores["beans"].pixels[0], store="beans")
    count_some(site)
    found = counted(inside.get(page).text)
    assert len(found) > (25 if page == "/" else 12)
    kinds = {re.search(r"(?:state|kind)=(\w+)", address)[1] for address, _ in found}  # type: ignore[index]
    assert kinds >= {"accepted", "failed", "waiting", "relayed"}
    if "beans" not in page:
        assert kinds >= {"parked", "refused", "quiet"}
    for address, number in found:
        list_page = inside.get(address).text
        assert number_of(list_page) == number, address
        assert lines_of(inside, address) == number, address


def count_some(site: Site) -> None:
    """Two wrong signatures and three webhooks of a topic that is not used; the watcher has counted them."""
    body = b'{"id": 1}'
    headers = {"X-Shopify-Topic": "orders/create", "X-Shopify-Shop-Domain": "acme.myshopify.com"}
    for _ in range(2):
        forged = headers | {"X-Shopify-Hmac-Sha256": "AAAA"}
        assert site.web.post("/webhooks/acme", data=body, headers=forged).status_code == 401
    site.outbox.count({("acme", "carts/update", "ignored", int(time.time()) // HOUR * HOUR): 3})
    site.web.application.intake.counters.flush()
    WebhookStats(Database(site.engine)).count_up(time.time())


@pytest.mark.slow
def test_events_for_test_events_are_counted_apart(sqlite_engine: Engine) -> None:
    """They are in no other list than their own, to which the overview leads."""
    settings = STORES.replace("[stores.acme]", '[stores.acme]\ntest_event_code = "TEST1"')
    inside = entered(Site(sqlite_engine, STORES_TOML=settings).live())
    found = counted(inside.get("/?store=acme").text)
    tested = next(address for address, _ in found if "state=tested" in address)
    assert (tested, 4) in found
    page = inside.get(tested).text
    assert number_of(page) == lines_of(inside, tested) == 4
    assert page.count("accepted in Test Events") == 4
    assert number_of(inside.get("/events?state=accepted&store=acme").text) == 0
    assert "state=accepted" not in str(found)


@pytest.mark.slow
def test_steps_that_browsers_report_are_in_the_numbers_of_their_lists(site: Site) -> None:
    """They are kept for a day and no orders, so they are counted below the list, by event."""
    shops = a_stores_file(a_section(funnel={}), webhook_secrets=["s"], access_token="t")
    inside = entered(Site(site.engine, STORES_TOML=shops))
    before = dict(counted(inside.get("/").text))
    with Database(site.engine).write() as connection:
        now, hour = int(time.time()), HOUR
        for age, event, detail in ((0, "ViewContent", "accepted 0"), (2, "AddToCart", "accepted 0"),
                                   (30, "AddToCart", "rejected 40002")):  # fmt: skip
            add_counts(connection, (now - age * hour) // HOUR * HOUR, {("acme", CODE, "sent", event, detail): 5})
            if detail.startswith("accepted"):
                add_counts(connection, (now - age * hour) // HOUR * HOUR, {("acme", CODE, "keys", event, "ttclid"): 5})
    found = counted(inside.get("/").text)
    assert {"event=ViewContent" in address: number for address, number in found if "=ViewContent" in address} == {
        True: 5
    }
    assert len(found) > len(before)
    for address, number in found:
        assert number_of(inside.get(address).text) == number, address
        assert lines_of(inside, address) == number, address


def test_the_numbers_of_the_books_lead_to_their_orders(site: Site) -> None:
    """Each kind of a day's orders, with the reason, and each line of sums; an order leads to its story."""
    now = time.time()
    day = int(now) // DAY * DAY - DAY
    keys = [
        row.object_key
        for row in site.queries.find(EventFilter(store="acme", state="accepted"), 100)
        if row.event == "Purchase"
    ]
    outcomes = [
        (keys[0], "relayed", ""),
        (keys[1], "relayed", ""),
        ("order:a", "skipped", "pos orders are not relayed"),
        ("order:b", "parked", ""),
    ]
    with Database(site.engine).write() as connection:
        for key, outcome, reason in outcomes:
            entry = {"order_number": f"#{key[-1]}", "placed_at": day + 60.0, "changed_at": now, "remaining": 1_000_000}
            more = {"currency": "USD", "outcome": outcome, "reason": reason}
            write_entries(connection, [BookEntry("acme", key, now, **entry, **more)])
        row = {"store": "acme", "pixel": CODE, "event": "Purchase", "currency": "USD", "value": 2_500_000}
        for key in keys[:2]:
            connection.execute(
                sa.insert(sold).values(row | {"event_id": key, "object_key": key, "occurred_at": day + 1})
            )
        passed = {"tried_at": now, "upto": now, "gaps": 0, "covered_since": day - DAY}
        connection.execute(sa.insert(reconciled).values({"store": "acme"} | passed))
    Accuracy(Database(site.engine)).count("acme", now)
    settings = a_stores_file(a_section(books=True, reconcile="15m", api={"access_token": "t"}))
    inside = entered(Site(site.engine, STORES_TOML=settings))
    found = counted(inside.get("/books").text)
    assert sorted(number for _, number in found) == [1, 1, 2, 2, 4]
    for address, number in found:
        assert number_of(inside.get(address).text) == number, address
        assert lines_of(inside, address) == number, address
    skipped = next(address for address, _ in found if "kind=skipped" in address)
    page = inside.get(skipped).text
    assert "pos orders are not relayed" in page
    assert 'href="/story?store=acme&amp;key=order%3Aa"' in page


@pytest.mark.parametrize(("state", "column"), [("", "created_at"), ("accepted", "settled_at"), ("failed", "settled_at"),
                                               ("waiting", "due_at")])  # fmt: skip
@pytest.mark.slow
def test_a_long_list_goes_on_without_gap(engine: Engine, state: str, column: str) -> None:
    """Each event is on one page, and the file has all; all of one moment, which is no order."""
    site = Site(engine)
    number = 2 * PAGE + 7
    fill(site.outbox, *range(number), pixel=site.config.stores["acme"].pixels[0])
    values = {"created_at": time.time(), "state": {"failed": "rejected", "waiting": "due"}.get(state, "accepted")}
    if state != "waiting":
        values |= {"settled_at": time.time()}
    with engine.begin() as connection:
        connection.execute(sa.update(events).values(values))
        connection.execute(sa.update(events).values({column: int(time.time())}))
        key_only = sa.update(events).where(events.c.id % 3 == 0)
        if state == "accepted":  # their payloads are deleted already
            connection.execute(key_only.values(payload=None))
    browser, seen, address = entered(site), [], f"/events?state={state}"
    while address:
        page = browser.get(address).text
        seen += re.findall(r'data-name="event_id"><code>(acme-order-\d+)</code>', page)
        more = re.search(r'class="pages"><a href="([^"]+)">More', page)
        address = html.unescape(more[1]) if more else ""
    assert len(seen) == len(set(seen)) == number
    assert lines_of(browser, f"/events?state={state}") == number


def test_long_files_are_read_in_parts(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of webhooks too, and of failed and parked ones; the page shows only the first."""
    monkeypatch.setattr("connector.outbox.listing.BATCH", 7)
    monkeypatch.setattr("connector.dashboard.list_routes.BATCH", 7)
    site = Site(engine)
    fill(site.outbox, *range(20))
    with engine.begin() as connection:
        connection.execute(sa.update(events).values(state="rejected", created_at=1.5, settled_at=time.time()))
    for number in range(20):
        site.park(f'{{"no": {number}}}'.encode())
    browser = entered(site)
    assert lines_of(browser, "/events?state=failed") == 20
    assert len(file_of(browser, "/failed?csv=rejected", "rejected")) == 21
    assert len(file_of(browser, "/parked?csv=parked", "parked")) == 21
    assert lines_of(browser, "/webhooks?kind=parked") == 20
