"""Event + Store → the EAPI item: event name, event_id, value, contents, and a hashed, normalised user.

One field list, in TikTok's words: https://business-api.tiktok.com/portal/docs?id=1771101151059969
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import Struct

from connector.core.event import Customer, Event, Item, Parts, Skipped
from connector.core.json_fields import safe_to_quote
from connector.core.store import PLACEHOLDER, Milestone, Pixel, Store, first_match
from connector.core.text import how_long
from connector.mapping import hashing
from connector.mapping.consent import BeaconWait, beacon_wait, home_page, why_no_consent

# The 62 currencies the Events API lists; what it does with others is undocumented.
CURRENCIES = frozenset(
    "AED ARS AUD BDT BHD BIF BOB BRL CAD CHF CLP CNY COP CRC CZK DKK DZD EGP EUR GBP GTQ HKD HNL HUF IDR ILS INR "  # noqa: SIM905
    "ISK JPY KES KHR KRW KWD KZT MAD MOP MXN MYR NGN NIO NOK NZD OMR PEN PHP PKR PLN PYG QAR RON RUB SAR SEK SGD "
    "THB TRY TWD UAH USD VES VND ZAR".split()
)

# What a word of value_excludes takes off a total: an amount and the tax on it.
EXCLUDES: dict[str, tuple[str, ...]] = {
    "tax": ("goods_tax", "shipping_tax", "fees_tax"),
    "shipping": ("shipping", "shipping_tax"),
    "fees": ("fees", "fees_tax"),
    "tips": ("tips",),
    "duties": ("duties",),
    "gift_cards": ("gift_cards",),
}
# Which ids stand in for the chosen one where a line lacks it.
CONTENT_ID_CHAINS: dict[str, tuple[str, ...]] = {
    "variant_id": ("variant_id", "product_id", "sku"),
    "product_id": ("product_id", "sku"),
    "sku": ("sku", "variant_id", "product_id"),
}
NOTHING_TO_MATCH = "nothing to match on: no e-mail, phone, id, click id, nor ip with user agent"
PUBLIC_IP_MISSING = "limited_data_use applies and TikTok honours it only with a public ip, which is missing"
MAX_ID = 512
_NUMBERS = (int, Decimal)

_ENCODER = msgspec.json.Encoder(decimal_format="number")


class OutboundEvent(Struct, frozen=True):
    """An event as it will be sent: the very bytes, and what the outbox keeps beside them.

    `object_key` names the order, checkout or customer ("order:123"); `hashes` are the SHA-256 hex digests of e-mail,
    phone and external_id, for search and erasure. With a `beacon_wait` it may lack what the
    browser has yet to report: consent, or something to match on.
    """

    pixel: Pixel
    milestone: Milestone
    event: str
    event_id: str
    occurred_at: datetime
    object_key: str
    payload: bytes
    email: str = ""
    phone: str = ""
    external_id: str = ""
    notes: tuple[str, ...] = ()
    beacon_wait: BeaconWait | None = None
    more_hashes: tuple[str, ...] = ()  # when the payload has several e-mails or phones: those after the first

    def __repr__(self) -> str:
        """Without what is personal."""
        return f"<Mapped {self.event} {self.event_id}>"


class Described(Struct, frozen=True):
    """What the milestones of one order have in common: who, for what, where. Made once, for a webhook often shows two.

    `json` is that part of the item, from `"user"` to the closing brace.
    """

    user: dict[str, Any]
    json: bytes
    notes: tuple[str, ...]


def map_event(
    event: Event, store: Store, now: datetime, go_live: datetime | None, described: dict[int, Described] | None = None
) -> Iterator[OutboundEvent | Skipped]:
    """What an event becomes: one item per pixel and event name, or the reason why it is none.

    `go_live` is when the store started (orders older than it are history); None applies no age at all. `described`
    is shared by the events of one webhook: milestones of one order share their Customer object.
    """
    names = store.events[event.milestone]
    event_id = fill_template(_template(event, store), event.ids)
    if len(event_id) > MAX_ID:  # a shopper can write what he likes into a cart attribute; an index takes so much
        event_id = hashing.sha256(event_id)
    if reason := _why_not(event, event_id, store):
        yield Skipped(event.milestone, reason, event.ids)
        return
    known = {} if described is None else described
    if id(event.customer) not in known:
        known[id(event.customer)] = _describe(event, store)
    what = known[id(event.customer)]
    waiting = beacon_wait(event, store)
    if waiting is None and (reason := _why_nobody(event, what.user, store)):
        yield Skipped(event.milestone, reason, event.ids)
        return
    occurred_at = min(event.occurred_at, now)
    for pixel in store.pixels:
        for name in names:
            if reason := _why_not_now(event, name, occurred_at, store, pixel, now, go_live):
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
                payload=_ENCODER.encode(head)[:-1] + what.json,
                email=_only(what.user.get("email")),
                phone=_only(what.user.get("phone")),
                external_id=_only(what.user.get("external_id")),
                notes=what.notes,
                beacon_wait=waiting,
                more_hashes=_others(what.user.get("email")) + _others(what.user.get("phone")),
            )


def _describe(event: Event, store: Store) -> Described:
    user = _user(event.customer, store, event.ids)
    properties, notes = _properties(event, store)
    page = _present(
        url=hashing.page_url(event.page_url, store.url) or home_page(store),
        referrer=hashing.page_url(event.referrer, "") if event.referrer else "",
    )
    limited = _data_use_is_limited(event, store) or None
    item = _present(user=user, properties=properties, page=page, limited_data_use=limited)
    return Described(user, b"," + _ENCODER.encode(item)[1:], notes)


def object_key(milestone: Milestone, ids: dict[str, str]) -> str:
    """Which order, checkout or customer an event is about, as the outbox and ledger name it."""
    kind, placeholder = {
        "checkout_started": ("checkout", "checkout_token"),
        "customer_registered": ("customer", "customer_id"),
    }.get(milestone, ("order", "order_id"))
    return f"{kind}:{ids[placeholder]}" if placeholder in ids else ""


# --- whether --------------------------------------------------------------------------------------------------


def _why_not(event: Event, event_id: str, store: Store) -> str:
    if not store.events[event.milestone]:
        return f"events.{event.milestone} is off"
    if reason := _why_excluded(event, store) or why_no_consent(event, store):
        return reason
    return "" if event_id else f"event_id template {_template(event, store)!r} has no value here"


def _why_nobody(event: Event, user: dict[str, Any], store: Store) -> str:
    if not matchable(user):
        return NOTHING_TO_MATCH
    return PUBLIC_IP_MISSING if "ip" not in user and _data_use_is_limited(event, store) else ""


def _why_excluded(event: Event, store: Store) -> str:
    """The store's own exclusions, for orders and checkouts alike; a registration has only its e-mail's domain."""
    orders = store.orders
    if domain := _excluded_domain(event.customer.emails, orders.exclude_email_domains):
        return f"excluded e-mail domain {domain} (orders.exclude_email_domains)"
    if event.milestone == "customer_registered":
        return ""
    if event.kind not in orders.include:
        return f"{event.kind} orders are not relayed (orders.include)"
    if tag := first_match(event.tags, orders.exclude_tags):
        return f"excluded tag {tag} (orders.exclude_tags)"
    if gateway := first_match(event.gateways, orders.exclude_gateways):
        return f"excluded gateway {gateway} (orders.exclude_gateways)"
    if orders.exclude_zero and event.total == 0:
        return "the total is zero (orders.exclude_zero)"
    return ""


def _excluded_domain(emails: Iterable[str], excluded: Sequence[str]) -> str:
    if not excluded:
        return ""
    domains = [email.rpartition("@")[2].strip().lower() for email in emails]
    wanted = [domain.strip().lower().lstrip("@") for domain in excluded]
    return next((end for domain in domains for end in wanted if domain == end or domain.endswith(f".{end}")), "")


def _data_use_is_limited(event: Event, store: Store) -> bool:
    """TikTok's Limited Data Use, by US state: https://business-api.tiktok.com/portal/docs?id=1771101204435970"""
    where = event.customer.destination if event.customer.destination.country else event.customer.address
    if not store.limited_data_use or where.country.upper() != "US":
        return False
    state = hashing.state(where.state, where.country)
    # A state that is not told (a checkout has none yet) may be one of them.
    return not state or bool(first_match([state], store.limited_data_use))


def _why_not_now(
    event: Event,
    name: str,
    occurred_at: datetime,
    store: Store,
    pixel: Pixel,
    now: datetime,
    go_live: datetime | None,
) -> str:
    """Test orders and old ones go to Test Events only: a pixel with a test_event_code takes both."""
    if pixel.test_event_code:
        return ""
    if event.test:
        return "a test order of the shop (relayed only with a test_event_code)"
    if go_live is None:
        return ""
    age, limit = now - occurred_at, store.age_limit(name)
    if age > store.max_event_age:
        return f"older than max_event_age ({how_long(store.max_event_age)})"
    if age > limit:
        return f"older than {how_long(limit)}, and the browser sends {name} too (browser_pixel)"
    if occurred_at < go_live:
        return f"older than go_live ({go_live:%Y-%m-%d %H:%M} UTC)"
    return ""


def matchable(user: Mapping[str, Any]) -> bool:
    """Whether TikTok has anything to know a shopper by."""
    single = any(key in user for key in ("email", "phone", "external_id", "ttclid", "ttp"))
    return single or ("ip" in user and "user_agent" in user)


# --- event_id -------------------------------------------------------------------------------------------------


def fill_template(template: str, ids: dict[str, str]) -> str:
    """A template with its placeholders filled, or "" if one of them is not known here."""
    found = [ids.get(piece, "") if is_name else piece for piece, is_name in _pieces(template)]
    return "".join(found) if all(found) else ""


@lru_cache
def _pieces(template: str) -> tuple[tuple[str, bool], ...]:
    """Texts and names of placeholders, in their order, and whether it is a name."""
    return tuple((piece, index % 2 == 1) for index, piece in enumerate(PLACEHOLDER.split(template)) if piece)


def _template(event: Event, store: Store) -> str:
    if event.milestone == "checkout_started":
        return store.event_id.checkout
    return store.event_id.customer if event.milestone == "customer_registered" else store.event_id.order


# --- the item -------------------------------------------------------------------------------------------------


def _user(customer: Customer, store: Store, ids: dict[str, str]) -> dict[str, Any]:
    address = customer.address
    country = address.country or store.country
    return _present(
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
        country=hashing.country_code(address.country),  # the store's own says nothing of the shopper
    )


def _properties(event: Event, store: Store) -> tuple[dict[str, Any], tuple[str, ...]]:
    if event.milestone == "customer_registered":
        return {}, event.notes
    contents = [content for item in event.items if "content_id" in (content := _content(item, store))]
    found: dict[str, Any] = {
        "contents": contents,
        "content_type": content_type(store.mapping.content_id),
        "num_items": sum(item.quantity for item in event.items) or None,
        "order_id": event.ids.get("order_id", ""),
    }
    if not contents:
        del found["content_type"]
    value, unknown = value_of(event, store)
    notes = event.notes + unknown
    if event.currency in CURRENCIES:
        if value is not None or any("price" in content for content in contents):
            found["currency"] = event.currency
        found["value"] = value
    else:
        for content in contents:
            content.pop("price", None)
        if value is not None:
            notes += (f"value left out: TikTok does not list the currency {safe_to_quote(event.currency) or '(none)'}",)
    return _present(**found), notes


def value_of(event: Event, store: Store) -> tuple[Decimal | None, tuple[str, ...]]:
    """The event's value by the store's choice, and a note if it cannot be told. Zero is a value."""
    choice = store.mapping
    if choice.value == "total" and not choice.value_excludes:
        return event.total, ()
    parts, left_out = event.parts(), {name for word in choice.value_excludes for name in EXCLUDES[word]}
    if choice.value == "total":
        counted: Decimal | None = event.total
    else:
        goods = ("goods", "gift_cards", *(("goods_tax",) if parts.priced_with_tax else ()))
        counted = _sum(parts, goods)
        left_out &= set(goods)
    taken_off = _sum(parts, sorted(left_out))
    if counted is None or taken_off is None:
        missing = event.total is not None
        return None, ("value left out: the shop does not say what it is made of in this currency",) if missing else ()
    return counted - taken_off, ()


def _sum(parts: Parts, names: Iterable[str]) -> Decimal | None:
    amounts = [getattr(parts, name) for name in names]
    return None if None in amounts else sum(amounts, Decimal(0))


def _content(item: Item, store: Store) -> dict[str, Any]:
    return _present(
        content_id=content_id(item, store),
        content_name=item.name,
        content_category=item.category,
        brand=item.brand,
        quantity=item.quantity,
        price=item.price,
    )


def content_id(item: Item, store: Store) -> str:
    """The catalogue id of an item by the store's choice, with the platform's fall-backs; "" if it has none."""
    choice = store.mapping.content_id
    if "{" in choice:
        return fill_template(choice, {"product_id": item.product_id, "variant_id": item.variant_id, "sku": item.sku})
    return next((found for name in CONTENT_ID_CHAINS[choice] if (found := getattr(item, name))), "")


def content_type(choice: str) -> str:
    """What TikTok's catalogue calls such ids: product_group for ids that name a product with all its variants."""
    grouped = choice == "product_id" or ("{product_id}" in choice and not re.search(r"\{(variant_id|sku)\}", choice))
    return "product_group" if grouped else "product"


def _one_or_many(hashes: Iterable[str]) -> str | list[str]:
    """TikTok takes a text or an array of texts; doubles and blanks are left out."""
    found = list(dict.fromkeys(filter(None, hashes)))
    return found[0] if len(found) == 1 else found


def _only(value: object) -> str:
    return value[0] if isinstance(value, list) else value if isinstance(value, str) else ""


def _others(value: object) -> tuple[str, ...]:
    return tuple(value[1:]) if isinstance(value, list) else ()


def _present(**fields: object) -> dict[str, Any]:
    """The fields that have something to say: not None, "", [] or {}; a value of 0 stays."""
    return {name: value for name, value in fields.items() if value or isinstance(value, _NUMBERS)}
