"""Structured log lines, as text for people or JSON for machines; never with a body or a secret."""

import json
import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal

import msgspec

Form = Literal["text", "json"]
FIELDS = (
    "store", "topic", "delivery", "object", "event_ids", "reason", "pixel", "outcome", "code", "request_id",
    "events", "accepted", "retry", "rejected", "expired", "ms", "problem",
)  # fmt: skip


def default_form() -> Form:
    """Return "text" if standard error is a terminal, else "json"."""
    return "text" if sys.stderr is not None and sys.stderr.isatty() else "json"


def form_and_level(environ: Mapping[str, str]) -> tuple[Form, str]:
    """Return form and level from LOG_FORMAT and LOG_LEVEL, for a process that does not load the settings."""
    form, level = environ.get("LOG_FORMAT", "").lower(), environ.get("LOG_LEVEL", "").upper()
    levels = logging.getLevelNamesMapping()
    chosen: Form = "json" if form == "json" else "text" if form == "text" else default_form()
    return chosen, level if level in levels else "INFO"


def set_up(format_: str, level: str) -> None:
    """Send all log lines to standard error in one of the two forms ("text" or "json")."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(format_))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # Below WARNING, these write addresses and keys of requests: of shops, and of the services that alerts are sent to.
    for verbose in ("httpx", "httpcore", "urllib3", "requests_oauthlib", "oauthlib", "alembic"):
        logging.getLogger(verbose).setLevel("WARNING")


def _extras(record: logging.LogRecord) -> dict[str, object]:
    found = {name: getattr(record, name, None) for name in FIELDS}
    return {name: value for name, value in found.items() if value not in (None, "")}


def formatter(form: str) -> logging.Formatter:
    """Return the formatter of one of the two forms, also for gunicorn's own lines."""
    return _Json() if form == "json" else _Text()


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_extras(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line, enc_hook=str).decode()


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S")
        extras = " ".join(f"{name}={_quoted(value)}" for name, value in _extras(record).items())
        line = f"{at} {record.levelname.lower():7} {record.getMessage()}" + (f"  {extras}" if extras else "")
        return line + ("\n" + self.formatException(record.exc_info) if record.exc_info else "")


def _quoted(value: object) -> str:
    shown = str(value)
    plain = shown.isprintable()  # unprintable text from a shopper could start a new line or control a terminal
    return shown if plain and " " not in shown else json.dumps(shown, ensure_ascii=not plain)
