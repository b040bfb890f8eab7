"""Numbers and durations in sentences."""

from datetime import timedelta


def how_many(number: int, one: str, more: str = "") -> str:
    """A count with its noun: "1 event", "2 events"; `more` is the plural where it is not made with an s."""
    return f"{number} {one if number == 1 else more or one + 's'}"


def how_long(span: timedelta) -> str:
    """A duration as the stores file writes it: "7d", "36h"."""
    return f"{span.days}d" if span % timedelta(days=1) == timedelta(0) else f"{span.total_seconds() / 3600:g}h"
