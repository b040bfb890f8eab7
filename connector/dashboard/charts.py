"""Bar charts as inline SVG, rendered on the server with attributes and classes only, as a strict CSP requires. Pure.

The pointer over a bar shows its numbers. A page shows the numbers of each chart as a table, too.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from math import floor, log10

from connector.core.units import HOUR
from connector.dashboard.tables import Cell, Column, Kind, Table

WIDTH, HEIGHT = 640, 180
LEFT, TOP, RIGHT, BOTTOM = 56, 12, 8, 38  # margins: labels of the scale at the left, times below


@dataclass(frozen=True, slots=True)
class Rect:
    """One segment of a bar, in SVG units; `kind` is a class of the style sheet."""

    x: float
    y: float
    width: float
    height: float
    kind: str


@dataclass(frozen=True, slots=True)
class Hover:
    """The place over a whole bar, in SVG units, and what the pointer shows there; `moment` is its start, of an hour."""

    x: float
    y: float
    width: float
    height: float
    text: str
    moment: str


@dataclass(frozen=True, slots=True)
class AxisLabel:
    """A text at an axis; `x` and `y` in SVG units."""

    x: float
    y: float
    text: str


@dataclass(frozen=True)
class Chart:
    """Stacked bars over time, and a table of the same numbers."""

    title: str
    kinds: Mapping[str, str]  # class → label, from the bottom up
    starts: Sequence[int]  # the start of each bar, Unix seconds
    counts: Sequence[Mapping[str, int]]
    span: int  # seconds of a bar: an hour or a day
    address: Callable[[str, int, int | None], str] | None = None  # of the list of a kind since a time, until another

    @cached_property
    def total(self) -> dict[str, int]:
        """The sum of each kind over all bars."""
        return {kind: sum(count.get(kind, 0) for count in self.counts) for kind in self.kinds}

    @cached_property
    def shown(self) -> dict[str, str]:
        """The kinds with a sum above zero."""
        return {kind: label for kind, label in self.kinds.items() if self.total[kind]}

    @cached_property
    def top(self) -> int:
        """The upper end of the scale: a round number that no bar exceeds."""
        return scale(max((sum(count.get(kind, 0) for kind in self.kinds) for count in self.counts), default=0))

    def bars(self) -> Iterator[Rect]:
        """Yield the segments of all bars, without empty ones."""
        step = (WIDTH - LEFT - RIGHT) / max(len(self.counts), 1)
        for index, count in enumerate(self.counts):
            below = 0
            for kind in self.kinds:
                number = count.get(kind, 0)
                if number:
                    height = max(self._height(number), 1.0)  # so that one of thousands is visible
                    y = HEIGHT - BOTTOM - self._height(below) - height
                    yield Rect(_round(LEFT + index * step + 1), _round(y), _round(step - 2), _round(height), kind)
                below += number

    def hovers(self) -> Iterator[Hover]:
        """Yield the place of each bar, also of an empty one: its time and its numbers."""
        step = (WIDTH - LEFT - RIGHT) / max(len(self.counts), 1)
        for index, (start, count) in enumerate(zip(self.starts, self.counts, strict=True)):
            numbers = [f"{count[kind]:,} {label}" for kind, label in self.kinds.items() if count.get(kind)]
            text = f"{self.describe_start(start)}: {', '.join(numbers) or 'nothing'}"
            moment = f"{datetime.fromtimestamp(start, UTC):%Y-%m-%dT%H:%M:%SZ}" if self.span == HOUR else ""
            yield Hover(_round(LEFT + index * step), TOP, _round(step), HEIGHT - TOP - BOTTOM, text, moment)

    def describe(self) -> str:
        """Return the chart in a sentence: the sums, and its highest bar."""
        sums = ", ".join(f"{self.total[kind]:,} {label}" for kind, label in self.shown.items())
        if not sums:
            return "nothing"
        heights = [sum(count.get(kind, 0) for kind in self.kinds) for count in self.counts]
        place = heights.index(max(heights))
        unit = "hour" if self.span == HOUR else "day"
        return f"{sums}. The highest {unit}: {heights[place]:,}, {self.describe_start(self.starts[place])}"

    def describe_start(self, start: int) -> str:
        """Return the start of a bar with its date: "28 May, 20:00 UTC" or "28 May (UTC)"."""
        return f"{datetime.fromtimestamp(start, UTC):{'%-d %b, %H:%M UTC' if self.span == HOUR else '%-d %b (UTC)'}}"

    def list_address(self, kind: str, start: int | None = None) -> str:
        """Return the address of the list of what a kind counts, of one bar or of all; "" if there is none."""
        if self.address is None:
            return ""
        first, last = (self.starts[0], None) if start is None else (start, start + self.span)
        return self.address(kind, first, last)

    def scale_labels(self) -> Iterator[AxisLabel]:
        """Yield the labels of the scale: zero, half and top."""
        for number in dict.fromkeys((0, self.top // 2, self.top)):
            yield AxisLabel(LEFT - 6, _round(HEIGHT - BOTTOM - self._height(number)), _short(number))

    def time_labels(self) -> Iterator[AxisLabel]:
        """Yield the start of every sixth hour or third day, UTC."""
        step, every = (WIDTH - LEFT - RIGHT) / max(len(self.starts), 1), 6 if self.span == HOUR else 3
        for index, start in enumerate(self.starts):
            if index % every == 0:
                yield AxisLabel(_round(LEFT + (index + 0.5) * step), HEIGHT - 7, self.format_start(start))

    def format_start(self, start: int) -> str:
        """Format the start of a bar (Unix seconds) as UTC: "20:00" or "28 May"."""
        return f"{datetime.fromtimestamp(start, UTC):{'%H:%M' if self.span == HOUR else '%-d %b'}}"

    def table(self, name: str) -> Table:
        """Return the numbers as a table, the latest first: start, and a number of each shown kind. Omits empty rows."""
        kind: Kind = "time" if self.span == HOUR else "day"
        columns = [Column("from", kind), *(Column(label, "number") for label in self.shown.values())]
        return Table(name, f"Numbers of {self.title}", columns, [*self._rows()])

    def _rows(self) -> Iterator[list[Cell | int]]:
        for start, count in reversed([*zip(self.starts, self.counts, strict=True)]):
            numbers = [(kind, count.get(kind, 0)) for kind in self.shown]
            if any(number for _, number in numbers):
                links = (self.list_address(kind, start) if number else "" for kind, number in numbers)
                yield [start, *(Cell(number, link) for (_, number), link in zip(numbers, links, strict=True))]

    def _height(self, number: int) -> float:
        return (HEIGHT - TOP - BOTTOM) * number / self.top


def scale(most: int) -> int:
    """Return the smallest round number that is not below `most`: 2, 4, 6, 8, 10, 20, 40 …"""
    if most <= 2:
        return 2
    power = int(10 ** floor(log10(most)))
    return next(step * power for step in (1, 2, 4, 6, 8, 10) if step * power >= most)


def spans(now: float, span: int, number: int) -> list[int]:
    """Return the starts of the last `number` hours or days in Unix seconds, the current one included."""
    last = int(now) // span * span
    return [last - index * span for index in reversed(range(number))]


def _short(number: int) -> str:
    for unit, suffix in ((1_000_000, "m"), (1000, "k")):
        if number >= unit:
            return f"{number / unit:g}{suffix}"
    return str(number)


def _round(number: float) -> float:
    return round(number, 1)
