"""connector.devtools.check: what it finds on a real database file, and in which order a person reads it."""

import shutil
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from connector.config.settings import load
from connector.core.event import PERSONAL_DATA_WITHHELD
from connector.core.webhook import Webhook
from connector.devtools.check import check
from connector.monitoring.alerts import AlertStore
from connector.outbox.encryption import encrypt
from connector.outbox.lanes import Lane
from connector.outbox.ledger import ParkedWebhook, park_decision
from connector.outbox.outbox import Outbox
from connector.storage.database import Database
from connector.storage.engine import connect
from tests.support.outbox_rows import NOW, decision, mapped
from tests.support.platforms import PLATFORMS

TOML = """
[stores.acme]
platform = "shopify"
url = "https://acme.example"
shop = "acme.myshopify.com"
webhook_secrets = ["${SECRET}"]
pixel = "CABCDEFGHIJKLMNOPQR0"
access_token = "${TOKEN}"
consent = "not_required"
country = "US"
events = { order_placed = "" }
"""
SECRETS = {"SECRET": "shh-webhook", "TOKEN": "shh-token"}


def config(url, toml=TOML, **environ):
    return load({**SECRETS, "STORES_TOML": toml, "DATABASE_URL": url, **environ})


def found(*args, **kwargs):
    return [(finding.mark, finding.text) for finding in check(config(*args, **kwargs), live=False)]


def texts(*args, mark="", **kwargs):
    return [text for of, text in found(*args, **kwargs) if mark in ("", of)]


@pytest.fixture
def url(migrated_sqlite, tmp_path):
    """A database file with this release's tables."""
    shutil.copy(migrated_sqlite, tmp_path / "connector.db")
    return f"sqlite:///{tmp_path / 'connector.db'}"


@pytest.fixture
def outbox(url):
    engine = connect(url)
    yield Outbox(Database(engine))
    engine.dispose()


def test_it_begins_with_the_warning_everybody_needs(url):
    mark, first = found(url)[0]
    assert mark == "warning"
    assert first.startswith("switch off TikTok's own Shopify app on every pixel below, or orders count")


def test_it_names_the_apps_of_the_platforms_in_use(url):
    """Each once, however many stores use it."""
    second = TOML.replace("stores.acme", "stores.beans").replace("shopify", "woocommerce")
    toml = TOML + second + second.replace("stores.beans", "stores.tea").replace("R0", "R1")
    assert found(url, toml)[0][1].startswith("switch off TikTok's own Shopify or WooCommerce app on every pixel below,")
    assert found(url, second)[0][1].startswith("switch off TikTok's own WooCommerce app on every pixel below,")


def test_a_good_configuration_has_no_fault_and_says_what_it_does(url):
    findings = found(url, PUBLIC_URL="https://relay.example")
    assert "fault" not in [mark for mark, _ in findings]
    assert ("ok", "the database answers and its schema is current") in findings
    address = "https://relay.example/webhooks/acme"
    assert ("ok", f"store acme (shopify, acme.myshopify.com): webhooks to {address}") in findings
    sentence = "An order is sent as Purchase when it is fully paid, with value = its total, in the shopper's currency."
    assert ("note", f"  {sentence}") in findings


def test_a_shop_whose_last_orders_do_not_say_who_bought(url, outbox):
    """Only if none of the last five does, and with what to do."""
    for number in range(6):
        note = "" if number == 5 else PERSONAL_DATA_WITHHELD
        items = [mapped(number)]
        outbox.record(decision(f"{number}", *items, reason=note))
        said = [line for line in texts(url, mark="warning") if "protected customer data" in line]
        assert len(said) == (number == 4)


def test_what_webhooks_miss_is_lost_or_fetched(url):
    """In the words of the shop's platform, with the remedy."""
    keys = TOML.replace("[stores.acme]", "[stores.acme]\napi = { access_token = '${TOKEN}' }")
    assert any('give keys in [stores.acme.api] and reconcile = "15m"' in line for line in texts(url))
    assert any(line.endswith('are lost; set reconcile = "15m".') for line in texts(url, keys))
    every = keys.replace("[stores.acme]", '[stores.acme]\nreconcile = "15m"')
    assert any("are fetched every 15 minutes (reconcile)" in line for line in texts(url, every))


def test_books_are_said_and_a_platform_that_cannot_keep_them_is_warned_of(url, monkeypatch):
    """Only where the setting is on."""
    books = TOML.replace("[stores.acme]", "[stores.acme]\nbooks = true")
    assert not any("books" in line for line in texts(url))
    assert any(line.endswith("is kept: `connector books` (books).") for line in texts(url, books, mark="note"))
    monkeypatch.delattr(type(PLATFORMS["shopify"]), "order_state")
    assert any("is not known, so there are none" in line for line in texts(url, books, mark="warning"))


@pytest.mark.parametrize(
    ("platform", "address", "why"),
    [
        ("shopify", "http://relay.example", "Shopify delivers to https only"),
        ("woocommerce", "http://relay.example", "orders with personal data would cross the internet in plain http"),
        ("shopify", "https://192.168.1.9", "Shopify cannot reach its host from outside"),
        ("woocommerce", "https://relay.example:8443", "WordPress only calls ports 80, 443 and 8080"),
    ],
)
def test_an_address_that_shops_cannot_deliver_to_is_warned_of(url, platform, address, why):
    """Each platform has its own rules; nothing is asked."""
    toml = TOML.replace('"shopify"', f'"{platform}"')
    (told,) = [line for line in texts(url, toml, mark="warning", PUBLIC_URL=address) if "cannot go" in line]
    assert told.startswith(f"store acme ({platform}, acme.myshopify.com): webhooks cannot go to {address}: {why}")
    assert not any("store acme" in line for line in texts(url, toml, mark="ok", PUBLIC_URL=address))
    for good in ("https://relay.example", ""):
        assert not any("cannot go" in line for line in texts(url, toml, PUBLIC_URL=good))


@pytest.mark.parametrize(
    ("platform", "shop", "noted"),
    [
        ("woocommerce", "beans.example", True),
        ("woocommerce", "www.acme.example", False),
        ("shopify", "", False),
        ("bigcommerce", "abc123", False),
    ],
)
def test_a_shop_elsewhere_than_its_url_is_noted(url, platform, shop, noted):
    """Only where a shop is named by its own domain."""
    toml = TOML.replace('"shopify"', f'"{platform}"').replace("acme.myshopify.com", shop or "acme.myshopify.com")
    if platform == "bigcommerce":
        toml = toml.replace('"bigcommerce"', '"bigcommerce"\napi = { access_token = "token" }')
    told = [line for line in texts(url, toml, mark="note") if "but url is at" in line]
    assert [line.startswith("  shop is beans.example, but url is at acme.example") for line in told] == [True] * noted


@pytest.mark.parametrize(("secrets", "warned"), [("x" * 15, 1), ("x" * 16, 0)])
def test_a_short_webhook_secret_is_warned_of(url, secrets, warned):
    """Of one is enough, and the secret itself is not said."""
    toml = TOML.replace('["${SECRET}"]', '["${LONG}", "${SECRET}"]')
    said = texts(url, toml, mark="warning", LONG="y" * 32, SECRET=secrets)
    told = [line for line in said if "webhook_secrets" in line]
    assert len(told) == warned
    assert all("fewer than 16 characters" in line and "`connector webhooks secret`" in line for line in told)
    assert not any("x" * 15 in line or "y" * 32 in line for line in said)


def test_doubts_are_warnings(url):
    toml = TOML.replace('order_placed = ""', 'order_paid = "purchase"')
    told = texts(url, toml, mark="warning")
    assert any(line.strip().startswith("events.order_paid: purchase is not Purchase") for line in told)
    assert any("2027" in line for line in texts(url, toml))


def test_without_a_database_file_nothing_is_wrong_yet(tmp_path):
    file = tmp_path / "none.db"
    findings = found(f"sqlite:///{file}")
    assert "fault" not in [mark for mark, _ in findings]
    assert any(text.startswith("there is no database file yet") for _, text in findings)
    assert not file.exists()


def test_an_old_schema_names_the_command(url, outbox):
    with outbox.database.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0000'"))
    findings = found(url)
    assert "fault" not in [mark for mark, _ in findings]  # a release phase checks before it migrates
    assert any("connector migrate" in text for mark, text in findings if mark == "note")
    assert not any("schema is current" in text for _, text in findings)


def test_a_file_that_is_no_database_is_a_fault(tmp_path):
    (tmp_path / "x.db").write_bytes(b"not a database, but long enough to be looked at" * 40)
    assert any(text.startswith("the database") for text in texts(f"sqlite:///{tmp_path / 'x.db'}", mark="fault"))


def test_no_finding_holds_a_secret(url):
    told = "\n".join(texts(url, TOML.replace("${SECRET}", "literal-secret")))
    assert not any(secret in told for secret in ("shh-webhook", "shh-token", "literal-secret"))


def test_a_secret_in_the_file_is_warned_of(url, tmp_path):
    (tmp_path / "stores.toml").write_text(TOML.replace("${SECRET}", "literal-secret"))
    environ = {**SECRETS, "CONNECTOR_CONFIG": str(tmp_path / "stores.toml"), "DATABASE_URL": url}
    told = [(finding.mark, finding.text) for finding in check(load(environ), live=False)]
    path = "stores.acme.webhook_secrets[0]"
    assert ("warning", f"{path} is written into the file; use ${{NAME}} and set it in the environment") in told


def park(outbox, store, body=b"[]"):
    at = datetime.fromtimestamp(NOW, UTC)
    webhook = Webhook(topic="orders/paid", body=body, received_at=at)
    outbox.record(
        park_decision(
            ParkedWebhook(store.name, webhook.topic, body.ljust(32), "a reason", NOW, encrypt(webhook, store)), ""
        )
    )


def test_parked_webhooks_and_those_no_secret_opens(url, outbox):
    store = config(url).stores["acme"]
    park(outbox, store, b"1")
    assert [line for line in texts(url, mark="warning") if "parked" in line] == [
        "1 webhook is parked: `connector events replay --parked` tries again"
    ]
    assert not any("cannot be opened" in line for line in texts(url))
    park(outbox, replace(store, webhook_secrets=("an-older-secret",)), b"2")
    park(outbox, replace(store, name="closed"), b"3")
    told = texts(url, mark="warning")
    assert "3 webhooks are parked: `connector events replay --parked` tries again" in told
    assert "2 of them cannot be decrypted: no current webhook_secret of their store fits" in told


def test_a_denied_lane_is_warned_of(url, outbox):
    lane = Lane("acme", "CABCDEFGHIJKLMNOPQR0")
    outbox.add_lanes([lane])
    with outbox.database.engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE lanes SET denied_since = :at, denied_until = :at, denials = 1, reason = '40105 no permission'"
            ),
            {"at": datetime(2026, 11, 23, 15, 4, tzinfo=UTC).timestamp()},
        )
    (told,) = [line for line in texts(url, mark="warning") if "denied since" in line]
    assert told.startswith("store acme, pixel CABCDEFGHIJKLMNOPQR0: denied since 2026-11-23 15:04 UTC (40105 no perm")


def test_open_problems_are_warned_of(url, outbox):
    """What the watcher or others have found; but what check itself has just found is not said twice."""
    alerts = AlertStore(outbox.database, lambda: NOW)
    alerts.report("silent:acme", "store acme: no webhook for a day; see whether the shop is up")
    alerts.report("parked:acme", "parked")
    alerts.report("webhooks:acme", "over")
    alerts.resolve("webhooks:acme")
    told = [line for line in texts(url, mark="warning") if "first seen" in line]
    assert told == ["store acme: no webhook for a day; see whether the shop is up (first seen 2026-05-28 20:26 UTC)"]


def test_addresses_of_alerts_that_are_not_understood(url):
    """By the place where they are set."""
    addresses = "https://hooks.example/x slak://HIDDEN/x json://127.0.0.1/x"
    told = [line for line in texts(url, mark="warning", ALERT_URL=addresses) if "understood" in line]
    assert told == ["ALERT_URL 2 (slak) is not understood; see `connector alerts test`"]


def test_it_says_how_many_were_skipped_without_consent(url, outbox):
    for number in range(3):
        reason = f"order_placed: {'no consent: no answer was given (consent)' if number else 'pos orders …'}"
        outbox.record(decision(str(number), outcome="skipped", reason=reason, object_key=f"order:{number}"))
        if number:
            subjects = "1 order, checkout or registration was", "2 orders, checkouts or registrations were"
            assert f"store acme: {subjects[number - 1]} skipped without consent" in texts(url)


def test_it_reminds_of_the_proxy_where_browsers_send(url):
    """Behind a proxy that is not named, signals have no ip; where none are expected nobody needs to know."""
    expecting = TOML + "signals = {}\n"
    reminder = [said for said in texts(url, expecting, mark="note") if said.startswith("TRUSTED_PROXIES is 0")]
    assert len(reminder) == 1
    assert not any("TRUSTED_PROXIES" in said for said in texts(url, expecting, TRUSTED_PROXIES="1"))
    assert not any("TRUSTED_PROXIES" in said for said in texts(url))


def test_a_funnel_wants_a_sub_domain_of_the_shop(url):
    """Elsewhere this server cannot set a cookie of the shop's."""

    def noted(**environment):
        told = texts(url, TOML + "funnel = {}\n", mark="note", **environment)
        return [said for said in told if said.startswith("PUBLIC_URL is not on the site of acme")]

    assert noted()
    assert noted(PUBLIC_URL="https://connector.example")
    assert not noted(PUBLIC_URL="https://t.acme.example")


@pytest.mark.parametrize(
    ("password", "said"),
    [("", "/metrics is open to everybody"), ("secret", "ADMIN_PASSWORD is short"), ("x" * 16, "")],
)
def test_who_may_look_is_said(url, password, said):
    """The password itself is not."""
    warnings = texts(url, mark="warning", ADMIN_PASSWORD=password)
    about = [text for text in warnings if "ADMIN_PASSWORD" in text]
    assert [text.startswith(said) for text in about] == ([True] if said else [])
    assert password == "" or not any(password in text.split() for text in warnings)


# --- several pixels -------------------------------------------------------------------------------------------


def twin(pixel, token, countries=""):
    """The same shop as another store."""
    return TOML.replace("acme]", "twin]").replace("CABCDEFGHIJKLMNOPQR0", pixel).replace("${TOKEN}", token) + countries


def test_two_stores_of_one_shop_whose_pixels_both_count_an_order(url):
    """Certain if they share a token; else only the merchant knows."""
    both = "CABCDEFGHIJKLMNOPQR0 and CABCDEFGHIJKLMNOPQR1 both count order_paid, checkout_started, customer_registered"
    (line,) = [
        text for text in texts(url, TOML + twin("CABCDEFGHIJKLMNOPQR1", "${TOKEN}"), mark="warning") if both in text
    ]
    assert line.startswith("stores acme and twin: pixels: ")
    (line,) = [text for text in texts(url, TOML + twin("CABCDEFGHIJKLMNOPQR1", "other"), mark="note") if both in text]
    assert line.endswith("right for two advertisers, twice for one (pixels).")
    another = twin("CABCDEFGHIJKLMNOPQR1", "${TOKEN}").replace("acme.myshopify", "twin.myshopify")
    assert not [text for text in texts(url, TOML + another) if both in text]
