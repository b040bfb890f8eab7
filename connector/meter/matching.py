"""Matches the copies that browsers sent with the server's, and counts what TikTok makes of the two.

TikTok merges copies of one pixel, name and event_id that arrive within 5 minutes, and drops a later copy for 48 hours:
https://ads.tiktok.com/help/article/event-deduplication

The numbers are in `tallies` and `totals`, by the hour in which the server's copy was accepted, or the browser sent its
own where there is no other. The columns `what` and `detail`:

    copies    merged, dropped: both copies, by the time between them; twice: a copy under an event_id of somebody else,
              or more than 48 hours apart; blocked: the server's copy alone, as TikTok's script did not load;
              browser: the browser's copy alone, 48 hours after it was sent
    distance  copies that both arrived, by the seconds between them: a bucket of `event_stats.BOUNDS`
    amounts   both copies have a value: same, or differs

Times are Unix seconds. Raises CannotStore.
"""

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from threading import Event
from typing import Any

import msgspec
import sqlalchemy as sa
from msgspec import Struct

from connector.core.currencies import exact_amount
from connector.core.store import Store
from connector.core.units import DAY, HOUR, MERGE_WINDOW, TIKTOK_DEDUPLICATES
from connector.monitoring.event_stats import BOUNDS, BUCKETS, add_counts
from connector.storage.database import Database
from connector.storage.lease import Lease
from connector.storage.periodic import run_periodically
from connector.storage.tables import browser_copies, events

EVERY = 30.0  # seconds between two rounds
SELDOM = float(HOUR)  # seconds; if no store has a meter: rows can be left from before a change of settings
LEASE_SECONDS = 300.0
BATCH = 500  # rows in a transaction
PAUSE = 0.2  # seconds between transactions, so that webhooks get the write lock
DEDUPLICATED = TIKTOK_DEDUPLICATES.total_seconds()
KEPT = DEDUPLICATED + DAY  # seconds after which a copy is deleted: a page that is opened again reports the same one
MOST = 250_000  # copies in the table: a flood of forged ones pushes out the oldest, at most 60 MB
SAME_AMOUNT = Decimal("0.01")  # of a major unit; rounding on both sides may differ by as much

_Key = tuple[str, str, str, str, str]  # store, pixel, what, event, detail
_copy = browser_copies.c


class _Properties(Struct, frozen=True):
    value: Decimal | None = None
    currency: str = ""


class _Item(Struct, frozen=True):
    properties: _Properties = _Properties()


_decode = msgspec.json.Decoder(_Item).decode


class CopyMatcher:
    """Settles the browsers' copies, each method at most BATCH in one transaction; returns their number."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def count_foreign(self) -> int:
        """Count the copies under other event_ids than the store's."""
        query = sa.select(browser_copies).where(_copy.state == "foreign", _unsettled()).limit(BATCH)
        return self._settle(query, lambda row: [(int(row.sent_at), ("copies", "twice"))] if row.loaded else [])

    def match(self) -> int:
        """Count the copies whose event TikTok has accepted from the server."""
        same = sa.and_(*(events.c[name] == _copy[name] for name in ("pixel", "event", "event_id", "store")))
        accepted = (events.c.state == "accepted", events.c.test_code == "", events.c.settled_at.is_not(None))
        query = (
            sa.select(browser_copies, events.c.settled_at, events.c.payload)
            .select_from(browser_copies.join(events, same))
            .where(_copy.state == "open", _unsettled(), *accepted)
            .limit(BATCH)
        )
        return self._settle(query, _compare)

    def close(self, now: float) -> int:
        """Count the copies to which the server's did not come while TikTok would have dropped it."""
        old = (_copy.state == "open", _unsettled(), _copy.sent_at < now - DEDUPLICATED)
        query = sa.select(browser_copies).where(*old).limit(BATCH)
        return self._settle(query, lambda row: [(int(row.sent_at), ("copies", "browser"))] if row.loaded else [])

    def forget(self, now: float) -> int:
        """Delete old copies, those of a wrong clock, and all but the latest MOST."""
        with self._database.read() as connection:
            latest = sa.select(_copy.sent_at).order_by(_copy.sent_at.desc()).offset(MOST).limit(1)
            beyond = connection.execute(latest).scalar()
        before = max(now - KEPT, -1.0 if beyond is None else beyond)
        old = sa.or_(_copy.sent_at <= before, _copy.sent_at > now + DAY)
        batch = self._database.first_rows(browser_copies, old, limit=BATCH, order=_copy.sent_at)
        with self._database.write() as connection:
            return connection.execute(sa.delete(browser_copies).where(batch)).rowcount

    def _settle(
        self, query: sa.Select[Any], count: Callable[[sa.Row[Any]], Iterable[tuple[int, tuple[str, str]]]]
    ) -> int:
        """Mark rows as done, and count them in the same transaction, so that a crash neither loses nor doubles one."""
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        if not rows:
            return 0
        counts: dict[int, Counter[_Key]] = {}
        for row in rows:
            for at, (what, detail) in count(row):
                counts.setdefault(at // HOUR * HOUR, Counter())[row.store, row.pixel, what, row.event, detail] += 1
        with self._database.write() as connection:
            connection.execute(sa.update(browser_copies).where(*_has_key_of(rows)).values(state="done"))
            for hour, numbers in sorted(counts.items()):
                add_counts(connection, hour, numbers)
        return len(rows)


def _has_key_of(rows: Sequence[sa.Row[Any]]) -> list[sa.ColumnElement[bool]]:
    """Return the conditions that a copy is one of these.

    That of each column says nothing new: without it SQLite reads the whole table for `(a, b) IN (VALUES …)`.
    """
    names = ("pixel", "event", "event_id")
    columns, keys = [_copy[name] for name in names], [tuple(getattr(row, name) for name in names) for row in rows]
    each = [column.in_(sorted(set(values))) for column, values in zip(columns, zip(*keys, strict=True), strict=True)]
    return [*each, sa.tuple_(*columns).in_(keys)]


def _unsettled() -> sa.TextClause:
    """Return the condition of the partial index, in the same words: SQLite does not use the index otherwise."""
    return sa.text("browser_copies.state <> 'done'")


def _compare(row: sa.Row[Any]) -> Iterable[tuple[int, tuple[str, str]]]:
    """Yield what an event that both sides sent adds, with the hour of the server's copy."""
    at = int(row.settled_at)
    if not row.loaded:
        yield at, ("copies", "blocked")
        return
    distance = abs(row.settled_at - row.sent_at)
    if distance > DEDUPLICATED:
        yield at, ("copies", "twice")
        return
    yield at, ("copies", "merged" if distance <= MERGE_WINDOW else "dropped")
    yield at, ("distance", BUCKETS[bisect_left(BOUNDS, distance)])
    if (same := _same_amount(row)) is not None:
        yield at, ("amounts", "same" if same else "differs")


def _same_amount(row: sa.Row[Any]) -> bool | None:
    """Return whether both copies have the same value; None if one of them has none."""
    if row.value is None or row.payload is None:
        return None
    try:
        found = _decode(row.payload).properties
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if found.value is None or not found.value.is_finite():
        return None
    browser = exact_amount(row.value)
    return row.currency == found.currency and abs(browser - found.value) <= SAME_AMOUNT


class MeterJob:
    """Matches and forgets while the relay runs, in one process at a time. `clock` returns Unix seconds."""

    def __init__(
        self, database: Database, stores: Mapping[str, Store], owner: str, clock: Callable[[], float] = time.time
    ) -> None:
        self._matcher = CopyMatcher(database)
        self._has_meter = any(store.meter for store in stores.values())
        self._lease = Lease(database, "meter", LEASE_SECONDS)
        self._owner = owner
        self._clock = clock

    def run(self, stop: Event) -> None:
        """Run until `stop` is set."""
        interval = EVERY if self._has_meter else SELDOM
        release = lambda: self._lease.release(self._owner)  # noqa: E731
        run_periodically(lambda: self.round(stop), stop, name="meter", interval=interval, first=5.0, release=release)

    def round(self, stop: Event) -> int:
        """Do everything that is due; return the number of copies. Nothing while another process does it."""
        matcher, done = self._matcher, 0
        steps = (
            matcher.count_foreign,
            matcher.match,
            lambda: matcher.close(self._clock()),
            lambda: matcher.forget(self._clock()),
        )
        for step in steps:
            while not stop.is_set() and self._lease.take(self._owner, self._clock()):
                number = step()
                done += number
                if number < BATCH:
                    break
                stop.wait(PAUSE)
        return done
