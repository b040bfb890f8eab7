"""The notifier sends what is to be sent, from one process at a time, to each address in a thread of its own.

An address that fails is tried again after a pause that grows; one that does not answer keeps nobody else waiting.
Messages come from two sources: `AlertMessages` (problems) and `DigestMessages` (once a week). Times are Unix
seconds. Methods raise CannotStore.
"""

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from threading import Thread
from typing import Protocol

import httpx
import sqlalchemy as sa

from connector.config.settings import Config
from connector.monitoring.alert_messages import AlertMessages
from connector.monitoring.alerts import AlertStore
from connector.monitoring.channels import TIMEOUT, Channel, Failure, Message, channel
from connector.monitoring.digest import DigestMessages
from connector.monitoring.recipients import Recipient, alert_recipients, digest_recipients
from connector.storage.database import CannotStore, Database
from connector.storage.lease import Lease
from connector.storage.tables import alert_addresses

log = logging.getLogger(__name__)

LEASE_SECONDS = 120.0  # longer than a round takes
PAUSES = (60.0, 3600.0)  # seconds: first and longest pause after a message that could not be delivered
PATIENCE = 20.0  # seconds that a round waits for its messages; a later result is noted, too


class Source(Protocol):
    """Knows what an address is to be sent next."""

    def next_message(self, recipient: Recipient) -> Message | None:
        """Return the message, or None."""
        ...

    def mark_delivered(self, recipient: Recipient, message: Message) -> None:
        """Note that the message was delivered."""
        ...


class AddressBook:
    """Reads and writes `alert_addresses`: the failures of each address, and when it is tried again."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock

    def may_try(self, recipient: Recipient) -> bool:
        """Return False until the pause after the last failure has passed."""
        due_at = sa.select(alert_addresses.c.due_at).where(alert_addresses.c.address == recipient.id)
        with self._database.read() as connection:
            due = connection.execute(due_at).scalar()
        now = self._clock()
        # An end further ahead than a pause can last was written by a clock that had jumped.
        return due is None or not now < due <= now + PAUSES[1]

    def note_success(self, recipient: Recipient) -> None:
        """Forget the failures of an address; which digest it has had stays."""
        of_address, has_digest = alert_addresses.c.address == recipient.id, alert_addresses.c.sent_for.is_not(None)
        clean = {"attempts": 0, "due_at": 0.0, "failing_since": None, "error": ""}
        with self._database.write() as connection:
            connection.execute(sa.delete(alert_addresses).where(of_address, ~has_digest))
            connection.execute(sa.update(alert_addresses).where(of_address, has_digest).values(clean))

    def note_failure(self, recipient: Recipient, failure: Failure) -> None:
        """Retry later: after a pause that doubles, or the one that the service asks for if that is longer."""
        now, first, longest = self._clock(), *PAUSES
        row = sa.select(alert_addresses).where(alert_addresses.c.address == recipient.id)
        with self._database.write() as connection:
            known = connection.execute(row).first()
            attempts = known.attempts if known else 0
            values = {
                "label": recipient.label,
                "attempts": attempts + 1,
                "due_at": now + min(max(first * 2.0 ** min(attempts, 20), failure.pause), longest),
                "failing_since": known.failing_since if known and known.failing_since is not None else now,
                "error": failure.why,
            }
            insert = self._database.insert(alert_addresses).values(address=recipient.id, **values)
            connection.execute(insert.on_conflict_do_update(index_elements=["address"], set_=values))

    def forget_others(self, recipients: Iterable[Recipient]) -> None:
        """Delete the failures of addresses that are no longer set."""
        gone = alert_addresses.c.address.not_in([recipient.id for recipient in recipients])
        with self._database.read() as connection:
            if connection.execute(sa.select(alert_addresses.c.address).where(gone).limit(1)).first() is None:
                return
        with self._database.write() as connection:
            connection.execute(sa.delete(alert_addresses).where(gone))


class Notifier:
    """Sends messages from the sources to the recipients. `owner` names this process."""

    def __init__(
        self,
        database: Database,
        channels: Mapping[Recipient, Channel],
        owner: str,
        clock: Callable[[], float] = time.time,
        digests: DigestMessages | None = None,
    ) -> None:
        self._alerts = AlertStore(database, clock)
        self._messages = AlertMessages(database, clock)
        self._book = AddressBook(database, clock)
        self._lease = Lease(database, "alerts", LEASE_SECONDS)
        self._digests = digests
        self._channels = channels
        self._busy: dict[Recipient, Thread] = {}
        self._owner = owner
        self._clock = clock

    def acquire_lease(self) -> bool:
        """Take or renew the lease for finding problems and sending messages; return whether this process holds it."""
        return self._lease.take(self._owner, self._clock())

    def notify(self) -> None:
        """Send each address its next message, if there is one. Call it only while holding the lease."""
        self._messages.forget_others([recipient for recipient in self._channels if not recipient.is_for_digests])
        self._book.forget_others(self._channels)
        started = [thread for recipient in self._channels if (thread := self._start(recipient))]
        end = time.monotonic() + PATIENCE
        for thread in started:
            thread.join(max(0.0, end - time.monotonic()))
        self._alerts.delete_ended()

    def leave(self) -> None:
        """Release the lease, so that another process can take it at once."""
        self._lease.release(self._owner)

    def _start(self, recipient: Recipient) -> Thread | None:
        """Send the address its next message in a thread; None if there is none, or the address is not to be tried."""
        earlier = self._busy.get(recipient)
        source: Source | None = self._digests if recipient.is_for_digests else self._messages
        if source is None or (earlier and earlier.is_alive()) or not self._book.may_try(recipient):
            return None
        if (message := source.next_message(recipient)) is None:
            return None
        thread = Thread(target=self._send, args=(source, recipient, message), daemon=True, name="alert")
        self._busy[recipient] = thread
        thread.start()
        return thread

    def _send(self, source: Source, recipient: Recipient, message: Message) -> None:
        try:
            failure = self._channels[recipient].send(message)
            if failure is None:
                source.mark_delivered(recipient, message)
                self._book.note_success(recipient)
            else:
                self._book.note_failure(recipient, failure)
                log.warning(
                    "could not send a message to %s: %s; it will be retried. %s",
                    recipient.label, failure.why, _sentence(failure.remedy),
                )  # fmt: skip
        except CannotStore as error:
            log.warning("could not note what %s was sent: %s; it may be sent again", recipient.label, error)
        except Exception:
            log.exception("could not send a message to %s", recipient.label)


def notifier(database: Database, config: Config, owner: str) -> Notifier:
    """Create the notifier of the configured addresses."""
    recipients = [*alert_recipients(config), *digest_recipients(config)]
    client = httpx.Client(timeout=TIMEOUT) if recipients else None
    channels = {recipient: channel(recipient.address, client) for recipient in recipients if client}
    return Notifier(database, channels, owner, digests=DigestMessages(database, config.stores))


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"
