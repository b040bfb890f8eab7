"""The JSON Schema of the stores file and the tables of docs/configuration.md: made of the model, and up to date."""

import json
import re
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest
from click.testing import CliRunner

from connector.cli.main import main
from connector.config import reference
from connector.config.environment import Environment
from connector.config.schema import keys_of, stores_file_schema
from tests.support.rows import each_row
from tests.support.stores_file import KEYS

ROOT = Path(__file__).parents[3]
SCHEMA = ROOT / "docs" / "stores.schema.json"
PAGE = ROOT / "docs" / "configuration.md"
REMEDY = "run pytest tests/connector/config/test_reference.py --regenerate"


def printed(*options):
    result = CliRunner().invoke(main, ["schema", *options])
    assert result.exit_code == 0
    return result.output


def test_the_schema_is_that_of_the_model(pytestconfig):
    if pytestconfig.getoption("regenerate"):
        SCHEMA.write_text(printed())
    assert SCHEMA.read_text() == printed(), REMEDY


def test_the_reference_is_that_of_the_model(pytestconfig):
    if pytestconfig.getoption("regenerate"):
        PAGE.write_text(reference.page(PAGE.read_text()))
    assert PAGE.read_text() == reference.page(PAGE.read_text()), REMEDY
    assert printed("--markdown").strip() in PAGE.read_text()


def test_a_page_without_markers_is_refused():
    with pytest.raises(ValueError, match="missing"):
        reference.page("# Configuration")


def test_the_example_names_the_schema():
    first = (ROOT / "stores.example.toml").read_text().splitlines()[0]
    assert (ROOT / first.removeprefix("#:schema ")) == SCHEMA


def known_keys():
    """The dotted keys of a store's table and of the tables in it."""
    for key, node in keys_of("Store").items():
        yield key
        if "$ref" in node:
            yield from (f"{key}.{inner}" for inner in keys_of("Store", key))


def test_the_schema_and_the_page_know_every_key_of_the_example():
    """Every key that the example shows, commented out or not, is in the schema and in the tables."""
    text = (ROOT / "stores.example.toml").read_text()
    shown = "\n".join(
        line.removeprefix("# ")
        for line in text.splitlines()
        if re.match(r"(# )?(\[\[?stores|[a-z_]+ = )", line) and "keep_" not in line and 'country = "DE"' not in line
    )
    known = set(known_keys())
    assert set(KEYS) <= known
    for name, store in tomllib.loads(shown)["stores"].items():
        for key, value in store.items():
            for path in [f"{key}.{inner}" for inner in value] if isinstance(value, dict) else [key]:
                assert path in known, name
                assert f"`{path.rpartition('.')[2]}`" in PAGE.read_text() or f".{path}]]`" in PAGE.read_text()


def test_the_example_shows_every_key_of_a_store():
    """The quickstarts say so; what only some platforms take may stand in the second store."""
    shown, table = set(), ""
    for line in (ROOT / "stores.example.toml").read_text().splitlines():
        if found := re.match(r"(?:# )?\[+(?:stores\.\w+\.?)?([\w.]*)\]", line):
            table = f"{found[1]}." if found[1] else ""
            shown.add(found[1])
        elif found := re.match(r"(?:# )?(\w+) = ", line):
            shown.add(table + found[1])
    missing = set(known_keys()) - shown
    kinds = {path for path in missing if path.startswith("events.") and path.count(".") == 1}  # one stands for all
    assert missing - kinds == set()


def test_the_page_describes_every_variable():
    for field in fields(Environment):
        assert re.search(rf"^\| `{field.name.upper()}` \|.*\| [A-Z`].+ \|$", PAGE.read_text(), re.MULTILINE)


def test_every_key_is_described():
    schema = stores_file_schema()
    for table in (schema, *schema["$defs"].values()):
        for key, node in table["properties"].items():
            assert (
                len(node.get("description", "") or schema["$defs"][node["$ref"].rpartition("/")[2]]["description"]) > 10
            ), key


@each_row(
    ("key", "value", "good"),
    [
        ("consent", "required", True),
        ("consent", "${CONSENT}", True),
        ("consent", "maybe", False),
        ("platform", "${file:/platform}", True),
        ("platform", "magento", False),
        ("pixel", "short", False),
        ("pixel", "${PIXEL}", True),
        ("max_event_age", "7", False),
        ("country", "", True),
        ("country", "Germany", False),
        ("external_id", "{meta:crm_id}", True),
        ("external_id", "crm", False),
    ],
)
def test_the_schema_takes_what_the_connector_takes(key, value, good):
    """An editor marks a bad text, and neither a good one nor a reference."""
    node = keys_of("Store")[key]
    kinds = node.get("anyOf", [node])
    assert good == any(value in kind.get("enum", []) or re.search(kind.get("pattern", "$^"), value) for kind in kinds)


def test_defaults_are_written_as_the_file_has_them():
    found = keys_of("Store")
    assert (found["max_event_age"]["default"], found["limited_data_use"]["default"]) == ("7d", [])
    assert (found["go_live"]["default"], found["reconcile"]["default"]) == ("", "")
    assert keys_of("Store", "event_id")["order"]["default"] == "NAME-order-{order_id}"
    assert keys_of("Store", "events")["order_paid"]["default"] == "Purchase"
    assert keys_of("Retention")["keep_parked"]["default"] == "14d"
    assert "default" not in found["url"]
    assert "null" not in json.dumps(stores_file_schema())
