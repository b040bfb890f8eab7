"""The JSON Schema of the stores file, generated from the model: for editors, the documentation and error messages."""

from collections.abc import Iterator
from datetime import timedelta
from functools import cache
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core.core_schema import LiteralSchema, NullableSchema, WithDefaultSchema

from connector.config.model import FILE, NOT_IN_FILE, PIXEL_KEYS, STORE_NAME, Retention, usual_tables
from connector.core.registry import installed_platforms
from connector.core.store import Store
from connector.core.values import REFERENCE, written_duration

Schema = dict[str, Any]


class TomlSchema(GenerateJsonSchema):
    """JSON Schema for TOML: without null, durations are texts, and `${NAME}` can stand for any text."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Leave out titles, which would only repeat the keys."""
        return False

    def encode_default(self, dft: Any) -> Any:
        """Write a duration like "7d", and None as ""."""
        return written_duration(dft) if isinstance(dft, timedelta | None) else super().encode_default(dft)

    def default_schema(self, schema: WithDefaultSchema) -> Schema:
        """Show defaults of keys, not those of tables, whose keys have their own."""
        found = super().default_schema(schema)
        if "$ref" in found:
            found.pop("default", None)
        return found

    def nullable_schema(self, schema: NullableSchema) -> Schema:
        """Leave out null."""
        return self.generate_inner(schema["schema"])

    def literal_schema(self, schema: LiteralSchema) -> Schema:
        """Allow a reference in place of a choice."""
        return {"anyOf": [super().literal_schema(schema), {"type": "string", "pattern": REFERENCE}]}


class StoresFile(BaseModel):
    """The stores file of the connector."""

    model_config = FILE | ConfigDict(use_attribute_docstrings=True, defer_build=True)

    connector: Retention
    defaults: Store
    """Any keys of a store. Every store inherits them, table by table, and can override them."""
    stores: dict[Annotated[str, Field(pattern=f"^{STORE_NAME}$")], Store]
    """The stores by name. The name is part of the URL of a store's webhooks and of its event_ids."""


@cache
def stores_file_schema() -> Schema:
    """Return the JSON Schema of the stores file. Each property's description ends with its rule ("Must …")."""
    schema: Schema = StoresFile.model_json_schema(schema_generator=TomlSchema)
    tables = schema["$defs"]
    store, keys = tables["Store"], tables["Store"]["properties"]
    platforms = [{"enum": list(installed_platforms())}, {"type": "string", "pattern": REFERENCE}]
    keys["platform"] = {"description": keys["platform"]["description"], "anyOf": platforms}
    keys |= {key: dict(tables["Pixel"]["properties"][key]) for key in PIXEL_KEYS}  # of a store with one pixel
    store["properties"] = {
        key: node
        for key, node in sorted(keys.items(), key=lambda item: "$ref" in str(item[1]))  # tables last
        if key not in NOT_IN_FILE
    }
    for table, usual in usual_tables("NAME").items():
        for key, default in usual.items():
            node = tables[keys[table]["$ref"].rpartition("/")[2]]["properties"][key]
            node["default"] = default[0] if isinstance(default, list) else default
    for node in (schema, store, tables["EventIdTemplates"]):
        del node["required"]  # a missing key can be in [defaults], or its default depends on the name
    for node in (schema, *tables.values()):
        node["properties"] = {key: described(one) for key, one in node["properties"].items()}
    return {"$schema": "http://json-schema.org/draft-07/schema#", **schema}


def described(node: Schema) -> Schema:
    """Return a property with its rule as the end of its description."""
    rule = next((f" Must {must}." for must in _musts(node)), "")
    described = {"description": node["description"] + rule} if "description" in node else {}
    return {**_without_must(node), **described}


def _musts(node: Schema) -> Iterator[str]:
    if "enum" in node:
        yield "be one of " + ", ".join(f'"{word}"' for word in node["enum"])
    if "must" in node:
        yield node["must"]
    for one in node.get("anyOf", []):
        yield from _musts(one)
    if "items" in node:
        yield from (f"be a list; each entry must {must}" for must in _musts(node["items"]))


def _without_must(node: Any) -> Any:
    if isinstance(node, list):
        return [_without_must(one) for one in node]
    return {key: _without_must(one) for key, one in node.items() if key != "must"} if isinstance(node, dict) else node


def keys_of(table: str, *place: int | str) -> Schema:
    """Return the keys of a table with the schema of each: those of "Store" or "Retention", or of a table in it."""
    schema = stores_file_schema()
    tables = schema["$defs"]
    node = tables[table]
    for key in place:
        node = node["items"] if isinstance(key, int) else node["properties"][key]
        node = tables[node["$ref"].rpartition("/")[2]] if "$ref" in node else node
    return dict(node["properties"])
