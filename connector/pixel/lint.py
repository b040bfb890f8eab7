"""Comparison of a browser's pixel events with the server's, to find out if TikTok will merge them.

TikTok merges copies with the same pixel code, event name and event_id. The other fields should agree as well, because
TikTok keeps those of the copy that arrives first. https://ads.tiktok.com/help/article/event-deduplication
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Literal

from connector.core.currencies import TIKTOK_CURRENCIES
from connector.core.event import MILESTONES, FunnelMilestone, Milestone
from connector.core.json_fields import Json, json_object, json_objects
from connector.core.store import PLACEHOLDER, Store
from connector.mapping.event_id import PLACEHOLDER_PATTERNS, template_pattern
from connector.mapping.properties import content_type
from connector.pixel.captured_requests import PixelEvent

Mark = Literal["same", "differs", "note"]
FindServerEvent = Callable[[str, str, str], Json | None]  # pixel, event, event_id → the stored Events API item

# Event names that TikTok has renamed, old to new.
RENAMED = {
    "CompletePayment": "Purchase",
    "SubmitForm": "Lead",
    "Checkout": "PlaceAnOrder",
    "StartCheckout": "InitiateCheckout",
}
_ITEM_SHAPES = {"variant_id": r"\d+", "product_id": r"\d+", "item_id": r"\d+", "sku": ".+"}
_HASH = re.compile("[0-9a-f]{64}")
_FUNNEL_ID = re.compile("[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class LintFinding:
    """One line of the report, about one event; the mark "differs" makes the command exit with 1."""

    mark: Mark
    text: str


def lint(
    events: Iterable[PixelEvent], store: Store, find_server_event: FindServerEvent | None
) -> Iterator[LintFinding]:
    """Yield each difference as a sentence that names the setting to change.

    `find_server_event` is None if there is no database; then values cannot be compared.
    """
    for finding in _compare(events, store, find_server_event):
        # The file may come from anybody, so control characters must not reach the terminal.
        printable = "".join(letter if letter.isprintable() else "\ufffd" for letter in finding.text)
        yield LintFinding(finding.mark, printable)


def _compare(
    events: Iterable[PixelEvent], store: Store, find_server_event: FindServerEvent | None
) -> Iterator[LintFinding]:
    sent_by_server = 0
    for event in events:
        milestone, differences = _compare_name(event, store)
        if milestone is None and not differences:
            yield LintFinding("note", f"{event.event}: the server does not send it, so there is nothing to merge")
            continue
        sent_by_server += 1
        differences += _compare_pixel(event, store)
        if milestone is not None:
            differences += _compare_event_id(event, milestone, store)
        server = None
        if find_server_event and not differences:
            server = find_server_event(event.pixel, event.event, str(event.event_id))
        differences += _compare_properties(event, store, server or {}) + _compare_user(event, store, server or {})
        yield from (LintFinding("differs", f"{event.event}: {sentence}") for sentence in differences)
        if not differences:
            yield _same(event, find_server_event is not None, server is not None)
    if not sent_by_server:
        names = ", ".join(dict.fromkeys(name for kind in MILESTONES for name in store.all_event_names(kind)))
        yield LintFinding("differs", f"it contains no event that the server sends ({names}); record a checkout")


def _same(event: PixelEvent, has_database: bool, is_stored: bool) -> LintFinding:
    agreement = f"pixel, name and event_id {event.event_id} are the same as the server's"
    if is_stored:
        return LintFinding("same", f"{event.event}: it merges; {agreement}, and so are the fields of the stored event")
    reason = (
        "the server has no event with this id, so values were not compared"
        if has_database
        else "values were not compared, because no database was read"
    )
    return LintFinding("same", f"{event.event}: it will merge; {agreement} ({reason})")


# --- fields by which TikTok merges ----------------------------------------------------------------------------


def _server_names(store: Store) -> dict[str, Milestone | FunnelMilestone]:
    """Return the names of the events that the server sends, with the milestone of each."""
    funnel = store.funnel.events if store.funnel else {}
    names: dict[str, Milestone | FunnelMilestone] = {name: step for step, given in funnel.items() for name in given}
    return names | {name: milestone for milestone in MILESTONES for name in store.all_event_names(milestone)}


def _compare_name(event: PixelEvent, store: Store) -> tuple[Milestone | FunnelMilestone | None, list[str]]:
    """Return the milestone whose event this is a copy of, and the differences of its name; case matters to TikTok."""
    names = _server_names(store)
    if event.event in names:
        return names[event.event], []
    for name, milestone in names.items():
        if event.event.casefold() == name.casefold():
            reason = f"the server calls it {name}, and TikTok's event names are case-sensitive"
        elif RENAMED.get(event.event, event.event) == RENAMED.get(name, name):
            reason = f"the server calls it {name}, and TikTok may not merge the two names"
        else:
            continue
        table = "events" if milestone in MILESTONES else "funnel"
        remedy = f'set {milestone} = "{event.event}" in [stores.{store.name}.{table}], or correct the browser\'s name'
        return milestone, [f"{reason}; {remedy}"]
    return None, []


def _compare_pixel(event: PixelEvent, store: Store) -> list[str]:
    codes = [pixel.code for pixel in store.pixels if pixel.source == "web"]
    if event.pixel in codes:
        return []
    reason = (
        f"the browser sends it to pixel {event.pixel}, the server to {' and '.join(codes)}; TikTok does not merge "
        "across pixels"
    )
    return [f'{reason}: set pixel = "{event.pixel}" in [stores.{store.name}], or load the server\'s in the browser']


def _compare_event_id(event: PixelEvent, milestone: Milestone | FunnelMilestone, store: Store) -> list[str]:
    if milestone not in MILESTONES:
        return _compare_funnel_id(event, milestone, store)
    kind = {"checkout_started": "checkout", "customer_registered": "customer"}.get(milestone, "order")
    template: str = getattr(store.event_id, kind)
    event_id = event.event_id
    if event_id in (None, ""):
        misplaced = "it is among the properties, where it has no effect; " if "event_id" in event.properties else ""
        reason = f"it has no event_id, so every copy counts; {misplaced}pass it as the third argument of ttq.track"
        return [f"{reason} (`connector snippet {store.name} --plain` generates it)"]
    if not isinstance(event_id, str):
        return ["its event_id is a number, the server's is a string; convert it with String(…)"]
    shapes = {name: PLACEHOLDER_PATTERNS.get(name, ".+") for name in PLACEHOLDER.findall(template)}
    if template_pattern(template, shapes).fullmatch(event_id):
        return []
    remedy = (
        f'set {kind} = "{guess}" in [stores.{store.name}.event_id]'
        if (guess := _guess_template(event_id, kind))
        else f"use the server's in the browser (`connector snippet {store.name} --plain` generates it)"
    )
    return [f"its event_id {event_id[:80]} does not match the server's template {template}; {remedy}"]


def _compare_funnel_id(event: PixelEvent, milestone: str, store: Store) -> list[str]:
    if isinstance(event.event_id, str) and _FUNNEL_ID.fullmatch(event.event_id):
        return []
    reason = (
        f"its event_id is not from the code of `connector snippet {store.name}`, so the server has no copy under it"
    )
    remedy = f'send it by that code alone, or switch it off: {milestone} = "" in [stores.{store.name}.funnel]'
    return [f"{reason}; {remedy}"]


def _guess_template(event_id: str, kind: str) -> str:
    """Return the template that yields this event_id, or "" unless exactly one part of it can be an id."""
    pattern, name = (r"[0-9a-f]{32}", "checkout_token") if kind == "checkout" else (r"\d+", f"{kind}_id")
    ids = re.findall(rf"(?<![0-9A-Za-z]){pattern}(?![0-9A-Za-z])", event_id)
    if len(ids) != 1 or "://" in event_id or set("{}") & set(event_id):
        return ""
    return event_id.replace(ids[0], f"{{{name}}}")


# --- fields that should agree ---------------------------------------------------------------------------------


def _compare_properties(event: PixelEvent, store: Store, server: Json) -> list[str]:
    browser, stored = event.properties, json_object(server.get("properties"))
    table = f"[stores.{store.name}.mapping]"
    return [
        *_compare_value(browser.get("value"), stored.get("value"), table),
        *_compare_currency(browser, stored, table),
        *_compare_contents(browser, stored, store, table),
    ]


def _compare_value(browser: object, stored: object, table: str) -> list[str]:
    if browser is None:
        return []  # TikTok adds the server's
    value = _number(browser)
    if value is None:
        return [f"its value {str(browser)[:40]!r} is not a number; use a decimal point and no currency sign"]
    if stored is None or value == _number(stored):
        return []
    return [f"its value is {value}, the server's {stored}; set value and value_excludes in {table} as in the browser"]


def _compare_currency(browser: Json, stored: Json, table: str) -> list[str]:
    currency = browser.get("currency")
    if currency is None:
        return ["it has a value without a currency; add currency"] if "value" in browser else []
    if str(currency) not in TIKTOK_CURRENCIES:
        reason = (
            "must be upper case" if str(currency).upper() in TIKTOK_CURRENCIES else "is not one that TikTok supports"
        )
        return [f"its currency {str(currency)[:10]!r} {reason}; correct it in the browser"]
    if "currency" not in stored or currency == stored["currency"]:
        return []
    reason = f"its currency is {currency}, the server's {stored['currency']}"
    return [f'{reason}; set currency = "presentment" or "shop" in {table}']


def _compare_contents(browser: Json, stored: Json, store: Store, table: str) -> list[str]:
    ids = _content_ids(browser)
    if not ids:
        return []
    setting = store.mapping.content_id
    if stored.get("contents"):
        expected = _content_ids(stored)
        if sorted(ids) != sorted(expected):
            reason = f"its content ids are {_shorten(ids)}, the server's {_shorten(expected)}"
            return [f"{reason}; set content_id in {table} accordingly"]
    else:
        template = setting if "{" in setting else f"{{{setting}}}"
        pattern = template_pattern(template, _ITEM_SHAPES)
        if different := [content_id for content_id in ids if not pattern.fullmatch(content_id)]:
            reason = f"its content id {different[0][:80]} does not match the server's content_id = {setting}"
            return [f"{reason}; set content_id in {table} accordingly"]
    browser_type, server_type = browser.get("content_type"), content_type(setting)
    if browser_type is None or browser_type == server_type:
        return []
    reason = f"its content_type is {str(browser_type)[:40]}, the server's {server_type} (from content_id in {table})"
    return [f"{reason}; correct one of them"]


def _content_ids(properties: Json) -> list[str]:
    ids = [row.get("content_id") for row in json_objects(properties.get("contents"))]
    content_ids = properties.get("content_ids")
    if not ids and isinstance(content_ids, list):
        ids = content_ids
    if not ids:
        ids = [properties.get("content_id")]
    return [str(content_id) for content_id in ids if isinstance(content_id, str | int) and str(content_id)]


def _compare_user(event: PixelEvent, store: Store, server: Json) -> list[str]:
    """Return the differences without values, because an unhashed value is personal data."""
    differences, stored = [], json_object(server.get("user"))
    external_id = event.user.get("external_id")
    if external_id and not (isinstance(external_id, str) and _HASH.fullmatch(external_id)):
        differences.append(
            "its external_id is not a SHA-256 in lower-case hexadecimal, as the server's is; hash it before "
            "ttq.identify, because the pixel does not"
        )
    elif external_id and _differs(external_id, stored.get("external_id")):
        differences.append(
            "its external_id is the hash of another value than the server's; set external_id in "
            f"[stores.{store.name}] as in the browser"
        )
    for name, key in (("email", "email"), ("phone_number", "phone")):
        digest = event.user.get(name)
        if isinstance(digest, str) and _HASH.fullmatch(digest) and _differs(digest, stored.get(key)):
            form = "trimmed and in lower case" if key == "email" else "in E.164, with + and country code"
            differences.append(f"its {key} is the hash of another value than the server's; hash it {form}")
    return differences


def _differs(browser: str, stored: object) -> bool:
    """True if the server stored one or several values, and the browser's is not among them."""
    return bool(stored) and browser not in (stored if isinstance(stored, list) else [stored])


def _number(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _shorten(ids: list[str]) -> str:
    return ", ".join(content_id[:40] for content_id in ids[:5]) + (" …" if len(ids) > 5 else "")
