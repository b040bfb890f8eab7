"""Lists of events and webhooks for the dashboard: chosen by state and time, a page at a time, and counted.

Every query follows an index in the order of the list. Where few of a long time are wanted, only the hours are read in
which the statistics (`connector.monitoring.event_stats`) have counted some; of what they do not count, only the latest
MOST_READ. So a page costs much the same with a million rows. Times are Unix seconds. Raises CannotStore.
"""

import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import sqlalchemy as sa

from connector.core.units import HOUR
from connector.outbox.lanes import Lane
from connector.outbox.ledger import NO_ARRIVAL
from connector.storage.database import Database
from connector.storage.tables import counters, events, ledger, tallies

BATCH = 1000  # rows that are read at one time when a whole list is read
MOST_READ = 50_000  # events of a time that are looked through for those that no statistics count
UNCOUNTED = 2 * HOUR  # the last webhooks may not be counted yet
MARGIN = 60.0  # seconds by which an event may have been answered before the hour in which it is counted
Position = tuple[float, int]  # time and id of the last row of the page before
Span = tuple[float, float]

# SQLite uses a partial index only if the query repeats its condition literally.
_FINISHED: Any = sa.text("events.settled_at IS NOT NULL AND events.payload IS NOT NULL")
_KEY_ONLY: Any = sa.text("events.settled_at IS NOT NULL AND events.payload IS NULL")
_DUE: Any = sa.text("events.state = 'due'")
_FAILED: Any = sa.text("events.state IN ('rejected', 'expired')")

# A kind of the overview's bars, or a state → the states of its events.
EVENT_STATES: dict[str, tuple[str, ...]] = {
    "accepted": ("accepted",),
    "tested": ("accepted",),
    "failed": ("rejected", "expired"),
    "rejected": ("rejected",),
    "expired": ("expired",),
    "skipped": ("skipped",),
    "waiting": ("due",),
}
# A kind of the overview's bars → the outcomes of its webhooks in the ledger, and what the counters call the others.
WEBHOOK_OUTCOMES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "relayed": (("relayed",), ()),
    "skipped": (("skipped",), ()),
    "quiet": (("recorded",), ("ignored", "duplicate")),
    "parked": (("parked",), ()),
    "refused": ((), ("refused",)),
}
ANSWERED = ("accepted", "tested", "failed", "rejected", "expired")  # states that the statistics count
_EVENT_COLUMNS = [
    events.c[name]
    for name in (
        "id", "store", "pixel", "event", "event_id", "object_key", "test_code", "state", "occurred_at", "created_at",
        "settled_at", "due_at", "attempts", "code", "message",
    )
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class EventChoice:
    """The choice of events of these stores; "" is any. `state` is a key of EVENT_STATES.

    [since, until) is the time at which TikTok answered, or of a list of any state, at which they were stored. What
    waits is listed whatever its time, of these `lanes` alone. "accepted" and "failed" leave out what went to Test
    Events, as the overview's numbers do.
    """

    state: str = ""
    stores: tuple[str, ...] = ()
    pixel: str = ""
    event: str = ""
    since: float = 0.0
    until: float = 1e11
    lanes: tuple[Lane, ...] = ()

    @property
    def store(self) -> str:
        """The store, if it is only one."""
        return self.stores[0] if len(self.stores) == 1 else ""

    @property
    def order(self) -> tuple[sa.Column[Any], bool]:
        """The time by which the list is sorted, and True if the latest comes first."""
        if self.state == "waiting":
            return events.c.due_at, False
        return (events.c.settled_at if self.state else events.c.created_at), True


@dataclass(frozen=True, slots=True)
class WebhookChoice:
    """The choice of webhooks of these stores in [since, until). `kind` is a key of WEBHOOK_OUTCOMES; "" is any."""

    kind: str = ""
    stores: tuple[str, ...] = ()
    since: float = 0.0
    until: float = 1e11

    @property
    def store(self) -> str:
        """The store, if it is only one."""
        return self.stores[0] if len(self.stores) == 1 else ""

    @property
    def outcomes(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The outcomes in the ledger, and the names in the counters."""
        every = [*WEBHOOK_OUTCOMES.values()]
        lines, counted = (tuple(name for pair in every for name in pair[place]) for place in (0, 1))
        return WEBHOOK_OUTCOMES.get(self.kind, (lines, counted))


class Listing:
    """Reads the lists, on SQLite and PostgreSQL alike."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def events(
        self, choice: EventChoice, limit: int, after: Position | None = None, all_of_them: bool = False
    ) -> list[sa.Row[Any]]:
        """Return the next events after a position, in the order of the list, without their payloads.

        Without `all_of_them`, those before `searched_since` are left out.
        """
        column, latest_first = choice.order
        key = attrgetter(column.name, "id")
        found: list[sa.Row[Any]] = []
        with self._database.read() as connection:
            for span in _event_spans(connection, choice, all_of_them):
                if len(found) >= limit:
                    break
                rows: list[sa.Row[Any]] = []
                for part in _event_parts(choice, span):
                    query = _after(sa.select(*_EVENT_COLUMNS).where(*part), events, column, latest_first, after)
                    rows += connection.execute(query.limit(limit - len(found)))
                found += sorted(rows, key=key, reverse=latest_first)
        return found[:limit]

    def all_events(self, choice: EventChoice) -> Iterator[list[sa.Row[Any]]]:
        """Yield all events of a choice, some at a time, each in a transaction of its own."""
        key = attrgetter(choice.order[0].name, "id")
        after: Position | None = None
        while rows := self.events(choice, BATCH, after, all_of_them=True):
            yield rows
            after = key(rows[-1])

    def count_events(self, choice: EventChoice, most: int) -> int:
        """Return the number of events of a choice, counted up to `most`."""
        number = 0
        with self._database.read() as connection:
            for span in _event_spans(connection, choice, False):
                for part in _event_parts(choice, span):
                    if number < most:
                        number += _count(connection, sa.select(events.c.id).where(*part), most - number)
        return number

    def counted_events(self, choice: EventChoice, names: Mapping[str, Collection[str]]) -> list[sa.Row[Any]]:
        """Return those that are only counted, of these events by store: from whole hours, the most frequent first.

        What browsers report of the steps before an order is kept for a day, and not among the orders' events.
        """
        states = EVENT_STATES.get(choice.state, ())
        what = "tested" if choice.state == "tested" else "sent"
        of_store = [
            sa.and_(tallies.c.store == store, tallies.c.event.in_(sorted(names[store])))
            for store in choice.stores
            if names.get(store)
        ]
        if not of_store or choice.state not in ANSWERED:
            return []
        number = sa.func.sum(tallies.c.count).label("number")
        conditions = [
            sa.or_(*of_store),
            sa.or_(*(tallies.c.detail.startswith(state) for state in states)),
            tallies.c.what == what,
            tallies.c.hour >= int(choice.since) // HOUR * HOUR,
            tallies.c.hour < int(choice.until),
        ]
        chosen = {"pixel": choice.pixel, "event": choice.event}
        conditions += [tallies.c[name] == value for name, value in chosen.items() if value]
        key = (tallies.c.store, tallies.c.event)
        query = sa.select(*key, number).where(*conditions).group_by(*key).order_by(number.desc(), *key)
        with self._database.read() as connection:
            return [*connection.execute(query)]

    def searched_since(self, choice: EventChoice) -> float:
        """Return the time since which `events` searches: later than the chosen one where too many are to be read."""
        with self._database.read() as connection:
            return _searched_since(connection, choice)

    def webhooks(self, choice: WebhookChoice, limit: int, after: Position | None = None) -> list[sa.Row[Any]]:
        """Return the next webhooks in the ledger after a position, the latest first."""
        columns = [column for column in ledger.c if column.name != "body_sha256"]
        found: list[sa.Row[Any]] = []
        with self._database.read() as connection:
            for span in _line_spans(connection, choice):
                if len(found) >= limit:
                    break
                query = sa.select(*columns).where(*_line_conditions(choice, span))
                query = _after(query, ledger, ledger.c.received_at, True, after)
                found += connection.execute(query.limit(limit - len(found)))
        return found

    def all_webhooks(self, choice: WebhookChoice) -> Iterator[list[sa.Row[Any]]]:
        """Yield all webhooks of a choice that are in the ledger, some at a time."""
        after: Position | None = None
        while rows := self.webhooks(choice, BATCH, after):
            yield rows
            after = (rows[-1].received_at, rows[-1].id)

    def count_webhooks(self, choice: WebhookChoice, most: int) -> int:
        """Return the number of webhooks of a choice that are in the ledger, counted up to `most`."""
        number = 0
        with self._database.read() as connection:
            for span in _line_spans(connection, choice):
                if number < most:
                    lines = sa.select(ledger.c.id).where(*_line_conditions(choice, span))
                    number += _count(connection, lines, most - number)
        return number

    def counted_webhooks(self, choice: WebhookChoice) -> list[sa.Row[Any]]:
        """Return those that are only counted, by store, topic and what: from whole hours, the most frequent first."""
        key = (counters.c.store, counters.c.topic, counters.c.what)
        number = sa.func.sum(counters.c.count).label("number")
        hours = (counters.c.hour >= int(choice.since) // HOUR * HOUR, counters.c.hour < int(choice.until))
        chosen = (counters.c.store.in_(choice.stores), counters.c.what.in_(choice.outcomes[1]))
        query = sa.select(*key, number).where(*hours, *chosen)
        with self._database.read() as connection:
            return [*connection.execute(query.group_by(*key).order_by(number.desc(), *key))]

    def order_numbers(self, subjects: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
        """Return the order numbers of these (store, object key) pairs, as far as webhooks named them."""
        wanted = set(subjects)
        stores, keys = {store for store, _ in wanted}, {key for _, key in wanted}
        # Without a condition on the number, for which SQLite would read the whole index of numbers.
        query = sa.select(ledger.c.store, ledger.c.object_key, ledger.c.order_number).where(
            ledger.c.store.in_(sorted(stores)), ledger.c.object_key.in_(sorted(keys))
        )
        with self._database.read() as connection:
            return {(row[0], row[1]): row[2] for row in connection.execute(query) if row[2]}


def _event_spans(connection: sa.Connection, choice: EventChoice, all_of_them: bool) -> list[Span]:
    """Return the spans of time in which there are events of a choice, in the order of the list."""
    chosen = (choice.since, choice.until)
    if choice.state in ("accepted", "tested"):
        what = "sent" if choice.state == "accepted" else "tested"
        named = {"pixel": choice.pixel, "event": choice.event}
        counted = [tallies.c[name] == value for name, value in named.items() if value]
        counted += [tallies.c.what == what, tallies.c.detail.startswith("accepted")]
        return _counted_spans(connection, choice.stores, counted, chosen)
    return [chosen if all_of_them else (_searched_since(connection, choice), choice.until)]


def _searched_since(connection: sa.Connection, choice: EventChoice) -> float:
    if choice.state not in ("", "skipped"):
        return choice.since
    column, _ = choice.order
    since = choice.since
    for index in ([_FINISHED], [_KEY_ONLY]) if choice.state else ([],):
        times = sa.select(column).where(*index, column >= choice.since, column < choice.until)
        first = connection.execute(times.order_by(column.desc()).offset(MOST_READ).limit(1)).scalar()
        since = max(since, first or 0.0)
    return since


def _line_spans(connection: sa.Connection, choice: WebhookChoice) -> list[Span]:
    """Return the spans of time in which there are webhooks of a choice, the latest first."""
    # A line's outcome may have changed since it was counted: what was parked was replayed, or settings changed.
    before = {"relayed": ("relayed", "parked", "skipped"), "parked": ("parked",)}
    outcomes = {once for now in choice.outcomes[0] for once in before.get(now, (now, "parked"))}
    counted = [tallies.c.what == "received", tallies.c.detail.in_(sorted(outcomes))]
    return _counted_spans(connection, choice.stores, counted, (choice.since, choice.until), time.time() - UNCOUNTED)


def _counted_spans(
    connection: sa.Connection,
    stores: Iterable[str],
    counted: Iterable[sa.ColumnElement[bool]],
    chosen: Span,
    counted_until: float = 1e11,
) -> list[Span]:
    """Return the spans of the hours in which the statistics have counted some, and those that they do not cover."""
    since, until = chosen
    conditions = (tallies.c.store.in_(sorted(stores)), *counted)
    hours = sa.select(tallies.c.hour).distinct().where(
        *conditions, tallies.c.hour > int(since) - HOUR, tallies.c.hour < int(until) + HOUR
    )  # fmt: skip
    first = connection.execute(sa.select(sa.func.min(tallies.c.hour))).scalar()
    found = [(hour - MARGIN, hour + HOUR) for hour in connection.execute(hours).scalars()]
    found += [(since, until if first is None else float(first)), (max(counted_until, since), until)]
    merged: list[Span] = []
    for start, end in sorted((max(start, since), min(end, until)) for start, end in found):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        elif start < end:
            merged.append((start, end))
    return merged[::-1]


def _event_parts(choice: EventChoice, span: Span) -> list[list[sa.ColumnElement[bool]]]:
    """Return the conditions of the parts of a list, each of which has an index in the list's order."""
    column, _ = choice.order
    common: list[Any] = [
        events.c[name] == value for name, value in (("pixel", choice.pixel), ("event", choice.event)) if value
    ]
    if choice.state == "waiting":
        lanes = [lane for lane in choice.lanes if lane.store in choice.stores]
        return [[*common, _DUE, events.c.store == lane.store, events.c.pixel == lane.pixel] for lane in lanes]
    common += [_is_of(events, choice.stores), column >= span[0], column < span[1]]
    if not choice.state:
        return [common]
    common.append(events.c.state.in_(EVENT_STATES[choice.state]))
    if choice.state in ("accepted", "tested", "failed"):
        common.append(events.c.test_code != "" if choice.state == "tested" else events.c.test_code == "")
    if choice.state in ("failed", "rejected", "expired"):
        return [[*common, _FAILED]]
    return [[*common, _FINISHED], [*common, _KEY_ONLY]]


def _line_conditions(choice: WebhookChoice, span: Span) -> list[sa.ColumnElement[bool]]:
    return [
        _is_of(ledger, choice.stores),
        ledger.c.received_at >= span[0],
        ledger.c.received_at < span[1],
        ledger.c.outcome.in_(choice.outcomes[0]),
        ledger.c.delivery.not_in(NO_ARRIVAL),
    ]


def _is_of(table: sa.Table, stores: Iterable[str]) -> sa.ColumnElement[bool]:
    """Return a condition on the store that no index answers: it would be one in another order than the list's."""
    return table.c.store.concat("").in_(sorted(stores))


def _after(
    query: sa.Select[Any], table: sa.Table, column: sa.Column[Any], latest_first: bool, after: Position | None
) -> sa.Select[Any]:
    """Return the query in the list's order, from a position on."""
    if after is not None:
        place, row = sa.tuple_(column, table.c.id), sa.tuple_(*map(sa.literal, after))
        query = query.where(place < row if latest_first else place > row)
    if latest_first:
        return query.order_by(column.desc(), table.c.id.desc())
    return query.order_by(column, table.c.id)


def _count(connection: sa.Connection, query: sa.Select[Any], most: int) -> int:
    counted = sa.select(sa.func.count()).select_from(query.limit(most).subquery())
    return int(connection.execute(counted).scalar() or 0)
