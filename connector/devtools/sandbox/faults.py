"""Faults: errors that the sandbox can simulate."""

import hashlib
import random
from typing import Annotated, Any, Literal

import msgspec

from connector.devtools.sandbox.rules import Batch


class Fault(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    """A fault as posted to `/faults`; `status` is an HTTP status.

    `after`: the events are stored although the response is a failure. `allow`: the only tokens not revoked.
    """

    kind: Literal[
        "rate_limit", "server_error", "html", "truncated", "hang", "drop", "revoke", "no_permission",
        "poison", "bad_source", "partial", "redirect", "missing_code", "code",
    ]  # fmt: skip
    times: Annotated[int, msgspec.Meta(ge=1)] | None = None
    probability: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0
    seed: int = 0
    token: str = ""
    source: str = ""
    after: bool | None = None
    seconds: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 60.0
    event_ids: list[str] = []
    named: bool = True
    allow: list[str] = []
    location: Annotated[str, msgspec.Meta(pattern=r"^https?://[!-~]+\Z")] = "https://elsewhere.example/"
    code: int | None = None
    message: str = ""
    status: Annotated[int, msgspec.Meta(ge=200, le=599)] = 200


_EVERY_KIND = {"kind", "times", "probability", "seed", "token", "source"}
_OWN_FIELDS: dict[str, set[str]] = {
    **{kind: {"after"} for kind in ("server_error", "html", "truncated", "drop", "partial", "missing_code")},
    "hang": {"after", "seconds"},
    "revoke": {"allow"},
    "poison": {"event_ids", "named"},
    "redirect": {"location"},
    "code": {"after", "code", "message", "status"},
}


def read_fault(body: bytes) -> Fault:
    """Parse a fault. Raises ValueError with a sentence that describes the error."""
    try:
        fault = msgspec.json.decode(body, type=Fault)
        given = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except (ValueError, RecursionError) as error:
        raise ValueError(f"Invalid fault: {error}") from None
    unknown = sorted(set(given) - _EVERY_KIND - _OWN_FIELDS.get(fault.kind, set()))
    if unknown:
        raise ValueError(f'A fault of kind "{fault.kind}" has no field {", ".join(unknown)}.')
    if fault.kind == "poison" and not fault.event_ids:
        raise ValueError('A fault of kind "poison" requires "event_ids", a list of strings.')
    if fault.kind == "code" and fault.code is None:
        raise ValueError('A fault of kind "code" requires "code", an integer.')
    return fault


class ActiveFault:
    """A fault in use, with its remaining times and random generator. Tokens are kept only as digests."""

    def __init__(self, fault: Fault) -> None:
        self.token = fingerprint(fault.token) if fault.token else ""
        self.allow = {fingerprint(token) for token in fault.allow}
        self.ids = frozenset(fault.event_ids)
        self.random = random.Random(fault.seed)  # noqa: S311 (repeatable, no secret)
        self.remaining = fault.times
        self.fault = msgspec.structs.replace(
            fault, token=self.token[:8], allow=sorted(token[:8] for token in self.allow)
        )

    def applies(self, token: str, batch: Batch) -> bool:
        """True if the fault applies to this request, which then counts as one of its `times`."""
        if self.token not in ("", token) or self.fault.source not in ("", batch.source):
            return False
        if token in self.allow or (self.ids and self.first_poisoned(batch) is None):
            return False
        if self.random.random() >= self.fault.probability:
            return False
        if self.remaining is not None:
            self.remaining -= 1
        return True

    def first_poisoned(self, batch: Batch) -> int | None:
        """Return the index of the first poisoned event, or None."""
        return next((index for index, event in enumerate(batch.events) if event.event_id in self.ids), None)

    def to_dict(self) -> dict[str, Any]:
        """Return the fault for `GET /faults`, with the remaining `times`."""
        return msgspec.to_builtins(msgspec.structs.replace(self.fault, times=self.remaining))  # type: ignore[no-any-return]


def fingerprint(token: str) -> str:
    """Return the SHA-256 of a token in hexadecimal; the sandbox never stores the token itself."""
    return hashlib.sha256(token.encode(errors="backslashreplace")).hexdigest()
