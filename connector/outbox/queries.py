"""Queries and replay for the dashboard, the metrics and the CLI.

Queries use an index, except `skipped` and `find` by `ids`, which read a whole table. Neither intake nor relay waits for
the reading ones. Times are Unix seconds. Every method raises CannotStore.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from connector.core.units import HOUR
from connector.core.webhook import BrokenWebhook
from connector.outbox.lanes import Lane, LaneState, read_lane_state
from connector.outbox.ledger import NO_ARRIVAL, ParkedWebhook
from connector.storage.database import Database
from connector.storage.tables import alerts, counters, events, identities, lanes, ledger, notices, parked, relays

# SQLite uses a partial index only if the query repeats its condition literally.
_FAILED: Any = sa.text("events.state IN ('rejected', 'expired')")
_NUMBERED = sa.text("ledger.order_number <> ''")
PREFIXES = ("", "order:", "checkout:", "customer:")
MOST = 100  # rows that a query about one order returns at most


@dataclass(frozen=True, slots=True)
class OpenProblem:
    """A current problem: its start, and the time of its alert, or None."""

    key: str
    sentence: str
    since: float
    told_at: float | None

    @property
    def kind(self) -> str:
        """The first part of the key."""
        return self.key.partition(":")[0]


@dataclass(frozen=True, slots=True)
class EventFilter:
    """The choice of events: every given field must match. Times are Unix seconds of `created_at`."""

    ids: tuple[str, ...] = ()  # event_ids
    store: str = ""
    state: str = ""
    event: str = ""
    since: float | None = None
    until: float | None = None
    rows: tuple[int, ...] = ()  # row ids; an event with one of them or of `ids` matches
    before: tuple[float, int] | None = None  # created_at and id of the last event of the previous page

    def conditions(self) -> list[sa.ColumnElement[bool]]:
        """Return the SQL conditions."""
        found: list[sa.ColumnElement[bool]] = []
        either = [events.c.event_id.in_(self.ids)] if self.ids else []
        either += [events.c.id.in_(self.rows)] if self.rows else []
        if either:
            found.append(sa.or_(*either))
        if self.store:
            found.append(events.c.store == self.store)
        if self.state:
            found.append(events.c.state == self.state)
        if self.state in ("rejected", "expired"):
            found.append(_FAILED)
        if self.event:
            found.append(events.c.event == self.event)
        if self.since is not None:
            found.append(events.c.created_at >= self.since)
        if self.until is not None:
            found.append(events.c.created_at <= self.until)
        if self.before is not None:
            found.append(sa.tuple_(events.c.created_at, events.c.id) < sa.tuple_(*map(sa.literal, self.before)))
        return found


@dataclass(frozen=True, slots=True)
class Subject:
    """The order, checkout or customer of a store that webhooks and events are about."""

    store: str
    object_key: str
    order_number: str = ""
    at: float = 0.0  # the last webhook or event


@dataclass(frozen=True, slots=True)
class ParkedSummary:
    """A parked webhook without its body."""

    id: int
    store: str
    topic: str
    reason: str
    parked_at: float


@dataclass(frozen=True, slots=True)
class LaneQueue:
    """The waiting events of a lane: their number (at least), the oldest's due time, and the start of a suspension."""

    lane: Lane
    number: int
    oldest: float | None
    suspended_since: float | None


class OutboxQueries:
    """Queries of the tables, the same on SQLite and PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, chosen: EventFilter, limit: int) -> list[sa.Row[Any]]:
        """Return matching events, newest first, without payloads; `kept` is True if there is one."""
        columns = [column for column in events.c if column.name not in ("payload", "email", "phone", "external_id")]
        kept = events.c.payload.is_not(None).label("kept")
        query = (
            sa.select(*columns, kept)
            .where(*chosen.conditions())
            .order_by(events.c.created_at.desc(), events.c.id.desc())
        )
        with self._database.read() as connection:
            return [*connection.execute(query.limit(limit))]

    def show(self, key: str) -> tuple[list[sa.Row[Any]], list[sa.Row[Any]]]:
        """Return (ledger lines, events) of an event_id, order number or object key.

        Row ids are looked up by `show_row` alone: an unknown order must not show another one whose row has its number.
        """
        with self._database.read() as connection:
            subjects = self._subjects(connection, key)
            lines = [line for subject in subjects for line in _rows_of(connection, ledger, subject)]
            found = [row for subject in subjects for row in _rows_of(connection, events, subject)]
        return sorted(lines, key=lambda line: line.id)[:MOST], sorted(found, key=lambda row: row.id)[:MOST]

    def show_row(self, row: int) -> tuple[list[sa.Row[Any]], list[sa.Row[Any]]]:
        """Return (ledger lines, events) of the order, checkout or customer of one event, by its row id."""
        with self._database.read() as connection:
            found = connection.execute(sa.select(events).where(events.c.id == row)).all()
        return self.story(found[0].store, found[0].object_key) if found and found[0].object_key else ([], [*found])

    def story(self, store: str, object_key: str) -> tuple[list[sa.Row[Any]], list[sa.Row[Any]]]:
        """Return (ledger lines, events) of one order, checkout or customer, oldest first."""
        with self._database.read() as connection:
            subject = (store, object_key)
            return _rows_of(connection, ledger, subject), _rows_of(connection, events, subject)

    def notice(self, store: str, object_key: str) -> sa.Row[Any] | None:
        """Return what a thin webhook has named and is not fetched yet, or None."""
        with self._database.read() as connection:
            return next(iter(_notices_of(connection, (store, object_key))), None)

    def notices(self, key: str) -> list[sa.Row[Any]]:
        """Return what `key` can mean of what thin webhooks have named and is not fetched yet."""
        with self._database.read() as connection:
            return [row for pair in self._subjects(connection, key) for row in _notices_of(connection, pair)]

    def search(self, key: str, email: bytes = b"") -> list[Subject]:
        """Return the subjects of an event_id, order number, platform id or hash of an e-mail address, latest first."""
        found = []
        with self._database.read() as connection:
            pairs = self._subjects(connection, key) if key else []
            if email:
                first = sa.select(events.c.store, events.c.object_key).where(events.c.email == email)
                further = sa.select(identities.c.store, identities.c.object_key).where(identities.c.digest == email)
                for query in (first.order_by(events.c.id.desc()), further):
                    pairs += [(row.store, row.object_key) for row in connection.execute(query.limit(MOST))]
            for pair in dict.fromkeys(pairs):
                lines, sent = _rows_of(connection, ledger, pair), _rows_of(connection, events, pair)
                number = next((line.order_number for line in lines if line.order_number), "")
                at = max([line.received_at for line in lines] + [row.created_at for row in sent], default=0.0)
                found.append(Subject(*pair, number, at))
        return sorted(found, key=lambda one: -one.at)

    def _subjects(self, connection: sa.Connection, key: str) -> list[tuple[str, str]]:
        """Return the (store, object key) pairs that `key` can mean; each interpretation costs an index look-up."""
        names = [prefix + key for prefix in PREFIXES]
        numbered = sa.select(ledger.c.store, ledger.c.object_key).where(
            ledger.c.order_number.in_([key, f"#{key}", key.removeprefix("#")]), _NUMBERED
        )
        queries = [numbered.order_by(ledger.c.id.desc()).limit(MOST)]
        for table in (ledger, events, notices):
            if not (stores := [*_distinct(connection, table.c.store)]):
                continue
            is_named = (table.c.store.in_(stores), table.c.object_key.in_(names))
            queries.append(sa.select(table.c.store, table.c.object_key).where(*is_named).limit(MOST))
        # An index on (pixel, event, event_id) needs values for all columns, not only for the last one.
        pixels = [*_distinct(connection, events.c.pixel)]
        sent_as = {name for pixel in pixels for name in _distinct(connection, events.c.event, events.c.pixel == pixel)}
        named = (events.c.pixel.in_(pixels), events.c.event.in_(sent_as), events.c.event_id == key)
        queries.append(sa.select(events.c.store, events.c.object_key).where(*named).limit(MOST))
        found = [(row[0], row[1]) for query in queries for row in connection.execute(query)]
        return [pair for pair in dict.fromkeys(found) if pair[1]]

    def replay(self, ids: Sequence[int], now: float, forget_sent: bool = False) -> int:
        """Make finished events due again, with the same event_id and bytes; return their number.

        `forget_sent` also clears the time when they may have reached TikTok, so that the relay does not hold them back.
        """
        values = {
            "state": "due",
            "due_at": now,
            "tried_at": None,
            "attempts": 0,
            "lease_owner": None,
            "lease_until": None,
            "settled_at": None,
        }
        values |= {"sent_at": None} if forget_sent else {}
        with self._database.write() as connection:
            ready = (events.c.id.in_(ids), events.c.state.not_in(("due", "held")), events.c.payload.is_not(None))
            return connection.execute(sa.update(events).where(*ready).values(values)).rowcount

    def parked(
        self, store: str = "", limit: int = 1000, after: int = 0, since: float | None = None, until: float | None = None
    ) -> list[ParkedWebhook]:
        """Return webhooks parked from `since` to `until` (Unix seconds) with an id above `after`, oldest first."""
        chosen = (parked.c.id > after, *_parked_conditions(store, since, until))
        query = sa.select(parked).where(*chosen).order_by(parked.c.id).limit(limit)
        with self._database.read() as connection:
            return [ParkedWebhook(**row._mapping) for row in connection.execute(query).all()]

    def parked_lines(self, store: str = "", limit: int = 50, before: int | None = None) -> list[ParkedSummary]:
        """Return parked webhooks with an id below `before`, newest first, without their bodies."""
        query = sa.select(*(parked.c[name] for name in ParkedSummary.__dataclass_fields__)).order_by(parked.c.id.desc())
        if store:
            query = query.where(parked.c.store == store)
        if before is not None:
            query = query.where(parked.c.id < before)
        with self._database.read() as connection:
            return [ParkedSummary(*row) for row in connection.execute(query.limit(limit))]

    def parked_number(self, store: str = "", since: float | None = None, until: float | None = None) -> int:
        """Return the number of webhooks parked from `since` to `until` (Unix seconds)."""
        query = sa.select(sa.func.count()).select_from(parked).where(*_parked_conditions(store, since, until))
        with self._database.read() as connection:
            return int(connection.execute(query).scalar() or 0)

    def broken_webhooks(self, since: float) -> dict[tuple[str, str], str]:
        """Return by store and topic why its webhook has delivered errors since then, and no data after them."""
        broken = (parked.c.parked_at > since, parked.c.reason.startswith(BrokenWebhook.PREFIX, autoescape=True))
        query = sa.select(parked.c.store, parked.c.topic, parked.c.reason, parked.c.parked_at).where(*broken)
        found = {}
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(parked.c.parked_at)).all()
            for row in {(row.store, row.topic): row for row in rows}.values():  # the latest of each
                if not _data_since(connection, row.store, row.topic, row.parked_at):
                    found[row.store, row.topic] = row.reason.removeprefix(BrokenWebhook.PREFIX)
        return found

    def counted(self, since: float = 0) -> list[sa.Row[Any]]:
        """Return the counters since `since`, summed by store, topic and what."""
        key = (counters.c.store, counters.c.topic, counters.c.what)
        total = sa.func.sum(counters.c.count).label("count")
        query = sa.select(*key, total).where(counters.c.hour >= int(since) // HOUR * HOUR)
        with self._database.read() as connection:
            return [*connection.execute(query.group_by(*key).order_by(*key))]

    def skipped(self, reason: str) -> dict[str, int]:
        """Return by store the number of orders, checkouts and customers skipped for a reason that begins so."""
        number = sa.func.count(sa.distinct(ledger.c.object_key))
        query = sa.select(ledger.c.store, number).where(ledger.c.reason.contains(f": {reason}", autoescape=True))
        with self._database.read() as connection:
            return {row[0]: row[1] for row in connection.execute(query.group_by(ledger.c.store))}

    def last_orders(self, store: str, number: int) -> list[str]:
        """Return the reasons and notes of the last relayed orders, newest first."""
        orders = (ledger.c.object_key.startswith("order:"), ledger.c.outcome == "relayed")
        query = sa.select(ledger.c.reason).where(ledger.c.store == store, *orders).order_by(ledger.c.id.desc())
        with self._database.read() as connection:
            return list(connection.execute(query.limit(number)).scalars())

    def lane_states(self, table: sa.Table = lanes) -> list[LaneState]:
        """Return the state of every lane that has ever been configured; of browsers' events with `funnel_lanes`."""
        with self._database.read() as connection:
            return [read_lane_state(row) for row in connection.execute(sa.select(table)).all()]

    def waiting(self) -> dict[Lane, int]:
        """Return the number of due events by lane, including stores that are no longer configured."""
        key = (events.c.store, events.c.pixel)
        query = sa.select(*key, sa.func.count().label("number")).where(events.c.state == "due").group_by(*key)
        with self._database.read() as connection:
            return {Lane(row.store, row.pixel): row.number for row in connection.execute(query.order_by(*key))}

    def queue(self, most: int) -> list[LaneQueue]:
        """Return the queue of every lane that has ever been configured, counted up to `most` events each."""
        found = []
        with self._database.read() as connection:
            for row in connection.execute(sa.select(lanes).order_by(lanes.c.store, lanes.c.pixel)).all():
                in_lane = (events.c.store == row.store, events.c.pixel == row.pixel, events.c.state == "due")
                oldest = connection.execute(sa.select(sa.func.min(events.c.due_at)).where(*in_lane)).scalar()
                counted = sa.select(events.c.due_at).where(*in_lane).limit(most).subquery()
                number = connection.execute(sa.select(sa.func.count()).select_from(counted)).scalar() if oldest else 0
                found.append(LaneQueue(Lane(row.store, row.pixel), int(number or 0), oldest, row.denied_since))
        return found

    def parked_by_store(self, names: Iterable[str], most: int) -> dict[str, int]:
        """Return the number of parked webhooks of each store, counted up to `most`."""
        with self._database.read() as connection:
            return {name: int(connection.execute(_count_parked(name, most)).scalar() or 0) for name in names}

    def suspended_lanes(self) -> int:
        """Return the number of suspended lanes."""
        query = sa.select(sa.func.count()).select_from(lanes).where(lanes.c.denied_since.is_not(None))
        with self._database.read() as connection:
            return int(connection.execute(query).scalar() or 0)

    def oldest_due(self, configured: Collection[Lane], now: float) -> float | None:
        """Return since when an event of these lanes has waited for a relay, or None.

        The events of a suspended lane wait for TikTok until its next probe.
        """
        open_lanes = sa.or_(lanes.c.denied_since.is_(None), lanes.c.denied_until < now)
        probe_at = sa.case((lanes.c.denied_since.is_not(None), lanes.c.denied_until), else_=0.0)
        first = (
            sa.select(sa.func.min(events.c.due_at))
            .where(events.c.store == lanes.c.store, events.c.pixel == lanes.c.pixel, events.c.state == "due")
            .correlate(lanes)
            .scalar_subquery()
        )
        query = sa.select(lanes.c.store, lanes.c.pixel, first, probe_at).where(open_lanes)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        due = (max(row[2], row[3]) for row in rows if row[2] is not None and Lane(row[0], row[1]) in configured)
        return min(due, default=None)

    def relay_seen(self) -> float | None:
        """Return the time of the last heartbeat of any relay, or None."""
        with self._database.read() as connection:
            return connection.execute(sa.select(sa.func.max(relays.c.seen_at))).scalar()

    def open_problems(self) -> list[OpenProblem]:
        """Return the current problems, the longest lasting first."""
        query = sa.select(*(alerts.c[name] for name in OpenProblem.__dataclass_fields__))
        query = query.where(alerts.c.noted_at.is_not(None), alerts.c.over_at.is_(None))
        with self._database.read() as connection:
            return [OpenProblem(*row) for row in connection.execute(query.order_by(alerts.c.since, alerts.c.key))]


def _rows_of(connection: sa.Connection, table: sa.Table, subject: tuple[str, str]) -> list[sa.Row[Any]]:
    is_about = (table.c.store == subject[0], table.c.object_key == subject[1])
    return [*connection.execute(sa.select(table).where(*is_about).order_by(table.c.id).limit(MOST))]


def _notices_of(connection: sa.Connection, subject: tuple[str, str]) -> list[sa.Row[Any]]:
    is_about = (notices.c.store == subject[0], notices.c.object_key == subject[1])
    return [*connection.execute(sa.select(notices).where(*is_about))]


def _data_since(connection: sa.Connection, store: str, topic: str, at: float) -> bool:
    """Return whether a webhook of this topic has brought data since then; one without news counts by the hour."""
    of_topic = (ledger.c.store == store, ledger.c.topic == topic)
    arrived = (ledger.c.outcome != "parked", ledger.c.delivery.not_in(NO_ARRIVAL))
    new = sa.select(ledger.c.id).where(ledger.c.received_at > at, *of_topic, *arrived)
    same = (counters.c.store == store, counters.c.topic == topic, counters.c.what == "duplicate")
    known = sa.select(counters.c.hour).where(counters.c.hour > at, *same)
    return any(connection.execute(query.limit(1)).first() for query in (new, known))


def _parked_conditions(store: str, since: float | None, until: float | None) -> Iterator[sa.ColumnElement[bool]]:
    if store:
        yield parked.c.store == store
    if since is not None:
        yield parked.c.parked_at >= since
    if until is not None:
        yield parked.c.parked_at <= until


def _count_parked(store: str, most: int) -> sa.Select[Any]:
    counted = sa.select(parked.c.store).where(parked.c.store == store).limit(most).subquery()
    return sa.select(sa.func.count()).select_from(counted)


def _distinct(connection: sa.Connection, column: sa.Column[str], *where: sa.ColumnElement[bool]) -> Iterator[str]:
    """Yield the few distinct values of an index's first column: one look-up for each, beyond the previous value."""
    found = connection.execute(sa.select(sa.func.min(column)).where(*where)).scalar()
    while found is not None:
        yield found
        found = connection.execute(sa.select(sa.func.min(column)).where(*where, column > found)).scalar()
