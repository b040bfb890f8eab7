"""Isolating the event for which TikTok refuses a whole batch, by halving the batch."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from connector.outbox.settlement import LeasedEvent
from connector.relay.events_api import PARTLY, Outcome

Batch = list[LeasedEvent]
Answer = tuple[Batch, Outcome]


def isolate(batch: Batch, send: Callable[[Batch], Outcome], may_send: Callable[[], bool]) -> Iterator[Answer]:
    """Send a batch; yield each of its events once, with the outcome that counts for it.

    A refused batch is halved and sent again until the refused event is alone. TikTok does not document whether it
    keeps the good events of a batch that it refuses: for an event that is sent again no later failure is definite. An
    event that TikTok names by its index is sent alone before the refusal is believed. `may_send` is asked before each
    further request.
    """
    waiting = [(batch, False)]
    while waiting:
        part, resent = waiting.pop()
        if resent and not may_send():
            yield part, Outcome("retry", message="interrupted while a bad event was looked for", definite=False)
            continue
        outcome = send(part)
        named = [part[index] for index in outcome.indexes]
        others = [item for index, item in enumerate(part) if index not in outcome.indexes]
        if outcome.code == PARTLY and named:
            yield named, replace(outcome, verdict="rejected")
            if others:
                yield others, outcome
        elif outcome.verdict != "rejected" or len(part) == 1:
            definite = outcome.definite and (outcome.verdict == "rejected" or not resent)
            yield part, replace(outcome, definite=definite)
        else:
            half = len(part) // 2
            parts = [*([item] for item in named), others] if named else [part[:half], part[half:]]
            waiting += [(smaller, True) for smaller in reversed(parts) if smaller]


def is_same_refusal(answers: Sequence[Answer]) -> bool:
    """Return whether all of these events were rejected, in the same words."""
    if any(outcome.verdict != "rejected" for _, outcome in answers):
        return False
    return len({without_numbers(refusal_text(outcome)) for _, outcome in answers}) == 1


def refusal_text(outcome: Outcome) -> str:
    """Return a refusal's code and message."""
    return f"{outcome.code or ''} {outcome.message}".strip()


def without_numbers(text: str) -> str:
    """Blank the numbers of a refusal: the index of an event differs although the reason is the same."""
    return re.sub(r"\d+", "#", text)
