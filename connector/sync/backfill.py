"""Import of a shop's history, processed like webhooks: page → examine → outbox, with a summary.

The outbox's unique key decides which events are new, so an event that came by webhook or by an earlier import is not
sent again. In the ledger, the delivery of an import is "backfill" or "reconcile", and is not counted as a webhook.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

import sqlalchemy as sa
from msgspec.structs import replace

from connector.core.event import PERSONAL_DATA_WITHHELD
from connector.core.platform import Platform
from connector.core.shop_api import Page, ShopApi
from connector.core.signature import body_sha256
from connector.core.store import Store
from connector.core.text import how_many
from connector.core.webhook import InvalidPayload, NotJson, Webhook
from connector.intake.examine import (
    Examination,
    decision_of,
    examine,
    parked,
    parse,
    read_book_entry,
    why_not_examined,
)
from connector.mapping.tiktok_event import OutboundEvent
from connector.monitoring.accuracy import PARKED_KEY
from connector.outbox.books import BookEntry
from connector.outbox.ledger import Decision
from connector.outbox.outbox import Outbox
from connector.storage.database import Database
from connector.storage.tables import events, ledger

ImportKind = Literal["backfill", "reconcile"]
Kind = Literal["order", "customer"]
LEDGER_REASONS: Mapping[ImportKind, str] = {
    "backfill": "from the shop's history, by backfill",
    "reconcile": "from the shop's history: its webhook had not arrived",
}


@dataclass(slots=True)
class ImportSummary:
    """The result of an import, in numbers of orders and customers unless said otherwise."""

    found: int = 0
    already_stored: int = 0  # with nothing new
    queued: Counter[Kind] = field(default_factory=Counter)
    events: int = 0  # events queued
    outside: int = 0  # changed in the requested period, but happened outside it
    empty: int = 0  # drafts and the like, without an event yet
    skipped: int = 0
    parked: int = 0
    reasons: Counter[str] = field(default_factory=Counter)  # of skipped milestones and parked bodies
    withheld: set[str] = field(default_factory=set)  # orders without personal data since the last one that had some


class KnownRecords:
    """Looks up what the database already has, one page at a time."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def known(self, items: Collection[OutboundEvent]) -> set[tuple[str, str, str]]:
        """Return the keys (pixel, event, event_id) of those events that are stored, also under another route."""
        if not items:
            return set()
        key = (events.c.pixel, events.c.event, events.c.event_id)
        keys = [one for item in items for one in item.keys]
        wanted = zip(*keys, strict=True)
        query = sa.select(*key).where(
            *(column.in_(values) for column, values in zip(key, map(set, wanted), strict=True))
        )
        with self._database.read() as connection:
            return {(row[0], row[1], row[2]) for row in connection.execute(query)}

    def reasons(self, store: str, keys: Collection[str]) -> set[tuple[str, str]]:
        """Return (object_key, reason) for ledger lines about these orders or customers, (object_key, "") for events."""
        if not keys:
            return set()
        lines = sa.select(ledger.c.object_key, ledger.c.reason).where(
            ledger.c.store == store, ledger.c.object_key.in_(keys)
        )
        sent = sa.select(events.c.object_key, sa.literal("")).where(
            events.c.store == store, events.c.object_key.in_(keys)
        )
        with self._database.read() as connection:
            return {(row[0], row[1]) for query in (lines, sent) for row in connection.execute(query)}


class HistoryImport:
    """Imports one store's history, page by page. Raises ShopApiError, CannotStore.

    `kind` is the delivery in the ledger. Orders before `go_live` and events outside `between` are not sent. With
    `dry_run` nothing is stored.
    """

    def __init__(
        self,
        store: Store,
        platform: Platform,
        outbox: Outbox,
        known: KnownRecords,
        kind: ImportKind,
        go_live: datetime,
        between: tuple[datetime, datetime] | None = None,
        dry_run: bool = False,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.summary = ImportSummary()
        self._store = store
        self._platform = platform
        self._outbox = outbox
        self._known = known
        self._kind: ImportKind = kind
        self._go_live = go_live
        self._between = between
        self._dry_run = dry_run
        self._clock = clock
        self._seen: set[bytes] = set()
        self._parked: dict[bytes, str] = {}  # reasons, by the SHA-256 of the body

    def orders(self, shop_api: ShopApi, since: datetime, until: datetime) -> Iterator[Page]:
        """Import the orders modified in [since, until], if the store sends order events; yield each page when done.

        By modification time, because an order paid today can be a month old.
        """
        if {"order_placed", "order_paid"} & set(self._store.sent_milestones):
            for page in shop_api.orders(since, until, "modified"):
                self._import(page, of_orders=True)
                yield page

    def customers(self, shop_api: ShopApi, since: datetime, until: datetime) -> Iterator[Page]:
        """Import the customers registered in [since, until], if the store sends them; yield each page when done."""
        if "customer_registered" in self._store.sent_milestones:
            for page in shop_api.customers(since, until):
                self._import(page)
                yield page

    # --- one page -------------------------------------------------------------------------------------------

    def _import(self, page: Page, of_orders: bool = False) -> None:
        now = self._clock()
        # Pages can overlap.
        bodies = {body_sha256(body): body for body in page.bodies}
        webhooks = [
            Webhook(page.topic, body, now, delivery=self._kind)
            for digest, body in bodies.items()
            if digest not in self._seen
        ]
        self._seen.update(bodies)
        examinations = [(webhook, self._examine(webhook, now)) for webhook in webhooks]
        examined = [(webhook, examination) for webhook, examination in examinations if examination is not None]
        known = self._known.known([event for _, examination in examined for event in examination.events])
        only_skipped = {examination.object_key for _, examination in examined if not examination.events}
        reasons = self._known.reasons(self._store.name, only_skipped - {""})
        for webhook, examination in examined:
            self._note_withheld(examination)
            self.summary.reasons.update(f"{skip.milestone}: {skip.reason}" for skip in examination.skipped)
            if examination.events:
                self._queue(webhook, examination, known)
            elif examination.skipped:
                self.summary.skipped += 1
                self._record_skipped(webhook, examination, reasons)
        if of_orders and not self._dry_run and (self._store.books or self._kind == "reconcile"):
            entries = (self._entry(webhook, examination, now) for webhook, examination in examinations)
            self._outbox.note_orders([entry for entry in entries if entry])

    def _entry(self, webhook: Webhook, examination: Examination | None, now: datetime) -> BookEntry | None:
        """Return what an order's body says for the books, and what became of it; None for drafts."""
        try:
            parsed = replace(webhook, data=parse(webhook.body))
        except (InvalidPayload, NotJson):
            parsed = webhook
        entry = read_book_entry(parsed, self._platform, self._store, now)
        if reason := self._parked.get(body_sha256(webhook.body)):
            unknown = BookEntry(
                self._store.name, f"{PARKED_KEY}{body_sha256(webhook.body).hex()}", now.timestamp(),
                placed_at=now.timestamp(),
            )  # fmt: skip
            return replace(entry or unknown, outcome="parked", reason=reason)
        if examination is None:
            return entry
        if entry is None and examination.object_key:  # a platform without `order_state`: by the events' time, or now
            placed_at = min((event.occurred_at for event in examination.events), default=now)
            at = placed_at.timestamp()
            entry = BookEntry(self._store.name, examination.object_key, now.timestamp(), placed_at=at)
        if entry is None:
            return None
        reason = "" if examination.events else examination.skipped[0].reason
        return replace(entry, outcome=examination.outcome, reason=reason)

    def _examine(self, webhook: Webhook, now: datetime) -> Examination | None:
        """Examine a body and limit its events to `between`; return None if there is nothing left to store."""
        self.summary.found += 1
        try:
            examination = examine(webhook, self._platform, self._store, now, self._go_live)
        except Exception as error:
            self._park(webhook, why_not_examined(error))
            return None
        if not examination.events and not examination.skipped:
            self.summary.empty += 1
            return None
        if self._between is None or not examination.events:
            return examination
        start, end = self._between
        within = tuple(item for item in examination.events if start <= item.occurred_at <= end)
        if not within:
            self.summary.outside += 1
            return None
        return replace(examination, events=within)

    def _queue(self, webhook: Webhook, examination: Examination, known: set[tuple[str, str, str]]) -> None:
        new = sum(known.isdisjoint(item.keys) for item in examination.events)
        if new and not self._dry_run:
            # Only the outbox knows the number that is new: a webhook may just have arrived.
            reason = f"{LEDGER_REASONS[self._kind]}; {examination.reason}".rstrip("; ")
            new = self._outbox.record(self._decision(webhook, examination, reason))
        if not new:
            self.summary.already_stored += 1
            return
        self.summary.events += new
        self.summary.queued["customer" if examination.object_key.startswith("customer:") else "order"] += 1

    def _record_skipped(self, webhook: Webhook, examination: Examination, reasons: set[tuple[str, str]]) -> None:
        """Record why an order was skipped, unless that is recorded already or the order has events."""
        key = examination.object_key
        if not {(key, examination.reason), (key, "")} & reasons and not self._dry_run:
            self._outbox.record(self._decision(webhook, examination, examination.reason))

    def _decision(self, webhook: Webhook, examination: Examination, reason: str) -> Decision:
        made = decision_of(webhook, self._store, examination, self._clock().timestamp())
        return replace(made, reason=reason[:1000])

    def _park(self, webhook: Webhook, reason: str) -> None:
        self.summary.parked += 1
        self.summary.reasons[reason] += 1
        self._parked[body_sha256(webhook.body)] = reason
        if not self._dry_run:
            self._outbox.record(parked(webhook, self._store, reason, self._kind))

    def _note_withheld(self, examination: Examination) -> None:
        if PERSONAL_DATA_WITHHELD in examination.reason:
            self.summary.withheld.add(examination.object_key)
        elif any(item.email_hash or item.phone_hash for item in examination.events):
            self.summary.withheld.clear()


def describe_counts(queued: Counter[Kind]) -> str:
    """Return the numbers in words, "2 orders and 1 registration"; "" if all are 0."""
    names = {"order": "order", "customer": "registration"}
    parts = [how_many(number, names[kind]) for kind, number in sorted(queued.items(), reverse=True) if number]
    return " and ".join(parts)
