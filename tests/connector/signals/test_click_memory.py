"""A customer's last click: whom it reaches, and when it must be gone, on both databases."""

import threading
from dataclasses import replace

import pytest
import sqlalchemy as sa

from connector.core.store import MatchingSettings
from connector.privacy.retention import RetentionJob, RetentionPolicy, RetentionStore
from connector.storage.tables import clicks
from tests.support.clicks import ASKING, DAY, NO, OTHER, PIXEL, START, YES, Shops, remembering

CLICK, COOKIE = "E.C.P.first", "01ARZ3NDEKTSV4RRFFQ69G5FAV.tt.1"
BOTH = {"ttclid": CLICK, "ttp": COOKIE}


@pytest.fixture
def shops(engine):
    return Shops(engine)


def housekeeping(shops):
    policy = RetentionPolicy(payloads=7 * DAY, ledger=90 * DAY, parked=14 * DAY)
    keeper = RetentionJob(RetentionStore(shops.database), policy, shops.stores, "me", clock=lambda: shops.now)
    return keeper.round(threading.Event())


class TestRecall:
    """An event without keys gets those that its person brought last."""

    def test_a_later_order_gets_the_last_click(self, shops):
        """By the e-mail, also on another device; the events say from when each key is."""
        shops.order(1, **BOTH)
        shops.after(3).order(2)
        assert shops.keys(2) == shops.keys(2, "PlaceAnOrder") == BOTH
        row = shops.event(2)
        assert (row.ttclid_from, row.ttp_from) == (START, START)
        first = shops.event(1)
        assert (first.ttclid_from, first.ttp_from) == (None, None)

    @pytest.mark.parametrize("shared", [{"phone": "+12025550173"}, {"customer": 8}])
    def test_any_hash_names_the_person(self, shops, shared):
        """Another e-mail, but the same phone or customer id."""
        shops.order(1, **BOTH, **shared)
        shops.after(1).order(2, email="work@example.org", **shared)
        assert shops.keys(2) == BOTH

    def test_a_checkout_and_a_registration_bring_keys_too(self, shops):
        """A click at the checkout, an order from a link in an e-mail days later."""
        shops.checkout("token-0000001", email="ada@example.com", **BOTH)
        shops.after(2).order(2)
        assert shops.keys(2) == BOTH

    def test_the_order_s_own_click_wins_and_is_the_last_from_then_on(self, shops):
        """Its landing page names another click: nothing replaces it. Only what is absent is filled."""
        shops.order(1, **BOTH)
        landing = {"_wc_order_attribution_session_entry": "https://acme.example/?ttclid=E.C.P.second"}
        shops.after(1).order(2, meta=landing)
        assert shops.keys(2) == {"ttclid": "E.C.P.second", "ttp": COOKIE}
        assert (shops.event(2).ttclid_from, shops.event(2).ttp_from) == (None, START)
        shops.after(1).order(3)
        assert shops.keys(3) == {"ttclid": "E.C.P.second", "ttp": COOKIE}

    def test_a_remembered_key_is_not_remembered_again(self, shops):
        """It would live for ever; it ends 28 days after it was given."""
        shops.order(1, **BOTH)
        shops.after(20).order(2)
        shops.after(9).order(3)
        assert (shops.keys(2), shops.keys(3)) == (BOTH, {})

    def test_a_click_after_the_order_did_not_cause_it(self, shops):
        """An old order that is fetched from the history after a newer one."""
        shops.after(2).order(2, **BOTH)
        shops.order(1, placed=START)
        assert shops.keys(1, "PlaceAnOrder") == {}

    @pytest.mark.parametrize("changes", [{"created_via": "subscription"}])
    def test_a_renewal_has_no_click(self, engine, changes):
        """It neither gets one nor brings one, whatever was copied into it."""
        store = remembering()
        shops = Shops(engine, replace(store, orders=replace(store.orders, include=("web", "renewal"))))
        shops.order(1, ttclid="E.C.P.copied", **changes)
        shops.order(2, ttclid=CLICK)
        shops.after(1).order(3, **changes)
        assert (shops.remembered(), shops.keys(3)) == ([CLICK], {})

    def test_without_the_setting_nothing_is_kept(self, engine):
        """Not a row, and nothing is looked up."""
        shops = Shops(engine, replace(remembering(), matching=MatchingSettings()))
        shops.order(1, **BOTH)
        shops.after(1).order(2)
        assert (shops.rows(clicks), shops.keys(2)) == ([], {})
        assert {row.clicked_at for row in shops.rows()} == {None}

    def test_two_orders_of_one_transaction(self, shops, monkeypatch):
        """The webhooks of a burst are stored together; the later order sees the earlier one."""
        decisions, record = [], shops.outbox.record
        monkeypatch.setattr(shops.outbox, "record", lambda decision: decisions.append(decision) or 1)
        shops.order(1, **BOTH)
        shops.after(1).order(2)
        monkeypatch.setattr(shops.outbox, "record", record)
        shops.outbox.record_all(decisions)
        assert shops.keys(2) == BOTH

    def test_ip_and_browser_are_never_remembered(self, shops):
        """They belong to a device, not to a person."""
        shops.order(1, **BOTH, customer_ip_address="198.51.99.7", customer_user_agent="Mozilla/5.0")
        shops.after(1).order(2)
        assert b"198.51.99.7" not in shops.event(2).payload
        assert b"Mozilla" not in shops.event(2).payload


class TestScope:
    """Never another person's, never another pixel's."""

    def test_another_person_gets_nothing(self, shops):
        """Neither with another address nor with none."""
        shops.order(1, **BOTH, phone="+12025550173", customer=8)
        shops.after(1).order(2, email="eve@example.com", phone="+12025550174", customer=9)
        shops.order(3, email="")
        assert shops.keys(2) == {}

    def test_stores_share_what_came_to_a_pixel_they_share(self, engine):
        """One advertiser's two shops; an event to their other pixel goes without."""
        shops = Shops(engine, remembering("acme"), remembering("beans", pixels=(PIXEL, OTHER)))
        shops.order(1, **BOTH)
        shops.after(1).order(2, store="beans")
        assert shops.keys(2, store="beans") == BOTH
        assert shops.keys(2, pixel=OTHER, store="beans") == {}

    def test_stores_without_a_common_pixel_share_nothing(self, engine):
        """Two merchants on one server."""
        shops = Shops(engine, remembering("acme"), remembering("beans", pixels=(OTHER,)))
        shops.order(1, **BOTH)
        shops.after(1).order(2, store="beans")
        assert shops.keys(2, pixel=OTHER, store="beans") == {}

    def test_customer_8_of_another_shop_is_somebody_else(self, engine):
        """Shops number their customers alike, so the hash of an external_id counts in its own store only."""
        shops = Shops(engine, remembering("acme"), remembering("beans"))
        shops.order(1, customer=8, **BOTH)
        shops.after(1).order(2, email="eve@example.com", customer=8, store="beans")
        assert shops.keys(2, store="beans") == {}


class TestTime:
    """`remember_clicks`, and not a moment longer."""

    def test_a_key_is_used_until_its_time_is_over(self, engine):
        """Seven days here."""
        shops = Shops(engine, remembering(days=7))
        shops.order(1, **BOTH)
        shops.after(7 - 0.001).order(2)
        shops.after(0.002).order(3)
        assert (shops.keys(2), shops.keys(3)) == (BOTH, {})

    def test_housekeeping_deletes_it(self, shops):
        """Also if nobody ever came back; after the payload it is in a table of its own."""
        shops.order(1, **BOTH)
        shops.sent().after(8)
        assert housekeeping(shops)["payloads erased"] == 2
        assert {row.payload for row in shops.rows()} == {None}
        (row,) = shops.rows(clicks)
        assert (row.ttclid, row.ttp, row.given_at, row.until) == (CLICK, COOKIE, START, START + 28 * DAY)
        shops.order(2)
        assert shops.keys(2) == BOTH
        shops.after(19.9)
        assert housekeeping(shops)["clicks forgotten"] == 0
        shops.after(0.2)
        assert housekeeping(shops)["clicks forgotten"] == 1
        assert shops.rows(clicks) == []

    def test_a_remembered_key_is_not_moved(self, shops):
        """Only an event's own keys outlast its payload."""
        shops.order(1, **BOTH)
        shops.after(1).order(2, ttclid="E.C.P.second")
        shops.sent().after(8)
        housekeeping(shops)
        assert sorted((row.ttclid, row.ttp) for row in shops.rows(clicks)) == [(CLICK, COOKIE), ("E.C.P.second", "")]

    def test_housekeeping_deletes_what_a_wrong_clock_wrote(self, shops):
        """It would be kept for years."""
        shops.after(3000).order(1, **BOTH)
        shops.sent().after(8)
        housekeeping(shops)
        shops.after(-3008)
        assert housekeeping(shops)["clicks forgotten"] == 1

    def test_switched_off_means_forgotten(self, shops):
        """At the next round of housekeeping."""
        shops.order(1, **BOTH)
        shops.sent().after(8)
        housekeeping(shops)
        shops.stores["acme"] = replace(shops.stores["acme"], matching=MatchingSettings())
        assert housekeeping(shops)["clicks of acme forgotten"] == 1
        assert shops.rows(clicks) == []

    def test_an_order_paid_later_brought_its_click_when_it_was_placed(self, shops):
        """A bank transfer three weeks later does not make the click younger."""
        shops.order(1, **BOTH, paid=False)
        shops.after(21).order(1, **BOTH, placed=START)
        shops.after(8).order(2)
        assert shops.keys(2) == {}


class TestConsent:
    """Only what was given under consent, and nothing after a no."""

    @pytest.fixture
    def asking(self, engine):
        return Shops(engine, remembering(**ASKING))

    def test_a_yes_is_needed_for_both(self, asking):
        """Neither a no nor silence gives or gets anything."""
        asking.order(1, **BOTH)
        asking.order(2, **BOTH, meta=NO)
        assert asking.remembered() == []
        asking.order(3, **BOTH, meta=YES)
        asking.after(1).order(4, meta=YES)
        assert asking.keys(4) == BOTH

    @pytest.mark.parametrize("known_by", [{}, {"email": "work@example.org", "phone": "+12025550173"}])
    def test_a_later_no_erases_what_was_remembered(self, asking, known_by):
        """By any hash; a later yes does not bring it back."""
        asking.order(1, **BOTH, phone="+12025550173", meta=YES)
        asking.after(1).order(2, meta=NO, **known_by)
        assert asking.remembered() == []
        assert {row.clicked_at for row in asking.rows()} == {0.0}
        asking.after(1).order(3, meta=YES)
        assert asking.keys(3) == {}

    def test_a_no_weeks_later(self, asking):
        """When the payload is gone and the key is in the table; the paid order does not bring it back."""
        asking.order(1, **BOTH, meta=YES, paid=False)
        asking.sent().after(8)
        housekeeping(asking)
        assert asking.remembered() == [CLICK]
        asking.order(2, meta=NO)
        (row,) = asking.rows(clicks)
        assert (row.ttclid, row.ttp, row.email) == ("", "", None)
        asking.after(1).order(1, **BOTH, meta=YES, placed=START)
        asking.after(1).order(3, meta=YES)
        assert asking.keys(3) == {}

    def test_a_no_reaches_every_click_of_the_person(self, asking):
        """One order named the phone, another one only the phone: the e-mail of the first connects them."""
        asking.order(1, ttclid="E.C.P.one", phone="+12025550173", meta=YES)
        asking.order(2, ttclid="E.C.P.two", email="", phone="+12025550173", meta=YES)
        asking.after(1).order(3, meta=NO)
        assert asking.remembered() == []

    def test_an_old_yes_does_not_come_back(self, asking):
        """The order of before the no is paid after it, by bank transfer, and its body has the click still."""
        asking.order(1, **BOTH, meta=YES, paid=False)
        asking.after(1).order(2, meta=NO)
        asking.after(1).order(1, **BOTH, meta=YES, placed=START)
        assert asking.keys(1) == BOTH  # its own
        asking.after(1).order(3, meta=YES)
        assert asking.keys(3) == {}

    def test_a_new_yes_counts_even_if_the_old_no_is_repeated(self, asking):
        """The shop updates the order of the no for weeks: that is no later no."""
        asking.order(1, meta=NO)
        asking.after(1).order(2, ttclid="E.C.P.new", meta=YES)
        asking.after(1).order(1, meta=NO, placed=START)
        asking.after(1).order(3, meta=YES)
        assert asking.keys(3) == {"ttclid": "E.C.P.new"}

    def test_an_order_that_says_no_after_a_yes(self, asking):
        """Its own click is forgotten, too."""
        asking.order(1, **BOTH, meta=YES, paid=False)
        asking.after(1).order(1, **BOTH, meta=NO, placed=START)
        assert asking.remembered() == []

    def test_a_no_counts_where_none_is_asked(self, engine):
        """The shop relays without consent, but this shopper said no."""
        shops = Shops(engine, remembering(consent_source=ASKING["consent_source"]))
        shops.order(1, **BOTH)
        shops.after(1).order(2, meta=NO)
        assert shops.remembered() == []

    def test_a_no_of_an_order_that_is_left_out_counts(self, asking):
        """The order is excluded for another reason; the no is heard."""
        asking.order(1, **BOTH, meta=YES)
        asking.after(1).order(2, meta=NO, created_via="admin")
        assert asking.remembered() == []

    def test_a_no_empties_the_queue(self, asking):
        """An event that waits, for a day if TikTok is away, loses its remembered keys; its own stay."""
        asking.order(1, ttclid=CLICK, meta=YES)
        asking.after(1).order(2, ttp=COOKIE, meta=YES)
        assert asking.keys(2) == BOTH
        asking.after(0.1).order(3, meta=NO)
        assert asking.keys(2) == {"ttp": COOKIE}
        assert asking.event(2).ttclid_from is None
        assert asking.keys(1) == {"ttclid": CLICK}

    def test_a_no_reads_only_what_is_about_the_person(self, sqlite_engine):
        """Whatever it lacks: with an e-mail alone, all events of the pixel were read to find none by phone."""
        asking, steps = Shops(sqlite_engine, remembering(**ASKING)), []
        asking.order(1, **BOTH, meta=YES)

        def plan(connection, _cursor, statement, parameters, *_):
            if statement.startswith(("SELECT", "UPDATE", "DELETE")) and (
                "events" in statement or "clicks" in statement
            ):
                asked = connection.connection.cursor().execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
                steps.extend(row[-1] for row in asked.fetchall())

        sa.event.listen(sqlite_engine, "before_cursor_execute", plan)
        asking.after(1).order(2, meta=NO)
        sa.event.remove(sqlite_engine, "before_cursor_execute", plan)
        assert asking.remembered() == []
        assert "SEARCH events USING INDEX events_email (email=?)" in steps
        assert [step for step in steps if step.startswith("SCAN") or "(pixel=?)" in step] == []

    def test_a_no_in_one_shop_counts_for_the_pixel(self, engine):
        """What another shop remembered for the same pixel goes, too."""
        shops = Shops(engine, remembering("acme", **ASKING), remembering("beans", **ASKING))
        shops.order(1, **BOTH, meta=YES)
        shops.after(1).order(2, meta=NO, store="beans")
        assert shops.remembered() == []
