"""The setup as a newcomer meets it: from the login to all green by links and buttons, and a store from the form."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from connector.storage.engine import connect
from tests.support.axe import hindrances
from tests.support.new_store import NewStore, a_sandbox
from tests.support.web import served

PASSWORD = "correct horse battery"


class Newcomer:
    """A store nobody has set up yet: its server, twice over one database, for the first is the other's PUBLIC_URL."""

    def __init__(self, shop: NewStore, url: str) -> None:
        self.shop, self.url = shop, url

    def log_in(self, page: Page) -> None:
        page.goto(self.url)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("button", name="Log out")).to_be_visible()


@pytest.fixture
def newcomer(migrated_sqlite: Path, tmp_path: Path) -> Iterator[Newcomer]:
    engine = connect(f"sqlite:///{shutil.copy(migrated_sqlite, tmp_path / 'connector.db')}", timeout=5.0)
    with a_sandbox() as (_, events_api):
        shop = NewStore(engine, events_api)
        with shop.served():
            shop.configure()
            with served(shop.web.application) as url:
                yield Newcomer(shop, url)
    engine.dispose()


def line(page: Page, key: str) -> Locator:
    """One line of the checklist."""
    return page.locator(f"li#{key}")


def test_from_the_login_to_all_green(chromium: Browser, newcomer: Newcomer) -> None:
    """Each line says what to do, and doing it turns it green; at the end the overview asks for nothing more."""
    page, shop = chromium.new_page(), newcomer.shop
    shop.work()  # a relay is running
    newcomer.log_in(page)
    expect(page).to_have_url(re.compile("/setup/acme$"))  # where a new store lands
    page.get_by_role("link", name="Overview").click()
    page.get_by_role("link", name="Finish the setup of acme").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Set up acme")
    expect(line(page, "signature")).to_contain_text("waiting")

    page.get_by_role("button", name="Check shop and TikTok").click()
    expect(line(page, "address")).to_contain_text("done")
    expect(line(page, "token")).to_contain_text("done")
    page.get_by_role("button", name="Send a test event").click()
    expect(page.get_by_role("status")).to_contain_text("TikTok accepted a Purchase for Test Events (TEST12345)")
    page.get_by_role("button", name="Post a signed sample").click()
    expect(page.get_by_role("status")).to_contain_text("took the sample")
    expect(line(page, "signature")).to_contain_text("the shop itself has sent nothing yet")

    shop.send()
    shop.work()
    page.reload()
    for key in ("signature", "topics", "test_event"):
        expect(line(page, key)).to_contain_text("done")
    page.get_by_role("button", name="It is switched off").click()
    expect(line(page, "official_app")).to_contain_text("done")
    expect(line(page, "live")).to_contain_text("take it out of the stores file")

    shop.configure(test_event_code="")
    shop.send()
    shop.work()
    with served(shop.web.application) as url:  # restarted; a browser's cookies are for all ports of a host
        page.goto(f"{url}/setup/acme")
        expect(page.get_by_text(re.compile("All 10 are done"))).to_be_visible()
        page.get_by_role("link", name="overview", exact=True).click()
        expect(page.get_by_role("link", name="Finish the setup")).to_have_count(0)
    page.close()


def test_a_store_from_the_form_without_script(chromium: Browser, newcomer: Newcomer) -> None:
    """The browser's script is off: faults stand at their fields, what was typed in stays, then comes the text."""
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    newcomer.log_in(page)
    page.get_by_role("link", name="Setup", exact=True).click()
    page.get_by_role("link", name="Add a store").click()
    page.get_by_label(re.compile("^name")).fill("tea")
    page.get_by_label(re.compile("^platform")).select_option("woocommerce")
    page.get_by_label(re.compile("^url")).fill("tea.example")
    page.get_by_role("button", name="Generate the text").click()
    expect(page.get_by_role("alert")).to_contain_text("4 fields are not valid")
    page.get_by_role("alert").get_by_role("link", name="url").click()
    expect(page.get_by_label(re.compile("^url"))).to_have_value("tea.example")
    for name, value in {"url": "https://tea.example", "shop": "tea.example", "pixel": "CTEA0000000000000000"}.items():
        page.get_by_label(re.compile(f"^{name}")).fill(value)
    page.get_by_label(re.compile("^consent required")).select_option("not_required")
    page.get_by_role("button", name="Generate the text").click()
    expect(page.get_by_role("heading", name="The settings are valid")).to_be_visible()
    expect(page.get_by_label("Text for the stores file")).to_contain_text('[stores.tea]\nplatform = "woocommerce"')
    expect(page.get_by_role("region", name="Environment variables")).to_contain_text("TEA_WEBHOOK_SECRET")
    context.close()


def test_nothing_keeps_anybody_out(chromium: Browser, newcomer: Newcomer) -> None:
    """No serious finding of axe-core, and no page is wider than the screen; with green, waiting and red lines."""
    newcomer.shop.send("orders/create", secret="not-this-one-0123")
    context = chromium.new_context(bypass_csp=True)
    page, found = context.new_page(), []
    newcomer.log_in(page)
    for path in ("/", "/setup", "/setup/acme", "/add-store"):
        page.goto(newcomer.url + path)
        for summary in page.locator("summary").all():
            summary.click()
        found += hindrances(page, path)
    page.get_by_role("button", name="Generate the text").click()
    expect(page.get_by_role("alert")).to_contain_text("fields are not valid")
    found += hindrances(page, "faults")
    fields = {"name": "tea", "url": "https://tea.example", "shop": "tea.example", "pixel": "CTEA0000000000000000"}
    for name, value in fields.items():
        page.get_by_label(re.compile(f"^{name}")).fill(value)
    page.get_by_label(re.compile("^platform")).select_option("woocommerce")
    page.get_by_label(re.compile("^consent required")).select_option("not_required")
    page.get_by_role("button", name="Generate the text").click()
    expect(page.get_by_role("heading", name="The settings are valid")).to_be_visible()
    found += hindrances(page, "made")
    context.close()
    assert found == []
