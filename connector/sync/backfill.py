"""A shop's own history, through the same way as its webhooks: page → examine → outbox, with a tally.

The outbox's key alone decides what is new, so what came by webhook, or was walked before, is not sent again. What was
walked is no arrival: its ledger lines bear "backfill" or "reconcile" where a webhook's bear its delivery.
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
from connector.intake.examine import Examination, decision, examine, internal_error, parked_webhook
from connector.mapping.tiktok_event import OutboundEvent
from connector.outbox.ledger import Decision
from connector.outbox.outbox import Outbox
from connector.storage.database import Database
from connector.storage.tables import events, ledger

ImportKind = Literal["backfill", "reconcile"]
Kind = Literal["order", "customer"]
SAID: Mapping[ImportKind, str] = {
    "backfill": "from the shop's history, by backfill",
    "reconcile": "from the shop's history: no webhook had brought it",
}


@dataclass(slots=True)
class ImportSummary:
    """What a walk came to, in orders and customers unless said otherwise."""

    found: int = 0
    there: int = 0  # nothing new in them
    queued: Counter[Kind] = field(default_factory=Counter)
    events: int = 0  # that are queued
    outside: int = 0  # changed in the time that was asked for, but happened at another
    empty: int = 0  # drafts and the like, in which nothing has happened
    skipped: int = 0
    parked: int = 0
    reasons: Counter[str] = field(default_factory=Counter)  # why milestones were skipped, and bodies parked
    withheld: set[str] = field(default_factory=set)  # orders that do not say who bought, since the last one that did


class KnownRecords:
    """What the database knows already, asked for a page at a time."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def known(self, items: Collection[OutboundEvent]) -> set[tuple[str, str, str]]:
        """Those of these events that are there, as (pixel, event, event_id)."""
        if not items:
            return set()
        key = (events.c.pixel, events.c.event, events.c.event_id)
        asked = ({item.pixel.code for item in items}, {item.event for item in items}, {item.event_id for item in items})
        query = sa.select(*key).where(*(column.in_(values) for column, values in zip(key, asked, strict=True)))
        with self._database.read() as connection:
            return {(row[0], row[1], row[2]) for row in connection.execute(query)}

    def told(self, store: str, keys: Collection[str]) -> set[tuple[str, str]]:
        """The ledger's reasons by order or customer, as (object_key, reason); (object_key, "") for what was sent."""
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
    """One store's history, page by page. Raises ShopApiError, CannotStore.

    `walk` names it in the ledger; `go_live` is the moment before which an order is history and not sent. Events outside
    `between` are left out. With `dry_run` nothing is stored.
    """

    def __init__(
        self,
        store: Store,
        platform: Platform,
        outbox: Outbox,
        known: KnownRecords,
        walk: ImportKind,
        go_live: datetime,
        between: tuple[datetime, datetime] | None = None,
        dry_run: bool = False,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.tally = ImportSummary()
        self._store = store
        self._platform = platform
        self._outbox = outbox
        self._memory = known
        self._walk: ImportKind = walk
        self._go_live = go_live
        self._between = between
        self._dry_run = dry_run
        self._clock = clock
        self._taken: set[bytes] = set()

    def orders(self, shop_api: ShopApi, since: datetime, until: datetime) -> Iterator[Page]:
        """Handle the orders that changed in [since, until], if any are sent; each page is returned when it is done.

        By change, not by creation: an order paid today may be a month old.
        """
        if {"order_placed", "order_paid"} & set(self._store.sent):
            for page in shop_api.orders(since, until, "modified"):
                self._take(page)
                yield page

    def customers(self, shop_api: ShopApi, since: datetime, until: datetime) -> Iterator[Page]:
        """Handle the customers who registered in [since, until], if they are sent."""
        if "customer_registered" in self._store.sent:
            for page in shop_api.customers(since, until):
                self._take(page)
                yield page

    # --- one page -------------------------------------------------------------------------------------------

    def _take(self, page: Page) -> None:
        now = self._clock()
        # One may come twice, where pages overlap.
        bodies = {body_sha256(body): body for body in page.bodies}
        webhooks = [
            Webhook(page.topic, body, now, delivery=self._walk)
            for digest, body in bodies.items()
            if digest not in self._taken
        ]
        self._taken.update(bodies)
        looked = [(webhook, self._look(webhook, now)) for webhook in webhooks]
        examined = [(webhook, examination) for webhook, examination in looked if examination is not None]
        known = self._memory.known([event for _, examination in examined for event in examination.events])
        only_skipped = {examination.object_key for _, examination in examined if not examination.events}
        told = self._memory.told(self._store.name, only_skipped - {""})
        for webhook, examination in examined:
            self._note_who(examination)
            self.tally.reasons.update(f"{skip.milestone}: {skip.reason}" for skip in examination.skipped)
            if examination.events:
                self._offer(webhook, examination, known)
            elif examination.skipped:
                self.tally.skipped += 1
                self._tell(webhook, examination, told)

    def _look(self, webhook: Webhook, now: datetime) -> Examination | None:
        """Examine a body, its events limited to `between`; None if nothing is left to do about it."""
        self.tally.found += 1
        try:
            examination = examine(webhook, self._platform, self._store, now, self._go_live)
        except (InvalidPayload, NotJson) as error:
            self._park(webhook, str(error))
            return None
        except Exception as error:
            self._park(webhook, internal_error(error))
            return None
        if not examination.events and not examination.skipped:
            self.tally.empty += 1
            return None
        if self._between is None or not examination.events:
            return examination
        start, end = self._between
        within = tuple(item for item in examination.events if start <= item.occurred_at <= end)
        if not within:
            self.tally.outside += 1
            return None
        return replace(examination, events=within)

    def _offer(self, webhook: Webhook, examination: Examination, known: set[tuple[str, str, str]]) -> None:
        new = sum((item.pixel.code, item.event, item.event_id) not in known for item in examination.events)
        if new and not self._dry_run:
            # Asked all the same, as its webhook may just have come.
            reason = f"{SAID[self._walk]}; {examination.reason}".rstrip("; ")
            new = self._outbox.record(self._decision(webhook, examination, reason))
        if not new:
            self.tally.there += 1
            return
        self.tally.events += new
        self.tally.queued["customer" if examination.object_key.startswith("customer:") else "order"] += 1

    def _tell(self, webhook: Webhook, examination: Examination, told: set[tuple[str, str]]) -> None:
        """A ledger line, so that `events show` knows why; but none twice, nor about what was sent."""
        key = examination.object_key
        if not {(key, examination.reason), (key, "")} & told and not self._dry_run:
            self._outbox.record(self._decision(webhook, examination, examination.reason))

    def _decision(self, webhook: Webhook, examination: Examination, reason: str) -> Decision:
        made = decision(webhook, self._store, examination, self._clock().timestamp())
        return replace(made, reason=reason[:1000])

    def _park(self, webhook: Webhook, reason: str) -> None:
        self.tally.parked += 1
        self.tally.reasons[reason] += 1
        if not self._dry_run:
            self._outbox.park(parked_webhook(webhook, self._store, reason), self._walk)

    def _note_who(self, examination: Examination) -> None:
        if PERSONAL_DATA_WITHHELD in examination.reason:
            self.tally.withheld.add(examination.object_key)
        elif any(item.email or item.phone for item in examination.events):
            self.tally.withheld.clear()


def counted(queued: Counter[Kind]) -> str:
    """How many of what, in words; "" if there are none."""
    names = {"order": "order", "customer": "sign-up"}
    said = [how_many(number, names[kind]) for kind, number in sorted(queued.items(), reverse=True) if number]
    return " and ".join(said)
