"""Tables as CSV: every text survives, none is a formula, and the file has what the page has."""

import csv
import io
from decimal import Decimal

from hypothesis import example, given
from hypothesis import strategies as st

from connector.dashboard.tables import ROWS_PER_CHUNK, Cell, Column, Table, csv_chunks, harmless
from tests.support.rows import each_row

COLUMNS = (Column("order", beside="store"), Column("sum", "number"))
FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠", "\t", "\r", "\n")
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
STARTS = ["=", "+1", "-2", "@SUM(A1)", "'", "''=", " =", "\t=", ',;"=', "＝1"]
NASTY = st.builds(str.__add__, st.sampled_from(STARTS), TEXTS)
NUMBERS = st.integers() | st.decimals(allow_nan=False, allow_infinity=False)


def read(table: Table) -> list[list[str]]:
    text = "".join(csv_chunks(table))
    assert text.startswith("\ufeff")
    return [*csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""))]


def plain(text: str) -> str:
    """A text as it was: without the apostrophe that keeps it from being a formula."""
    return text.removeprefix("'")


@given(st.lists(st.tuples(TEXTS | NASTY, TEXTS | NASTY, NUMBERS)))
@example([('=HYPERLINK("http://evil.example")', "'quoted'", Decimal("-1.50"))])
def test_any_text_survives_and_none_is_a_formula(rows: list[tuple[str, str, Decimal]]) -> None:
    """In cells and beside them; numbers stay numbers, negative ones too."""
    table = Table("orders", "Orders", COLUMNS, [(Cell(name, beside=store), number) for name, store, number in rows])
    head, *found = read(table)
    assert head == ["order", "store", "sum"]
    assert [(plain(name), plain(store), Decimal(number)) for name, store, number in found] == rows
    for name, store, _ in found:
        assert not name.lstrip().startswith(FORMULA)
        assert not store.lstrip().startswith(FORMULA)


@given(TEXTS | NASTY)
def test_a_harmless_text_leads_back_to_one_only(text: str) -> None:
    """No two texts become the same."""
    assert plain(harmless(text)) == text


@each_row(
    ("kind", "value", "written"),
    [
        ("time", 1_780_000_000.9, "2026-05-28T20:26:40Z"),
        ("minute", 1_780_000_000.9, "2026-05-28T20:26:40Z"),
        ("day", 1_779_926_400, "2026-05-28"),
        ("percent", 97.5, "97.50"),
        ("number", Decimal("-12.30"), "-12.30"),
        ("number", 12_000, "12000"),
        ("text", None, ""),
        ("number", None, ""),
    ],
)
def test_how_values_are_written(kind, value, written):
    """For programs: no thousands separators, no signs of units; the heading has them."""
    head, row = read(Table("t", "T", [Column("x", kind, decimals=2)], [(value,)]))
    assert row == [written]
    assert head == [{"time": "x, UTC", "minute": "x, UTC", "percent": "x, %"}.get(kind, "x")]


def test_the_file_has_all_rows_and_is_made_as_it_is_read():
    """The page shows the first; of the others no more are read ahead than a chunk."""
    read_so_far = []

    def numbers():
        for number in range(10 * ROWS_PER_CHUNK):
            read_so_far.append(number)
            yield (number,)

    table = Table("t", "T", [Column("n", "number")], [(0,)], all_rows=numbers)
    chunks = csv_chunks(table)
    next(chunks)
    assert len(read_so_far) <= ROWS_PER_CHUNK
    assert sum(chunk.count("\r\n") for chunk in chunks) == 9 * ROWS_PER_CHUNK


def test_a_grouped_table_names_each_group_once():
    """Forty rows of five stores are read store by store; the file keeps the store in each row."""
    rows = [
        (Cell("Purchase", beside="acme"), 1),
        (Cell("InitiateCheckout", beside="acme"), 2),
        (Cell("Purchase", beside="b"), 3),
    ]
    columns = [Column("event", beside="store"), Column("n", "number")]
    table = Table("t", "T", columns, rows, grouped=True)
    found = [(group, [(row[0].value, row[0].beside, row[1]) for row in of_group]) for group, of_group in table.groups()]
    assert found == [("acme", [("Purchase", "", 1), ("InitiateCheckout", "", 2)]), ("b", [("Purchase", "", 3)])]
    assert [*Table("t", "T", columns, rows).groups()] == [("", rows)]
    assert [row[1] for row in read(table)[1:]] == ["acme", "acme", "b"]
