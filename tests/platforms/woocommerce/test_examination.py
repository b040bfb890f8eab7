"""What `check` finds out about a WooCommerce shop over its API."""

from datetime import timedelta

import pytest

from connector.core.shop_api import ApiCheck, ShopApiError
from platforms.woocommerce.rest_client import RestClient
from tests.support.woocommerce_api import NOW, SINCE, UNTIL, connect, fake, put

URL = "https://connector.example/webhooks/beans"


def verdicts(shop, **keys):
    return list(connect(shop, **keys).check())


def bad(shop, **keys):
    return [one.sentence for one in verdicts(shop, **keys) if not one.good]


def test_a_good_shop_has_only_good_verdicts_and_is_not_changed(shop):
    put(shop, 1, NOW, billing={"email": "jo@example.com"}, version="10.0.4")
    assert verdicts(shop) == [
        ApiCheck(True, "the shop is on this machine, so http is enough"),
        ApiCheck(True, "the keys are valid"),
        ApiCheck(True, "the shop's clock and this one agree"),
        ApiCheck(True, "the keys may register webhooks"),
        ApiCheck(True, "orders and customers can be read"),
        ApiCheck(True, "WooCommerce 10.0.4"),
    ]
    assert shop.webhooks == {}
    assert shop.pings == []


def test_a_webhook_that_a_plugin_lets_through_is_removed_again(shop):
    shop.takes_any_webhook = True
    assert bad(shop) == []
    assert shop.pings == [(1, None)]
    assert shop.webhooks == {}


def test_an_empty_shop_tells_its_version_on_the_status_page(shop):
    assert ApiCheck(True, "WooCommerce 10.0.4") in verdicts(shop)
    assert any("no order yet" in one.sentence for one in verdicts(shop))
    shop.forbidden = {"system_status"}
    assert len(verdicts(shop)) == 5


def test_wrong_keys_end_the_examination_but_for_the_clock(shop):
    found = verdicts(shop, secret="cs_wrong")
    assert [one.good for one in found] == [True, False, True]


def test_a_wrong_clock(shop):
    for seconds, told in ((61, "61 seconds ahead of"), (-3600, "3600 seconds behind")):
        shop.now = lambda seconds=seconds: NOW + timedelta(seconds=seconds)
        assert any(told in one for one in bad(shop))
    shop.now = lambda: NOW + timedelta(seconds=59)
    assert bad(shop) == []


def test_keys_that_may_not_write_or_read_orders(shop):
    shop.permissions = "read"
    assert [one for one in bad(shop) if "Read/Write" in one]
    shop.permissions, shop.forbidden = "read_write", {"customers"}
    (found,) = bad(shop)
    assert found.startswith("orders or customers cannot be read")


def test_orders_without_billing_data(shop):
    put(shop, 1, NOW)
    (found,) = bad(shop)
    assert "without billing data" in found


def test_an_old_woocommerce(shop):
    put(shop, 1, NOW, billing={"email": ""}, version="5.7.2")
    (found,) = bad(shop)
    assert "update WooCommerce" in found


def test_a_shop_asked_in_plain_http_over_the_internet():
    from platforms.woocommerce.shop_api import WooCommerceApi

    api = WooCommerceApi(RestClient("http://shop.example.invalid", "ck_1", "cs_1", [].append), lambda: NOW)
    assert "https" in next(api.check()).sentence
    assert not next(api.check()).good


def test_over_https_and_a_dropped_header(pem, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(pem[0]))
    with fake(certificate=pem) as shop:
        shop.drops_authorization = True
        found = verdicts(shop)
    assert found[0] == ApiCheck(True, "the shop is asked over https")
    assert "drops the Authorization header" in found[1].sentence
    assert all(one.good for one in found)


def test_faults_while_listing_reach_the_caller(shop):
    shop.fail("firewall")
    for pages in (connect(shop).orders(SINCE, UNTIL, "created"), connect(shop).customers(SINCE, UNTIL)):
        with pytest.raises(ShopApiError):
            next(pages)
