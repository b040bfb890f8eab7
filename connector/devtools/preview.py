"""`connector preview`: shows the events that a body would yield, without storing or sending anything."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from connector.core.platform import Platform
from connector.core.store import Store
from connector.core.webhook import Notice, NotJson, Webhook
from connector.intake.examine import Examination, examine, read_notice, why_not_examined
from connector.mapping.consent import BeaconWait
from connector.mapping.tiktok_event import OutboundEvent
from connector.signals.merge import why_not_sendable

NO_AGE = "preview ignores age limits: a real webhook older than max_event_age or go_live would be skipped"


def files(path: Path) -> list[Path]:
    """Return the file itself, or a folder's *.json files sorted by name. Raises ValueError if there is none."""
    if not path.is_dir():
        return [path]
    if found := sorted(file for file in path.glob("*.json") if file.is_file()):
        return found
    raise ValueError(f"the folder {path} has no *.json file")


def preview(body: bytes, topic: str, store: Store, platform: Platform) -> dict[str, Any]:
    """Examine a body and return what the command prints.

    Outcomes are the server's, except that a body without any milestone yet is "skipped", too.
    """
    now = datetime.now(UTC)
    if topic in platform.recorded_topics:
        return _without_events("recorded", f"{topic} is recorded and yields no event")
    webhook = Webhook(topic=topic, body=body, received_at=now)
    try:
        if topic in platform.notice_topics:
            return _noted(read_notice(webhook, platform, store), platform)
        if topic not in platform.event_topics:
            return _without_events("ignored", f"{topic} would be ignored; {_topics(platform)}")
        examination = examine(webhook, platform, store, now, None)
    except NotJson as error:
        return _without_events("unreadable", f"{error}: the server answers 400 and stores nothing")
    except Exception as error:
        return _without_events("parked", why_not_examined(error))
    return {
        "outcome": "relayed" if examination.events else "skipped",
        "events": [msgspec.Raw(event.payload) for event in examination.events],
        "skipped": [{"milestone": skip.milestone, "reason": skip.reason} for skip in examination.skipped],
        "notes": _notes(examination, store),
    }


def _topics(platform: Platform) -> str:
    found = f"topics that yield events: {', '.join(sorted(platform.event_topics))}"
    if not platform.notice_topics:
        return found
    return f"{found}; webhooks that name what is fetched: {', '.join(sorted(platform.notice_topics))}"


def _noted(notice: Notice | None, platform: Platform) -> dict[str, Any]:
    """Describe a webhook that has no data: what it names, and how to preview that."""
    if notice is None:
        return _without_events("ignored", "it concerns no event of this store")
    topics = " or ".join(sorted(platform.event_topics))
    return _without_events(
        "noted",
        f"it names {notice.kind} {notice.id}, which is fetched from the shop's API; to see the events, preview what "
        f"the API answers, with --topic {topics}",
    )


def _notes(examination: Examination, store: Store) -> list[str]:
    notes = _route_notes(examination, store) if len(store.pixels) > 1 and examination.events else []
    notes += [note for event in examination.events for note in event.notes]
    notes += [_wait_note(event, event.beacon_wait) for event in examination.events if event.beacon_wait]
    if not examination.events and not examination.skipped:
        notes.append("no milestone yet (a draft or a cart)")
    return [*dict.fromkeys(notes), NO_AGE]


def _route_notes(examination: Examination, store: Store) -> list[str]:
    """Say which pixel gets which of the events."""
    names: dict[str, dict[str, None]] = {pixel.code: {} for pixel in store.pixels}
    for event in examination.events:
        names[event.pixel.code][event.event] = None
    return [f"pixel {code} gets {' and '.join(events) or 'nothing'}" for code, events in names.items()]


def _wait_note(event: OutboundEvent, wait: BeaconWait) -> str:
    note = f"{event.event} waits up to {wait.seconds:g} s for the browser's signals"
    reason = why_not_sendable(event.payload, wait.consent)
    return f"{note}; without them it would be skipped ({reason})" if reason else note


def _without_events(outcome: str, note: str) -> dict[str, Any]:
    return {"outcome": outcome, "events": [], "skipped": [], "notes": [note]}
