"""connector.config.settings: every key of the stores file and the environment, and what is said of a bad one."""

import re
import string
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.config.settings import Config, ConfigError, load, load_environment
from connector.config.stores_file import API_KEYS
from connector.core.store import ApiKeys, ConsentSource, EventIdTemplates, Pixel, Store

ROOT = Path(__file__).parents[3]
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
            skipping = any(name in bare for name in ("[defaults]", "signals]", "api]"))
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


# Where the stores come from


def test_text_wins_over_file(tmp_path):
    """STORES_TOML wins over CONNECTOR_CONFIG."""
    assert list(loaded(store("inline"), CONNECTOR_CONFIG=str(tmp_path / "none.toml")).stores) == ["inline"]


def test_default_file(tmp_path, monkeypatch):
    """Without settings stores.toml of the working directory is read."""
    (tmp_path / "stores.toml").write_text(store())
    monkeypatch.chdir(tmp_path)
    assert list(load(BASE).stores) == ["acme"]


def test_missing_file(tmp_path, monkeypatch):
    """A missing stores file is one problem that says what to do."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        load(BASE)
    (line,) = caught.value.problems
    assert line.startswith("stores.toml: no such file")
    for remedy in ("stores.example.toml", "STORES_TOML", "CONNECTOR_CONFIG"):
        assert remedy in line


@pytest.mark.parametrize("content", [b"\xff\xfe", b""])
def test_unusable_file(tmp_path, content):
    """A file that is not text, or holds no store, is a problem."""
    (tmp_path / "a.toml").write_bytes(content)
    with pytest.raises(ConfigError, match="cannot be read" if content else "no store is defined"):
        load({"CONNECTOR_CONFIG": str(tmp_path / "a.toml")})


def test_file_with_byte_order_mark(tmp_path):
    """A byte order mark, as Windows editors write it, is no fault."""
    (tmp_path / "a.toml").write_text(store(), encoding="utf-8-sig")
    assert list(load({**BASE, "CONNECTOR_CONFIG": str(tmp_path / "a.toml")}).stores) == ["acme"]


def folder(tmp_path, **files):
    for name, text in files.items():
        (tmp_path / f"{name}.toml").write_text(text)
    return {**BASE, "CONNECTOR_CONFIG": str(tmp_path)}


def test_folder_is_merged(tmp_path):
    """A folder's files make one configuration, [defaults] of one file included."""
    environ = folder(
        tmp_path,
        a='[connector]\nkeep_ledger = "1d"\n[defaults]\ncountry = "US"',
        b=store("one"),
        c=store("two", shop='"two.myshopify.com"'),
    )
    (tmp_path / "notes.txt").write_text("not toml")
    config = load(environ)
    assert list(config.stores) == ["one", "two"]
    assert config.stores["two"].country == "US"
    assert config.keep_ledger == timedelta(days=1)


@pytest.mark.parametrize(
    ("a", "path"), [(store(), "stores.acme"), ("[defaults]", "defaults"), ("[connector]", "connector")]
)
def test_folder_defines_twice(tmp_path, a, path):
    """What two files of a folder define is a problem naming both."""
    more = a if a != store() else ""
    with pytest.raises(ConfigError) as caught:
        load(folder(tmp_path, a=a, b=store() + more))
    (line,) = caught.value.problems
    assert line.startswith(f"{path}: defined in both ")
    assert "a.toml" in line
    assert "b.toml" in line


def test_empty_folder(tmp_path):
    """A folder without *.toml is a problem."""
    with pytest.raises(ConfigError, match=r"holds no \*\.toml"):
        load({"CONNECTOR_CONFIG": str(tmp_path)})


@pytest.mark.parametrize("last", ["access_token = shpat_secret", 'access_token = "shpat_secret', "[" * 5000])
def test_syntax_error(tmp_path, last):
    """A syntax error names file, line and column, never the text, and hides no other file's name."""
    environ = folder(tmp_path, good=store("good"), bad="[stores.acme]\n" + last)
    with pytest.raises(ConfigError) as caught:
        load(environ)
    (line,) = caught.value.problems
    assert "bad.toml: not valid TOML" in line
    if "= shpat" in last:
        assert line.endswith("at line 2, column 16")
    assert "shpat" not in line


def test_syntax_error_in_the_environment():
    """A syntax error in STORES_TOML counts lines as they were written."""
    assert only_problem("\n\nx = y") == "STORES_TOML: not valid TOML at line 3, column 5"


def test_unreadable_file_in_a_folder(tmp_path):
    """A folder's file that cannot be read is the one problem, named."""
    environ = folder(tmp_path, a="x = 1")
    (tmp_path / "b.toml").write_bytes(b"\xff")
    with pytest.raises(ConfigError) as caught:
        load(environ)
    assert caught.value.problems == [f"{tmp_path}/b.toml: cannot be read: not UTF-8 text"]


def test_giant_number():
    """A number too long for Python is a syntax error like others."""
    assert "not valid TOML" in only_problem("x = " + "9" * 5000)


# Inheritance, references


def test_defaults_are_inherited():
    """Tables merge deeply, lists and values replace, and the store wins."""
    config = loaded(
        store("one", more='[stores.one.events]\norder_paid = "Paid"')
        + store("two", shop='"two.myshopify.com"', more='[stores.two.orders]\ninclude = ["pos"]')
        + '[defaults]\ncountry = "US"\n[defaults.events]\norder_paid = "X"\norder_placed = ""\n'
        '[defaults.orders]\ninclude = ["web", "pos"]'
    )
    one, two = config.stores["one"], config.stores["two"]
    assert one.country == "US"
    assert one.events["order_paid"] == ("Paid",)
    assert one.events["order_placed"] == ()
    assert one.orders.include == ("web", "pos")
    assert two.orders.include == ("pos",)


def test_bad_default_is_told_once():
    """A fault in [defaults] is one problem at its own place, however many stores inherit it."""
    toml = store("one") + store("two", shop='"two.myshopify.com"')
    assert only_problem(toml + '[defaults]\ncountry = "XX"').startswith("defaults.country: ")
    assert only_problem(toml + '[defaults]\ncountri = "US"').startswith("defaults.countri: unknown key")


def test_references(tmp_path):
    """`${NAME}` and `${file:PATH}` are replaced in texts and lists and stripped; anything else is literal."""
    (tmp_path / "secret").write_text(" from file\n")
    secrets = f'["${{SECRET}}", "${{file:{tmp_path}/secret}}", "x${{SECRET}}"]'
    toml = store(webhook_secrets=secrets, country='"${COUNTRY}"')
    found = loaded(toml, SECRET=" padded \n", COUNTRY="de").stores["acme"]
    assert found.webhook_secrets == ("padded", "from file", "x${SECRET}")
    assert found.country == "DE"


@pytest.mark.parametrize(("environ", "why"), [({}, "not set"), ({"NAME": ""}, "empty"), ({"NAME": " \n"}, "empty")])
@pytest.mark.parametrize(
    ("key", "value", "path"),
    [
        ("access_token", '"${NAME}"', "access_token"),
        ("webhook_secrets", '["a", "${NAME}"]', "webhook_secrets[1]"),
        ("test_event_code", '"${NAME}"', "test_event_code"),
    ],
)
def test_missing_variable(environ, why, key, value, path):
    """A missing or empty variable is a problem naming the key and the variable."""
    line = only_problem(store(**{key: value}), **environ)
    assert line == f"stores.acme.{path}: the environment variable NAME is {why}"


def test_unreadable_secret_file(tmp_path):
    """A secret's file that is missing, empty or not text is a problem."""
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff")
    for name, why in [("none", "No such file"), ("empty", "is empty"), ("binary", "not UTF-8"), ("", "directory")]:
        line = only_problem(store(access_token=f'"${{file:{tmp_path}/{name}}}"'))
        assert line.startswith("stores.acme.access_token: ")
        assert why in line
    assert "cannot be read" in only_problem(store(access_token=r'"${file:/\u0000}"'))


def test_literal_secrets(tmp_path):
    """Secrets written into a file are listed by path; those of the environment's text are not in a file."""
    toml = store(
        access_token='"literal-token"',
        webhook_secrets='["${SECRET}", "literal-secret"]',
        more='[stores.acme.api]\nclient_id = "id"\nclient_secret = "${TOKEN}"',
    )
    assert load(folder(tmp_path, a=toml)).literal_secrets == (
        "stores.acme.api.client_id",
        "stores.acme.webhook_secrets[1]",
        "stores.acme.access_token",
    )
    assert loaded(toml).literal_secrets == ()


# Good values


@pytest.mark.parametrize(
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
        ("max_event_age", '"28d"', "max_event_age", timedelta(days=28)),
        ("max_event_age", '"47h"', "max_event_age", timedelta(hours=47)),
        ("max_event_age", '"15m"', "max_event_age", timedelta(minutes=15)),
        ("max_event_age", '"20s"', "max_event_age", timedelta(seconds=20)),
        ("reconcile", '""', "reconcile", None),
        ("limited_data_use", "[]", "limited_data_use", ()),
        ("external_id", '"{meta:crm_id}"', "external_id", "{meta:crm_id}"),
        ("external_id", '""', "external_id", ""),
        ("test_event_code", '"TEST123"', "tests", True),
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


# Bad values


@pytest.mark.parametrize("key", KEYS)
def test_required(key):
    """Each required key's absence is one problem at its path."""
    assert only_problem(store(**{key: None})).startswith(f"stores.acme.{key}: missing: ")


def test_consent_is_a_choice():
    """A missing consent says why there is no default, and the three values."""
    line = only_problem(store(consent=None))
    assert "legal choice" in line
    for value in ("required", "required_in_europe", "not_required"):
        assert f'"{value}"' in line


BAD = [
    ("platform", '"magento"', 'must be one of "shopify", "woocommerce", not \'magento\''),
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


@pytest.mark.parametrize(("key", "value", "told"), BAD)
def test_bad_value(key, value, told):
    """A bad value is one problem at the key's path, telling what is allowed."""
    table, _, last = key.rpartition(".")
    toml = store(more=f"{table} = {{ {last} = {value} }}") if table else store(**{key: value})
    line = only_problem(toml)
    assert line.startswith(f"stores.acme.{key}: ")
    assert told in line


@pytest.mark.parametrize("value", ["5", "true", "1.5", "inf", "nan", '"x"', "[]", "[[1]]", "[{}]", "{}", "2025-01-31"])
@pytest.mark.parametrize(
    "table", ["events", "orders", "mapping", "event_id", "consent_source", "signals", "api", "pixels", "connector"]
)
def test_wrong_type_for_a_table(table, value):
    """What should be a table and is not is a problem at its path, never a traceback."""
    if table == "connector":
        toml = f"connector = {value}\n" + store()
    else:
        toml = store(more=f"{table} = {value}", **({"pixel": None, "access_token": None} if table == "pixels" else {}))
    if value == "{}" and table != "pixels":
        assert loaded(toml)
    else:
        assert any(table in line for line in problems(toml))


@pytest.mark.parametrize("value", ["5", '"x"', "[]", "{}", "{ acme = 1 }", "{ acme = [] }"])
def test_wrong_type_for_stores(value):
    """`stores` without any store, or with something else in its place, is a problem."""
    assert only_problem(f"stores = {value}").startswith("stores")


@pytest.mark.parametrize("name", ["Acme", "shopify", "a.b", "a b", "ä", "", "a_b"])
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
        f"stores.acme.api.zzz: unknown key; known here: {', '.join(API_KEYS)}",
        "stores.acme.events.order_pay: unknown key; did you mean order_paid?",
        "connector.keep_ledgers: unknown key; did you mean keep_ledger?",
    ]


def test_either_one_pixel_or_several():
    """Single keys and [[pixels]] together are a problem, and so are neither and the same code twice."""
    row = f'{{ pixel = "{CODE}", access_token = "a" }}'
    line = only_problem(store(more=f"pixels = [{row}]"))
    assert line.startswith("stores.acme.pixels: either pixel, access_token or [[pixels]], not both")
    found = problems(store(pixel=None, access_token=None))
    assert [line.split(":")[0] for line in found] == ["stores.acme.pixel", "stores.acme.access_token"]
    assert "[[pixels]]" in found[0]
    assert "twice" in only_problem(store(pixel=None, access_token=None, more=f"pixels = [{row}, {row}]"))
    line = only_problem(store(pixel=None, access_token=None, more=f'pixels = [{row}, {{ pixel = "{OTHER_CODE}" }}]'))
    assert line.startswith("stores.acme.pixels[1].access_token: missing")


@pytest.mark.parametrize(
    ("keys", "api", "good"),
    [
        ({}, '{ access_token = "a" }', True),
        ({}, '{ client_id = "a", client_secret = "b" }', True),
        ({}, '{ client_id = "a" }', False),
        ({}, '{ access_token = "a", client_id = "a", client_secret = "b" }', False),
        ({}, '{ consumer_key = "a", consumer_secret = "b" }', False),
        (WOO, '{ consumer_key = "a", consumer_secret = "b" }', True),
        (WOO, '{ consumer_key = "a" }', False),
        (WOO, '{ access_token = "a" }', False),
    ],
)
def test_api_keys_fit_the_platform(keys, api, good):
    """[api] takes a complete set of the platform's own keys."""
    toml = store(more=f"api = {api}", **keys)
    if good:
        assert loaded(toml).stores["acme"].api
    else:
        assert only_problem(toml).startswith("stores.acme.api: platform ")


def test_reconcile_needs_api():
    """Reconciling without keys to the shop's API is a problem."""
    assert only_problem(store(reconcile='"15m"')) == "stores.acme.reconcile: needs the shop's keys in [stores.acme.api]"


def test_reconcile_does_not_ask_a_shop_all_the_time():
    """A minute is the least."""
    api = "api = { access_token = '${TOKEN}' }"
    assert "at least" in only_problem(store(more=api, reconcile='"59s"'))
    assert loaded(store(more=api, reconcile='"1m"')).stores["acme"].reconcile == timedelta(minutes=1)


# Signals


@pytest.mark.parametrize(
    ("signals", "holds"), [("{}", (20, 5)), ('{ hold_order = "240s", hold_checkout = "0s" }', (0, 240))]
)
def test_signals(signals, holds):
    """The table's presence is what switches signals on; both waits have a default."""
    found = loaded(store(more=f"signals = {signals}")).stores["acme"].signals
    assert (found.hold_checkout.total_seconds(), found.hold_order.total_seconds()) == holds
    assert loaded(store()).stores["acme"].signals is None
    assert loaded(store() + "[defaults.signals]\n").stores["acme"].signals


@pytest.mark.parametrize(("more", "place"), [("signals = {}", "stores.acme"), ("[defaults.signals]", "defaults")])
def test_signals_are_refused_where_no_browser_sends_any(more, place):
    """WooCommerce's orders carry what its browsers know; waiting there would be for nothing."""
    line = only_problem(store(platform='"woocommerce"', shop='"acme.example"', more=more))
    assert line.startswith(f"{place}.signals: of no use with woocommerce")


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


@pytest.mark.parametrize(("key", "value", "expected"), SUPPORTED)
@pytest.mark.parametrize("keys", [{}, WOO], ids=["shopify", "woocommerce"])
def test_supported(key, value, expected, keys):
    """Each choice of the mapping is taken, for either platform, and inherited from [defaults]."""
    table, _, last = key.rpartition(".")
    line = f"{table} = {{ {last} = {value} }}" if table else f"{last} = {value}"
    for toml in (store(**{**keys, last: None}, more=line), store(**{**keys, last: None}) + "[defaults]\n" + line):
        assert attrgetter(key)(loaded(toml).stores["acme"]) == expected


# TikTok's own app on the same pixel

OFF = 'order_paid = "", checkout_started = ""'


def official(events=""):
    return store(browser_pixel='"official"', more=f"events = {{ {events} }}")


def test_official_refuses_what_the_app_sends_too():
    """Payments and checkouts would count twice: refused at start, with what to do."""
    assert problems(official()) == [
        f"stores.acme.events.{milestone}: TikTok's own app sends this too, with random event_ids, so it would count "
        f'twice; switch the app\'s data sharing off and set browser_pixel = "none", or set {milestone} = ""'
        for milestone in ("order_paid", "checkout_started")
    ]
    assert only_problem(official('order_paid = ""')).startswith("stores.acme.events.checkout_started: ")
    assert only_problem(official('checkout_started = ""')).startswith("stores.acme.events.order_paid: ")
    assert only_problem(official('order_paid = "MySale", checkout_started = ""')).startswith(
        "stores.acme.events.order_paid: "
    )


@pytest.mark.parametrize("name", ["Purchase", "CompletePayment", "InitiateCheckout"])
@pytest.mark.parametrize("milestone", ["order_placed", "customer_registered"])
@pytest.mark.parametrize("form", ['"{}"', '["Subscribe", "{}"]'])
def test_official_refuses_the_app_s_names_for_any_milestone(name, milestone, form):
    """Under such a name a placed order is as good as a paid one."""
    line = only_problem(official(f"{OFF}, {milestone} = {form.format(name)}"))
    assert line.startswith(f"stores.acme.events.{milestone}: TikTok's own app sends this too")


def test_official_is_taken_with_these_off():
    """What the app does not send is ours to send; without the app nothing is refused."""
    assert loaded(official(OFF)).stores["acme"].browser_pixel == "official"
    assert loaded(official(f'{OFF}, order_placed = ["PlaceAnOrder", "Subscribe"]'))
    for other in ("none", "snippet", "own"):
        assert loaded(store(browser_pixel=f'"{other}"'))


# Stores beside each other


TWO = {"shop": '"two.myshopify.com"'}


def test_same_shop_and_pixel():
    """Two stores of one shop and pixel are a problem; of one shop or one pixel alone they are not."""
    assert only_problem(store("one") + store("two")).startswith("stores.two: the same shop and pixel as stores.one")
    both = '["two.myshopify.com", "acme.myshopify.com"]'
    assert "the same shop and pixel" in only_problem(store("one") + store("two", shop=both))
    assert loaded(store("one") + store("two", pixel=f'"{OTHER_CODE}"'))
    assert loaded(store("one") + store("two", **TWO))


@pytest.mark.parametrize("kind", ["order", "checkout", "customer"])
def test_equal_templates_on_one_pixel(kind):
    """Two stores on one pixel whose ids could be equal are a problem; on two pixels they are not."""
    more = f'event_id = {{ {kind} = "x-{{order_id}}" }}'
    line = only_problem(store("one", more=more) + store("two", more=more, **TWO))
    assert line.startswith(f"stores.two.event_id.{kind}: may make the same id as stores.one's on the same pixel")
    assert loaded(store("one", more=more) + store("two", more=more, pixel=f'"{OTHER_CODE}"', **TWO))


@pytest.mark.parametrize(
    ("one", "two", "clash"),
    [
        ("{order_id}", "{order_number}", True),
        ("a-{order_id}", "a-b-{order_id}", True),
        ("a-{order_id}", "b-{order_id}", False),
        ("acme-order-{order_id}", "acme-eu-order-{order_id}", False),
        ("{order_id}-a", "{order_id}-b", False),
        ("{order_id}-a", "x{order_id}", True),
    ],
)
def test_templates_that_may_meet_on_one_pixel(one, two, clash):
    """Only fixed text at their beginnings or ends keeps the ids of two stores apart."""
    toml = store("one", more=f'event_id = {{ order = "{one}" }}') + store(
        "two", more=f'event_id = {{ order = "{two}" }}', **TWO
    )
    if clash:
        assert "may make the same id" in only_problem(toml)
    else:
        assert loaded(toml)


def test_faulty_stores_do_not_clash():
    """Stores without usable pixel and shop are not accused of sharing them."""
    toml = store("one", pixel='"x"', shop="1") + store("two", pixel='"x"', shop="1")
    assert not any("same" in line for line in problems(toml))


# Environment


def test_environment_defaults():
    """Without settings the documented defaults apply, and no stores file is needed."""
    found = load_environment({"PORT": "", "LOG_LEVEL": " "})
    assert found.database_url == "sqlite:///connector.db"
    assert found.events_api_url == "https://business-api.tiktok.com/open_api/v1.3"
    assert (found.port, found.trusted_proxies, found.public_url) == (8000, 0, "")
    assert 1 <= found.web_concurrency <= 4
    assert (found.admin_password, found.alert_url, found.log_level) == ("", "", "INFO")


@pytest.mark.parametrize(("terminal", "expected"), [(True, "text"), (False, "json")])
def test_log_format_default(monkeypatch, terminal, expected):
    """Logs are text on a terminal, else JSON."""
    import io
    import sys

    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: terminal, raising=False)
    monkeypatch.setattr(sys, "stderr", stream)
    assert load_environment({}).log_format == expected


@pytest.mark.parametrize(
    ("name", "value", "attribute", "expected"),
    [
        ("DATABASE_URL", "postgres://u:p@h/d", "database_url", "postgresql+psycopg://u:p@h/d"),
        (
            "DATABASE_URL",
            "postgresql://u:p@h/d?sslmode=require",
            "database_url",
            "postgresql+psycopg://u:p@h/d?sslmode=require",
        ),
        ("DATABASE_URL", "postgresql+psycopg://u:p@h/d", "database_url", "postgresql+psycopg://u:p@h/d"),
        ("DATABASE_URL", "sqlite:////data/c.db", "database_url", "sqlite:////data/c.db"),
        ("EVENTS_API_URL", "http://127.0.0.1:9090/x/", "events_api_url", "http://127.0.0.1:9090/x"),
        ("PORT", " 65535 ", "port", 65535),
        ("WEB_CONCURRENCY", "1", "web_concurrency", 1),
        ("TRUSTED_PROXIES", "2", "trusted_proxies", 2),
        ("PUBLIC_URL", "https://c.example/", "public_url", "https://c.example"),
        ("ADMIN_PASSWORD", "pass word", "admin_password", "pass word"),
        ("ALERT_URL", "https://hooks.example/T0/x?y=1", "alert_url", "https://hooks.example/T0/x?y=1"),
        ("ALERT_URL", "https://hooks.example/x/", "alert_url", "https://hooks.example/x/"),
        ("ALERT_URL", "http://localhost:9/x", "alert_url", "http://localhost:9/x"),
        ("ALERT_URL", "http://127.0.0.1:9/x", "alert_url", "http://127.0.0.1:9/x"),
        ("ALERT_URL", "http://[::1]:9/x", "alert_url", "http://[::1]:9/x"),
        ("LOG_FORMAT", "text", "log_format", "text"),
        ("LOG_FORMAT", "json", "log_format", "json"),
        ("LOG_LEVEL", "debug", "log_level", "DEBUG"),
    ],
)
def test_good_setting(name, value, attribute, expected):
    """Each variable arrives normalised, with and without a stores file."""
    assert getattr(load_environment({name: value}), attribute) == expected
    assert getattr(loaded(store(), **{name: value}), attribute) == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "mysql://u:hidden@h/d"),
        ("DATABASE_URL", "postgres://u:hidden@h:port/d"),
        ("DATABASE_URL", "hidden"),
        ("DATABASE_URL", "postgresql+asyncpg://hidden@h/d"),
        ("EVENTS_API_URL", "ftp://hidden"),
        ("EVENTS_API_URL", "tiktok"),
        ("PORT", "0"),
        ("PORT", "65536"),
        ("PORT", "-1"),
        ("PORT", "80.5"),
        ("PORT", "²"),
        ("WEB_CONCURRENCY", "0"),
        ("WEB_CONCURRENCY", "many"),
        ("TRUSTED_PROXIES", "-1"),
        ("TRUSTED_PROXIES", "yes"),
        ("PUBLIC_URL", "c.example"),
        ("ADMIN_PASSWORD", "hid\udcffden"),
        ("ALERT_URL", "http://hidden.example"),
        ("ALERT_URL", "http://127.0.0.1.hidden.example"),
        ("ALERT_URL", "http://localhost@hidden.example"),
        ("ALERT_URL", "ftp://localhost/hidden"),
        ("ALERT_URL", "hidden"),
        ("LOG_FORMAT", "xml"),
        ("LOG_LEVEL", "LOUD"),
        ("LOG_LEVEL", "NOTSET"),
    ],
)
def test_bad_setting(name, value):
    """A bad variable is one problem that names it and does not print it."""
    with pytest.raises(ConfigError) as caught:
        load_environment({name: value})
    (line,) = caught.value.problems
    assert line.startswith(f"{name}: must be ")
    assert "hidden" not in line
    assert only_problem(store(), **{name: value}) == line


@pytest.mark.parametrize("host", ["DYNO", "K_SERVICE", "RENDER", "RAILWAY_ENVIRONMENT"])
def test_vanishing_disk(host):
    """SQLite where the disk vanishes is refused with the remedy, unless the owner says it is a volume."""
    for url in ("", "sqlite:///x.db"):
        line = only_problem(store(), DATABASE_URL=url, **{host: "x"})
        assert line.startswith("DATABASE_URL: ")
        assert "ALLOW_SQLITE=1" in line
        assert "PostgreSQL" in line
        assert "ALLOW_SQLITE" in only_problem(store(), DATABASE_URL=url, ALLOW_SQLITE="0", **{host: "x"})
        assert loaded(store(), DATABASE_URL=url, ALLOW_SQLITE="1", **{host: "x"})
    assert loaded(store(), DATABASE_URL="postgres://h/d", **{host: "x"})
    assert "mounted" not in only_problem(store(), DATABASE_URL="mysql://h/d", **{host: "x"})


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:///file::memory:?uri=true",
        "sqlite:///file:x?mode=memory&cache=shared&uri=true",
    ],
)
def test_database_in_memory(url):
    """SQLite in memory is refused with the reason: each of the processes would have its own."""
    line = only_problem(store(), DATABASE_URL=url)
    assert line.startswith("DATABASE_URL: must be sqlite:///FILE or postgresql://")
    assert "in memory" in line
    assert "several processes share the database" in line


def test_database_file_as_host():
    """SQLite with two slashes, which names a host, is told the spelling with three."""
    assert "memory" not in only_problem(store(), DATABASE_URL="sqlite://connector.db")


# Secrets


SECRET = "s3cr3t-VALUE"
SECRET_PLACES = [
    *[("webhook_secrets", form) for form in ('"{}"', '["{}"]', '["{}", 1]', "{{ {} = 1 }}", r'"{}\n"')],
    *[("access_token", form) for form in ('"{}"', '"{} x"', '["{}"]', r'"{}\u0007"', '"${{file:/none}}{}"')],
    *[("pixel", form) for form in ('"{}"', '["{}"]')],
    *[("api", form) for form in ('"{}"', '{{ consumer_key = "{}" }}', '{{ access_token = "{} x" }}', '["{}"]')],
    *[("api", form) for form in ('{{ client_secret = "{}" }}', '{{ access_tokn = "{}" }}')],
    *[("pixels", form) for form in ('"{}"', '["{}"]', '[{{ pixel = "{}" }}]', '[{{ access_token = ["{}"] }}]')],
    ("access_tokn", '"{}"'),
    ("url", '"https://u:{}@acme.example"'),
    ("access_token", '"{}'),
]


@pytest.mark.parametrize(("key", "form"), SECRET_PLACES)
def test_problems_hold_no_secret(key, form):
    """No problem prints what may be a secret, written or read from the environment."""
    toml = store(**{key: form.format(SECRET)})
    try:
        assert SECRET not in repr(loaded(toml))
    except ConfigError as error:
        assert SECRET not in str(error)  # noqa: PT017
    for path in KEYS:
        try:
            assert SECRET not in repr(loaded(store(**{path: '"${NAME}"'}), NAME=SECRET))
        except ConfigError as error:
            assert SECRET not in str(error)  # noqa: PT017


def test_repr_holds_no_secret():
    """The repr of a configuration shows no secret."""
    config = loaded(
        store(
            webhook_secrets=f'"{SECRET}1"',
            access_token=f'"{SECRET}2"',
            more=f'api = {{ client_id = "id", client_secret = "{SECRET}3" }}',
        )
        + store("beans", **{**WOO, "more": f'api = {{ consumer_key = "{SECRET}4", consumer_secret = "{SECRET}5" }}'}),
        DATABASE_URL=f"postgres://u:{SECRET}@h/d",
        ADMIN_PASSWORD=SECRET,
        ALERT_URL=f"https://hooks.example/{SECRET}",
    )
    assert SECRET not in repr(config)
    assert SECRET in str(vars(config)["database_url"])


# Any value at any key


PATHS = [
    *KEYS,
    *("test_event_code", "country", "browser_pixel", "go_live", "max_event_age", "limited_data_use", "reconcile"),
    *(
        "external_id",
        "pixels",
        "events",
        "orders",
        "mapping",
        "event_id",
        "consent_source",
        "signals",
        "api",
        "unknown",
    ),
    *sorted({key for key, _, _ in BAD if "." in key}),
    "api.client_id",
    "api.consumer_key",
    *sorted({key for key, _, _ in SUPPORTED if "." in key}),
]
TEXTS = st.one_of(
    st.text(max_size=12).filter(lambda text: not text.startswith("${file")),
    st.text(string.ascii_letters + string.digits + "{}$:/.[]@%-_ ", max_size=30).filter(lambda t: "${file" not in t),
    st.sampled_from(["", "7d", "{order_id}", "${SECRET}", "${NONE}", "web", "https://a.example", "a.myshopify.com"]),
)
VALUES = st.recursive(
    st.one_of(
        TEXTS,
        st.booleans(),
        st.integers(),
        st.floats(),
        st.dates(),
        st.times(),
        st.datetimes(),
        st.datetimes(timezones=st.just(UTC)),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


def written(value):
    """`value` as TOML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(char):08x}" for char in value) + '"'
    if isinstance(value, list):
        return f"[{', '.join(map(written, value))}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{written(key)} = {written(row)}' for key, row in value.items())} }}"
    return value.isoformat() if hasattr(value, "isoformat") else repr(value)


@settings(deadline=None)
@given(st.sampled_from(PATHS), VALUES, st.sampled_from(["store", "defaults"]))
def test_any_value_at_any_key(path, value, place):
    """Whatever stands at a key, the outcome is a Config or a ConfigError of single lines."""
    table, _, last = path.rpartition(".")
    line = f"{table} = {{ {last} = {written(value)} }}" if table else f"{last} = {written(value)}"
    keys = {key: text for key, text in KEYS.items() if key != path}
    body = "\n".join(f"{key} = {text}" for key, text in keys.items())
    toml = f"[stores.acme]\n{body}\n" + ("" if place == "store" else "[defaults]\n") + line
    try:
        assert isinstance(loaded(toml), Config)
    except ConfigError as error:
        assert error.problems  # noqa: PT017
        assert all(problem.isprintable() for problem in error.problems)  # noqa: PT017


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["stores", "connector", "defaults", "x", "acme"]), VALUES, max_size=3))
def test_any_document(document):
    """Whatever the document is, the outcome is a Config or a ConfigError."""
    toml = "\n".join(f"{key} = {written(value)}" for key, value in document.items())
    with pytest.raises(ConfigError):
        load({**BASE, "STORES_TOML": toml, "CONNECTOR_CONFIG": "/nonexistent.toml"})


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(
            [
                *("DATABASE_URL", "EVENTS_API_URL", "PORT", "WEB_CONCURRENCY", "TRUSTED_PROXIES", "PUBLIC_URL"),
                *("ADMIN_PASSWORD", "ALERT_URL", "LOG_FORMAT", "LOG_LEVEL"),
            ]
        ),
        st.text(max_size=20) | st.sampled_from(["postgres://", "sqlite://", "https://[", "https://a:99999"]),
    )
)
def test_any_environment(environ):
    """Whatever the environment holds, the outcome is settings or a ConfigError."""
    try:
        load_environment(environ)
    except ConfigError as error:
        assert all(": must be " in problem for problem in error.problems)  # noqa: PT017
