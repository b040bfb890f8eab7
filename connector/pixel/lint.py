"""Whether what a browser sent and what the server sends of the same order become one at TikTok.

TikTok merges copies of equal pixel code, event name and event_id; what else the two say should be the same, for the
copy that comes first stands. https://ads.tiktok.com/help/article/event-deduplication
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Literal

from connector.core.json_fields import Json, json_object, json_objects
from connector.core.store import MILESTONES, PLACEHOLDER, Milestone, Store
from connector.mapping.event_id import PLACEHOLDER_PATTERNS, template_pattern
from connector.mapping.tiktok_event import CURRENCIES, content_type
from connector.pixel.captured_requests import PixelEvent

Mark = Literal["same", "differs", "note"]
FindStored = Callable[[str, str, str], Json | None]  # pixel, event, event_id → the item in the outbox, if there is one

RENAMED = {
    "CompletePayment": "Purchase",
    "SubmitForm": "Lead",
    "Checkout": "PlaceAnOrder",
    "StartCheckout": "InitiateCheckout",
}
_ITEM_SHAPES = {"variant_id": r"\d+", "product_id": r"\d+", "sku": ".+"}
_HASH = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class LintFinding:
    """One line of the report, about one event. What "differs" makes the command exit 1."""

    mark: Mark
    text: str


def lint(sent: Iterable[PixelEvent], store: Store, stored: FindStored | None) -> Iterator[LintFinding]:
    """Every difference in a sentence, with the setting that mends it; `stored` finds what the server made of it."""
    for found in _compare(sent, store, stored):
        # The file is a stranger's: what a terminal would obey, or cannot write at all, is not repeated.
        plain = "".join(letter if letter.isprintable() else "\ufffd" for letter in found.text)
        yield LintFinding(found.mark, plain)


def _compare(sent: Iterable[PixelEvent], store: Store, stored: FindStored | None) -> Iterator[LintFinding]:
    ours = 0
    for one in sent:
        milestone, differences = _milestone(one, store)
        if milestone is None and not differences:
            yield LintFinding("note", f"{one.event}: the server does not send it, so there is nothing to merge")
            continue
        ours += 1
        found = [*differences, *_pixel(one, store)]
        if milestone is not None:
            found += _event_id(one, milestone, store)
        server = stored(one.pixel, one.event, str(one.event_id)) if stored and not found else None
        found += _properties(one, store, server or {}) + _person(one, store, server or {})
        yield from (LintFinding("differs", f"{one.event}: {sentence}") for sentence in found)
        if not found:
            yield _settled(one, stored is not None, server is not None)
    if not ours:
        names = ", ".join(dict.fromkeys(name for kind in MILESTONES for name in store.events[kind]))
        yield LintFinding("differs", f"none of the events that the server sends is in it ({names}): record a checkout")


def _settled(one: PixelEvent, asked: bool, known: bool) -> LintFinding:
    ending = f"pixel, name and event_id {one.event_id} are as the server's"
    if known:
        return LintFinding("same", f"{one.event}: it merges; {ending}, and the stored event says the same")
    why = (
        "the server has no event of this id, so values could not be compared"
        if asked
        else "no stored event was looked at"
    )
    return LintFinding("same", f"{one.event}: it will merge; {ending} ({why})")


# --- what TikTok merges by ------------------------------------------------------------------------------------


def _milestone(one: PixelEvent, store: Store) -> tuple[Milestone | None, list[str]]:
    """What the event is the browser's copy of; and what is wrong with its name, for TikTok tells capitals apart."""
    names = {name: milestone for milestone in MILESTONES for name in store.events[milestone]}
    if one.event in names:
        return names[one.event], []
    for name, milestone in names.items():
        if one.event.casefold() == name.casefold():
            why = f'the server calls it {name}, and TikTok tells capitals apart; set {milestone} = "{one.event}"'
        elif RENAMED.get(one.event, one.event) == RENAMED.get(name, name):
            why = f"the server calls it {name}, and it is uncertain whether TikTok merges the two"
            why = f'{why}; set {milestone} = "{one.event}"'
        else:
            continue
        return milestone, [f"{why} in [stores.{store.name}.events], or correct the browser's"]
    return None, []


def _pixel(one: PixelEvent, store: Store) -> list[str]:
    codes = [pixel.code for pixel in store.pixels]
    if one.pixel in codes:
        return []
    where = f"the browser sends it to pixel {one.pixel}, the server to {' and '.join(codes)}; they never merge across"
    return [f'{where} pixels: set pixel = "{one.pixel}" in [stores.{store.name}], or load the server\'s in the browser']


def _event_id(one: PixelEvent, milestone: Milestone, store: Store) -> list[str]:
    kind = {"checkout_started": "checkout", "customer_registered": "customer"}.get(milestone, "order")
    template: str = getattr(store.event_id, kind)
    found = one.event_id
    if found in (None, ""):
        lost = "it is among the properties, where it does nothing; " if "event_id" in one.properties else ""
        why = f"it has no event_id, so every copy counts; {lost}pass it as the third argument of ttq.track"
        return [f"{why} (`connector snippet {store.name} --plain` makes it)"]
    if not isinstance(found, str):
        return ["its event_id is a number, the server's is a text; write String(…) around it"]
    shapes = {name: PLACEHOLDER_PATTERNS.get(name, ".+") for name in PLACEHOLDER.findall(template)}
    if template_pattern(template, shapes).fullmatch(found):
        return []
    remedy = (
        f'set {kind} = "{like}" in [stores.{store.name}.event_id]'
        if (like := _template_of(found, kind))
        else f"pass the server's in the browser (`connector snippet {store.name} --plain` makes it)"
    )
    return [f"its event_id {found[:80]} is not of the server's form {template}; {remedy}"]


def _template_of(found: str, kind: str) -> str:
    """The template that would make this id, if it has one part that can only be the order's or the checkout's."""
    parts, name = (r"[0-9a-f]{32}", "checkout_token") if kind == "checkout" else (r"\d+", f"{kind}_id")
    once = re.findall(rf"(?<![0-9A-Za-z]){parts}(?![0-9A-Za-z])", found)
    if len(once) != 1 or "://" in found or set("{}") & set(found):
        return ""
    return found.replace(once[0], f"{{{name}}}")


# --- what both should say -------------------------------------------------------------------------------------


def _properties(one: PixelEvent, store: Store, server: Json) -> list[str]:
    theirs, ours = one.properties, json_object(server.get("properties"))
    place = f"[stores.{store.name}.mapping]"
    return [
        *_value(theirs.get("value"), ours.get("value"), place),
        *_currency(theirs, ours, place),
        *_contents(theirs, ours, store, place),
    ]


def _value(theirs: object, ours: object, place: str) -> list[str]:
    if theirs is None:
        return []  # TikTok adds the server's
    value = _number(theirs)
    if value is None:
        return [f"its value {str(theirs)[:40]!r} is no number; write a number with a dot and without a currency sign"]
    if ours is None or value == _number(ours):
        return []
    return [
        f"its value is {value}, the server's {ours}; choose value and value_excludes in {place} as the browser counts"
    ]


def _currency(theirs: Json, ours: Json, place: str) -> list[str]:
    currency = theirs.get("currency")
    if currency is None:
        return ["it has a value without a currency; add currency beside it"] if "value" in theirs else []
    if str(currency) not in CURRENCIES:
        why = "must be upper case" if str(currency).upper() in CURRENCIES else "is none that TikTok lists"
        return [f"its currency {str(currency)[:10]!r} {why}; correct it in the browser"]
    if "currency" not in ours or currency == ours["currency"]:
        return []
    why = f"its currency is {currency}, the server's {ours['currency']}"
    return [f'{why}; set currency = "presentment" or "shop" in {place}']


def _contents(theirs: Json, ours: Json, store: Store, place: str) -> list[str]:
    ids = _content_ids(theirs)
    if not ids:
        return []
    choice = store.mapping.content_id
    if ours.get("contents"):
        expected = _content_ids(ours)
        if sorted(ids) != sorted(expected):
            return [
                f"its content ids are {_some(ids)}, the server's {_some(expected)}; choose content_id in {place} to fit"
            ]
    else:
        template = choice if "{" in choice else f"{{{choice}}}"
        if odd := [one for one in ids if not template_pattern(template, _ITEM_SHAPES).fullmatch(one)]:
            why = f"its content id {odd[0][:80]} is not of the server's form {choice}"
            return [f"{why}; choose content_id in {place} to fit"]
    kind, wanted = theirs.get("content_type"), content_type(choice)
    if kind is None or kind == wanted:
        return []
    return [
        f"its content_type is {str(kind)[:40]}, the server's {wanted} (of content_id in {place}); correct one of them"
    ]


def _content_ids(properties: Json) -> list[str]:
    listed = [row.get("content_id") for row in json_objects(properties.get("contents"))]
    alone = properties.get("content_ids")
    if not listed and isinstance(alone, list):
        listed = alone
    if not listed:
        listed = [properties.get("content_id")]
    return [str(one) for one in listed if isinstance(one, str | int) and str(one)]


def _person(one: PixelEvent, store: Store, server: Json) -> list[str]:
    """Never with a value: an id that is not hashed is somebody's."""
    found, ours = [], json_object(server.get("user"))
    theirs = one.user.get("external_id")
    if theirs and not (isinstance(theirs, str) and _HASH.fullmatch(theirs)):
        found.append(
            "its external_id is no SHA-256 in lower-case hexadecimal, as the server's is; hash it before ttq.identify, "
            "for the pixel does not"
        )
    elif theirs and _differs(theirs, ours.get("external_id")):
        found.append(
            "its external_id is the hash of something else than the server's; choose external_id in "
            f"[stores.{store.name}] as the browser does"
        )
    for name, key in (("email", "email"), ("phone_number", "phone")):
        hashed = one.user.get(name)
        if isinstance(hashed, str) and _HASH.fullmatch(hashed) and _differs(hashed, ours.get(key)):
            form = "trimmed and in lower case" if key == "email" else "in E.164, with + and country code"
            found.append(f"its {key} is the hash of something else than the server's; hash it {form}")
    return found


def _differs(theirs: str, ours: object) -> bool:
    """The server may say several, or nothing."""
    return bool(ours) and theirs not in (ours if isinstance(ours, list) else [ours])


def _number(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _some(ids: list[str]) -> str:
    return ", ".join(one[:40] for one in ids[:5]) + (" …" if len(ids) > 5 else "")
