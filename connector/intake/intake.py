"""Intake of webhooks: verify → decide → store. No network access.

A signed webhook that cannot be handled is parked, so that no order is lost through a fault of the connector. Only a
body that is not JSON is not: it is answered 400.
"""

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from connector.core.event import DataRequest
from connector.core.platform import Platform
from connector.core.registry import failed
from connector.core.store import Store
from connector.core.webhook import Handshake, InvalidSignature, NotJson, Request, UnknownKey, Webhook
from connector.intake.counters import OutcomeCounters
from connector.intake.examine import decision_of, examine, parked, read_notice, why_not_examined
from connector.intake.refusals import RefusalDiagnosis
from connector.outbox.encryption import decrypt
from connector.outbox.ledger import Decision, ParkedWebhook
from connector.outbox.notices import NoticeEntry, NoticeTable
from connector.outbox.outbox import Outbox
from connector.privacy.requests import DataRequestStore

log = logging.getLogger(__name__)

Answered = TypeVar("Answered")

# Orders up to 15 minutes older than a store's first start still count: their checkouts were under way.
START_GRACE = timedelta(minutes=15)
NO_TOPIC = "(none)"  # counted as the topic if there is none

UNKNOWN_STORE = ""  # the name under which webhooks to no store are counted


class IntakeResult(Struct, frozen=True):
    """A verified webhook with its outcome, and the decision or notice that must be stored before it is answered."""

    outcome: str
    decision: Decision | None = None
    notice: NoticeEntry | None = None
    data_requests: tuple[DataRequest, ...] = ()

    def stored(self, new: int) -> "IntakeResult":
        """Return the result after `decision` was stored; a webhook whose events were all known is a duplicate."""
        known = self.decision is not None and bool(self.decision.events) and not new
        return replace(self, outcome="duplicate") if known else self


class Intake:
    """Handles the webhooks of all stores; one for each process."""

    def __init__(
        self,
        stores: Mapping[str, Store],
        platforms: Mapping[str, Platform],
        outbox: Outbox,
        data_requests: DataRequestStore,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._stores = stores
        self._platforms = platforms
        self._outbox = outbox
        self._notices = NoticeTable(outbox.database)
        self._data_requests = data_requests
        self._clock = clock
        self.counters = OutcomeCounters(outbox, clock)
        self._diagnosis = RefusalDiagnosis(stores, platforms)
        self._first_starts: dict[str, float] = {}  # by store, in Unix seconds

    def start(self) -> None:
        """Record each store's first start, before the first webhook. Raises CannotStore."""
        self._first_starts = self._outbox.start_stores(self._stores, self._clock().timestamp())

    @property
    def started(self) -> bool:
        """True after `start` has succeeded."""
        return bool(self._first_starts) or not self._stores

    # --- verify ------------------------------------------------------------------------------------------------

    def verify(self, store: Store, request: Request) -> Webhook | Handshake:
        """Return the verified webhook, or a handshake to answer.

        Raises InvalidSignature, UnknownKey, BrokenPlatform.
        """
        try:
            webhook = self._receive(request, store)
        except InvalidSignature as error:
            self._count_refusal(store.name, error, self._diagnosis.cause(error, request, store))
            raise
        if isinstance(webhook, Handshake):
            log.info("handshake answered", extra={"store": store.name})
        return webhook

    def find_store(self, platform: str, request: Request) -> Store:
        """Find the store of a request to a platform's shared URL, by shop and secret; `verify` verifies it again.

        Raises InvalidSignature.
        """
        shop = self._ask(platform, lambda platform: platform.shop_of(request))
        for store in self._stores.values():
            if store.platform == platform and shop in store.shops:
                try:
                    self._receive(request, store)
                except InvalidSignature:
                    continue
                return store
        refusal = InvalidSignature("no configured shop of this name has a secret that fits")
        self._count_refusal(platform, refusal, self._diagnosis.of_shared_address(request, platform))
        raise refusal

    def answer_get(self, store: Store, query: Mapping[str, str]) -> Handshake | None:
        """Return the answer to a GET request with which a shop tries an address, if any. Raises BrokenPlatform."""
        return self._ask(store.platform, lambda platform: platform.greeting(query, store))

    def _receive(self, request: Request, store: Store) -> Webhook | Handshake:
        return self._ask(store.platform, lambda platform: platform.receive(request, store))

    def _ask(self, name: str, ask: Callable[[Platform], Answered]) -> Answered:
        """Return `ask(platform)`. Raises BrokenPlatform for all but the two exceptions that a platform may raise."""
        platform = self._platforms[name]
        try:
            return ask(platform)
        except (InvalidSignature, UnknownKey):
            raise
        except Exception as error:  # nothing is verified yet, so nothing can be parked: the shop must repeat it
            raise failed(platform, error) from error

    def count_unknown_store(self) -> None:
        """Count a webhook whose URL names no store; the name is the sender's, so it is not kept."""
        self.counters.add(UNKNOWN_STORE, NO_TOPIC, "unknown_store")

    def _count_refusal(self, name: str, refusal: InvalidSignature, cause: str) -> None:
        """Count and log a request of unknown origin, under the name in its URL: a store's or a platform's.

        The likeliest cause stands in place of the topic, which anybody could claim.
        """
        self.counters.add(name, cause, "refused")
        log.warning("invalid signature: %s", refusal, extra={"store": name})

    # --- decide ------------------------------------------------------------------------------------------------

    def decide(self, webhook: Webhook, store: Store) -> IntakeResult:
        """Parse, translate and map a verified webhook; return what to store, after `start`. Raises NotJson."""
        platform = self._platforms[store.platform]
        try:
            if _is_handled(webhook.topic, platform, store):
                return self._decide_on_data(webhook, platform, store)
            if webhook.topic in platform.notice_topics:
                return self._decide_on_notice(webhook, platform, store)
        except NotJson:
            self.counters.add(store.name, webhook.topic, "not_json")
            raise
        except Exception as error:
            return IntakeResult("parked", parked(webhook, store, why_not_examined(error), webhook.delivery))
        return self._counted("ignored", store, self.counters.bounded_topic(webhook.topic[:100]) or NO_TOPIC)

    def _decide_on_data(self, webhook: Webhook, platform: Platform, store: Store) -> IntakeResult:
        now = self._clock()
        examination = examine(webhook, platform, store, now, self._go_live(store))
        # A body that tells nothing, such as a draft cart, is counted like one that brings nothing new.
        is_news = examination.events or examination.skipped or examination.book_entry
        if not is_news and webhook.topic not in platform.recorded_topics:
            return self._counted("duplicate", store, webhook.topic)
        decision = decision_of(webhook, store, examination, now.timestamp())
        return IntakeResult(examination.outcome, decision, data_requests=examination.data_requests)

    def _decide_on_notice(self, webhook: Webhook, platform: Platform, store: Store) -> IntakeResult:
        """Read the notice of a webhook that only names what changed."""
        notice = read_notice(webhook, platform, store)
        if notice is None:
            return self._counted("ignored", store, webhook.topic)
        now = self._clock().timestamp()
        entry = NoticeEntry(store.name, notice.object_key, webhook.topic, webhook.delivery[:64], now)
        return IntakeResult("noted", notice=entry)

    def _counted(self, outcome: str, store: Store, topic: str) -> IntakeResult:
        """Count a webhook of which nothing is stored."""
        self.counters.add(store.name, topic, outcome)
        return IntakeResult(outcome)

    def _go_live(self, store: Store) -> datetime:
        return store.go_live or history_ends(self._first_starts[store.name])

    # --- store -------------------------------------------------------------------------------------------------

    def write_data_requests(self, result: IntakeResult, webhook: Webhook, store: Store) -> None:
        """Store the data-subject requests of a webhook. Raises CannotStore."""
        self._data_requests.record_all(result.data_requests, webhook, store, self._clock().timestamp())

    def handle(self, webhook: Webhook, store: Store) -> str:
        """Decide on and store a webhook, or what the shop's API answered a notice with; return the outcome.

        Raises NotJson, CannotStore.
        """
        if not self.started:
            self.start()
        result = self.decide(webhook, store)
        if result.data_requests:
            self.write_data_requests(result, webhook, store)
        if result.decision:
            result = result.stored(self._outbox.record(result.decision))
        if result.notice:
            self._notices.record(result.notice)
        log_webhook(result, webhook, store)
        return result.outcome

    def replay(self, item: ParkedWebhook) -> str:
        """Handle a parked webhook with the current code; return the outcome, "parked" if it still fails.

        Raises KeyError if the store is no longer configured, CannotDecrypt, NotJson, CannotStore.
        """
        store = self._stores[item.store]
        outcome = self.handle(decrypt(item.sealed, store), store)
        if outcome != "parked":
            self._outbox.unpark(item)
        return outcome


def history_ends(started: float) -> datetime:
    """Return the time before which orders are history, for a store first started at `started` (Unix seconds)."""
    return datetime.fromtimestamp(started, UTC) - START_GRACE


def log_webhook(result: IntakeResult, webhook: Webhook, store: Store, milliseconds: float | None = None) -> None:
    """Log what became of a webhook; `milliseconds` is how long that took."""
    stored, level = result.decision, logging.ERROR if result.outcome == "parked" else logging.INFO
    about = stored or result.notice
    if not log.isEnabledFor(level):
        return
    log.log(
        level,
        "webhook %s",
        result.outcome,
        extra={
            "store": store.name,
            "topic": webhook.topic[:100],
            "delivery": webhook.delivery[:64],
            "object": about.object_key if about else "",
            "event_ids": ",".join(dict.fromkeys(event.event_id for event in stored.events)) if stored else "",
            "reason": stored.reason if stored else "",
            "ms": milliseconds,
        },
    )


def _is_handled(topic: str, platform: Platform, store: Store) -> bool:
    """Return True if a topic yields events or is recorded; some are only for a store that keeps books."""
    if topic in platform.event_topics or topic in platform.recorded_topics:
        return True
    return store.books and topic in platform.book_topics
