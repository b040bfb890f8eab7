"""The environment variables as a model: types, defaults, bounds and descriptions."""

import os
import re
from dataclasses import dataclass, field, fields
from typing import Annotated, Literal

from pydantic import ConfigDict
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from connector.config.model import table_model, validate
from connector.config.stores_file import Reading
from connector.config.wording import one_of, wording
from connector.core import logs
from connector.core.alert_address import AlertAddresses
from connector.core.values import Text, Value, WebUrl, checked, refuse, text

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
EPHEMERAL_DISKS = ("DYNO", "K_SERVICE", "RENDER", "RAILWAY_ENVIRONMENT")


def number(low: int, high: int = 999_999_999) -> Value:
    """Return the type of whole numbers written as texts, as in the environment."""
    must = f"be a whole number of {f'{low} to {high}' if high < 999_999_999 else f'at least {low}'}"

    def read(value: object) -> int:
        digits = text(value)
        good = re.fullmatch("[0-9]{1,9}", digits) and low <= int(digits) <= high
        return int(digits) if good else refuse(f"must {must}")

    return Value(read, must)


DATABASE_URL = "be sqlite:///FILE or postgresql://USER:PASSWORD@HOST/DATABASE"


def _database_url(value: object) -> str:
    allowed = f"must {DATABASE_URL}"
    scheme, _, rest = text(value).partition("://")
    spelling = {"postgres": "postgresql+psycopg", "postgresql": "postgresql+psycopg"}.get(scheme, scheme)
    try:
        url = make_url(f"{spelling}://{rest}")
    except (ArgumentError, ValueError):
        raise ValueError(allowed) from None
    if spelling == "sqlite" and not url.host:
        file = url.database or ":memory:"
        if ":memory:" in file or "memory" in url.query.get("mode", ()):
            raise ValueError(f"{allowed}; SQLite in memory does not work, because several processes share the database")
    elif spelling != "postgresql+psycopg":
        raise ValueError(allowed)
    return f"{spelling}://{rest}"


LogLevel = checked(LOG_LEVELS.__contains__, one_of(LOG_LEVELS).removeprefix("must "), shape=str.upper)


@dataclass(frozen=True, kw_only=True)
class Environment:
    """The settings that need no stores file. Addresses except `alert_url` have no trailing slash; "" means not set."""

    connector_config: Annotated[str, Value(str)] = "stores.toml"
    """The stores file, or a folder whose `*.toml` are read as one."""
    stores_toml: Annotated[str, Value(str)] = field(default="", repr=False, compare=False)
    """The text of the stores file itself, for hosts without files; takes precedence over `CONNECTOR_CONFIG`."""
    database_url: Annotated[str, Value(_database_url, DATABASE_URL)] = field(
        default="sqlite:///connector.db", repr=False
    )
    """The database."""
    allow_sqlite: Annotated[bool, Value(lambda value: value == "1")] = False
    """`1` allows SQLite on a host that loses its disk at a restart, if the file is on a mounted volume."""
    events_api_url: WebUrl = "https://business-api.tiktok.com/open_api/v1.3"
    """The address of the Events API; change it for tests only, such as to the sandbox's."""
    port: Annotated[int, number(1, 65535)] = 8000
    """The port the server listens on, on all addresses."""
    web_concurrency: Annotated[int, number(1)] = field(default_factory=lambda: min(os.cpu_count() or 1, 4))
    """The number of server processes; not set: one for each processor core, at most 4."""
    public_url: WebUrl = ""
    """The https address of this server, where shops deliver webhooks and browsers deliver signals."""
    trusted_proxies: Annotated[int, number(0)] = 0
    """The number of proxies before this server, 1 on most hosts: that many entries of X-Forwarded-For are trusted."""
    admin_password: Text = field(default="", repr=False)
    """The password of the dashboard at `/` and of `/metrics`; use 16 random characters or more."""
    alert_url: AlertAddresses = field(default="", repr=False)
    """The addresses that the problems of all stores are sent to; see [Alerts](running.md#alerts)."""
    digest_url: AlertAddresses = field(default="", repr=False)
    """The addresses that are sent a digest of all stores once a week; see [Digest](running.md#the-weekly-digest)."""
    log_format: Literal["text", "json"] = field(default_factory=logs.default_form)
    """The form of log lines; not set: `text` on a terminal, else `json`."""
    log_level: Annotated[str, LogLevel] = "INFO"
    """The least severe level that is logged."""


VARIABLES = [field.name.upper() for field in fields(Environment)]
Variables = table_model("Environment", Environment, config=ConfigDict(alias_generator=str.upper))


def read_environment(reading: Reading) -> Environment:
    """Read the environment and note every fault. An empty variable counts as not set, as on most hosts."""
    given = {name: value for name in VARIABLES if (value := reading.environ.get(name, "")).strip()}
    stripped = {name: value if name == "STORES_TOML" else value.strip() for name, value in given.items()}
    values, faults = validate(Variables, stripped, {})
    for fault in faults:
        reading.problem(str(fault["loc"][0]), wording(fault))
    environment = Environment(**values)
    if not any(fault["loc"] == ("DATABASE_URL",) for fault in faults):
        _refuse_ephemeral_disk(environment, reading)
    return environment


def _refuse_ephemeral_disk(environment: Environment, reading: Reading) -> None:
    sign = next((name for name in EPHEMERAL_DISKS if reading.environ.get(name)), None)
    if sign and environment.database_url.startswith("sqlite") and not environment.allow_sqlite:
        reading.problem(
            "DATABASE_URL",
            f"SQLite would lose its file when this host replaces its disk ({sign} is set); set DATABASE_URL to a "
            "PostgreSQL database, or ALLOW_SQLITE=1 if the file is on a mounted volume",
        )
