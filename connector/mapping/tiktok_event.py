"""Conversion of an event into the Events API's item: event name, event_id, hashed user, properties, page.

Fields: https://business-api.tiktok.com/portal/docs?id=1771101151059969
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from connector.core.event import Customer, Event, Milestone, Skipped, TimeSource
from connector.core.json_fields import present
from connector.core.store import Pixel, Store
from connector.mapping import hashing
from connector.mapping.click_use import ClickUse, ConsentDenial, click_use, clicks_given_at
from connector.mapping.consent import BeaconWait, beacon_wait, home_page, stated_answer
from connector.mapping.event_id import event_id_of, fill_template, object_key
from connector.mapping.filters import data_use_is_limited, why_filtered, why_not_to_pixel, why_user_unusable
from connector.mapping.offline import LIMITED_DATA_USE, NOTHING_TO_MATCH_OFFLINE, USER_FIELDS, offline_item
from connector.mapping.properties import properties_of
from connector.mapping.routes import Route, other_routes, pixels_for, why_no_pixel

_ENCODER = msgspec.json.Encoder(decimal_format="number")


class OutboundEvent(Struct, frozen=True):
    """An event ready to send: the payload's bytes, and what the outbox stores with them.

    `object_key` names the order, checkout or customer ("order:123"). `email_hash`, `phone_hash`, `external_id_hash` and
    `more_hashes` are SHA-256 hex digests, for search and erasure. With a `beacon_wait` the payload may lack what the
    browser has yet to report: consent, or something to match on. `clicks` is its part in the memory of clicks.
    `may_be_returning`: the outbox looks for an earlier order of the customer, as the shop does not say.
    """

    pixel: Pixel
    milestone: Milestone
    event: str
    event_id: str
    occurred_at: datetime
    object_key: str
    payload: bytes
    email_hash: str = ""
    phone_hash: str = ""
    external_id_hash: str = ""
    notes: tuple[str, ...] = ()
    beacon_wait: BeaconWait | None = None
    time_source: TimeSource = ""
    more_hashes: tuple[str, ...] = ()  # of the e-mails and phones after the first
    clicks: ClickUse | None = None
    may_be_returning: bool = False
    other_routes: frozenset[Route] = frozenset()  # under which it may have been stored, if its order has changed

    @property
    def keys(self) -> list[tuple[str, str, str]]:
        """The keys (pixel, event, event_id) under which it may have been stored, its own first."""
        own = self.pixel.code, self.event
        return [(*route, self.event_id) for route in (own, *self.other_routes)]

    def __repr__(self) -> str:
        """Leave out personal data."""
        return f"<OutboundEvent {self.event} {self.event_id}>"


class EventDetails(Struct, frozen=True):
    """The fields of an item that the milestones of one order share. `fields` includes `user`."""

    user: dict[str, Any]
    fields: dict[str, Any]
    notes: tuple[str, ...]


def map_events(
    milestones: Iterable[Event | Skipped], store: Store, now: datetime, go_live: datetime | None
) -> Iterator[OutboundEvent | Skipped]:
    """Map each event of a webhook to one item per event name and pixel that takes it, or to why it is not sent.

    `go_live` is the time before which orders are history; with None, no age limit applies. A webhook often has two
    milestones of one order in a row; their shared details are computed once. Skipped milestones are passed on.
    """
    milestones = [*milestones]
    given_at = clicks_given_at(milestones, store, now.timestamp())
    described, details = None, None
    for event in milestones:
        if isinstance(event, Skipped):
            yield event
            continue
        event_id = event_id_of(event, store)
        pixels = pixels_for(event, store)
        if reason := why_filtered(event, event_id, store) or ("" if pixels else why_no_pixel(event, store)):
            yield Skipped(event.milestone, reason, event.ids)
            continue
        if details is None or described is None or not _same_details(described, event):
            described, details = event, _describe(event, store)
        clicks = click_use(event, store, given_at)
        yield from _outbound_events(event, event_id, pixels, details, clicks, store, now, go_live)


# --- details that the milestones of one order share ------------------------------------------------------------


def _same_details(one: Event, other: Event) -> bool:
    """Return True if both events have the same details: they differ only in milestone and time."""
    registered = "customer_registered" in (one.milestone, other.milestone)
    when = {name: getattr(other, name) for name in ("milestone", "occurred_at", "time_source")}
    return not registered and replace(one, **when) == other


def _describe(event: Event, store: Store) -> EventDetails:
    user = _user(event.customer, store, event.ids)
    properties, notes = properties_of(event, store)
    page = present(
        url=hashing.page_url(event.page_url, store.url) or home_page(store),
        referrer=hashing.page_url(event.referrer, "") if event.referrer else "",
    )
    limited = data_use_is_limited(event, store)
    return EventDetails(user, present(user=user, properties=properties, page=page, limited_data_use=limited), notes)


def _user(customer: Customer, store: Store, ids: dict[str, str]) -> dict[str, Any]:
    address = customer.address
    country = address.country or store.country
    return present(
        email=_one_or_many([hashing.email(raw) for raw in customer.emails]),
        phone=_one_or_many([hashing.phone(raw, typed_in or country) for raw, typed_in in customer.phones]),
        external_id=hashing.external_id(fill_template(store.external_id, ids)),
        ttclid=customer.ttclid,
        ttp=customer.ttp,
        ip=hashing.public_ip(customer.ip),
        user_agent=customer.user_agent,
        locale=hashing.locale(customer.locale),
        first_name=hashing.name(customer.first_name),
        last_name=hashing.name(customer.last_name),
        zip_code=hashing.zip_code(address.postcode, country),
        city=hashing.place(address.city),
        state=hashing.state(address.state, address.country),
        country=hashing.country_code(address.country),  # the store's own country is not the shopper's
    )


def _one_or_many(hashes: Iterable[str]) -> str | list[str]:
    """Return one hash or a list, as TikTok accepts both, without duplicates and blanks."""
    found = list(dict.fromkeys(filter(None, hashes)))
    return found[0] if len(found) == 1 else found


# --- one event for each pixel and event name -------------------------------------------------------------------


def _outbound_events(
    event: Event,
    event_id: str,
    pixels: Iterable[Pixel],
    details: EventDetails,
    clicks: ClickUse | None,
    store: Store,
    now: datetime,
    go_live: datetime | None,
) -> Iterator[OutboundEvent | Skipped]:
    waiting = beacon_wait(event, store)
    occurred_at = min(event.occurred_at, now)
    is_order = event.milestone in ("order_placed", "order_paid")
    unknown = store.matching.recognize_returning and is_order and not event.customer_type
    others = other_routes(event, store)
    for pixel in pixels:
        unusable = _why_unusable(details, pixel, may_change=waiting is not None)
        for name in store.event_names(event.milestone, event.kind):
            if reason := unusable or why_not_to_pixel(event, name, occurred_at, store, pixel, now, go_live):
                yield Skipped(event.milestone, reason, event.ids)
                continue
            head = {"event": name, "event_time": int(occurred_at.timestamp()), "event_id": event_id}
            yield OutboundEvent(
                pixel=pixel,
                milestone=event.milestone,
                event=name,
                event_id=event_id,
                occurred_at=occurred_at,
                object_key=object_key(event.milestone, event.ids),
                payload=_payload(head | details.fields, pixel),
                email_hash=_first(details.user.get("email")),
                phone_hash=_first(details.user.get("phone")),
                external_id_hash=_first(details.user.get("external_id")),
                notes=details.notes,
                beacon_wait=waiting,
                time_source=event.time_source,
                more_hashes=_all(details.user.get("email"))[1:] + _all(details.user.get("phone"))[1:],
                other_routes=others,
                clicks=clicks if pixel.source == "web" else None,
                may_be_returning=unknown and pixel.source == "web",
            )


def _why_unusable(details: EventDetails, pixel: Pixel, may_change: bool) -> str:
    """Return why TikTok cannot use an item, or ""; `may_change`: the browser, or a later webhook, may add to it."""
    limited = "limited_data_use" in details.fields
    if pixel.source == "offline":
        found = details.user.keys() & USER_FIELDS
        return LIMITED_DATA_USE if limited else "" if found or may_change else NOTHING_TO_MATCH_OFFLINE
    return "" if may_change else why_user_unusable(details.user, limited)


def _payload(fields: dict[str, Any], pixel: Pixel) -> bytes:
    item = _ENCODER.encode(fields)
    return offline_item(item) if pixel.source == "offline" else item


def _first(value: object) -> str:
    return value[0] if isinstance(value, list) else value if isinstance(value, str) else ""


def _all(value: object) -> tuple[str, ...]:
    return tuple(value) if isinstance(value, list) else (value,) if isinstance(value, str) else ()


# --- for the memory of clicks ----------------------------------------------------------------------------------


def consent_denial_of(milestones: Iterable[Event | Skipped], store: Store) -> ConsentDenial | None:
    """Return the denial of consent that a webhook states, also where none is asked; for a store that remembers clicks.

    An order that is not sent for another reason can state one, too.
    """
    if store.matching.remember_clicks is None:
        return None
    for event in milestones:
        if isinstance(event, Event) and stated_answer(event, store) == "denied":
            user = _user(event.customer, store, event.ids)
            email, phone, external_id = (_all(user.get(name)) for name in ("email", "phone", "external_id"))
            pixels = tuple(pixel.code for pixel in store.pixels)
            return ConsentDenial(store.name, pixels, email, phone, external_id)
    return None
