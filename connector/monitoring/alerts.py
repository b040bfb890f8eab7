"""Problems and the messages about them: one row each in `alerts`, shared by all processes.

A problem is reported as often as it is seen; the row remembers since when, and whether a message has gone out. It is
over when it has not been seen for ten minutes, so that what comes and goes is one problem. Each gets one message and,
if that was delivered, one when it is over. Without an ALERT_URL there are only the log lines.

Any process may report; the one that holds the lease sends the messages. Times are Unix
seconds. Methods raise CannotStore.
"""

import logging
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import sqlalchemy as sa
from sqlalchemy import Connection

from connector.core.text import duration
from connector.storage.database import Database
from connector.storage.lease import Lease
from connector.storage.tables import alerts

log = logging.getLogger("connector.monitoring.alerts")

CALM = 600.0  # seconds without the problem until it counts as over
LEASE_SECONDS = 120.0  # seconds; longer than a post takes
MAX_LINES = 20  # lines a message; more come with the next
TIMEOUT = httpx.Timeout(5.0)
PAUSES = (60.0, 3600.0)  # first and longest pause after a message that was not taken


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, in one sentence with the store's name and what to do; never a secret or anything personal.

    `key` names the kind and the place, "denied:STORE:PIXEL". `after`: seconds it must last before it counts.
    """

    key: str
    sentence: str
    after: float = 0.0

    @property
    def kind(self) -> str:
        """The first part of the key."""
        return self.key.partition(":")[0]


@dataclass(frozen=True, slots=True)
class Message:
    """Some lines, and the problems that they begin or end."""

    text: str
    begun: tuple[str, ...]
    ended: tuple[str, ...]


class AlertStore:
    """Reads and writes the table `alerts`. `clock` gives Unix seconds."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    def report(self, key: str, sentence: str) -> None:
        """Report a problem, new or continuing; it stays open until `resolve`."""
        self.note([Problem(key, sentence)], ())

    def resolve(self, key: str) -> None:
        """Note that a problem is gone."""
        with self._database.write() as connection:
            self._seem_over(connection, [key])

    def note(self, seen: Iterable[Problem], kinds: Collection[str]) -> None:
        """Note that these problems exist, and no others of these kinds."""
        found = {problem.key: problem for problem in seen}
        with self._database.write() as connection:
            known = {row.key: row for row in connection.execute(sa.select(alerts)).all()}
            for key, problem in found.items():
                self._note(connection, problem, known.get(key))
            gone = [key for key in known if key.partition(":")[0] in kinds and key not in found]
            self._seem_over(connection, gone)

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

    def _seem_over(self, connection: Connection, keys: Sequence[str]) -> None:
        if keys:
            still = (alerts.c.key.in_(keys), alerts.c.over_at.is_(None))
            connection.execute(sa.update(alerts).where(*still).values(over_at=self._clock()))

    def end(self, keeping_told: bool) -> None:
        """Forget what is over; with `keeping_told` not before somebody who was told of it is told of its end."""
        now = self._clock()
        over = [alerts.c.over_at.is_not(None), alerts.c.over_at <= now - CALM]
        if keeping_told:
            over.append(alerts.c.told_at.is_(None))
        with self._database.write() as connection:
            ended = connection.execute(sa.delete(alerts).where(*over).returning(*alerts.c)).all()
        for row in ended:
            _log_end(row)

    def message(self) -> Message | None:
        """What there is to tell now, or None. A message that was not taken holds back all until its pause is over."""
        now = self._clock()
        new = sa.and_(alerts.c.told_at.is_(None), alerts.c.over_at.is_(None), alerts.c.noted_at.is_not(None))
        old = sa.and_(alerts.c.told_at.is_not(None), alerts.c.over_at <= now - CALM)
        with self._database.read() as connection:
            rows = connection.execute(sa.select(alerts).where(sa.or_(new, old)).order_by(alerts.c.since)).all()
        # A pause further ahead than any can be was written by a clock that jumped.
        if not rows or any(now < row.due_at <= now + PAUSES[1] for row in rows):
            return None
        rows = rows[:MAX_LINES]
        begun = [row for row in rows if row.told_at is None]
        ended = [row for row in rows if row.told_at is not None]
        lines = [f"Problem: {row.sentence}" for row in begun]
        lines += [f"Over after {_length(row.over_at - row.since)}: {row.sentence}" for row in ended]
        return Message("\n".join(lines), tuple(row.key for row in begun), tuple(row.key for row in ended))

    def told(self, message: Message) -> None:
        """The message has been taken."""
        with self._database.write() as connection:
            begun = alerts.c.key.in_(message.begun)
            connection.execute(sa.update(alerts).where(begun).values(told_at=self._clock(), attempts=0))
            # One that has come back meanwhile stays, to be told of as a new one.
            ended = alerts.c.key.in_(message.ended)
            gone = sa.delete(alerts).where(ended, alerts.c.over_at.is_not(None)).returning(*alerts.c)
            rows = connection.execute(gone).all()
            connection.execute(sa.update(alerts).where(ended).values(told_at=None, since=self._clock(), attempts=0))
        for row in rows:
            _log_end(row)

    def not_told(self, message: Message, pause: float) -> None:
        """The message was not taken; `pause` is what its receiver asked for, in seconds."""
        keys = alerts.c.key.in_((*message.begun, *message.ended))
        with self._database.write() as connection:
            attempts = connection.execute(sa.select(sa.func.max(alerts.c.attempts)).where(keys)).scalar() or 0
            first, longest = PAUSES
            due_at = self._clock() + min(max(first * 2.0 ** min(attempts, 20), pause), longest)
            connection.execute(sa.update(alerts).where(keys).values(attempts=attempts + 1, due_at=due_at))


class AlertWebhook:
    """Where messages are posted: a Slack-compatible incoming webhook at ALERT_URL, over an injected httpx client.

    https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks
    """

    def __init__(self, url: str, client: httpx.Client) -> None:
        self._url = url
        self._client = client

    def post(self, text: str) -> tuple[str, float]:
        """Why it was not taken, or "", and how many seconds to wait. Never raises and never names the address."""
        request = self._client.stream("POST", self._url, json={"text": _escaped(text)}, follow_redirects=False)
        try:
            with request as response:  # what it says is of no use, so it is not read
                status, asked = response.status_code, response.headers.get("Retry-After", "")
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            return f"no answer ({type(error).__name__})", 0.0
        if 200 <= status < 300:
            return "", 0.0
        if 300 <= status < 400:
            return f"HTTP {status}, a redirect, which is not followed; set ALERT_URL to the final address", 0.0
        return f"HTTP {status}", float(asked) if asked.isascii() and asked.isdecimal() else 0.0


class Notifier:
    """Sends messages about problems, one at a time, from one process at a time. `owner` names this process."""

    def __init__(
        self, alerts: AlertStore, hook: AlertWebhook | None, lease: Lease, owner: str, clock: Callable[[], float]
    ) -> None:
        self._alerts = alerts
        self._hook = hook
        self._lease = lease
        self._owner = owner
        self._clock = clock

    def acquire_lease(self) -> bool:
        """Take or renew the lease on finding problems and sending messages; return whether this process holds it."""
        return self._lease.take(self._owner, self._clock())

    def tell(self) -> None:
        """Post one message if there is anything to report. Call it only while holding the lease."""
        self._alerts.end(keeping_told=self._hook is not None)
        if self._hook is None or (message := self._alerts.message()) is None:
            return
        why, pause = self._hook.post(message.text)
        if why:
            self._alerts.not_told(message, pause)
            log.warning("an alert could not be posted to ALERT_URL: %s; it is tried again", why)
        else:
            self._alerts.told(message)

    def leave(self) -> None:
        """Release the lease, so that another process need not wait until it expires."""
        self._lease.release(self._owner)


def notifier(
    database: Database, hook: AlertWebhook | None, owner: str, clock: Callable[[], float] = time.time
) -> Notifier:
    """Create a notifier over the database's alerts."""
    return Notifier(AlertStore(database, clock), hook, Lease(database, "alerts", LEASE_SECONDS), owner, clock)


def _log_end(row: sa.Row[Any]) -> None:
    if row.noted_at is not None:
        length = _length(row.over_at - row.since)
        log.info("problem is over after %s: %s", length, row.sentence, extra={"problem": row.key})


def _length(seconds: float) -> str:
    return duration(seconds) if seconds >= 120 else "a minute"


def _escaped(text: str) -> str:
    """What a shop or TikTok wrote shall neither mention anybody nor become a link.

    https://docs.slack.dev/messaging/formatting-message-text#escaping
    """
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
