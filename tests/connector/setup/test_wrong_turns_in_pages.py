"""Wrong turns in the shop's pages: each turns one line of the checklist red, with its remedy."""

import time
from collections.abc import Callable

import pytest
import sqlalchemy as sa

from connector.meter.buffer import ReportBuffer
from connector.meter.report import Report
from connector.monitoring.alerts import AlertStore
from connector.pixel.version import current_versions
from connector.storage.tables import signals
from tests.support.new_store import NewStore, red

Make = Callable[..., NewStore]


def test_the_code_of_the_shops_pages(new_store: Make) -> None:
    """Nobody has reported; without PUBLIC_URL nobody can; then a checkout's beacon comes."""
    shop = new_store(signals={}, browser_pixel="snippet")
    assert "set `PUBLIC_URL`" in red(shop, "snippet")
    shop.environ["PUBLIC_URL"] = "https://connector.example"
    shop.configure()
    waiting = shop.items()["snippet"]
    assert waiting.state == "waiting"
    assert "`connector snippet acme` prints it" in waiting.remedy
    with shop.database.write() as connection:
        blank = dict.fromkeys(("ttclid", "ttp", "ip", "user_agent", "url", "referrer", "consent"), "")
        connection.execute(sa.insert(signals).values(store="acme", token="t", seen_at=time.time(), **blank))
    assert shop.items()["snippet"].state == "green"


@pytest.mark.parametrize("platform", ["shopify", "woocommerce"])
def test_code_that_was_printed_before_the_last_change(new_store: Make, platform: str) -> None:
    """Its version is another one than that of the present settings; printed and pasted again, it is green."""
    environ = {"PUBLIC_URL": "https://connector.example"}
    shop = new_store(platform, meter=True, browser_pixel="snippet", environ=environ)
    assert shop.items()["snippet"].state == "waiting"
    reports = ReportBuffer(shop.database, time.time)
    reports.add(shop.store.name, Report(min(current_versions(shop.store)), True))
    reports.flush()
    assert shop.items()["snippet"].state == "green"
    shop.configure(events={"order_paid": "Subscribe"})
    said = red(shop, "snippet")
    assert said.startswith("the code in the shop was printed before the last change of the settings")
    assert f"`connector snippet {shop.store.name}` prints it; paste it in the shop" in said
    time_later = ReportBuffer(shop.database, lambda: time.time() + 60)
    time_later.add(shop.store.name, Report(min(current_versions(shop.store)), True))
    time_later.flush()
    item = shop.items()["snippet"]
    assert item.state == "green"
    assert "an older version was seen" in item.sentence


def test_pages_in_which_tiktoks_script_never_runs(new_store: Make) -> None:
    shop = new_store(meter=True, browser_pixel="snippet", environ={"PUBLIC_URL": "https://connector.example"})
    reports = ReportBuffer(shop.database, time.time)
    reports.add("acme", Report(min(current_versions(shop.store)), False))
    reports.flush()
    assert "TikTok's script has not run in any page yet" in shop.items()["snippet"].sentence


def test_tiktoks_own_app_is_never_seen_and_must_be_said(new_store: Make) -> None:
    shop = new_store()
    item = shop.items()["official_app"]
    assert (item.state, item.action) == ("waiting", "app_off")
    assert "every order counts twice" in item.sentence
    with shop.acting() as setup:
        setup.note_app_off()
    assert shop.items()["official_app"].sentence.startswith("switched off, as you said on ")
    official = {"order_paid": "", "checkout_started": ""}
    assert new_store(browser_pixel="official", events=official).items()["official_app"].state == "green"


def test_tiktoks_own_app_that_the_pages_have_seen(new_store: Make) -> None:
    """Whatever the administrator said."""
    shop = new_store(meter=True)
    with shop.acting() as setup:
        setup.note_app_off()
    alerts = AlertStore(shop.database)
    alerts.report("foreign:other:CACME000000000000000:Purchase", "store other, pixel …: something")
    assert shop.items()["official_app"].state == "green"
    sentence = "store acme, pixel CACME000000000000000: Purchase is also sent under other event_ids; switch it off"
    alerts.report("foreign:acme:CACME000000000000000:Purchase", sentence)
    said = red(shop, "official_app")
    assert said.startswith("the shop's pages have seen it: pixel CACME000000000000000: Purchase is also sent")
    assert said.endswith("other event_ids → switch its data sharing off or give it another pixel")
