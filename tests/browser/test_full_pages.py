"""The dashboard's pages with everything on them that eight weeks bring, at a desk and on a phone, light and dark."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from connector.core.units import DAY
from connector.storage.engine import connect
from tests.support.admin_site import PASSWORD
from tests.support.axe import hindrances, looks
from tests.support.factories import a_pixel_code
from tests.support.full_pages import full_site
from tests.support.web import served

# The labels of charts that are cut off: they may stand beside the drawing, but not outside of its card.
CUT_LABELS = """[...document.querySelectorAll("text.scale")].filter(it => {
  const [text, card, drawing] = [it, it.closest("figure"), it.closest("svg")].map(one => one.getBoundingClientRect());
  const whole = getComputedStyle(it.closest("svg")).overflow === "visible" ? card : drawing;
  return text.left < whole.left || text.right > whole.right;
}).map(it => it.textContent)"""


@pytest.fixture(scope="module")
def url(migrated_sqlite: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One server for all: the pages only read."""
    engine = connect(f"sqlite:///{shutil.copy(migrated_sqlite, tmp_path_factory.mktemp('full') / 'connector.db')}")
    with served(full_site(engine).web.application) as address:
        yield address
    engine.dispose()


def test_nothing_keeps_anybody_out(chromium: Browser, url: str) -> None:
    """No serious finding of axe-core, no page wider than the screen; each page shows the numbers it is there for."""
    yesterday = time.strftime("%Y-%m-%d", time.gmtime(time.time() - DAY))
    orders = f"/orders?store=acme&day={yesterday}&event=Purchase&currency=USD&pixel={a_pixel_code('acme')}"
    shown = {
        "/": "[aria-label='Reported by browsers'] a",
        "/?store=acme": "#skipped",
        "/merges": "td a",
        "/match-keys?store=acme": "polyline.curve",
        "/books": "td a",
        orders: "tbody a",
        "/setup/acme": ".checklist > .good",
    }
    context = chromium.new_context(bypass_csp=True)
    page, found = context.new_page(), []
    page.goto(f"{url}/login")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("heading", name="Overview").wait_for()
    for path, part in shown.items():
        page.goto(url + path)
        assert page.locator(part).count(), (path, part)
        for summary in page.locator("summary").all():
            summary.click()
        for look in looks(page):
            assert page.evaluate(CUT_LABELS) == [], (path, look)
        found += hindrances(page, path)
    context.close()
    assert found == []
