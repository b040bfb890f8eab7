"""Examine a verified webhook: parse, translate, map. Nothing is stored or sent."""

import json
import logging
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec
from msgspec.structs import replace

from connector.core.event import DataRequest, Skipped
from connector.core.platform import Platform
from connector.core.signature import body_sha256
from connector.core.store import Store
from connector.core.text import type_and_place
from connector.core.webhook import InvalidPayload, Notice, NotJson, Webhook
from connector.mapping.click_use import ConsentDenial
from connector.mapping.consent import order_checkout
from connector.mapping.event_id import object_key
from connector.mapping.tiktok_event import OutboundEvent, consent_denial_of, map_events
from connector.outbox.books import BookEntry, book_entry
from connector.outbox.encryption import encrypt
from connector.outbox.ledger import Decision, ParkedWebhook, park_decision

log = logging.getLogger(__name__)

MAX_REASON = 1000  # characters of a reason in the ledger
MAX_ID = 255  # characters of the id that a notice names, as of `identifier`


class Examination(msgspec.Struct, frozen=True):
    """The result of examining a webhook: events to send, skipped milestones, data-subject requests, and the order.

    `checkout_token` is that of the order's checkout, "" if no browser sends beacons about it. `consent_denial` is set
    only for a store that remembers clicks.
    """

    events: tuple[OutboundEvent, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    object_key: str = ""
    order_number: str = ""
    checkout_token: str = ""
    data_requests: tuple[DataRequest, ...] = ()
    book_entry: BookEntry | None = None
    consent_denial: ConsentDenial | None = None

    @property
    def outcome(self) -> str:
        """The outcome in the ledger: relayed, skipped or recorded."""
        return "relayed" if self.events else "skipped" if self.skipped else "recorded"

    @property
    def reason(self) -> str:
        """The reasons why something was skipped or left out, for the merchant."""
        reasons = [f"{skip.milestone}: {skip.reason}" for skip in self.skipped]
        notes = [note for event in self.events for note in event.notes]
        if self.book_entry is not None and not self.events and not self.skipped:
            notes.append("noted in the books")
        return "; ".join(dict.fromkeys(reasons + notes))[:MAX_REASON]


def examine(webhook: Webhook, platform: Platform, store: Store, now: datetime, go_live: datetime | None) -> Examination:
    """Parse, translate and map a webhook.

    `go_live` is the time before which orders are history; with None, no age limit applies.
    Raises InvalidPayload or NotJson; any other exception is a fault of the connector.
    """
    webhook = _parsed(webhook, store)
    if store.books and webhook.topic in platform.book_topics and webhook.topic not in platform.event_topics:
        state = platform.order_state(webhook, store)  # a fault parks the webhook: no event is delayed by that
        entry = None if state is None else book_entry(state, store, now.timestamp())
        return Examination(object_key=entry.object_key if entry else "", book_entry=entry)
    entry = read_book_entry(webhook, platform, store, now) if store.books else None
    translated = list(platform.translate(webhook, store))
    milestones = [item for item in translated if not isinstance(item, DataRequest)]
    mapped = list(map_events(milestones, store, now, go_live))
    # Skipped milestones name their order, too, so that the ledger finds orders that were never sent.
    subject = next((item for item in milestones if item.ids), None)
    ids = subject.ids if subject else {}
    return Examination(
        events=_without_duplicates(item for item in mapped if isinstance(item, OutboundEvent)),
        skipped=tuple(dict.fromkeys(item for item in mapped if isinstance(item, Skipped))),
        object_key=object_key(subject.milestone, ids) if subject else "",
        order_number=ids.get("order_name") or ids.get("order_number", ""),
        checkout_token=order_checkout(subject.milestone, ids, store) if subject else "",
        data_requests=tuple(item for item in translated if isinstance(item, DataRequest)),
        book_entry=entry,
        consent_denial=consent_denial_of(milestones, store),
    )


def read_notice(webhook: Webhook, platform: Platform, store: Store) -> Notice | None:
    """Return what a webhook without data names, None if that concerns no event. Raises InvalidPayload, NotJson."""
    notice = platform.notice(_parsed(webhook, store), store)
    if notice is not None and not 0 < len(notice.id) <= MAX_ID:
        raise InvalidPayload(f"expected an id of 1 to {MAX_ID} characters in the body of topic {webhook.topic}")
    return notice


def _parsed(webhook: Webhook, store: Store) -> Webhook:
    """Return the webhook with its parsed body. Raises InvalidPayload if another shop sent it, NotJson."""
    data = parse(webhook.body)
    if webhook.shop and webhook.shop not in store.shops:
        raise InvalidPayload(f"the webhook comes from another shop, {webhook.shop} (shop = {', '.join(store.shops)})")
    return replace(webhook, data=data)


def read_book_entry(webhook: Webhook, platform: Platform, store: Store, now: datetime) -> BookEntry | None:
    """Return what a parsed webhook says of an order as a sale, or None. A fault costs the books, not the event."""
    try:
        state = platform.order_state(webhook, store)
        return None if state is None else book_entry(state, store, now.timestamp())
    except InvalidPayload:
        return None
    except Exception as error:
        log.error("not in the books: %s", internal_error(error), extra={"store": store.name, "topic": webhook.topic})
        return None


def parse(body: bytes) -> Any:
    """Parse JSON, with fractions as Decimal.

    Raises NotJson for text that no parser accepts, InvalidPayload for text that only Python's lenient parser accepts.
    """
    try:
        return _DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        json.loads(body)
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise NotJson("the body is not JSON") from None
    except (RecursionError, ValueError):
        raise InvalidPayload("the body is nested too deeply, or has a number that is too long") from None
    raise InvalidPayload("the body is JSON that only a lenient parser accepts (NaN, a lone surrogate)")


def _decimal(number: str) -> Decimal | None:
    """Return a JSON number with its original digits; None for a number beyond Decimal (1e99999999999999999999)."""
    try:
        return Decimal(number)
    except InvalidOperation:
        return None


_DECODER = msgspec.json.Decoder(float_hook=_decimal)


def _without_duplicates(mapped: Iterable[OutboundEvent]) -> tuple[OutboundEvent, ...]:
    """Keep the first of two events with one pixel, event name and event_id.

    Two milestones can be sent under one name.
    """
    found: dict[tuple[str, str, str], OutboundEvent] = {}
    for item in mapped:
        found.setdefault((item.pixel.code, item.event, item.event_id), item)
    return tuple(found.values())


# --- for the outbox -------------------------------------------------------------------------------------------


def decision_of(webhook: Webhook, store: Store, examination: Examination, now: float) -> Decision:
    """Return the examination as outbox and ledger store it. `now` is in Unix seconds."""
    return Decision(
        store=store.name,
        topic=webhook.topic,
        body_sha256=body_sha256(webhook.body),
        received_at=now,
        delivery=webhook.delivery[:64],
        object_key=examination.object_key,
        order_number=examination.order_number,
        checkout_token=examination.checkout_token,
        outcome=examination.outcome,
        reason=examination.reason,
        events=examination.events,
        book_entry=examination.book_entry,
        consent_denial=examination.consent_denial,
    )


def parked(webhook: Webhook, store: Store, reason: str, delivery: str) -> Decision:
    """Return the decision to park a webhook that could not be handled, encrypted for a later replay."""
    digest, at = body_sha256(webhook.body), webhook.received_at.timestamp()
    item = ParkedWebhook(store.name, webhook.topic, digest, reason, at, encrypt(webhook, store))
    return park_decision(item, delivery)


def why_not_examined(error: Exception) -> str:
    """Return why `examine` failed: the sentence of InvalidPayload or NotJson, or the place of a fault in the code."""
    return str(error) if isinstance(error, InvalidPayload | NotJson) else internal_error(error)


def internal_error(error: Exception) -> str:
    """Return how an unexpected exception is reported."""
    return f"internal error: {type_and_place(error)}"
