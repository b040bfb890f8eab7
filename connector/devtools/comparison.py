"""`connector preview --with`: the difference that other settings make to a shop's history. Nothing is stored or sent.

Every body is examined with the present settings and with the new ones. On each side the first event with a pixel, name
and event_id counts, as in the outbox. Then the events of each order, checkout or customer are paired. Age limits
(max_event_age, go_live) are not applied: the question is what will become of such orders, not of these.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal

import msgspec
from msgspec import Struct

from connector.core.event import Milestone
from connector.core.platform import Platform
from connector.core.signature import body_sha256
from connector.core.store import Store
from connector.core.webhook import Webhook
from connector.intake.examine import Examination, examine, why_not_examined
from connector.mapping.tiktok_event import OutboundEvent

EXAMPLES = 10  # of each group of differences
Kind = Literal["disappears", "appears", "changes"]
KINDS: tuple[Kind, ...] = ("disappears", "appears", "changes")
SHOWN = ("event", "pixel", "event_id", "test_event_code", "properties.", "contents.", "wait", "event_time")
_decode = msgspec.json.Decoder(float_hook=Decimal).decode


class PlannedEvent(Struct, frozen=True):
    """An event that one side would send. `wait` is how many seconds it waits for the browser; 0: it does not."""

    milestone: Milestone
    pixel: str
    event: str
    event_id: str
    test_event_code: str
    occurred_at: float
    wait: float
    payload: bytes

    @property
    def key(self) -> tuple[str, str, str]:
        """The key of which the outbox has one row."""
        return self.pixel, self.event, self.event_id

    @property
    def amount(self) -> tuple[Decimal | None, str]:
        """Value and currency as they would be sent; None and "" where there are none."""
        properties = _decode(self.payload).get("properties", {})
        value = properties.get("value")
        return None if value is None else Decimal(value), properties.get("currency", "")


class Subject(Struct):
    """An order, checkout or customer: its events by side (0: present, 1: new), and why others are not sent."""

    key: str
    number: str = ""
    events: tuple[list[PlannedEvent], list[PlannedEvent]] = msgspec.field(default_factory=lambda: ([], []))
    reasons: tuple[dict[str, str], dict[str, str]] = msgspec.field(default_factory=lambda: ({}, {}))

    @property
    def name(self) -> str:
        """The order's number where the shop has given it one, else the key in words."""
        return f"order {self.number}" if self.number else self.key.replace(":", " ", 1)


class Difference(Struct, frozen=True):
    """One event that appears, disappears or changes; `old` is None if it appears, `new` if it disappears.

    `fields` are the changed ones, with their dotted names at TikTok; `reason` is why the other side does not send it.
    """

    kind: Kind
    subject: str
    old: PlannedEvent | None
    new: PlannedEvent | None
    fields: tuple[str, ...] = ()
    reason: str = ""

    @property
    def event(self) -> PlannedEvent:
        """The event that is left, or the only one there is."""
        found = self.new or self.old
        assert found is not None
        return found

    @property
    def name(self) -> str:
        """The event's name; both if it changes."""
        if self.old and self.new and self.old.event != self.new.event:
            return f"{self.old.event} → {self.new.event}"
        return self.event.event


class Group(Struct):
    """Differences of one kind, name, fields and reason: how many, and the first of them."""

    kind: Kind
    name: str
    fields: tuple[str, ...]
    reason: str
    number: int = 0
    examples: list[Difference] = msgspec.field(default_factory=list)


class Sum(Struct):
    """Number and value of the events of one pixel, name and currency, by side."""

    pixel: str
    event: str
    currency: str
    numbers: list[int] = msgspec.field(default_factory=lambda: [0, 0])
    values: list[Decimal] = msgspec.field(default_factory=lambda: [Decimal(0), Decimal(0)])


class Comparison:
    """Takes bodies one by one through the settings of `present` and `new`, two versions of one store."""

    def __init__(self, present: Store, new: Store, platform: Platform, now: datetime | None = None) -> None:
        self._stores = (present, new)
        self._platform = platform
        self._now = now or datetime.now(UTC)
        self._subjects: dict[str, Subject] = {}
        self._known: tuple[set[tuple[str, str, str]], set[tuple[str, str, str]]] = (set(), set())
        self._seen: set[bytes] = set()
        self.bodies = 0
        self.outside = 0  # subjects without an event in the period
        self.failures: tuple[Counter[str], Counter[str]] = (Counter(), Counter())  # bodies by reason

    def add(self, topic: str, body: bytes) -> None:
        """Examine a body on both sides; one that was added before changes nothing."""
        digest = body_sha256(body)
        if digest in self._seen:
            return
        self._seen.add(digest)
        self.bodies += 1
        for side, store in enumerate(self._stores):
            try:
                found = examine(Webhook(topic, body, self._now), self._platform, store, self._now, None)
            except Exception as error:
                self.failures[side][why_not_examined(error)] += 1
            else:
                self._take(side, found)

    def _take(self, side: int, found: Examination) -> None:
        for skip in found.skipped:
            if found.object_key:
                self._subject(found.object_key, found).reasons[side][skip.milestone] = skip.reason
        for event in found.events:
            planned = _planned(event)
            if planned.key not in self._known[side]:
                self._known[side].add(planned.key)
                self._subject(event.object_key or event.event_id, found).events[side].append(planned)

    def _subject(self, key: str, found: Examination) -> Subject:
        subject = self._subjects.setdefault(key, Subject(key))
        subject.number = subject.number or found.order_number
        return subject

    def limit(self, since: datetime) -> None:
        """Drop the subjects whose events all happened before `since`: they only changed in the period."""
        start = since.timestamp()
        for key, subject in [*self._subjects.items()]:
            happened = [event.occurred_at for events in subject.events for event in events]
            if happened and max(happened) < start:
                del self._subjects[key]
                self.outside += 1

    @property
    def subjects(self) -> Counter[str]:
        """The numbers of orders, checkouts and customers, by the first word of their keys."""
        return Counter(key.partition(":")[0] for key in self._subjects)

    @property
    def without_events(self) -> Counter[str]:
        """The numbers of subjects that yield no event on either side, by the present reasons."""
        silent = (one for one in self._subjects.values() if not any(one.events))
        return Counter("; ".join(dict.fromkeys(one.reasons[0].values())) for one in silent if one.reasons[0])

    def differences(self) -> Iterator[Difference]:
        """Yield every difference, in the sequence of the bodies."""
        for subject in self._subjects.values():
            yield from _differences(subject)

    def groups(self) -> list[Group]:
        """Return the differences in groups, the largest of each kind first."""
        found: dict[tuple[Kind, str, tuple[str, ...], str], Group] = {}
        for one in self.differences():
            key = (one.kind, one.name, one.fields, one.reason)
            group = found.setdefault(key, Group(*key))
            group.number += 1
            if len(group.examples) < EXAMPLES:
                group.examples.append(one)
        return sorted(found.values(), key=lambda group: (KINDS.index(group.kind), -group.number))

    def sums(self) -> list[Sum]:
        """Return number and value of both sides by pixel, event and currency ("" without a value)."""
        found: dict[tuple[str, str, str], Sum] = {}
        for subject in self._subjects.values():
            for side, events in enumerate(subject.events):
                for event in events:
                    value, currency = event.amount
                    key = (event.pixel, event.event, currency if value is not None else "")
                    total = found.setdefault(key, Sum(*key))
                    total.numbers[side] += 1
                    total.values[side] += value or 0
        return [found[key] for key in sorted(found)]

    def waiting(self, side: int) -> int:
        """Return the number of events of one side that wait for the browser's signals."""
        return sum(bool(event.wait) for subject in self._subjects.values() for event in subject.events[side])


def _planned(event: OutboundEvent) -> PlannedEvent:
    return PlannedEvent(
        milestone=event.milestone,
        pixel=event.pixel.code,
        event=event.event,
        event_id=event.event_id,
        test_event_code=event.pixel.test_event_code,
        occurred_at=event.occurred_at.timestamp(),
        wait=event.beacon_wait.seconds if event.beacon_wait else 0.0,
        payload=event.payload,
    )


# --- one order, checkout or customer ---------------------------------------------------------------------------

# What makes two events the same one, the surest first. TikTok knows an event by pixel, name and event_id; a merchant,
# by what happened in the shop.
_SAME: tuple[Callable[[PlannedEvent], tuple[str, ...]], ...] = (
    lambda event: event.key,
    lambda event: (event.pixel, event.event),
    lambda event: (event.milestone, event.pixel),
    lambda event: (event.milestone, event.event),
    lambda event: (event.milestone,),
)


def _differences(subject: Subject) -> Iterator[Difference]:
    old, new = ([*events] for events in subject.events)
    for same in _SAME:
        for event in [*old]:
            match = next((other for other in new if same(other) == same(event)), None)
            if match is None:
                continue
            old.remove(event)
            new.remove(match)
            if fields := changed_fields(event, match):
                yield Difference("changes", subject.name, event, match, fields)
    for event in old:
        yield Difference("disappears", subject.name, event, None, reason=subject.reasons[1].get(event.milestone, ""))
    for event in new:
        yield Difference("appears", subject.name, None, event, reason=subject.reasons[0].get(event.milestone, ""))


def changed_fields(old: PlannedEvent, new: PlannedEvent) -> tuple[str, ...]:
    """Return the names of the fields that differ, in alphabetical order after those of the event itself."""
    before, after = field_values(old), field_values(new)
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    first = ("event", "pixel", "event_id", "test_event_code")
    return (*(name for name in first if name in changed), *sorted(changed - {*first}))


def field_values(event: PlannedEvent) -> dict[str, Any]:
    """Return an event's fields by their dotted names at TikTok; the ids in `contents` count as a field of their own."""
    found: dict[str, Any] = {name: getattr(event, name) for name in ("pixel", "test_event_code", "wait")}
    for name, value in _decode(event.payload).items():
        found |= {f"{name}.{key}": inner for key, inner in value.items()} if isinstance(value, dict) else {name: value}
    if isinstance(contents := found.pop("properties.contents", None), list):
        columns: dict[str, list[Any]] = defaultdict(list)
        for content in contents:
            for key in ("content_id", "price", "quantity", "content_name", "content_category", "brand"):
                columns[f"contents.{key}"].append(content.get(key))
        found |= columns
    return found


def shown_change(one: Difference) -> str:
    """Return what changes, "properties.value 44.50 → 40.00"; of persons and pages only the field's name."""
    if one.old is None or one.new is None:
        value, currency = one.event.amount
        return f"{one.event.event_id}  {'' if value is None else f'{value:f} {currency}'}".rstrip()
    before, after = field_values(one.old), field_values(one.new)
    parts = [
        f"{name} {_text(before.get(name))} → {_text(after.get(name))}" if name.startswith(SHOWN) else name
        for name in one.fields
    ]
    return f"{one.new.event_id}  {', '.join(parts)}"


def _text(value: object) -> str:
    if isinstance(value, list):
        shown = " ".join(_text(inner) for inner in value[:5])
        return f"[{shown}{' …' if len(value) > 5 else ''}]"
    return f"{value:f}" if isinstance(value, Decimal) else "–" if value in (None, "") else str(value)


def as_json(comparison: Comparison) -> dict[str, Any]:
    """Return the comparison for machines; amounts are Decimals."""
    return {
        "bodies": comparison.bodies,
        "subjects": dict(comparison.subjects),
        "outside": comparison.outside,
        "without_events": dict(comparison.without_events),
        "failed": [dict(failures) for failures in comparison.failures],
        "waiting": [comparison.waiting(side) for side in (0, 1)],
        "sums": [
            {
                "pixel": total.pixel,
                "event": total.event,
                "currency": total.currency,
                "present": {"number": total.numbers[0], "value": total.values[0]},
                "new": {"number": total.numbers[1], "value": total.values[1]},
            }
            for total in comparison.sums()
        ],
        "differences": [
            {
                "kind": group.kind,
                "event": group.name,
                "fields": group.fields,
                "reason": group.reason,
                "number": group.number,
                "examples": [_example(one) for one in group.examples],
            }
            for group in comparison.groups()
        ],
    }


def _example(one: Difference) -> dict[str, Any]:
    sides = [(name, event) for name, event in (("present", one.old), ("new", one.new)) if event is not None]
    return {"subject": one.subject} | {
        name: {
            field: value
            for field, value in field_values(event).items()
            if field.startswith(SHOWN) and (field in one.fields or field in ("event", "pixel", "event_id"))
        }
        for name, event in sides
    }
