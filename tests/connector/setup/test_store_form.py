"""A stores file from a form: whatever is typed in, the text is TOML of exactly that, and faults name their fields."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.config.schema import keys_of
from connector.config.settings import load
from connector.core.registry import installed_platforms
from connector.setup.store_form import LEFT_OUT, fields, store_text
from tests.support.factories import OF_PLATFORM, a_section, a_stores_file
from tests.support.rows import each_row

GOOD = {
    "name": "acme",
    "platform": "shopify",
    "url": "https://acme.example",
    "shop": "acme.myshopify.com",
    "pixel": "CACME000000000000000",
    "consent": "not_required",
}
PATHS = [field.path for field in fields()]


def test_every_setting_of_a_store_has_a_field() -> None:
    """Those of its tables, too; but for secrets, several pixels, and names for kinds of orders."""
    wanted = {key for key, node in keys_of("Store").items() if "$ref" not in node} - LEFT_OUT
    for table in ("events", "orders", "mapping", "matching", "consent_source"):
        wanted |= {f"{table}.{key}" for key, node in keys_of("Store", table).items() if "$ref" not in node}
    assert {*PATHS} == wanted | {"name", "api", "signals", "funnel"}
    assert all(field.hint for field in fields())


@each_row("platform", sorted(OF_PLATFORM))
def test_a_store_of_every_platform(platform: str) -> None:
    """The text is valid with the variables it names, each of which is explained; no other is needed."""
    shop = OF_PLATFORM[platform]["domain"].format(name="acme")
    form = GOOD | {"platform": platform, "shop": shop, "test_event_code": "TEST1"}
    facts = installed_platforms().facts(platform)
    needed = [*facts.api_credentials[0]] if facts.thin else []
    if needed:
        assert store_text(form, {}).faults.keys() == {"api"}
    made = store_text(form | {"api": " and ".join(needed) or "none"}, {})
    assert made.faults == {}
    assert made.words
    store = load({"STORES_TOML": made.toml, **{one.name: "value-of-the-variable" for one in made.variables}}).stores
    assert store["acme"].pixels[0].access_token == "value-of-the-variable"
    assert store["acme"].pixels[0].test_event_code == "TEST1"
    names = [one.name for one in made.variables]
    secret = [] if facts.key_address else ["ACME_WEBHOOK_SECRET"]
    assert {*names} == {*secret, "ACME_TIKTOK_TOKEN", *(f"ACME_{key.upper()}" for key in needed)}
    assert all(one.holds for one in made.variables)


@pytest.mark.parametrize(
    ("platform", "api", "said"),
    [
        ("woocommerce", "consumer_key and consumer_secret", "`connector webhooks register` gives it to the shop"),
        ("woocommerce", "", "it goes into each webhook's own field Secret"),
        ("shopify", "", "the secret that the shop signs with: see the page Settings › Notifications › Webhooks"),
    ],
)
def test_where_the_secret_comes_from(platform: str, api: str, said: str) -> None:
    """A newcomer would look in the shop for one that is made here."""
    form = GOOD | {"platform": platform, "shop": OF_PLATFORM[platform]["domain"].format(name="acme"), "api": api}
    secret = next(one for one in store_text(form, {}).variables if one.name == "ACME_WEBHOOK_SECRET")
    assert said in secret.holds
    assert ("`connector webhooks secret` prints" in secret.holds) == (platform == "woocommerce")


def test_the_form_says_what_a_shop_is_called() -> None:
    """On each platform."""
    hint = next(field.hint for field in fields() if field.path == "shop")
    assert "shopify: `NAME.myshopify.com`" in hint
    assert "woocommerce: the shop's host" in hint


def test_all_kinds_of_fields() -> None:
    form = GOOD | {
        "api": "client_id and client_secret",
        "reconcile": "15m",
        "books": "true",
        "signals": "true",
        "orders.exclude_tags": "vip, staff ,",
        "events.order_paid": "Purchase, Subscribe",
        "mapping.value": "items",
        "go_live": "2026-01-31",
    }
    made = store_text(form, {})
    assert made.faults == {}
    table = tomllib.loads(made.toml)["stores"]["acme"]
    assert table["api"] == {"client_id": "${ACME_CLIENT_ID}", "client_secret": "${ACME_CLIENT_SECRET}"}
    assert (table["books"], table["signals"]) == (True, {})
    assert table["orders"]["exclude_tags"] == ["vip", "staff"]
    assert table["events"]["order_paid"] == ["Purchase", "Subscribe"]
    assert table["shop"] == "acme.myshopify.com"


def test_every_fault_is_at_its_field() -> None:
    made = store_text({"name": "My Shop", "platform": "shopify", "url": "acme.example", "pixel": "c"}, {})
    assert made.faults.keys() == {"name", "url", "pixel", "shop", "consent"}
    assert made.faults["shop"].startswith("missing: how the platform names this shop")
    assert made.faults["name"].startswith("a store's name is made of a-z")
    assert store_text({}, {}).faults.keys() >= {"name", "platform", "url", "shop", "pixel", "consent"}
    wrong_keys = store_text(GOOD | {"api": "consumer_key and consumer_secret"}, {})
    assert wrong_keys.faults == {"api": "platform shopify takes access_token, or client_id and client_secret"}


def test_no_file_of_the_server_is_read(tmp_path: Path) -> None:
    """Nor a variable: what stands there would be in the page. The other fields are checked all the same."""
    file = tmp_path / "private.txt"
    file.write_text("https://internal.example")
    path = f"${{file:{file}}}"
    typed = {"url": path, "country": path, "orders.exclude_tags": f"vip, {path}", "mapping.value": "${HOME}"}
    made = store_text(GOOD | typed | {"pixel": "c"}, {})
    assert made.faults.keys() == {*typed, "pixel"}
    assert all("write the value itself" in made.faults[name] for name in typed)
    assert "internal" not in repr(made)
    assert made.words == made.doubts == ()


def test_it_is_checked_beside_the_stores_that_run() -> None:
    """A name that is taken, and ids on one pixel that could be the same."""
    others = load({"STORES_TOML": a_stores_file(a_section())}).stores
    assert "choose another" in store_text(GOOD, others).faults["name"]
    twin = store_text(GOOD | {"name": "twin", "pixel": others["acme"].pixels[0].code}, others)
    assert "the same shop and pixel as stores.acme" in twin.faults["name"]
    elsewhere = GOOD | {"name": "twin", "shop": "twin.myshopify.com"}
    assert store_text(elsewhere, others).faults == {}


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.just("${file:/proc/self/environ}")


@given(st.dictionaries(st.sampled_from([*PATHS, "token", "unknown"]), texts))
def test_whatever_is_typed_in_is_toml_of_just_that(form: dict[str, str]) -> None:
    """No text breaks out of its value, and none raises; what has no fault loads as it stands."""
    made = store_text(form, {})
    try:
        stores = tomllib.loads(made.toml)["stores"]
    except tomllib.TOMLDecodeError:
        pytest.fail(made.toml)
    ((name, table),) = stores.items()
    assert name == form.get("name", "").strip()
    assert table.keys() <= {path.partition(".")[0] for path in PATHS} | LEFT_OUT
    for path in ("url", "pixel", "country"):
        typed = form.get(path, "").strip()
        assert table.get(path, "") == typed
    assert made.faults.keys() <= {"", *PATHS}
    assert made.faults.keys() >= {path for path in PATHS if "${" in form.get(path, "")}
    _no_secret(table)


def _no_secret(table: dict[str, Any]) -> None:
    assert table["access_token"].startswith("${")
    assert all(one.startswith("${") for one in table.get("webhook_secrets", []))
