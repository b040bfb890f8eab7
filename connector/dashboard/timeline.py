"""An event's story as one line of time: shop, received, stored, sent, accepted; beside it the browser. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from connector.core.text import duration
from connector.meter.event_copies import EventCopy
from connector.outbox.ledger import NO_ARRIVAL
from connector.signals.seen_beacons import SeenBeacon

AT_ONCE = 0.05  # seconds; less is not worth a number
_END = {
    "accepted": ("accepted", "TikTok", "done"),
    "rejected": ("rejected", "TikTok", "bad"),
    "expired": ("expired", "not accepted in time", "bad"),
    "skipped": ("not sent", "deliberately", "bad"),
}


_SENDERS = {"snippet": "the snippet", "other": "other code", "both": "the snippet and other code"}


@dataclass(frozen=True, slots=True)
class Step:
    """A point of the line. `at` is in Unix seconds, None if it is not known or not reached.

    `state` is a class of the style sheet: done, bad, open (still to come), or browser, which stands beside the line.
    `after` says how long it took since the point before it.
    """

    name: str
    detail: str
    at: float | None
    state: Literal["done", "bad", "open", "browser"] = "done"
    after: str = ""


def timeline(row: Any, webhooks: Sequence[Any], browser: Iterable[Step], now: float) -> list[Step]:
    """Return the points of an event from the shop to TikTok, the browser's between them; `now` in Unix seconds.

    `webhooks` are the ledger's lines about the same order, `browser` what is known of the shopper's browser.
    """
    line = _with_durations([*_server_steps(row, webhooks, now)])
    for one in sorted(browser, key=lambda step: step.at or 0.0):
        step = Step(one.name, one.detail, one.at, "browser", _since(one.at, row.occurred_at))
        later = (place for place, point in enumerate(line) if point.state == "open" or _is_later(point, step))
        line.insert(next(later, len(line)), step)
    return line


def beacon_steps(beacons: Iterable[SeenBeacon]) -> list[Step]:
    """Return the points of an order's beacons: a beacon names the click and the browser, never the person."""
    return [Step("browser's beacon", _named(beacon), beacon.at, "browser") for beacon in beacons]


def _is_later(point: Step, step: Step) -> bool:
    return point.at is not None and step.at is not None and point.at > step.at


def copy_steps(copy: EventCopy | None) -> list[Step]:
    """Return the point of the browser's own copy of an event, if a page has reported one."""
    if copy is None:
        return []
    detail = f"sent by {_SENDERS[copy.sender]}" if copy.was_sent else "TikTok's script did not load: not sent"
    return [Step("browser's copy", detail, copy.sent_at, "browser")]


def _named(beacon: SeenBeacon) -> str:
    consent = f"consent {beacon.consent}" if beacon.consent else ""
    return "; ".join(filter(None, (consent, ", ".join(beacon.named))))


def _server_steps(row: Any, webhooks: Sequence[Any], now: float) -> Iterable[Step]:
    yield Step("shop", "the event's time", row.occurred_at)
    webhook = _webhook_of(row, webhooks)
    if webhook is not None and webhook.received_at < row.created_at:  # it was parked, and stored by a replay
        yield Step(_received(webhook), webhook.topic, webhook.received_at)
        yield Step("stored", "by a replay", row.created_at)
    elif webhook is not None:
        yield Step(f"{_received(webhook)}, stored", webhook.topic, row.created_at)
    else:
        yield Step("stored", "", row.created_at)
    if row.tried_at is not None:
        yield Step("sent", f"first of {row.attempts} attempts" if row.attempts > 1 else "", row.tried_at)
    yield _last_step(row, now)


def _last_step(row: Any, now: float) -> Step:
    if row.state in _END:
        name, detail, state = _END[row.state]
        where = "Test Events" if row.test_code and row.state == "accepted" else detail
        return Step(name, where, row.settled_at, state)  # type: ignore[arg-type]  # one of three literals
    if row.state == "held":
        return Step("waiting", "for the browser, until", row.due_at, "open")
    if row.attempts:
        return Step("next attempt", "", row.due_at if row.due_at > now else None, "open")
    return Step("to be sent", "", row.due_at if row.due_at > now else None, "open")


def _webhook_of(row: Any, webhooks: Sequence[Any]) -> Any | None:
    """Return the ledger's line that brought an event: the latest one that is not younger and became events."""
    earlier = [one for one in webhooks if one.received_at <= row.created_at and one.outcome == "relayed"]
    return max(earlier, key=lambda one: one.received_at, default=None)


def _received(webhook: Any) -> str:
    return "fetched" if webhook.delivery in NO_ARRIVAL else "received"


def _with_durations(steps: Sequence[Step]) -> list[Step]:
    found = [*steps[:1]]
    for before, step in pairwise(steps):
        after = "" if step.state == "open" else _since(step.at, before.at)
        found.append(Step(step.name, step.detail, step.at, step.state, after))
    return found


def _since(moment: float | None, start: float | None) -> str:
    """Return how long after `start` a moment was; negative where the clocks of shop and browser differ."""
    if moment is None or start is None:
        return ""
    seconds = moment - start
    if abs(seconds) < AT_ONCE:
        return "at once"
    return f"{duration(seconds)} later" if seconds > 0 else f"{duration(-seconds)} earlier"
