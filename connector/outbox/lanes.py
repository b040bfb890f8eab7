"""Lanes: the queue of one store and pixel, and its suspension while TikTok denies its token or pixel."""

import hashlib
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa


@dataclass(frozen=True, slots=True)
class Lane:
    """The queue of one store and pixel."""

    store: str
    pixel: str


@dataclass(frozen=True, slots=True)
class LaneState:
    """The suspension of a lane whose token or pixel TikTok denies: its start and its next probe, in Unix seconds.

    `resumed_at` is the end of the last suspension, or None while the lane is suspended or if it never was.
    """

    lane: Lane
    suspended_until: float | None = None
    suspended_since: float | None = None
    suspended_token: str = ""
    denials: int = 0
    reason: str = ""
    resumed_at: float | None = None


def read_lane_state(row: sa.Row[Any]) -> LaneState:
    """Read a row of `lanes`."""
    lane = Lane(row.store, row.pixel)
    if row.denied_since is None:
        return LaneState(lane, resumed_at=row.denied_until)
    return LaneState(lane, row.denied_until, row.denied_since, row.denied_token or "", row.denials, row.reason)


def fingerprint(token: str) -> str:
    """Return the first 16 hex digits of a token's SHA-256, enough to detect a changed token."""
    return hashlib.sha256(token.encode(errors="backslashreplace")).hexdigest()[:16]
