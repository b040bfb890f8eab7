"""Intake of webhooks inside the HTTP request: verify → examine → store. No network access.

A signed webhook that cannot be handled is parked, so that no order is lost through a fault of the connector. Only a
body that is not JSON is not: it is answered 400.
"""

import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from connector.core.event import DataRequest
from connector.core.platform import Platform
from connector.core.signature import body_sha256
from connector.core.store import Store
from connector.core.webhook import InvalidPayload, InvalidSignature, NotJson, Request, Webhook
from connector.intake.counters import OutcomeCounters
from connector.intake.examine import Examination, decision, examine, internal_error, parked_webhook
from connector.outbox.encryption import decrypt
from connector.outbox.outbox import Outbox, ParkedWebhook
from connector.privacy.data_subject import data_subject_of
from connector.privacy.requests import DataRequestStore

log = logging.getLogger(__name__)

# Orders up to 15 minutes older than a store's first start still count: their checkouts were under way.
START_GRACE = timedelta(minutes=15)
NO_TOPIC = "(none)"  # counted as the topic if there is none, or if the signature is wrong and any could be claimed

DATA_REQUEST_MESSAGES = {
    "erase_person": "erasure of a shopper requested; it is done within a minute (data request {0})",
    "erase_store": "erasure of this store requested; it is done within a minute (data request {0})",
    "export": "a shopper requests a copy of their data: run `connector events export --demand {0}`",
    "uninstalled": "the shop has uninstalled the app; queued events are still sent",
}


class Handled(NamedTuple):
    """The outcome of a verified webhook, its examination, and the reason of a skip or fault."""

    outcome: str
    examination: Examination = Examination()
    reason: str = ""


class Intake:
    """Handles the requests for all stores. Safe to share between threads; one for each process."""

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
        self._data_requests = data_requests
        self._clock = clock
        self._counters = OutcomeCounters(outbox, clock)
        self._started: dict[str, float] = {}

    def start(self) -> None:
        """Record each store's first start. Raises CannotStore; the first webhook then tries again."""
        self._started = self._outbox.start_stores(self._stores, self._clock().timestamp())

    def find_store(self, platform: str, request: Request) -> Store:
        """Find the store of a request to a platform's shared URL, by shop and secret; `take` verifies it again.

        Raises InvalidSignature.
        """
        shop = self._platforms[platform].shop_of(request)
        for store in self._stores.values():
            if store.platform == platform and shop in store.shops:
                try:
                    self._platforms[platform].receive(request, store)
                except InvalidSignature:
                    continue
                return store
        why = "no configured shop of this name has a secret that fits"
        self._count_refusal(platform, why)
        raise InvalidSignature(why)

    def take(self, store: Store, request: Request) -> str:
        """Handle one request; return its outcome. Raises InvalidSignature, NotJson, CannotStore, BrokenPlatform."""
        begun = time.perf_counter()
        platform = self._platforms[store.platform]
        try:
            webhook = platform.receive(request, store)
        except InvalidSignature as error:
            self._count_refusal(store.name, str(error))
            raise
        if webhook is None:
            log.info("handshake answered", extra={"store": store.name})
            return "handshake"
        handled = self._handle(webhook, platform, store)
        _log(handled, webhook, store, begun)
        return handled.outcome

    def replay(self, parked: ParkedWebhook) -> str:
        """Handle a parked webhook with the current code; return the outcome, "parked" if it still fails.

        Raises KeyError if the store is no longer configured, CannotDecrypt, NotJson, CannotStore.
        """
        store = self._stores[parked.store]
        webhook = decrypt(parked.sealed, store)
        outcome = self._handle(webhook, self._platforms[store.platform], store).outcome
        if outcome != "parked":
            self._outbox.unpark(parked)
        return outcome

    def flush(self) -> None:
        """Write the counters at the end of a process. Raises CannotStore."""
        self._counters.flush()

    def _count_refusal(self, name: str, why: str) -> None:
        """Count and log a request of unknown origin, under the name in its URL: a store's or a platform's."""
        self._counters.add(name, NO_TOPIC, "refused")
        log.warning("signature refused: %s", why, extra={"store": name})

    # --- a verified webhook ---------------------------------------------------------------------------------

    def _handle(self, webhook: Webhook, platform: Platform, store: Store) -> Handled:
        if webhook.topic not in platform.event_topics and webhook.topic not in platform.recorded_topics:
            self._counters.add(store.name, self._counters.bounded_topic(webhook.topic[:100]) or NO_TOPIC, "ignored")
            return Handled("ignored")
        with self._outbox.announce_write():  # so that simultaneous webhooks share a transaction
            go_live = self._go_live(store)
            try:
                examination = examine(webhook, platform, store, self._clock(), go_live)
            except NotJson:
                raise
            except InvalidPayload as error:
                return self._park(webhook, store, str(error))
            except Exception as error:
                return self._park(webhook, store, internal_error(error))
            return self._store(webhook, platform, store, examination)

    def _store(self, webhook: Webhook, platform: Platform, store: Store, examination: Examination) -> Handled:
        # A body that tells nothing, such as a draft cart, is counted like one that brings nothing new.
        if not examination.events and not examination.skipped and webhook.topic not in platform.recorded_topics:
            self._counters.add(store.name, webhook.topic, "duplicate")
            return Handled("duplicate", examination)
        for data_request in examination.data_requests:
            self._store_data_request(data_request, webhook, store)
        new = self._outbox.record(decision(webhook, store, examination, self._clock().timestamp()))
        outcome = examination.outcome if new or not examination.events else "duplicate"
        return Handled(outcome, examination, examination.reason)

    def _store_data_request(self, data_request: DataRequest, webhook: Webhook, store: Store) -> None:
        """Store a data-subject request. The relay's process fulfils it, because that takes longer than a shop waits."""
        digest, person = body_sha256(webhook.body), data_subject_of(data_request, store)
        number = self._data_requests.note(store.name, data_request.what, person, digest, self._clock().timestamp())
        extra = {"store": store.name, "topic": webhook.topic}
        if number is None:
            log.info("data-subject request received before; nothing to do", extra=extra)
        else:
            log.warning("%s", DATA_REQUEST_MESSAGES[data_request.what].format(number), extra=extra)

    def _park(self, webhook: Webhook, store: Store, reason: str) -> Handled:
        self._outbox.park(parked_webhook(webhook, store, reason), webhook.delivery)
        return Handled("parked", reason=reason)

    def _go_live(self, store: Store) -> datetime:
        if not store.go_live and not self._started:
            self.start()
        return store.go_live or history_ends(self._started[store.name])


def history_ends(started: float) -> datetime:
    """Return the time before which orders are history, for a store first started at `started` (Unix seconds)."""
    return datetime.fromtimestamp(started, UTC) - START_GRACE


def _log(handled: Handled, webhook: Webhook, store: Store, begun: float) -> None:
    log.log(
        logging.ERROR if handled.outcome == "parked" else logging.INFO,
        "webhook %s",
        handled.outcome,
        extra={
            "store": store.name,
            "topic": webhook.topic[:100],
            "delivery": webhook.delivery[:64],
            "object": handled.examination.object_key,
            "event_ids": ",".join(dict.fromkeys(event.event_id for event in handled.examination.events)),
            "reason": handled.reason,
            "ms": round((time.perf_counter() - begun) * 1000, 1),
        },
    )
