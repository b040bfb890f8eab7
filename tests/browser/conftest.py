"""A real Chromium, and the pages it is shown."""

import os
import shutil

import pytest
from playwright.sync_api import expect, sync_playwright

from tests.browser.funnel_shop import FUNNEL
from tests.browser.plugin import Plugin
from tests.browser.server_side import WOOCOMMERCE
from tests.browser.storefront import PATIENCE, Storefront

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# The same engine without a browser's interface, which takes a quarter of the CPU time for each page. Debian has it.
LIGHT = ("chromium-headless-shell", "chrome-headless-shell")
expect.set_options(timeout=PATIENCE * 1000)


def tool(*names):
    """The path of a program that is not from PyPI: its tests are skipped where it is missing, but never in CI."""
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        missing = f"NOT TESTED: {names[0]} is not installed here (apt-get install {names[0]})"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    return found


def _light():
    return next(filter(None, map(shutil.which, LIGHT)), None) or tool(*BROWSERS)


@pytest.fixture(scope="package")
def chromium():
    """A browser for this folder; to start it and Playwright takes a second of CPU time.

    Not for the whole run, for Playwright's event loop would still run in other tests of this process.
    """
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_light(), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def storefront(chromium):
    """A shop's pages, TikTok's script beside them and our server's /collect behind them."""
    with Storefront(chromium) as opened:
        yield opened


@pytest.fixture
def storefront_with_back_cache(chromium):
    """The same, in a browser that keeps pages for going back; Playwright switches that off."""
    yield from _opened(chromium, ignore_default_args=["--disable-back-forward-cache"])


@pytest.fixture
def storefront_without_foreign_cookies(chromium):
    """The same, in a browser that gives no cookie to frames and requests of other sites."""
    yield from _opened(chromium, args=["--no-sandbox", "--test-third-party-cookie-phaseout"])


def _opened(chromium, **options):
    settings = {"args": ["--no-sandbox"]} | options
    browser = chromium.browser_type.launch(executable_path=tool(*BROWSERS), **settings)
    with Storefront(browser) as opened:
        yield opened
    browser.close()


@pytest.fixture(scope="session")
def php():
    return tool("php", "php-cli")


@pytest.fixture
def plugin(php, tmp_path):
    return lambda store=WOOCOMMERCE, **options: Plugin(php, tmp_path, store, **options)


@pytest.fixture
def shop(storefront, php, tmp_path):
    """The plugin for this browser's server, whose token the shop's own address gives."""
    storefront.pages["/"] = "<title>Acme</title>"
    return lambda store=FUNNEL, **options: Plugin(php, tmp_path, store, base_url=storefront.url, **options)
