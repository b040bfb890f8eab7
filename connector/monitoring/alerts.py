"""Problems: one row per problem in the table `alerts`, shared by all processes.

A problem is reported each time it is seen; its row stores since when. It is over after ten minutes without being seen,
so that an intermittent problem stays a single one. What was sent about it, and to whom, is in
`connector.monitoring.alert_messages`; without an address, problems are only logged.

Any process can report. Times are Unix seconds. Methods raise CannotStore.
"""

import logging
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from connector.core.text import duration
from connector.storage.database import Database
from connector.storage.tables import alert_deliveries, alerts

log = logging.getLogger(__name__)

CALM = 600.0  # seconds without a report after which a problem is over


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem in one sentence: the store, what is wrong and what to do. Contains no secrets or personal data.

    `key` consists of the kind and the place: "denied:STORE:PIXEL". The problem counts once it has lasted `after`
    seconds.
    """

    key: str
    sentence: str
    after: float = 0.0

    @property
    def kind(self) -> str:
        """Return the first part of the key."""
        return self.key.partition(":")[0]


class AlertStore:
    """Reads and writes the table `alerts`. `clock` returns Unix seconds."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    def report(self, key: str, sentence: str) -> None:
        """Report a problem, new or continuing; it stays open until `resolve`."""
        self.note([Problem(key, sentence)], ())

    def resolve(self, key: str) -> None:
        """Note that a problem is no longer seen."""
        with self._database.write() as connection:
            self._mark_unseen(connection, [key])

    def note(self, seen: Iterable[Problem], kinds: Collection[str]) -> None:
        """Store the problems seen now; other problems of `kinds` are no longer seen."""
        found = {problem.key: problem for problem in seen}
        with self._database.write() as connection:
            known = {row.key: row for row in connection.execute(sa.select(alerts)).all()}
            for key, problem in found.items():
                self._note(connection, problem, known.get(key))
            gone = [key for key in known if key.partition(":")[0] in kinds and key not in found]
            self._mark_unseen(connection, gone)

    def _note(self, connection: Connection, problem: Problem, row: sa.Row[Any] | None) -> None:
        now = self._clock()
        since = now if row is None else row.since
        noted_at = row.noted_at if row else None
        begins = noted_at is None and now - since >= problem.after
        changed = {"sentence": problem.sentence, "over_at": None, "noted_at": now if begins else noted_at}
        if row is None:
            new = {"key": problem.key, "since": now, "attempts": 0, "due_at": now, **changed}
            insert = self._database.insert(alerts).values(new).on_conflict_do_nothing().returning(alerts.c.key)
            begins &= connection.execute(insert).first() is not None  # or another process was first
        elif any(getattr(row, name) != value for name, value in changed.items()):
            connection.execute(sa.update(alerts).where(alerts.c.key == problem.key).values(changed))
        if begins:
            log.error("problem: %s", problem.sentence, extra={"problem": problem.key})

    def _mark_unseen(self, connection: Connection, keys: Sequence[str]) -> None:
        if keys:
            open_ = (alerts.c.key.in_(keys), alerts.c.over_at.is_(None))
            connection.execute(sa.update(alerts).where(*open_).values(over_at=self._clock()))

    def delete_ended(self) -> None:
        """Delete the problems that are over and whose end no address is still to be sent."""
        now = self._clock()
        awaited = sa.select(alert_deliveries.c.key).where(alert_deliveries.c.key == alerts.c.key).exists()
        over = (alerts.c.over_at.is_not(None), alerts.c.over_at <= now - CALM, ~awaited)
        with self._database.write() as connection:
            ended = connection.execute(sa.delete(alerts).where(*over).returning(*alerts.c)).all()
        for row in ended:
            if row.noted_at is not None:
                length = duration_text(row.over_at - row.since)
                log.info("problem is over after %s: %s", length, row.sentence, extra={"problem": row.key})


def duration_text(seconds: float) -> str:
    """Return how long a problem lasted; seconds are not told apart."""
    return duration(seconds) if seconds >= 120 else "a minute"
