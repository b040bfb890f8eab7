"""Customers who are returning because an earlier order of theirs is on record, on both databases."""

import json

import pytest

from connector.core.event import DataRequest
from connector.core.store import MatchingSettings
from connector.privacy.data_subject import data_subject_of
from connector.privacy.erasure import Erasure
from connector.privacy.lookup import PersonalDataLookup
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
