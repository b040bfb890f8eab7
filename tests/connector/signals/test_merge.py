"""Joining: what is absent is filled, what is there stays, and what is not touched keeps its bytes."""

import json

from hypothesis import given
from hypothesis import strategies as st

from connector.mapping.consent import CONSENT_DENIED, CONSENT_MISSING
from connector.mapping.filters import NOTHING_TO_MATCH, PUBLIC_IP_MISSING
from connector.signals.merge import Signal, fill_absent, merge_signal, update_properties, why_not_sendable
from tests.support.rows import each_row

HOME = "https://acme.example/"
SIGNAL = Signal(
    "E.C.P.x", "ttp-1", "198.51.99.7", "Mozilla/5.0", "https://acme.example/checkouts", "https://t.example/"
)
HEAD = {"event": "Purchase", "event_time": 1_780_000_000, "event_id": "acme-order-1"}


def payload(**parts):
    return json.dumps(HEAD | parts).encode()


def test_absent_keys_are_filled_and_present_ones_stay():
    """A match key that the webhook gave is the shop's own word."""
    before = payload(user={"email": ["a", "b"], "ip": "203.0.112.9"}, page={"url": HOME})
    after = json.loads(merge_signal(before, SIGNAL, HOME))
    assert after["user"] == {
        "email": ["a", "b"],
        "ip": "203.0.112.9",
        "ttclid": "E.C.P.x",
        "ttp": "ttp-1",
        "user_agent": "Mozilla/5.0",
    }
    assert after["page"] == {"url": "https://acme.example/checkouts", "referrer": "https://t.example/"}


def test_a_landing_page_is_not_replaced():
    """Only the shop's front page, which stands for no page at all, is; a referrer comes with its page."""
    page = {"url": "https://acme.example/shirts?ttclid=1"}
    assert json.loads(merge_signal(payload(page=page), SIGNAL, HOME))["page"] == page
    assert json.loads(merge_signal(payload(page={"url": HOME, "referrer": "r"}), Signal(ttp="t"), HOME))["page"] == {
        "url": HOME,
        "referrer": "r",
    }


def test_an_event_without_user_and_page_of_its_own_gets_them():
    """A checkout's first webhook knows nobody."""
    after = json.loads(merge_signal(payload(page={"url": HOME}), SIGNAL, HOME))
    assert after["user"]["ttclid"] == "E.C.P.x"
    assert after["page"]["url"] == "https://acme.example/checkouts"
    bare = json.dumps(HEAD | {"page": {"url": HOME}}, separators=(",", ":")).encode()
    assert merge_signal(bare, Signal(), HOME) == bare


def test_an_offline_event_takes_nothing_of_a_browser():
    """It is the one without a page. A later webhook may know an e-mail of its own."""
    before = payload(user={"phone": "x"}, properties={"value": 1.5})
    assert merge_signal(before, SIGNAL, HOME) == before
    after = json.loads(fill_absent(before, payload(user={"phone": "y", "email": "z"}), HOME))
    assert (after["user"], "page" in after) == ({"phone": "x", "email": "z"}, False)


def test_what_is_not_touched_keeps_its_bytes():
    """Amounts are the shop's own digits, whatever a parser would make of them."""
    properties = b'{"value":44.50,"contents":[{"price":0.10000000000000000001}]}'
    before = b'{"event":"Purchase","page":{"url":"https://acme.example/"},"properties":%s}' % properties
    assert properties in merge_signal(before, SIGNAL, HOME)
    assert b'"value":44.50' in fill_absent(before, payload(user={"email": "x"}), HOME)


def test_a_newer_body_decides_what_it_is_worth():
    """What it does not say stays; the user is not its business."""
    old = payload(user={"email": "x"}, properties={"value": 10, "currency": "USD", "num_items": 1, "order_id": "1"})
    new = b'{"event":"Purchase","user":{"email":"y"},"properties":{"value":12.50,"num_items":2}}'
    after = update_properties(old, new)
    assert b'"value":12.50' in after
    assert json.loads(after)["properties"] == {"value": 12.5, "currency": "USD", "num_items": 2, "order_id": "1"}
    assert json.loads(after)["user"] == {"email": "x"}
    assert json.loads(update_properties(old, payload())) == json.loads(old)


def test_limited_data_use_is_only_ever_added():
    """An address may come with a later body; one that comes without does not take it back."""
    limited = payload(limited_data_use=True)
    assert b'"limited_data_use":true' in update_properties(payload(), limited)
    assert b'"limited_data_use":true' in update_properties(limited, payload())


@each_row(
    ("parts", "consent", "why"),
    [
        ({"user": {"email": "x"}}, "", ""),
        ({"user": {"email": "x"}}, "granted", ""),
        ({"user": {"email": "x"}}, "missing", CONSENT_MISSING),
        ({"user": {"email": "x"}}, "denied", CONSENT_DENIED),
        ({"user": {"city": "x", "ip": "1"}}, "", NOTHING_TO_MATCH),
        ({"user": {"ip": "1", "user_agent": "x"}}, "", ""),
        ({}, "", NOTHING_TO_MATCH),
        ({"user": {"email": "x"}, "limited_data_use": True}, "", PUBLIC_IP_MISSING),
        ({"user": {"email": "x", "ip": "1"}, "limited_data_use": True}, "", ""),
    ],
)
def test_what_an_event_lacks(parts, consent, why):
    """A yes where one is needed, somebody to match, and an ip for Limited Data Use."""
    assert why_not_sendable(payload(**parts), consent) == why


# Several signals


def test_the_newer_beacon_fills_and_its_answer_replaces():
    """What is known stays; a consent answer is what the shopper said last."""
    first, second = Signal(ttclid="one", consent="granted"), Signal(ttclid="two", ttp="t")
    assert first.then(second) == Signal(ttclid="one", ttp="t", consent="granted")


def test_after_a_no_nothing_is_kept_until_a_yes():
    """A beacon that says nothing of consent does not undo the no."""
    denied = Signal(ttclid="one", ip="1").then(Signal(consent="denied"))
    assert denied == Signal(consent="denied")
    assert denied.then(Signal(ttclid="two")) == Signal(consent="denied")
    assert denied.then(Signal(ttclid="two", consent="granted")) == Signal(ttclid="two", consent="granted")


SIGNALS = st.builds(Signal, *[st.sampled_from(["", "a", "b"])] * 6, st.sampled_from(["", "granted", "denied"]))


@given(st.lists(SIGNALS, max_size=6))
def test_many_beacons_are_one(beacons):
    """The last answer given counts; every key is the first that came since the last no."""
    merged = Signal()
    for beacon in beacons:
        merged = merged.then(beacon)
    answers = [beacon.consent for beacon in beacons if beacon.consent]
    assert merged.consent == (answers[-1] if answers else "")
    assert merged.consent != "denied" or merged == Signal(consent="denied")
    assert "ttclid" not in repr(merged)


@given(st.dictionaries(st.sampled_from(["ttclid", "ip", "email"]), st.text(max_size=5)), SIGNALS)
def test_joining_twice_is_joining_once(user, signal):
    """A beacon sent again changes nothing."""
    once = merge_signal(payload(user=user), signal, HOME)
    assert merge_signal(once, signal, HOME) == once
