"""Line charts of shares over days as inline SVG, like `charts`, with attributes and classes only. Pure.

A page shows the numbers of each chart as a table, too.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from connector.core.text import percent
from connector.dashboard.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, AxisLabel
from connector.dashboard.tables import Column, Row, Table

LABELS = 6  # dates below a chart, at most
HALF_LABEL = 24  # the width of half of one, in SVG units


@dataclass(frozen=True, slots=True)
class Line:
    """The points of a line without a gap; `points` is SVG's list, `kind` a class of the style sheet."""

    points: str
    kind: str


@dataclass(frozen=True)
class LineChart:
    """Lines of shares over days, the last one in full."""

    title: str
    kinds: Mapping[str, str]  # class → label
    days: Sequence[int]  # Unix seconds
    shares: Mapping[str, Sequence[float | None]]  # class → a share for each day; None: not known

    def lines(self) -> Iterator[Line]:
        """Yield the parts of each line between days that are not known; a single day is a short line."""
        for kind in self.kinds:
            part: list[str] = []
            for index, share in enumerate([*self.shares[kind], None]):
                if share is not None:
                    part.append(f"{self._x(index):.1f},{self._y(share):.1f}")
                elif part:
                    yield Line(" ".join(part if len(part) > 1 else part * 2), kind)
                    part = []

    def last(self, kind: str) -> str:
        """Return a line's last known share in percent; "–" if none is known."""
        share = next((share for share in reversed(self.shares[kind]) if share is not None), None)
        return "–" if share is None else percent(share, 1)

    def scale_labels(self) -> Iterator[AxisLabel]:
        """Yield the labels of the scale."""
        for share in (0.0, 0.5, 1.0):
            yield AxisLabel(LEFT - 6, round(self._y(share), 1), percent(share, 1))

    def time_labels(self) -> Iterator[AxisLabel]:
        """Yield some of the days, UTC."""
        every = max(1, -(-len(self.days) // LABELS))
        for index in range(every // 2, len(self.days), every):
            if self._x(index) + HALF_LABEL < WIDTH:
                yield AxisLabel(round(self._x(index), 1), HEIGHT - 7, self.format_day(self.days[index]))

    def table(self, name: str) -> Table:
        """Return the shares as a table, the latest day first, without days of which nothing is known."""
        columns = [Column("seven days up to", "day"), *(Column(label, "percent") for label in self.kinds.values())]
        rows: list[Row] = []
        for index in reversed(range(len(self.days))):
            shares = [self.shares[kind][index] for kind in self.kinds]
            if any(share is not None for share in shares):
                rows.append([self.days[index], *(None if share is None else 100 * share for share in shares)])
        return Table(name, f"Numbers of {self.title}", columns, rows)

    @staticmethod
    def format_day(day: int) -> str:
        """Format the start of a day as UTC: "28 May"."""
        return f"{datetime.fromtimestamp(day, UTC):%-d %b}"

    def _x(self, index: int) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (index + 0.5) / max(len(self.days), 1)

    def _y(self, share: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share
