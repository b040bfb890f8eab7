"""The desk: what people and pages ask of the outbox, and what they set going again.

Every question goes by an index, however many rows there are. Neither half of the way waits for anything here. Times are
Unix seconds. Raises CannotStore like the outbox.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from connector.core.units import HOUR
from connector.outbox.lanes import Lane, LaneState, lane_state
from connector.outbox.outbox import ParkedWebhook
from connector.storage.database import Database
from connector.storage.tables import alerts, counters, events, identities, lanes, ledger, parked, relays

# In the very words of the indexes: SQLite finds them by nothing else.
_FAILED: Any = sa.text("events.state IN ('rejected', 'expired')")
_NUMBERED = sa.text("ledger.order_number <> ''")
PREFIXES = ("", "order:", "checkout:", "customer:")
MOST = 100  # rows that a question about one order brings


@dataclass(frozen=True, slots=True)
class OpenProblem:
    """A problem that there is now: since when, and when somebody was told by an alert, or None."""

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
    """Which events a command is about: every word given must fit. Times are Unix seconds of `created_at`."""

    ids: tuple[str, ...] = ()  # event_ids or row ids
    store: str = ""
    state: str = ""
    event: str = ""
    since: float | None = None
    until: float | None = None
    rows: tuple[int, ...] = ()  # row ids, and nothing else
    before: tuple[float, int] | None = None  # created_at and id of the last one of the page before

    def conditions(self) -> list[sa.ColumnElement[bool]]:
        """The same as SQL."""
        found: list[sa.ColumnElement[bool]] = []
        if self.ids:
            numbers = [int(text) for text in self.ids if text.isdecimal() and len(text) < 19]
            found.append(sa.or_(events.c.event_id.in_(self.ids), events.c.id.in_(numbers)))
        if self.rows:
            found.append(events.c.id.in_(self.rows))
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
    """Whom or what webhooks and events were about: an order, a checkout or a customer of a store."""

    store: str
    object_key: str
    order_number: str = ""
    at: float = 0.0  # when it was last heard of


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
    """What waits in a lane: how many (at least), when the first of them is due, since when TikTok refuses the lane."""

    lane: Lane
    number: int
    oldest: float | None
    suspended_since: float | None


class OutboxQueries:
    """The tables as people look at them, the same on SQLite and PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, chosen: EventFilter, limit: int) -> list[sa.Row[Any]]:
        """Events that fit, newest first, without their payloads: `kept` says whether there is one."""
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
        """Everything known of an event_id, event row id, order number or object key: (ledger lines, events)."""
        with self._database.read() as connection:
            subjects = self._subjects(connection, key)
            lines = [line for subject in subjects for line in _of(connection, ledger, subject)]
            found = [row for subject in subjects for row in _of(connection, events, subject)]
        return sorted(lines, key=lambda line: line.id)[:MOST], sorted(found, key=lambda row: row.id)[:MOST]

    def story(self, store: str, object_key: str) -> tuple[list[sa.Row[Any]], list[sa.Row[Any]]]:
        """All webhooks and events of one order, checkout or customer, the oldest first: (ledger lines, events)."""
        with self._database.read() as connection:
            subject = (store, object_key)
            return _of(connection, ledger, subject), _of(connection, events, subject)

    def search(self, key: str, email: bytes = b"") -> list[Subject]:
        """Whom an event_id, order number, platform id or the hash of an e-mail address is about, the latest first."""
        found = []
        with self._database.read() as connection:
            pairs = self._subjects(connection, key) if key else []
            if email:
                first = sa.select(events.c.store, events.c.object_key).where(events.c.email == email)
                further = sa.select(identities.c.store, identities.c.object_key).where(identities.c.digest == email)
                for query in (first.order_by(events.c.id.desc()), further):
                    pairs += [(row.store, row.object_key) for row in connection.execute(query.limit(MOST))]
            for pair in dict.fromkeys(pairs):
                lines, sent = _of(connection, ledger, pair), _of(connection, events, pair)
                number = next((line.order_number for line in lines if line.order_number), "")
                at = max([line.received_at for line in lines] + [row.created_at for row in sent], default=0.0)
                found.append(Subject(*pair, number, at))
        return sorted(found, key=lambda one: -one.at)

    def _subjects(self, connection: sa.Connection, key: str) -> list[tuple[str, str]]:
        """The (store, object key) pairs a word may mean: each way of meaning one is a look into an index."""
        names = [prefix + key for prefix in PREFIXES]
        numbered = sa.select(ledger.c.store, ledger.c.object_key).where(
            ledger.c.order_number.in_([key, f"#{key}", key.removeprefix("#")]), _NUMBERED
        )
        queries = [numbered.order_by(ledger.c.id.desc()).limit(MOST)]
        for table in (ledger, events):
            mine = (table.c.store.in_([*_leap(connection, table.c.store)]), table.c.object_key.in_(names))
            queries.append(sa.select(table.c.store, table.c.object_key).where(*mine).limit(MOST))
        # The beginnings of the events' own key: its end alone is no way into an index.
        pixels = [*_leap(connection, events.c.pixel)]
        sent_as = {name for pixel in pixels for name in _leap(connection, events.c.event, events.c.pixel == pixel)}
        named = (events.c.pixel.in_(pixels), events.c.event.in_(sent_as), events.c.event_id == key)
        queries.append(sa.select(events.c.store, events.c.object_key).where(*named).limit(MOST))
        found = [(row[0], row[1]) for query in queries for row in connection.execute(query)]
        if not found and key.isdecimal() and len(key) < 19:  # no order of this number: a row then
            row = connection.execute(
                sa.select(events.c.store, events.c.object_key).where(events.c.id == int(key))
            ).first()
            found = [(row[0], row[1])] if row else []
        return [pair for pair in dict.fromkeys(found) if pair[1]]

    def replay(self, ids: Sequence[int], now: float, forget_sent: bool = False) -> int:
        """Make finished events due again, with the same event_id and bytes; how many there were.

        `forget_sent` also forgets when they may have reached TikTok, so that the relay does not hold them back.
        """
        again = {
            "state": "due",
            "due_at": now,
            "tried_at": None,
            "attempts": 0,
            "lease_owner": None,
            "lease_until": None,
            "settled_at": None,
        }
        again |= {"sent_at": None} if forget_sent else {}
        with self._database.write() as connection:
            ready = (events.c.id.in_(ids), events.c.state.not_in(("due", "held")), events.c.payload.is_not(None))
            return connection.execute(sa.update(events).where(*ready).values(again)).rowcount

    def parked(self, store: str = "", limit: int = 1000, after: int = 0) -> list[ParkedWebhook]:
        """Parked bodies, oldest first, from the one after id `after` on."""
        query = sa.select(parked).where(parked.c.id > after).order_by(parked.c.id).limit(limit)
        if store:
            query = query.where(parked.c.store == store)
        with self._database.read() as connection:
            return [ParkedWebhook(**row._mapping) for row in connection.execute(query).all()]

    def parked_lines(self, store: str = "", limit: int = 50, before: int | None = None) -> list[ParkedSummary]:
        """Parked webhooks, the newest first, from the one before id `before` on; their bodies stay where they are."""
        query = sa.select(*(parked.c[name] for name in ParkedSummary.__dataclass_fields__)).order_by(parked.c.id.desc())
        if store:
            query = query.where(parked.c.store == store)
        if before is not None:
            query = query.where(parked.c.id < before)
        with self._database.read() as connection:
            return [ParkedSummary(*row) for row in connection.execute(query.limit(limit))]

    def parked_number(self, store: str = "") -> int:
        """How many bodies are parked."""
        query = sa.select(sa.func.count()).select_from(parked)
        if store:
            query = query.where(parked.c.store == store)
        with self._database.read() as connection:
            return int(connection.execute(query).scalar() or 0)

    def counted(self, since: float = 0) -> list[sa.Row[Any]]:
        """The counters summed per store, topic and what, from `since` on."""
        key = (counters.c.store, counters.c.topic, counters.c.what)
        total = sa.func.sum(counters.c.count).label("count")
        query = sa.select(*key, total).where(counters.c.hour >= int(since) // HOUR * HOUR)
        with self._database.read() as connection:
            return [*connection.execute(query.group_by(*key).order_by(*key))]

    def skipped(self, reason: str) -> dict[str, int]:
        """How many orders, checkouts and customers of each store were skipped for a reason that begins so."""
        number = sa.func.count(sa.distinct(ledger.c.object_key))
        query = sa.select(ledger.c.store, number).where(ledger.c.reason.contains(f": {reason}", autoescape=True))
        with self._database.read() as connection:
            return {row[0]: row[1] for row in connection.execute(query.group_by(ledger.c.store))}

    def last_orders(self, store: str, number: int) -> list[str]:
        """The reasons and notes of the last orders that were relayed, the newest first."""
        orders = (ledger.c.object_key.startswith("order:"), ledger.c.outcome == "relayed")
        query = sa.select(ledger.c.reason).where(ledger.c.store == store, *orders).order_by(ledger.c.id.desc())
        with self._database.read() as connection:
            return list(connection.execute(query.limit(number)).scalars())

    def lane_states(self) -> list[LaneState]:
        """Every lane that has ever been configured."""
        with self._database.read() as connection:
            return [lane_state(row) for row in connection.execute(sa.select(lanes)).all()]

    def waiting(self) -> dict[Lane, int]:
        """How many events wait to be sent, by lane; those of stores that are no longer configured too."""
        key = (events.c.store, events.c.pixel)
        query = sa.select(*key, sa.func.count().label("number")).where(events.c.state == "due").group_by(*key)
        with self._database.read() as connection:
            return {Lane(row.store, row.pixel): row.number for row in connection.execute(query.order_by(*key))}

    def queue(self, most: int) -> list[LaneQueue]:
        """What waits in each lane that has ever been configured, counted up to `most` in each."""
        found = []
        with self._database.read() as connection:
            for row in connection.execute(sa.select(lanes).order_by(lanes.c.store, lanes.c.pixel)).all():
                mine = (events.c.store == row.store, events.c.pixel == row.pixel, events.c.state == "due")
                oldest = connection.execute(sa.select(sa.func.min(events.c.due_at)).where(*mine)).scalar()
                some = sa.select(events.c.due_at).where(*mine).limit(most).subquery()
                number = connection.execute(sa.select(sa.func.count()).select_from(some)).scalar() if oldest else 0
                found.append(LaneQueue(Lane(row.store, row.pixel), int(number or 0), oldest, row.denied_since))
        return found

    def parked_by_store(self, names: Iterable[str], most: int) -> dict[str, int]:
        """How many bodies of each of these stores are parked, counted up to `most`."""
        with self._database.read() as connection:
            return {name: int(connection.execute(_some_parked(name, most)).scalar() or 0) for name in names}

    def denied(self) -> int:
        """How many lanes TikTok refuses just now."""
        query = sa.select(sa.func.count()).select_from(lanes).where(lanes.c.denied_since.is_not(None))
        with self._database.read() as connection:
            return int(connection.execute(query).scalar() or 0)

    def oldest_due(self, now: float) -> float | None:
        """Since when the longest waiting event of the open lanes is due, or None."""
        open_lanes = sa.or_(lanes.c.denied_until.is_(None), lanes.c.denied_until < now)
        first = (
            sa.select(sa.func.min(events.c.due_at))
            .where(events.c.store == lanes.c.store, events.c.pixel == lanes.c.pixel, events.c.state == "due")
            .correlate(lanes)
            .scalar_subquery()
        )
        with self._database.read() as connection:
            return connection.execute(sa.select(sa.func.min(first)).select_from(lanes).where(open_lanes)).scalar()

    def relay_seen(self) -> float | None:
        """When a relay was last known to be alive."""
        with self._database.read() as connection:
            return connection.execute(sa.select(sa.func.max(relays.c.seen_at))).scalar()

    def open_problems(self) -> list[OpenProblem]:
        """What the watcher found and still finds, the longest lasting first."""
        query = sa.select(*(alerts.c[name] for name in OpenProblem.__dataclass_fields__))
        query = query.where(alerts.c.noted_at.is_not(None), alerts.c.over_at.is_(None))
        with self._database.read() as connection:
            return [OpenProblem(*row) for row in connection.execute(query.order_by(alerts.c.since, alerts.c.key))]


def _of(connection: sa.Connection, table: sa.Table, subject: tuple[str, str]) -> list[sa.Row[Any]]:
    mine = (table.c.store == subject[0], table.c.object_key == subject[1])
    return [*connection.execute(sa.select(table).where(*mine).order_by(table.c.id).limit(MOST))]


def _some_parked(store: str, most: int) -> sa.Select[Any]:
    some = sa.select(parked.c.store).where(parked.c.store == store).limit(most).subquery()
    return sa.select(sa.func.count()).select_from(some)


def _leap(connection: sa.Connection, column: sa.Column[str], *where: sa.ColumnElement[bool]) -> Iterator[str]:
    """The few different values of an index's first column, each found by one look beyond the one before."""
    found = connection.execute(sa.select(sa.func.min(column)).where(*where)).scalar()
    while found is not None:
        yield found
        found = connection.execute(sa.select(sa.func.min(column)).where(*where, column > found)).scalar()
