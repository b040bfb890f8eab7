"""BigCommerce's webhooks: signature, token, and what they name."""

import base64
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from msgspec import structs

from connector.core.webhook import InvalidPayload, InvalidSignature, Request, Webhook
from connector.intake.examine import parse, read_notice
from platforms.bigcommerce import platform
from platforms.bigcommerce.receive import TOKEN_HEADER, hook_token
from tests.support.bigcommerce_bodies import a_notice, a_request
from tests.support.factories import SECRET, a_store
from tests.support.rows import each_row

AT = datetime(2026, 11, 23, 15, 4, 5, tzinfo=UTC)
STORE = a_store("bigcommerce")


def test_the_vector_of_the_standard_webhooks_library_verifies():
    """Made by the library that BigCommerce's documents name, with its client secret encoded as they show."""
    body = b'{"scope":"store/order/created","data":{"type":"order","id":250}}'
    headers = {
        "webhook-id": "msg_0001",
        "webhook-timestamp": "1795412160",
        "webhook-signature": "v1,yqx79As8uSZIP1wQacvXh1Etr8F0jewbWFRJKBNcmH0=",
    }
    store = replace(STORE, webhook_secrets=("bigcommerce-client-secret-example",))
    request = Request(headers, body, datetime.fromtimestamp(1795412170, UTC))
    webhook = platform.receive(request, store)
    assert (webhook.topic, webhook.delivery) == ("store/order/created", "msg_0001")
    with pytest.raises(InvalidSignature):
        platform.receive(structs.replace(request, body=body + b" "), store)
    with pytest.raises(InvalidSignature):
        platform.receive(request, STORE)


def test_a_client_secret_is_a_text_whatever_it_looks_like():
    """Not base64, as the Standard Webhooks' own secrets are."""
    secret = f"whsec_{base64.b64encode(b'0' * 32).decode()}"
    request = a_request(a_notice(), AT, secret)
    assert platform.receive(request, replace(STORE, webhook_secrets=(secret,)))


def test_either_the_signature_or_the_token_is_enough_and_neither_may_be_wrong():
    """Not every account signs; the token is made of the client secret, and differs from it."""
    signed = a_request(a_notice(), AT)
    token = {TOKEN_HEADER.lower(): hook_token(SECRET)}
    assert SECRET not in hook_token(SECRET)
    for headers in (signed.headers, token, {**signed.headers, **token}):
        webhook = platform.receive(structs.replace(signed, headers=headers), STORE)
        assert (webhook.topic, webhook.shop) == ("store/order/created", "acme")
    wrong = {TOKEN_HEADER.lower(): hook_token("another secret")}
    for headers in (
        {},
        wrong,
        {**signed.headers, **wrong},
        {**signed.headers, **token, "webhook-signature": "v1,AAAA"},
        {**token, "webhook-signature": ""},
        {TOKEN_HEADER.lower(): SECRET},
        {TOKEN_HEADER.lower(): "€é"},
    ):
        with pytest.raises(InvalidSignature):
            platform.receive(structs.replace(signed, headers=headers), STORE)


def test_a_retry_of_two_days_later_counts_and_one_of_four_days_does_not():
    """BigCommerce repeats for 48 hours; an old notice only makes us fetch the order again."""
    request = a_request(a_notice(), AT)
    assert platform.receive(structs.replace(request, received_at=AT + timedelta(hours=48)), STORE)
    with pytest.raises(InvalidSignature):
        platform.receive(structs.replace(request, received_at=AT + timedelta(days=4)), STORE)


@each_row(
    ("scope", "key"),
    [
        ("store/order/created", "order:250"),
        ("store/order/statusUpdated", "order:250"),
        ("store/order/updated", "order:250"),
        ("store/customer/created", "customer:250"),
        ("store/cart/updated", "checkout:250"),
    ],
)
def test_a_scope_names_an_order_a_customer_or_a_cart(scope, key):
    number = "250" if "cart" in scope else 250  # carts have UUIDs
    webhook = platform.receive(a_request(a_notice(scope, number), AT), STORE)
    notice = read_notice(webhook, platform, STORE)
    assert notice.object_key == key
    assert webhook.topic in platform.notice_topics


@each_row("body", [b"{}", b"[]", b'{"data":{"type":"order"}}', b'{"data":{"type":"cart","id":1}}', b"1"])
def test_a_body_that_names_nothing_is_said(body):
    webhook = Webhook("store/order/created", body, AT)
    with pytest.raises(InvalidPayload, match=r"expected data\.type order and data\.id"):
        platform.notice(structs.replace(webhook, data=parse(body)), STORE)


def test_a_cart_concerns_only_a_store_that_sends_started_checkouts():
    """So its webhook, made when it still did, costs no request."""
    webhook = Webhook("store/cart/updated", b"", AT, data={"data": {"type": "cart", "id": "a8458391-ef68"}})
    assert platform.notice(webhook, STORE).object_key == "checkout:a8458391-ef68"
    assert platform.notice(webhook, replace(STORE, events={**STORE.events, "checkout_started": ()})) is None


@each_row("ident", ["../orders/1", "", 7, None, "a" * 65, "a b", "a?b"])
def test_the_id_of_a_cart_goes_into_an_address_and_is_nothing_else(ident):
    webhook = Webhook("store/cart/updated", b"", AT, data={"data": {"type": "cart", "id": ident}})
    with pytest.raises(InvalidPayload, match=r"expected data\.type cart and data\.id"):
        platform.notice(webhook, STORE)


@each_row("scope", ["order", "customer", "cart", "", None, 7])
def test_no_webhook_passes_for_what_the_api_answers(scope):
    """A signed body is not believed, the order is fetched."""
    webhook = platform.receive(
        a_request(a_notice(number=1).replace(b'"store/order/created"', repr(scope).encode()), AT), STORE
    )
    assert webhook.topic == ""
