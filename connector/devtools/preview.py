"""`connector preview`: what a body would become, with nothing stored, sent or signed."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from connector.core.store import Store
from connector.core.webhook import InvalidPayload, NotJson, Platform, Webhook
from connector.intake.intake import Examination, examine
from connector.mapping.consent import BeaconWait
from connector.mapping.tiktok_event import OutboundEvent
from connector.signals.merge import why_not_sendable

NO_AGE = "age is not applied: a real webhook older than max_event_age or go_live would be skipped"


def files(path: Path) -> list[Path]:
    """The file itself, or a folder's *.json files in the order of their names."""
    return sorted(path.glob("*.json")) if path.is_dir() else [path]


def preview(body: bytes, topic: str, store: Store, platforms: Mapping[str, Platform]) -> dict[str, Any]:
    """The outcome as the command prints it, in the words that the server counts webhooks by."""
    platform, now = platforms[store.platform], datetime.now(UTC)
    if topic in platform.RECORDED:
        return _told("recorded", f"{topic} is recorded and yields no event")
    if topic not in platform.TOPICS:
        return _told(
            "ignored", f"{topic} would be ignored; topics that yield events: {', '.join(sorted(platform.TOPICS))}"
        )
    try:
        seen = examine(Webhook(topic=topic, body=body, received_at=now), platform, store, now, None)
    except InvalidPayload as error:
        return _told("parked", str(error))
    except NotJson as error:
        return _told("unreadable", f"{error}: the server answers 400 and keeps nothing")
    return {
        "outcome": "relayed" if seen.events else "skipped",
        "events": [msgspec.Raw(mapped.payload) for mapped in seen.events],
        "skipped": [{"milestone": skip.milestone, "reason": skip.reason} for skip in seen.skipped],
        "notes": _notes(seen),
    }


def _notes(seen: Examination) -> list[str]:
    said = [note for mapped in seen.events for note in mapped.notes]
    said += [_wait(mapped, mapped.beacon_wait) for mapped in seen.events if mapped.beacon_wait]
    if not seen.events and not seen.skipped:
        said.append("nothing has happened yet that is an event (a draft, or a cart)")
    return [*dict.fromkeys(said), NO_AGE]


def _wait(mapped: OutboundEvent, waits: BeaconWait) -> str:
    said = f"{mapped.event} waits up to {waits.seconds:g} s for the browser's signals"
    lacks = why_not_sendable(mapped.payload, waits.consent)
    return f"{said}; as it is, it would be skipped then ({lacks})" if lacks else said


def _told(outcome: str, note: str) -> dict[str, Any]:
    return {"outcome": outcome, "events": [], "skipped": [], "notes": [note]}
