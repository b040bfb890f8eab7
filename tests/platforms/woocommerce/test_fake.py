"""The fake WooCommerce does what was measured in a real one; asked through the vendor's own package."""

import base64
import hashlib
import hmac
import json
from datetime import timedelta
from pathlib import Path

import pytest
import woocommerce

from tests.support.fakes.receiver import Receiver
from tests.support.sample_bodies import PLACED, WOOCOMMERCE, sample
from tests.support.woocommerce_api import NOW, fake, put

RECORDED = Path(__file__).parents[2] / "fixtures" / "woocommerce" / "requests"
URL = "http://127.0.0.1:9/webhooks/beans"  # nobody there


@pytest.fixture
def shop():
    with fake() as shop:
        yield shop


@pytest.fixture
def receiver():
    with Receiver() as receiver:
        yield receiver


def api(shop, **changes):
    keys = {"consumer_key": shop.key, "consumer_secret": shop.secret} | changes
    return woocommerce.API(shop.url, version="wc/v3", **keys)


def hook(shop, url=URL, topic="order.updated", **more):
    return api(shop).post("webhooks", {"topic": topic, "delivery_url": url, "secret": "s3cret", **more})


def code(response):
    return response.status_code, response.json().get("code")


# --- authentication


def test_signatures_are_really_checked(shop):
    assert api(shop).get("orders", params={"orderby": "date", "after": "2026-01-01T00:00:00"}).status_code == 200
    bad = (401, "woocommerce_rest_authentication_error")
    assert code(api(shop, consumer_secret="cs_other").get("orders")) == bad
    assert code(api(shop, consumer_key="ck_other").get("orders")) == bad


def test_a_signed_request_cannot_be_replayed_or_be_old(shop):
    import requests

    url = api(shop).get("orders").request.url
    assert code(requests.get(url, timeout=5)) == (401, "woocommerce_rest_authentication_error")
    real = shop.time
    shop.time = lambda: real() + 16 * 60
    assert code(api(shop).get("orders")) == (401, "woocommerce_rest_authentication_error")


def test_without_keys_nobody_is_known(shop):
    import requests

    assert code(requests.get(f"{shop.url}/wp-json/wc/v3/orders", timeout=5)) == (401, "woocommerce_rest_cannot_view")


def test_a_read_key_does_not_write(shop):
    shop.permissions = "read"
    assert code(hook(shop)) == (401, "woocommerce_rest_authentication_error")
    assert api(shop).get("webhooks").status_code == 200


# --- webhooks


def test_created_webhooks_are_active_and_keep_their_secret_to_themselves(shop):
    answer = hook(shop, status="paused")
    assert answer.status_code == 201
    assert set(answer.json()) == {
        *("id", "name", "status", "topic", "resource", "event", "hooks", "delivery_url", "_links"),
        *("date_created", "date_created_gmt", "date_modified", "date_modified_gmt"),
    }
    assert answer.json()["status"] == "active"
    assert shop.webhooks[1].secret == "s3cret"


def test_faulty_webhooks_are_refused_with_the_codes_of_woocommerce(shop):
    wrong = "woocommerce_rest_shop_webhook_invalid_"
    assert code(hook(shop, topic="checkout.created")) == (400, f"{wrong}topic")
    assert code(hook(shop, url="ftp://127.0.0.1/")) == (400, f"{wrong}delivery_url")
    assert code(api(shop).post("webhooks", {"topic": "order.created"})) == (400, "rest_missing_callback_param")
    assert code(api(shop).delete("webhooks/9", params={"force": "true"})) == (404, f"{wrong}id")
    hook(shop)
    assert code(api(shop).delete("webhooks/1")) == (501, "woocommerce_rest_trash_not_supported")


def test_a_new_webhook_is_pinged(shop, receiver):
    hook(shop, receiver.url)
    ping = receiver.received[0]
    assert ping.body == b"webhook_id=1"
    assert ping.headers["content-type"] == "application/x-www-form-urlencoded"
    assert not any(name.startswith("x-wc") for name in ping.headers)


def test_deliveries_carry_the_headers_and_the_signature_of_a_recorded_one(shop, receiver):
    hook(shop, receiver.url)
    number = shop.place(sample(WOOCOMMERCE, PLACED))
    (got,) = receiver.webhooks
    recorded = json.loads(next(RECORDED.glob("026*")).read_text())["headers"]
    assert set(got.headers) == {name.lower() for name in recorded}
    assert got.headers["x-wc-webhook-source"] == f"{shop.url}/"
    made = base64.b64encode(hmac.new(b"s3cret", got.body, hashlib.sha256).digest()).decode()
    assert got.headers["x-wc-webhook-signature"] == made
    assert json.loads(got.body)["id"] == number
    assert b"\\/" in got.body
    assert got.body.isascii()


def test_a_body_is_the_state_at_delivery_and_equal_jobs_collapse(shop, receiver):
    hook(shop, receiver.url)
    shop.held = True
    number = shop.place(sample(WOOCOMMERCE, PLACED))
    shop.pay(number)
    gone = shop.place(sample(WOOCOMMERCE, PLACED) | {"id": 77})
    shop.remove(gone)
    shop.deliver()
    first, second = (json.loads(one.body) for one in receiver.webhooks)
    assert first["status"] == "processing"
    assert second["code"] == "woocommerce_rest_shop_order_invalid_id"


def test_different_orders_of_one_second_share_a_delivery_id(shop, receiver):
    hook(shop, receiver.url)
    for number in (1, 2):
        shop.place({"id": number})
    assert len({one.headers["x-wc-webhook-delivery-id"] for one in receiver.webhooks}) == 1


def test_the_seventh_failure_in_a_row_disables(shop, receiver):
    hook(shop, receiver.url)
    number = shop.place({})
    shop.drop = lambda topic, body: True
    for failures in range(1, 7):
        shop.update(number)
        assert (shop.webhooks[1].failures, shop.webhooks[1].status) == (failures, "active")
    shop.update(number)
    assert shop.webhooks[1].status == "disabled"
    shop.update(number)
    assert len(shop.deliveries) == 8
    assert len(receiver.webhooks) == 1


def test_switching_on_again_keeps_the_counter_and_success_clears_it(shop, receiver):
    hook(shop, receiver.url)
    shop.webhooks[1].failures, shop.webhooks[1].status = 6, "disabled"
    api(shop).put("webhooks/1", {"status": "active"})
    receiver.status = 500
    number = shop.place({})
    assert shop.webhooks[1].status == "disabled"
    api(shop).put("webhooks/1", {"status": "active"})
    receiver.status = 302
    shop.update(number)
    assert shop.webhooks[1].failures == 0


def test_a_ping_not_answered_200_comes_again_after_each_delivery(shop, receiver):
    receiver.status = 204
    hook(shop, receiver.url)
    shop.place({})
    assert shop.pings == [(1, 204), (1, 204)]


def test_drafts_are_no_new_orders_but_updates(shop, receiver):
    for topic in ("order.created", "order.updated"):
        hook(shop, receiver.url, topic)
    number = shop.place({"status": "checkout-draft"})
    shop.update(number, status="pending")
    topics = [one.headers["x-wc-webhook-topic"] for one in receiver.webhooks]
    assert topics == ["order.updated", "order.created", "order.updated"]


def test_actions_and_customers_are_delivered(shop, receiver):
    for topic in ("action.wc_tiktok_initiate_checkout", "customer.created"):
        hook(shop, receiver.url, topic)
    shop.act("wc_tiktok_initiate_checkout", {"token": "t"})
    shop.register({"role": "subscriber"})
    action, customer = (json.loads(one.body) for one in receiver.webhooks)
    assert action == {"action": "wc_tiktok_initiate_checkout", "arg": {"token": "t"}}
    assert customer["role"] == "subscriber"


# --- lists


def ids(shop, **params):
    answer = api(shop).get("orders", params={"per_page": 100, "order": "asc", **params})
    assert answer.status_code == 200, answer.text
    return [order["id"] for order in answer.json()]


def test_the_date_traps(shop):
    """Measured in a shop at UTC-5: four ways to write the same moment, two of them wrong."""
    for number, minutes in ((1, -600), (2, -60), (3, 0), (4, 60)):
        put(shop, number, NOW + timedelta(minutes=minutes))
    utc = f"{NOW:%Y-%m-%dT%H:%M:%S}"
    assert ids(shop, modified_after=utc, dates_are_gmt="true") == [4]
    assert ids(shop, modified_after=f"{utc}Z") == [4]
    assert ids(shop, modified_after=utc) == []  # read as the shop's time
    assert ids(shop, modified_after=f"{utc}Z", dates_are_gmt="true") == [2, 3, 4]  # the offset on top
    assert ids(shop, after=utc, dates_are_gmt="true") == [4]
    assert ids(shop, before=utc, dates_are_gmt="true") == [1, 2]


def test_statuses_and_page_sizes(shop):
    for number, status in enumerate(("checkout-draft", "trash", "auto-draft", "pending"), start=1):
        put(shop, number, NOW, status=status)
    assert ids(shop) == [1, 4]
    assert ids(shop, status="trash,pending") == [2, 4]
    for wrong in ({"status": "shipped"}, {"per_page": 101}, {"orderby": "total"}, {"modified_after": "yesterday"}):
        assert code(api(shop).get("orders", params=wrong)) == (400, "rest_invalid_param")
    answer = api(shop).get("orders", params={"per_page": 1, "page": 2})
    assert (answer.headers["X-WP-Total"], answer.headers["X-WP-TotalPages"]) == ("2", "2")


def test_customers_have_no_filter_by_date(shop):
    for number in (1, 2):
        shop.register({"id": number, **shop.dates("created", NOW + timedelta(days=number))})
    found = api(shop).get(
        "customers", params={"after": "2030-01-01T00:00:00", "orderby": "registered_date", "order": "desc"}
    )
    assert [one["id"] for one in found.json()] == [2, 1]
