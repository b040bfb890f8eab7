"""connector.config: where the stores come from, what they inherit, what `${NAME}` stands for."""

from datetime import timedelta

import pytest

from connector.config.settings import ConfigError, load
from tests.support.rows import each_row
from tests.support.stores_file import BASE, folder, loaded, only_problem, store

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
    """A store defined in two files of a folder is a problem naming both."""
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
    """`${NAME}` and `${file:PATH}` are replaced in texts and lists and stripped; `$` without a brace is literal."""
    (tmp_path / "secret").write_text(" from file\n")
    secrets = f'["${{SECRET}}", "${{file:{tmp_path}/secret}}", "x$SECRET"]'
    toml = store(webhook_secrets=secrets, country='"${COUNTRY}"')
    found = loaded(toml, SECRET=" padded \n", COUNTRY="de").stores["acme"]
    assert found.webhook_secrets == ("padded", "from file", "x$SECRET")
    assert found.country == "DE"


@each_row("text", ["https://${HOST}", "${HOST}/shop", "${A}${B}", "${no-name}", "${}", "${HOST", "x${file:a}"])
def test_a_reference_inside_a_text(text):
    """Nothing would replace it, so it is a problem wherever it is: in a text, in a list, in a table."""
    told = 'a reference must be the whole value, like "${NAME}" or "${file:PATH}"'
    assert only_problem(store(url=f'"{text}"'), HOST="acme.example") == f"stores.acme.url: {told}"
    line = only_problem(store(webhook_secrets=f'["${{SECRET}}", "{text}"]'))
    assert line == f"stores.acme.webhook_secrets[1]: {told}"
    line = only_problem(store(more=f'api = {{ access_token = "{text}" }}'))
    assert line == f"stores.acme.api.access_token: {told}"


def test_a_referenced_value_is_taken_as_it_is():
    """A secret may hold the two characters."""
    assert loaded(store(), SECRET="a${b}").stores["acme"].webhook_secrets == ("a${b}",)


@each_row(("environ", "why"), [({}, "not set"), ({"NAME": ""}, "empty"), ({"NAME": " \n"}, "empty")])
@each_row(
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
        alerts='["slack://A/B/C", "${ADDRESS}"]',
        more='[stores.acme.api]\nclient_id = "id"\nclient_secret = "${TOKEN}"',
    )
    assert load(folder(tmp_path, a=toml) | {"ADDRESS": "tgram://T/1"}).literal_secrets == (
        "stores.acme.api.client_id",
        "stores.acme.webhook_secrets[1]",
        "stores.acme.access_token",
        "stores.acme.alerts[0]",
    )
    assert loaded(toml, ADDRESS="tgram://T/1").literal_secrets == ()
