"""A stores file from a form: the fields are made from the settings model, and what is filled in becomes TOML.

Nothing is stored. Secrets are never typed in: the text names environment variables in their place.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal

from connector.config.model import STORE_NAME, joined
from connector.config.reference import shop_name_of
from connector.config.rules import check_clashes
from connector.config.schema import keys_of
from connector.config.settings import ConfigError, load
from connector.config.stores_file import Reading
from connector.config.summary import plain_words, warnings
from connector.core.platform import PlatformFacts
from connector.core.registry import BrokenPlatform, installed_platforms, part
from connector.core.store import Store

Kind = Literal["text", "choice", "list", "flag"]
MAIN = (
    "platform", "url", "shop", "pixel", "test_event_code", "consent", "consent_source.key", "country", "browser_pixel",
    "reconcile",
)  # fmt: skip
REQUIRED = frozenset({"name", "platform", "url", "shop", "pixel", "consent"})
TABLES = ("events", "orders", "mapping", "matching", "consent_source")
SWITCH_HINTS = {  # tables whose presence is a setting
    "signals": "`true`: events wait a moment for the browser's signals (docs/signals.md).",
    "funnel": "`true`: what browsers do before an order is sent, too (docs/funnel.md).",
}
LEFT_OUT = frozenset({"webhook_secrets", "access_token", "webhook_keys", "pixels"})
STAND_IN = "value-of-an-environment-variable"
NAME_HINT = "The end of the address of its webhooks, /webhooks/NAME: a-z, 0-9 and -."
CONSENT_HINT = (
    "Where the shop writes the shopper's answer if `consent` requires one: a cart attribute, or a meta key of the "
    "order or the customer (docs/mapping.md, Consent)."
)
REFERENCE = "write the value itself: a reference, `${NAME}` or `${file:PATH}`, can only be written into the stores file"
API_HINT = "Keys to the shop's own API, with which webhooks are registered and missed orders fetched."


@dataclass(frozen=True, slots=True)
class Field:
    """One field of the form, named by its path in the store's table. `default` is what counts if it stays empty."""

    path: str
    kind: Kind
    hint: str
    default: str = ""
    choices: tuple[str, ...] = ()
    alone: bool = False  # a list of one may be written as a text

    @property
    def required(self) -> bool:
        """True if the store is invalid without it."""
        return self.path in REQUIRED


@dataclass(frozen=True, slots=True)
class Variable:
    """An environment variable that the text names, and what it holds."""

    name: str
    holds: str


@dataclass(frozen=True, slots=True)
class StoreText:
    """The result of a form: the text and its variables, faults by path ("" is the whole), and what the store does."""

    toml: str
    variables: tuple[Variable, ...]
    faults: Mapping[str, str]
    words: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()


# --- the form -----------------------------------------------------------------------------------------------------


@cache
def fields() -> tuple[Field, ...]:
    """Return the fields; the first MAIN_FIELDS are those that most stores need."""
    found = {field.path: field for field in _all_fields()}
    for path, hint in (("shop", _shop_hint(found["shop"].hint)), ("consent_source.key", CONSENT_HINT)):
        found[path] = replace(found[path], hint=hint)
    first = [Field("name", "text", NAME_HINT), *(found.pop(path) for path in MAIN)]
    return (*first, Field("api", "choice", API_HINT, "none", _api_choices()), *found.values())


MAIN_FIELDS = len(MAIN) + 2  # with the name and the API's keys


def _shop_hint(hint: str) -> str:
    """Return the setting's description with what it is on each platform."""
    platforms: dict[str, list[str]] = {}
    for name in installed_platforms():
        platforms.setdefault(shop_name_of(name), []).append(name)
    named = "; ".join(f"{', '.join(names)}: {shop}" for shop, names in platforms.items())
    description, _, rule = hint.partition(" Must ")
    return f"{description} For {named}. Must {rule}"


def _all_fields() -> Iterator[Field]:
    for key, node in keys_of("Store").items():
        if "$ref" not in node and key not in LEFT_OUT:
            yield _field(key, node)
    for table in TABLES:
        for key, node in keys_of("Store", table).items():
            if "$ref" not in node:
                yield _field(f"{table}.{key}", node)
    for table, hint in SWITCH_HINTS.items():
        yield Field(table, "flag", hint, "false")


def _field(path: str, node: Mapping[str, Any]) -> Field:
    alternatives = node.get("anyOf", [node])
    choices = next((tuple(one["enum"]) for one in alternatives if "enum" in one), ())
    if choices:
        kind: Kind = "choice"
    elif node.get("type") == "boolean":
        kind = "flag"
    elif any(one.get("type") == "array" for one in alternatives):
        kind = "list"
    else:
        kind = "text"
    default = node.get("default", "")
    shown = ", ".join(default) if isinstance(default, list) else str(default).lower() if kind == "flag" else default
    alone = kind == "list" and "anyOf" in node
    return Field(path, kind, node["description"], shown, choices, alone)


def _facts(platform: str) -> PlatformFacts:
    return installed_platforms().facts(platform)


def _api_choices() -> tuple[str, ...]:
    """Return the sets of keys that any platform takes, in words."""
    sets = {" and ".join(keys) for name in installed_platforms() for keys in _facts(name).api_credentials}
    return tuple(sorted(sets))


# --- the text -----------------------------------------------------------------------------------------------------


def store_text(form: Mapping[str, str], others: Mapping[str, Store]) -> StoreText:
    """Make the text of a store from a filled form, and check it beside the other stores, which run already."""
    given = {field.path: value for field in fields() if (value := form.get(field.path, "").strip())}
    # A reference is not followed, as its value would be shown: the page is not for reading the server's files.
    faults = {path: REFERENCE for path, value in given.items() if "${" in value}
    name = given.pop("name", "")
    if given.get("api", "") not in _api_choices():
        given.pop("api", None)  # no browser sends another one
    variables = [*_variables(name, given)]
    toml = _toml(name, given, variables)
    plain = {path: value for path, value in given.items() if path not in faults}
    if not name:
        faults["name"] = f"missing: {NAME_HINT[0].lower()}{NAME_HINT[1:]}"
    if name in others:
        faults["name"] = "there is a store of this name already; choose another"
    store, found = _checked(name, _toml(name, plain, variables), variables, others)
    faults = {**found, **faults}
    if store is None or faults:
        return StoreText(toml, tuple(variables), faults)
    return StoreText(toml, tuple(variables), {}, tuple(plain_words(store)), tuple(warnings(store)))


def _checked(
    name: str, toml: str, variables: list[Variable], others: Mapping[str, Store]
) -> tuple[Store | None, dict[str, str]]:
    """Load the text as a stores file of its own; return the store, or the faults by path."""
    place = joined("stores", name)
    try:
        config = load({"STORES_TOML": toml, **{one.name: STAND_IN for one in variables}})
    except ConfigError as error:
        return None, _by_path(error.problems, place)
    reading = Reading({})
    check_clashes({**others, name: config.stores[name]}, reading)
    return config.stores[name], _by_path(reading.problems, place)


def _by_path(problems: Any, place: str) -> dict[str, str]:
    """Return the first fault of each field; those of several entries or other places stand under "" together."""
    known = {field.path for field in fields()}
    found: dict[str, str] = {}
    for problem in problems:
        path, wrong = "", problem
        if problem.startswith(f"{place}: "):
            path, wrong = "name", problem.removeprefix(f"{place}: ")
        elif problem.startswith(f"{place}."):
            key, _, wrong = problem.removeprefix(f"{place}.").partition(": ")
            path = next((one for one in (key.partition("[")[0], key.partition(".")[0]) if one in known), "")
            wrong = wrong if path else f"{key}: {wrong}"
        found[path] = f"{found[path]}; {wrong}" if path == "" and path in found else found.get(path, wrong)
    return found


def _variables(name: str, given: Mapping[str, str]) -> Iterator[Variable]:
    """Yield the variables in place of the store's secrets."""
    facts, prefix = _facts(given.get("platform", "")), re.sub("[^A-Z0-9]+", "_", name.upper()).strip("_") or "STORE"
    prefix = f"S{prefix}" if prefix[0].isdigit() else prefix
    if not facts.key_address:
        yield Variable(f"{prefix}_WEBHOOK_SECRET", _secret_of(given, facts))
    yield Variable(f"{prefix}_TIKTOK_TOKEN", "the pixel's access token, from Events Manager › Settings › Events API")
    for key in filter(None, given.get("api", "").split(" and ")):
        yield Variable(f"{prefix}_{key.upper()}", f"the shop's {key.replace('_', ' ')}")


def _secret_of(given: Mapping[str, str], facts: PlatformFacts) -> str:
    """Say where the webhooks' secret comes from: some shops make one, others take what they are given."""
    if not _takes_secret(given.get("platform", "")):
        return f"the secret that the shop signs with: see {facts.signed_with}"
    goes = (
        "`connector webhooks register` gives it to the shop" if "api" in given else f"it goes into {facts.signed_with}"
    )
    return f"a random text of your own, as `connector webhooks secret` prints; {goes}"


def _takes_secret(platform: str) -> bool:
    """Return True if the secret that a shop signs with is chosen here."""
    try:
        module = part(installed_platforms()[platform], lambda one: one.shop_api) if platform else None
    except (BrokenPlatform, KeyError):
        return False
    return module is not None and module.SETS_SECRET


def _toml(name: str, given: Mapping[str, str], variables: list[Variable]) -> str:
    """Write the store's tables."""
    known = {field.path: field for field in fields()}
    tables: dict[str, dict[str, str]] = {"": {}}
    for path, value in given.items():
        table, _, key = path.rpartition(".")
        if path in SWITCH_HINTS:
            tables.setdefault(path, {})
        elif path != "api":
            tables.setdefault(table, {})[key] = _value(value, known[path])
    for variable in variables:
        if variable.name.endswith("_WEBHOOK_SECRET"):
            tables[""]["webhook_secrets"] = f'["${{{variable.name}}}"]'
        elif variable.name.endswith("_TIKTOK_TOKEN"):
            tables[""]["access_token"] = f'"${{{variable.name}}}"'
    keys = [key for key in given.get("api", "").split(" and ") if key]
    named = variables[len(variables) - len(keys) :]
    if keys:
        tables["api"] = {key: f'"${{{one.name}}}"' for key, one in zip(keys, named, strict=True)}
    place = f"stores.{name if re.fullmatch(STORE_NAME, name) else _text(name)}"
    parts = []
    for table, rows in tables.items():
        head = f"[{place}.{table}]" if table else f"[{place}]"
        parts.append("\n".join([head, *(f"{key} = {value}" for key, value in rows.items())]))
    return "\n\n".join(parts) + "\n"


def _value(value: str, field: Field) -> str:
    if field.kind == "flag":
        return "true" if value == "true" else "false"
    if field.kind == "list":
        entries = [_text(one) for entry in value.split(",") if (one := entry.strip())]
        return entries[0] if field.alone and len(entries) == 1 else f"[{', '.join(entries)}]"
    return _text(value)


def _text(value: str) -> str:
    """Return a text as TOML writes it: like JSON, which escapes all control characters but one."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
