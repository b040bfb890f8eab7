"""The dashboard's page of the merge meter, with what `stats` and `/metrics` say of the same numbers."""

import json
import re
import time

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from connector.cli.main import main
from connector.core.units import HOUR
from connector.pixel.version import version
from connector.storage.tables import snippet_reports, tallies, totals
from tests.support.admin_site import PASSWORD, STORES, Site, entered
from tests.support.factories import a_section, a_stores_file
from tests.support.platforms import PLATFORMS

PIXEL = "CACME000000000000000"
SETTINGS = a_stores_file(
    a_section(browser_pixel="snippet", meter=True),
    a_section("woocommerce", "beans"),
    webhook_secrets=["whsec-of-the-pages"],
    access_token="token-of-the-pages",
)
COUNTS = [
    ("sent", "accepted 0", 1000),
    ("copies", "merged", 900),
    ("copies", "dropped", 10),
    ("copies", "blocked", 60),
    ("copies", "browser", 4),
    ("copies", "twice", 33),
    ("distance", "5", 900),
    ("distance", "900", 10),
    ("amounts", "same", 900),
    ("amounts", "differs", 7),
]


def fill(site: Site) -> None:
    hour = int(time.time()) // HOUR * HOUR
    with site.engine.begin() as connection:
        for table in (tallies, totals):
            connection.execute(sa.delete(table))
        for what, detail, count in COUNTS:
            row = {"store": "acme", "what": what, "pixel": PIXEL, "event": "Purchase", "detail": detail, "count": count}
            connection.execute(sa.insert(totals).values(row))
            connection.execute(sa.insert(tallies).values(row | {"hour": hour}))


def report(site: Site, seen: str, ago: float = 60.0) -> None:
    at = time.time() - ago
    with site.engine.begin() as connection:
        row = {"store": "acme", "version": seen, "first_at": at, "seen_at": at, "loaded_at": at, "others_at": at}
        connection.execute(sa.insert(snippet_reports).values(row))


@pytest.mark.slow
def test_the_page(site: Site) -> None:
    """Numbers with shares, the snippet's state with what to do, and for a store without a meter the setting."""
    fill(site)
    changed = Site(site.engine, STORES_TOML=SETTINGS)
    inside = entered(changed)
    page = inside.get("/merges").text
    assert "No page has reported yet" in page
    cells = [re.sub(r"<[^>]*>", " ", cell).split() for cell in re.findall("<t[hd][^>]*>(.*?)</t[hd]>", page)]
    at = cells.index(["Purchase"])
    assert cells[at + 1 : at + 9] == [
        ["1,004"],
        ["900", "89.6%"],
        ["10", "1.0%"],
        ["90", "9.0%", "·", "60", "blocked"],
        ["4", "0.4%"],
        ["33", "3.3%"],
        ["7"],
        ["3.5", "seconds"],
    ]
    file = inside.get("/merges?csv=copies-acme").text.removeprefix("\ufeff").splitlines()
    assert file[0].startswith('"event","orders","merged","merged, share",')
    assert file[1].startswith('"Purchase",1004,900,"89.6%",10,"1.0%",90,"9.0% · 60 blocked",4,')
    assert 'href=""' not in page
    (events,) = re.findall(r'<a href="(/events[?][^"]*event=Purchase[^"]*)">1,004</a>', page)
    assert inside.get(events.replace("&amp;", "&")).status_code == 200
    assert "<code>meter = true</code>" in inside.get("/merges?store=beans").text
    assert "last 14 days" in inside.get("/merges?store=acme").text
    assert 'href=""' not in inside.get("/merges").text  # no list is behind the numbers of these charts
    report(site, "00000000", 120.0)
    assert "<b>out of date</b>" in inside.get("/merges").text
    report(site, version(PLATFORMS["shopify"].snippet, changed.config.stores["acme"]))
    page = inside.get("/merges").text
    assert "which is that of today's settings" in page
    assert "Some pages still had an older one" in page
    assert "Other code on these pages uses this pixel" in page
    assert inside.get("/").text.count('href="/merges"') == 1


def test_metrics_and_stats_say_the_same(site: Site) -> None:
    """Counters for Prometheus, and a paragraph or JSON for a terminal."""
    fill(site)
    report(site, "00000000")
    changed = Site(site.engine, STORES_TOML=SETTINGS)
    text = changed.web.get("/metrics", auth=("", PASSWORD)).text
    found = {}
    for name, value in re.findall(r"^(connector_(?:browser|snippet)\S+) (\S+)$", text.replace(", ", ","), re.MULTILINE):
        found[name] = float(value)
    for outcome, number in (("merged", 900), ("twice", 33), ("blocked", 60)):
        (name,) = (one for one in found if f'outcome="{outcome}"' in one and 'event="Purchase"' in one)
        assert name.startswith("connector_browser_copies_total{")
        assert found[name] == number
    assert abs(found['connector_snippet_reported_timestamp_seconds{store="acme"}'] - time.time()) < 3600
    url = site.engine.url.render_as_string(hide_password=False)
    environ = {"STORES_TOML": SETTINGS, "DATABASE_URL": url}
    result = CliRunner(env=environ).invoke(main, ["stats", "acme"])
    assert result.exit_code == 0, result.output
    shares = "89.6% merged, 1.0% dropped as late copies, 9.0% server only, 0.4% browser only, 3.3% counted twice"
    assert shares in result.output
    assert "7 of 907 have another value in the browser's copy" in result.output
    (line,) = json.loads(CliRunner(env=environ).invoke(main, ["stats", "acme", "--json"]).output)["copies"]
    assert (line["merged"], line["server"], line["orders"]) == (900, 90, 1004)
    without = CliRunner(env=environ | {"STORES_TOML": STORES}).invoke(main, ["stats", "acme", "--json"])
    assert "copies" not in json.loads(without.output)


def test_stores_without_a_meter_are_named_once(sqlite_engine: sa.Engine) -> None:
    page = entered(Site(sqlite_engine)).get("/merges").text
    assert page.count("<code>meter = true</code>") == 1
    assert "The pages of acme, beans report nothing." in page
