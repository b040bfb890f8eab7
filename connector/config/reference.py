"""The tables of docs/configuration.md, generated from the model."""

import json
from collections.abc import Iterator
from typing import Any

from pydantic import ConfigDict, TypeAdapter

from connector.config.environment import Environment
from connector.config.schema import TomlSchema, described, stores_file_schema
from connector.core.registry import installed_platforms

BEGIN, END = "<!-- settings: begin (generated) -->", "<!-- settings: end -->"


def page(text: str) -> str:
    """Return the page with new tables between its two markers. Raises ValueError without markers."""
    before, _, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"{BEGIN} and {END} are missing")
    return f"{before}{BEGIN}\n\n{markdown()}\n{END}{after}"


def markdown() -> str:
    """Return the reference of all settings: environment, stores file, platforms."""
    return "\n".join([*_environment(), *_stores_file(), *_platforms()])


def _environment() -> Iterator[str]:
    config = ConfigDict(use_attribute_docstrings=True, alias_generator=str.upper)
    adapter = TypeAdapter(list[Environment], config=config)  # a list, as a dataclass takes no config here
    (table,) = adapter.json_schema(schema_generator=TomlSchema)["$defs"].values()
    yield from ("## Environment variables", "")
    yield from _rows("Variable", {name: described(node) for name, node in table["properties"].items()}, "see there")


def _stores_file() -> Iterator[str]:
    schema = stores_file_schema()
    tables = schema["$defs"]

    def section(heading: str, node: dict[str, Any]) -> Iterator[str]:
        table = tables[node["$ref"].rpartition("/")[2]]
        keys = {key: one for key, one in table["properties"].items() if "$ref" not in str(one)}
        below = {key: one for key, one in table["properties"].items() if key not in keys}
        yield from (f"### `{heading}`", "", node.get("description", table["description"]), "")
        yield from _rows("Key", keys, "as above" if heading.endswith("KIND]") else "required")
        if len({str(one) for one in below.values()}) == 1 < len(below):  # tables of one kind, like [events.KIND]
            below = {"KIND": next(iter(below.values()))}
        for key, one in below.items():
            inner = f"{heading.strip('[]')}.{key}"
            yield from section(f"[[{inner}]]", one["items"]) if "items" in one else section(f"[{inner}]", one)

    yield from ("## The stores file", "")
    yield from section("[connector]", schema["properties"]["connector"])
    stores = schema["properties"]["stores"]
    (store,) = stores["patternProperties"].values()
    yield from section("[stores.NAME]", store | {"description": stores["description"]})


def _rows(name: str, keys: dict[str, Any], no_default: str) -> Iterator[str]:
    yield from (f"| {name} | Default | Description |", "|---|---|---|")
    for key, node in keys.items():
        default = f"`{json.dumps(node['default'])}`" if "default" in node else no_default
        yield f"| `{key}` | {default} | {node['description']} |"
    yield ""


def shop_name_of(platform: str) -> str:
    """Return what `shop` is for a platform, in words."""
    facts = installed_platforms().facts(platform)
    if facts.shop_id:
        return "the shop's id"
    return f"`NAME{facts.shop_suffix}`" if facts.shop_suffix else "the shop's host"


def _platforms() -> Iterator[str]:
    """Yield the defaults and rules that each platform sets."""
    yield from (
        "## Platforms",
        "",
        "| Platform | `shop` | `mapping.content_id` | `api` | `signals` |",
        "|---|---|---|---|---|",
    )
    for name in installed_platforms():
        facts = installed_platforms().facts(name)
        shop = shop_name_of(name)
        keys = ", or ".join(" and ".join(f"`{key}`" for key in keys) for keys in facts.api_credentials) or "–"
        yield f"| `{name}` | {shop} | `{json.dumps(facts.content_id)}` | {keys} | {'yes' if facts.signals else 'no'} |"
    yield ""
