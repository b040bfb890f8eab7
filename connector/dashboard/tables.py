"""Tables of the pages, which are also downloaded as CSV: a page and its file have the same columns. Pure.

A text of a shop or of TikTok may begin like a spreadsheet's formula, so the file has an apostrophe before such texts.
https://owasp.org/www-community/attacks/CSV_Injection
"""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import groupby, islice
from typing import Literal

from connector.core.text import rounded_percent, utc_second

Kind = Literal["text", "code", "number", "percent", "time", "minute", "day"]
Value = str | int | float | Decimal | None
ROWS_PER_CHUNK = 500
_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
_CONTROL = ("\t", "\r", "\n")


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its heading and the kind of its values. Times and days are Unix seconds; percents are 0 to 100.

    `beside` heads the file's column of the texts that the page shows beside the values, in the same cells. `decimals`
    is of percents. `bar` draws a percent as a bar, too. `long` texts may have
    several lines. A "minute" is a time that the page shows without year and seconds.
    """

    title: str
    kind: Kind = "text"
    beside: str = ""
    decimals: int = 0
    bar: bool = False
    long: bool = False

    @property
    def is_number(self) -> bool:
        """True if the values stand at the right."""
        return self.kind in ("number", "percent")

    def form(self, value: Value) -> str:
        """Return the value as the page shows it; "–" for None. Times are formed by the template."""
        match self.kind:
            case _ if value is None:
                return "–"
            case "number":
                return f"{value:,}"
            case "percent":
                return f"{rounded_percent(Decimal(str(value)), 100, self.decimals)}%"
        return str(value)


@dataclass(frozen=True, slots=True)
class Cell:
    """A value with the address that it leads to, and a text beside it."""

    value: Value
    link: str = ""
    beside: str = ""


Row = Sequence[Cell | Value]


@dataclass(frozen=True, slots=True)
class Table:
    """A table: `name` is that of its file and unique on its page, `title` what it is called to who cannot see it.

    `rows` are those of the page. `all_rows` returns those of the file if the page shows only some of them. `stacked`
    tables show each row as a block on a phone. `grouped` ones show the text beside the first cell once, as a heading of
    the rows that have it; these rows follow each other.
    """

    name: str
    title: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    all_rows: Callable[[], Iterable[Row]] | None = None
    stacked: bool = False
    grouped: bool = False

    def groups(self) -> Iterator[tuple[str, Sequence[Row]]]:
        """Yield the rows of the page by group, each with its heading; a table that is not grouped is one without."""
        if not self.grouped:
            yield "", self.rows
            return
        for heading, rows in groupby(self.rows, key=lambda row: row[0].beside if isinstance(row[0], Cell) else ""):
            yield heading, [(_without_text(row[0]), *row[1:]) for row in rows]

    def cells(self, row: Row) -> Iterator[tuple[Column, Cell]]:
        """Yield the cells of a row, each with its column."""
        for column, value in zip(self.columns, row, strict=True):
            yield column, value if isinstance(value, Cell) else Cell(value)


def _without_text(first: Cell | Value) -> Cell | Value:
    return replace(first, beside="") if isinstance(first, Cell) else first


def csv_chunks(table: Table) -> Iterator[str]:
    """Yield a table as CSV (RFC 4180), some hundred rows at a time. Excel knows UTF-8 by the byte order mark."""
    rows = iter(table.all_rows() if table.all_rows else table.rows)
    part = [*islice(rows, ROWS_PER_CHUNK)]
    yield "\ufeff" + _lines([[*_headings(table)], *([*_fields(table, row)] for row in part)])
    while part := [*islice(rows, ROWS_PER_CHUNK)]:
        yield _lines([*_fields(table, row)] for row in part)


def harmless(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula.

    An apostrophe is put before what begins like one, and before an apostrophe, so that the text can be told from it.
    """
    starts = text.lstrip().startswith(_FORMULA) or text.startswith(("'", *_CONTROL))
    return f"'{text}" if starts else text


def _lines(rows: Iterable[Sequence[str | int | Decimal]]) -> str:
    buffer = io.StringIO(newline="")
    csv.writer(buffer, quoting=csv.QUOTE_NONNUMERIC).writerows(rows)
    return buffer.getvalue()


def _headings(table: Table) -> Iterator[str]:
    for column in table.columns:
        unit = {"time": ", UTC", "minute": ", UTC", "percent": ", %"}.get(column.kind, "")
        yield harmless(column.title + unit)
        if column.beside:
            yield harmless(column.beside)


def _fields(table: Table, row: Row) -> Iterator[str | int | Decimal]:
    for column, cell in table.cells(row):
        yield _field(column, cell.value)
        if column.beside:
            yield harmless(cell.beside)


def _field(column: Column, value: Value) -> str | int | Decimal:
    match value:
        case None:
            return ""
        case str():
            return harmless(value)
        case _ if column.kind in ("time", "minute"):
            return f"{utc_second(float(value)).replace(' ', 'T')}Z"
        case _ if column.kind == "day":
            return utc_second(float(value))[:10]
        case _ if column.kind == "percent":
            return rounded_percent(Decimal(str(value)), 100, column.decimals)
        case float():
            return Decimal(repr(value))
    return value
