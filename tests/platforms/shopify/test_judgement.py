"""What an address and an order are taken for, without asking the shop."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platforms.shopify.shop_api import why_not_url
from platforms.shopify.translate import withholds
from tests.support.rows import each_row
from tests.support.shopify_api import URL, is_a_sentence, json_values, order

# --- addresses ------------------------------------------------------------------------------------------------------


@each_row("url", [URL, "https://connector.example:8443/webhooks/acme", "https://8.8.8.8/x", "https://bücher.example/"])
def test_a_public_https_address_will_do(url):
    assert why_not_url(url) == ""


@each_row(
    ("url", "word"),
    [
        ("http://connector.example/webhooks/acme", "https"),
        ("ftp://connector.example/", "https"),
        ("connector.example/webhooks/acme", "https"),
        ("", "https"),
        ("https://", "outside"),
        ("https://localhost/webhooks/acme", "outside"),
        ("https://localhost./webhooks/acme", "outside"),
        ("https://box.local/", "outside"),
        ("https://connector/webhooks/acme", "outside"),
        ("https://127.0.0.1/", "outside"),
        ("https://127.1/", "outside"),
        ("https://2130706433/", "outside"),
        ("https://0x7f.0x1/", "outside"),
        ("https://10.1.2.3/", "outside"),
        ("https://192.168.0.10/", "outside"),
        ("https://169.254.169.254/", "outside"),
        ("https://224.0.0.1/", "outside"),
        ("https://[::1]/", "outside"),
        ("https://[fd00::1]/", "outside"),
        ("https://[::ffff:10.0.0.1]/", "outside"),
        ("https://connector..example/", "outside"),
        ("https://me:pass@connector.example/", "user name"),
        ("https://me@connector.example/", "user name"),
        ("https://acme.myshopify.com/webhooks", "its own hosts"),
        ("https://connector.example:port/", "not a URL"),
        ("https://[::1/", "not a URL"),
    ],
)
def test_any_other_address_is_refused_with_a_remedy(url, word):
    reason = why_not_url(url)
    assert word in reason
    assert is_a_sentence(reason)
    assert "pass" not in reason.replace("password", "")


@given(
    st.text()
    | st.from_regex(r"https?://[\w.:@\[\]%-]{0,30}/?", fullmatch=True)
    | st.ip_addresses().map(lambda ip: f"https://{ip}/")
)
def test_no_address_breaks_the_judgement(url):
    """Any text gets a reason or none; an address that is not public always gets one."""
    assert isinstance(why_not_url(url), str)


@given(st.ip_addresses().filter(lambda ip: ip.is_private))
def test_no_private_address_passes(ip):
    assert why_not_url(f"https://[{ip}]/" if ip.version == 6 else f"https://{ip}/")


# --- withheld persons -----------------------------------------------------------------------------------------------


def test_an_order_shows_its_shopper_or_is_withheld(fake):
    """The same order with and without access to protected customer data."""
    body = order()
    assert not withholds(body)
    fake.withholding = True
    assert withholds(fake.shown(body))


def test_null_fields_are_withheld_as_missing_ones_are():
    """Shopify's documentation says null, captures show the keys missing: both count, and so does an empty text."""
    place = dict.fromkeys(("first_name", "last_name", "name", "address1", "city", "zip", "phone")) | {
        "country": "Canada"
    }
    body = {"email": "", "phone": None, "customer": {"id": 5, "email": None, "default_address": place}}
    assert withholds(body)
    assert withholds({**body, "customer": None, "shipping_address": place})
    assert withholds({**body, "browser_ip": "203.0.113.5", "client_details": {"user_agent": "Mozilla/5.0"}})


@each_row(
    "known",
    [
        {"email": "jane@example.com"},
        {"phone": "+1 312-555-0101"},
        {"customer": {"id": 5, "first_name": "Jane"}},
        {"shipping_address": {"country": "Canada", "address1": "1 Larch Crescent"}},
        {"customer": {"id": 5, "default_address": {"zip": "K1N 5W3"}}},
    ],
)
def test_one_personal_field_is_enough(known):
    assert not withholds({"customer": {"id": 5}, **known})


@pytest.mark.parametrize("body", [{}, {"customer": None, "shipping_address": []}, {"customer": {}}])
def test_an_order_of_nobody_withholds_nothing(body):
    """A sale at a till knows no customer, whatever the app may see."""
    assert not withholds(body)


_FIELDS = ("customer", "email", "phone", "shipping_address", "billing_address")


@given(st.dictionaries(st.sampled_from(_FIELDS), json_values))
def test_any_body_is_judged(body):
    assert withholds(body) in (True, False)
