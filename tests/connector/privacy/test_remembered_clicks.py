"""Remembered clicks are erased and exported with their person, and go with their store, on both databases."""

import hashlib
import json
import threading
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from connector.core.event import DataRequest
from connector.core.store import MatchingSettings
from connector.mapping import hashing
from connector.privacy.data_subject import data_subject_of
from connector.privacy.erasure import Erasure
from connector.privacy.export import exported
from connector.privacy.lookup import PersonalDataLookup
from connector.privacy.retention import RetentionJob, RetentionPolicy, RetentionStore
from connector.signals.click_memory import MOST_FOUND
from connector.storage.tables import clicks, events
from tests.support.clicks import DAY, PIXEL, START, Shops, remembering
from tests.support.erasure_bench import ACME, ANN, BEANS, BOB, Bench

BOTH = {"ttclid": "E.C.P.first", "ttp": "01ARZ3NDEKTSV4RRFFQ69G5FAV.tt.1"}
REMEMBERING = replace(ACME, matching=MatchingSettings(remember_clicks=timedelta(days=28)))
ANNS, BOBS = {"landing_site": "/?ttclid=E.C.P.ann"}, {"landing_site": "/?ttclid=E.C.P.bob"}


@pytest.fixture
def shops(engine):
    return Shops(engine)


def housekeeping(shops):
    policy = RetentionPolicy(payloads=7 * DAY, ledger=90 * DAY, parked=14 * DAY)
    keeper = RetentionStore(shops.database)
    RetentionJob(keeper, policy, shops.stores, "me", clock=lambda: shops.now).round(threading.Event())


def find(shops, store="acme", **person):
    request = DataRequest("erase_person", **person)
    lookup = PersonalDataLookup(shops.database, shops.stores)
    return lookup.find(store, data_subject_of(request, shops.stores[store]))


def erase(shops, store="acme", **person):
    Erasure(shops.database).erase(store, find(shops, store, **person), shops.now)


@pytest.mark.parametrize(
    "person",
    [
        {"emails": ("Ada@example.com",)},
        {"phones": ("+12025550173",)},
        {"customer_id": "8"},
        {"order_ids": ("1",)},
    ],
)
def test_a_person_s_clicks_are_erased_by_whatever_names_them(shops, person):
    """Weeks later, when no event has a payload any more; nobody else's go."""
    shops.order(1, **BOTH, phone="+12025550173", customer=8)
    shops.order(2, email="eve@example.com", ttclid="E.C.P.eve")
    erase(shops, order_ids=("none",))
    shops.sent().after(20)
    housekeeping(shops)
    assert shops.remembered() == ["E.C.P.eve", "E.C.P.first"]
    erase(shops, **person)
    assert shops.remembered() == ["E.C.P.eve"]
    (gone,) = [row for row in shops.rows(clicks) if not row.ttclid]
    assert (gone.email, gone.phone, gone.external_id, gone.ttp) == (None, None, None, "")
    shops.order(3)
    assert shops.keys(3) == {}


def test_all_of_an_address_that_everybody_uses_are_erased(shops):
    """A webhook reads at most MOST_FOUND of them; an erasure reads all, and those of the persons that they name."""
    row = dict.fromkeys(("email", "phone", "external_id")) | {"store": "acme", "pixel": PIXEL.code, **BOTH}
    row |= {"given_at": shops.now, "until": shops.now + DAY, "email": bytes.fromhex(hashing.email("till@example.com"))}
    rows = [
        row | {"object_key": f"order:{n}", "phone": hashlib.sha256(b"%d" % n).digest() if n % 2 else None}
        for n in range(MOST_FOUND + 2)
    ]
    with shops.database.write() as connection:
        connection.execute(sa.insert(clicks), rows)
    erase(shops, emails=("till@example.com",))
    assert not [row for row in shops.rows(clicks) if row.email or row.phone or row.ttclid or row.ttp]


def test_a_later_webhook_brings_nothing_back(shops):
    """The erased order is paid: what it brings itself is new data of the shop's, but is not remembered."""
    shops.order(1, **BOTH, paid=False)
    erase(shops, emails=("ada@example.com",))
    shops.after(1).order(1, **BOTH, placed=START)
    shops.after(1).order(2)
    assert (shops.keys(1), shops.keys(2)) == (BOTH, {})
    shops.sent().after(8)
    housekeeping(shops)
    shops.order(3)
    assert (shops.keys(3), shops.rows(clicks)) == ({}, [])


def test_another_shop_s_queue_loses_it_too(engine):
    """It got the key by the pixel they share; its own memory stays its own."""
    shops = Shops(engine, remembering("acme"), remembering("beans"))
    shops.order(1, **BOTH)
    shops.after(1).order(2, store="beans")
    shops.after(1).order(3, ttclid="E.C.P.beans", store="beans")
    erase(shops, emails=("ada@example.com",))
    assert shops.keys(2, store="beans") == {}
    assert shops.remembered() == ["E.C.P.beans"]


def test_another_shop_s_queue_loses_it_even_after_the_memory_s_time(engine):
    """Its event waits longer, for its pixel is refused; where the key came from is no longer on record."""
    shops = Shops(engine, remembering("acme", 14), remembering("beans"))
    shops.order(1, **BOTH)
    shops.sent().after(1).order(2, store="beans")
    shops.order(3, email="eve@example.com", store="beans")
    shops.after(14)
    housekeeping(shops)
    assert shops.remembered() == []
    assert shops.keys(2, store="beans") == BOTH
    erase(shops, emails=("eve@example.com",))
    assert shops.keys(2, store="beans") == BOTH
    assert find(shops, emails=("ada@example.com",)).recalled
    erase(shops, emails=("ada@example.com",))
    assert shops.keys(2, store="beans") == {}
    assert not find(shops, emails=("ada@example.com",)).recalled


def export(shops):
    """A line of each kind."""
    person = data_subject_of(DataRequest("export", emails=("ada@example.com",)), shops.stores["acme"])
    lookup = PersonalDataLookup(shops.database, shops.stores)
    lines = [json.loads(line) for line in exported(shops.database, lookup, "acme", person)]
    return {line["kind"]: line for line in lines}


def test_an_export_has_them(shops):
    """In plain text, with the time; not those that were erased."""
    shops.order(1, **BOTH)
    assert "remembered_until" in export(shops)["event"]
    shops.sent().after(8)
    housekeeping(shops)
    click = export(shops)["click"]
    assert click.pop("given_at") < click.pop("until")
    assert click == {"kind": "click", "store": "acme", "pixel": PIXEL.code, "object_key": "order:1", **BOTH}
    erase(shops, emails=("ada@example.com",))
    assert "click" not in export(shops)


def test_all_of_a_store_goes(engine):
    """And another store's stay."""
    shops = Shops(engine, remembering("acme"), remembering("beans"))
    shops.order(1, **BOTH)
    shops.order(2, ttclid="E.C.P.beans", store="beans")
    shops.sent().after(8)
    housekeeping(shops)
    erasure = Erasure(shops.database)
    assert erasure.count_store("acme", shops.now)["remembered clicks"] == 1
    assert erasure.erase_store("acme", shops.now, shops.now, lambda: None)["remembered clicks"] == 1
    assert [row.store for row in shops.rows(clicks)] == ["beans"]


def test_a_store_that_leaves_early_takes_its_clicks_along(engine):
    """They are in its events still."""
    shops = Shops(engine, remembering("acme"), remembering("beans"))
    shops.order(1, **BOTH)
    shops.after(1).order(2, store="beans")
    Erasure(shops.database).erase_store("acme", shops.now, shops.now, lambda: None)
    assert (shops.remembered(), shops.keys(2, store="beans")) == ([], {})


def remembered(bench):
    payloads = [json.loads(row.payload) for row in bench.rows(events) if row.clicked_at and row.payload]
    return sorted(payload["user"]["ttclid"] for payload in payloads)


class TestShopify:
    """The compliance topics of Shopify."""

    @pytest.fixture
    def bench(self, engine):
        bench = Bench(engine)
        bench.serve({"acme": REMEMBERING, "beans": BEANS})
        bench.take("orders/create", ANN, REMEMBERING, **ANNS)
        bench.take("orders/create", BOB, REMEMBERING, **BOBS)
        assert remembered(bench) == ["E.C.P.ann", "E.C.P.bob"]
        return bench

    def test_customers_redact(self, bench):
        """The person's go, within a minute."""
        bench.take("customers/redact", ANN)
        bench.erase()
        assert remembered(bench) == ["E.C.P.bob"]

    def test_shop_redact(self, bench):
        """All go."""
        bench.now += timedelta(seconds=2 * DAY)
        bench.take("shop/redact", ANN)
        bench.erase()
        assert remembered(bench) == []
