"""Where beacons meet webhooks, before, during and after, on both databases: what arrives at TikTok, and when."""

import threading
from dataclasses import replace

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from connector.mapping.filters import NOTHING_TO_MATCH as NOBODY_KNOWN
from connector.outbox.lanes import Lane
from connector.outbox.settlement import due_again
from connector.privacy.retention import RetentionJob, RetentionPolicy, RetentionStore
from connector.relay.relay import CLOCK_CHECK_INTERVAL, MAX_AHEAD
from connector.signals.collector import BeaconRequest
from connector.signals.matching import Beacon, KnownOrder, SignalMatcher
from connector.signals.merge import Signal
from connector.storage.database import Database
from connector.storage.tables import signals
from tests.support.checkouts import AGENT, IP, NOTHING_TO_MATCH, SHOP, UNTOLD, Way, holding, joined


@pytest.fixture
def way(engine):
    return Way(engine)


class TestBeacon:
    """What becomes of a beacon by itself."""

    def test_a_beacon_makes_no_event(self, way):
        """It is kept, and that is all."""
        way.beacon()
        way.step(300)
        assert (way.rows(), way.sent()) == ([], {})
        (row,) = way.signals()
        assert (row.store, row.token, row.ttclid, row.ip) == ("acme", way.token, "E.C.P.click", IP)
        assert row.url == "https://acme.example/checkouts"

    def test_a_store_without_signals_keeps_nothing(self, engine):
        """Answered alike; the shop did not ask for it."""
        way = Way(engine, replace(SHOP, signals=None))
        way.beacon()
        assert way.signals() == []

    def test_junk_leaves_no_row(self, way):
        """No token that could be one, nothing to store."""
        way.beacon(checkout_token="1")
        way.beacon(checkout_token=None)
        way.beacon(checkout_token="x" * 200)
        assert way.signals() == []

    def test_several_beacons_are_one_row(self, way):
        """What is newer fills, a newer answer replaces; another checkout is another row."""
        way.beacon(ttp=None, consent="denied")
        way.beacon(ttp=None, consent="granted")
        way.beacon(ttclid="later")
        way.beacon(checkout_token="another-checkout")
        (one,) = [row for row in way.signals() if row.token == way.token]
        assert (one.ttclid, one.ttp, one.consent) == ("E.C.P.click", "ttp-cookie", "granted")
        assert len(way.signals()) == 2

    def test_a_denied_beacon_erases_what_was_told_before(self, way):
        """The answer alone is kept, so that it can be heeded."""
        way.beacon()
        way.beacon(consent="denied")
        (row,) = way.signals()
        assert {row.ttclid, row.ttp, row.ip, row.user_agent, row.url, row.referrer} == {""}
        assert row.consent == "denied"

    def test_beacons_are_kept_for_a_day(self, way):
        """After the last one of a checkout; housekeeping erases them."""
        way.beacon()
        way.now += 3600
        way.beacon(checkout_token="another-checkout")
        kept = RetentionPolicy(payloads=1e9, ledger=1e9, parked=1e9)
        keeper = RetentionJob(RetentionStore(Database(way.engine)), kept, way.stores, "me", clock=lambda: way.now)
        way.now += 23.5 * 3600
        assert keeper.round(threading.Event())["signals dropped"] == 1
        assert [row.token for row in way.signals()] == ["another-checkout"]
        way.now += 3600
        keeper.round(threading.Event())
        assert way.signals() == []


class TestJoin:
    """Where nobody has to ask."""

    def test_a_beacon_before_the_webhook(self, way):
        """Joined at intake, and sent at once."""
        way.beacon()
        way.webhook("orders/create", **UNTOLD)
        way.step()
        assert joined(way.sent()["PlaceAnOrder"])
        assert way.sent()["PlaceAnOrder"]["page"] == {
            "url": "https://acme.example/checkouts",
            "referrer": "https://acme.example/cart",
        }

    def test_a_beacon_while_the_event_waits(self, way):
        """The event is held back for a few seconds, and goes with what the browser told as soon as it has told it."""
        way.webhook("orders/create", **UNTOLD)
        way.step(4)
        assert way.sent() == {}
        way.beacon()
        way.step()
        assert joined(way.sent()["PlaceAnOrder"])

    def test_what_is_sent_is_what_is_stored(self, way):
        """The bytes in the table are those of the request, joined or not."""
        way.webhook("orders/create", **UNTOLD)
        way.beacon()
        way.step()
        (row,) = way.rows()
        assert row.payload == way.sandbox.received()[0].item

    def test_a_beacon_that_does_not_come(self, way):
        """After hold_order the order goes without."""
        way.webhook("orders/create", **UNTOLD)
        way.step(4.9)
        assert way.sent() == {}
        way.step(0.2)
        assert "ttclid" not in way.sent()["PlaceAnOrder"]["user"]

    def test_a_beacon_after_the_event_was_sent(self, way):
        """Too late: what is stored stays what was sent. The next event of the checkout gets it."""
        way.webhook("orders/create", **UNTOLD)
        way.step(6)
        before = way.stored("PlaceAnOrder")
        way.beacon()
        way.step()
        assert way.stored("PlaceAnOrder") == before
        way.webhook("orders/paid", **UNTOLD)
        way.step()
        assert joined(way.sent()["Purchase"])

    def test_a_beacon_while_a_relay_has_the_event(self, way):
        """The relay has the bytes in its hands, so they stay as they are."""
        way.webhook("orders/create", **UNTOLD)
        way.relay.step()
        lane = Lane("acme", SHOP.pixels[0].code)
        (claimed,) = way.outbox.claim(lane, 10, "another relay", way.now + 6, 60)
        way.beacon()
        (row,) = way.rows()
        assert (row.payload, row.lease_owner, row.lease_until) == (claimed.payload, "another relay", way.now + 66)

    def test_an_event_that_tiktok_may_have_is_not_changed(self, way):
        """It was tried and comes again: with the same bytes."""
        way.webhook("orders/create", **UNTOLD)
        lane = Lane("acme", SHOP.pixels[0].code)
        way.outbox.add_lanes([lane])
        (claimed,) = way.outbox.claim(lane, 10, "r", way.now + 6, 60)
        way.outbox.settle(
            "r", claimed.lease_until, [due_again(claimed, way.now + 8, claimed.maybe_sent_at, 50000, "busy")]
        )
        way.beacon()
        (row,) = way.rows()
        assert (row.payload, row.due_at) == (claimed.payload, way.now + 8)

    def test_match_keys_of_the_webhook_stay(self, way):
        """The shop's own word about its shopper is not replaced."""
        way.webhook("orders/create")
        known = way.stored("PlaceAnOrder")["user"]
        assert {"ip", "user_agent", "email"} <= known.keys()
        way.beacon(ip="203.0.112.1", user_agent="Other/1.0")
        way.step()
        assert known.items() <= way.sent()["PlaceAnOrder"]["user"].items()

    def test_both_events_of_an_order_get_it(self, way):
        """And for every pixel."""
        way.webhook("orders/paid", **UNTOLD)
        way.beacon()
        way.step()
        assert all(joined(item) for item in way.sent().values())
        assert way.sent().keys() == {"PlaceAnOrder", "Purchase"}

    def test_another_checkout_and_another_store_get_nothing(self, way):
        """The token is the key, and it is the store's own."""
        way.webhook("orders/create", **UNTOLD)
        way.beacon(checkout_token="another-checkout")
        other = replace(SHOP, name="other")
        way.collect(other, *_post(way.token))
        (row,) = way.rows()
        assert (row.state, "ttclid" in way.stored("PlaceAnOrder")["user"]) == ("due", False)
        assert row.due_at == way.now + 5

    def test_a_checkout_that_knows_nobody_yet(self, way):
        """Shopify tells of a checkout before its shopper has typed a word; the browser makes it somebody's."""
        way.webhook("checkouts/create", **NOTHING_TO_MATCH, **UNTOLD)
        assert way.states() == {"InitiateCheckout": "held"}
        way.beacon()
        way.step()
        assert joined(way.sent()["InitiateCheckout"])

    def test_a_checkout_that_nobody_ever_tells_of(self, way):
        """It is skipped when its wait is over, and sent when a later webhook names the shopper after all."""
        way.webhook("checkouts/create", **NOTHING_TO_MATCH, **UNTOLD)
        way.step(21)
        (row,) = way.rows()
        assert (row.state, row.message, row.payload, row.settled_at) == ("skipped", NOBODY_KNOWN, None, way.now)
        assert way.lines() == [("checkouts/create", "skipped", f"InitiateCheckout: {NOBODY_KNOWN}")]
        way.webhook("checkouts/update", **NOTHING_TO_MATCH, **UNTOLD)
        assert way.states() == {"InitiateCheckout": "skipped"}
        way.webhook("checkouts/update", **UNTOLD)
        way.step()
        assert "email" in way.sent()["InitiateCheckout"]["user"]

    def test_a_later_webhook_names_the_shopper_while_the_event_waits(self, way):
        """It fills what is absent, and the event goes on waiting for the browser."""
        way.webhook("checkouts/create", **NOTHING_TO_MATCH, **UNTOLD)
        way.step(3)
        way.webhook("checkouts/update", **UNTOLD)
        assert way.states() == {"InitiateCheckout": "due"}
        (row,) = way.rows()
        assert row.email is not None
        assert "email" in way.stored("InitiateCheckout")["user"]
        way.step(15)
        assert way.sent() == {}
        way.step(3)
        assert "email" in way.sent()["InitiateCheckout"]["user"]

    def test_value_and_products_follow_the_newest_body(self, way):
        """As written by the shop, not as they came: an older body that comes later changes nothing."""
        way.webhook("checkouts/create")
        first, items = way.stored("InitiateCheckout")["properties"], None
        way.now += 2
        body_time = way.moment().isoformat()
        way.webhook("checkouts/update", total_price="123.40", updated_at=body_time)
        assert way.stored("InitiateCheckout")["properties"] == first | {"value": 123.4}
        way.webhook("checkouts/update", total_price="99.00", updated_at="2026-05-28T00:00:00Z")
        assert way.stored("InitiateCheckout")["properties"]["value"] == 123.4
        way.now += 1
        way.webhook("checkouts/update", total_price="150.00", line_items=items or [])
        found = way.stored("InitiateCheckout")["properties"]
        assert (found["value"], found["contents"]) == (150.0, first["contents"])
        way.step(30)
        assert way.sent()["InitiateCheckout"]["properties"]["value"] == 150.0
        way.webhook("checkouts/update", total_price="7.00")
        assert way.stored("InitiateCheckout")["properties"]["value"] == 150.0

    def test_a_repeated_webhook_changes_nothing(self, way):
        """And adds no line; the wait does not begin anew."""
        way.webhook("orders/create", **UNTOLD)
        before = way.rows(), way.lines()
        way.now += 3
        assert way.webhook("orders/create", updated_at="2026-05-28T20:26:40+00:00", **UNTOLD) in ("duplicate",)
        assert (way.rows()[0].due_at, way.rows()[0].payload) == (before[0][0].due_at, before[0][0].payload)
        assert len(way.rows()) == 1

    def test_waits_of_zero(self, engine):
        """A store may say that nothing waits, and takes what is there already."""
        way = Way(engine, replace(SHOP, signals=holding(0, 0)))
        way.webhook("orders/create", **UNTOLD)
        way.step()
        assert way.sent().keys() == {"PlaceAnOrder"}

    def test_the_longest_wait_is_not_pulled_back(self, engine):
        """The relay makes due what lies further ahead than anything may, and no wait does."""
        way = Way(engine, replace(SHOP, signals=holding(240, 240)))
        way.webhook("orders/create", **UNTOLD)
        way.step(1)
        for _ in range(3):
            way.step(CLOCK_CHECK_INTERVAL + 1)
        assert way.sent() == {}
        assert way.rows()[0].due_at < way.now + MAX_AHEAD
        way.step(60)
        assert way.sent().keys() == {"PlaceAnOrder"}

    def test_a_waiting_event_delays_no_other(self, way):
        """Of the same lane: a registration, which no browser tells of, goes at once."""
        way.webhook("orders/create", **UNTOLD)
        way.webhook("customers/create")
        way.step()
        assert way.sent().keys() <= {"CompleteRegistration"}
        (row,) = [row for row in way.rows() if row.event == "CompleteRegistration"]
        assert (row.checkout, row.due_at) == (None, way.now)

    def test_an_order_without_a_checkout_token_does_not_wait(self, way):
        """An order that staff or a program made has no browser."""
        way.webhook("orders/create", checkout_token=None)
        way.step()
        assert way.sent().keys() == {"PlaceAnOrder"}

    def test_a_store_without_signals_is_as_it_was(self, engine):
        """No wait, no column of it, nothing asked of the table of signals."""
        way = Way(engine, replace(SHOP, signals=None))
        statements = []

        def note(_connection, _cursor, statement, *_):
            statements.append(statement)

        event.listen(engine, "before_cursor_execute", note)
        way.webhook("orders/create", **UNTOLD)
        event.remove(engine, "before_cursor_execute", note)
        assert not [statement for statement in statements if "signals" in statement or "advisory" in statement]
        assert sum("INSERT INTO events" in statement for statement in statements) == 1
        (row,) = way.rows()
        assert (row.checkout, row.consent, row.as_of, row.due_at, row.state) == (None, None, None, way.now, "due")

    def test_limited_data_use_waits_for_the_ip(self, engine):
        """TikTok honours it only with a public ip, which a checkout's webhook never has."""
        way = Way(engine, replace(SHOP, limited_data_use=("CA",)))
        way.webhook("checkouts/create", shipping_address={"country_code": "US", "province_code": "CA"}, **UNTOLD)
        assert way.states() == {"InitiateCheckout": "held"}
        way.beacon()
        way.step()
        item = way.sent()["InitiateCheckout"]
        assert (item["limited_data_use"], item["user"]["ip"]) == (True, IP)


def test_webhooks_stored_together_find_their_signals_by_an_index(sqlite_engine, plans):
    """Under load a transaction has many checkouts; a large shop has 250,000 signals."""
    database = Database(sqlite_engine)
    matcher = SignalMatcher(database)
    for store, token in (("acme", "token-0001"), ("acme", "token-0002"), ("beans", "token-0001")):
        matcher.collect(Beacon(store, token, 1.0, "https://acme.example", Signal(ip=IP, ttclid=f"{store} {token}")))
    orders = [KnownOrder("acme", f"token-000{n}", f"order:{n}", 2.0) for n in (1, 2, 3)]
    steps = plans()
    with database.write() as connection:
        matcher.store_waiting(connection, [], orders)
    assert any("signals" in step for step in steps)
    assert not [step for step in steps if step.startswith("SCAN signals")]
    with sqlite_engine.connect() as connection:
        found = {(row.store, row.token): (row.ttclid, row.order_key) for row in connection.execute(sa.select(signals))}
    assert found == {
        ("acme", "token-0001"): ("acme token-0001", "order:1"),
        ("acme", "token-0002"): ("acme token-0002", "order:2"),
        ("acme", "token-0003"): ("", "order:3"),
        ("beans", "token-0001"): ("beans token-0001", None),
    }


def _post(token):
    return BeaconRequest(IP, "", AGENT), b'{"checkout_token": "%s", "ttclid": "x"}' % token.encode()
