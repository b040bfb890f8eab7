"""Which segment of the overview's bars a stored number belongs to."""

import re
import time

import pytest
import sqlalchemy as sa

from connector.config.settings import load
from connector.core.store import Pixel
from connector.core.units import HOUR
from connector.dashboard.overview import bar_kind, read_overview
from connector.monitoring.event_stats import Statistic, add_counts
from connector.monitoring.skips import explain
from connector.monitoring.webhook_stats import WebhookStats
from connector.outbox.outbox import Outbox
from connector.storage.tables import arrivals
from tests.support.admin_site import Site, entered
from tests.support.factories import CODE, a_section, a_stores_file
from tests.support.outbox_rows import NOW, decision
from tests.support.rows import each_row


@each_row(
    ("what", "detail", "kind"),
    [
        ("received", "duplicate", "quiet"),
        ("received", "nothing new", "quiet"),  # as release 0.1 stored it
        ("received", "ignored", "quiet"),
        ("received", "parked", "parked"),
        ("tested", "accepted 0", "tested"),
        ("tested", "rejected 40002", ""),
        ("sent", "accepted 0", "accepted"),
        ("sent", "expired", "failed"),
        ("sent", "again 50000", ""),
    ],
)
def test_each_number_belongs_to_one_segment(what, detail, kind):
    assert bar_kind(Statistic("acme", what, "", "", detail, 0, 1)) == kind


def test_what_browsers_report_has_a_table_of_its_own(database):
    """By store and step, the most frequent outcome first; the page has no table where nothing was reported."""
    config = load({"STORES_TOML": a_stores_file(a_section(funnel={}))})
    assert read_overview(config, database, "", NOW).browsers == []
    with database.write() as connection:
        for outcome, number in (("rate limit", 2), ("taken", 7)):
            add_counts(connection, int(NOW) // 3600 * 3600, {("acme", "", "funnel", "cart_added", outcome): number})
    found = read_overview(config, database, "", NOW).browsers
    assert found == [("acme", "cart_added", {"taken": 7, "rate limit": 2})]


def test_steps_that_browsers_report_are_not_on_the_way_from_the_shop(database):
    """They come from pages, at once; however many there are, the shop's own events keep their median."""
    config = load({"STORES_TOML": a_stores_file(a_section(funnel={}))})
    hour = int(NOW) // HOUR * HOUR
    with database.write() as connection:
        add_counts(connection, hour, {("acme", CODE, "seconds", "Purchase", "60"): 2})
        add_counts(connection, hour, {("acme", CODE, "seconds", "AddToCart", "1"): 900})
    (health,) = read_overview(config, database, "", NOW).stores
    assert health.delays == {"seconds": 45.0}


def test_the_overview_says_which_pixel_takes_what(sqlite_engine):
    """With their conditions, and what no pixel takes; a store with one pixel for everything needs no list."""
    rows = (
        {"pixel": CODE, "access_token": "a", "countries": ["US"]},
        {"pixel": "7012345678901234567", "access_token": "b", "source": "offline", "milestones": ["order_paid"]},
    )
    sections = "".join(
        "\n[[stores.acme.pixels]]\n" + "".join(f"{key} = {value!r}\n" for key, value in row.items()) for row in rows
    )
    stores = a_stores_file(a_section(pixel=None) + sections, a_section("woocommerce", "beans"), access_token=None)
    site = Site(sqlite_engine, STORES_TOML=stores.replace("[stores.beans]", '[stores.beans]\naccess_token = "t"'))
    page = entered(site).get("/").text
    assert f"<li>Pixel {CODE}: live, only events to US.</li>" in page
    assert "<li>Offline event set 7012345678901234567: live, only order_paid" in page
    assert page.count("<summary>Pixels") == 1
    assert site.config.stores["acme"].pixels[0] == Pixel(CODE, "a", countries=("US",))


def test_a_first_webhook_is_seen_before_it_is_counted(database):
    """The relay counts webhooks once a minute; an order that the connector fetched itself is no webhook."""
    config, outbox = load({"STORES_TOML": a_stores_file(a_section())}), Outbox(database)

    def last() -> tuple[float | None, str]:
        (health,) = read_overview(config, database, "", NOW).stores
        return health.last_webhook, health.label

    outbox.record(decision("f", delivery="reconcile", at=NOW - 40, outcome="recorded", object_key="order:1"))
    assert last() == (None, "nothing received yet")
    outbox.record(decision("a", at=NOW - 30, outcome="recorded", object_key="order:2"))
    outbox.record(decision("b", at=NOW - 10, store="gone", outcome="recorded", object_key="order:3"))
    assert last() == (NOW - 30, "flowing")
    WebhookStats(database).count_up(NOW - 20)
    assert last() == (NOW - 20, "flowing")
    outbox.record(decision("c", at=NOW - 5, outcome="recorded", object_key="order:4"))
    assert last() == (NOW - 5, "flowing")


def test_a_store_whose_orders_are_skipped_is_not_flowing(sqlite_engine):
    """The card says how many and links to the reasons, each with what it means and the setting that changes it."""
    site = Site(sqlite_engine)
    reason = "no consent: no answer was given (consent)"
    hour = int(time.time()) // HOUR * HOUR
    counts = {("acme", "", "skipped", "order", reason): 1900, ("acme", "", "relayed", "order", ""): 100}
    counts |= {("beans", "", "skipped", "order", "<b>strange</b>"): 1, ("beans", "", "relayed", "order", ""): 9}
    with sqlite_engine.begin() as connection:
        add_counts(connection, hour, counts)
        connection.execute(
            sa.insert(arrivals),
            [{"store": name, "hour": hour, "count": 9, "last_at": hour} for name in ("acme", "beans")],
        )
    page = entered(site).get("/").text
    cards = re.findall('<li class="card ([a-z]+)">.*?</svg> ([^<]+)</p>', page, re.S)
    assert cards == [("note", "1,900 of 2,000 order webhooks skipped (95%)"), ("good", "flowing")]
    assert '<dt>skipped, 24 h</dt><dd><a href="#skipped">1,900</a>' in page
    cells = [re.sub("<[^>]+>", "", cell) for cell in re.findall("<t[hd] [^>]*>(.*?)</t[hd]>", page)]
    at = next(place for place, cell in enumerate(cells) if cell.startswith(reason))
    assert cells[at + 1 : at + 5] == [
        "1,900", "100%", explain(reason).meaning, "consent_source.key, [signals], consent",
    ]  # fmt: skip
    assert "&lt;b&gt;strange" in page


@pytest.mark.slow
def test_several_stores_have_one_line_each(sqlite_engine):
    """Match keys of paid orders, and all steps of browsers together; the rest is one link away."""
    stores = a_stores_file(
        a_section(funnel={}), a_section("woocommerce", "beans", events={"order_paid": ""}, funnel={})
    )
    site = Site(sqlite_engine, STORES_TOML=stores)
    hour = int(time.time()) // HOUR * HOUR
    keys = {"acme": ("PlaceAnOrder", "Purchase", "InitiateCheckout"), "beans": ("PlaceAnOrder", "InitiateCheckout")}
    counts = {(name, CODE, "keys", event, "email"): 5 for name, events in keys.items() for event in events}
    counts[("acme", CODE, "keys", "ViewContent", "ip+user_agent")] = 900
    counts |= {("acme", "", "funnel", step, "taken"): 2 for step in ("cart_added", "searched")}
    counts |= {("acme", "", "funnel", "searched", "rate limit"): 1, ("beans", "", "funnel", "searched", "taken"): 4}
    with sqlite_engine.begin() as connection:
        add_counts(connection, hour, counts)
    inside = entered(site)
    assert lines(inside.get("/").text, "Match keys") == ["acme Purchase 5", "beans PlaceAnOrder 5"]
    assert lines(inside.get("/").text, "Reported by browsers") == ["acme 4 1 rate limit", "beans 4 –"]
    assert lines(inside.get("/?store=acme").text, "Match keys") == [
        "InitiateCheckout 5", "PlaceAnOrder 5", "Purchase 5", "ViewContent 900",
    ]  # fmt: skip
    assert lines(inside.get("/?store=acme").text, "Reported by browsers") == [
        "cart added 2 –",
        "searched 2 1 rate limit",
    ]
    assert len(inside.get("/?store=acme&csv=match-keys").text.splitlines()) == 5
    assert '<a href="/?store=acme">acme</a>' in inside.get("/").text


def lines(page, name):
    """The texts of a table's rows up to the third, without its groups' headings."""
    table = page.partition(f'aria-label="{name}"')[2].partition("</table>")[0]
    rows = re.findall(r'<tr role="row">(.*?)</tr>', table, re.DOTALL)[1:]
    texts = (
        [re.sub("<[^>]+>", "", cell).strip() for cell in re.findall("<t[hd] [^>]*>(.*?)</t[hd]>", row)] for row in rows
    )
    return [" ".join(text[: 2 if name == "Match keys" else 3]) for text in texts]
