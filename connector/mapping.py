"""Event + Store → the EAPI item: event name, event_id, value, contents, and a hashed, normalised user.

One field list, in TikTok's words: https://business-api.tiktok.com/portal/docs?id=1771101151059969
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import msgspec

from connector import privacy
from connector.event import Customer, Event, Item, Skipped
from connector.store import Milestone, Pixel, Store

# The 62 currencies the Events API lists; what it does with others is undocumented.
CURRENCIES = frozenset(
    "AED ARS AUD BDT BHD BIF BOB BRL CAD CHF CLP CNY COP CRC CZK DKK DZD EGP EUR GBP GTQ HKD HNL HUF IDR ILS INR "  # noqa: SIM905
    "ISK JPY KES KHR KRW KWD KZT MAD MOP MXN MYR NGN NIO NOK NZD OMR PEN PHP PKR PLN PYG QAR RON RUB SAR SEK SGD "
    "THB TRY TWD UAH USD VES VND ZAR".split()
)

_PLACEHOLDER = re.compile(r"\{([^{}]+)\}")
_ENCODER = msgspec.json.Encoder(decimal_format="number")


@dataclass(frozen=True, slots=True)
class Mapped:
    """An event as it will be sent: the very bytes, and what the outbox keeps beside them.

    `object_key` names the order, checkout or customer ("order:123"); `hashes` are the SHA-256 hex digests of e-mail,
    phone and external_id, for search and erasure.
    """

    pixel: Pixel
    milestone: Milestone
    event: str
    event_id: str
    occurred_at: datetime
    object_key: str
    payload: bytes = field(repr=False)
    email: str = field(default="", repr=False)
    phone: str = field(default="", repr=False)
    external_id: str = field(default="", repr=False)
    notes: tuple[str, ...] = ()


def map_event(event: Event, store: Store, now: datetime, go_live: datetime | None) -> Iterator[Mapped | Skipped]:
    """What an event becomes: one item per pixel and event name, or the reason why it is none.

    `go_live` is when the store started (orders older than it are history); None applies no age at all.
    """
    if reason := _why_not(event, store):
        yield Skipped(event.milestone, reason, event.ids)
        return
    names = store.events[event.milestone]
    if not names:
        yield Skipped(event.milestone, f"events.{event.milestone} is off", event.ids)
        return
    event_id = fill(_template(event, store), event.ids)
    if not event_id:
        yield Skipped(event.milestone, f"event_id template {_template(event, store)!r} has no value here", event.ids)
        return
    occurred_at = min(event.occurred_at, now)
    user = _user(event.customer, store, event.ids)
    if not _matchable(user):
        why = "nothing to match on: no e-mail, phone, id, click id, nor ip with user agent"
        yield Skipped(event.milestone, why, event.ids)
        return
    properties, notes = _properties(event, store)
    for pixel in store.pixels:
        if reason := _why_not_now(event, occurred_at, store, pixel, now, go_live):
            yield Skipped(event.milestone, reason, event.ids)
            continue
        for name in names:
            yield Mapped(
                pixel=pixel,
                milestone=event.milestone,
                event=name,
                event_id=event_id,
                occurred_at=occurred_at,
                object_key=object_key(event.milestone, event.ids),
                payload=_ENCODER.encode(_item(name, event_id, occurred_at, user, properties, event, store)),
                email=_only(user.get("email")),
                phone=_only(user.get("phone")),
                external_id=_only(user.get("external_id")),
                notes=notes,
            )


def object_key(milestone: Milestone, ids: dict[str, str]) -> str:
    """Which order, checkout or customer an event is about, as the outbox and ledger name it."""
    kind, placeholder = {
        "checkout_started": ("checkout", "checkout_token"),
        "customer_registered": ("customer", "customer_id"),
    }.get(milestone, ("order", "order_id"))
    return f"{kind}:{ids[placeholder]}" if placeholder in ids else ""


# --- whether --------------------------------------------------------------------------------------------------


def _why_not(event: Event, store: Store) -> str:
    if event.milestone != "customer_registered" and event.kind not in store.orders.include:
        return f"{event.kind} orders are not relayed (orders.include)"
    return ""


def _why_not_now(
    event: Event, occurred_at: datetime, store: Store, pixel: Pixel, now: datetime, go_live: datetime | None
) -> str:
    """Test orders and old ones go to Test Events only: a pixel with a test_event_code takes both."""
    if pixel.test_event_code:
        return ""
    if event.test:
        return "a test order of the shop (relayed only with a test_event_code)"
    if go_live is None:
        return ""
    if now - occurred_at > store.max_event_age:
        return f"older than max_event_age ({_days(store.max_event_age)})"
    if occurred_at < go_live:
        return f"older than go_live ({go_live:%Y-%m-%d %H:%M} UTC)"
    return ""


def _days(age: timedelta) -> str:
    return f"{age.days}d" if age % timedelta(days=1) == timedelta(0) else f"{age.total_seconds() / 3600:g}h"


def _matchable(user: dict[str, Any]) -> bool:
    single = any(key in user for key in ("email", "phone", "external_id", "ttclid", "ttp"))
    return single or ("ip" in user and "user_agent" in user)


# --- event_id -------------------------------------------------------------------------------------------------


def fill(template: str, ids: dict[str, str]) -> str:
    """A template with its placeholders filled, or "" if one of them is not known here."""
    missing = [name for name in _PLACEHOLDER.findall(template) if not ids.get(name)]
    return "" if missing else _PLACEHOLDER.sub(lambda found: ids[found[1]], template)


def _template(event: Event, store: Store) -> str:
    if event.milestone == "checkout_started":
        return store.event_id.checkout
    return store.event_id.customer if event.milestone == "customer_registered" else store.event_id.order


# --- the item -------------------------------------------------------------------------------------------------


def _item(
    name: str,
    event_id: str,
    occurred_at: datetime,
    user: dict[str, Any],
    properties: dict[str, Any],
    event: Event,
    store: Store,
) -> dict[str, Any]:
    page = _present(
        url=privacy.page_url(event.page_url, store.url) or privacy.page_url(store.url, store.url),
        referrer=privacy.page_url(event.referrer, "") if event.referrer else "",
    )
    return _present(
        event=name,
        event_time=int(occurred_at.timestamp()),
        event_id=event_id,
        user=user,
        properties=properties,
        page=page,
    )


def _user(customer: Customer, store: Store, ids: dict[str, str]) -> dict[str, Any]:
    address = customer.address
    country = address.country or store.country
    return _present(
        email=_one_or_many(privacy.email(raw) for raw in customer.emails),
        phone=_one_or_many(privacy.phone(raw, typed_in or country) for raw, typed_in in customer.phones),
        external_id=privacy.external_id(fill(store.external_id, ids)),
        ttclid=customer.ttclid,
        ttp=customer.ttp,
        ip=privacy.public_ip(customer.ip),
        user_agent=customer.user_agent,
        locale=privacy.locale(customer.locale),
        first_name=privacy.name(customer.first_name),
        last_name=privacy.name(customer.last_name),
        zip_code=privacy.zip_code(address.postcode, country),
        city=privacy.place(address.city),
        state=privacy.place(address.state),
        country=privacy.country_code(address.country),  # the store's own says nothing of the shopper
    )


def _properties(event: Event, store: Store) -> tuple[dict[str, Any], tuple[str, ...]]:
    if event.milestone == "customer_registered":
        return {}, event.notes
    contents = [_present(**_content(item, store)) for item in event.items]
    contents = [content for content in contents if "content_id" in content]
    found: dict[str, Any] = {
        "contents": contents,
        "content_type": "product_group" if store.mapping.content_id == "product_id" else "product",
        "num_items": sum(item.quantity for item in event.items) or None,
        "order_id": event.ids.get("order_id", ""),
    }
    if not contents:
        del found["content_type"]
    notes = event.notes
    if event.currency in CURRENCIES:
        if event.value is not None or any("price" in content for content in contents):
            found["currency"] = event.currency
        found["value"] = event.value
    else:
        for content in contents:
            content.pop("price", None)
        if event.value is not None:
            notes += (f"value left out: TikTok does not list the currency {event.currency or '(none)'}",)
    return _present(**found), notes


def _content(item: Item, store: Store) -> dict[str, Any]:
    return {
        "content_id": content_id(item, store),
        "content_name": item.name,
        "brand": item.brand,
        "quantity": item.quantity,
        "price": item.price,
    }


def content_id(item: Item, store: Store) -> str:
    """The catalogue id of an item by the store's choice, with the platform's fall-backs; "" if it has none."""
    known = {"product_id": item.product_id, "variant_id": item.variant_id, "sku": item.sku}
    choice = store.mapping.content_id
    if "{" in choice:
        return fill(choice, known)
    order = {
        "variant_id": ("variant_id", "product_id", "sku"),
        "product_id": ("product_id", "sku"),
        "sku": ("sku", "variant_id", "product_id"),
    }[choice]
    return next((known[name] for name in order if known[name]), "")


def _one_or_many(hashes: Iterable[str]) -> str | list[str]:
    """TikTok takes a text or an array of texts; doubles and blanks are left out."""
    found = list(dict.fromkeys(digest for digest in hashes if digest))
    return found[0] if len(found) == 1 else found


def _only(value: object) -> str:
    return value[0] if isinstance(value, list) else value if isinstance(value, str) else ""


def _present(**fields: object) -> dict[str, Any]:
    """The fields that have something to say: not None, "", [] or {}; a value of 0 stays."""
    return {name: value for name, value in fields.items() if value is not None and value not in ("", [], {})}
