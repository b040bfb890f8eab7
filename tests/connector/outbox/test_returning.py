"""Customers who are returning because an earlier order of theirs is on record, on both databases."""

import json
from functools import partial

import pytest
import sqlalchemy as sa

from connector.core.event import DataRequest
from connector.core.store import MatchingSettings
from connector.outbox.returning import MOST_FOUND, mark_returning
from connector.privacy.data_subject import data_subject_of
from connector.privacy.erasure import Erasure
from connector.privacy.lookup import PersonalDataLookup
from connector.storage.tables import events
from tests.support.clicks import OTHER, PIXEL, Shops, remembering

RECOGNIZING = MatchingSettings(recognize_returning=True)


@pytest.fixture
def shops(engine):
    return Shops(engine, remembering(matching=RECOGNIZING))


def customer_type(shops, number, event="Purchase", **where):
    return json.loads(shops.event(number, event, **where).payload)["properties"].get("customer_type")


def test_an_earlier_order_makes_a_customer_returning(shops):
    """Nothing is said of the first: it may be the first that we know, and not the person's."""
    shops.order(1)
    shops.after(1).order(2)
    assert customer_type(shops, 1) is customer_type(shops, 1, "PlaceAnOrder") is None
    assert customer_type(shops, 2) == customer_type(shops, 2, "PlaceAnOrder") == "returning"


@pytest.mark.parametrize("shared", [{"phone": "+12025550173"}, {"customer": 8}])
def test_any_hash_names_the_person(shops, shared):
    """Another e-mail, but the same phone or account."""
    shops.order(1, **shared)
    shops.after(1).order(2, email="work@example.org", **shared)
    shops.order(3, email="eve@example.com")
    assert (customer_type(shops, 2), customer_type(shops, 3)) == ("returning", None)


def test_an_order_is_not_its_own_predecessor(shops):
    """It was placed, and is paid three weeks later."""
    shops.order(1, paid=False)
    shops.after(1).order(1, placed=shops.now - 86_400)
    assert customer_type(shops, 1) is None


def test_a_later_order_is_no_predecessor(shops):
    """An old order that is fetched from the history."""
    shops.after(1).order(2)
    shops.order(1, placed=shops.now - 86_400, paid=False)
    assert customer_type(shops, 1, "PlaceAnOrder") is None


def test_what_the_shop_says_counts(shops):
    """It knows more than we do."""
    shops.order(1)
    shops.after(1).order(2, meta={"_tiktok_customer_type": "new"})
    assert customer_type(shops, 2) == "new"


def test_checkouts_and_other_shops_are_no_orders(engine):
    """A customer returns to the shop where they bought."""
    shops = Shops(engine, remembering("acme", matching=RECOGNIZING), remembering("beans", matching=RECOGNIZING))
    shops.checkout("token-0000001", email="ada@example.com")
    shops.order(1, store="beans")
    shops.after(1).order(2)
    assert customer_type(shops, 2) is None


def test_an_erased_customer_is_not_recognized(shops):
    """The hashes are gone."""
    shops.order(1)
    store = shops.stores["acme"]
    person = data_subject_of(DataRequest("erase_person", emails=("ada@example.com",)), store)
    Erasure(shops.database).erase(
        "acme", PersonalDataLookup(shops.database, shops.stores).find("acme", person), shops.now
    )
    shops.after(1).order(2)
    assert customer_type(shops, 2) is None


def test_without_the_setting_nothing_is_looked_up(engine):
    """Off by default."""
    shops = Shops(engine, remembering(matching=MatchingSettings()))
    shops.order(1)
    shops.after(1).order(2)
    assert customer_type(shops, 2) is None


def test_every_pixel_is_told(engine):
    """The same of the same order."""
    shops = Shops(engine, remembering(matching=RECOGNIZING, pixels=(PIXEL, OTHER)))
    shops.order(1)
    shops.after(1).order(2)
    assert customer_type(shops, 2) == customer_type(shops, 2, pixel=OTHER) == "returning"


def test_two_orders_of_one_transaction(shops, monkeypatch):
    """The webhooks of a burst are stored together."""
    decisions, record = [], shops.outbox.record
    monkeypatch.setattr(shops.outbox, "record", lambda decision: decisions.append(decision) or 1)
    shops.order(1)
    shops.after(1).order(2)
    monkeypatch.setattr(shops.outbox, "record", record)
    shops.outbox.record_all(decisions)
    assert (customer_type(shops, 1), customer_type(shops, 2)) == (None, "returning")


def test_an_address_that_everybody_uses_costs_no_more(sqlite_engine):
    """A till's e-mail: of MOST_FOUND events with one hash no more are read, in steps of SQLite's."""
    shops = Shops(sqlite_engine, remembering(matching=RECOGNIZING))
    shops.after(1).order(1)
    row = {name: value for name, value in shops.event(1)._mapping.items() if name != "id"}
    steps = []
    for number in range(3):
        many = range(number * MOST_FOUND, (number + 1) * MOST_FOUND)
        with sqlite_engine.begin() as connection:
            connection.execute(
                sa.insert(events), [row | {"event_id": f"n{n}", "object_key": f"order:n{n}"} for n in many]
            )
        taken = [0]
        with shops.database.write() as connection:
            new = row | {"object_key": "order:new", "occurred_at": row["occurred_at"] - 1}
            connection.connection.driver_connection.set_progress_handler(partial(count, taken), 100)
            mark_returning(connection, [new], [new])
            connection.connection.driver_connection.set_progress_handler(None, 100)
        assert "customer_type" not in json.loads(new["payload"])["properties"]
        steps.append(taken[0])
    assert steps[2] <= steps[0] * 1.2, steps
    shops.after(1).order(2)
    assert customer_type(shops, 2) == "returning"


def count(taken):
    taken[0] += 1
    return 0


def test_many_orders_of_one_transaction(shops, monkeypatch):
    """Each is compared with those before it; the first has none."""
    decisions, record = [], shops.outbox.record
    monkeypatch.setattr(shops.outbox, "record", lambda decision: decisions.append(decision) or 1)
    for number in range(1, 41):
        shops.after(0.01).order(number, email="ada@example.com" if number != 3 else "eve@example.com")
    monkeypatch.setattr(shops.outbox, "record", record)
    shops.outbox.record_all(decisions[::-1])
    assert [number for number in range(1, 41) if not customer_type(shops, number)] == [1, 3]


def test_many_orders_of_many_persons(shops, monkeypatch):
    """More than one query asks for."""
    decisions, record = [], shops.outbox.record
    for number in range(100):
        if number == 50:
            monkeypatch.setattr(shops.outbox, "record", lambda decision: decisions.append(decision) or 1)
        shops.after(0.01).order(number + 1, email=f"ada{number % 50 or 99}@example.com")
    monkeypatch.setattr(shops.outbox, "record", record)
    shops.outbox.record_all([*decisions[1:], decisions[0]])
    found = {
        number: json.loads(shops.event(number).payload)["properties"].get("customer_type")
        for number in (2, 51, 52, 100)
    }
    assert found == {2: None, 51: "returning", 52: "returning", 100: "returning"}
