"""What outcomes, states and TikTok's codes mean, in plain words, and what to do. Pure."""

from typing import Any

from connector.core.store import Store
from connector.core.text import duration, utc_second
from connector.core.units import MERGE_WINDOW, TIKTOK_DEDUPLICATES
from connector.outbox.queries import OpenProblem

# Health, the worst first: what the kinds of problems (`connector.monitoring.problems`) make of a store.
HEALTH = {
    "denied": "token or permission refused",
    "silent": "silent",
    "signatures": "signatures refused",
    "shop": "the shop's API refuses us",
    "webhooks": "webhooks missing in the shop",
    "gaps": "webhooks did not come",
    "untried": "new token, not tried yet",
    "lag": "late",
    "rejected": "events rejected",
    "parked": "webhooks parked",
    "withheld": "personal data withheld",
    "testing": "testing",
}
WORST = ("denied", "silent", "signatures")

# Where a button does what a problem's sentence names a command for.
_MENDED_AT = {
    "parked": ("parked", "See why, and try again"),
    "rejected": ("failed", "See which, and send them again"),
}

OUTCOMES = {
    "relayed": "became events",
    "skipped": "deliberately not sent",
    "recorded": "recorded, nothing to send",
    "parked": "could not be handled, kept for a replay",
}

# https://business-api.tiktok.com/portal/docs?id=1737172488964097
_CODES = {
    40000: "TikTok does not take one of this event's fields",
    40002: "TikTok does not take one of this event's fields",
    40061: "TikTok found too many events in the request",
    40062: "TikTok wants a value hashed that is not",
    40100: "TikTok is busy",
    40132: "TikTok is busy",
    40001: "the token may not write to this pixel",
    40003: "the token may not write to this pixel",
    40102: "the token has expired",
    40104: "the token is missing",
    40105: "the token is wrong or was revoked",
    50000: "TikTok had a fault of its own",
    50002: "TikTok took too long",
}


def meaning(code: int | None) -> str:
    """A code in plain words; "" for one that is not known."""
    return _CODES.get(code or 0, "TikTok had a fault of its own" if code and code >= 50000 else "")


def state_sentence(row: Any, now: float) -> str:
    """What became of an event, in a sentence."""
    match row.state:
        case "accepted":
            return "TikTok has accepted it."
        case "rejected":
            why = meaning(row.code) or "its own words are below"
            return f"TikTok refuses it: {why}. Correct the cause, then send it again."
        case "expired":
            return "It was not accepted in time, so it is not sent any more."
        case "skipped":
            return f"Deliberately not sent: {row.message or 'see above'}."
        case "held":
            return "It waits for what the shopper's browser tells (signals), a few minutes at most."
    if row.lease_owner and row.lease_until > now:
        return "It is being sent just now."
    if row.attempts:
        return f"It waits for the next attempt: {meaning(row.code) or 'TikTok has not taken it yet'}."
    if row.due_at > now:
        return "It waits a little for what the shopper's browser tells (signals)."
    return "It waits to be sent."


def merging(row: Any, store: Store | None) -> str:
    """Whether TikTok merges an accepted event with the browser's copy; "" where there is nothing to say."""
    if row.state != "accepted" or row.settled_at is None or row.test_code:
        return ""
    late = max(row.settled_at - row.occurred_at, 0.0)
    if store is None or store.browser_pixel == "none":
        return f"Accepted {duration(late)} after it happened. No browser copy is expected (browser_pixel)."
    if late <= MERGE_WINDOW:
        return f"Accepted {duration(late)} after it happened: within 5 minutes, so it merges with the browser's copy."
    if late <= TIKTOK_DEDUPLICATES.total_seconds():
        return (
            f"Accepted {duration(late)} after it happened, past the 5 minutes in which copies are merged: if the "
            "browser sent one, TikTok keeps that and drops this."
        )
    return f"Accepted {duration(late)} after it happened: after 48 hours TikTok no longer knows a browser's copy."


def problem_parts(problem: OpenProblem, store: str) -> list[tuple[str, str]]:
    """A problem's sentence without the store it is shown at, in parts.

    Each is (how it is meant, text): "said", "typed" for a command, or the name of the page that the text leads to.
    """
    short = problem.sentence.removeprefix(f"store {store}: ").removeprefix(f"store {store}, ")
    short = short[:1].upper() + short[1:]
    if problem.kind not in _MENDED_AT:
        return _typed(short)
    wrong, _, by_command = short.rpartition("; ")
    page, invitation = _MENDED_AT[problem.kind]
    command = [part for part in _typed(by_command) if part[0] == "typed"]
    return [("said", f"{wrong}. "), (page, invitation), ("said", ", or "), *command]


def _typed(sentence: str) -> list[tuple[str, str]]:
    return [("typed" if place % 2 else "said", part) for place, part in enumerate(sentence.split("`")) if part]


def at(moment: float | None) -> str:
    """Return a time for a table, UTC, to the second; "" for none."""
    return "" if moment is None else utc_second(moment)


def subject(object_key: str, number: str = "") -> str:
    """An order, checkout or customer by name."""
    kind, _, key = object_key.partition(":")
    return f"{kind} {number}" if number else f"{kind} {key}"
