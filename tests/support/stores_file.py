"""A valid stores file, its variants, and what is said of a bad one."""

import pytest

from connector.config.settings import ConfigError, load
from connector.config.wording import one_of
from connector.core.registry import installed_platforms

CODE = "CABCDEFGHIJKLMNOPQR0"
OTHER_CODE = "CABCDEFGHIJKLMNOPQR1"
KEYS = {
    "platform": '"shopify"',
    "url": '"https://acme.example"',
    "shop": '"acme.myshopify.com"',
    "webhook_secrets": '["${SECRET}"]',
    "pixel": f'"{CODE}"',
    "access_token": '"${TOKEN}"',
    "consent": '"not_required"',
}
BASE = {"SECRET": "shh-webhook", "TOKEN": "shh-token"}


def store(name="acme", more="", **keys):
    """The TOML of a valid store with some keys replaced, or left out by None."""
    lines = [f"{key} = {value}" for key, value in {**KEYS, **keys}.items() if value is not None]
    return "\n".join([f"[stores.{name}]", *lines, more, ""])


def loaded(toml, **environ):
    return load({**BASE, "STORES_TOML": toml, **environ})


def problems(toml, **environ):
    with pytest.raises(ConfigError) as caught:
        loaded(toml, **environ)
    assert str(caught.value) == "\n".join(caught.value.problems)
    assert all(line and "\n" not in line for line in caught.value.problems)
    return caught.value.problems


def only_problem(toml, **environ):
    found = problems(toml, **environ)
    assert len(found) == 1, found
    return found[0]


def acme(more="", **keys):
    return loaded(store(more=more, **keys)).stores["acme"]


WOO = {"platform": '"woocommerce"', "shop": '"https://www.Beans.example:8080/shop"'}


def folder(tmp_path, **files):
    for name, text in files.items():
        (tmp_path / f"{name}.toml").write_text(text)
    return {**BASE, "CONNECTOR_CONFIG": str(tmp_path)}


# Values that are refused, and what is said of each; values that are taken, and what they become

BAD = [
    ("platform", '"magento"', f"{one_of(installed_platforms())}, not 'magento'"),
    ("url", '"acme.example"', "absolute https or http"),
    ("url", '"ftp://acme.example"', "absolute https or http"),
    ("url", '"https://"', "absolute https or http"),
    ("url", '"https://user:pass@acme.example"', "without a password"),
    ("url", '"https://acme.example:x"', "absolute"),
    ("url", '"https://[acme"', "absolute"),
    ("url", '"https://ac me.example"', "absolute"),
    ("shop", '"acme.example"', "must be the shop's name with Shopify, NAME.myshopify.com"),
    ("shop", '["acme.myshopify.com", "acme.example"]', "entry 2"),
    ("shop", '""', "must be a host name"),
    ("shop", "[]", "a text or a list of at least one"),
    ("webhook_secrets", "[]", "at least one"),
    ("webhook_secrets", '""', "must not be empty"),
    ("webhook_secrets", '["a", " "]', "entry 2 must not be empty"),
    ("webhook_secrets", r'"a\nb"', "control characters"),
    ("pixel", '"cabcdefghijklmnopqr0"', "10 to 40"),
    ("pixel", '"CABCDEFGH"', "10 to 40"),
    ("pixel", f'"{"C" * 41}"', "10 to 40"),
    ("access_token", '""', "must not be empty"),
    ("access_token", '"a b"', "ASCII without spaces"),
    ("access_token", '"tökén"', "ASCII without spaces"),
    ("consent", '"yes"', '"required_in_europe"'),
    ("country", '"UK"', "ISO"),
    ("country", '"DEU"', "ISO"),
    ("browser_pixel", '"mine"', '"official"'),
    ("go_live", '"soon"', "must be a date"),
    ("go_live", "08:00:00", "must be a date"),
    ("go_live", "1", "must be a date"),
    ("go_live", '"0001-01-01T00:00:00+14:00"', "must be a date"),
    ("alerts", '"hooks.example/x"', "must be an address"),
    ("alerts", '["slack://A/B/C", "http://hooks.example/x"]', "entry 2 must be an address"),
    ("alerts", '"slack://A/B/C tgram://T/1"', "must be an address"),
    ("max_event_age", '"29d"', "at most 28d"),
    ("max_event_age", '"0d"', "above 0"),
    ("max_event_age", '"7"', "duration"),
    ("max_event_age", '"-7d"', "duration"),
    ("max_event_age", '""', "duration"),
    ("max_event_age", '"9999999999999d"', "duration"),
    ("reconcile", '"often"', "duration"),
    ("limited_data_use", '"CA"', "must be a list"),
    ("limited_data_use", '["ZZ"]', "US state"),
    ("limited_data_use", '["L "]', "US state"),
    ("external_id", '"x"', "placeholder"),
    ("external_id", '"{email}"', "unknown placeholder"),
    ("events.order_paid", '["Purchase", ""]', "entry 2"),
    ("events.order_paid", f'"{"x" * 65}"', "1 to 64"),
    ("events.order_paid", '" Purchase"', "1 to 64"),
    ("events.order_paid", "true", "must be a text or a list"),
    ("orders.include", '["phone"]', '"marketplace"'),
    ("orders.exclude_tags", '"vip"', "must be a list"),
    ("orders.exclude_tags", '[""]', "must not be empty"),
    ("orders.exclude_zero", '"no"', "true or false"),
    ("mapping.value", '"net"', '"items"'),
    ("mapping.value_excludes", '["vat"]', '"gift_cards"'),
    ("mapping.currency", '"EUR"', '"presentment"'),
    ("mapping.content_id", '"id"', "{product_id}"),
    ("mapping.content_id", '"x-{id}"', "{product_id}"),
    ("mapping.content_id", '"x-{sku"', "{product_id}"),
    ("mapping.content_id", '"{sku}}"', "brace"),
    ("event_id.order", '"order"', "every order the same id"),
    ("event_id.order", '""', "every order the same id"),
    ("event_id.order", '"{orderid}"', "{order_id}"),
    ("event_id.order", '"{meta:}"', "unknown placeholder"),
    ("event_id.order", '"{}"', "unknown placeholder"),
    ("event_id.order", '"{order_id}}"', "brace"),
    ("event_id.checkout", '"x"', "placeholder"),
    ("event_id.customer", '"x"', "placeholder"),
    ("consent_source.key", "1", "text"),
    ("consent_source.granted", '"yes"', "must be a list"),
    ("signals.hold_checkout", '"241s"', "at most 240s"),
    ("signals.hold_order", '"5m"', "at most 240s"),
    ("api.access_token", "1", "text"),
]

SUPPORTED = [
    ("consent", '"required"', "required"),
    ("consent", '"required_in_europe"', "required_in_europe"),
    ("browser_pixel", '"own"', "own"),
    ("browser_pixel", '"snippet"', "snippet"),
    ("limited_data_use", '["ca", "TX", "CA"]', ("CA", "TX")),
    ("orders.placed_statuses", '["processing"]', ("processing",)),
    ("orders.placed_statuses", '[" Processing ", "wc-shipped"]', ("processing", "shipped")),
    ("orders.paid_statuses", '["WC-Completed"]', ("completed",)),
    ("orders.paid_when_placed", '["cod", "Cash on Delivery (COD)"]', ("cod", "Cash on Delivery (COD)")),
    ("orders.exclude_tags", '["vip"]', ("vip",)),
    ("orders.exclude_gateways", '["cod"]', ("cod",)),
    ("orders.exclude_email_domains", '["acme.example"]', ("acme.example",)),
    ("orders.exclude_zero", "true", True),
    ("orders.include", '["renewal", "pos"]', ("renewal", "pos")),
    ("mapping.value", '"items"', "items"),
    ("mapping.value_excludes", '["tax", "shipping", "tax"]', ("tax", "shipping")),
]
