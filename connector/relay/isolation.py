"""Finds the events because of which TikTok rejects a whole batch, by halving the batch."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from connector.outbox.settlement import LeasedEvent
from connector.relay.events_api import PARTLY, Outcome

Batch = list[LeasedEvent]
Answer = tuple[Batch, Outcome]


def isolate(batch: Batch, send: Callable[[Batch], Outcome], may_send: Callable[[], bool]) -> Iterator[Answer]:
    """Send a batch; yield each of its events exactly once, with its final outcome.

    A rejected batch is halved and sent again until the rejected event is alone. An event that TikTok names by its index
    is sent alone to confirm the rejection, except with code 20001, which is believed at once. `may_send` is called
    before each request but the first.

    TikTok does not document whether it keeps the valid events of a rejected batch. Once an event was sent again, only a
    rejection proves that TikTok does not have it.
    """
    waiting = [(batch, False)]
    while waiting:
        part, resent = waiting.pop()
        if resent and not may_send():
            yield part, Outcome("retry", message="interrupted while isolating a rejected event", definite=False)
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


def all_rejected_alike(answers: Sequence[Answer]) -> bool:
    """Return whether all of these events were rejected with the same code and message."""
    if any(outcome.verdict != "rejected" for _, outcome in answers):
        return False
    return len({without_numbers(rejection_text(outcome)) for _, outcome in answers}) == 1


def rejection_text(outcome: Outcome) -> str:
    """Return the code and the message of a rejection."""
    return f"{outcome.code or ''} {outcome.message}".strip()


def without_numbers(text: str) -> str:
    """Replace the numbers in a rejection, so that messages that differ only in the index of an event are equal."""
    return re.sub(r"\d+", "#", text)
