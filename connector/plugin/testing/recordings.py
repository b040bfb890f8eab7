"""A platform's recorded requests, as files: what a shop sent, and what is expected of it.

`requests/NAME.json` and `expected/NAME.json` in the folder that `Platform.recordings` names; docs/adding-a-platform.md
describes both.
"""

import base64
import json
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Struct, structs

from connector.core.event import DataRequest, Event, Skipped


class Recording(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of one file in requests/. The body is JSON as a person reads it, or `body_base64`, its very bytes.

    With `secret`, or `jwks` for a shop that signs with a private key, the headers have the shop's own signature, which
    covers each byte; without, the kit signs the body. `received_at` is needed where a signature states its time.
    `fetched` instead of `topic` is the topic of what the shop's API answered after a notice.
    """

    topic: str = ""
    fetched: str = ""
    headers: dict[str, str] = {}
    body: msgspec.Raw = msgspec.Raw()  # with every digit as it is written
    body_base64: str = ""
    secret: str = ""
    jwks: dict[str, Any] | None = None
    received_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    url: str = ""

    def __post_init__(self) -> None:
        if bool(self.topic) == bool(self.fetched):
            raise ValueError('name the "topic" of a webhook, or the topic of an answer as "fetched"')
        if bool(bytes(self.body)) == bool(self.body_base64):
            raise ValueError('give the body as "body", which is JSON, or as "body_base64"')
        if (self.secret or self.jwks) and not self.body_base64:
            raise ValueError('a shop\'s signature covers each byte: give the body as "body_base64"')

    def raw(self) -> bytes:
        """Return the body's bytes."""
        return base64.b64decode(self.body_base64) if self.body_base64 else bytes(self.body)

    @property
    def store_settings(self) -> dict[str, Any]:
        """The store's settings to verify the shop's own signature; empty if the kit signs."""
        if self.jwks:
            return {"webhook_secrets": (), "webhook_keys": (json.dumps(self.jwks),)}
        return {"webhook_secrets": (self.secret,)} if self.secret else {}


def names(folder: Path, kind: str) -> set[str]:
    """Return the names of the recordings in requests/ or expected/, without .json."""
    return {file.stem for file in (folder / kind).glob("*.json")}


def read(folder: Path, name: str) -> Recording:
    """Read a recording. Raises msgspec.DecodeError, which names the file, for one of another form."""
    file = folder / "requests" / f"{name}.json"
    try:
        return msgspec.json.decode(file.read_bytes(), type=Recording)
    except msgspec.DecodeError as error:
        raise type(error)(f"{file}: {error}") from None


def as_expected(items: list[Event | Skipped | DataRequest]) -> dict[str, Any]:
    """Return what `translate` yielded as expected/ writes it: fields that differ from their defaults."""
    found: dict[str, Any] = {"events": [_stated(item) for item in items if isinstance(item, Event)]}
    if skipped := [item for item in items if isinstance(item, Skipped)]:
        found["skipped"] = [{"milestone": item.milestone, "reason": item.reason, "ids": item.ids} for item in skipped]
    if requests := [_stated(item) for item in items if isinstance(item, DataRequest)]:
        found["data_requests"] = requests
    return found


def _stated(value: Any) -> Any:
    if isinstance(value, Struct):
        pairs = ((one.name, getattr(value, one.name), one.default) for one in structs.fields(type(value)))
        return {name: _stated(inner) for name, inner, default in pairs if inner != default}
    if isinstance(value, tuple):
        return [_stated(inner) for inner in value]
    return msgspec.to_builtins(value)
