"""Reading of a page's report: JSON from anybody. The format is in docs/merging.md."""

import json
import re

from msgspec import Struct

from connector.core.json_fields import Json, json_object, text

MAX_REPORT = 8 * 1024  # bytes
_VERSION = re.compile("[0-9a-f]{8}")


class Report(Struct, frozen=True):
    """A page's report: the snippet's version, and whether TikTok's script has loaded."""

    version: str
    loaded: bool


def read_report(body: bytes) -> Report | None:
    """Return the report, or None if the body is not one."""
    members = _parse(body)
    version = text(members.get("version"))
    if not _VERSION.fullmatch(version):
        return None
    return Report(version, members.get("loaded") is True)


def _parse(body: bytes) -> Json:
    try:
        return json_object(json.loads(body))  # accepts unpaired surrogates, unlike msgspec
    except (ValueError, RecursionError):
        return {}
