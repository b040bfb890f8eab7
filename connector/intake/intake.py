"""First half of the way, inside the request: verify → parse → translate → map → outbox. No network.

Whatever is signed and cannot be handled is parked, so a bug of ours never costs an order.
"""

import json
import logging
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from threading import Lock, Timer
from typing import Any

import msgspec
from msgspec.structs import replace

from connector.core.event import DataRequest, Skipped
from connector.core.signature import body_sha256
from connector.core.store import Store
from connector.core.webhook import InvalidPayload, InvalidSignature, NotJson, Platform, Request, Webhook
from connector.mapping.event_id import object_key
from connector.mapping.tiktok_event import OutboundEvent, map_events
from connector.outbox.encryption import decrypt, encrypt
from connector.outbox.ledger import Decision, hour_of
from connector.outbox.outbox import Outbox, ParkedWebhook
from connector.privacy.data_subject import data_subject_of
from connector.privacy.requests import DataRequestStore
from connector.storage.transaction import CannotStore

log = logging.getLogger("connector.intake.intake")


def _decimal(number: str) -> Decimal | None:
    """A JSON number with its own digits; one that not even Decimal can hold (1e99999999999999999999) is absent."""
    try:
        return Decimal(number)
    except InvalidOperation:
        return None


_DECODER = msgspec.json.Decoder(float_hook=_decimal)
TALLY_SECONDS = 1.0
TOPICS_COUNTED = 100  # more than either platform has
UNDER_WAY = timedelta(minutes=15)  # what shoppers had begun when a store was first started is no history

SAID = {
    "erase_person": "a shopper is to be erased, which is done within a minute (demand {0})",
    "erase_store": "all of this store is to be erased, which is done within a minute (demand {0})",
    "export": "a shopper asks what is kept of them: run `connector events export --demand {0}`",
    "uninstalled": "the shop has uninstalled the app; what is queued is still sent",
}


class Examination(msgspec.Struct, frozen=True):
    """What a webhook's body amounts to: events, milestones deliberately skipped, and whom it is about."""

    events: tuple[OutboundEvent, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    object_key: str = ""
    order_number: str = ""
    demands: tuple[DataRequest, ...] = ()

    @property
    def outcome(self) -> str:
        """In a word, as the ledger keeps it."""
        return "relayed" if self.events else "skipped" if self.skipped else "recorded"

    @property
    def reason(self) -> str:
        """Why something was skipped or left out, for a merchant to read."""
        said = [f"{skip.milestone}: {skip.reason}" for skip in self.skipped]
        return "; ".join(dict.fromkeys(said + [note for mapped in self.events for note in mapped.notes]))[:1000]


def parse(body: bytes) -> Any:
    """JSON with numbers as Decimal. Raises NotJson for what is no JSON, Misfit for what only Python reads."""
    try:
        return _DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        json.loads(body)
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise NotJson("the body is not JSON") from None
    except (RecursionError, ValueError):
        raise InvalidPayload("the body is nested or numbered beyond what any shop sends") from None
    raise InvalidPayload("the body is JSON of a kind that only a lenient parser accepts (NaN, a lone surrogate)")


def examine(webhook: Webhook, platform: Platform, store: Store, now: datetime, go_live: datetime | None) -> Examination:
    """Translate and map, storing nothing; `preview` shows just this. `go_live` None: no age applies.

    Raises InvalidPayload or NotJson; anything else raised is a bug of ours.
    """
    data = parse(webhook.body)
    if webhook.shop and webhook.shop not in store.shops:
        raise InvalidPayload(f"it comes from another shop, {webhook.shop} (shop = {', '.join(store.shops)})")
    told = list(platform.translate(replace(webhook, data=data), store))
    found = [item for item in told if not isinstance(item, DataRequest)]
    mapped = list(map_events(found, store, now, go_live))
    # Skips carry their order's ids too, so that the ledger can be asked about orders that were never sent.
    subject = next((item for item in found if item.ids), None)
    ids = subject.ids if subject else {}
    return Examination(
        events=_once_each(item for item in mapped if isinstance(item, OutboundEvent)),
        skipped=tuple(dict.fromkeys(item for item in mapped if isinstance(item, Skipped))),
        object_key=object_key(subject.milestone, ids) if subject else "",
        order_number=ids.get("order_name") or ids.get("order_number", ""),
        demands=tuple(item for item in told if isinstance(item, DataRequest)),
    )


def _once_each(mapped: Any) -> tuple[OutboundEvent, ...]:
    """Two milestones under one event name are one event; the first wins."""
    found: dict[tuple[str, str, str], OutboundEvent] = {}
    for item in mapped:
        found.setdefault((item.pixel.code, item.event, item.event_id), item)
    return tuple(found.values())


def _later(seconds: float, work: Callable[[], None]) -> None:
    timer = Timer(seconds, work)
    timer.daemon = True
    timer.start()


class Intake:
    """Takes requests for any of the stores. Safe to share by threads; one per process."""

    def __init__(
        self,
        stores: Mapping[str, Store],
        platforms: Mapping[str, Platform],
        outbox: Outbox,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        later: Callable[[float, Callable[[], None]], None] = _later,
    ) -> None:
        self._stores = stores
        self._platforms = platforms
        self._outbox = outbox
        self._demands = DataRequestStore(outbox.engine)
        self._clock = clock
        self._started: dict[str, float] = {}
        self._tallies: Counter[tuple[str, str, str, int]] = Counter()
        self._tallied_at = 0.0
        self._tally_lock = Lock()
        self._ignored: set[str] = set()
        self._later = later
        self._awaited = False  # whether what is counted will be written by itself

    def start(self) -> None:
        """Note when each store was first started. Raises CannotStore; then the first webhook does it."""
        self._started = self._outbox.start_stores(self._stores, self._clock().timestamp())

    def take(self, store: Store, request: Request) -> str:
        """One request on its whole way; the outcome in a word. Raises InvalidSignature, NotJson, CannotStore."""
        begun = time.perf_counter()
        platform = self._platforms[store.platform]
        try:
            webhook = platform.receive(request, store)
        except InvalidSignature as error:
            self._tally(store, "", "refused")
            log.warning("refused: %s", error, extra={"store": store.name})
            raise
        if webhook is None:
            log.info("handshake answered", extra={"store": store.name})
            return "handshake"
        outcome, seen, reason = self._handle(webhook, platform, store)
        log.log(
            logging.ERROR if outcome == "parked" else logging.INFO,
            "webhook %s",
            outcome,
            extra={
                "store": store.name,
                "topic": webhook.topic[:100],
                "delivery": webhook.delivery[:64],
                "object": seen.object_key if seen else "",
                "event_ids": ",".join(dict.fromkeys(item.event_id for item in seen.events)) if seen else "",
                "reason": reason,
                "ms": round((time.perf_counter() - begun) * 1000, 1),
            },
        )
        return outcome

    def replay(self, item: ParkedWebhook) -> str:
        """A parked webhook through the current code: its new outcome; "parked" if it still does not fit.

        Raises KeyError for a store no longer configured, parking.Unopenable, CannotStore.
        """
        store = self._stores[item.store]
        webhook = decrypt(item.sealed, store)
        outcome, _, _ = self._handle(webhook, self._platforms[store.platform], store)
        if outcome != "parked":
            self._outbox.unpark(item)
        return outcome

    def choose(self, platform: str, request: Request) -> Store:
        """Find the store a platform-wide URL is meant for, by shop and secret. Raises InvalidSignature."""
        shop = self._platforms[platform].shop_of(request)
        for store in self._stores.values():
            if store.platform == platform and shop in store.shops:
                try:
                    self._platforms[platform].receive(request, store)
                except InvalidSignature:
                    continue
                return store
        log.warning("signature refused: no %s store of this shop has a secret that fits", platform)
        self._count_refused(platform)
        raise InvalidSignature("no configured shop of this name has a secret that fits")

    def flush(self) -> None:
        """Write the counters gathered since the last time; at the end of a process."""
        with self._tally_lock:
            tallies, self._tallies = self._tallies, Counter()
        if tallies:
            self._outbox.count(tallies)

    # --- details --------------------------------------------------------------------------------------------

    def _handle(self, webhook: Webhook, platform: Platform, store: Store) -> tuple[str, Examination | None, str]:
        if webhook.topic not in platform.TOPICS and webhook.topic not in platform.RECORDED:
            self._tally(store, self._known_topic(webhook.topic[:100]), "ignored")
            return "ignored", None, ""
        with self._outbox.under_way():
            return self._decide(webhook, platform, store)

    def _decide(self, webhook: Webhook, platform: Platform, store: Store) -> tuple[str, Examination | None, str]:
        go_live = self._go_live(store)
        try:
            seen = examine(webhook, platform, store, self._clock(), go_live)
        except NotJson:
            raise
        except InvalidPayload as error:
            return self._park(webhook, store, str(error))
        except Exception as error:
            return self._park(webhook, store, internal_error(error))
        if not seen.events and not seen.skipped and webhook.topic not in platform.RECORDED:
            self._tally(store, webhook.topic, "nothing new")
            return "nothing new", seen, ""
        for demand in seen.demands:
            self._note(demand, webhook, store)
        new = self._outbox.record(decision(webhook, store, seen, self._clock().timestamp()))
        return seen.outcome if new or not seen.events else "nothing new", seen, seen.reason

    def _note(self, demand: DataRequest, webhook: Webhook, store: Store) -> None:
        """What is asked of us is done beside the relay: to look at all that is kept takes longer than a shop waits."""
        digest, person = body_sha256(webhook.body), data_subject_of(demand, store)
        number = self._demands.note(store.name, demand.what, person, digest, self._clock().timestamp())
        if number is None:
            log.info("asked before, nothing is done again", extra={"store": store.name, "topic": webhook.topic})
        else:
            log.warning("%s", SAID[demand.what].format(number), extra={"store": store.name, "topic": webhook.topic})

    def _park(self, webhook: Webhook, store: Store, reason: str) -> tuple[str, None, str]:
        self._outbox.park(parked_webhook(webhook, store, reason), webhook.delivery)
        return "parked", None, reason

    def _go_live(self, store: Store) -> datetime:
        if not store.go_live and not self._started:
            self.start()
        return store.go_live or history_before(self._started[store.name])

    def _known_topic(self, topic: str) -> str:
        """A topic to count by; of those that we do not know only so many, for the header is not signed."""
        if len(self._ignored) < TOPICS_COUNTED:
            self._ignored.add(topic)
        return topic if topic in self._ignored else "(others)"

    def _count_refused(self, platform: str) -> None:
        self._add((platform, "", "refused", hour_of(self._clock())))

    def _tally(self, store: Store, topic: str, what: str) -> None:
        self._add((store.name, topic or "(none)", what, hour_of(self._clock())))

    def _add(self, key: tuple[str, str, str, int]) -> None:
        """Count in memory and write at most once a second: a flood of refused requests costs the database nothing."""
        with self._tally_lock:
            self._tallies[key] += 1
            if time.monotonic() - self._tallied_at < TALLY_SECONDS:
                if not self._awaited:
                    self._awaited = True
                    self._later(TALLY_SECONDS, self._write_tallies)
                return
        self._write_tallies()

    def _write_tallies(self) -> None:
        with self._tally_lock:
            self._awaited = False
            self._tallied_at = time.monotonic()
            tallies, self._tallies = self._tallies, Counter()
        try:
            if tallies:
                self._outbox.count(tallies)
        except CannotStore:
            with self._tally_lock:
                self._tallies.update(tallies)


def decision(webhook: Webhook, store: Store, seen: Examination, now: float) -> Decision:
    """What the outbox and the ledger are to keep of it. `now` in Unix seconds."""
    return Decision(
        store=store.name,
        topic=webhook.topic,
        body_sha256=body_sha256(webhook.body),
        received_at=now,
        delivery=webhook.delivery[:64],
        object_key=seen.object_key,
        order_number=seen.order_number,
        outcome=seen.outcome,
        reason=seen.reason,
        events=seen.events,
    )


def parked_webhook(webhook: Webhook, store: Store, reason: str) -> ParkedWebhook:
    """A webhook that could not be handled, sealed for a replay."""
    digest, at = body_sha256(webhook.body), webhook.received_at.timestamp()
    return ParkedWebhook(store.name, webhook.topic, digest, reason, at, encrypt(webhook, store))


def history_before(started: float) -> datetime:
    """The moment before which orders are history for a store first started then (Unix seconds)."""
    return datetime.fromtimestamp(started, UTC) - UNDER_WAY


def internal_error(error: Exception) -> str:
    """Type and place of an exception of ours; not its message, which may quote the body."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{last.name} ({last.filename.rsplit('/', 1)[-1]}:{last.lineno})"
    return f"a bug of the connector's: {type(error).__name__} in {place}"
