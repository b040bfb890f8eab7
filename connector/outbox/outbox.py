"""The outbox: events that wait to be sent to TikTok, from intake to the relay, whose half is in `queue`.

Every method is one transaction, except `write`, which runs in the caller's. Times are Unix seconds. Raises CannotStore
when the database does not answer in time.
"""

from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection

from connector.core.webhook import BrokenWebhook
from connector.mapping.tiktok_event import OutboundEvent
from connector.outbox.books import BookEntry, write_entries
from connector.outbox.event_times import ASSUMED_TIME_WAIT, state_times
from connector.outbox.identity_hashes import store_hashes
from connector.outbox.ledger import Decision, Ledger, ParkedWebhook
from connector.outbox.queue import EventQueue
from connector.outbox.returning import mark_returning
from connector.outbox.routes import without_other_routes
from connector.signals.click_memory import ClickMemory
from connector.signals.matching import KnownOrder, SignalMatcher, WaitingEvent
from connector.storage.bulk_insert import BulkInsert
from connector.storage.database import Database
from connector.storage.tables import events, parked, relays, storable, stores

_KEY = ("pixel", "event", "event_id")
_key_of = itemgetter(*_KEY)
_ROW = (
    "store", "pixel", "event", "event_id", "object_key", "test_code", "state", "due_at", "attempts", "occurred_at",
    "created_at", "payload", "email", "phone", "external_id", "clicked_at", "click_until",
    "ttclid_from", "ttp_from",
)  # fmt: skip
_PARKED = ("store", "topic", "body_sha256", "reason", "parked_at", "sealed")


class _Entry(NamedTuple):
    """An event to store: the index of its decision, the event and its row."""

    decision: int
    event: OutboundEvent
    row: dict[str, Any]


class Outbox(EventQueue):
    """Records, leases and settles events, on SQLite and PostgreSQL alike. Safe to share between threads."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._matcher = SignalMatcher(database)
        ending = f"ON CONFLICT DO NOTHING RETURNING {', '.join(_KEY)}"
        self._new_events = BulkInsert(events, _ROW, ending, database.engine.dialect)
        self._ledger = Ledger(database)
        self._clicks = ClickMemory(database)

    # --- intake ---------------------------------------------------------------------------------------------

    def record(self, decision: Decision) -> int:
        """Store one webhook's decision; return the number of its new events. See `write`."""
        return self.record_all([decision])[0]

    def record_all(self, decisions: Sequence[Decision]) -> list[int]:
        """Store several webhooks' decisions in one transaction; return the number of new events of each."""
        with self.database.write() as connection:
            return self.write(connection, decisions)

    def write(self, connection: Connection, decisions: Sequence[Decision]) -> list[int]:
        """Store the decisions' new events, parked bodies and ledger lines, in the caller's transaction.

        Returns the number of new events of each. An event whose (pixel, event, event_id) is known changes nothing,
        except that it may state the time of an unsent one. One that is stored under another route is left out. A
        webhook that brings nothing new is only counted, and a body that was recorded before adds no second line.
        """
        decisions = without_other_routes(connection, decisions)
        entries = [
            _Entry(index, event, _row(event, decision))
            for index, decision in enumerate(decisions)
            for event in decision.events
        ]
        self._add_what_is_known(connection, decisions, entries)
        new = [0] * len(decisions)
        for index, number in self._store_waiting(connection, decisions, entries).items():
            new[index] += number
        inserted = self._insert_events(connection, [entry for entry in entries if not entry.event.beacon_wait])
        for entry in inserted:
            new[entry.decision] += 1
        is_new = {id(entry) for entry in inserted}  # two entries of one key can be equal
        stated = [entry for entry in entries if entry.event.time_source == "stated" and id(entry) not in is_new]
        state_times(connection, [entry.row for entry in stated])
        more_hashes = [
            (row["store"], event.object_key, digest) for _, event, row in entries for digest in event.more_hashes
        ]
        store_hashes(connection, self.database.insert, more_hashes)
        self._park(connection, [decision.parked for decision in decisions if decision.parked])
        self._ledger.note(connection, decisions, new)
        write_entries(connection, [decision.book_entry for decision in decisions if decision.book_entry])
        return new

    def _add_what_is_known(
        self, connection: Connection, decisions: Sequence[Decision], entries: Sequence[_Entry]
    ) -> None:
        """Complete the rows of new events by what is on record about their customers, where a store wants that."""
        uses = [(event, row, event.clicks) for _, event, row in entries if event.clicks]
        if uses:  # those of waiting events are remembered when their consent is known
            self._clicks.mark([(row, use) for event, row, use in uses if not event.beacon_wait])
        for decision in decisions:
            # A repeated "no" is not a later one: every update of a skipped order repeats it.
            if decision.consent_denial and not self._ledger.knows_consent_denial(connection, decision):
                self._clicks.forget(connection, decision.consent_denial, [row for _, row, _ in uses])
        if uses:
            self._clicks.recall(connection, [(row, use) for _, row, use in uses])
        if unknown := [row for _, event, row in entries if event.may_be_returning]:
            mark_returning(connection, unknown, [row for _, _, row in entries])

    def _store_waiting(
        self, connection: Connection, decisions: Sequence[Decision], entries: Sequence[_Entry]
    ) -> Mapping[int, int]:
        """Store the events that wait for a beacon; return the number of new ones by the index of their decision."""
        waiting = [
            WaitingEvent(index, row, event.beacon_wait, event.clicks)
            for index, event, row in entries
            if event.beacon_wait
        ]
        orders = [
            KnownOrder(decision.store, decision.checkout_token, decision.object_key, decision.received_at)
            for decision in decisions
            if decision.checkout_token
        ]
        return self._matcher.store_waiting(connection, waiting, orders) if waiting or orders else {}

    def _insert_events(self, connection: Connection, entries: list[_Entry]) -> list[_Entry]:
        """Insert the rows; return the entries that are new."""
        if not entries:
            return []
        # Always in the same order, so that two simultaneous webhooks of one order do not deadlock.
        entries.sort(key=lambda entry: _key_of(entry.row))
        added = {tuple(row) for row in self._new_events.run(connection, [entry.row for entry in entries])}
        new = []
        for entry in entries:
            key = tuple(map(storable, _key_of(entry.row)))
            if key in added:
                added.discard(key)  # a second row with the same key is not new
                new.append(entry)
        return new

    def _park(self, connection: Connection, items: Sequence[ParkedWebhook]) -> None:
        """Store encrypted bodies for a replay; one that is known changes only the time of an error that it repeats."""
        for item in items:
            insert = self.database.insert(parked).values({name: getattr(item, name) for name in _PARKED})
            if item.reason.startswith(BrokenWebhook.PREFIX):
                latest = {"reason": item.reason, "parked_at": item.parked_at}
                insert = insert.on_conflict_do_update(index_elements=["store", "topic", "body_sha256"], set_=latest)
            else:
                insert = insert.on_conflict_do_nothing()
            connection.execute(insert)

    def unpark(self, item: ParkedWebhook) -> None:
        """Delete a parked body that has been handled."""
        with self.database.write() as connection:
            connection.execute(sa.delete(parked).where(parked.c.id == item.id))

    def count(self, counts: Mapping[tuple[str, str, str, int], int]) -> None:
        """Add to the counters, by (store, topic, what, hour)."""
        with self.database.write() as connection:
            self._ledger.count(connection, counts)

    def note_orders(self, entries: Sequence[BookEntry]) -> None:
        """Store what reconciliation has seen of orders, whether or not anything of them is new."""
        if entries:
            with self.database.write() as connection:
                write_entries(connection, entries)

    def ping(self) -> None:
        """Raise CannotStore unless a write would succeed: takes the write lock, writes, and rolls back."""
        with self.database.write() as connection:
            connection.execute(self.database.insert(relays).values(name="-", seen_at=0).on_conflict_do_nothing())
            connection.rollback()

    def start_stores(self, names: Iterable[str], now: float) -> dict[str, float]:
        """Return the first start of each store; a new store starts now."""
        with self.database.write() as connection:
            for name in sorted(names):
                row = {"name": name, "started_at": now}
                connection.execute(self.database.insert(stores).values(row).on_conflict_do_nothing())
            found = connection.execute(sa.select(stores.c.name, stores.c.started_at)).all()
        return {row.name: row.started_at for row in found}


def _row(event: OutboundEvent, decision: Decision) -> dict[str, Any]:
    return {
        "store": decision.store,
        "pixel": event.pixel.code,
        "event": event.event,
        "event_id": event.event_id,
        "object_key": event.object_key,
        "test_code": event.pixel.test_event_code,
        "state": "due",
        "due_at": decision.received_at + (ASSUMED_TIME_WAIT if event.time_source == "assumed" else 0),
        "attempts": 0,
        "occurred_at": event.occurred_at.timestamp(),
        "created_at": decision.received_at,
        "payload": event.payload,
        "email": bytes.fromhex(event.email_hash) or None,
        "phone": bytes.fromhex(event.phone_hash) or None,
        "external_id": bytes.fromhex(event.external_id_hash) or None,
        "clicked_at": None,
        "click_until": None,
        "ttclid_from": None,
        "ttp_from": None,
    }
