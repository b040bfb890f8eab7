"""Texts for outcomes, event states, TikTok's codes and problems, and what to do about them. Pure functions."""

from typing import Any

from connector.core.store import Store
from connector.core.text import duration, how_many, utc_minute, utc_second
from connector.core.units import MERGE_WINDOW, TIKTOK_DEDUPLICATES
from connector.outbox.queries import OpenProblem

# A store's health by kind of problem (`connector.monitoring.problems`), the worst first.
HEALTH = {
    "platform": "platform cannot be loaded",
    "denied": "token or permission denied",
    "silent": "silent",
    "signatures": "invalid signatures",
    "skipped": "nothing is sent: all skipped",
    "shop": "shop API refuses access",
    "webhooks": "webhooks missing in the shop",
    "notices": "shop API does not answer",
    "gaps": "webhooks did not arrive",
    "untried": "new token, not tried yet",
    "accuracy": "orders missing",
    "foreign": "counted twice",
    "lag": "late",
    "rejected": "events rejected",
    "parked": "webhooks parked",
    "withheld": "personal data withheld",
    "keys": "match keys fell",
    "snippet": "snippet silent",
    "values": "values differ",
    "testing": "testing",
}
WORST = ("platform", "denied", "silent", "signatures", "skipped")

# Problems that a page's button solves: the page, and the text of the link to it. The sentence names the command.
_PAGE_OF_PROBLEM = {
    "parked": ("parked", "See why and replay them"),
    "rejected": ("failed", "See which and replay them"),
}

# Outcomes of webhooks in charts and lists; "quiet": nothing new is stored.
RECEIVED = {
    "relayed": "became events",
    "skipped": "skipped",
    "quiet": "duplicate or ignored",
    "parked": "parked",
    "refused": "invalid signature",
}
OUTCOMES = {
    "relayed": "became events",
    "skipped": "deliberately not sent",
    "recorded": "recorded, nothing to send",
    "parked": "could not be processed, kept for replay",
}

# https://business-api.tiktok.com/portal/docs?id=1737172488964097
_CODES = {
    40000: "TikTok does not accept one of the event's fields",
    40002: "TikTok does not accept one of the event's fields",
    40061: "the request contained too many events",
    40062: "a value is not hashed but must be",
    40100: "TikTok is busy",
    40132: "TikTok is busy",
    40001: "the token has no permission for this pixel",
    40003: "the token has no permission for this pixel",
    40102: "the token has expired",
    40104: "the token is missing",
    40105: "the token is wrong or was revoked",
    50000: "internal error at TikTok",
    50002: "timeout at TikTok",
}


def meaning(code: int | None) -> str:
    """Return the meaning of TikTok's code, or "" for an unknown one."""
    return _CODES.get(code or 0, "internal error at TikTok" if code and code >= 50000 else "")


def state_sentence(row: Any, now: float) -> str:
    """Describe the state of an event in a sentence; `now` in Unix seconds."""
    match row.state:
        case "accepted":
            return "TikTok has accepted it."
        case "rejected":
            reason = meaning(row.code) or "see its message below"
            return f"TikTok rejected it: {reason}. Fix the cause, then replay it."
        case "expired":
            return "TikTok did not accept it in time; it is no longer retried."
        case "skipped":
            return f"Deliberately not sent: {row.message or 'see above'}."
        case "held":
            return "Waiting for signals from the shopper's browser, for a few minutes at most."
    if row.lease_owner and row.lease_until > now:
        return "Being sent now."
    if row.attempts:
        return f"Waiting for the next attempt: {meaning(row.code) or 'TikTok has not accepted it yet'}."
    if row.due_at > now:
        return "Waiting briefly for signals from the shopper's browser."
    return "Waiting to be sent."


def notice_sentence(row: Any, now: float) -> str:
    """Describe what a thin webhook has named and is not fetched yet; `now` in Unix seconds."""
    told = f"The shop's webhook of {utc_second(row.noted_at)} ({row.topic}) only names it; "
    if row.lease_owner and row.lease_until > now:
        return told + "it is being fetched from the shop now."
    if row.error:
        tries = how_many(row.attempts, "attempt")
        return told + f"it could not be fetched in {tries}, will retry for a day: {row.error}"
    return told + "it will be fetched from the shop in a moment."


def remembered(row: Any) -> str:
    """Say which keys of an event come from the memory of clicks, and from when; "" if none does."""
    since = {"ttclid": row.ttclid_from, "ttp": row.ttp_from}
    parts = [f"{name}, given {utc_minute(at)}" for name, at in since.items() if at is not None]
    if row.state == "skipped" or not parts:
        return ""
    return f"The customer's last click, remembered from an earlier visit (remember_clicks): {'; '.join(parts)}."


def merging(row: Any, store: Store | None) -> str:
    """Describe how TikTok combines an accepted event with the browser's copy; "" if that does not apply."""
    if row.state != "accepted" or row.settled_at is None or row.test_code:
        return ""
    delay = max(row.settled_at - row.occurred_at, 0.0)
    accepted = f"Accepted {duration(delay)} after it happened"
    if is_offline(row, store):
        return f"{accepted}. No browser sends to an offline event set."
    if store is None or store.browser_pixel == "none":
        return f"{accepted}. No browser copy is expected (browser_pixel)."
    if delay <= MERGE_WINDOW:
        return f"{accepted}: within 5 minutes, so TikTok merges it with the browser's copy."
    if delay <= TIKTOK_DEDUPLICATES.total_seconds():
        return f"{accepted}, after the 5 minutes for merging: if the browser sent a copy, TikTok drops this one."
    return f"{accepted}: after 48 hours TikTok no longer drops copies; if the browser sent one, both count."


def is_offline(row: Any, store: Store | None) -> bool:
    """Return True if an event's pixel is an offline event set, by the store's settings."""
    pixel = store.pixel(row.pixel) if store else None
    return pixel is not None and pixel.source == "offline"


def problem_parts(problem: OpenProblem, store: str) -> list[tuple[str, str]]:
    """Split a problem's sentence, without the name of the store it is shown at, into parts as (kind, text).

    The kind is "text", "command", or the name of the page to which the text links.
    """
    sentence = problem.sentence.removeprefix(f"store {store}: ").removeprefix(f"store {store}, ")
    sentence = sentence[:1].upper() + sentence[1:]
    if problem.kind not in _PAGE_OF_PROBLEM:
        return sentence_parts(sentence)
    description, _, remedy = sentence.rpartition("; ")
    command = [part for part in sentence_parts(remedy) if part[0] == "command"]
    return [("text", f"{description}. "), _PAGE_OF_PROBLEM[problem.kind], ("text", ", or "), *command]


def sentence_parts(sentence: str) -> list[tuple[str, str]]:
    """Split a sentence at its backticks into parts as (kind, text): "text" or "command"."""
    return [("command" if place % 2 else "text", part) for place, part in enumerate(sentence.split("`")) if part]


def at(moment: float | None) -> str:
    """Format Unix seconds for a table: UTC, to the second; "" for None."""
    return "" if moment is None else utc_second(moment)


def subject(object_key: str, number: str = "") -> str:
    """Name an order, checkout or customer, by its number if it has one."""
    kind, _, key = object_key.partition(":")
    return f"{kind} {number or key}"
