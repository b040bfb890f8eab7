"""Where shoppers must say yes: the browser's answer before, during and after the webhook."""

from dataclasses import replace

import pytest

from connector.mapping.consent import CONSENT_DENIED, CONSENT_MISSING, order_checkout
from connector.outbox.queries import OutboxQueries
from connector.storage.database import Database
from tests.support.checkouts import ASKING, NOTHING_TO_MATCH, SHOP, UNTOLD, Way, joined
from tests.support.rows import each_row

pytestmark = pytest.mark.databases("sqlite")

YES = {"note_attributes": [{"name": "tiktok_consent", "value": "yes"}]}


@pytest.fixture
def asking(engine):
    """A shop whose shoppers must say yes."""
    return Way(engine, ASKING)


class TestConsent:
    """Where shoppers must say yes."""

    def test_a_yes_from_the_browser(self, asking):
        """The webhook says nothing, the browser says yes: sent."""
        asking.webhook("orders/create", **UNTOLD)
        assert asking.states() == {"PlaceAnOrder": "held"}
        asking.step(3)
        assert asking.sent() == {}
        asking.beacon(consent="granted")
        asking.step()
        assert joined(asking.sent()["PlaceAnOrder"])

    def test_a_yes_before_the_webhook(self, asking):
        """Sent at once."""
        asking.beacon(consent="granted")
        asking.webhook("orders/create", **UNTOLD)
        asking.step()
        assert joined(asking.sent()["PlaceAnOrder"])

    @pytest.mark.parametrize("when", ["before", "after"])
    def test_a_no_from_the_browser(self, asking, when):
        """Skipped at once, its payload erased, and the ledger says why."""
        if when == "before":
            asking.beacon(consent="denied")
        asking.webhook("orders/create", **UNTOLD)
        if when == "after":
            asking.beacon(consent="denied")
        asking.step()
        (row,) = asking.rows()
        assert (row.state, row.message, row.payload) == ("skipped", CONSENT_DENIED, None)
        assert (row.email, row.phone, row.external_id) == (None, None, None)
        assert asking.lines() == [("orders/create", "skipped", f"PlaceAnOrder: {CONSENT_DENIED}")]
        assert OutboxQueries(Database(asking.engine)).skipped("no consent") == {"acme": 1}
        asking.step(300)
        assert asking.sent() == {}

    def test_no_answer(self, asking):
        """Waited for as long as for a beacon, then skipped; beacons that do not say are no answer."""
        asking.webhook("orders/paid", **UNTOLD)
        asking.beacon()
        asking.step(4)
        assert asking.states() == {"PlaceAnOrder": "held", "Purchase": "held"}
        asking.step(2)
        assert {(row.state, row.message, row.payload) for row in asking.rows()} == {("skipped", CONSENT_MISSING, None)}
        reason = f"PlaceAnOrder: {CONSENT_MISSING}; Purchase: {CONSENT_MISSING}"
        assert asking.lines() == [("orders/paid", "skipped", reason)]

    def test_no_relay_ever_takes_what_waits_for_a_yes(self, asking):
        """Whatever the time is, as long as nobody has ended the wait."""
        asking.webhook("orders/create", **UNTOLD)
        for _ in range(5):
            asking.now += 400
            asking.relay.step()
        assert (asking.states(), asking.sent()) == ({"PlaceAnOrder": "held"}, {})

    def test_a_yes_after_the_wait_and_before_its_end_was_noticed(self, asking):
        """Nobody ended it while all relays were dead: the yes still counts."""
        asking.webhook("orders/create", **UNTOLD)
        asking.now += 1000
        asking.beacon(consent="granted")
        asking.step()
        assert joined(asking.sent()["PlaceAnOrder"])

    @pytest.mark.databases("sqlite", "postgresql")
    def test_a_yes_after_the_end(self, asking):
        """What was erased is gone; the order's next webhook makes it anew, once."""
        asking.webhook("orders/create", **UNTOLD)
        asking.step(6)
        asking.beacon(consent="granted")
        asking.step()
        assert (asking.states(), asking.sent()) == ({"PlaceAnOrder": "skipped"}, {})
        asking.webhook("orders/updated", financial_status="pending", **UNTOLD)
        asking.step()
        assert joined(asking.sent()["PlaceAnOrder"])
        assert asking.lines()[-1] == ("orders/updated", "relayed", "")
        asking.webhook("orders/updated", financial_status="pending", note="again", **UNTOLD)
        asking.step(60)
        assert len(asking.sandbox.received()) == 1

    def test_later_webhooks_without_a_yes_change_nothing(self, asking):
        """An order that is edited ten times is skipped once."""
        asking.webhook("orders/create", **UNTOLD)
        asking.step(6)
        for number in range(10):
            asking.webhook("orders/updated", financial_status="pending", note=str(number), **UNTOLD)
            asking.step(6)
        assert asking.states() == {"PlaceAnOrder": "skipped"}
        assert len(asking.lines()) == 1

    def test_a_yes_in_the_webhook_waits_for_the_signals_only(self, asking):
        """And goes without them when they do not come."""
        asking.webhook("orders/create", **UNTOLD | YES)
        assert asking.states() == {"PlaceAnOrder": "due"}
        asking.step(6)
        assert asking.sent().keys() == {"PlaceAnOrder"}

    def test_a_no_from_the_browser_stops_a_yes_of_the_webhook(self, asking):
        """Where shoppers must agree, one of them saying no is a no."""
        asking.webhook("orders/create", **UNTOLD | YES)
        asking.beacon(consent="denied")
        asking.step()
        assert asking.states() == {"PlaceAnOrder": "skipped"}

    def test_a_no_that_becomes_a_yes_in_time(self, asking):
        """The shopper's last word counts, as long as nobody has acted on the one before."""
        asking.webhook("orders/create", **UNTOLD)
        asking.beacon(consent="denied")
        asking.beacon(consent="granted")
        asking.step()
        assert joined(asking.sent()["PlaceAnOrder"])

    def test_a_no_after_the_event_was_sent(self, asking):
        """It is out; what is stored stays what was sent."""
        asking.beacon(consent="granted")
        asking.webhook("orders/create", **UNTOLD)
        asking.step()
        asking.beacon(consent="denied")
        asking.step(6)
        assert asking.states() == {"PlaceAnOrder": "accepted"}

    def test_a_yes_in_a_later_webhook(self, asking):
        """It frees the event that waited for one."""
        asking.webhook("orders/create", **UNTOLD)
        asking.now += 1
        asking.webhook("orders/updated", financial_status="pending", **UNTOLD | YES)
        assert asking.states() == {"PlaceAnOrder": "due"}
        asking.step(6)
        assert asking.sent().keys() == {"PlaceAnOrder"}

    def test_an_explicit_no_of_the_webhook_is_not_waited_for(self, asking):
        """As without signals: skipped at intake."""
        no = {"note_attributes": [{"name": "tiktok_consent", "value": "no"}]}
        assert asking.webhook("orders/create", **UNTOLD | no) == "skipped"
        assert asking.rows() == []

    def test_where_nobody_has_to_ask_a_no_keeps_the_signals_out(self, engine):
        """The event goes, as it would without a beacon."""
        way = Way(engine)
        way.webhook("orders/create", **UNTOLD)
        way.beacon()
        way.beacon(consent="denied")
        other = Way(way.engine, SHOP)
        other.now, other.token = way.now, "another-checkout"
        other.beacon(consent="denied")
        other.webhook("orders/create", id=99, checkout_token="another-checkout", **UNTOLD)
        way.step()
        items = {receipt.item for receipt in way.sandbox.received()}
        assert len(items) == 2
        assert sum(b"E.C.P.click" in item for item in items) == 1

    @pytest.mark.parametrize(("country", "held"), [("DE", True), ("US", False)])
    def test_only_europeans_are_asked(self, engine, country, held):
        """With required_in_europe; where the order goes decides."""
        way = Way(engine, replace(SHOP, consent="required_in_europe"))
        way.webhook("orders/create", **UNTOLD, shipping_address={"country_code": country, "city": "X"})
        assert way.states() == {"PlaceAnOrder": "held" if held else "due"}

    def test_a_newer_body_tells_where_the_shopper_is(self, engine):
        """A checkout of nowhere counts by the shop's country, until an address says that somebody must be asked."""
        way = Way(engine, replace(SHOP, consent="required_in_europe"))
        way.webhook("checkouts/create", **{**NOTHING_TO_MATCH, "email": "jane@example.com"}, **UNTOLD)
        assert way.states() == {"InitiateCheckout": "due"}
        way.now += 1
        german = {"country_code": "DE", "city": "Berlin"}
        way.webhook(
            "checkouts/update",
            **{**NOTHING_TO_MATCH, "email": "jane@example.com", "shipping_address": german},
            **UNTOLD,
        )
        assert way.states() == {"InitiateCheckout": "held"}


class TestReplay:
    """What people ask of waiting and skipped events."""

    def test_a_waiting_event_is_not_replayed(self, asking):
        """That would send it without the yes it waits for."""
        asking.webhook("orders/create", **UNTOLD)
        (row,) = asking.rows()
        assert OutboxQueries(Database(asking.engine)).replay([row.id], asking.now) == 0
        asking.step(6)
        assert OutboxQueries(Database(asking.engine)).replay([row.id], asking.now) == 0
        assert asking.states() == {"PlaceAnOrder": "skipped"}


@each_row(
    ("milestone", "token", "signals", "found"),
    [
        ("order_placed", "a-checkout-token", SHOP.signals, "a-checkout-token"),
        ("order_paid", "a-checkout-token", SHOP.signals, "a-checkout-token"),
        ("checkout_started", "a-checkout-token", SHOP.signals, ""),
        ("order_placed", "short", SHOP.signals, ""),
        ("order_placed", "", SHOP.signals, ""),
        ("order_placed", "a-checkout-token", None, ""),
    ],
)
def test_the_checkout_of_an_order(milestone, token, signals, found):
    """Only of orders whose browser may send beacons."""
    assert order_checkout(milestone, {"checkout_token": token}, replace(SHOP, signals=signals)) == found
