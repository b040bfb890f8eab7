"""Problems and the messages about them: one row per problem in the table `alerts`, shared by all processes.

A problem is reported each time it is seen; its row stores since when, and whether a message was sent. It is over after
ten minutes without being seen, so that an intermittent problem stays a single one. Each problem causes one message
and, if that was delivered, a second one when it is over. Without ALERT_URL, problems are only logged.

Any process can report; the one that holds the lease sends the messages. Times are Unix seconds. Methods raise
CannotStore.
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

log = logging.getLogger(__name__)

CALM = 600.0  # seconds without a report after which a problem is over
LEASE_SECONDS = 120.0  # longer than a request to ALERT_URL takes
MAX_LINES = 20  # lines per message; the rest follows in the next one
TIMEOUT = httpx.Timeout(5.0)
PAUSES = (60.0, 3600.0)  # seconds: first and longest pause after a message that could not be delivered


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


@dataclass(frozen=True, slots=True)
class Message:
    """The text of a message, and the keys of the problems whose beginning or end it reports."""

    text: str
    begun: tuple[str, ...]
    ended: tuple[str, ...]


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

    def delete_ended(self, keep_notified: bool) -> None:
        """Delete problems that are over; with `keep_notified` only those about which no message was sent."""
        now = self._clock()
        over = [alerts.c.over_at.is_not(None), alerts.c.over_at <= now - CALM]
        if keep_notified:
            over.append(alerts.c.told_at.is_(None))
        with self._database.write() as connection:
            ended = connection.execute(sa.delete(alerts).where(*over).returning(*alerts.c)).all()
        for row in ended:
            _log_end(row)

    def next_message(self) -> Message | None:
        """Return the message to send now, or None. After a failed delivery there is none until its pause has passed."""
        now = self._clock()
        new = sa.and_(alerts.c.told_at.is_(None), alerts.c.over_at.is_(None), alerts.c.noted_at.is_not(None))
        old = sa.and_(alerts.c.told_at.is_not(None), alerts.c.over_at <= now - CALM)
        with self._database.read() as connection:
            rows = connection.execute(sa.select(alerts).where(sa.or_(new, old)).order_by(alerts.c.since)).all()
        # An end further ahead than a pause can last was written by a clock that had jumped.
        if not rows or any(now < row.due_at <= now + PAUSES[1] for row in rows):
            return None
        rows = rows[:MAX_LINES]
        begun = [row for row in rows if row.told_at is None]
        ended = [row for row in rows if row.told_at is not None]
        lines = [f"Problem: {row.sentence}" for row in begun]
        lines += [f"Over after {_duration_text(row.over_at - row.since)}: {row.sentence}" for row in ended]
        return Message("\n".join(lines), tuple(row.key for row in begun), tuple(row.key for row in ended))

    def mark_delivered(self, message: Message) -> None:
        """Store that the message was delivered."""
        with self._database.write() as connection:
            begun = alerts.c.key.in_(message.begun)
            connection.execute(sa.update(alerts).where(begun).values(told_at=self._clock(), attempts=0))
            # A problem that has come back meanwhile stays, and is reported as a new one.
            ended = alerts.c.key.in_(message.ended)
            gone = sa.delete(alerts).where(ended, alerts.c.over_at.is_not(None)).returning(*alerts.c)
            rows = connection.execute(gone).all()
            connection.execute(sa.update(alerts).where(ended).values(told_at=None, since=self._clock(), attempts=0))
        for row in rows:
            _log_end(row)

    def postpone(self, message: Message, pause: float) -> None:
        """Retry the message later: after an exponential pause, or `pause` seconds (Retry-After) if that is longer."""
        keys = alerts.c.key.in_((*message.begun, *message.ended))
        with self._database.write() as connection:
            attempts = connection.execute(sa.select(sa.func.max(alerts.c.attempts)).where(keys)).scalar() or 0
            first, longest = PAUSES
            due_at = self._clock() + min(max(first * 2.0 ** min(attempts, 20), pause), longest)
            connection.execute(sa.update(alerts).where(keys).values(attempts=attempts + 1, due_at=due_at))


class AlertWebhook:
    """A Slack-compatible incoming webhook at ALERT_URL, over an injected httpx client.

    https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks
    """

    def __init__(self, url: str, client: httpx.Client) -> None:
        self._url = url
        self._client = client

    def post(self, text: str) -> tuple[str, float]:
        """Post a text; return why that failed, or "", and the seconds to wait.

        Never raises. The reason does not contain the URL, which is a secret.
        """
        request = self._client.stream("POST", self._url, json={"text": _escaped(text)}, follow_redirects=False)
        try:
            with request as response:  # the body is not read
                status, retry_after = response.status_code, response.headers.get("Retry-After", "")
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            return f"no answer ({type(error).__name__})", 0.0
        if 200 <= status < 300:
            return "", 0.0
        if 300 <= status < 400:
            return f"HTTP {status}: redirects are not followed; set ALERT_URL to the final address", 0.0
        return f"HTTP {status}", float(retry_after) if retry_after.isascii() and retry_after.isdecimal() else 0.0


class Notifier:
    """Sends the messages about problems, from one process at a time. `owner` names this process."""

    def __init__(
        self, alerts: AlertStore, hook: AlertWebhook | None, lease: Lease, owner: str, clock: Callable[[], float]
    ) -> None:
        self._alerts = alerts
        self._hook = hook
        self._lease = lease
        self._owner = owner
        self._clock = clock

    def acquire_lease(self) -> bool:
        """Take or renew the lease for finding problems and sending messages; return whether this process holds it."""
        return self._lease.take(self._owner, self._clock())

    def notify(self) -> None:
        """Post one message if there is anything to report. Call it only while holding the lease."""
        self._alerts.delete_ended(keep_notified=self._hook is not None)
        if self._hook is None or (message := self._alerts.next_message()) is None:
            return
        why, pause = self._hook.post(message.text)
        if why:
            self._alerts.postpone(message, pause)
            log.warning("could not post an alert to ALERT_URL: %s; it will be retried", why)
        else:
            self._alerts.mark_delivered(message)

    def leave(self) -> None:
        """Release the lease, so that another process can take it at once."""
        self._lease.release(self._owner)


def notifier(
    database: Database, hook: AlertWebhook | None, owner: str, clock: Callable[[], float] = time.time
) -> Notifier:
    """Create a notifier over the alerts in a database."""
    return Notifier(AlertStore(database, clock), hook, Lease(database, "alerts", LEASE_SECONDS), owner, clock)


def _log_end(row: sa.Row[Any]) -> None:
    if row.noted_at is not None:
        length = _duration_text(row.over_at - row.since)
        log.info("problem is over after %s: %s", length, row.sentence, extra={"problem": row.key})


def _duration_text(seconds: float) -> str:
    return duration(seconds) if seconds >= 120 else "a minute"


def _escaped(text: str) -> str:
    """Escape text from a shop or TikTok, so that it cannot mention people or contain links.

    https://docs.slack.dev/messaging/formatting-message-text#escaping
    """
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
