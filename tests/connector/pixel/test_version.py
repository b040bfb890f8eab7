"""The version of a printed snippet: another one after each change that matters, and the same otherwise."""

from dataclasses import replace
from datetime import timedelta

import pytest

from connector.core.store import ConsentSource, FunnelSettings, OrderSettings, Pixel, SignalSettings
from connector.pixel import plain
from connector.pixel.snippet import VERSION_MARK
from connector.pixel.version import current_versions, printed, version
from tests.support.factories import CODE, OTHER_CODE, a_store
from tests.support.platforms import PLATFORMS
from tests.support.rows import each_row

BASE = "https://connector.example"
SHOPIFY, WOOCOMMERCE = (a_store(platform, meter=True) for platform in ("shopify", "woocommerce"))
EACH = pytest.mark.parametrize("store", [SHOPIFY, WOOCOMMERCE], ids=lambda store: store.platform)
CHANGES = {
    "pixel": {"pixels": (Pixel(OTHER_CODE, "token"),)},
    "events": {"events": {**SHOPIFY.events, "order_paid": ("CompletePayment",)}},
    "ids": {"event_id": replace(SHOPIFY.event_id, order="o-{order_id}")},
    "orders": {"orders": OrderSettings(exclude_zero=True)},
    "consent": {"consent": "required"},
    "consent_source": {"consent_source": ConsentSource("answer")},
    "mapping": {"mapping": replace(SHOPIFY.mapping, value="items")},
    "funnel": {"funnel": FunnelSettings()},
    "meter": {"meter": False},
}
SAME = {
    "token": {"pixels": (Pixel(CODE, "another"),)},
    "test code": {"pixels": (Pixel(CODE, "token", "TEST1"),)},
    "secret": {"webhook_secrets": ("another",)},
    "books": {"books": True},
    "age": {"max_event_age": timedelta(days=1)},
}


def module(store):
    return PLATFORMS[store.platform].snippet


@EACH
@each_row("change", CHANGES)
def test_a_setting_that_the_code_depends_on_changes_it(store, change):
    """As docs/browser.md lists them."""
    assert version(module(store), replace(store, **CHANGES[change])) != version(module(store), store)


@EACH
@each_row("change", SAME)
def test_others_leave_it_as_it_is(store, change):
    """Nobody shall paste a snippet again for nothing."""
    assert version(module(store), replace(store, **SAME[change])) == version(module(store), store)


def test_a_changed_secret_matters_to_a_plugin_that_holds_a_key_of_it():
    """Browsers' events are signed with it."""
    store = replace(WOOCOMMERCE, funnel=FunnelSettings())
    assert version(module(store), replace(store, webhook_secrets=("another",))) != version(module(store), store)


@EACH
def test_the_printed_code_has_it(store):
    """In place of the mark, and whatever the address is; a beacon that is switched on is another version."""
    for found in (module(store), plain):
        code = printed(found, store, BASE)
        assert f'"version": "{version(found, store)}"' in code
        assert VERSION_MARK not in code
        assert f"{BASE}/collect/acme/seen" in code
        assert version(found, store) in printed(found, store, "https://other.example")
    signals = replace(SHOPIFY, signals=SignalSettings())
    assert version(PLATFORMS["shopify"].snippet, signals) != version(PLATFORMS["shopify"].snippet, SHOPIFY)


def test_what_may_have_been_printed_is_current():
    """Each choice of options, and the plain one; nothing for a platform without a snippet but that one."""
    assert len(current_versions(WOOCOMMERCE)) == 5
    assert version(module(WOOCOMMERCE), WOOCOMMERCE, ("without_pixel",)) in current_versions(WOOCOMMERCE)
    assert current_versions(SHOPIFY) == {version(module(SHOPIFY), SHOPIFY), version(plain, SHOPIFY)}
    assert current_versions(a_store("saleor")) == {version(plain, a_store("saleor"))}
    assert current_versions(replace(SHOPIFY, platform="gone")) == {version(plain, SHOPIFY)}
    no_snippet = replace(SHOPIFY, orders=OrderSettings(include=("pos",)))
    assert current_versions(no_snippet) == {version(plain, no_snippet)}
