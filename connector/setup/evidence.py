"""Evidence of a store's setup in the database: webhooks received, webhooks refused, events that TikTok accepted.

All are look-ups by index, and none counts a store's rows. Times are Unix seconds. Raises CannotStore.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from connector.core.event import PERSONAL_DATA_WITHHELD
from connector.core.store import Store
from connector.core.units import DAY, HOUR, WEEK
from connector.intake.intake import UNKNOWN_STORE
from connector.intake.refusals import NO_SIGNATURE
from connector.monitoring.problems import INVALID_SIGNATURES, LAST_ORDERS, alive
from connector.outbox.lanes import LaneState
from connector.outbox.ledger import NO_ARRIVAL
from connector.outbox.notices import NoticeTable
from connector.outbox.queries import EventFilter, OutboxQueries
from connector.setup.snippet_report import SnippetReport, read_snippet_report
from connector.storage.database import Database
from connector.storage.public_keys import PublicKeyTable
from connector.storage.tables import counters, events, ledger, notices, totals
from connector.storage.tables.columns import DUE

FOREIGN = "foreign"  # the kind of problem that pages of a store with `meter` bring to light
MAX_NOTICES = 100  # of a store that are searched for an error
MAX_TOPICS = 50  # of one store that are looked at
MAX_DUE = 100  # events of a pixel that are searched for an error
LINES = 500  # of the ledger that are searched for a store's last webhooks


Sample = tuple[str, bytes]  # the topic of a body that was sent as a sample, and its SHA-256


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the database shows of one store."""

    relay_alive: bool
    topics: frozenset[str]  # of signed webhooks that have come, samples not counted
    sampled: bool  # a sample sent by this server has come
    refusals: Mapping[str, int]  # by cause, of the last day
    refused_last: bool  # several were refused since the last one that was taken
    unfetched: str  # why the data that webhooks only named cannot be fetched, or ""
    not_json: int  # signed bodies of the last day that were not JSON
    unknown_stores: int  # webhooks of the last day to the address of no store
    key_error: str  # why the shop's public keys could not be fetched, or ""
    tested: frozenset[tuple[str, str]]  # pixel and name of events that Test Events accepted
    sent: frozenset[tuple[str, str]]  # pixel and name of events that TikTok accepted
    unsent: str  # why the events that wait longest were not taken at the last attempt, or ""
    rejected: str  # TikTok's answer to the last event it rejected, or ""
    not_sent: str  # why the last webhook of a day became no event, if none did, or ""
    lanes: tuple[LaneState, ...]
    withheld: bool  # none of the last orders names its customer
    snippet: SnippetReport
    foreign: str  # which of the store's events others send under event_ids of their own, or ""


NOTHING = Evidence(
    relay_alive=False,
    topics=frozenset(),
    sampled=False,
    refusals={},
    refused_last=False,
    unfetched="",
    not_json=0,
    unknown_stores=0,
    key_error="",
    tested=frozenset(),
    sent=frozenset(),
    unsent="",
    rejected="",
    not_sent="",
    lanes=(),
    withheld=False,
    snippet=SnippetReport(),
    foreign="",
)


def read_evidence(database: Database, store: Store, samples: Collection[Sample], now: float) -> Evidence:
    """Read what the database shows of a store."""
    queries = OutboxQueries(database)
    rejected = queries.find(EventFilter(store=store.name, state="rejected"), 1)
    key_error, lanes = _key_error(database, store), queries.lane_states()
    snippet = read_snippet_report(database, store)
    seen = (one.sentence for one in queries.open_problems() if one.key.startswith(f"{FOREIGN}:{store.name}:"))
    foreign = next(seen, "")
    waiting = NoticeTable(database).waiting([store.name], MAX_NOTICES)
    unfetched = waiting[0].error if waiting else ""
    relay_alive = alive(queries.relay_seen(), now)
    with database.read() as connection:
        lines = _last_lines(connection, now)
        refusals, refused_last = _refusals(connection, store, lines, now)
        return Evidence(
            relay_alive=relay_alive,
            topics=frozenset(_topics(connection, store, samples)),
            sampled=_has_line(connection, store, samples),
            refusals=refusals,
            refused_last=refused_last,
            unfetched=unfetched,
            not_json=_counted(connection, store.name, "not_json", now),
            unknown_stores=_counted(connection, UNKNOWN_STORE, "unknown_store", now),
            key_error=key_error,
            tested=_accepted(connection, store, "tested"),
            sent=_accepted(connection, store, "sent"),
            unsent=_unsent(connection, store),
            rejected=f"{rejected[0].code or ''} {rejected[0].message or ''}".strip() if rejected else "",
            not_sent=_not_sent(lines, store, now),
            lanes=tuple(state for state in lanes if state.lane.store == store.name),
            withheld=_is_withheld(lines, store),
            snippet=snippet,
            foreign=foreign,
        )


def _topics(connection: sa.Connection, store: Store, samples: Collection[Sample]) -> set[str]:
    """Return the topics of which a webhook has come: one that brought something, nothing new, or only names it."""
    of_store = ledger.c.store == store.name
    found, topic = set[str](), connection.execute(sa.select(sa.func.min(ledger.c.topic)).where(of_store)).scalar()
    for _ in range(MAX_TOPICS):
        if topic is None:
            break
        arrived: tuple[sa.ColumnElement[bool], ...] = (
            of_store,
            ledger.c.topic == topic,
            ledger.c.delivery.not_in(NO_ARRIVAL),
        )
        if own := [digest for of, digest in samples if of == topic]:
            arrived = (*arrived, ledger.c.body_sha256.not_in(own))
        if connection.execute(sa.select(ledger.c.id).where(*arrived).limit(1)).first():
            found.add(topic)
        following = sa.select(sa.func.min(ledger.c.topic)).where(of_store, ledger.c.topic > topic)
        topic = connection.execute(following).scalar()
    counted = sa.select(counters.c.topic).distinct().where(counters.c.store == store.name)
    named = sa.select(notices.c.topic).distinct().where(notices.c.store == store.name)
    return (
        found
        | {*connection.execute(counted.where(counters.c.what == "duplicate")).scalars()}
        | {*connection.execute(named).scalars()}
    )


def _has_line(connection: sa.Connection, store: Store, samples: Collection[Sample]) -> bool:
    bodies = [sa.and_(ledger.c.topic == topic, ledger.c.body_sha256 == digest) for topic, digest in samples]
    query = sa.select(ledger.c.id).where(ledger.c.store == store.name, sa.or_(sa.false(), *bodies)).limit(1)
    return bool(bodies) and connection.execute(query).first() is not None


def _refusals(
    connection: sa.Connection, store: Store, lines: Sequence[sa.Row[Any]], now: float
) -> tuple[dict[str, int], bool]:
    """Return the refused requests of a day by cause, and whether several came since the last that was taken.

    Requests without a signature are of anybody, so they do not count for the latter.
    """
    since = int(now) - DAY
    query = sa.select(counters.c.topic, counters.c.hour, counters.c.count.label("number")).where(
        counters.c.store == store.name, counters.c.what == "refused", counters.c.hour > since
    )
    rows = connection.execute(query).all()
    by_cause: Counter[str] = Counter()
    for row in rows:
        by_cause[row.topic] += row.number
    arrived = (row.received_at for row in lines if row.store == store.name and row.delivery not in NO_ARRIVAL)
    last_hour = int(max(arrived, default=0)) // HOUR * HOUR
    known = sa.select(sa.func.max(counters.c.hour)).where(
        counters.c.store == store.name, counters.c.what == "duplicate", counters.c.hour > since
    )
    last_hour = max(last_hour, int(connection.execute(known).scalar() or 0))
    later = sum(row.number for row in rows if row.hour > last_hour and row.topic != NO_SIGNATURE)
    return dict(by_cause), later >= INVALID_SIGNATURES


def _counted(connection: sa.Connection, store: str, what: str, now: float) -> int:
    query = sa.select(sa.func.sum(counters.c.count)).where(
        counters.c.store == store, counters.c.what == what, counters.c.hour > int(now) - DAY
    )
    return int(connection.execute(query).scalar() or 0)


def _accepted(connection: sa.Connection, store: Store, what: str) -> frozenset[tuple[str, str]]:
    """Return pixel and name of the events that TikTok has ever accepted."""
    of_store = (totals.c.store == store.name, totals.c.what == what, totals.c.detail.like("accepted%"))
    rows = connection.execute(sa.select(totals.c.pixel, totals.c.event).where(*of_store)).all()
    return frozenset((row.pixel, row.event) for row in rows)


def _unsent(connection: sa.Connection, store: Store) -> str:
    """Return why events that are due were not taken, such as a connection that failed, by the longest due."""
    for pixel in store.pixels:
        of_lane = (events.c.store == store.name, events.c.pixel == pixel.code, DUE)
        query = sa.select(events.c.message).where(*of_lane).order_by(events.c.due_at).limit(MAX_DUE)
        if said := next(filter(None, connection.execute(query).scalars()), ""):
            return str(said)
    return ""


def _last_lines(connection: sa.Connection, now: float) -> list[sa.Row[Any]]:
    """Return the last lines of the ledger of four weeks, of all stores: no index begins with store and time."""
    columns = (ledger.c.store, ledger.c.object_key, ledger.c.outcome, ledger.c.reason, ledger.c.delivery)
    query = sa.select(*columns, ledger.c.received_at).where(ledger.c.received_at > now - 4 * WEEK)
    return [*connection.execute(query.order_by(ledger.c.received_at.desc()).limit(LINES))]


def _not_sent(lines: Sequence[sa.Row[Any]], store: Store, now: float) -> str:
    """Return why the last webhook became no event, if none of the last day did."""
    of_store = (row for row in lines if row.store == store.name and row.received_at > now - DAY)
    own = [row for row in of_store if row.outcome != "recorded"]
    if not own or any(row.outcome == "relayed" for row in own):
        return ""
    return f"{own[0].outcome}: {own[0].reason}"


def _is_withheld(lines: Sequence[sa.Row[Any]], store: Store) -> bool:
    """Return True if none of the last orders names its customer."""
    orders = [row for row in lines if row.store == store.name and row.object_key.startswith("order:")]
    reasons = [row.reason for row in orders if row.outcome == "relayed"][:LAST_ORDERS]
    return len(reasons) == LAST_ORDERS and all(PERSONAL_DATA_WITHHELD in reason for reason in reasons)


def _key_error(database: Database, store: Store) -> str:
    if not store.key_addresses:
        return ""
    rows = PublicKeyTable(database).read(store.key_addresses)
    if errors := [row.error for row in rows if row.error and not row.keys]:
        return errors[0]
    if not any(row.keys for row in rows) and len(store.key_addresses) == len(store.webhook_keys):
        return f"the public keys at {store.key_addresses[0]} are not fetched yet; a running relay does"
    return ""
