"""What all pages share: their tables as CSV, and what they say when there is nothing to show."""

import csv
import html
import io
import re
import time
from collections.abc import Iterator

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine

from connector.outbox.ledger import Decision
from connector.outbox.notices import NoticeEntry, NoticeTable
from connector.storage.database import Database
from tests.support.admin_site import PAGES, REASON, Past, Site, entered


@pytest.fixture
def site(sqlite_engine: Engine, past: Past) -> Site:
    """On one database: the templates do not know which it is."""
    return Site(sqlite_engine).go_on(past)


EMPTY = [
    "/",
    "/books",
    "/merges",
    "/events",
    "/webhooks",
    "/orders?store=acme",
    "/failed",
    "/failed?state=expired",
    "/parked",
]


def tables_of(page: str) -> dict[str, tuple[list[str], list[list[str]]]]:
    """The tables of a page by the name of their file: headings, and the texts of their cells."""
    found = {}
    parts = re.findall(
        r'<table role="table".*?</table>\s*</div>\s*<p class="csv"><a href="[^"]*csv=([\w-]+)"', page, re.S
    )
    for name, table in zip(parts, re.findall(r'<table role="table".*?</table>', page, re.S), strict=True):
        head, *rows = re.findall("<tr.*?</tr>", table, re.S)
        found[name] = (texts(head), [*ungrouped(rows)])
    return found


def ungrouped(rows: list[str]) -> Iterator[list[str]]:
    """The rows' texts; the heading of a group stands beside the first cell of each of its rows, as in the file."""
    group = ""
    for row in rows:
        if 'class="group"' in row:
            (group,) = texts(row)
            continue
        first, *others = texts(row)
        yield [f"{first} {group}".strip(), *others]


def texts(row: str) -> list[str]:
    cells = re.findall("<t[hd][^>]*>(.*?)</t[hd]>", row, re.S)
    return [html.unescape(re.sub("<[^>]*>", "", cell)).strip() for cell in cells]


def file_of(browser: FlaskClient, page: str, name: str) -> list[list[str]]:
    answer = browser.get(f"{page}{'&' if '?' in page else '?'}csv={name}")
    assert answer.mimetype == "text/csv"
    assert re.fullmatch(rf'attachment; filename="{name}-\d{{4}}-\d\d-\d\d\.csv"', answer.headers["Content-Disposition"])
    assert answer.headers["Cache-Control"] == "no-store"
    return [*csv.reader(io.StringIO(answer.text.removeprefix("\ufeff"), newline=""))]


def digits(text: str) -> str:
    """A cell without what pages and files write differently: separators, units, the form of times, the apostrophe."""
    return re.sub(r"[^\w#.]", "", text.removesuffix(" %").replace("–", "").removeprefix("'"))


@pytest.mark.slow
def test_a_file_has_the_columns_and_texts_of_its_table(site: Site, inside: FlaskClient) -> None:
    """Of every table of every page, and nothing else: whatever is not on the page is not in the file."""
    order = site.order()
    compared = []
    for page in [*PAGES, f"/story?store=acme&key=order:{order['id']}"]:
        for name, (head, rows) in tables_of(inside.get(page).text).items():
            file_head, *file_rows = file_of(inside, page, name)
            compared.append(name)
            named = [name.removesuffix(", UTC").removesuffix(", %") for name in file_head]
            assert [name for name in named if name in head] == head
            assert len(file_rows) == len(rows)
            for row, file_row in zip(rows, file_rows, strict=True):
                assert shown_in(row) <= shown_in(file_row), name
                if not any(re.fullmatch(r"\d\d-\d\d \d\d:\d\d", cell) for cell in row):
                    assert "".join(map(digits, row)) == "".join(map(digits_of_file, file_row)), name
    assert {"match-keys", "value", "chart1", "chart4", "events", "webhooks"} <= set(compared)


def shown_in(row: list[str]) -> set[str]:
    """The words of a row, but for times and numbers."""
    return {word for cell in row for word in re.findall(r"[A-Za-z][\w-]+", cell.removeprefix("'"))} - {"T", "Z"}


def digits_of_file(text: str) -> str:
    """The same of a file's cell: its times end in Z and have a T."""
    return digits(re.sub(r"(?<=\d)T(?=\d)|(?<=\d)Z$", "", text))


def test_lists_without_a_table_have_a_file_too(inside: FlaskClient) -> None:
    """Failed events with TikTok's words as they are, and parked webhooks."""
    rows = file_of(inside, "/failed", "rejected")
    assert rows[0] == ["event", "event_id", "store", "stored, UTC", "code", "meaning", "message"]
    assert len(rows) == 5
    assert all(REASON in row[-1] for row in rows[1:])
    (_, parked) = file_of(inside, "/parked", "parked")
    assert parked[:2] == ["orders/create", "acme"]


def test_no_file_has_what_is_personal(site: Site, inside: FlaskClient) -> None:
    """No address, no name, no hash, no ip."""
    order = site.order()
    for page, name in (("/events", "events"), ("/webhooks", "webhooks"), ("/failed", "rejected")):
        text = str(file_of(inside, page, name))
        for secret in (order["email"], order["browser_ip"], order["client_details"]["user_agent"]):
            assert secret not in text


def test_a_file_of_another_name_is_the_page(inside: FlaskClient) -> None:
    assert inside.get("/?csv=no-such-table").mimetype == "text/html"


def test_nobody_downloads_without_the_password(site: Site) -> None:
    answer = site.app.test_client().get("/events?csv=events")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/login")


@pytest.mark.parametrize("page", EMPTY)
def test_an_empty_page_says_what_to_do(sqlite_engine: Engine, page: str) -> None:
    """A setting, a command, or where to look; never only that there is nothing."""
    found = re.findall(r'<div class="empty">(.*?)</div>', entered(Site(sqlite_engine)).get(page).text, re.S)
    assert found
    for block in found:
        assert "<code>" in block or "<a href=" in block or "Each day has a line" in block or "nothing to do" in block


def test_a_search_without_result_says_what_to_do(sqlite_engine: Engine) -> None:
    """And repeats what was looked for as text."""
    page = entered(Site(sqlite_engine)).post("/search", data={"key": "<b>1001"}).text
    assert "&lt;b&gt;1001" in page
    assert "connector backfill" in page


def test_an_order_of_which_nothing_was_sent_says_why(site: Site, inside: FlaskClient) -> None:
    """The reason is in the webhooks' table."""
    site.outbox.record(
        Decision("acme", "t", b"x" * 32, 1.0, object_key="order:77", outcome="skipped", reason="too old")
    )
    page = inside.get("/story?store=acme&key=order:77").text
    assert "Nothing was sent to TikTok." in page
    assert "too old" in page


def test_what_a_thin_webhook_has_named_has_a_story_before_it_is_fetched(site: Site, inside: FlaskClient) -> None:
    """Found by its id, with what happens now; and once it is fetched, there is no such line any more."""
    table = NoticeTable(Database(site.engine))
    table.record(NoticeEntry("acme", "order:99250", "store/order/created", "msg_1", time.time() - 60))
    found = inside.post("/search", data={"key": "99250"})
    assert found.headers["Location"].endswith(("key=order:99250", "key=order%3A99250"))
    page = inside.get("/story?store=acme&key=order:99250").text
    assert "(store/order/created) only names it; it will be fetched from the shop in a moment." in page
    assert "Nothing is sent yet." in page
    assert "Nothing was sent to TikTok." not in page
    leased = table.claim("acme", "one", time.time(), 60.0)
    assert leased is not None
    table.postpone(leased, "one", time.time() + 600, "the shop's API does not know the <token>")
    page = inside.get("/story?store=acme&key=order:99250").text
    assert (
        "could not be fetched in 1 attempt, will retry for a day: the shop&#39;s API does not know the &lt;token&gt;"
        in page
    )
