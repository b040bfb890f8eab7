"""The dashboard's page of the books, and the figure on the overview."""

import re
import time

import pytest
import sqlalchemy as sa

from connector.core.units import DAY
from connector.storage.tables import accuracy, orders, sold
from tests.support.admin_site import Site, entered
from tests.support.factories import a_section, a_stores_file


@pytest.mark.slow
@pytest.mark.databases("sqlite")
def test_the_books_of_each_store(site: Site) -> None:
    """What arrived and what is left, by day; and for a store without them, the setting that begins them."""
    now = time.time()
    day = int(now) // DAY * DAY - DAY
    with site.engine.begin() as connection:
        counted = {"store": "acme", "orders": 40, "sent": 37, "waiting": 0, "counted_at": now}
        reasons = {"skipped": '{"pos orders are not relayed":2}', "missing": '{"<b>TikTok</b> rejected it":1}'}
        for start, complete in ((day, 1), (day + DAY, 0)):
            row = counted | reasons | {"day": start, "complete": complete}
            connection.execute(sa.insert(accuracy).values(row))
        for number, (value, remaining, cancelled) in enumerate(((445_000, 400_000, 0), (200_000, 200_000, 1)), 1):
            key = {"store": "acme", "object_key": f"order:9{number}", "currency": "USD"}
            of_event = {"pixel": "CACME000000000000000", "event": "Purchase", "event_id": f"e{number}", "value": value}
            connection.execute(sa.insert(sold).values(key | of_event | {"occurred_at": day + 60.0}))
            state = {"placed_at": day + 60.0, "changed_at": now, "remaining": remaining, "later": 0, "refunds": ""}
            texts = {"order_number": "", "outcome": "", "reason": "", "seen_at": now, "cancelled": cancelled}
            connection.execute(sa.insert(orders).values(key | state | texts))
    keys = {"access_token": "token-example"}
    settings = a_stores_file(a_section(books=True, reconcile="15m", api=keys), a_section("woocommerce", "beans"))
    inside = entered(Site(site.engine, STORES_TOML=settings))
    page = inside.get("/books").text
    cells = [re.sub("<[^>]*>", "", cell) for cell in re.findall("<t[hd][^>]*>(.*?)</t[hd]>", page)]
    at = cells.index("97.50%")
    assert cells[at + 1 : at + 7] == ["40", "37", "2", "0", "1", cells[at + 6]]
    assert "not known yet" in cells
    at = cells.index("Purchase")
    assert cells[at + 2 : at + 8] == ["2", "64.50", "20.00", "4.50", "40.00", "62.0%"]  # of all days, which is one
    at = cells.index("Purchase", at + 1)
    assert cells[at + 2 : at + 8] == ["2", "64.50", "20.00", "4.50", "40.00", "62.0%"]
    assert "&lt;b&gt;TikTok&lt;/b&gt; rejected it" in page
    assert "<code>books = true</code>" in page
    assert "97.50%" in inside.get("/").text
    assert page.count("<h2") == 3
    assert "Which orders arrived is not known of beans." in page


def test_stores_without_books_are_named_once(site: Site) -> None:
    """Not by two headings each: an agency has dozens of stores."""
    stores = a_stores_file(a_section(), a_section("woocommerce", "beans"))
    page = entered(Site(site.engine, STORES_TOML=stores)).get("/books").text
    assert page.count("<h2") == 1
    assert "Which orders arrived is not known of acme, beans." in page
    assert "No books are kept of acme, beans." in page
    assert "<code>[stores.NAME]</code>" in page
    assert "<code>connector webhooks register beans</code>" in entered(site).get("/books?store=beans").text


def test_a_store_without_an_api_is_not_told_to_give_keys(site: Site) -> None:
    """An own shop's signed events: nobody can ask which orders there were."""
    page = entered(Site(site.engine, STORES_TOML=a_stores_file(a_section("signed", books=True)))).get("/books").text
    assert "Which orders arrived is not known of acme." in page
    assert "Their shops have no API that the connector reads." in page
    assert "reconcile" not in page
