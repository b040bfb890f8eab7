"""connector.config.settings: every key of the stores file, and what is said of a bad one."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from pathlib import Path

import pytest

from connector.config.rules import API_KEYS
from connector.config.settings import load
from connector.config.wording import one_of
from connector.core.registry import installed_platforms
from connector.core.store import ApiKeys, ConsentSource, EventIdTemplates, Pixel, Store
from tests.support.rows import each_row
from tests.support.stores_file import (
    BAD,
    CODE,
    KEYS,
    OTHER_CODE,
    SUPPORTED,
    WOO,
    acme,
    loaded,
    only_problem,
    problems,
    store,
)

ROOT = Path(__file__).parents[3]


# The whole


def test_defaults():
    """A store with only the required keys has the defaults of `Store` and its name in its event ids."""
    expected = Store(
        name="acme",
        platform="shopify",
        url="https://acme.example",
        shops=("acme.myshopify.com",),
        webhook_secrets=("shh-webhook",),
        pixels=(Pixel(CODE, "shh-token"),),
        consent="not_required",
        event_id=EventIdTemplates(
            "acme-order-{order_id}", "acme-checkout-{checkout_token}", "acme-customer-{customer_id}"
        ),
    )
    assert acme() == replace(expected, mapping=replace(expected.mapping, content_id="variant_id"))


def test_example_loads():
    """The example file loads once its variables are set."""
    text = (ROOT / "stores.example.toml").read_text()
    environ = {name: f"value-of-{name}" for name in re.findall(r"\$\{(\w+)\}", text)}
    config = load({**environ, "CONNECTOR_CONFIG": str(ROOT / "stores.example.toml")})
    assert list(config.stores) == ["acme", "beans"]
    assert len(config.stores["beans"].pixels) == 2
    assert config.literal_secrets == ()


def uncommented(text):
    """The example with every default written out, but for the tables that are not defaults."""
    skipping = False
    for line in text.splitlines():
        bare = line.removeprefix("# ")
        if bare.startswith("["):
            skipping = any(name in bare for name in ("[defaults]", "funnel]", "signals]", "api]", "events.renewal]"))
        if re.match(r"\[|[a-z_]+ = ", bare) and not skipping:
            yield bare


def test_example_shows_the_defaults():
    """Every default the example shows commented out is a key that exists and has that value."""
    text = (ROOT / "stores.example.toml").read_text()
    shown = "\n".join(uncommented(text))
    environ = {name: f"value-of-{name}" for name in re.findall(r"\$\{(\w+)\}", text)}
    assert load({**environ, "STORES_TOML": shown}) == load({**environ, "STORES_TOML": text})
    for key in (*dict.fromkeys(key.rpartition(".")[2] for key, _, _ in SUPPORTED), "keep_parked", "go_live", "granted"):
        assert f"\n{key} = " in shown


def test_all_problems_at_once():
    """Every problem of environment and stores is reported in one go."""
    found = problems(store(consent=None, pixel='"x"', url='"acme"'), PORT="x", LOG_LEVEL="loud")
    assert [line.split(":")[0] for line in found] == [
        "PORT",
        "LOG_LEVEL",
        "stores.acme.url",
        "stores.acme.pixel",
        "stores.acme.consent",
    ]


# Good values


@each_row(
    ("key", "value", "attribute", "expected"),
    [
        ("url", '"http://localhost:8080/shop/"', "url", "http://localhost:8080/shop"),
        ("shop", '"HTTPS://www.Acme.myshopify.com:443/admin"', "shops", ("acme.myshopify.com",)),
        ("shop", '["a.myshopify.com", "b.myshopify.com"]', "shops", ("a.myshopify.com", "b.myshopify.com")),
        ("webhook_secrets", '"one"', "webhook_secrets", ("one",)),
        ("country", '"gb"', "country", "GB"),
        ("go_live", '"2025-01-31"', "go_live", datetime(2025, 1, 31, tzinfo=UTC)),
        ("go_live", "2025-01-31", "go_live", datetime(2025, 1, 31, tzinfo=UTC)),
        ("go_live", "2025-01-31T08:00:00", "go_live", datetime(2025, 1, 31, 8, tzinfo=UTC)),
        ("go_live", '"2025-01-31T08:00:00+02:00"', "go_live", datetime(2025, 1, 31, 6, tzinfo=UTC)),
        ("go_live", "2025-01-31T08:00:00Z", "go_live", datetime(2025, 1, 31, 8, tzinfo=UTC)),
        ("go_live", '""', "go_live", None),
        ("alerts", '["https://hooks.example/x", "slack://A/B"]', "alerts", ("https://hooks.example/x", "slack://A/B")),
        ("max_event_age", '"28d"', "max_event_age", timedelta(days=28)),
        ("max_event_age", '"47h"', "max_event_age", timedelta(hours=47)),
        ("max_event_age", '"15m"', "max_event_age", timedelta(minutes=15)),
        ("max_event_age", '"20s"', "max_event_age", timedelta(seconds=20)),
        ("reconcile", '""', "reconcile", None),
        ("limited_data_use", "[]", "limited_data_use", ()),
        ("external_id", '"{meta:crm_id}"', "external_id", "{meta:crm_id}"),
        ("external_id", '""', "external_id", ""),
        ("test_event_code", '"TEST123"', "only_tests", True),
    ],
)
def test_good_value(key, value, attribute, expected):
    """Each key's value arrives in the store, normalised."""
    assert getattr(acme(**{key: value}), attribute) == expected


def test_woocommerce():
    """WooCommerce shops are compared by host, and their items are known by SKU."""
    found = acme(**WOO)
    assert found.shops == ("beans.example",)
    assert found.mapping.content_id == "sku"


def test_tables():
    """Each table of a store is read."""
    found = acme(
        reconcile='"15m"',
        more="""
        events = { order_placed = "", order_paid = ["Purchase", "CompletePayment"], checkout_started = [] }
        orders = { include = ["web", "renewal"] }
        mapping = { currency = "shop", content_id = "shopify_{product_id}_{variant_id}" }
        event_id = { order = "{attribute:key-1}{order_name}", checkout = "c{cart_token}", customer = "{meta:a b}" }
        consent_source = { key = "marketing", granted = ["on"] }
        api = { access_token = "${TOKEN}" }
        """,
    )
    assert found.events == {
        "order_placed": (),
        "order_paid": ("Purchase", "CompletePayment"),
        "checkout_started": (),
        "customer_registered": ("CompleteRegistration",),
    }
    assert found.orders.include == ("web", "renewal")
    assert (found.mapping.currency, found.mapping.content_id) == ("shop", "shopify_{product_id}_{variant_id}")
    assert found.event_id == EventIdTemplates("{attribute:key-1}{order_name}", "c{cart_token}", "{meta:a b}")
    assert found.consent_source == ConsentSource("marketing", ("on",))
    assert found.api == ApiKeys(access_token="shh-token")
    assert found.reconcile == timedelta(minutes=15)


def test_empty_api():
    """An empty [api] is as good as none."""
    assert acme(more="api = {}").api is None


def test_several_pixels():
    """[[pixels]] takes the place of the single keys, test code and all."""
    one, two = f'pixel = "{CODE}", access_token = "${{TOKEN}}"', f'pixel = "{OTHER_CODE}", access_token = "b"'
    rows = f'pixels = [{{ {one} }}, {{ {two}, test_event_code = "T" }}]'
    found = acme(pixel=None, access_token=None, more=rows)
    assert found.pixels == (Pixel(CODE, "shh-token"), Pixel(OTHER_CODE, "b", "T"))


def test_connector_table():
    """[connector] says how long rows are kept."""
    config = loaded(store() + '[connector]\nkeep_payloads = "1d"\nkeep_ledger = "2d"\nkeep_parked = "3h"')
    kept = (config.keep_payloads, config.keep_ledger, config.keep_parked)
    assert kept == (timedelta(days=1), timedelta(days=2), timedelta(hours=3))
    config = loaded(store())
    kept = (config.keep_payloads, config.keep_ledger, config.keep_parked)
    assert kept == (timedelta(days=7), timedelta(days=90), timedelta(days=14))


@pytest.mark.parametrize(("key", "value", "expected"), SUPPORTED)
@pytest.mark.parametrize("keys", [{}, WOO], ids=["shopify", "woocommerce"])
def test_supported(key, value, expected, keys):
    """Each choice of the mapping is taken, for either platform, and inherited from [defaults]."""
    table, _, last = key.rpartition(".")
    line = f"{table} = {{ {last} = {value} }}" if table else f"{last} = {value}"
    for toml in (store(**{**keys, last: None}, more=line), store(**{**keys, last: None}) + "[defaults]\n" + line):
        assert attrgetter(key)(loaded(toml).stores["acme"]) == expected


# Bad values


@each_row("key", KEYS)
def test_required(key):
    """Each required key's absence is one problem at its path."""
    assert only_problem(store(**{key: None})).startswith(f"stores.acme.{key}: missing: ")


def test_consent_is_a_choice():
    """A missing consent says why there is no default, and the three values."""
    line = only_problem(store(consent=None))
    assert "legal choice" in line
    for value in ("required", "required_in_europe", "not_required"):
        assert f'"{value}"' in line


@each_row(("key", "value", "told"), BAD)
def test_bad_value(key, value, told):
    """A bad value is one problem at the key's path, telling what is allowed."""
    table, _, last = key.rpartition(".")
    toml = store(more=f"{table} = {{ {last} = {value} }}") if table else store(**{key: value})
    line = only_problem(toml)
    assert line.startswith(f"stores.acme.{key}: ")
    assert told in line


@each_row("value", ["5", "true", "1.5", "inf", "nan", '"x"', "[]", "[[1]]", "[{}]", "{}", "2025-01-31"])
@each_row(
    "table", ["events", "orders", "mapping", "event_id", "consent_source", "signals", "api", "pixels", "connector"]
)
def test_wrong_type_for_a_table(table, value):
    """Another value in place of a table is a problem at its path, never a traceback."""
    if table == "connector":
        toml = f"connector = {value}\n" + store()
    else:
        toml = store(more=f"{table} = {value}", **({"pixel": None, "access_token": None} if table == "pixels" else {}))
    if value == "{}" and table != "pixels":
        assert loaded(toml)
    else:
        assert any(table in line for line in problems(toml))


@each_row("value", ["5", '"x"', "[]", "{}", "{ acme = 1 }", "{ acme = [] }"])
def test_wrong_type_for_stores(value):
    """`stores` without any store, or with something else in its place, is a problem."""
    assert only_problem(f"stores = {value}").startswith("stores")


@each_row("name", ["Acme", "shopify", "a.b", "a b", "ä", "", "a_b"])
def test_store_name(name):
    """A name with other characters, or the reserved one, is a problem."""
    line = only_problem(store(f'"{name}"'))
    assert "a-z, 0-9" in line


def test_unknown_keys():
    """An unknown key is a problem wherever it is, with the likely one suggested."""
    toml = 'webhok = "x"\n[conector]\n[connector]\nkeep_ledgers = "1d"\n' + store(
        more='concent = "x"\nevents = { order_pay = "x" }\napi = { zzz = "x" }\n"new\\nline" = 1'
    )
    assert problems(toml) == [
        "webhok: unknown table; known here: connector, defaults, stores",
        "conector: unknown table; did you mean connector?",
        "stores.acme.concent: unknown key; did you mean consent?",
        next(line for line in problems(toml) if line.startswith('stores.acme."new\\nline": unknown key')),
        f"stores.acme.api.zzz: unknown key; known here: {', '.join((*API_KEYS, 'url'))}",
        "stores.acme.events.order_pay: unknown key; did you mean order_paid?",
        "connector.keep_ledgers: unknown key; did you mean keep_ledger?",
    ]


@each_row(
    ("key", "told"),
    [
        ("order_payed", "did you mean order_paid or order_placed?"),
        ("order_paied", "did you mean order_paid?"),
        ("order_place", "did you mean order_placed?"),
        ("Order_Paid", "did you mean order_paid?"),
        (
            "refunded",
            (
                "known here: api, app, b2b, checkout_started, customer_registered, draft, exchange, marketplace, "
                "order_paid, order_placed, pos, renewal, staff, web"
            ),
        ),
    ],
)
def test_keys_about_as_likely_are_all_suggested(key, told):
    """One is not preferred by chance."""
    line = only_problem(store(more=f'events = {{ {key} = "x" }}'))
    assert line == f"stores.acme.events.{key}: unknown key; {told}"


@each_row(
    ("platform", "told"),
    [
        ("WooCommerce", "; did you mean woocommerce?"),
        ("shopfy", ", not 'shopfy'; did you mean shopify?"),
        ("Magento", ""),
        ("${NAME}", ""),
    ],
)
def test_a_platform_written_otherwise_is_suggested(platform, told):
    """Also one in capitals; what a variable holds is not hinted at."""
    line = only_problem(store(platform=f'"{platform}"'), NAME="WooCommerce")
    assert line == f"stores.acme.platform: {one_of(installed_platforms())}{told}"
