"""Names compared; numbers, times, durations and exceptions in sentences."""

import traceback
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal


def first_match(found: Iterable[str], chosen: Collection[str]) -> str:
    """Return the first of `found` that is one of `chosen`, ignoring case, or ""."""
    if not chosen:
        return ""
    wanted = {name.strip().casefold() for name in chosen}
    return next((name for name in found if name.strip().casefold() in wanted), "")


def how_many(number: int, one: str, more: str = "") -> str:
    """Return a number with its noun: "1 event", "2 events"; `more` is the plural if it does not end in an added s."""
    return f"{number:,} {one if number == 1 else more or one + 's'}"


def either(words: Sequence[str]) -> str:
    """Return words as a choice: "DE", "DE or AT", "DE, AT or CH"."""
    return " or ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def duration_setting(span: timedelta) -> str:
    """Return a duration as the stores file writes it: "7d", "36h"."""
    return f"{span.days}d" if span % timedelta(days=1) == timedelta(0) else f"{span.total_seconds() / 3600:g}h"


def percent(part: float | Decimal, whole: float | Decimal, decimals: int = 0) -> str:
    """Return a share as pages, commands and digests write it: "67%"; "–" if there is no whole."""
    return f"{rounded_percent(part, whole, decimals)}%" if whole else "–"


def rounded_percent(part: float | Decimal, whole: float | Decimal, decimals: int = 0) -> Decimal:
    """Return a share in percent, rounded half up.

    Only all is 100 and only nothing is 0, so that one of a thousand that is missing stays visible.
    """
    step = Decimal(1).scaleb(-decimals)
    exact = Decimal(part) * 100 / Decimal(whole)
    rounded = exact.quantize(step, ROUND_HALF_UP)
    if rounded == 100 and exact != 100:
        rounded += step if exact > 100 else -step
    elif rounded == 0 and exact != 0:
        rounded = step if exact > 0 else -step
    return rounded


def duration(seconds: float) -> str:
    """Return a duration in the largest unit that fits at least twice: "3 hours", "1.5 seconds"."""
    for size, unit in ((86_400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.1f} seconds" if seconds < 10 else f"{seconds:.0f} seconds"


def delay(seconds: float) -> str:
    """Return a delay that is known by buckets of a second at least: "under a second", "3 seconds", "2 minutes"."""
    return "under a second" if seconds < 1 else duration(seconds)


def utc_minute(moment: float) -> str:
    """Return Unix seconds as "2026-11-24 10:05 UTC"."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M UTC")


def utc_second(moment: float) -> str:
    """Return Unix seconds as "2026-11-24 10:05:09"."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S")


def iso_second(moment: float) -> str:
    """Return Unix seconds as "2026-11-24T10:05:09+00:00"."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")


def type_and_place(error: Exception) -> str:
    """Return the type of an exception and where it was raised, without its message, which may quote a body."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {last.name} ({last.filename.rsplit('/', 1)[-1]}:{last.lineno})"
