"""connector.outbox.books and connector.monitoring.book_sums: single orders, refunds and sums."""

import random
from dataclasses import replace
from decimal import Decimal
from typing import Any

import hypothesis
import pytest
import sqlalchemy as sa
from hypothesis import strategies as st
from sqlalchemy import Engine

from connector.core.currencies import stored_amount
from connector.core.store import MappingSettings, Pixel
from connector.monitoring.book_sums import Books
from connector.outbox.books import MAX_REFUNDS, BookEntry, write_entries
from connector.storage.database import Database
from connector.storage.tables import events, ledger, orders, sold
from tests.support.book_world import STORES, World
from tests.support.factories import CODE, OTHER_CODE
from tests.support.order_lives import Life
from tests.support.outbox_rows import rows
from tests.support.platforms import PLATFORMS
from tests.support.rows import each_row
from tests.support.sample_bodies import NOW


def order(number: int, changed_at: float, remaining: int = 100, **changes: Any) -> BookEntry:
    return BookEntry(
        "acme", f"order:{number}", NOW.timestamp(), "USD", placed_at=1.0, changed_at=changed_at, remaining=remaining,
        **changes,
    )  # fmt: skip


def refund(number: int, name: str, amount: int, at: float) -> BookEntry:
    return BookEntry("acme", f"order:{number}", NOW.timestamp(), "USD", refund=(name, amount, at))


STEPS = [
    order(1, 10.0, 900, refund_ids=()),
    refund(1, "a", 300, 20.0),
    order(1, 21.0, 600, refund_ids=("a",)),
    refund(1, "b", 100, 30.0),
    order(1, 40.0, 500, refund_ids=("a", "b")),
]


@hypothesis.given(st.permutations([*range(5), *range(5)]), st.integers(0, 10))
def test_any_sequence_of_states_and_refunds_ends_alike(sqlite_engine: Engine, sequence: list[int], cut: int) -> None:
    """In two groups of webhooks, each stored in one transaction."""
    with sqlite_engine.connect() as connection:
        for group in (sequence[:cut], sequence[cut:]):
            write_entries(connection, [STEPS[step] for step in group])
        row = connection.execute(sa.select(orders)).one()
        connection.rollback()
    assert (row.remaining, row.later, row.changed_at) == (500, 0, 40.0)


def test_a_late_refund_is_in_a_state_that_lists_none_but_not_in_one_that_lists_others(database: Database) -> None:
    """A shop that says which refunds are in its amounts is taken at its word."""

    def left(number: int, *entries: BookEntry) -> tuple[int, int]:
        with database.write() as connection:
            write_entries(connection, entries)
            row = connection.execute(sa.select(orders).where(orders.c.object_key == f"order:{number}")).one()
        return row.remaining, row.later

    assert left(1, order(1, 40.0, 900, refund_ids=None), refund(1, "a", 300, 20.0)) == (900, 0)
    assert left(1, refund(1, "b", 100, 50.0)) == (900, 100)
    assert left(2, order(2, 40.0, 900, refund_ids=()), refund(2, "a", 300, 20.0)) == (900, 300)
    assert left(2, order(2, 60.0, 900, refund_ids=()), refund(2, "a", 300, 20.0)) == (900, 300)


def test_a_refund_counts_before_and_not_after_the_order_that_includes_it(database: Database) -> None:
    def left(*entries: BookEntry) -> tuple[int, int]:
        with database.write() as connection:
            write_entries(connection, entries)
            row = connection.execute(sa.select(orders)).one()
        return row.remaining, row.later

    assert left(STEPS[0], STEPS[1]) == (900, 300)
    assert left(STEPS[1]) == (900, 300)
    assert left(replace_currency(STEPS[3], "EUR")) == (900, 300)
    assert left(STEPS[3]) == (900, 400)
    assert left(STEPS[2]) == (600, 100)
    assert left(STEPS[4], STEPS[2]) == (500, 0)
    assert left(STEPS[3]) == (500, 0)


def test_a_refund_without_a_later_body_is_in_the_sums_and_none_makes_a_cancelled_order_negative(engine: Engine) -> None:
    """A webhook of the order itself was lost: its refund counts alone; after a cancellation nothing more can go."""
    world = World(engine, STORES["shopify"])
    life = Life(world.store, random.Random(3), 1, "KWD")
    life.deliver("placed")
    life.later()
    life.refunds.append(life.step)
    life.deliver("refunded")
    for topic, body in life.bodies:
        if topic != "orders/updated":
            world.deliver(topic, body)
    world.send()
    (line,) = world.books()
    assert (line.net, line.refunded) == (int(life.left * 10_000), int(life.step * 10_000))

    refunds, life.refunds = life.refunds, []
    life.later()
    life.cancelled = True
    life.deliver("cancelled")
    world.deliver(*life.bodies[-2])
    life.refunds = [*refunds, life.step]
    life.later()
    life.deliver("refunded")
    world.deliver(*life.bodies[-2])
    (line,) = world.books()
    assert (line.net, line.cancelled, line.refunded, line.cancelled_orders) == (0, line.sent, 0, 1)
    (row,) = rows(engine, orders)
    assert row.later > 0


def replace_currency(entry: BookEntry, currency: str) -> BookEntry:
    return BookEntry(entry.store, entry.object_key, entry.seen_at, currency, refund=entry.refund)


def test_an_order_with_very_many_refunds_keeps_a_bounded_row(database: Database) -> None:
    with database.write() as connection:
        write_entries(connection, [order(1, 5.0, refund_ids=tuple(map(str, range(10_000))))])
        row = connection.execute(sa.select(orders)).one()
    assert len(row.refunds) < 20 * MAX_REFUNDS


@pytest.mark.parametrize("platform", sorted(STORES))
def test_without_books_nothing_is_kept_and_nothing_more_is_read(platform: str, engine: Engine) -> None:
    """The setting is off by default; an order's cancellation is ignored then, as before."""
    store = replace(STORES[platform], books=False)
    world = World(engine, store)
    life = Life(store, random.Random(1), 1, "USD").live()
    outcomes = {topic: world.deliver(topic, body) for topic, body in life.bodies}
    world.send()
    assert (rows(engine, orders), rows(engine, sold)) == ([], [])
    assert outcomes.get("refunds/create", "ignored") == "ignored"


def test_a_cancellation_and_a_refund_are_in_the_orders_story(engine: Engine) -> None:
    world = World(engine, STORES["shopify"])
    life = Life(world.store, random.Random(2), 1, "USD")
    life.deliver("placed")
    life.later()
    life.refunds.append(Decimal("1.00"))
    life.deliver("refunded")
    life.later()
    life.cancelled = True
    life.deliver("cancelled")
    for topic, body in life.bodies:
        world.deliver(topic, body)
    story = {row.topic: (row.outcome, row.reason, row.object_key) for row in rows(engine, ledger)}
    for topic in ("refunds/create", "orders/cancelled"):
        assert story[topic] == ("recorded", "noted in the books", "order:1001")


def test_a_fault_of_the_books_costs_no_event(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise KeyError("x")

    world = World(engine, STORES["shopify"])
    monkeypatch.setattr(type(PLATFORMS["shopify"]), "order_state", broken)
    life = Life(world.store, random.Random(1), 1, "USD")
    life.deliver("placed")
    assert world.deliver(*life.bodies[0]) == "relayed"
    assert (len(rows(engine, events)), rows(engine, orders)) == (1, [])


def test_a_value_without_tax_loses_its_share_of_a_refund(engine: Engine) -> None:
    store = replace(
        STORES["woocommerce"], mapping=MappingSettings(content_id="sku", value_excludes=("shipping",)),
        pixels=(Pixel(CODE, "token"), Pixel(OTHER_CODE, "token")),
    )  # fmt: skip
    world = World(engine, store)
    life = Life(store, random.Random(1), 1, "USD", total=Decimal(0))
    life.total, life.paid = Decimal("110.00"), True
    life.deliver("placed")
    life.later()
    life.refunds.append(Decimal("55.00"))
    life.deliver("refunded")
    for topic, body in life.bodies:
        world.deliver(topic, body)
    world.send()
    (row,) = rows(engine, orders)
    for line in world.books():
        assert line.net == row.remaining == line.sent / 2
    assert {line.pixel for line in world.books()} == {CODE, OTHER_CODE}


@each_row(
    ("amount", "expected"),
    [("12.345", 123_450), ("0", 0), ("-1.5", -15_000), ("NaN", None), ("1E+30", None), ("1E+11", 10**15), (None, None)],
)
def test_units(amount: str | None, expected: int | None) -> None:
    assert stored_amount(None if amount is None else Decimal(amount)) == expected


@pytest.mark.slow
def test_what_changed_is_listed_by_order(engine: Engine) -> None:
    world = World(engine, STORES["shopify"])
    lives = [Life(world.store, random.Random(n), n, "KWD").live() for n in range(1, 9)]
    for life in lives:
        for topic, body in life.bodies:
            world.deliver(topic, body)
    world.send()
    found = Books(world.database).changed("acme", 0, NOW.timestamp() + 1)
    value = {row.object_key: row.value for row in rows(engine, sold) if row.event == "Purchase"}
    expected = {
        f"#{life.number}": (int(life.left * 10_000), life.cancelled)
        for life in lives
        if value.get(f"order:{1000 + life.number}", life.left * 10_000) != life.left * 10_000
    }
    assert {one.order: (one.net, one.cancelled) for one in found if one.event == "Purchase"} == expected
    assert expected
