"""Configuration: the environment and the stores file become a `Config`, or a `ConfigError` naming every faulty key.

The environment is read first, then the stores file, then each store; then the stores are compared. Each step notes its
problems and continues with stand-ins, so that one start reports them all. No problem shows a value that can be secret.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path

from connector.config.environment import Environment, read_environment
from connector.config.model import (
    PIXEL_KEYS,
    STORE_NAME,
    ConnectorTable,
    Retention,
    StoreTable,
    Table,
    joined,
    key_of,
    usual_tables,
)
from connector.config.rules import api_keys, check_clashes, check_name, check_store
from connector.config.section import Section
from connector.config.stores_file import Reading, read_document
from connector.config.wording import missing
from connector.core.event import ORDER_KINDS
from connector.core.registry import installed_platforms
from connector.core.store import Pixel, Store

# Used for required keys that are missing or faulty, so that the other keys are checked, too.
STAND_INS: Table = {"platform": "", "url": "", "shops": (), "webhook_secrets": (), "consent": "not_required"}
PIXEL_STAND_INS: Table = {"code": "", "access_token": ""}


class ConfigError(Exception):
    """The configuration cannot be used. `problems` holds one line for each fault, free of secret values."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(self.problems))


@dataclass(frozen=True, kw_only=True)
class Config(Retention, Environment):
    """All settings: the environment, the stores by name, and how long rows are kept.

    `literal_secrets` are the key paths (never the values) of secrets written into a file instead of `${NAME}`.
    """

    stores: dict[str, Store]
    literal_secrets: tuple[str, ...]


def load(environ: Mapping[str, str]) -> Config:
    """Read the environment and the stores file it names. Raises `ConfigError` with every problem of both."""
    reading = Reading(environ)
    environment = read_environment(reading)
    document = read_document(reading, Path(environment.connector_config))
    if document is None:
        raise ConfigError(reading.problems)
    stores = _stores(document["stores"], document["defaults"], reading)
    check_clashes(stores, reading)
    retention = Section(reading, ("connector", document["connector"])).read(ConnectorTable, {})
    if reading.problems:
        raise ConfigError(reading.problems)
    literal_secrets = () if environment.stores_toml else tuple(reading.literal_secrets)
    return Config(**vars(environment), **retention, stores=stores, literal_secrets=literal_secrets)


def _stores(tables: Table, defaults: Table, reading: Reading) -> dict[str, Store]:
    stores: dict[str, Store] = {}
    for name, table in tables.items():
        place = joined("stores", name)
        check_name(name, reading)
        if not isinstance(table, dict):
            reading.problem(place, f"must be a table, [{place}]")
            continue
        section = Section(reading, (place, table), ("defaults", defaults))
        stores[name] = _store(name, section)
        check_store(stores[name], section)
    return stores


def _store(name: str, section: Section) -> Store:
    """Build a store from its valid values, with stand-ins for the others."""
    values: Table = {"pixels": ()} | section.read(
        StoreTable, usual_tables(name if re.fullmatch(STORE_NAME, name) else "-")
    )
    pixel = {field.name: values.pop(field.name) for field in fields(Pixel) if field.name in values}
    required = [*STAND_INS]
    if "pixels" not in section.values:
        values["pixels"] = (Pixel(**PIXEL_STAND_INS | pixel),)
        required += PIXEL_STAND_INS
    elif single := [key for key in PIXEL_KEYS if key in section.values]:
        section.problem(f"either {', '.join(single)} or [[pixels]], not both; remove one of the two", "pixels")
    of_kinds = {kind: values["events"].pop(kind) for kind in ORDER_KINDS if kind in values["events"]}
    store = Store(**STAND_INS | values, name=name, events_of_kinds=of_kinds)
    facts = installed_platforms().facts(store.platform)
    if facts.key_address:
        required.remove("webhook_secrets")
    for key in map(key_of, required):
        if key not in section.values:
            section.problem(missing(key), key)
    mapping = replace(store.mapping, content_id=store.mapping.content_id or facts.content_id)
    source = replace(store.consent_source, key=store.consent_source.key or facts.consent_key)
    keys = store.webhook_keys
    if facts.key_address and not keys and not store.webhook_secrets:
        keys = tuple(facts.key_address.format(shop=shop) for shop in store.shops)
    api = store.api if api_keys(section) else None
    return replace(store, mapping=mapping, consent_source=source, api=api, webhook_keys=keys)
