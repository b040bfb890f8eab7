"""A WooCommerce shop that reports the steps before an order, and what its pages have reported."""

from dataclasses import replace

from connector.core.store import FunnelSettings
from tests.browser.server_side import WOOCOMMERCE
from tests.browser.test_woocommerce_funnel import MUG

FUNNEL = replace(WOOCOMMERCE, funnel=FunnelSettings())


def product(plugin, **case):
    return plugin.run(["template_redirect"], ["wp_footer"], ["shutdown"], page=MUG, **case)


def ids(storefront, number):
    return [call.arguments[2]["event_id"] for call in storefront.tracked(number)]


def beacon_event(storefront):
    beacon = storefront.beacon()
    assert beacon.path == "/collect/acme/event"
    (event,) = beacon.body["events"]
    return event
