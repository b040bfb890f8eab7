"""connector.funnel.bounds: what a store's orders show."""

from decimal import Decimal

import msgspec
import sqlalchemy as sa

from connector.core.units import DAY
from connector.funnel.bounds import Bounds, BoundsStore, KnownBounds
from connector.outbox.outbox import Outbox
from connector.storage.tables import events, funnel_bounds
from tests.support.outbox_rows import decision, mapped

NOW = 1_790_000_000.0


def order(database, number, value, *contents, store="acme", currency="USD", key="order"):
    """An order's event in the outbox; contents are (content_id, price, quantity)."""
    rows = [{"content_id": name, "price": price, "quantity": quantity} for name, price, quantity in contents]
    properties = {"currency": currency, "value": Decimal(value), "contents": rows}
    record(
        database,
        f"{key}:{number}",
        msgspec.json.Encoder(decimal_format="number").encode({"properties": properties}),
        store,
    )


def record(database, key, payload, store="acme"):
    event = mapped(f"{store}-{key}", object_key=key, payload=payload)
    Outbox(database).record(decision(f"{store} {key}", event, store=store))


def test_the_greatest_of_each_amount_by_currency(database):
    bounds = BoundsStore(database)
    order(database, 1, "80.50", ("40012345678901", 40.25, 2))
    order(database, 2, "30", ("400", 10, 3))
    order(database, 3, "70", ("SKU-1", 70, 1), currency="EUR")
    order(database, 4, "9999", ("1", 9999, 1), store="beans")
    assert bounds.update(["acme"], NOW) == 3
    found = bounds.read(NOW)
    assert found == {
        "acme": {
            "USD": Bounds(Decimal("80.5"), Decimal("40.25"), 3, 14, True),
            "EUR": Bounds(Decimal(70), Decimal(70), 1, 5, False),
        }
    }


def test_each_order_is_read_once_and_a_new_store_from_the_beginning(database):
    bounds = BoundsStore(database)
    order(database, 1, "80", ("1", 80, 1))
    order(database, 2, "50", ("1", 50, 1), store="beans")
    assert bounds.update(["acme"], NOW) == 1
    assert bounds.update(["acme"], NOW) == 0
    order(database, 3, "90", ("1", 90, 1))
    assert bounds.update(["acme"], NOW) == 1
    assert bounds.update(["acme", "beans"], NOW) == 3
    assert bounds.read(NOW)["beans"]["USD"].value == 50
    assert bounds.update([], NOW) == 0


def test_events_that_are_no_orders_are_read_once_too(database):
    """A store without orders does not read those of all others every minute."""
    bounds = BoundsStore(database)
    order(database, 1, "80", ("1", 80, 1), store="beans")
    assert bounds.update(["acme"], NOW) == 0
    with database.read() as connection:
        upto = connection.execute(sa.select(funnel_bounds.c.upto)).scalars().all()
        last = connection.execute(sa.select(sa.func.max(events.c.id))).scalar()
    assert upto == [last]
    assert bounds.update(["acme"], NOW) == 0
    assert bounds.read(NOW) == {}


def test_only_orders_count_and_only_for_a_quarter(database):
    """A checkout can be begun by anybody."""
    bounds = BoundsStore(database)
    order(database, 1, "800", ("1", 800, 1), key="checkout")
    order(database, 2, "20", ("1", 20, 1))
    bounds.update(["acme"], NOW)
    known = KnownBounds(database, clock=lambda: NOW)
    assert known.of("acme") == {}
    known.refresh()
    assert known.of("acme")["USD"].value == 20
    assert bounds.read(NOW + 89 * DAY)
    assert bounds.read(NOW + 92 * DAY) == {}
    assert bounds.forget(NOW + 89 * DAY) == 0
    assert bounds.forget(NOW + 95 * DAY) == 1
    assert bounds.update(["acme"], NOW + 95 * DAY) == 0


def test_a_payload_without_amounts_teaches_nothing(database):
    record(database, "order:1", b'{"properties":{"contents":"x"}}')
    record(database, "order:2", b"\xff")
    BoundsStore(database).update(["acme"], NOW)
    assert BoundsStore(database).read(NOW) == {}
