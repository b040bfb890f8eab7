"""Retention of the events of browsers: a row is erased 23 to 24 hours after it was received, sent or not.

On PostgreSQL the table has a partition for each hour, which is dropped as a whole: erasing ten million rows a day one
by one would cost as much as storing them. On SQLite the rows of an hour lie side by side, and are deleted in batches.
Times are Unix seconds. Raises CannotStore.
"""

from collections import Counter
from collections.abc import Iterator

import sqlalchemy as sa
from sqlalchemy import Connection

from connector.core.units import DAY, HOUR
from connector.funnel.queue import first_id
from connector.monitoring.event_stats import add_counts
from connector.storage.database import CannotStore, Database
from connector.storage.tables import funnel_events

KEPT = DAY  # seconds after which nothing is left of an event
AHEAD = 6 * HOUR  # seconds for which there are partitions already; afterwards rows go to the default one
BATCH = 2000  # rows in a transaction
FUTURE = 2 * DAY  # seconds ahead: a wrong clock wrote such a row
# SQLite uses a partial index only if the query repeats its condition literally.
_DUE = sa.text("funnel_events.state = 'due'")
_PARTITIONS = sa.text(
    "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
    "WHERE i.inhparent = 'funnel_events'::regclass"
)


class FunnelRetention:
    """Erases old events, and on PostgreSQL prepares the partitions of the next hours."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def prepare(self, now: float) -> int:
        """Create the partitions of this and the next hours; return the number of new ones. Nothing on SQLite."""
        if not self._database.is_postgresql:
            return 0
        known = set(self._partitions())
        wanted = [at for at in range(int(now) // HOUR * HOUR, int(now + AHEAD), HOUR) if _name(at) not in known]
        return sum(self._create(at) for at in wanted)

    def erase(self, now: float) -> int:
        """Erase what was received KEPT seconds ago or earlier; return the number of partitions or rows, at most BATCH.

        Events that were not sent until then are counted as expired.
        """
        # An hour is erased when its first second is old enough.
        before = first_id(now - KEPT + HOUR)
        if self._database.is_postgresql:
            for name in self._partitions():
                hour = _hour(name)
                if hour is not None and hour + KEPT <= now:
                    self._drop(name, hour, now)
        return self._delete(before, now)

    def _create(self, hour: int) -> int:
        low, high = first_id(hour), first_id(hour + HOUR)
        create = f"CREATE TABLE {_name(hour)} PARTITION OF funnel_events FOR VALUES FROM ({low}) TO ({high})"
        try:
            with self._database.write() as connection:
                connection.exec_driver_sql(create)
        except CannotStore:
            return 0  # rows of this hour are in the default partition already, or another process was faster
        return 1

    def _drop(self, name: str, hour: int, now: float) -> None:
        with self._database.write() as connection:
            _count_expired(connection, funnel_events.c.id.between(first_id(hour), first_id(hour + HOUR) - 1), now)
            connection.exec_driver_sql(f"DROP TABLE {name}")

    def _delete(self, before: int, now: float) -> int:
        with self._database.write() as connection:
            found = 0
            for old in (funnel_events.c.id < before, funnel_events.c.id >= first_id(now + FUTURE)):
                query = sa.select(funnel_events.c.id).where(old).order_by(funnel_events.c.id).limit(BATCH)
                ids = connection.execute(query).scalars().all()
                if ids:
                    batch = funnel_events.c.id.between(ids[0], ids[-1])
                    _count_expired(connection, batch, now)
                    connection.execute(sa.delete(funnel_events).where(batch))
                found = max(found, len(ids))
        return found

    def _partitions(self) -> Iterator[str]:
        with self._database.read() as connection:
            names = connection.execute(_PARTITIONS).scalars().all()
        yield from sorted(names)


def _count_expired(connection: Connection, old: sa.ColumnElement[bool], now: float) -> None:
    """Count the events that are erased before they were sent."""
    found = funnel_events.c
    unsent = (old, _DUE, found.test_code == "")
    query = sa.select(found.store, found.pixel, found.event, sa.func.count()).where(*unsent)
    rows = connection.execute(query.group_by(found.store, found.pixel, found.event)).all()
    expired = Counter({(row[0], row[1], "sent", row[2], "expired"): row[3] for row in rows})
    add_counts(connection, int(now) // HOUR * HOUR, expired)


def _name(hour: int) -> str:
    return f"funnel_events_{hour // HOUR}"


def _hour(name: str) -> int | None:
    """Return the start of a partition's hour in Unix seconds; None for the default partition."""
    number = name.rpartition("_")[2]
    return int(number) * HOUR if number.isdecimal() else None
