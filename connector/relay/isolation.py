"""Finds the events because of which TikTok rejects a whole batch, by halving the batch."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from connector.outbox.settlement import LeasedEvent
from connector.relay.events_api import PARTLY, ApiResult

Batch = list[LeasedEvent]  # or a part of one that was halved
BatchResult = tuple[Batch, ApiResult]


def isolate(batch: Batch, send: Callable[[Batch], ApiResult], may_send: Callable[[], bool]) -> Iterator[BatchResult]:
    """Send a batch; yield each of its events exactly once, with its final result.

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
            yield part, ApiResult("retry", message="interrupted while isolating a rejected event", definite=False)
            continue
        result = send(part)
        named = [part[index] for index in result.indexes]
        others = [item for index, item in enumerate(part) if index not in result.indexes]
        if result.code == PARTLY and named:
            yield named, replace(result, verdict="rejected")
            if others:
                yield others, result
        elif result.verdict != "rejected" or len(part) == 1:
            definite = result.definite and (result.verdict == "rejected" or not resent)
            yield part, replace(result, definite=definite)
        else:
            half = len(part) // 2
            parts = [*([item] for item in named), others] if named else [part[:half], part[half:]]
            waiting += [(smaller, True) for smaller in reversed(parts) if smaller]


def all_rejected_alike(results: Sequence[BatchResult]) -> bool:
    """Return whether all of these events were rejected with the same code and message.

    With code 20001 TikTok has taken the request and rejects the events that it names, so their reasons do not count as
    alike.
    """
    if any(result.verdict != "rejected" or result.code == PARTLY for _, result in results):
        return False
    return len({without_numbers(rejection_text(result)) for _, result in results}) == 1


def rejection_text(result: ApiResult) -> str:
    """Return the code and the message of a rejection."""
    return f"{result.code or ''} {result.message}".strip()


def without_numbers(text: str) -> str:
    """Replace the numbers in a rejection, so that messages that differ only in the index of an event are equal."""
    return re.sub(r"\d+", "#", text)
