"""Reading of browsers' events: JSON from anybody becomes items for TikTok, within the bounds of the store's orders.

A wrong value in an optional member costs only that member. The format is in docs/browser.md.
"""

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import Struct

from connector.core.currencies import TIKTOK_CURRENCIES
from connector.core.event import FunnelMilestone
from connector.core.json_fields import Json, host, json_object, json_objects, money, present, query_parameter, text
from connector.core.site import is_part_of
from connector.core.store import FunnelSettings, Store
from connector.funnel.bounds import Bounds
from connector.funnel.queue import FunnelEvent
from connector.mapping import hashing
from connector.mapping.consent import home_page, needs_consent
from connector.mapping.filters import why_user_unusable
from connector.mapping.routes import browsing_pixels

MAX_EVENTS = 10  # of one beacon
MAX_CONTENTS = 50
MAX_CONTENT_ID, MAX_WORD, MAX_NAME = 100, 100, 200  # characters
MAX_SEARCH, MAX_TTP, MAX_AGENT, MAX_URL, MAX_CLICK = 200, 256, 1024, 2048, 4000  # characters
MAX_QUANTITY = 10_000
OLDEST = 1800.0  # seconds before its receipt that an event can be: a page that waited for the shopper's consent
EVENT_ID = re.compile("[0-9a-f]{32}")
_SHA256 = re.compile("[0-9a-f]{64}")
_encode = msgspec.json.Encoder(decimal_format="number").encode


class Sender(Struct, frozen=True):
    """The browser that a beacon came from. `cookies` are those of its request.

    `bounds` by currency limit what it reports; None for a body that the shop's server has signed.
    """

    ip: str
    user_agent: str
    cookies: Mapping[str, str] = {}
    bounds: Mapping[str, Bounds] | None = {}

    def __repr__(self) -> str:
        """Leave out personal data."""
        return "<Sender>"


def may_use(members: Json, store: Store) -> bool:
    """Return True if the shopper's answer, or the law that applies without one, lets the store use the beacon.

    Denied consent counts everywhere. The page does not know where the shopper lives, so the store's own country counts.
    """
    answer = text(members.get("consent"))
    return answer != "denied" and (answer == "granted" or not needs_consent("", store))


def click_id(members: Json) -> str:
    """Return the click id that the page has found, or "": its own member, or in the address of a page."""
    rows = [members, *json_objects(members.get("events"))[:MAX_EVENTS]]
    found = (text(row.get("ttclid")) or query_parameter(text(row.get("url")), "ttclid") for row in rows)
    return next(filter(None, (_ascii(one, MAX_CLICK) for one in found)), "")


def read_events(
    members: Json, store: Store, sender: Sender, now: float
) -> Iterator[tuple[FunnelMilestone | None, list[FunnelEvent]]]:
    """Yield each event's milestone with its items, one for each pixel and name; None and nothing if it is not usable.

    `now` is the time of receipt in Unix seconds.
    """
    funnel = store.funnel or FunnelSettings((), (), (), ())
    shared = {name: value for name, value in members.items() if name not in ("events", "token")}
    for row in json_objects(members.get("events"))[:MAX_EVENTS]:
        one = shared | row
        milestone = next((known for known in funnel.events if known == one.get("milestone")), None)
        event_id = text(one.get("event_id"))
        if milestone is None or not EVENT_ID.fullmatch(event_id) or not may_use(one, store):
            yield None, []
            continue
        yield milestone, _items(one, milestone, event_id, store, sender, now)


def _items(
    one: Json, milestone: FunnelMilestone, event_id: str, store: Store, sender: Sender, now: float
) -> list[FunnelEvent]:
    """Return the event for each pixel and name; none without anything that TikTok could match."""
    user = _user(one, sender)
    limited = bool(store.limited_data_use)  # the shopper's state is not known, so it may be one of them
    if why_user_unusable(user, limited):
        return []
    at = _occurred_at(one.get("time"), now)
    fields = present(
        user=user,
        properties=_properties(json_object(one.get("properties")), milestone, sender.bounds),
        page=_page(one, store),
        limited_data_use=limited,
    )
    names = store.funnel.events[milestone] if store.funnel else ()
    currency = text(json_object(one.get("properties")).get("currency"))
    return [
        FunnelEvent(
            store.name,
            pixel,
            name,
            event_id,
            at,
            now,
            _encode({"event": name, "event_time": int(at), "event_id": event_id} | fields),
        )
        for pixel in browsing_pixels(store, currency)
        for name in names
    ]


def is_fresh(members: Json, now: float, tolerance: float = 600.0) -> bool:
    """Return True if every event of a signed beacon is of the last minutes, so that no copy of it is worth keeping."""
    rows = json_objects(members.get("events"))
    times = [row.get("time", members.get("time")) for row in rows]
    return all(  # compared, as a difference from 1e9999999 raises Overflow
        isinstance(at, int | Decimal) and not isinstance(at, bool) and now - tolerance <= at <= now + tolerance
        for at in times
    )


def _occurred_at(value: object, now: float) -> float:
    found = money(value)
    return now if found is None else min(max(float(found), now - OLDEST), now)


# --- who and where --------------------------------------------------------------------------------------------


def _user(one: Json, sender: Sender) -> dict[str, Any]:
    cookies = sender.cookies
    clicks = (
        text(one.get("ttclid")),
        query_parameter(text(one.get("url")), "ttclid"),
        cookies.get("ttclid", ""),
        cookies.get("tiktok_ttclid", ""),
    )
    agent = text(one.get("user_agent")) or text(sender.user_agent)
    signed = sender.bounds is None
    return present(
        email=_sha256(one.get("email")) if signed else "",  # only the shop knows whose it is
        phone=_sha256(one.get("phone")) if signed else "",
        external_id=_sha256(one.get("external_id")),
        ttclid=next(filter(None, (_ascii(click, MAX_CLICK) for click in clicks)), ""),
        ttp=_ascii(text(one.get("ttp")), MAX_TTP) or _ascii(cookies.get("_ttp", ""), MAX_TTP),
        ip=hashing.public_ip(text(one.get("ip"))) if signed else sender.ip,
        user_agent=agent if len(agent) <= MAX_AGENT else "",
        locale=hashing.locale(text(one.get("locale"))),
    )


def _sha256(value: object) -> str:
    found = text(value).lower()
    return found if _SHA256.fullmatch(found) else ""


def _ascii(value: str, limit: int) -> str:
    """Return a click id or cookie, or "" unless it is printable ASCII without spaces and not too long."""
    return value if len(value) <= limit and value.isascii() and value.isprintable() and " " not in value else ""


def _page(one: Json, store: Store) -> dict[str, Any]:
    """Return the page's address if it is one of the shop's, else the shop's front page."""
    url, referrer = text(one.get("url")), text(one.get("referrer"))
    name = host(url) if len(url) <= MAX_URL else ""
    # Not the same site: without a list of public suffixes, that would be any .co.uk for a shop at one.
    is_shops = name in store.shops or is_part_of(name, host(store.url))
    return present(
        url=(hashing.page_url(url, "") if is_shops else "") or home_page(store),
        referrer=hashing.page_url(referrer, "") if referrer and len(referrer) <= MAX_URL else "",
    )


# --- what and for how much ------------------------------------------------------------------------------------


def _properties(raw: Json, milestone: FunnelMilestone, bounds: Mapping[str, Bounds] | None) -> dict[str, Any]:
    """Return the properties within the bounds; without bounds for its currency, none that name an amount of money."""
    currency = text(raw.get("currency"))
    known = currency in TIKTOK_CURRENCIES and (bounds is None or currency in bounds)
    limits = _UNBOUNDED if bounds is None else bounds.get(currency, _widest(bounds)) if bounds else _UNKNOWN
    contents = [found for row in json_objects(raw.get("contents"))[:MAX_CONTENTS] if (found := _content(row, limits))]
    if not known:
        for content in contents:
            content.pop("price", None)
    value = _amount(raw.get("value"), limits.value) if known else None
    priced = value is not None or any("price" in content for content in contents)
    kind = text(raw.get("content_type"))
    return present(
        contents=contents,
        content_type=kind if contents and kind in ("product", "product_group") else "",
        num_items=_whole(raw.get("num_items"), MAX_QUANTITY),
        currency=currency if priced else "",
        value=value,
        search_string=_search(raw.get("search_string")) if milestone == "searched" else "",
    )


_UNBOUNDED = Bounds(Decimal(10**12), Decimal(10**12), MAX_QUANTITY, MAX_CONTENT_ID)
_UNKNOWN = Bounds(id_length=MAX_CONTENT_ID)  # of a store without orders: nothing is known about its amounts


def _widest(bounds: Mapping[str, Bounds]) -> Bounds:
    """Return the bounds of all currencies together, for a browser that states none: those of quantities and ids."""
    return Bounds(
        quantity=max(one.quantity for one in bounds.values()),
        id_length=max(one.id_length for one in bounds.values()),
        id_digits=all(one.id_digits for one in bounds.values()),
    )


def _content(row: Json, limits: Bounds) -> dict[str, Any]:
    """Return an entry of `contents`; {} if its id is not of the form of the store's own."""
    content_id = text(row.get("content_id"))
    longest = min(limits.id_length or MAX_CONTENT_ID, MAX_CONTENT_ID)  # 0: no order has named a product yet
    digits = limits.id_digits and limits.id_length > 0
    if not content_id or len(content_id) > longest or (digits and not content_id.isdecimal()):
        return {}
    return present(
        content_id=content_id,
        content_name=_word(row.get("content_name"), MAX_NAME),
        content_category=_word(row.get("content_category"), MAX_WORD),
        brand=_word(row.get("brand"), MAX_WORD),
        quantity=_whole(row.get("quantity"), min(limits.quantity or MAX_QUANTITY, MAX_QUANTITY)),
        price=_amount(row.get("price"), limits.price),
    )


def _amount(value: object, most: Decimal) -> Decimal | int | None:
    found = money(value) if not isinstance(value, str) else None
    return found if found is not None and 0 <= found <= most else None


def _whole(value: object, most: int) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= most else None


def _word(value: object, limit: int) -> str:
    found = text(value)
    return found if len(found) <= limit else ""


def _search(value: object) -> str:
    """Return what was searched for; "" if it may be an e-mail address."""
    found = _word(value, MAX_SEARCH)
    return "" if "@" in found else found
