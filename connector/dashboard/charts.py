"""Bars as inline SVG, made on the server: attributes and classes only, so that a strict CSP holds. Pure.

A chart is a picture; beside it a page shows the same numbers as a table.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from math import floor, log10

from connector.core.units import HOUR

WIDTH, HEIGHT = 640, 180
LEFT, TOP, RIGHT, BOTTOM = 56, 12, 8, 38  # margins: numbers at the left, times below


@dataclass(frozen=True, slots=True)
class Rect:
    """A bar's part, in the units of the picture; `kind` is a class of the style sheet."""

    x: float
    y: float
    width: float
    height: float
    kind: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A word beside an axis."""

    x: float
    y: float
    text: str


@dataclass(frozen=True)
class Chart:
    """Stacked bars over time, and the table that says the same."""

    title: str
    kinds: Mapping[str, str]  # class → words, from the bottom up
    starts: Sequence[int]  # Unix seconds, one bar each
    counts: Sequence[Mapping[str, int]]
    span: int

    @cached_property
    def total(self) -> dict[str, int]:
        """Of each kind, over the whole time."""
        return {kind: sum(count.get(kind, 0) for count in self.counts) for kind in self.kinds}

    @cached_property
    def shown(self) -> dict[str, str]:
        """The kinds that there were any of."""
        return {kind: words for kind, words in self.kinds.items() if self.total[kind]}

    @cached_property
    def top(self) -> int:
        """Where the scale ends: a round number no bar is above."""
        return scale(max((sum(count.get(kind, 0) for kind in self.kinds) for count in self.counts), default=0))

    def bars(self) -> Iterator[Rect]:
        """All parts that have something to show."""
        step = (WIDTH - LEFT - RIGHT) / max(len(self.counts), 1)
        for place, count in enumerate(self.counts):
            below = 0
            for kind in self.kinds:
                number = count.get(kind, 0)
                if number:
                    height = max(self._height(number), 1.0)  # one of thousands can be seen
                    y = HEIGHT - BOTTOM - self._height(below) - height
                    yield Rect(_round(LEFT + place * step + 1), _round(y), _round(step - 2), _round(height), kind)
                below += number

    def lines(self) -> Iterator[Mark]:
        """The scale: nothing, half and top."""
        for number in dict.fromkeys((0, self.top // 2, self.top)):
            yield Mark(LEFT - 6, _round(HEIGHT - BOTTOM - self._height(number)), _short(number))

    def times(self) -> Iterator[Mark]:
        """When some of the bars begin, UTC."""
        step, every = (WIDTH - LEFT - RIGHT) / max(len(self.starts), 1), 6 if self.span == HOUR else 3
        for place, start in enumerate(self.starts):
            if place % every == 0:
                yield Mark(_round(LEFT + (place + 0.5) * step), HEIGHT - 7, self.when(start))

    def when(self, start: int) -> str:
        """When a bar begins, UTC."""
        return f"{datetime.fromtimestamp(start, UTC):{'%H:%M' if self.span == HOUR else '%-d %b'}}"

    def rows(self) -> Iterator[tuple[str, list[int]]]:
        """For the table: when, and how many of each kind shown; the latest first, times without anything left out."""
        for start, count in reversed([*zip(self.starts, self.counts, strict=True)]):
            if any(numbers := [count.get(kind, 0) for kind in self.shown]):
                yield self.when(start), numbers

    def _height(self, number: int) -> float:
        return (HEIGHT - TOP - BOTTOM) * number / self.top


def scale(most: int) -> int:
    """The next round number: 2, 4, 6, 8, 10, 20, 40 …"""
    if most <= 2:
        return 2
    power = int(10 ** floor(log10(most)))
    return next(step * power for step in (1, 2, 4, 6, 8, 10) if step * power >= most)


def spans(now: float, span: int, number: int) -> list[int]:
    """When each of the last so many hours or days begins, the one under way included."""
    last = int(now) // span * span
    return [last - back * span for back in reversed(range(number))]


def _short(number: int) -> str:
    for unit, name in ((1_000_000, "m"), (1000, "k")):
        if number >= unit:
            return f"{number / unit:g}{name}"
    return str(number)


def _round(number: float) -> float:
    return round(number, 1)
