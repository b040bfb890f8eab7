"""Keys that a browser reports are remembered for the people of its checkout, on both databases."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from connector.core.store import MatchingSettings
from connector.storage.tables import clicks
from tests.support.checkouts import SHOP, UNTOLD, Way

REMEMBERING = replace(SHOP, matching=MatchingSettings(remember_clicks=timedelta(days=28)))


def another(way, number):
    """The same customer's next order, in another browser: its checkout has a token of its own."""
    way.now += 86_400
    way.token = f"another-checkout-{number}"
    return {"id": 900_000 + number, "name": f"#{9000 + number}", "order_number": 9000 + number} | {
        "checkout_token": way.token, "created_at": way.moment().isoformat(), "processed_at": way.moment().isoformat(),
    }  # fmt: skip


def user(way, number):
    order = next(row for row in way.rows() if row.event == "PlaceAnOrder" and row.event_id.endswith(str(number)))
    return json.loads(order.payload)["user"], order


@pytest.fixture
def way(engine):
    return Way(engine, REMEMBERING)


@pytest.mark.parametrize("first", ["beacon", "order", "sent"])
def test_a_browser_s_click_is_remembered(way, first):
    """Before its order, while that waits, and after it was sent."""
    if first == "beacon":
        way.beacon()
    way.webhook("orders/create", **UNTOLD)
    if first != "beacon":
        way.step(60 if first == "sent" else 1)
        way.beacon()
    way.webhook("orders/create", **UNTOLD, **another(way, 1))
    found, row = user(way, 900_001)
    assert (found["ttclid"], found["ttp"]) == ("E.C.P.click", "ttp-cookie")
    assert row.ttclid_from is not None
    assert "ip" not in found


@pytest.mark.parametrize("before", [True, False])
def test_a_browser_s_own_click_takes_the_place_of_a_remembered_one(way, before):
    """The order waits a few seconds for it."""
    way.beacon()
    way.webhook("orders/create", **UNTOLD)
    changes = another(way, 1)
    if before:
        way.beacon(ttclid="E.C.P.own", ttp=None)
    way.webhook("orders/create", **UNTOLD, **changes)
    if not before:
        way.beacon(ttclid="E.C.P.own", ttp=None)
    found, row = user(way, 900_001)
    assert (found["ttclid"], row.ttclid_from) == ("E.C.P.own", None)
    assert found["ttp"] == "ttp-cookie"
    assert row.ttp_from is not None


def test_a_later_webhook_s_own_click_takes_its_place_too(way):
    """The first body had no landing page."""
    way.beacon()
    way.webhook("orders/create", **UNTOLD)
    changes = another(way, 1)
    way.webhook("orders/create", **UNTOLD, **changes)
    way.webhook("orders/updated", **UNTOLD | changes | {"landing_site": "/?ttclid=E.C.P.own"})
    found, row = user(way, 900_001)
    assert (found["ttclid"], row.ttclid_from) == ("E.C.P.own", None)
    assert found["ttp"] == "ttp-cookie"
    assert row.ttp_from is not None


@pytest.mark.parametrize("before", [True, False])
def test_a_browser_s_no_erases(way, before):
    """It asks for no consent here: the order is sent, but without what was remembered."""
    way.beacon()
    way.webhook("orders/create", **UNTOLD)
    changes = another(way, 1)
    if before:
        way.beacon(consent="denied")
    way.webhook("orders/create", **UNTOLD, **changes)
    if not before:
        way.beacon(consent="denied")
    found, row = user(way, 900_001)
    assert "ttclid" not in found
    assert "ttp" not in found
    assert (row.ttclid_from, row.ttp_from) == (None, None)
    assert {click.ttclid for click in way.rows(clicks)} == {""}


def test_nothing_is_remembered_before_a_yes(engine):
    """A held event's keys, and its browser's, wait for the answer, too."""
    way = Way(engine, replace(REMEMBERING, consent="required"))
    way.webhook("orders/create", **UNTOLD | {"landing_site": "/?ttclid=E.C.P.landing"})
    way.beacon()
    assert way.rows(clicks) == []
    way.beacon(consent="granted")
    assert {click.ttclid for click in way.rows(clicks)} == {"E.C.P.click"}
